package org.corelog.tests;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/** A member of a group until standard input ends. Says what it is assigned and what it has read and committed. */
final class Member {
    private Member() {}

    static void run(String bootstrap, String group, String instance, boolean cooperative, String topic) {
        Map<String, Object> config = new HashMap<>();
        config.put("group.id", group);
        config.put("auto.offset.reset", "earliest");
        config.put("session.timeout.ms", 6_000);
        config.put("heartbeat.interval.ms", 500);
        config.put("fetch.max.wait.ms", 100);
        Class<?> assignor = cooperative ? CooperativeStickyAssignor.class : RangeAssignor.class;
        config.put("partition.assignment.strategy", assignor.getName());
        if (instance != null) {
            config.put("group.instance.id", instance);
        }
        AtomicBoolean stopped = new AtomicBoolean();
        Thread waits = new Thread(() -> {
            try {
                System.in.readAllBytes();
            } catch (java.io.IOException e) {
                // It has ended too.
            }
            stopped.set(true);
        });
        waits.setDaemon(true);
        waits.start();
        TreeSet<Integer> assigned = null;
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(bootstrap, config)) {
            consumer.subscribe(List.of(topic));
            while (!stopped.get()) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(100));
                TreeSet<Integer> now = new TreeSet<>();
                for (TopicPartition partition : consumer.assignment()) {
                    now.add(partition.partition());
                }
                if (!now.equals(assigned)) {
                    assigned = now;
                    say("assigned", assigned);
                }
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    say("read", List.of(record.partition(), record.offset()));
                }
                commit(consumer, records);
            }
        }
    }

    private static void commit(KafkaConsumer<byte[], byte[]> consumer, ConsumerRecords<byte[], byte[]> records) {
        if (records.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync(Duration.ofSeconds(10));
        } catch (KafkaException e) {
            // A rebalance or the broker's restart is in between; a later commit says the same.
        }
    }

    private static void say(String what, Iterable<?> numbers) {
        StringBuilder line = new StringBuilder(what);
        for (Object number : numbers) {
            line.append(' ').append(number);
        }
        System.out.println(line);
        System.out.flush();
    }
}
