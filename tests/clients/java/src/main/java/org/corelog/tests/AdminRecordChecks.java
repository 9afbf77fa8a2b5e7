package org.corelog.tests;

import static org.corelog.tests.AdminChecks.get;
import static org.corelog.tests.Checks.equal;
import static org.corelog.tests.Checks.refused;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.PolicyViolationException;

/** The AdminClient deletes records. */
final class AdminRecordChecks {
    private final Checks checks;
    private final Admin admin;
    private final TopicPartition partition;
    private final TopicPartition compacted;

    AdminRecordChecks(Checks checks, Admin admin, String topic) {
        this.checks = checks;
        this.admin = admin;
        this.partition = new TopicPartition(topic, 0);
        this.compacted = new TopicPartition(topic + "-compacted", 0);
    }

    void run() {
        checks.run("AdminClient creates topics to delete records of", () -> {
            get(admin.createTopics(List.of(
                    new NewTopic(partition.topic(), 1, (short) 1),
                    new NewTopic(compacted.topic(), 1, (short) 1).configs(Map.of("cleanup.policy", "compact")))).all());
            checks.settle();
        });
        checks.run("AdminClient deletes records, and they are gone at once", this::deletes);
        refusals();
        checks.run("AdminClient deletes the topics whose records it deleted", () ->
                get(admin.deleteTopics(List.of(partition.topic(), compacted.topic())).all()));
    }

    private long delete(TopicPartition of, long before) throws Exception {
        return get(admin.deleteRecords(Map.of(of, RecordsToDelete.beforeOffset(before))).lowWatermarks().get(of))
                .lowWatermark();
    }

    private long offset(OffsetSpec spec) throws Exception {
        return get(admin.listOffsets(Map.of(partition, spec)).partitionResult(partition)).offset();
    }

    private void deletes() throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = Client.producer(checks.bootstrap, Map.of("linger.ms", 100));
                KafkaConsumer<byte[], byte[]> consumer =
                        Client.consumer(checks.bootstrap, Map.of("auto.offset.reset", "none"))) {
            for (int record = 0; record < 10; record++) {
                producer.send(new ProducerRecord<>(partition.topic(), 0, 1_000L + record, null, new byte[10]));
            }
            producer.flush();
            equal(delete(partition, 4), 4L);
            equal(offset(OffsetSpec.earliest()), 4L);
            equal(offset(OffsetSpec.forTimestamp(0)), 4L);
            equal(offset(OffsetSpec.forTimestamp(1_006)), 6L);
            // What is deleted already is no error.
            equal(delete(partition, 2), 4L);
            consumer.assign(List.of(partition));
            consumer.seek(partition, 2);
            refused(OffsetOutOfRangeException.class, () -> consumer.poll(Duration.ofSeconds(10)));
            consumer.seek(partition, 4);
            equal(consumer.poll(Duration.ofSeconds(10)).iterator().next().offset(), 4L);
            // The high watermark.
            equal(delete(partition, -1), 10L);
            equal(offset(OffsetSpec.earliest()), 10L);
            equal(offset(OffsetSpec.latest()), 10L);
            equal(producer.send(new ProducerRecord<>(partition.topic(), 0, null, new byte[10]))
                    .get(30, TimeUnit.SECONDS).offset(), 10L);
            consumer.seek(partition, 10);
            equal(consumer.poll(Duration.ofSeconds(10)).iterator().next().offset(), 10L);
        }
    }

    private void refusals() {
        checks.run("AdminClient is told that there are no such records", () -> refused(
                org.apache.kafka.common.errors.OffsetOutOfRangeException.class, () -> delete(partition, 99)));
        checks.run("AdminClient is told that a compacted topic keeps its records", () ->
                refused(PolicyViolationException.class, () -> delete(compacted, 0)));
    }
}
