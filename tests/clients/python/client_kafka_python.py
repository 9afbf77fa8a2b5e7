"""kafka-python: pure Python, idempotent by default."""

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from program import awaited, dump, equal, eventually, main, refused


def produce(bootstrap, jobs):
    for job in jobs:
        # Large batches: one that does not shrink is sent plain.
        codec = None if job["codec"] == "none" else job["codec"]
        producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type=codec, linger_ms=1_000,
                                 batch_size=1_000_000)
        sent = [producer.send(job["topic"], value=record["value"], key=record["key"], headers=record["headers"],
                              partition=record["partition"], timestamp_ms=record["timestamp"])
                for record in job["records"]]
        producer.flush(60)
        for future in sent:
            future.get(60)
        producer.close()


def consume(bootstrap, jobs):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest",
                             fetch_max_wait_ms=100)
    by_topic = {job["topic"]: job for job in jobs}
    partitions = [TopicPartition(topic, partition)
                  for topic in by_topic for partition in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    missing = sum(job["count"] for job in jobs)
    while missing > 0:
        polled = consumer.poll(timeout_ms=30_000)
        if not polled:
            raise TimeoutError("%d records are missing" % missing)
        for partition, records in polled.items():
            for record in records:
                dump(by_topic[partition.topic], partition.partition, record.offset, record.timestamp, record.key,
                     record.value, record.headers)
                missing -= 1
    consumer.close()


def checks(check):
    topic = check.prefix + "-kafka-python"
    admin = KafkaAdminClient(bootstrap_servers=check.bootstrap)

    def send(topic, value, **config):
        producer = KafkaProducer(bootstrap_servers=check.bootstrap, **config)
        try:
            return producer.send(topic, value, partition=0).get(20)
        finally:
            producer.close()

    def create():
        admin.create_topics([NewTopic(topic, 2, 1)])
        eventually(check, lambda: topic in admin.list_topics())

    def acks():
        equal(send(topic, b"x", acks="all").offset, 0)
        equal(send(topic, b"x", acks=1, enable_idempotence=False).offset, 1)
        send(topic, b"x", acks=0, enable_idempotence=False)
        partition = TopicPartition(topic, 0)
        consumer = KafkaConsumer(bootstrap_servers=check.bootstrap, group_id=None)
        awaited(lambda: consumer.end_offsets([partition]) == {partition: 3})
        consumer.close()

    def offsets():
        partition = TopicPartition(topic, 0)
        consumer = KafkaConsumer(bootstrap_servers=check.bootstrap, group_id=None)
        equal(consumer.beginning_offsets([partition]), {partition: 0})
        equal(consumer.end_offsets([partition]), {partition: 3})
        equal(consumer.offsets_for_times({partition: 1})[partition].offset, 0)
        consumer.close()

    def too_large():
        refused("MessageSizeTooLarge", send, topic, b"x" * 2_000_000, max_request_size=5_000_000)

    def bad_name():
        refused("InvalidTopic", admin.create_topics, [NewTopic("not a name", 1, 1)])

    def replication_factor():
        refused("InvalidReplicationFactor", admin.create_topics, [NewTopic(topic + "-rf", 1, 2)])

    def looked_at():
        partition = TopicPartition(topic, 0)
        broker, = admin.describe_log_dirs()
        found = {one["name"]: one["partitions"] for path in broker["log_dirs"] for one in path["topics"]}
        size, = [one["partition_size"] for one in found[topic] if one["partition_index"] == 0]
        assert size > 0, "a written partition of no bytes"
        assert admin.describe_producers([partition])[partition].active_producers, "no idempotent producer"
        admin.elect_leaders(0, {topic: [0, 1]})
        admin.elect_leaders(1)
        equal(admin.alter_partition_reassignments({partition: [broker["broker"]]}), {partition: None})
        equal(admin.describe_metadata_quorum()["topics"][0]["partitions"][0]["leader_id"], broker["broker"])
        assert topic in admin.list_config_resources(["TOPIC"])["topic"], "the topic is not listed"

    def delete():
        admin.delete_topics([topic])
        eventually(check, lambda: topic not in admin.list_topics())

    check.run("creates a topic", create)
    check.run("produces with acks all, 1 and 0", acks)
    check.run("lists offsets", offsets)
    check.run("is told that a record is too large", too_large)
    check.run("is told that a name is invalid", bad_name)
    check.run("is told that the replication factor is invalid", replication_factor)
    check.run("looks at log directories, producers, leaders and the quorum", looked_at)
    check.run("deletes a topic", delete)


def member(self):
    consumer = KafkaConsumer(
        self.topic, bootstrap_servers=self.bootstrap, group_id=self.group, auto_offset_reset="earliest",
        enable_auto_commit=False, session_timeout_ms=6_000, heartbeat_interval_ms=500, group_instance_id=self.instance)
    while not self.stopped.is_set():
        polled = consumer.poll(timeout_ms=100)
        self.say_assigned(partition.partition for partition in consumer.assignment())
        for partition, records in polled.items():
            for record in records:
                self.say_read(partition.partition, record.offset)
        if polled:
            try:
                consumer.commit()
            except KafkaError:
                # A rebalance or the broker's restart is in between; a later commit says the same.
                pass
    consumer.close()


main(produce, consume, checks, member)
