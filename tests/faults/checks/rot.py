"""Flipped bits: in a closed segment, found and reported with file and position, and never served; in the middle of a
journal, told apart from a torn tail: nothing acknowledged is cut.
"""

import random
import tempfile
import time

from confluent_kafka import Consumer, KafkaError, TopicPartition

from checks.log_files import written
from harness import files
from harness.broker import Broker
from harness.load import KEY, QUIET, Load, create_topic, value_of, verify

SCRUB_SECONDS = 120
READ_SECONDS = 30


def reported(broker, file, position, seconds):
    """Waits for a line of the log that names both."""
    deadline = time.monotonic() + seconds
    while True:
        lines = [line for line in broker.complaints() if str(file) in line and str(position) in line]
        if lines:
            return lines[0]
        assert time.monotonic() < deadline, "%s at %d is not reported within %d s:\n%s" % (
            file, position, seconds, broker.tail())
        time.sleep(0.1)


def never_served(broker, load, partition, batch):
    """Reads from before the batch: everything up to it is right, then an error, never its bytes. The client does not
    look at checksums: the broker must. Returns the error's code."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "faults", "check.crcs": False,
                         "auto.offset.reset": "error", "fetch.error.backoff.ms": 50, **QUIET})
    try:
        consumer.assign([TopicPartition("dumped", partition, 0)])
        next_offset, deadline = 0, time.monotonic() + READ_SECONDS
        while time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is None:
                continue
            if message.error() is not None:
                assert next_offset == batch["base_offset"], "%s at offset %d" % (message.error(), next_offset)
                return message.error().code()
            assert message.offset() < batch["base_offset"], "offset %d of the damaged batch is served" % message.offset()
            producer, _, number = KEY.unpack(message.key())
            assert message.value() == value_of(number, load.value_bytes)
            assert message.offset() == next_offset
            next_offset += 1
        raise AssertionError("neither an error nor a record after offset %d" % next_offset)
    finally:
        consumer.close()


def in_a_closed_segment(rng):
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data:
        load = written(data)
        (_, partition), directory = rng.choice(list(files.partitions(data, "dumped").items()))
        file = files.segments(directory)[0]
        batch = rng.choice(files.batches(file)[1:])
        files.flip(file, batch["position"] + rng.randrange(21, batch["size_bytes"]), rng.randrange(8))
        with Broker(data) as broker:
            broker.start()
            line = reported(broker, file, batch["position"], SCRUB_SECONDS)
            code = never_served(broker, load, partition, batch)
            assert code in (KafkaError.INVALID_MSG, KafkaError._BAD_MSG), code
            bad = [one for one in broker.complaints() if str(file) not in one]
            assert not bad, "\n".join(bad)
        return line.strip()[-200:]


def in_a_journal(rng):
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        broker.start()
        create_topic(broker.bootstrap, "rotten", 100)
        load = Load(broker.bootstrap, "rotten", 100, per_second_max=5_000).start()
        load.wait_for(10_000)
        broker.kill()
        journals = [(file, files.last_used(file)) for file in files.journals(data)]
        used = [(file, end) for file, end in journals if end > 64 << 10]
        assert used, "no journal holds anything: %s" % journals
        file, end = max(used, key=lambda one: one[1])
        # In the middle of what is there: whole frames follow.
        position = rng.randrange(end // 4, end // 2)
        files.flip(file, position)
        mark = len(broker.log())
        broker.spawn()
        deadline = time.monotonic() + READ_SECONDS
        while not (lines := [line for line in broker.log()[mark:].splitlines() if str(file) in line]):
            assert time.monotonic() < deadline, "%s at %d is not reported:\n%s" % (file, position, broker.tail())
            time.sleep(0.05)
        assert any(char.isdigit() for char in lines[0].replace(str(file), "")), "no position: " + lines[0]
        broker.kill()
        # Nothing was cut: with the bit as it was, everything is there.
        files.flip(file, position)
        broker.start()
        load.wait_for(1_000)
        load.drain()
        return "%s; %s" % (verify(load), lines[0].strip()[-200:])


def checks(options):
    rng = random.Random(options.seed)
    yield "a flipped bit in a closed segment is reported and never served", lambda: in_a_closed_segment(rng)
    yield "a flipped bit in the middle of a journal is reported and nothing is cut", lambda: in_a_journal(rng)
