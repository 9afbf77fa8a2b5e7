"""aiokafka: asyncio, protocol code of its own."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from program import dump, equal, main


async def produce(bootstrap, jobs):
    for job in jobs:
        # Large batches: one that does not shrink is sent plain.
        codec = None if job["codec"] == "none" else job["codec"]
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=codec, linger_ms=200,
                                    max_batch_size=1_000_000) as producer:
            sent = [await producer.send(
                job["topic"], value=record["value"], key=record["key"], headers=record["headers"],
                partition=record["partition"], timestamp_ms=record["timestamp"]) for record in job["records"]]
            await asyncio.wait_for(asyncio.gather(*sent), 60)


async def consume(bootstrap, jobs):
    by_topic = {job["topic"]: job for job in jobs}
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="none",
                                enable_auto_commit=False, fetch_max_wait_ms=100) as consumer:
        partitions = []
        for topic in by_topic:
            await consumer._client.force_metadata_update() if not consumer.partitions_for_topic(topic) else None
            partitions += [TopicPartition(topic, partition) for partition in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        missing = sum(job["count"] for job in jobs)
        while missing > 0:
            polled = await consumer.getmany(timeout_ms=30_000)
            if not polled:
                raise TimeoutError("%d records are missing" % missing)
            for partition, records in polled.items():
                for record in records:
                    dump(by_topic[partition.topic], partition.partition, record.offset, record.timestamp, record.key,
                         record.value, record.headers)
                    missing -= 1


def checks(check):
    topic = check.prefix + "-aiokafka"

    async def send(topic, value, **config):
        async with AIOKafkaProducer(bootstrap_servers=check.bootstrap, **config) as producer:
            return await asyncio.wait_for(producer.send_and_wait(topic, value, partition=0), 20)

    async def create():
        admin = AIOKafkaAdminClient(bootstrap_servers=check.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(topic, 2, 1)])
        if not check.corelog:
            await asyncio.sleep(0.5)
        equal(topic in await admin.list_topics(), True)
        await admin.close()

    async def acks():
        equal((await send(topic, b"x", acks="all")).offset, 0)
        equal((await send(topic, b"x", acks=1)).offset, 1)
        await send(topic, b"x", acks=0)
        # Nothing says when acks=0 is done.
        partition = TopicPartition(topic, 0)
        async with AIOKafkaConsumer(bootstrap_servers=check.bootstrap) as consumer:
            for _ in range(100):
                if await consumer.end_offsets([partition]) == {partition: 3}:
                    return
                await asyncio.sleep(0.1)
        raise AssertionError("what was sent with acks=0 is not there")

    async def idempotent():
        equal((await send(topic, b"x", enable_idempotence=True)).offset, 3)

    async def offsets():
        partition = TopicPartition(topic, 0)
        async with AIOKafkaConsumer(bootstrap_servers=check.bootstrap) as consumer:
            equal(await consumer.beginning_offsets([partition]), {partition: 0})
            equal(await consumer.end_offsets([partition]), {partition: 4})
            equal((await consumer.offsets_for_times({partition: 1}))[partition].offset, 0)

    async def too_large():
        try:
            await send(topic, b"x" * 2_000_000, max_request_size=5_000_000)
        except Exception as error:
            equal(type(error).__name__, "MessageSizeTooLargeError")
        else:
            raise AssertionError("a record of 2 MB was taken")

    async def committed():
        partition = TopicPartition(topic, 0)
        async with AIOKafkaConsumer(bootstrap_servers=check.bootstrap, isolation_level="read_committed") as consumer:
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            for offset in range(4):
                equal((await asyncio.wait_for(consumer.getone(), 20)).offset, offset)

    for name, body in [
        ("creates a topic", create),
        ("produces with acks all, 1 and 0", acks),
        ("produces with idempotence", idempotent),
        ("lists offsets", offsets),
        ("is told that a record is too large", too_large),
        ("reads what is committed", committed),
    ]:
        check.run(name, lambda: asyncio.run(body()))


async def member(self):
    consumer = AIOKafkaConsumer(
        self.topic, bootstrap_servers=self.bootstrap, group_id=self.group, auto_offset_reset="earliest",
        enable_auto_commit=False, session_timeout_ms=6_000, heartbeat_interval_ms=500, group_instance_id=self.instance)
    await consumer.start()
    while not self.stopped.is_set():
        polled = await consumer.getmany(timeout_ms=100)
        self.say_assigned(partition.partition for partition in consumer.assignment())
        for partition, records in polled.items():
            for record in records:
                self.say_read(partition.partition, record.offset)
        if polled:
            try:
                await consumer.commit()
            except KafkaError:
                # A rebalance or the broker's restart is in between; a later commit says the same.
                pass
    await consumer.stop()


main(lambda *args: asyncio.run(produce(*args)), lambda *args: asyncio.run(consume(*args)), checks,
     lambda self: asyncio.run(member(self)))
