#!/usr/bin/env python3
"""Retention and compaction as an unmodified client (confluent-kafka) sees them, on a broker of its own.

    CORELOG_BIN=target/release/corelog tests/clients/retention.py

A compacted topic keeps the last value of each key, in every codec, and every offset can be read from; retention by size
and by time moves the log start offset and leaves the newest records. Prints one line a check and `N passed, M failed`.
Runs itself again with the interpreter that the suite installed the client for.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from suite import install  # noqa: E402

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
SECONDS_TO_WAIT = 90
SETTINGS = ["log.retention.check.interval.ms=500", "log.cleaner.backoff.ms=500"]
COMPACT = {"cleanup.policy": "compact", "segment.bytes": str(1 << 20), "min.cleanable.dirty.ratio": "0.01"}


class Checks:
    def __init__(self):
        self.passed, self.failed = 0, 0

    def check(self, name, good, said=""):
        self.passed, self.failed = (self.passed + 1, self.failed) if good else (self.passed, self.failed + 1)
        print("%s %s%s" % ("ok  " if good else "FAIL", name, "" if good or not said else ": %s" % said), flush=True)


def create(bootstrap, topic, config):
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1, config=config)])[topic].result(30)


def produce(bootstrap, topic, records, **settings):
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, **settings})
    errors = []
    for key, value in records:
        while True:
            try:
                producer.produce(topic, key=key, value=value, on_delivery=lambda error, _: error and errors.append(error))
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush(60)
    return errors


def consume(bootstrap, topic, offset=None):
    """Everything from an offset (or the beginning) to the end, and the watermarks."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False,
                         "enable.partition.eof": True, "check.crcs": True})
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
    consumer.assign([TopicPartition(topic, 0, low if offset is None else offset)])
    found, deadline = [], time.monotonic() + 60
    while time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            break  # The partition's end.
        found.append((message.offset(), message.key(), message.value()))
    consumer.close()
    return found, low, high


def until(condition):
    deadline = time.monotonic() + SECONDS_TO_WAIT
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.5)
    return False


def check_compaction(checks, bootstrap, codec):
    topic = "compact-" + codec
    create(bootstrap, topic, COMPACT)
    # Random bytes fill segments in every codec.
    records = [(b"key-%d" % (at * 7 % 100), b"%d-" % at + os.urandom(700)) for at in range(6000)]
    records.append((b"key-3", None))
    errors = produce(bootstrap, topic, records, **{"compression.type": codec, "enable.idempotence": True})
    checks.check(topic + ": produced", not errors, errors[:1])
    last = {key: at for at, (key, _) in enumerate(records)}
    state = {}

    def is_compacted():
        state["found"], state["low"], state["high"] = consume(bootstrap, topic)
        return len(state["found"]) < 3000

    checks.check(topic + ": old values go", until(is_compacted), "%d are left" % len(state["found"]))
    found = state["found"]
    wrong = [offset for offset, key, value in found if records[offset] != (key, value)]
    checks.check(topic + ": what is left is as it was", not wrong, wrong[:5])
    offsets = {offset for offset, _, _ in found}
    gone = [key for key, offset in last.items() if offset not in offsets]
    checks.check(topic + ": the last value of each key is left", not gone, gone[:5])
    checks.check(topic + ": offsets are not given twice", state["high"] == len(records), state["high"])
    for offset in [1, 1000, 2500, 4000]:
        rest, _, _ = consume(bootstrap, topic, offset)
        wanted = [at for at in sorted(offsets) if at >= offset]
        # Compaction may have gone on since.
        got = [at for at, _, _ in rest]
        good = set(got) <= set(wanted) and {at for at in last.values() if at >= offset} <= set(got)
        checks.check("%s: from offset %d" % (topic, offset), good and got == sorted(got))


def check_keyless(checks, bootstrap):
    create(bootstrap, "keyless", COMPACT)
    errors = produce(bootstrap, "keyless", [(None, b"value")])
    names = [error.name() for error in errors]
    checks.check("a compacted topic refuses a record without a key", names == ["INVALID_RECORD"], names)


def check_retention(checks, bootstrap, topic, config, keeps):
    create(bootstrap, topic, dict(config, **{"segment.bytes": str(1 << 20)}))
    records = [(None, b"%d-" % at + bytes(1000)) for at in range(8000)]
    errors = produce(bootstrap, topic, records)
    checks.check(topic + ": produced", not errors, errors[:1])
    state = {}

    def has_moved():
        state["found"], state["low"], state["high"] = consume(bootstrap, topic)
        return keeps(state["low"], state["high"])

    checks.check(topic + ": old records go", until(has_moved), (state["low"], state["high"]))
    found, low = state["found"], state["low"]
    checks.check(topic + ": nothing is missing of the rest",
                 [offset for offset, _, _ in found] == list(range(low, state["high"])) and state["high"] == 8000)
    produce(bootstrap, topic, [(None, b"last")])
    _, _, high = consume(bootstrap, topic)
    checks.check(topic + ": goes on where it was", high == 8001, high)


def main():
    if "confluent_kafka" not in sys.modules:
        try:
            import confluent_kafka  # noqa: F401
        except ImportError:
            interpreter = install.python("client_confluent.py")[0]
            return subprocess.run([interpreter, "-B", *sys.argv]).returncode
    checks = Checks()
    with tempfile.TemporaryDirectory() as directory:
        arguments = [part for setting in SETTINGS for part in ("--set", setting)]
        with open(os.path.join(directory, "broker.log"), "wb") as log:
            broker = subprocess.Popen([os.environ["CORELOG_BIN"], "dev", *arguments], stdout=subprocess.PIPE, stderr=log,
                                      env=dict(os.environ, NO_COLOR="1"))
        try:
            bootstrap = json.loads(broker.stdout.readline())["bootstrap"]
            for codec in CODECS:
                check_compaction(checks, bootstrap, codec)
            check_keyless(checks, bootstrap)
            check_retention(checks, bootstrap, "by-size", {"retention.bytes": str(3 << 20)},
                            lambda low, high: 8000 - 5000 < low < 8000)
            check_retention(checks, bootstrap, "by-time", {"retention.ms": "4000"}, lambda low, high: low == high)
        finally:
            broker.terminate()
            broker.wait()
        with open(os.path.join(directory, "broker.log"), encoding="utf-8", errors="replace") as log:
            loud = [line for line in log if (" WARN " in line or " ERROR " in line) and "slow turn" not in line]
        checks.check("the broker says nothing at WARN or ERROR", not loud, loud[:3])
        checks.check("the broker ends well", broker.returncode == 0, broker.returncode)
    print("%d passed, %d failed" % (checks.passed, checks.failed))
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
