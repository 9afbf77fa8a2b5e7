package org.corelog.tests;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Produces a manifest and reads topics back, with the client's default settings. */
final class Client {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Client() {}

    static KafkaProducer<byte[], byte[]> producer(String bootstrap, Map<String, Object> settings) {
        Map<String, Object> config = new HashMap<>(settings);
        config.put("bootstrap.servers", bootstrap);
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, Map<String, Object> settings) {
        Map<String, Object> config = new HashMap<>();
        config.put("enable.auto.commit", false);
        config.put("auto.offset.reset", "none");
        config.putAll(settings);
        config.put("bootstrap.servers", bootstrap);
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static void produce(String bootstrap, Program.Job job) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, Map.of("compression.type", job.codec))) {
            for (String line : Files.readAllLines(Path.of(job.input), StandardCharsets.UTF_8)) {
                JsonNode record = JSON.readTree(line);
                List<Header> headers = new ArrayList<>();
                for (JsonNode pair : record.get("headers")) {
                    headers.add(new RecordHeader(pair.get(0).asText(), bytes(pair.get(1))));
                }
                sent.add(producer.send(new ProducerRecord<>(job.topic, record.get("partition").asInt(),
                        record.get("timestamp").asLong(), bytes(record.get("key")), bytes(record.get("value")), headers)));
            }
            producer.flush();
            for (Future<RecordMetadata> one : sent) {
                one.get(60, TimeUnit.SECONDS);
            }
        }
    }

    static void consume(String bootstrap, List<Program.Job> jobs) throws Exception {
        Map<String, PrintWriter> files = new HashMap<>();
        long missing = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, Map.of("fetch.max.wait.ms", 100))) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (Program.Job job : jobs) {
                files.put(job.topic, new PrintWriter(job.output, StandardCharsets.UTF_8));
                missing += job.count;
                for (PartitionInfo info : consumer.partitionsFor(job.topic)) {
                    partitions.add(new TopicPartition(info.topic(), info.partition()));
                }
            }
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            while (missing > 0) {
                ConsumerRecords<byte[], byte[]> polled = consumer.poll(Duration.ofSeconds(30));
                if (polled.isEmpty()) {
                    throw new IllegalStateException(missing + " records are missing");
                }
                missing -= polled.count();
                for (ConsumerRecord<byte[], byte[]> record : polled) {
                    files.get(record.topic()).println(line(record));
                }
            }
        }
        files.values().forEach(PrintWriter::close);
    }

    private static String line(ConsumerRecord<byte[], byte[]> record) throws IOException {
        ObjectNode out = JSON.createObjectNode();
        out.put("partition", record.partition());
        out.put("offset", record.offset());
        out.put("timestamp", record.timestamp());
        out.put("key", record.key());
        out.put("value", record.value());
        ArrayNode headers = out.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(header.value());
        }
        return JSON.writeValueAsString(out);
    }

    private static byte[] bytes(JsonNode node) throws IOException {
        return node.isNull() ? null : node.binaryValue();
    }
}
