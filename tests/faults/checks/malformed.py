"""Ten thousand malformed frames, two thousand idle connections and slow half frames, with a real client beside them:
it is served as before, memory stays bounded, nothing above debug is logged, and the closed connections are counted.
"""

import random
import select
import socket
import struct
import tempfile
import time

from harness import wire
from harness.broker import Broker, substitute
from harness.load import Load, create_topic, verify

FRAMES = 10_000
IDLE = 2_000
SLOW = 100
# Frames that promise this much and never bring it must not cost it.
SLOW_CLAIM_BYTES = 32 << 20
# What the broker may hold beyond its idle size: receive buffers of the connections, pools, the good client's records.
GROWTH_BYTES_MAX = 192 << 20
# What the names of their counters have in common.
COUNTED_AS = ("malformed", "unsupported")
TOPIC = "bystander"
REPLY_MS = 3


class Frames:
    """An endless row of frames that are wrong in one of many ways; equal seeds, equal rows."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        good_batch = wire.batch([b"v" * 100, b"w" * 50])
        self.good = [
            wire.frame(wire.PRODUCE, 3, wire.produce_body(TOPIC, good_batch)),
            wire.frame(wire.METADATA, 1, struct.pack(">i", 1) + wire.string(TOPIC)),
            wire.frame(wire.METADATA, 12, b"\0\2" + b"\0" * 16 + b"\x0abystander\0\1\0\0"),
            wire.frame(wire.FETCH, 4, struct.pack(">iiiibi", -1, 0, 0, 1 << 20, 0, 1) + wire.string(TOPIC)
                       + struct.pack(">iiqi", 1, 0, 0, 1 << 20)),
            wire.frame(wire.LIST_OFFSETS, 1, struct.pack(">ii", -1, 1) + wire.string(TOPIC) + struct.pack(">iiq", 1, 0, -1)),
            wire.frame(wire.CREATE_TOPICS, 2, struct.pack(">i", 1) + wire.string("a b") + struct.pack(">ihiiib", 1, 1, 0, 0, 9, 1)),
            wire.frame(wire.INIT_PRODUCER_ID, 0, wire.string(None) + struct.pack(">i", 1000)),
            wire.frame(wire.API_VERSIONS, 3, b"\0\2a\2b\0"),
        ]
        self.kinds = [self.garbage, self.truncated, self.wrong_length, self.huge_count, self.unknown_key,
                      self.unknown_version, self.corrupt_batch, self.flipped_bytes, self.long_string, self.deep_length]

    def next(self):
        return self.rng.choice(self.kinds)()

    def sized(self, body):
        return struct.pack(">i", len(body)) + body

    def garbage(self):
        return self.rng.randbytes(self.rng.randrange(1, 400))

    def truncated(self):
        """A good request cut short, its frame length telling the cut size."""
        frame = self.rng.choice(self.good)
        return self.sized(frame[4:self.rng.randrange(4, len(frame))])

    def wrong_length(self):
        """A negative length, one of gigabytes, or one that ends inside the request."""
        frame = self.rng.choice(self.good)
        length = self.rng.choice([-1, -0x80000000, 0x7FFFFFFF, 0x7FFFFF00, 0, 1, 4, 9, len(frame) - 5])
        return struct.pack(">i", length) + frame[4:]

    def huge_count(self):
        count = self.rng.choice([0x7FFFFFFF, 0x10000000, 65_536, -2])
        head = wire.string(None) + struct.pack(">hi", -1, 1000)
        return self.rng.choice([
            wire.frame(wire.PRODUCE, 3, head + struct.pack(">i", count)),
            wire.frame(wire.PRODUCE, 3, head + struct.pack(">i", 1) + wire.string(TOPIC) + struct.pack(">i", count)),
            wire.frame(wire.PRODUCE, 3, head + struct.pack(">i", 1) + wire.string(TOPIC) + struct.pack(">iii", 1, 0, count)),
            wire.frame(wire.FETCH, 4, struct.pack(">iiiibi", -1, 0, 0, 1, 0, count)),
            wire.frame(wire.METADATA, 12, b"\0\xff\xff\xff\xff\x0f"),
        ])

    def unknown_key(self):
        return wire.frame(self.rng.choice([-1, 4, 5, 6, 7, 200, 999, 0x7FFF]), self.rng.randrange(0, 5), self.rng.randbytes(40))

    def unknown_version(self):
        return wire.frame(self.rng.randrange(0, 4), self.rng.choice([-1, 20, 99, 0x7FFF]), self.rng.randbytes(40))

    def corrupt_batch(self):
        batch = bytearray(wire.batch([self.rng.randbytes(self.rng.randrange(1, 200))]))
        for _ in range(self.rng.randrange(1, 4)):
            batch[self.rng.randrange(8, len(batch))] ^= self.rng.randrange(1, 256)
        return wire.frame(wire.PRODUCE, 3, wire.produce_body("corrupt", bytes(batch)))

    def flipped_bytes(self):
        """A good request with a few bytes changed anywhere behind its length and key; it may still be good."""
        frame = bytearray(self.rng.choice(self.good[1:]))
        for _ in range(self.rng.randrange(1, 6)):
            frame[self.rng.randrange(6, len(frame))] = self.rng.randrange(256)
        return bytes(frame)

    def long_string(self):
        length = self.rng.choice([0x7FFF, -2, 300])
        return self.sized(struct.pack(">hhih", wire.METADATA, 1, 1, length) + b"client")

    def deep_length(self):
        """A batch in a good frame whose own lengths go beyond it."""
        batch = self.rng.choice([
            wire.batch(length=self.rng.choice([0x7FFFFFFF, -1, 10_000])),
            wire.batch(count=self.rng.choice([0x7FFFFFFF, -1])),
            wire.batch(payload=wire.record(0, b"v", length=self.rng.choice([0x7FFFFFFF, 1 << 40, -1]))),
            wire.batch(payload=wire.varint(20) + b"\0\0\0" + wire.varint(0x7FFFFFFF)),
        ])
        return wire.frame(wire.PRODUCE, 3, wire.produce_body("corrupt", batch))


def send_frames(broker, frames, count):
    """Sends each frame on a connection that is used until the broker closes it. How many it closed."""
    closed = 0
    connection = None
    host, port = broker.bootstrap.split(":")
    for _ in range(count):
        if connection is None:
            connection = socket.create_connection((host, int(port)), 10)
        try:
            connection.sendall(frames.next())
            # Most frames are answered by closing; a few are good enough for an answer, or wait for more bytes.
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            readable = poll.poll(REPLY_MS)
            gone = bool(readable) and not connection.recv(65_536)
            # A frame that promises more than it brings would swallow the next.
            finished = not readable
        except (ConnectionResetError, BrokenPipeError):
            gone, finished = True, True
        if gone or finished:
            closed += gone
            connection.close()
            connection = None
    if connection is not None:
        connection.close()
    return closed


def refused_total(broker):
    return sum(value for name, value in broker.metrics().items() if any(word in name for word in COUNTED_AS))


def good_client(broker, label):
    """Produces and reads back; the seconds that it took."""
    began = time.monotonic()
    topic = "%s-%s" % (TOPIC, label)
    create_topic(broker.bootstrap, topic, 2)
    load = Load(broker.bootstrap, topic, 2, codecs=("lz4",), count_max=4_000).start()
    load.wait_until(lambda: load.acknowledged == load.count_max, 60, "acknowledgement of the good client")
    load.drain()
    verify(load)
    return time.monotonic() - began


def flood(seed):
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        broker.start()
        with wire.Connection(broker.bootstrap) as connection:
            assert connection.create_topic(TOPIC) == 0
        before_s = good_client(broker, "before")
        idle_bytes = broker.rss_bytes()
        log_before = len(broker.log())
        closed_before = 0 if substitute() else refused_total(broker)
        idle = [wire.Connection(broker.bootstrap) for _ in range(IDLE)]
        slow = [wire.Connection(broker.bootstrap) for _ in range(SLOW)]
        for index, connection in enumerate(slow):
            half = wire.frame(wire.PRODUCE, 3, b"x" * (index * 10))
            connection.send(struct.pack(">i", SLOW_CLAIM_BYTES) + half[4:])
        load = Load(broker.bootstrap, TOPIC, 1, per_second_max=500).start()
        closed = send_frames(broker, Frames(seed), FRAMES // 2)
        # Half frames go on dripping.
        for connection in slow:
            try:
                connection.send(b"y")
            except wire.Closed:
                pass
        during_s = good_client(broker, "during")
        closed += send_frames(broker, Frames(seed + 1), FRAMES - FRAMES // 2)
        load.drain()
        verify(load)
        grown = broker.rss_bytes() - idle_bytes
        note = "%d of %d frames closed their connection; memory %+.1f MiB to %.1f; good client %.2f s before, %.2f during" % (
            closed, FRAMES, grown / 2**20, (idle_bytes + grown) / 2**20, before_s, during_s)
        for connection in idle[::20]:
            connection.api_versions()
        for connection in idle + slow:
            connection.socket.close()
        after_s = good_client(broker, "after")
        assert grown < GROWTH_BYTES_MAX, "memory grew too much: " + note
        assert max(during_s, after_s) < 10 * before_s + 2, "the good client waits: " + note
        if not substitute():
            # What went through the log while nothing but rubbish arrived: created topics may be told of, no more.
            complaints = broker.complaints(log_before)
            assert not complaints, "the broker complains: " + "\n".join(complaints[:10])
            counted = refused_total(broker) - closed_before
            assert counted >= closed * 9 // 10, "%d connections closed, %d counted" % (closed, counted)
        return "%s, %.2f after" % (note, after_s)


def checks(options):
    yield "%d malformed frames and %d idle connections leave a good client served" % (FRAMES, IDLE), lambda: flood(options.seed)
