package org.corelog.tests;

import static org.corelog.tests.Checks.equal;
import static org.corelog.tests.Checks.refused;
import static org.corelog.tests.Checks.that;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.TopicListing;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** The AdminClient: every call that the broker says it has. */
final class AdminChecks {
    private static final Map<String, String> CONFIGS = Map.of("retention.ms", "-1");
    private final Checks checks;
    private final String topic;
    private final TopicPartition first;

    AdminChecks(Checks checks) {
        this.checks = checks;
        this.topic = checks.prefix + "-admin";
        this.first = new TopicPartition(topic, 0);
    }

    static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(30, TimeUnit.SECONDS);
    }

    void run() {
        try (Admin admin = Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, checks.bootstrap))) {
            topics(admin);
            refusals(admin);
            checks.run("AdminClient describes the cluster", () -> cluster(admin));
            checks.run("AdminClient describes a topic's configs", () -> topicConfigs(admin));
            checks.run("AdminClient describes a broker's configs", () -> brokerConfigs(admin));
            checks.run("AdminClient lists offsets of an empty partition", () -> emptyOffsets(admin));
            checks.run("AdminClient lists offsets: earliest, latest, by time, of the greatest time", () -> offsets(admin));
            checks.run("AdminClient lists offsets of tiers that are not there", () -> tieredOffsets(admin));
            checks.run("AdminClient lists no partition reassignments", () ->
                    equal(get(admin.listPartitionReassignments().reassignments()), Map.of()));
            new AdminConfigChecks(checks, admin, topic + "-altered").run();
            new AdminRecordChecks(checks, admin, topic + "-records").run();
            new AdminLookChecks(checks, admin, topic + "-looked-at").run();
            deletions(admin);
        }
    }

    private void topics(Admin admin) {
        checks.run("AdminClient validates a topic without creating it", () -> {
            get(admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1)),
                    new CreateTopicsOptions().validateOnly(true)).all());
            that(!get(admin.listTopics().names()).contains(topic), "it was created");
        });
        checks.run("AdminClient creates a topic and is told what came of it", () -> {
            CreateTopicsResult created =
                    admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1).configs(CONFIGS)));
            equal(get(created.numPartitions(topic)), 3);
            equal(get(created.replicationFactor(topic)), 1);
            equal(get(created.config(topic)).get("retention.ms").value(), "-1");
            that(!get(created.topicId(topic)).equals(Uuid.ZERO_UUID), "no topic id");
            checks.settle();
        });
        checks.run("AdminClient creates a topic with the broker's defaults, and one with replicas by hand", () -> {
            int node = get(admin.describeCluster().nodes()).iterator().next().id();
            get(admin.createTopics(List.of(
                    new NewTopic(topic + "-default", Optional.empty(), Optional.empty()),
                    new NewTopic(topic + "-manual", Map.of(0, List.of(node), 1, List.of(node))))).all());
            checks.settle();
            equal(get(admin.describeTopics(List.of(topic + "-manual")).allTopicNames())
                    .get(topic + "-manual").partitions().size(), 2);
        });
        checks.run("AdminClient lists topics with their ids", () -> {
            Collection<TopicListing> listed = get(admin.listTopics().listings());
            TopicListing one = listed.stream().filter(each -> each.name().equals(topic)).findFirst().orElseThrow();
            equal(one.isInternal(), false);
            equal(one.topicId(), describe(admin).topicId());
        });
        checks.run("AdminClient describes topics by name and by id", () -> {
            TopicDescription described = describe(admin);
            equal(described.partitions().size(), 3);
            described.partitions().forEach(partition -> {
                that(partition.leader() != null && partition.leader().port() > 0, "no leader");
                equal(partition.isr().size(), 1);
                equal(partition.replicas().size(), 1);
            });
            TopicDescription byId = get(admin.describeTopics(TopicCollection.ofTopicIds(Set.of(described.topicId())))
                    .allTopicIds()).get(described.topicId());
            equal(byId.name(), topic);
        });
        checks.run("AdminClient describes many topics over pages of the answer", () -> {
            List<String> names = List.of(topic, topic + "-default", topic + "-manual");
            equal(get(admin.describeTopics(names, new org.apache.kafka.clients.admin.DescribeTopicsOptions()
                    .partitionSizeLimitPerResponse(1)).allTopicNames()).keySet(), Set.copyOf(names));
        });
        checks.run("AdminClient adds partitions", () -> {
            get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all());
            checks.eventually(() -> describe(admin).partitions().size() == 4, "they are not seen");
        });
    }

    private void refusals(Admin admin) {
        checks.run("AdminClient is told that a topic exists", () ->
                refused(TopicExistsException.class, () -> create(admin, new NewTopic(topic, 1, (short) 1))));
        checks.run("AdminClient is told which names are invalid", () -> {
            for (String name : List.of("not a name", ".", "..", "", "x".repeat(250))) {
                refused(InvalidTopicException.class, () -> create(admin, new NewTopic(name, 1, (short) 1)));
            }
        });
        checks.run("AdminClient is told that the replication factor is invalid", () -> {
            for (short factor : new short[] {0, 2}) {
                refused(InvalidReplicationFactorException.class,
                        () -> create(admin, new NewTopic(topic + "-rf", 1, factor)));
            }
        });
        checks.run("AdminClient is told that the number of partitions is invalid", () -> {
            refused(InvalidPartitionsException.class, () -> create(admin, new NewTopic(topic + "-none", 0, (short) 1)));
            refused(InvalidPartitionsException.class,
                    () -> get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all()));
        });
        checks.run("AdminClient is told that a config is invalid", () -> {
            List<Map<String, String>> bad = List.of(Map.of("no.such.config", "1"), Map.of("retention.ms", "soon"),
                    Map.of("max.message.bytes", "-5"), Map.of("cleanup.policy", "forget"));
            for (Map<String, String> configs : bad) {
                refused(InvalidConfigurationException.class,
                        () -> create(admin, new NewTopic(topic + "-config", 1, (short) 1).configs(configs)));
            }
        });
        if (checks.corelog) {
            checks.run("AdminClient is refused a config that would change what is not there", () ->
                    refused(InvalidConfigurationException.class, () -> create(admin,
                            new NewTopic(topic + "-gzip", 1, (short) 1).configs(Map.of("compression.type", "gzip")))));
        }
        checks.run("AdminClient is told that a topic is unknown", () -> {
            refused(UnknownTopicOrPartitionException.class,
                    () -> get(admin.describeTopics(List.of(topic + "-unknown")).allTopicNames()));
            refused(UnknownTopicOrPartitionException.class,
                    () -> get(admin.deleteTopics(List.of(topic + "-unknown")).all()));
            refused(UnknownTopicOrPartitionException.class,
                    () -> get(admin.createPartitions(Map.of(topic + "-unknown", NewPartitions.increaseTo(2))).all()));
            Uuid id = Uuid.randomUuid();
            refused(UnknownTopicIdException.class,
                    () -> get(admin.describeTopics(TopicCollection.ofTopicIds(Set.of(id))).allTopicIds()));
        });
    }

    private void deletions(Admin admin) {
        checks.run("AdminClient deletes topics by name and by id", () -> {
            Uuid id = describe(admin).topicId();
            get(admin.deleteTopics(TopicCollection.ofTopicIds(Set.of(id))).all());
            get(admin.deleteTopics(List.of(topic + "-default", topic + "-manual")).all());
            checks.eventually(() -> get(admin.listTopics().names()).stream()
                    .noneMatch(name -> name.startsWith(topic)), "still listed");
        });
        checks.run("AdminClient creates a deleted topic again, empty and with another id", () -> {
            get(admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all());
            checks.settle();
            Uuid id = describe(admin).topicId();
            equal(offset(admin, OffsetSpec.latest()).offset(), 0L);
            get(admin.deleteTopics(List.of(topic)).all());
            get(admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all());
            checks.settle();
            that(!describe(admin).topicId().equals(id), "the id is the same");
            get(admin.deleteTopics(List.of(topic)).all());
        });
    }

    private static Object create(Admin admin, NewTopic topic) throws Exception {
        return get(admin.createTopics(List.of(topic)).all());
    }

    private TopicDescription describe(Admin admin) throws Exception {
        return get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
    }

    private void cluster(Admin admin) throws Exception {
        DescribeClusterResult result = admin.describeCluster();
        equal(get(result.nodes()).size(), 1);
        that(get(result.controller()) != null, "no controller");
        that(!get(result.clusterId()).isEmpty(), "no cluster id");
        String[] address = checks.bootstrap.split(":");
        equal(get(result.nodes()).iterator().next().port(), Integer.parseInt(address[1]));
    }

    private void topicConfigs(Admin admin) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Config config = get(admin.describeConfigs(List.of(resource)).all()).get(resource);
        equal(config.get("retention.ms").value(), "-1");
        equal(config.get("retention.ms").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        equal(config.get("cleanup.policy").value(), "delete");
        that(config.get("cleanup.policy").isDefault(), "cleanup.policy is not a default");
        equal(config.get("compression.type").value(), "producer");
        equal(config.get("max.message.bytes").value(), "1048588");
        ConfigResource unknown = new ConfigResource(ConfigResource.Type.TOPIC, topic + "-unknown");
        refused(UnknownTopicOrPartitionException.class, () -> get(admin.describeConfigs(List.of(unknown)).all()));
    }

    private void brokerConfigs(Admin admin) throws Exception {
        int node = get(admin.describeCluster().nodes()).iterator().next().id();
        ConfigResource resource = new ConfigResource(ConfigResource.Type.BROKER, Integer.toString(node));
        Config config = get(admin.describeConfigs(List.of(resource)).all()).get(resource);
        for (String name : List.of("default.replication.factor", "num.partitions", "log.dirs", "listeners",
                "auto.create.topics.enable", "message.max.bytes")) {
            that(config.get(name) != null, name + " is not described");
        }
        equal(config.get("default.replication.factor").value(), "1");
    }

    private ListOffsetsResultInfo offset(Admin admin, OffsetSpec spec) throws Exception {
        return get(admin.listOffsets(Map.of(first, spec)).partitionResult(first));
    }

    private void emptyOffsets(Admin admin) throws Exception {
        equal(offset(admin, OffsetSpec.earliest()).offset(), 0L);
        equal(offset(admin, OffsetSpec.latest()).offset(), 0L);
        equal(offset(admin, OffsetSpec.maxTimestamp()).offset(), -1L);
        equal(offset(admin, OffsetSpec.forTimestamp(0)).offset(), -1L);
    }

    private void offsets(Admin admin) throws Exception {
        // Time does not grow with the offset: the greatest one is in the middle, and comes twice.
        long[] times = {1_000, 3_000, 2_000, 9_000, 9_000, 4_000};
        try (KafkaProducer<byte[], byte[]> producer = Client.producer(checks.bootstrap, Map.of("linger.ms", 100))) {
            for (long time : times) {
                producer.send(new ProducerRecord<>(topic, 0, time, null, new byte[10]));
            }
            producer.flush();
            for (long time : times) {
                producer.send(new ProducerRecord<>(topic, 0, time, null, new byte[10])).get(30, TimeUnit.SECONDS);
            }
        }
        equal(offset(admin, OffsetSpec.earliest()).offset(), 0L);
        equal(offset(admin, OffsetSpec.latest()).offset(), 12L);
        byTime(admin, 0, 0, 1_000);
        byTime(admin, 1_000, 0, 1_000);
        byTime(admin, 1_001, 1, 3_000);
        byTime(admin, 3_001, 3, 9_000);
        byTime(admin, 9_000, 3, 9_000);
        byTime(admin, 9_001, -1, -1);
        ListOffsetsResultInfo greatest = offset(admin, OffsetSpec.maxTimestamp());
        equal(greatest.offset(), 3L);
        equal(greatest.timestamp(), 9_000L);
    }

    private void byTime(Admin admin, long time, long offset, long found) throws Exception {
        ListOffsetsResultInfo info = offset(admin, OffsetSpec.forTimestamp(time));
        equal(info.offset() + " at " + info.timestamp(), offset + " at " + found);
    }

    private void tieredOffsets(Admin admin) throws Exception {
        equal(offset(admin, OffsetSpec.earliestLocal()).offset(), 0L);
        equal(offset(admin, OffsetSpec.latestTiered()).offset(), -1L);
        equal(offset(admin, OffsetSpec.earliestPendingUpload()).offset(), -1L);
    }
}
