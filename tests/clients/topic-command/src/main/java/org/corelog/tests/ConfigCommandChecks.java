package org.corelog.tests;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import kafka.admin.ConfigCommand;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.tools.DeleteRecordsCommand;
import org.apache.kafka.tools.TopicCommand;

/** Kafka's own tools for settings and for deleting records, run in this process. */
public final class ConfigCommandChecks {
    private final String bootstrap;
    private final String topic;
    private final boolean corelog;

    private ConfigCommandChecks(String bootstrap, String topic, boolean corelog) {
        this.bootstrap = bootstrap;
        this.topic = topic;
        this.corelog = corelog;
    }

    /** Arguments: {@code BOOTSTRAP TOPIC corelog|kafka}; one line of output a check. */
    public static void main(String[] words) {
        new ConfigCommandChecks(words[0], words[1], words[2].equals("corelog")).run();
    }

    private void says(Tool.Main tool, int code, List<String> wanted, String... words) {
        Tool.Result result = Tool.run(tool, bootstrap, words);
        for (String text : wanted) {
            Tool.that(result.code() == code && result.text().contains(text),
                    "code " + result.code() + ", expected " + code + " and \"" + text + "\": " + result.text());
        }
        // The metadata of a broker that answers too early settles; Corelog has to do without.
        if (!corelog) {
            LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(500));
        }
    }

    private void config(int code, String wanted, String... words) {
        says(ConfigCommand::main, code, List.of(wanted), words);
    }

    private void topicConfig(int code, String wanted, String... words) {
        String[] all = new String[words.length + 4];
        System.arraycopy(new String[] {"--entity-type", "topics", "--entity-name", topic}, 0, all, 0, 4);
        System.arraycopy(words, 0, all, 4, words.length);
        config(code, wanted, all);
    }

    private void run() {
        Tool.check("a topic is there to change", () -> says(TopicCommand::main, 0, List.of("Created topic"),
                "--create", "--topic", topic, "--partitions", "1", "--replication-factor", "1"));
        Tool.check("sets and shows a topic's configs", () -> {
            topicConfig(0, "Completed updating config for topic " + topic,
                    "--alter", "--add-config", "retention.ms=3600000,cleanup.policy=[compact,delete]");
            topicConfig(0, "retention.ms=3600000", "--describe");
            topicConfig(0, "cleanup.policy=compact,delete", "--describe");
        });
        Tool.check("deletes a topic's config", () -> {
            topicConfig(0, "Completed updating", "--alter", "--delete-config", "retention.ms,cleanup.policy");
            Tool.Result shown = Tool.run(ConfigCommand::main, bootstrap,
                    "--entity-type", "topics", "--entity-name", topic, "--describe");
            Tool.that(!shown.text().contains("retention.ms="), shown.text());
        });
        Tool.check("is told that a topic's config is invalid", () ->
                topicConfig(1, "InvalidConfigurationException", "--alter", "--add-config", "retention.ms=soon"));
        Tool.check("sets and shows the configs of all brokers and of one", () -> {
            String[] all = {"--entity-type", "brokers", "--entity-default"};
            String[] one = {"--entity-type", "brokers", "--entity-name", "1"};
            config(0, "Completed updating default config", with(all, "--alter", "--add-config", NAME + "=7000"));
            config(0, "Completed updating config", with(one, "--alter", "--add-config", NAME + "=8000"));
            config(0, NAME + "=7000", with(all, "--describe"));
            config(0, NAME + "=8000", with(one, "--describe"));
            config(0, "DYNAMIC_DEFAULT_BROKER_CONFIG:" + NAME + "=7000", with(one, "--describe"));
            config(0, "file.delete.delay.ms=8000",
                    "--entity-type", "topics", "--entity-name", topic, "--describe", "--all");
            config(0, "Completed", with(one, "--alter", "--delete-config", NAME));
            config(0, "Completed", with(all, "--alter", "--delete-config", NAME));
        });
        Tool.check("is told that a broker's config is read-only", () -> config(1, "InvalidRequestException",
                "--entity-type", "brokers", "--entity-name", "1", "--alter", "--add-config", "log.dirs=/elsewhere"));
        Tool.check("deletes records", this::deleteRecords);
        Tool.check("the topic that was changed goes", () ->
                says(TopicCommand::main, 0, List.of(""), "--delete", "--topic", topic));
    }

    private static String[] with(String[] first, String... rest) {
        String[] all = java.util.Arrays.copyOf(first, first.length + rest.length);
        System.arraycopy(rest, 0, all, first.length, rest.length);
        return all;
    }

    private void deleteRecords() {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap);
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            for (int record = 0; record < 5; record++) {
                producer.send(new ProducerRecord<>(topic, 0, null, "record " + record));
            }
            producer.flush();
        }
        try {
            Path file = Files.createTempFile("corelog-tests", ".json");
            try {
                Files.writeString(file, "{\"partitions\": [{\"topic\": \"" + topic
                        + "\", \"partition\": 0, \"offset\": 3}], \"version\": 1}");
                says(DeleteRecordsCommand::main, 0, List.of("low_watermark: 3"), "--offset-json-file", file.toString());
            } finally {
                Files.delete(file);
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static final String NAME = "log.segment.delete.delay.ms";
}
