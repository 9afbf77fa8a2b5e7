package org.corelog.tests;

import static org.corelog.tests.Checks.equal;
import static org.corelog.tests.Checks.refused;
import static org.corelog.tests.Checks.that;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** The consumer with partitions assigned by hand: long polls, fetch sessions, positions. */
final class ConsumerChecks {
    private final Checks checks;
    private final String topic;

    ConsumerChecks(Checks checks) {
        this.checks = checks;
        this.topic = checks.prefix + "-consumer";
    }

    void run() {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", checks.bootstrap));
                KafkaProducer<byte[], byte[]> producer = Client.producer(checks.bootstrap, Map.of("linger.ms", 0))) {
            checks.run("AdminClient creates what the consumer reads", () -> {
                admin.createTopics(List.of(new NewTopic(topic, 8, (short) 1))).all().get(30, TimeUnit.SECONDS);
                checks.settle();
            });
            checks.run("the Java consumer's long poll ends when a record comes", () -> longPollEnds(producer));
            checks.run("the Java consumer's long poll is held while nothing comes", this::longPollHolds);
            checks.run("the Java consumer's long poll waits for fetch.min.bytes", () -> minimumBytes(producer));
            checks.run("the Java consumer keeps a fetch session over changing assignments", () -> session(producer));
            checks.run("the Java consumer seeks, pauses and resumes", () -> seeks(producer));
            checks.run("the Java consumer reads a partition in small pieces", () -> pieces(producer));
            checks.run("the Java consumer is told that an offset is out of range", this::outOfRange);
            checks.run("the Java consumer finds offsets for times", () -> times(producer));
            checks.run("the Java consumer reads what is committed", this::committed);
            checks.run("the Java consumer is told that a topic is unknown, and creates none", () -> unknown(admin));
            checks.run("the Java consumer follows a topic that is deleted and created again", () ->
                    recreated(admin, producer));
        }
    }

    private TopicPartition at(int partition) {
        return new TopicPartition(topic, partition);
    }

    private KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> settings) {
        return Client.consumer(checks.bootstrap, settings);
    }

    private void send(KafkaProducer<byte[], byte[]> producer, int partition, String value) throws Exception {
        producer.send(new ProducerRecord<>(topic, partition, null, null, value.getBytes())).get(30, TimeUnit.SECONDS);
    }

    private static KafkaConsumer<byte[], byte[]> from(KafkaConsumer<byte[], byte[]> consumer, TopicPartition... list) {
        consumer.assign(List.of(list));
        consumer.seekToBeginning(List.of(list));
        return consumer;
    }

    /** Polls until a record is there that is wanted, at most 20 seconds. */
    private static ConsumerRecord<byte[], byte[]> next(KafkaConsumer<byte[], byte[]> consumer,
            Predicate<ConsumerRecord<byte[], byte[]>> wanted) {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (System.nanoTime() < deadline) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                if (wanted.test(record)) {
                    return record;
                }
            }
        }
        throw new AssertionError("no such record within 20 s");
    }

    private static String value(ConsumerRecord<byte[], byte[]> record) {
        return new String(record.value());
    }

    private static double fetches(KafkaConsumer<byte[], byte[]> consumer) {
        for (Map.Entry<MetricName, ? extends org.apache.kafka.common.Metric> one : consumer.metrics().entrySet()) {
            if (one.getKey().name().equals("fetch-total") && !one.getKey().tags().containsKey("topic")) {
                return (Double) one.getValue().metricValue();
            }
        }
        throw new AssertionError("no metric fetch-total");
    }

    private void longPollEnds(KafkaProducer<byte[], byte[]> producer) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("fetch.max.wait.ms", 6_000))) {
            from(consumer, at(0)).poll(Duration.ofMillis(500));
            long start = System.nanoTime();
            CompletableFuture<Void> sent = CompletableFuture.runAsync(() -> {
                try {
                    send(producer, 0, "awaited");
                } catch (Exception error) {
                    throw new IllegalStateException(error);
                }
            });
            equal(value(next(consumer, record -> true)), "awaited");
            sent.get(30, TimeUnit.SECONDS);
            long waited = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
            that(waited < 3_000, "the record came after " + waited + " ms");
        }
    }

    private void longPollHolds() {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("fetch.max.wait.ms", 500))) {
            from(consumer, at(1)).poll(Duration.ofMillis(600));
            double before = fetches(consumer);
            consumer.poll(Duration.ofMillis(2_000));
            double count = fetches(consumer) - before;
            that(count >= 2 && count <= 6, count + " fetches of 500 ms in 2 s");
        }
    }

    private void minimumBytes(KafkaProducer<byte[], byte[]> producer) throws Exception {
        send(producer, 2, "little");
        Map<String, Object> settings = Map.of("fetch.min.bytes", 1_000_000, "fetch.max.wait.ms", 1_500);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(settings)) {
            consumer.assign(List.of(at(2)));
            consumer.seek(at(2), 0);
            long start = System.nanoTime();
            equal(value(next(consumer, record -> true)), "little");
            long waited = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
            that(waited >= 1_400, "the answer came after " + waited + " ms");
        }
    }

    private void session(KafkaProducer<byte[], byte[]> producer) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("fetch.max.wait.ms", 200))) {
            from(consumer, at(3), at(4), at(5));
            for (int round = 0; round < 3; round++) {
                for (int partition = 3; partition <= 5; partition++) {
                    String text = "round " + round + " of " + partition;
                    send(producer, partition, text);
                    equal(value(next(consumer, record -> true)), text);
                }
            }
            // Partitions leave and come while the session lives; those that stay keep their positions.
            consumer.assign(List.of(at(4), at(6)));
            consumer.seekToBeginning(List.of(at(6)));
            send(producer, 3, "not assigned");
            send(producer, 6, "new in the session");
            equal(value(next(consumer, record -> true)), "new in the session");
            send(producer, 4, "still in the session");
            equal(value(next(consumer, record -> true)), "still in the session");
            consumer.assign(List.of(at(3)));
            consumer.seek(at(3), 3);
            equal(value(next(consumer, record -> true)), "not assigned");
        }
    }

    private void seeks(KafkaProducer<byte[], byte[]> producer) throws Exception {
        for (int i = 0; i < 5; i++) {
            send(producer, 7, "value " + i);
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("fetch.max.wait.ms", 200, "max.poll.records", 1))) {
            consumer.assign(List.of(at(7)));
            consumer.seek(at(7), 3);
            equal(value(next(consumer, record -> true)), "value 3");
            consumer.seek(at(7), 1);
            equal(value(next(consumer, record -> true)), "value 1");
            consumer.pause(List.of(at(7)));
            equal(consumer.poll(Duration.ofMillis(300)).count(), 0);
            consumer.resume(List.of(at(7)));
            equal(value(next(consumer, record -> true)), "value 2");
            consumer.seekToEnd(List.of(at(7)));
            equal(consumer.position(at(7)), 5L);
            equal(consumer.beginningOffsets(List.of(at(7))), Map.of(at(7), 0L));
            equal(consumer.endOffsets(List.of(at(7))), Map.of(at(7), 5L));
            equal(consumer.currentLag(at(7)).orElse(0), 0L);
        }
    }

    private void pieces(KafkaProducer<byte[], byte[]> producer) throws Exception {
        for (int i = 0; i < 20; i++) {
            send(producer, 1, "piece " + i + "-".repeat(5_000));
        }
        // Each answer has room for less than one batch, and must bring one all the same.
        Map<String, Object> small = Map.of("max.partition.fetch.bytes", 100, "fetch.max.bytes", 100);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(small)) {
            from(consumer, at(1));
            for (int i = 0; i < 20; ) {
                ConsumerRecords<byte[], byte[]> polled = consumer.poll(Duration.ofSeconds(20));
                that(!polled.isEmpty(), "nothing after piece " + i);
                for (ConsumerRecord<byte[], byte[]> record : polled) {
                    that(value(record).startsWith("piece " + i + "-"), "piece " + i + " is " + value(record));
                    i++;
                }
            }
        }
    }

    private void outOfRange() throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(at(7)));
            consumer.seek(at(7), 1_000);
            refused(OffsetOutOfRangeException.class, () -> next(consumer, record -> true));
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("auto.offset.reset", "earliest"))) {
            consumer.assign(List.of(at(7)));
            consumer.seek(at(7), 1_000);
            equal(value(next(consumer, record -> true)), "value 0");
        }
    }

    private void times(KafkaProducer<byte[], byte[]> producer) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            long now = System.currentTimeMillis();
            equal(consumer.offsetsForTimes(Map.of(at(7), 1L)).get(at(7)).offset(), 0L);
            equal(consumer.offsetsForTimes(Map.of(at(7), now + 3_600_000)).get(at(7)), null);
        }
    }

    private void committed() {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("isolation.level", "read_committed"))) {
            from(consumer, at(7));
            for (int i = 0; i < 5; ) {
                ConsumerRecords<byte[], byte[]> polled = consumer.poll(Duration.ofSeconds(20));
                that(!polled.isEmpty(), "nothing after " + i);
                i += polled.count();
            }
            equal(consumer.endOffsets(List.of(at(7))), Map.of(at(7), 5L));
        }
    }

    private void unknown(Admin admin) throws Exception {
        String name = topic + "-unknown";
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("allow.auto.create.topics", false))) {
            try {
                equal(consumer.partitionsFor(name, Duration.ofSeconds(5)), List.of());
            } catch (UnknownTopicOrPartitionException expected) {
                // Either answer is the client's; what counts is that the topic doesn't exist afterwards.
            }
        }
        that(!admin.listTopics().names().get(30, TimeUnit.SECONDS).contains(name), "it was created");
    }

    private void recreated(Admin admin, KafkaProducer<byte[], byte[]> producer) throws Exception {
        Map<String, Object> settings = Map.of("auto.offset.reset", "earliest", "metadata.max.age.ms", 500,
                "fetch.max.wait.ms", 200);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(settings)) {
            from(consumer, at(7));
            equal(value(next(consumer, record -> true)), "value 0");
            admin.deleteTopics(List.of(topic)).all().get(30, TimeUnit.SECONDS);
            admin.createTopics(List.of(new NewTopic(topic, 8, (short) 1))).all().get(30, TimeUnit.SECONDS);
            try (KafkaProducer<byte[], byte[]> fresh = Client.producer(checks.bootstrap, Map.of())) {
                send(fresh, 7, "of the new topic");
            }
            equal(value(next(consumer, record -> value(record).equals("of the new topic"))), "of the new topic");
        }
        admin.deleteTopics(List.of(topic)).all().get(30, TimeUnit.SECONDS);
    }
}
