"""Numbered records from confluent-kafka producers, and the comparison of what was acknowledged with what is read.

A stream is one producer and one partition; its records are numbered from 0. The key of a record says which it is, its
value follows from the number, so a reader needs nothing but the log. Owns the ledger of acknowledgements.
"""

import random
import struct
import threading
import time
from array import array

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

KEY = struct.Struct(">IIQ")
UNACKNOWLEDGED = -1
POOL = random.Random(0).randbytes(1 << 20)
READ_SECONDS = 120
QUIET = {"log_level": 0, "error_cb": lambda error: None}
# Clients come back fast, so that a restart is met with load at once.
PATIENT = {
    "message.timeout.ms": 120_000, "retry.backoff.ms": 50, "reconnect.backoff.ms": 10,
    "reconnect.backoff.max.ms": 200, "socket.timeout.ms": 10_000,
}


def value_of(number, size):
    at = number * 7919 % (len(POOL) - size)
    return POOL[at:at + size]


def create_topic(bootstrap, topic, partitions, **config):
    admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
    new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config)
    admin.create_topics([new], request_timeout=30)[topic].result()


class Load:
    """Producers of one topic, run by one thread until they are told to stop."""

    def __init__(self, bootstrap, topic, partitions, codecs=("none",), idempotent=True, acks="all", value_bytes=1024,
                 count_max=None, per_second_max=None):
        self.topic = topic
        self.bootstrap = bootstrap
        self.partitions = partitions
        self.idempotent = idempotent
        self.value_bytes = value_bytes
        self.count_max = count_max
        self.per_second_max = per_second_max
        # ledger[producer][partition][number]: the acknowledged offset.
        self.ledger = [[array("q") for _ in range(partitions)] for _ in codecs]
        self.errors = []
        self.produced = 0
        # The rate counts from here on.
        self.began = time.monotonic()
        self.produced_before = 0
        self.acknowledged = 0
        self.stopping = threading.Event()
        self.producers = [Producer({
            "bootstrap.servers": bootstrap, "acks": acks, "enable.idempotence": idempotent, "compression.type": codec,
            "linger.ms": 5, "queue.buffering.max.messages": 20_000, "on_delivery": self.delivered, **PATIENT, **QUIET,
        }) for codec in codecs]
        self.thread = threading.Thread(target=self.run, daemon=True)

    def delivered(self, error, message):
        if error is not None:
            self.errors.append(str(error))
            return
        producer, partition, number = KEY.unpack(message.key())
        self.ledger[producer][partition][number] = message.offset()
        self.acknowledged += 1

    def start(self):
        self.thread.start()
        return self

    def run(self):
        self.began = time.monotonic()
        try:
            while not self.stopping.is_set():
                due = (time.monotonic() - self.began) * (self.per_second_max or 0)
                behind = not self.per_second_max or self.produced - self.produced_before <= due
                if self.produced == self.count_max or not behind:
                    self.poll(0.005)
                    continue
                self.produce_some()
        except KafkaException as error:
            self.errors.append(str(error))

    def produce_some(self):
        for index, producer in enumerate(self.producers):
            for partition in range(self.partitions):
                stream = self.ledger[index][partition]
                for _ in range(20):
                    if self.produced == self.count_max:
                        return
                    key = KEY.pack(index, partition, len(stream))
                    value = value_of(len(stream), self.value_bytes)
                    stream.append(UNACKNOWLEDGED)
                    while True:
                        try:
                            producer.produce(self.topic, value, key, partition)
                            break
                        except BufferError:
                            producer.poll(0.05)
                            if self.stopping.is_set():
                                stream.pop()
                                return
                    self.produced += 1
            producer.poll(0)

    def poll(self, seconds):
        for producer in self.producers:
            producer.poll(seconds / len(self.producers))

    def slow_down(self, per_second_max):
        """From now on at most so many records a second."""
        self.began = time.monotonic()
        self.produced_before = self.produced
        self.per_second_max = per_second_max

    def wait_for(self, count, seconds=120):
        """Until so many records more are acknowledged than when it was called."""
        target = self.acknowledged + count
        self.wait_until(lambda: self.acknowledged >= target, seconds, "%d acknowledgements more" % count)

    def wait_until(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while not condition():
            assert not self.errors, "a producer failed: " + self.errors[0]
            assert time.monotonic() < deadline, "no %s within %d s" % (what, seconds)
            time.sleep(0.002)

    def drain(self, seconds=120):
        """Produces no more and waits until everything is acknowledged or given up."""
        self.stopping.set()
        self.thread.join(seconds)
        for producer in self.producers:
            producer.flush(seconds)

    def abandon(self):
        """Produces no more and forgets what is unacknowledged."""
        self.stopping.set()
        self.thread.join()
        for producer in self.producers:
            producer.purge()
            producer.flush(1)


class Reading:
    """A topic read to its end, against the ledger of its load: from its first offset or, where records were deleted,
    from `starts` (partition: offset)."""

    def __init__(self, load, bootstrap=None, starts=None):
        self.load = load
        self.starts = starts or {}
        self.records = 0
        self.duplicates = 0
        self.faults = []
        # seen[producer][partition][number]: the offsets at which the record stands.
        self.first = [[array("q") for _ in stream] for stream in load.ledger]
        self.again = {}
        self.next_offset = [self.starts.get(partition, 0) for partition in range(load.partitions)]
        self.read(bootstrap or load.bootstrap)

    def fault(self, text):
        if len(self.faults) < 10:
            self.faults.append(text)

    def read(self, bootstrap):
        consumer = Consumer({
            "bootstrap.servers": bootstrap, "group.id": "faults", "enable.auto.commit": False, "check.crcs": True,
            "enable.partition.eof": True, "auto.offset.reset": "error", "isolation.level": "read_uncommitted",
            "queued.max.messages.kbytes": 65_536, **QUIET,
        })
        try:
            consumer.assign([TopicPartition(self.load.topic, p, at) for p, at in enumerate(self.next_offset)])
            ends = set()
            deadline = time.monotonic() + READ_SECONDS
            while len(ends) < self.load.partitions:
                messages = consumer.consume(5_000, 0.5)
                if messages:
                    deadline = time.monotonic() + READ_SECONDS
                assert time.monotonic() < deadline, "nothing read for %d s" % READ_SECONDS
                for message in messages:
                    error = message.error()
                    if error is None:
                        self.take(message)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        ends.add(message.partition())
                    else:
                        raise AssertionError("reading fails: %s" % error)
        finally:
            consumer.close()

    def take(self, message):
        partition, offset = message.partition(), message.offset()
        self.records += 1
        if offset != self.next_offset[partition]:
            self.fault("partition %d goes from offset %d to %d" % (partition, self.next_offset[partition] - 1, offset))
        self.next_offset[partition] = offset + 1
        producer, wanted_partition, number = KEY.unpack(message.key())
        if wanted_partition != partition:
            self.fault("partition %d has a record of partition %d" % (partition, wanted_partition))
            return
        if message.value() != value_of(number, self.load.value_bytes):
            self.fault("record %d of partition %d has other bytes" % (number, partition))
        first = self.first[producer][partition]
        if not first and partition in self.starts:
            # Those before it were deleted.
            first.extend([UNACKNOWLEDGED] * number)
        if number == len(first):
            first.append(offset)
            return
        if self.load.idempotent:
            what = "again" if number < len(first) else "before %d" % len(first)
            self.fault("record %d of producer %d, partition %d comes %s" % (number, producer, partition, what))
        if number < len(first) and first[number] != UNACKNOWLEDGED:
            self.duplicates += 1
            self.again.setdefault((producer, partition, number), []).append(offset)
            return
        while len(first) < number:
            first.append(UNACKNOWLEDGED)
        if number == len(first):
            first.append(offset)
        else:
            first[number] = offset

    def lost(self):
        """How many acknowledged records do not stand where the acknowledgement said."""
        count = 0
        for producer, streams in enumerate(self.load.ledger):
            for partition, acknowledged in enumerate(streams):
                first = self.first[producer][partition]
                for number, offset in enumerate(acknowledged):
                    if offset < self.starts.get(partition, 0):
                        continue
                    if offset == UNACKNOWLEDGED or number < len(first) and first[number] == offset:
                        continue
                    if offset not in self.again.get((producer, partition, number), ()):
                        count += 1
        return count


def verify(load, complete=True, starts=None):
    """Everything acknowledged is there, once (for idempotent producers) and in order. The note of the check."""
    reading = Reading(load, starts=starts)
    lost = reading.lost()
    if complete:
        assert not load.errors, "a producer failed: %s" % load.errors[0]
        assert load.acknowledged == load.produced, "%d of %d acknowledged" % (load.acknowledged, load.produced)
    assert lost == 0, "lost %d of %d acknowledged records" % (lost, load.acknowledged)
    assert not reading.faults, "; ".join(reading.faults)
    again = "" if load.idempotent else ", %d twice" % reading.duplicates
    return "%d acknowledged, %d read%s" % (load.acknowledged, reading.records, again)
