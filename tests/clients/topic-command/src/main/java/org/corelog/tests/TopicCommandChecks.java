package org.corelog.tests;

import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.tools.TopicCommand;

/** Kafka's own tool for topics, run in this process. */
public final class TopicCommandChecks {
    private final String bootstrap;
    private final String topic;

    private final boolean corelog;

    private TopicCommandChecks(String bootstrap, String topic, boolean corelog) {
        this.bootstrap = bootstrap;
        this.topic = topic;
        this.corelog = corelog;
    }

    /** Arguments: {@code BOOTSTRAP TOPIC corelog|kafka}; one line of output a check. */
    public static void main(String[] words) {
        new TopicCommandChecks(words[0], words[1], words[2].equals("corelog")).run();
    }

    /** Lets the metadata of a broker that answers too early settle. Corelog has to do without. */
    private void settle() {
        if (!corelog) {
            LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(500));
        }
    }

    private static void check(String name, Runnable body) {
        Tool.check(name, body);
    }

    private Tool.Result command(String... words) {
        Tool.Result result = Tool.run(TopicCommand::main, bootstrap, words);
        if (!List.of(words).contains("--describe") && !List.of(words).contains("--list")) {
            settle();
        }
        return result;
    }

    private static void that(boolean holds, String what) {
        Tool.that(holds, what);
    }

    private void good(String wanted, String... words) {
        says(0, wanted, words);
    }

    private void bad(String wanted, String... words) {
        says(1, wanted, words);
    }

    private void says(int code, String wanted, String... words) {
        Tool.Result result = command(words);
        that(result.code() == code && result.text().contains(wanted),
                "code " + result.code() + ", expected " + code + " and \"" + wanted + "\": " + result.text());
    }

    private void run() {
        check("creates a topic with configs", () -> good("Created topic " + topic,
                "--create", "--topic", topic, "--partitions", "2", "--replication-factor", "1",
                "--config", "retention.ms=3600000", "--config", "max.message.bytes=2000"));
        check("lists it", () -> good(topic, "--list"));
        check("describes partitions, replicas and configs", () -> {
            good("PartitionCount: 2\tReplicationFactor: 1", "--describe", "--topic", topic);
            good("retention.ms=3600000", "--describe", "--topic", topic);
            good("max.message.bytes=2000", "--describe", "--topic", topic);
            good("Partition: 1\tLeader: ", "--describe", "--topic", topic);
        });
        check("adds partitions", () -> {
            good("", "--alter", "--topic", topic, "--partitions", "5");
            good("PartitionCount: 5", "--describe", "--topic", topic);
        });
        check("is told that partitions cannot be taken away", () ->
                bad("InvalidPartitionsException", "--alter", "--topic", topic, "--partitions", "1"));
        check("is told that a topic exists", () -> {
            bad("TopicExistsException", "--create", "--topic", topic);
            good("", "--create", "--if-not-exists", "--topic", topic);
        });
        check("creates with the broker's defaults", () -> {
            good("Created topic", "--create", "--topic", topic + "-default");
            good("PartitionCount: 1\tReplicationFactor: 1", "--describe", "--topic", topic + "-default");
        });
        check("is told that a topic is unknown", () -> {
            bad("does not exist as expected", "--describe", "--topic", topic + "-unknown");
            bad("does not exist as expected", "--delete", "--topic", topic + "-unknown");
            good("", "--describe", "--if-exists", "--topic", topic + "-unknown");
        });
        check("is told that a name is invalid", () ->
                bad("InvalidTopicException", "--create", "--topic", "not a name"));
        check("is told that the replication factor is invalid", () ->
                bad("InvalidReplicationFactorException", "--create", "--topic", topic + "-rf",
                        "--replication-factor", "2"));
        check("finds no partition under-replicated or offline", () -> {
            for (String option : List.of("--under-replicated-partitions", "--unavailable-partitions",
                    "--under-min-isr-partitions", "--at-min-isr-partitions")) {
                Tool.Result result = command("--describe", option, "--exclude-internal", "--topic", topic);
                boolean quiet = option.startsWith("--at-min") || !result.text().contains("Partition:");
                that(result.code() == 0 && quiet, option + ": " + result.text());
            }
        });
        check("deletes topics", () -> {
            good("", "--delete", "--topic", topic);
            good("", "--delete", "--topic", topic + "-default");
            that(!command("--list").text().contains(topic), "still listed");
        });
    }
}
