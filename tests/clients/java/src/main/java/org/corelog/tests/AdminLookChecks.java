package org.corelog.tests;

import static org.corelog.tests.AdminChecks.get;
import static org.corelog.tests.Checks.equal;
import static org.corelog.tests.Checks.refused;
import static org.corelog.tests.Checks.that;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.QuorumInfo;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.LogTruncationException;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.BrokerIdNotRegisteredException;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.InvalidReplicaAssignmentException;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.errors.InvalidUpdateVersionException;
import org.apache.kafka.common.errors.LogDirNotFoundException;
import org.apache.kafka.common.errors.NoReassignmentInProgressException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** The AdminClient looks at log directories, producers, leaders and what has settings; a consumer at epochs. */
final class AdminLookChecks {
    private final Checks checks;
    private final Admin admin;
    private final TopicPartition written;
    private final TopicPartition empty;
    private final TopicPartition unknown;
    private int node;

    AdminLookChecks(Checks checks, Admin admin, String topic) {
        this.checks = checks;
        this.admin = admin;
        this.written = new TopicPartition(topic, 0);
        this.empty = new TopicPartition(topic, 1);
        this.unknown = new TopicPartition(topic, 9);
    }

    void run() {
        checks.run("AdminClient creates a topic to look at", this::create);
        checks.run("AdminClient describes log directories", this::logDirs);
        checks.run("AdminClient describes active producers", this::producers);
        checks.run("KafkaConsumer finds a truncation by leader epoch", this::truncation);
        checks.run("AdminClient is told that no election is needed", this::elections);
        checks.run("AdminClient reassigns a partition to where it is", this::reassignments);
        checks.run("AdminClient lists what has settings", this::configResources);
        checks.run("AdminClient describes the metadata quorum", this::quorum);
        checks.run("AdminClient describes features", () -> get(admin.describeFeatures().featureMetadata()));
        if (checks.corelog) {
            checks.run("AdminClient is told what one broker does not do", this::refusals);
        }
        checks.run("AdminClient deletes the topic that it looked at", () ->
                get(admin.deleteTopics(List.of(written.topic())).all()));
    }

    private void create() throws Exception {
        node = get(admin.describeCluster().nodes()).iterator().next().id();
        get(admin.createTopics(List.of(new NewTopic(written.topic(), 2, (short) 1))).all());
        checks.settle();
        try (KafkaProducer<byte[], byte[]> producer = Client.producer(checks.bootstrap, Map.of("linger.ms", 100))) {
            for (int record = 0; record < 5; record++) {
                producer.send(new ProducerRecord<>(written.topic(), 0, 1_000L + record, null, new byte[100]));
            }
            producer.flush();
        }
    }

    private Map<String, LogDirDescription> described() throws Exception {
        return get(admin.describeLogDirs(List.of(node)).allDescriptions()).get(node);
    }

    private void logDirs() throws Exception {
        Map<String, LogDirDescription> dirs = described();
        that(!dirs.isEmpty(), "no log directory");
        long size = 0;
        for (LogDirDescription dir : dirs.values()) {
            equal(dir.error(), null);
            that(dir.totalBytes().getAsLong() > 0, "no total bytes");
            that(dir.usableBytes().getAsLong() > 0, "no usable bytes");
            that(dir.usableBytes().getAsLong() <= dir.totalBytes().getAsLong(), "more usable than total bytes");
            if (dir.replicaInfos().containsKey(written)) {
                size = dir.replicaInfos().get(written).size();
                equal(dir.replicaInfos().get(written).offsetLag(), 0L);
                that(!dir.replicaInfos().get(written).isFuture(), "a future replica");
            }
        }
        // Five records of a hundred bytes, and what a batch has besides.
        that(size > 500 && size < 1_000, "a size of " + size);
        Map<TopicPartitionReplica, ?> replicas = get(admin.describeReplicaLogDirs(
                List.of(new TopicPartitionReplica(written.topic(), 0, node))).all());
        equal(replicas.size(), 1);
    }

    private void producers() throws Exception {
        var found = admin.describeProducers(List.of(written, empty));
        List<ProducerState> producers = get(found.partitionResult(written)).activeProducers();
        equal(producers.size(), 1);
        ProducerState producer = producers.get(0);
        that(producer.producerId() >= 0, "a negative producer id");
        equal(producer.producerEpoch(), 0);
        equal(producer.lastSequence(), 4);
        equal(producer.lastTimestamp(), 1_004L);
        equal(producer.currentTransactionStartOffset().isPresent(), false);
        equal(get(found.partitionResult(empty)).activeProducers(), List.of());
    }

