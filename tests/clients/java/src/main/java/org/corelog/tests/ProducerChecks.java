package org.corelog.tests;

import static org.corelog.tests.Checks.equal;
import static org.corelog.tests.Checks.refused;
import static org.corelog.tests.Checks.that;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.errors.TimeoutException;

/** The producer beyond what the matrix produces. */
final class ProducerChecks {
    private final Checks checks;
    private final String topic;

    ProducerChecks(Checks checks) {
        this.checks = checks;
        this.topic = checks.prefix + "-producer";
    }

    void run() {
        checks.run("the Java producer gets a topic created by producing to it", () ->
                equal(send(topic, 10, Map.of()).offset(), 0L));
        checks.run("the Java producer sends with acks all, 1 and 0", () -> {
            equal(send(topic, 10, Map.of("acks", "all")).offset(), 1L);
            equal(send(topic, 10, Map.of("acks", "1", "enable.idempotence", false)).offset(), 2L);
            equal(send(topic, 10, Map.of("acks", "0", "enable.idempotence", false)).hasOffset(), false);
            awaitEnd(4);
            equal(send(topic, 10, Map.of("acks", "all", "enable.idempotence", false)).offset(), 4L);
        });
        checks.run("the Java producer is told that a record is too large, and goes on", () -> {
            try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
                refused(RecordTooLargeException.class, () -> send(producer, topic, 2_000_000));
                that(send(producer, topic, 1_000_000).offset() == 5, "the next record is not taken");
            }
        });
        checks.run("the Java producer is told that a name is invalid", () ->
                refused(InvalidTopicException.class, () -> send("not a name", 1, Map.of())));
        checks.run("the Java producer keeps an idempotent order over many requests in flight", () -> {
            try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("batch.size", 100, "linger.ms", 0))) {
                RecordMetadata last = null;
                List<Future<RecordMetadata>> sent = new ArrayList<>();
                for (int i = 0; i < 2_000; i++) {
                    sent.add(producer.send(new ProducerRecord<>(topic, 0, null, null, new byte[90])));
                }
                for (Future<RecordMetadata> one : sent) {
                    RecordMetadata now = one.get(60, TimeUnit.SECONDS);
                    that(last == null || now.offset() == last.offset() + 1, "order is lost at " + now.offset());
                    last = now;
                }
            }
        });
        if (checks.corelog) {
            checks.run("the Java producer is refused transactions for good", this::transactions);
        }
    }

    /** Nothing says when acks=0 is done. */
    private void awaitEnd(long wanted) throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(checks.bootstrap, Map.of())) {
            for (int tries = 0; consumer.endOffsets(List.of(partition)).get(partition) != wanted; tries++) {
                that(tries < 100, "what was sent with acks=0 is not there");
                Thread.sleep(100);
            }
        }
    }

    private void transactions() throws Exception {
        Map<String, Object> settings = Map.of("transactional.id", topic, "max.block.ms", 20_000);
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            KafkaException error = refused(KafkaException.class, () -> {
                producer.initTransactions();
                return "a transactional producer";
            });
            // A timeout would mean that the client went on trying.
            that(!(error instanceof TimeoutException) && !(error instanceof RetriableException), error.toString());
            refused(KafkaException.class, () -> {
                producer.beginTransaction();
                return "a transaction";
            });
        }
    }

    private KafkaProducer<byte[], byte[]> producer(Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(Map.of("max.request.size", 5_000_000));
        all.putAll(settings);
        return Client.producer(checks.bootstrap, all);
    }

    private RecordMetadata send(String topic, int size, Map<String, Object> settings) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            return send(producer, topic, size);
        }
    }

    private static RecordMetadata send(KafkaProducer<byte[], byte[]> producer, String topic, int size) throws Exception {
        return producer.send(new ProducerRecord<>(topic, 0, null, null, new byte[size])).get(60, TimeUnit.SECONDS);
    }
}
