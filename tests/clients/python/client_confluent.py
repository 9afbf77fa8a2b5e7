"""confluent-kafka: librdkafka as most of the world runs it."""

from confluent_kafka import OFFSET_BEGINNING, Consumer, ElectionType, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, NewPartitions,
                                   NewTopic, OffsetSpec, ResourceType)

from program import awaited, dump, equal, eventually, main, refused


def produce(bootstrap, jobs):
    for job in jobs:
        failures = []
        # A linger that holds a whole partition: librdkafka sends a batch plain that does not shrink.
        producer = Producer({"bootstrap.servers": bootstrap, "compression.type": job["codec"], "linger.ms": 1_000})
        for record in job["records"]:
            producer.produce(
                job["topic"], record["value"], record["key"], record["partition"], timestamp=record["timestamp"],
                headers=record["headers"], on_delivery=lambda error, _: error and failures.append(error))
        equal(producer.flush(60), 0)
        equal(failures, [])


def consume(bootstrap, jobs):
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
        "fetch.wait.max.ms": 100, "auto.offset.reset": "error",
    })
    by_topic = {job["topic"]: job for job in jobs}
    known = consumer.list_topics(timeout=30).topics
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)
                     for topic in by_topic for partition in known[topic].partitions])
    missing = sum(job["count"] for job in jobs)
    while missing > 0:
        messages = consumer.consume(min(missing, 1_000), timeout=30)
        if not messages:
            raise TimeoutError("%d records are missing" % missing)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            dump(by_topic[message.topic()], message.partition(), message.offset(), message.timestamp()[1],
                 message.key(), message.value(), message.headers() or [])
            missing -= 1
    consumer.close()