    private void truncation() throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer =
                Client.consumer(checks.bootstrap, Map.of("auto.offset.reset", "none"))) {
            consumer.assign(List.of(written));
            consumer.seek(written, new OffsetAndMetadata(3, Optional.of(0), ""));
            equal(consumer.poll(Duration.ofSeconds(10)).iterator().next().offset(), 3L);
            // Somebody who read 99 records of this epoch read them elsewhere.
            consumer.seek(written, new OffsetAndMetadata(99, Optional.of(0), ""));
            LogTruncationException truncation = refused(LogTruncationException.class, () -> {
                for (int tries = 0; tries < 20; tries++) {
                    consumer.poll(Duration.ofSeconds(1));
                }
                return "no exception";
            });
            equal(truncation.divergentOffsets().get(written).offset(), 5L);
        }
    }

    private void elections() throws Exception {
        for (ElectionType type : ElectionType.values()) {
            var elected = get(admin.electLeaders(type, Set.of(written, unknown)).partitions());
            equal(elected.get(written).get().getClass(), ElectionNotNeededException.class);
            equal(elected.get(unknown).get().getClass(), UnknownTopicOrPartitionException.class);
            equal(get(admin.electLeaders(type, null).partitions()), Map.of());
        }
    }

    private Object reassigned(TopicPartition partition, Integer... replicas) throws Exception {
        var wanted = replicas.length == 0
                ? Optional.<NewPartitionReassignment>empty()
                : Optional.of(new NewPartitionReassignment(List.of(replicas)));
        return get(admin.alterPartitionReassignments(Map.of(partition, wanted)).values().get(partition));
    }

    private void reassignments() throws Exception {
        reassigned(written, node);
        refused(InvalidReplicaAssignmentException.class, () -> reassigned(written, node + 98));
        refused(UnknownTopicOrPartitionException.class, () -> reassigned(unknown, node));
        refused(NoReassignmentInProgressException.class, () -> reassigned(written));
    }

    private void configResources() throws Exception {
        var all = get(admin.listConfigResources().all());
        Set<ConfigResource> found = Set.copyOf(all);
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, Integer.toString(node));
        that(found.contains(broker), "the broker is not listed");
        that(found.contains(new ConfigResource(ConfigResource.Type.TOPIC, written.topic())), "the topic is not listed");
        equal(Set.copyOf(get(admin.listConfigResources(Set.of(ConfigResource.Type.BROKER), new ListConfigResourcesOptions()).all())),
                Set.of(broker));
        // Whatever is listed can be described.
        get(admin.describeConfigs(found.stream()
                .filter(resource -> resource.type() != ConfigResource.Type.TOPIC)
                .collect(Collectors.toSet())).all());
        for (ConfigResource.Type type : List.of(ConfigResource.Type.GROUP, ConfigResource.Type.CLIENT_METRICS)) {
            get(admin.describeConfigs(List.of(new ConfigResource(type, "nobody"))).all());
        }
    }

    private void quorum() throws Exception {
        QuorumInfo quorum = get(admin.describeMetadataQuorum().quorumInfo());
        equal(quorum.leaderId(), quorum.voters().get(0).replicaId());
        that(quorum.highWatermark() > 0, "an empty metadata log");
        that(quorum.voters().get(0).logEndOffset() >= quorum.highWatermark(), "the log ends before its high watermark");
        if (checks.corelog) {
            equal(quorum.leaderId(), node);
            equal(quorum.voters().size(), 1);
            equal(quorum.observers(), List.of());
            equal(quorum.nodes().keySet(), Set.of(node));
        }
    }

    private void refusals() throws Exception {
        refused(InvalidRequestException.class, () -> get(admin.unregisterBroker(node).all()));
        refused(BrokerIdNotRegisteredException.class, () -> get(admin.unregisterBroker(node + 98).all()));
        refused(InvalidUpdateVersionException.class, () -> get(admin.updateFeatures(
                Map.of("kraft.version", new FeatureUpdate((short) 1, FeatureUpdate.UpgradeType.UPGRADE)),
                new UpdateFeaturesOptions()).all()));
        String dir = described().entrySet().stream()
                .filter(entry -> entry.getValue().replicaInfos().containsKey(written))
                .findFirst().get().getKey();
        TopicPartitionReplica replica = new TopicPartitionReplica(written.topic(), 0, node);
        get(admin.alterReplicaLogDirs(Map.of(replica, dir)).all());
        refused(LogDirNotFoundException.class, () ->
                get(admin.alterReplicaLogDirs(Map.of(replica, dir + "-elsewhere")).all()));
    }
}
