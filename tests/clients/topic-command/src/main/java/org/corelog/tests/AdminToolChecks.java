package org.corelog.tests;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.tools.ClientMetricsCommand;
import org.apache.kafka.tools.ClusterTool;
import org.apache.kafka.tools.FeatureCommand;
import org.apache.kafka.tools.GetOffsetShell;
import org.apache.kafka.tools.LeaderElectionCommand;
import org.apache.kafka.tools.LogDirsCommand;
import org.apache.kafka.tools.MetadataQuorumCommand;
import org.apache.kafka.tools.TopicCommand;
import org.apache.kafka.tools.TransactionsCommand;
import org.apache.kafka.tools.reassign.ReassignPartitionsCommand;

/** Kafka's own tools that look at a broker, run in this process. */
public final class AdminToolChecks {
    private final String bootstrap;
    private final String topic;
    private final boolean corelog;

    private AdminToolChecks(String bootstrap, String topic, boolean corelog) {
        this.bootstrap = bootstrap;
        this.topic = topic;
        this.corelog = corelog;
    }

    /** Arguments: {@code BOOTSTRAP TOPIC corelog|kafka}; one line of output a check. */
    public static void main(String[] words) {
        new AdminToolChecks(words[0], words[1], words[2].equals("corelog")).run();
    }

    private String says(Tool.Main tool, int code, List<String> wanted, String... words) {
        Tool.Result result = Tool.run(tool, bootstrap, words);
        for (String text : wanted) {
            Tool.that(result.code() == code && result.text().contains(text),
                    "code " + result.code() + ", expected " + code + " and \"" + text + "\": " + result.text());
        }
        return result.text();
    }

    private void run() {
        Tool.check("a topic with three records is there to look at", this::fill);
        Tool.check("LogDirsCommand shows partitions and their sizes", () -> {
            String all = says(LogDirsCommand::main, 0, List.of("\"error\":null", topic + "-0", topic + "-1"),
                    "--describe");
            Tool.that(all.contains("\"offsetLag\":0") && !all.contains("\"isFuture\":true"), all);
            String one = says(LogDirsCommand::main, 0,
                    List.of("{\"partition\":\"" + topic + "-1\",\"size\":0,\"offsetLag\":0,\"isFuture\":false}"),
                    "--describe", "--topic-list", topic);
            Tool.that(!one.contains("\"partition\":\"" + topic + "-0\",\"size\":0"), one);
        });
        Tool.check("TransactionsCommand describes an idempotent producer", () -> {
            String shown = says(TransactionsCommand::main, 0, List.of("CurrentTransactionStartOffset"),
                    "describe-producers", "--topic", topic, "--partition", "0");
            String[] producer = shown.strip().split("\n")[1].strip().split("\\s+");
            // Epoch, coordinator epoch, last sequence, open transaction.
            Tool.that(producer[1].equals("0") && producer[2].equals("-1") && producer[3].equals("2")
                    && producer[5].equals("None"), shown);
        });
        Tool.check("GetOffsetShell shows the ends", () ->
                says(GetOffsetShell::main, 0, List.of(topic + ":0:3", topic + ":1:0"), "--topic", topic));
        Tool.check("LeaderElectionCommand finds every leader in its place", this::elections);
        Tool.check("ReassignPartitionsCommand leaves partitions on their broker", this::reassignments);
        Tool.check("ClusterTool shows the cluster's id", () ->
                says(AdminToolChecks::cluster, 0, List.of("Cluster ID: ")));
        Tool.check("MetadataQuorumCommand shows who leads", () -> {
            says(MetadataQuorumCommand::main, 0, List.of("LeaderId:               1", "MaxFollowerLag:         0"),
                    "describe", "--status");
            says(MetadataQuorumCommand::main, 0, List.of("Leader"), "describe", "--replication");
        });
        Tool.check("FeatureCommand describes features", () ->
                says(FeatureCommand::main, 0, List.of(""), "describe"));
        Tool.check("ClientMetricsCommand lists resources", () ->
                says(ClientMetricsCommand::main, 0, List.of(""), "--list"));
        if (corelog) {
            Tool.check("FeatureCommand is told that there is no such feature", () ->
                    says(FeatureCommand::main, 1, List.of("Could not upgrade kraft.version to 1"),
                            "upgrade", "--feature", "kraft.version=1"));
            Tool.check("ClusterTool is told that the only broker stays", () -> {
                says(words -> ClusterTool.main(unregister(words, "1")), 1, List.of("InvalidRequestException"));
                says(words -> ClusterTool.main(unregister(words, "99")), 1, List.of("BrokerIdNotRegistered"));
            });
        }
        Tool.check("the topic that was looked at goes", () ->
                says(TopicCommand::main, 0, List.of(""), "--delete", "--topic", topic));
    }

    private static void cluster(String[] words) throws Exception {
        ClusterTool.main(new String[] {"cluster-id", words[0], words[1]});
    }

    private static String[] unregister(String[] words, String id) {
        return new String[] {"unregister", words[0], words[1], "--id", id};
    }

    private void fill() {
        says(TopicCommand::main, 0, List.of("Created topic"),
                "--create", "--topic", topic, "--partitions", "2", "--replication-factor", "1");
        if (!corelog) {
            LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(500));
        }
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap);
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            for (int record = 0; record < 3; record++) {
                producer.send(new ProducerRecord<>(topic, 0, null, "record " + record));
            }
            producer.flush();
        }
    }

    private void elections() {
        for (String type : List.of("preferred", "unclean")) {
            says(LeaderElectionCommand::main, 0, List.of("Valid replica already elected for partitions " + topic + "-0"),
                    "--election-type", type, "--topic", topic, "--partition", "0");
        }
        says(LeaderElectionCommand::main, 0, List.of(""), "--election-type", "preferred", "--all-topic-partitions");
        says(LeaderElectionCommand::main, 1, List.of("UnknownTopicOrPartitionException"),
                "--election-type", "preferred", "--topic", topic, "--partition", "9");
    }

    private void reassignments() {
        reassign("[1]", "--execute", 0, "Successfully started partition reassignment for " + topic + "-0");
        reassign("[1]", "--verify", 0, "Reassignment of partition " + topic + "-0 is completed.");
        reassign("[2]", "--execute", 1, "Unknown broker id 2");
        says(ReassignPartitionsCommand::main, 0, List.of("No partition reassignments found."), "--list");
    }

    private void reassign(String replicas, String action, int code, String wanted) {
        try {
            Path file = Files.createTempFile("corelog-tests", ".json");
            try {
                Files.writeString(file, "{\"version\": 1, \"partitions\": [{\"topic\": \"" + topic
                        + "\", \"partition\": 0, \"replicas\": " + replicas + "}]}");
                says(ReassignPartitionsCommand::main, code, List.of(wanted),
                        "--reassignment-json-file", file.toString(), action);
            } finally {
                Files.delete(file);
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
