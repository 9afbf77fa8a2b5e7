"""Consumers that ask for old data and don't read it. Others who read old data, and producers, don't notice.

The broker has few descriptors and more closed segments than it may keep open for sending, so what stalled consumers
hold is what the others need.
"""

import resource
import socket
import struct
import tempfile
import threading
import time

from confluent_kafka import Consumer, TopicPartition

from harness import wire
from harness.broker import Broker
from harness.load import QUIET, Load, create_topic

STALLED = 500
PARTITIONS = 60
RECORDS = 11_000
SEGMENT_BYTES = 1 << 20
RECORDS_PER_SEGMENT = 950
DESCRIPTORS = 1_200
SETTINGS = ["log.segment.bytes=%d" % SEGMENT_BYTES, "corelog.read.cache.bytes=16777216"]
# A machine with other work; what starves waits for a minute.
SLOWER_MAX, SLOWER_SECONDS = 2, 10
ACK_SECONDS_MAX = 1


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


def fetch_body(topic, offset):
    head = struct.pack(">iiiib", -1, 500, 1, 50 << 20, 0)
    parts = b"".join(struct.pack(">iqi", at, offset, 1 << 20) for at in range(PARTITIONS))
    return head + struct.pack(">i", 1) + wire.string(topic) + struct.pack(">i", PARTITIONS) + parts


def stall(broker, topic, number):
    """Asks for a segment of every partition, and takes nothing."""
    asking = socket.socket()
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, port = broker.bootstrap.rsplit(":", 1)
    asking.connect((host, int(port)))
    offset = number % (RECORDS // RECORDS_PER_SEGMENT) * RECORDS_PER_SEGMENT
    asking.sendall(wire.frame(wire.FETCH, 4, fetch_body(topic, offset)))
    return asking


def read_all(broker, topic):
    """Seconds to read everything from the beginning."""
    began = time.monotonic()
    settings = {"bootstrap.servers": broker.bootstrap, "group.id": "stalled", "enable.auto.commit": False, **QUIET}
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(topic, at, 0) for at in range(PARTITIONS)])
    left = PARTITIONS * RECORDS
    while left > 0:
        messages = consumer.consume(10_000, timeout=5)
        assert messages or time.monotonic() - began < 120, "%d records are not read" % left
        for message in messages:
            assert message.error() is None, str(message.error())
        left -= len(messages)
    consumer.close()
    return time.monotonic() - began


class Acks:
    """Produces one record after the other beside what goes on in a block, and keeps the times."""

    def __init__(self, broker):
        self.broker = broker
        self.seconds = []
        self.failures = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            with wire.Connection(self.broker.bootstrap) as connection:
                while not self.stopping.wait(0.003):
                    began = time.monotonic()
                    error, _ = connection.produce("acks", wire.batch([b"x" * 100]))
                    self.seconds.append(time.monotonic() - began)
                    assert error == 0, "produce answers error %d" % error
        except Exception as error:
            self.failures.append(error)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def p99(self):
        assert not self.failures, str(self.failures[0])
        return sorted(self.seconds)[len(self.seconds) * 99 // 100]


def readers_of_old_data():
    with tempfile.TemporaryDirectory(prefix="corelog-stalled-") as data, \
            Broker(data, settings=SETTINGS, before_exec=few_descriptors) as broker:
        broker.start()
        create_topic(broker.bootstrap, "old", PARTITIONS)
        create_topic(broker.bootstrap, "acks", 1)
        load = Load(broker.bootstrap, "old", PARTITIONS, idempotent=False, count_max=PARTITIONS * RECORDS).start()
        load.wait_for(PARTITIONS * RECORDS)
        load.drain()
        with Acks(broker) as acks_alone:
            alone = read_all(broker, "old")
        sockets = [stall(broker, "old", number) for number in range(STALLED)]
        try:
            # Until they hold what they can get.
            while sum_of(broker.metrics(), "_connections") < STALLED:
                time.sleep(0.1)
            time.sleep(2)
            with Acks(broker) as acks_beside:
                beside = read_all(broker, "old")
        finally:
            for asking in sockets:
                asking.close()
        assert beside <= alone * SLOWER_MAX + SLOWER_SECONDS, "%.1f s beside them, %.1f s alone" % (beside, alone)
        p99, p99_alone = acks_beside.p99(), acks_alone.p99()
        assert max(acks_beside.seconds) <= max(ACK_SECONDS_MAX, 2 * max(acks_alone.seconds)), \
            "an ack took %.1f s" % max(acks_beside.seconds)
        complaints = broker.complaints()
        assert not complaints, complaints[0]
        note = "read in %.1f s (alone %.1f), acks p99 %.1f ms (alone %.1f)"
        return note % (beside, alone, p99 * 1000, p99_alone * 1000)


def sum_of(metrics, name):
    return sum(value for key, value in metrics.items() if key.split("{")[0].endswith(name))


def checks(_options):
    return [("%d consumers that don't read stop no other" % STALLED, readers_of_old_data)]
