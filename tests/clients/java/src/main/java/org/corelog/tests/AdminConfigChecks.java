package org.corelog.tests;

import static org.corelog.tests.AdminChecks.get;
import static org.corelog.tests.Checks.equal;
import static org.corelog.tests.Checks.refused;
import static org.corelog.tests.Checks.that;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConfigEntry.ConfigSource;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** The AdminClient changes the settings of a topic, of the broker and of all brokers, and they hold at once. */
final class AdminConfigChecks {
    private final Checks checks;
    private final Admin admin;
    private final ConfigResource topic;

    AdminConfigChecks(Checks checks, Admin admin, String topic) {
        this.checks = checks;
        this.admin = admin;
        this.topic = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }

    void run() {
        checks.run("AdminClient creates a topic to change", () -> {
            get(admin.createTopics(List.of(new NewTopic(topic.name(), 1, (short) 1))).all());
            checks.settle();
        });
        checks.run("AdminClient sets, edits and deletes a topic's configs", this::topicConfigs);
        checks.run("AdminClient's change of a topic's config is felt by the next record", this::felt);
        checks.run("AdminClient only validates a change", () -> {
            get(admin.incrementalAlterConfigs(Map.of(topic, List.of(op("flush.ms", "77", OpType.SET))),
                    new AlterConfigsOptions().validateOnly(true)).all());
            equal(entry(topic, "flush.ms").source(), ConfigSource.DEFAULT_CONFIG);
        });
        checks.run("AdminClient changes the broker's and all brokers' configs, and topics follow", this::brokerConfigs);
        checks.run("AdminClient is told which changes cannot be", this::refusals);
        checks.run("AdminClient deletes the topic that it changed", () ->
                get(admin.deleteTopics(List.of(topic.name())).all()));
    }

    private static AlterConfigOp op(String name, String value, OpType type) {
        return new AlterConfigOp(new ConfigEntry(name, value), type);
    }

    private void alter(ConfigResource resource, AlterConfigOp... ops) throws Exception {
        get(admin.incrementalAlterConfigs(Map.of(resource, Arrays.asList(ops))).all());
    }

    private ConfigEntry entry(ConfigResource resource, String name) throws Exception {
        return get(admin.describeConfigs(List.of(resource)).all()).get(resource).get(name);
    }

    private void shows(ConfigResource resource, String name, String value, ConfigSource source) throws Exception {
        checks.eventually(() -> {
            ConfigEntry entry = entry(resource, name);
            return entry != null && Objects.equals(entry.value(), value) && entry.source() == source;
        }, name + " is not " + value + " from " + source);
    }

    private void topicConfigs() throws Exception {
        alter(topic, op("retention.ms", "3600000", OpType.SET), op("cleanup.policy", "compact", OpType.APPEND));
        shows(topic, "retention.ms", "3600000", ConfigSource.DYNAMIC_TOPIC_CONFIG);
        shows(topic, "cleanup.policy", "delete,compact", ConfigSource.DYNAMIC_TOPIC_CONFIG);
        alter(topic, op("cleanup.policy", "delete", OpType.SUBTRACT), op("retention.ms", "", OpType.DELETE));
        shows(topic, "cleanup.policy", "compact", ConfigSource.DYNAMIC_TOPIC_CONFIG);
        that(entry(topic, "retention.ms").source() != ConfigSource.DYNAMIC_TOPIC_CONFIG, "retention.ms is not deleted");
        alter(topic, op("cleanup.policy", "", OpType.DELETE));
        shows(topic, "cleanup.policy", "delete", ConfigSource.DEFAULT_CONFIG);
    }

    private void felt() throws Exception {
        alter(topic, op("max.message.bytes", "2000", OpType.SET));
        checks.settle();
        ProducerRecord<byte[], byte[]> large = new ProducerRecord<>(topic.name(), 0, null, new byte[5_000]);
        try (KafkaProducer<byte[], byte[]> producer = Client.producer(checks.bootstrap, Map.of())) {
            refused(RecordTooLargeException.class, () -> producer.send(large).get());
            alter(topic, op("max.message.bytes", "", OpType.DELETE));
            checks.settle();
            producer.send(large).get();
        }
    }

    private void brokerConfigs() throws Exception {
        int node = get(admin.describeCluster().nodes()).iterator().next().id();
        ConfigResource own = new ConfigResource(ConfigResource.Type.BROKER, Integer.toString(node));
        ConfigResource all = new ConfigResource(ConfigResource.Type.BROKER, "");
        String name = "log.segment.delete.delay.ms";
        alter(all, op(name, "7000", OpType.SET));
        shows(all, name, "7000", ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG);
        shows(own, name, "7000", ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG);
        shows(topic, "file.delete.delay.ms", "7000", ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG);
        alter(own, op(name, "8000", OpType.SET));
        shows(own, name, "8000", ConfigSource.DYNAMIC_BROKER_CONFIG);
        shows(topic, "file.delete.delay.ms", "8000", ConfigSource.DYNAMIC_BROKER_CONFIG);
        that(!entry(own, name).isReadOnly(), name + " is read-only");
        that(entry(own, "log.dirs").isReadOnly(), "log.dirs is not read-only");
        alter(topic, op("file.delete.delay.ms", "9000", OpType.SET));
        shows(topic, "file.delete.delay.ms", "9000", ConfigSource.DYNAMIC_TOPIC_CONFIG);
        alter(own, op(name, "", OpType.DELETE));
        alter(all, op(name, "", OpType.DELETE));
        checks.eventually(() -> entry(all, name) == null, name + " is not deleted");
    }

    private void refusals() throws Exception {
        int node = get(admin.describeCluster().nodes()).iterator().next().id();
        ConfigResource own = new ConfigResource(ConfigResource.Type.BROKER, Integer.toString(node));
        ConfigResource other = new ConfigResource(ConfigResource.Type.TOPIC, topic.name() + "-unknown");
        refused(UnknownTopicOrPartitionException.class, () -> altered(other, op("flush.ms", "1", OpType.SET)));
        for (AlterConfigOp op : List.of(op("no.such.config", "1", OpType.SET), op("retention.ms", "soon", OpType.SET),
                op("retention.ms", "1", OpType.APPEND), op("cleanup.policy", "forget", OpType.SET))) {
            refused(InvalidConfigurationException.class, () -> altered(topic, op));
        }
        refused(InvalidRequestException.class, () ->
                altered(topic, op("flush.ms", "1", OpType.SET), op("flush.ms", "2", OpType.SET)));
        refused(InvalidRequestException.class, () -> altered(own, op("log.dirs", "/elsewhere", OpType.SET)));
        refused(InvalidRequestException.class, () -> altered(own, op("log.retention.ms", "soon", OpType.SET)));
        equal(entry(topic, "flush.ms").source(), ConfigSource.DEFAULT_CONFIG);
    }

    private Object altered(ConfigResource resource, AlterConfigOp... ops) throws Exception {
        alter(resource, ops);
        return "a change";
    }
}
