"""What bad input gets, by exact error code, and that nothing of it is appended. Raw frames: no client sends these."""

import gzip
import struct
import tempfile

from harness import wire
from harness.broker import Broker

NONE, CORRUPT_MESSAGE, UNKNOWN_TOPIC_OR_PARTITION, MESSAGE_TOO_LARGE = 0, 2, 3, 10
INVALID_TOPIC_EXCEPTION, INVALID_REQUIRED_ACKS, UNSUPPORTED_VERSION = 17, 21, 35
INVALID_REPLICATION_FACTOR, INVALID_CONFIG, OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_RECORD = 38, 40, 45, 87
# Answers that clients give up on; any of them refuses what needs transactions.
FATAL_OF_TRANSACTIONS = {35, 42, 43, 48, 49, 50, 53, 87, 90}
TOPIC = "answers"
MAX_MESSAGE_BYTES = 100_000


class Answers:
    """One broker and one topic for all; each method is a check."""

    def __init__(self):
        self.broker = None

    def connect(self, seconds=10):
        return wire.Connection(self.broker.bootstrap, seconds)

    def refused(self, records, *codes, acks=-1):
        """The batch gets one of `codes` and leaves the log as it was."""
        with self.connect() as connection:
            before = connection.end_offset(TOPIC)
            error, _ = connection.produce(TOPIC, records, acks=acks)
            after = connection.end_offset(TOPIC)
        assert error in codes, "error %d instead of %s" % (error, " or ".join(map(str, codes)))
        assert after == before, "the log grew from %d to %d" % (before, after)

    def closed(self, data, seconds=10):
        """The connection is closed without an answer, and the next one is served."""
        with self.connect(seconds) as connection:
            connection.send(data)
            assert connection.is_closed_by_peer(), "the connection stays open or gets an answer"
        with self.connect() as connection:
            connection.api_versions()

    def good_batch(self):
        with self.connect() as connection:
            before = connection.end_offset(TOPIC)
            assert connection.produce(TOPIC, wire.batch([b"a", b"b"])) == (NONE, before)
            assert connection.end_offset(TOPIC) == before + 2

    def bad_checksum(self):
        self.refused(wire.batch(crc=0x12345678), CORRUPT_MESSAGE)

    def flipped_bit(self):
        data = bytearray(wire.batch([b"value" * 10]))
        data[-3] ^= 4
        self.refused(bytes(data), CORRUPT_MESSAGE)

    def batch_length(self):
        whole = wire.batch()
        for length in (0, -1, 48, len(whole) - 13, len(whole) + 1000, 0x7FFFFFFF, -0x80000000):
            # INVALID_RECORD too: a batch too few or bytes behind it is a fault of the record set.
            self.refused(wire.batch(length=length), CORRUPT_MESSAGE, INVALID_RECORD)

    def truncated_batches(self):
        whole = wire.batch([b"x" * 40])
        for size in (1, 11, 12, 16, 17, 60, 61, 62, len(whole) - 1):
            self.refused(whole[:size], CORRUPT_MESSAGE, INVALID_RECORD)

    def no_batch(self):
        self.refused(b"", CORRUPT_MESSAGE, INVALID_RECORD)

    def record_count(self):
        for count in (0, -1, 3, 0x7FFFFFFF):
            self.refused(wire.batch([b"a", b"b"], count=count), INVALID_RECORD, CORRUPT_MESSAGE)

    def last_offset_delta(self):
        for delta in (0, 5, -1, 0x7FFFFFFF):
            self.refused(wire.batch([b"a", b"b"], last_delta=delta), INVALID_RECORD, CORRUPT_MESSAGE)

    def record_length(self):
        for length in (0, -5, 1, 200, 0x7FFFFFFF):
            self.refused(wire.batch(payload=wire.record(0, b"value", length=length)), INVALID_RECORD, CORRUPT_MESSAGE)

    def record_offset_delta(self):
        payload = wire.record(0, b"a") + wire.record(7, b"b")
        self.refused(wire.batch([b"a", b"b"], payload=payload), INVALID_RECORD)

    def trailing_bytes(self):
        self.refused(wire.batch(payload=wire.record(0, b"a") + b"left over"), INVALID_RECORD, CORRUPT_MESSAGE)

    def bad_compression(self):
        records = wire.record(0, b"value" * 100)
        squeezed = gzip.compress(records)
        for payload in (b"no gzip at all", squeezed[:-12], b""):
            self.refused(wire.batch(payload=payload, attributes=wire.GZIP), CORRUPT_MESSAGE, INVALID_RECORD)
        for codec in (2, 3, 4, 5, 7):
            self.refused(wire.batch(payload=squeezed, attributes=codec), CORRUPT_MESSAGE, INVALID_RECORD, 76)

    def old_magic(self):
        for magic in (0, 1, 3, -1):
            self.refused(wire.batch(magic=magic), INVALID_RECORD, CORRUPT_MESSAGE)

    def two_batches(self):
        self.refused(wire.batch() + wire.batch(), INVALID_RECORD)

    def control_batch(self):
        self.refused(wire.batch(attributes=wire.CONTROL), INVALID_RECORD)

    def too_large(self):
        self.refused(wire.batch([b"x" * (MAX_MESSAGE_BYTES + 1)]), MESSAGE_TOO_LARGE)

    def wrong_acks(self):
        self.refused(wire.batch(), INVALID_REQUIRED_ACKS, acks=2)

    def unknown_topic(self):
        with self.connect() as connection:
            for topic, partition in (("never-made", 0), (TOPIC, 1), (TOPIC, -1), (TOPIC, 0x7FFFFFFF)):
                error, _ = connection.produce(topic, wire.batch(), partition)
                assert error == UNKNOWN_TOPIC_OR_PARTITION, "%s-%d: error %d" % (topic, partition, error)

    def topic_names(self):
        with self.connect() as connection:
            for name in ("", ".", "..", "a/b", "a b", "ü", "x" * 250, "../../etc", "a\0b"):
                error = connection.create_topic(name)
                assert error == INVALID_TOPIC_EXCEPTION, "%r: error %d" % (name, error)

    def replication_factor(self):
        with self.connect() as connection:
            for factor in (3, 2, 0, -2):
                error = connection.create_topic("factor", replication_factor=factor)
                assert error == INVALID_REPLICATION_FACTOR, "%d: error %d" % (factor, error)

    def topic_settings(self):
        wrong = (("nobody.has.this", "1"), ("retention.ms", "soon"), ("max.message.bytes", "-1"),
                 ("cleanup.policy", "keep"), ("compression.type", "gzip"))
        with self.connect() as connection:
            for setting in wrong:
                error = connection.create_topic("settings", configs=[setting])
                assert error == INVALID_CONFIG, "%s=%s: error %d" % (*setting, error)

    def duplicates(self):
        with self.connect() as connection:
            _, producer_id, epoch = connection.init_producer_id()
            batches = [wire.batch([b"%d" % n], producer_id, epoch, n) for n in range(6)]
            first = [connection.produce(TOPIC, batch) for batch in batches[:5]]
            end = connection.end_offset(TOPIC)
            assert [error for error, _ in first] == [NONE] * 5, first
            for batch, answer in zip(batches, first):
                again = connection.produce(TOPIC, batch)
                assert again == answer, "%s first, %s again" % (answer, again)
            assert connection.end_offset(TOPIC) == end, "a duplicate was appended"
            assert connection.produce(TOPIC, batches[5]) == (NONE, end)

    def duplicates_after_kill(self):
        with self.connect() as connection:
            _, producer_id, epoch = connection.init_producer_id()
            batches = [wire.batch([b"%d" % n], producer_id, epoch, n) for n in range(3)]
            first = [connection.produce(TOPIC, batch) for batch in batches]
        self.broker.kill()
        self.broker.start()
        with self.connect() as connection:
            again = [connection.produce(TOPIC, batch) for batch in batches]
            assert again == first, "%s first, %s after the restart" % (first, again)
            _, other, _ = connection.init_producer_id()
            assert other > producer_id, "producer id %d was given again after %d" % (other, producer_id)
            gap = wire.batch([b"gap"], producer_id, epoch, 9)
            error, _ = connection.produce(TOPIC, gap)
            assert error == OUT_OF_ORDER_SEQUENCE_NUMBER, "a gap gets %d" % error

    def sequence_gap(self):
        with self.connect() as connection:
            _, producer_id, epoch = connection.init_producer_id()
            assert connection.produce(TOPIC, wire.batch([b"0"], producer_id, epoch, 0))[0] == NONE
        self.refused(wire.batch([b"2"], producer_id, epoch, 2), OUT_OF_ORDER_SEQUENCE_NUMBER)

    def transactions(self):
        with self.connect() as connection:
            error, _, _ = connection.init_producer_id("a-transaction")
            assert error in FATAL_OF_TRANSACTIONS, "InitProducerId answers %d" % error
            _, producer_id, epoch = connection.init_producer_id()
        batch = wire.batch([b"t"], producer_id, epoch, 0, attributes=wire.TRANSACTIONAL)
        self.refused(batch, *FATAL_OF_TRANSACTIONS)

    def unknown_version_of_api_versions(self):
        with self.connect() as connection:
            for version in (6, 99, 0x7FFF):
                # No tags, two one-letter names, no tags: what version 3 looks like.
                error, ranges = connection.api_versions(version, b"\0\2a\2b\0")
                assert error == UNSUPPORTED_VERSION, "version %d: error %d" % (version, error)
                assert ranges[wire.API_VERSIONS][1] >= 4, ranges
            error, ranges = connection.api_versions()
            assert error == NONE
            assert ranges[wire.PRODUCE][0] == 0, "Produce is to be advertised from 0"

    def unknown_api_key(self):
        for key in (999, -1, 0x7FFF, 4):
            self.closed(wire.frame(key, 0, b"\0" * 20))

    def unsupported_versions(self):
        body = wire.produce_body(TOPIC, wire.batch())
        for key, version in ((wire.PRODUCE, 2), (wire.PRODUCE, 99), (wire.PRODUCE, -1), (wire.FETCH, 3), (wire.FETCH, 99),
                             (wire.METADATA, 99)):
            self.closed(wire.frame(key, version, body[2:] if key == wire.PRODUCE else b"\0" * 40))

    def lengths(self):
        for length in (-1, -0x80000000, 0x7FFFFFFF, 0x7FFFFFFF - 3):
            self.closed(struct.pack(">i", length) + b"\0" * 100)
        for length in (0, 1, 7):
            self.closed(struct.pack(">i", length) + b"\0" * length)

    def counts(self):
        for count in (0x7FFFFFFF, 1_000_000, -2, 50):
            body = wire.string(None) + struct.pack(">hii", -1, 1000, count) + wire.string(TOPIC)
            self.closed(wire.frame(wire.PRODUCE, 3, body))
            self.closed(wire.frame(wire.METADATA, 1, struct.pack(">i", count if count != -2 else 9)))
            self.closed(wire.frame(wire.FETCH, 4, struct.pack(">iiiibi", -1, 0, 0, 1 << 20, 0, count)))

    def flexible_counts(self):
        for count in (b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x80" * 30, b"\x90\x4e"):
            self.closed(wire.frame(wire.METADATA, 12, b"\0" + count))
            self.closed(wire.frame(wire.METADATA, 12, count + b"\0" * 3))

    def trailing_frame_bytes(self):
        """A whole request with bytes behind it: closed, or answered as if they were not there, as Kafka does."""
        with self.connect() as connection:
            connection.send(wire.frame(wire.METADATA, 1, struct.pack(">i", 0) + b"left over"))
            connection.is_closed_by_peer()
        self.good_batch()

    def no_complaints(self):
        complaints = self.broker.complaints()
        assert not complaints, "the broker complains:\n" + "\n".join(complaints)

    ALL = [
        ("a good batch is appended", good_batch),
        ("a bad checksum is CORRUPT_MESSAGE", bad_checksum),
        ("a flipped bit is CORRUPT_MESSAGE", flipped_bit),
        ("a wrong batch length is refused", batch_length),
        ("a truncated batch is refused", truncated_batches),
        ("an empty record set is refused", no_batch),
        ("a wrong record count is refused", record_count),
        ("a wrong last offset delta is refused", last_offset_delta),
        ("a wrong record length is refused", record_length),
        ("a jump of offset deltas is INVALID_RECORD", record_offset_delta),
        ("bytes behind the last record are refused", trailing_bytes),
        ("a payload that its codec cannot read is refused", bad_compression),
        ("another batch format is refused", old_magic),
        ("two batches for one partition are INVALID_RECORD", two_batches),
        ("a control batch of a client is INVALID_RECORD", control_batch),
        ("a batch over max.message.bytes is MESSAGE_TOO_LARGE", too_large),
        ("acks=2 is INVALID_REQUIRED_ACKS", wrong_acks),
        ("an unknown topic or partition is UNKNOWN_TOPIC_OR_PARTITION", unknown_topic),
        ("a bad topic name is INVALID_TOPIC_EXCEPTION", topic_names),
        ("more replicas than brokers is INVALID_REPLICATION_FACTOR", replication_factor),
        ("a wrong topic setting is INVALID_CONFIG", topic_settings),
        ("the last five batches of a producer are known as duplicates", duplicates),
        ("duplicates are known and producer ids new after kill -9", duplicates_after_kill),
        ("a sequence gap is OUT_OF_ORDER_SEQUENCE_NUMBER", sequence_gap),
        ("what needs transactions is refused for good", transactions),
        ("an unknown version of ApiVersions gets UNSUPPORTED_VERSION in version 0", unknown_version_of_api_versions),
        ("an unknown API key closes the connection", unknown_api_key),
        ("an unsupported version closes the connection", unsupported_versions),
        ("negative, tiny and huge frame lengths close the connection", lengths),
        ("counts beyond the frame close the connection", counts),
        ("compact counts beyond the frame close the connection", flexible_counts),
        ("bytes behind a request harm nobody", trailing_frame_bytes),
        ("none of this is worth a warning", no_complaints),
    ]


def checks(options):
    answers = Answers()
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data:
        answers.broker = Broker(data)
        with answers.broker as broker:
            def begin():
                broker.start()
                with answers.connect() as connection:
                    assert connection.create_topic(TOPIC, configs=[("max.message.bytes", str(MAX_MESSAGE_BYTES))]) == NONE
                    while connection.produce(TOPIC, wire.batch())[0] != NONE:
                        pass

            yield "the broker starts", begin
            if broker.process is None or broker.process.poll() is not None:
                return
            for name, check in Answers.ALL:
                yield name, lambda: check(answers)