def checks(check):
    admin = AdminClient({"bootstrap.servers": check.bootstrap})
    topic = check.prefix + "-confluent"

    def send(topic, value, **config):
        """Produces one record; returns the message as delivered or raises what the broker said."""
        producer = Producer({"bootstrap.servers": check.bootstrap, "message.timeout.ms": 20_000, **config})
        delivered = []
        producer.produce(topic, value, partition=0, on_delivery=lambda *result: delivered.append(result))
        producer.flush(30)
        (error, message), = delivered
        if error:
            raise KafkaException(error)
        return message

    def create():
        created = admin.create_topics([NewTopic(topic, 2, 1, config={"retention.ms": "-1"})])
        created[topic].result(30)
        eventually(check, lambda: sorted(admin.list_topics(topic, timeout=30).topics[topic].partitions) == [0, 1])

    def configs():
        resource = ConfigResource(ResourceType.TOPIC, topic)
        entries = admin.describe_configs([resource])[resource].result(30)
        equal(entries["retention.ms"].value, "-1")

    def described(name):
        resource = ConfigResource(ResourceType.TOPIC, topic)
        entry = admin.describe_configs([resource])[resource].result(30)[name]
        return entry.value, ConfigSource(entry.source)

    def incremental():
        def change(name, value, operation):
            entry = ConfigEntry(name, value, incremental_operation=operation)
            resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
            admin.incremental_alter_configs([resource])[resource].result(30)

        change("flush.messages", "77", AlterConfigOpType.SET)
        change("cleanup.policy", "compact", AlterConfigOpType.APPEND)
        eventually(check, lambda: described("cleanup.policy") == ("delete,compact", ConfigSource.DYNAMIC_TOPIC_CONFIG))
        change("cleanup.policy", None, AlterConfigOpType.DELETE)
        eventually(check, lambda: described("cleanup.policy") == ("delete", ConfigSource.DEFAULT_CONFIG))
        equal(described("flush.messages"), ("77", ConfigSource.DYNAMIC_TOPIC_CONFIG))
        refused("INVALID_CONFIG", change, "flush.messages", "many", AlterConfigOpType.SET)

    def alter():
        resource = ConfigResource(ResourceType.TOPIC, topic, set_config={"retention.ms": "-1", "flush.ms": "88"})
        admin.alter_configs([resource])[resource].result(30)
        eventually(check, lambda: described("flush.ms") == ("88", ConfigSource.DYNAMIC_TOPIC_CONFIG))
        equal(described("flush.messages")[1], ConfigSource.DEFAULT_CONFIG)
        resource = ConfigResource(ResourceType.BROKER, "1", set_config={"log.dirs": "/elsewhere"})
        refused("INVALID_REQUEST", admin.alter_configs([resource])[resource].result, 30)

    def delete_records():
        def delete(offset):
            partition = TopicPartition(topic, 0, offset)
            return admin.delete_records([partition])[partition].result(30).low_watermark

        equal(delete(2), 2)
        partition = TopicPartition(topic, 0)
        listed = admin.list_offsets({partition: OffsetSpec.earliest()})[partition].result(30)
        equal(listed.offset, 2)
        refused("OFFSET_OUT_OF_RANGE", delete, 99)
        equal(delete(-1), 5)

    def grow():
        admin.create_partitions([NewPartitions(topic, 4)])[topic].result(30)
        eventually(check, lambda: len(admin.list_topics(topic, timeout=30).topics[topic].partitions) == 4)

    def acks():
        for offset, acks in enumerate(["1", "all", "1"]):
            equal(send(topic, b"acks", acks=acks).offset(), offset)
        send(topic, b"acks", acks="0")
        latest = {TopicPartition(topic, 0): OffsetSpec.latest()}
        awaited(lambda: [one.result(30).offset for one in admin.list_offsets(latest).values()] == [4])

    def offsets():
        partition = TopicPartition(topic, 0)
        consumer = Consumer({"bootstrap.servers": check.bootstrap, "group.id": "unused"})
        low, high = consumer.get_watermark_offsets(partition, timeout=30)
        equal((low, high), (0, 4))
        consumer.close()
        listed = admin.list_offsets({partition: OffsetSpec.latest()})[partition].result(30)
        equal(listed.offset, 4)

    def idempotent():
        equal(send(topic, b"idempotent", **{"enable.idempotence": True}).offset(), 4)

    def elections():
        partitions = [TopicPartition(topic, 0), TopicPartition(topic, 9)]
        for kind in (ElectionType.PREFERRED, ElectionType.UNCLEAN):
            found = admin.elect_leaders(kind, partitions).result(30)
            errors = {one.partition: error.code() for one, error in found.items()}
            equal(errors, {0: KafkaError.ELECTION_NOT_NEEDED, 9: KafkaError.UNKNOWN_TOPIC_OR_PART})
            admin.elect_leaders(kind).result(30)

    def cluster():
        described = admin.describe_cluster().result(30)
        equal([node.id for node in described.nodes], [described.controller.id])

    def too_large():
        refused("MSG_SIZE_TOO_LARGE", send, topic, b"x" * 2_000_000, **{"message.max.bytes": 5_000_000})

    def unknown():
        refused("UNKNOWN_TOPIC", send, topic + "-unknown", b"x", **{"allow.auto.create.topics": False,
                                                                     "topic.metadata.propagation.max.ms": 1_000})
        equal(topic + "-unknown" in admin.list_topics(timeout=30).topics, False)

    def created_by_producing():
        equal(send(topic + "-auto", b"x").offset(), 0)

    def bad_name():
        refused("TOPIC_EXCEPTION", admin.create_topics([NewTopic("not a name", 1, 1)])["not a name"].result, 30)

    def replication_factor():
        refused("INVALID_REPLICATION_FACTOR", admin.create_topics([NewTopic(topic + "-rf", 1, 2)])[topic + "-rf"].result, 30)

    def transactions():
        producer = Producer({"bootstrap.servers": check.bootstrap, "transactional.id": check.prefix})
        try:
            producer.init_transactions(20)
        except KafkaException as error:
            # A timeout would mean that the client went on trying.
            equal((error.args[0].fatal(), error.args[0].code() == KafkaError._TIMED_OUT), (True, False))
        else:
            raise AssertionError("a transactional producer was let in")

    def delete():
        for future in admin.delete_topics([topic, topic + "-auto"]).values():
            future.result(30)
        eventually(check, lambda: topic not in admin.list_topics(timeout=30).topics)

    check.run("creates a topic", create)
    check.run("describes its configs", configs)
    check.run("changes single configs of a topic", incremental)
    check.run("replaces a topic's configs", alter)
    check.run("adds partitions", grow)
    check.run("produces with acks 1, all and 0", acks)
    check.run("reads watermarks and lists offsets", offsets)
    check.run("produces with idempotence", idempotent)
    check.run("deletes records", delete_records)
    check.run("is told that no election is needed", elections)
    check.run("describes the cluster", cluster)
    check.run("is told that a record is too large", too_large)
    check.run("is told that a topic is unknown", unknown)
    check.run("gets a topic created by producing to it", created_by_producing)
    check.run("is told that a name is invalid", bad_name)
    check.run("is told that the replication factor is invalid", replication_factor)
    if check.corelog:
        check.run("is refused a transactional producer for good", transactions)
    check.run("deletes topics", delete)


def member(self):
    settings = {"bootstrap.servers": self.bootstrap, "group.id": self.group, "auto.offset.reset": "earliest",
                "enable.auto.commit": False, "session.timeout.ms": 6_000, "heartbeat.interval.ms": 500,
                "partition.assignment.strategy": "cooperative-sticky" if self.cooperative else "range"}
    if self.instance:
        settings["group.instance.id"] = self.instance
    consumer = Consumer(settings)
    consumer.subscribe([self.topic])
    while not self.stopped.is_set():
        message = consumer.poll(0.1)
        self.say_assigned(partition.partition for partition in consumer.assignment())
        if message and not message.error():
            self.say_read(message.partition(), message.offset())
            try:
                consumer.commit(message, asynchronous=False)
            except KafkaException:
                # A rebalance or the broker's restart is in between; a later commit says the same.
                pass
    consumer.close()


main(produce, consume, checks, member)
