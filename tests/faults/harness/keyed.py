"""Records under a few keys, written over and over to a topic that is compacted, and what must still be there: for every
key a value at least as new as the last one that was acknowledged; tombstones gone or there; offsets rising.
"""

import random
import struct
import threading
import time
from functools import partial

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from harness.load import PATIENT, QUIET, READ_SECONDS

NUMBER = struct.Struct(">Q")
# So that segments fill and there is something to clean.
FILLER = random.Random(1).randbytes(1 << 16)


class Keyed:
    """One idempotent producer of `keys` keys for each partition, until told to stop."""

    def __init__(self, bootstrap, topic, partitions, keys=500, value_bytes=1024, per_second_max=10_000):
        self.bootstrap = bootstrap
        self.topic = topic
        self.partitions = partitions
        self.keys = keys
        self.value_bytes = value_bytes
        self.per_second_max = per_second_max
        self.produced = 0
        self.acknowledged = 0
        # (partition, key) -> the largest number that was acknowledged.
        self.newest = {}
        self.errors = []
        self.stopping = threading.Event()
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5,
            "queue.buffering.max.messages": 20_000, **PATIENT, **QUIET,
        })
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def run(self):
        began = time.monotonic()
        while not self.stopping.is_set():
            if self.produced > (time.monotonic() - began) * self.per_second_max:
                self.producer.poll(0.005)
                continue
            number = self.produced
            at = number * 7919 % (len(FILLER) - self.value_bytes)
            # Every tenth round of a key deletes it.
            deletes = number // self.keys % 10 == 9
            value = None if deletes else NUMBER.pack(number) + FILLER[at:at + self.value_bytes]
            key, partition = b"%d" % (number % self.keys), number % self.partitions
            headers = [("number", NUMBER.pack(number))]
            try:
                # A delivery does not bring the headers back.
                delivered = partial(self.delivered, number)
                self.producer.produce(self.topic, value, key, partition, on_delivery=delivered, headers=headers)
            except BufferError:
                self.producer.poll(0.05)
                continue
            self.produced += 1
            self.producer.poll(0)

    def delivered(self, number, error, message):
        if error is not None:
            self.errors.append(str(error))
            return
        place = message.partition(), message.key()
        self.newest[place] = max(number, self.newest.get(place, 0))
        self.acknowledged += 1

    def wait_for(self, count, seconds=120):
        target, deadline = self.acknowledged + count, time.monotonic() + seconds
        while self.acknowledged < target:
            assert not self.errors, "a producer failed: " + self.errors[0]
            assert time.monotonic() < deadline, "no %d acknowledgements more within %d s" % (count, seconds)
            time.sleep(0.002)

    def drain(self, seconds=120):
        self.stopping.set()
        self.thread.join(seconds)
        self.producer.flush(seconds)

    def verify(self):
        """The note of the check."""
        read, records, ends = {}, 0, set()
        last = [-1] * self.partitions
        consumer = Consumer({
            "bootstrap.servers": self.bootstrap, "group.id": "faults", "enable.auto.commit": False, "check.crcs": True,
            "enable.partition.eof": True, "auto.offset.reset": "earliest", **QUIET,
        })
        try:
            consumer.assign([TopicPartition(self.topic, partition, 0) for partition in range(self.partitions)])
            deadline = time.monotonic() + READ_SECONDS
            while len(ends) < self.partitions:
                assert time.monotonic() < deadline, "not read within %d s" % READ_SECONDS
                for message in consumer.consume(5_000, 0.5):
                    if message.error() is not None:
                        assert message.error().code() == KafkaError._PARTITION_EOF, "reading fails: %s" % message.error()
                        ends.add(message.partition())
                        continue
                    records += 1
                    number, = NUMBER.unpack(dict(message.headers())["number"])
                    assert message.offset() > last[message.partition()], "offsets go back at %d" % message.offset()
                    last[message.partition()] = message.offset()
                    value = message.value()
                    assert value is None or NUMBER.unpack(value[:8]) == (number,), "record %d has other bytes" % number
                    read[message.partition(), message.key()] = number, value is None
        finally:
            consumer.close()
        assert not self.errors, "a producer failed: %s" % self.errors[0]
        for place, number in self.newest.items():
            found = read.get(place)
            # A tombstone may be gone with its key.
            deleted = number // self.keys % 10 == 9
            assert found is not None and found[0] >= number or found is None and deleted, (
                "key %s of partition %d: %d was acknowledged, found %s" % (place[1].decode(), place[0], number, found))
        return "%d acknowledged, %d left of %d keys" % (self.acknowledged, records, len(self.newest))
