"""Flipped bits. In segments, closed or written to: found by `corelog log verify` and by the scrub, reported with file and
position, and from then on never served, while all else is. In the middle of a journal, in a batch that a journal relies
on, in a checkpoint: told apart from what a crash leaves; nothing acknowledged is cut.
"""

import random
import subprocess
import tempfile
import time

from confluent_kafka import Consumer, KafkaError, TopicPartition

from checks.log_files import written
from harness import files
from harness.broker import Broker
from harness.load import KEY, QUIET, Load, create_topic, value_of, verify

# The first round of the scrub begins a minute after the start.
SCRUB_SECONDS = 120
READ_SECONDS = 60
START_SECONDS = 30
BLOCK_BYTES = 4096
# From the attributes on everything is under a batch's checksum.
COVERED_FROM = 21


def reported(broker, file, position, seconds, mark=0):
    """Waits for a line of the log that names both."""
    deadline = time.monotonic() + seconds
    while True:
        lines = [line for line in broker.complaints(mark) if str(file) in line and "position=%d" % position in line
                 or str(file) in line and "position: %d" % position in line]
        if lines:
            return lines[0].strip()
        assert time.monotonic() < deadline, "%s at %d is not reported within %d s:\n%s" % (
            file, position, seconds, broker.tail())
        time.sleep(0.05)


def read(broker, load, partition, first, end):
    """The records from `first` on: all right, up to `end` or to an error, whose code it returns. The client does not look
    at checksums: the broker must."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "faults", "check.crcs": False,
                         "auto.offset.reset": "error", "fetch.error.backoff.ms": 50, "enable.partition.eof": True, "enable.auto.commit": False,
                         **QUIET})
    try:
        consumer.assign([TopicPartition("dumped", partition, first)])
        next_offset, deadline = first, time.monotonic() + READ_SECONDS
        while time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is None:
                continue
            if message.error() is not None:
                assert next_offset == end, "%s at offset %d" % (message.error(), next_offset)
                return message.error().code()
            assert message.offset() == next_offset < end, "offset %d comes after %d, expected is an end at %d" % (
                message.offset(), next_offset - 1, end)
            _, _, number = KEY.unpack(message.key())
            assert message.value() == value_of(number, load.value_bytes)
            next_offset += 1
        raise AssertionError("neither an error nor a record after offset %d" % next_offset)
    finally:
        consumer.close()


def victims(file, is_active):
    """The batches of a segment in which the scrub finds rot, but for the first."""
    batches = files.batches(file)
    if is_active:
        # Of the segment that is written to it looks at whole blocks, and at a batch when the next one begins.
        limit = (batches[-1]["position"] + batches[-1]["size_bytes"]) // BLOCK_BYTES * BLOCK_BYTES
        batches = [one for one in batches if one["position"] + one["size_bytes"] <= limit]
    return batches[1:-1]


def damaged_batch(rng, file, is_active):
    """Flips a bit in a batch; the batch."""
    batch = rng.choice(victims(file, is_active))
    files.flip(file, batch["position"] + rng.randrange(COVERED_FROM, batch["size_bytes"]), rng.randrange(8))
    return batch


def in_segments(rng):
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data:
        load = written(data, per_second_max=8_000)
        directories = {partition: directory for (_, partition), directory in files.partitions(data, "dumped").items()}
        ends = {partition: files.batches(files.segments(directory)[-1])[-1]["last_offset"] + 1
                for partition, directory in directories.items()}
        active = rng.choice([at for at, directory in directories.items() if victims(files.segments(directory)[-1], True)])
        closed, whole = rng.sample([at for at in directories if at != active], 2)
        damaged = {}
        for partition, at in ((closed, 0), (active, -1)):
            found = files.segments(directories[partition])
            assert len(found) > 1, "%d segment" % len(found)
            damaged[partition] = found[at], damaged_batch(rng, found[at], at == -1)
        expected = {(str(file), batch["position"]) for file, batch in damaged.values()}
        code, findings, _ = files.verify(data)
        findings = [one for one in findings if one["type"] == "damage"]
        assert code == 1 and {(one["file"], one["position"]) for one in findings} == expected, findings
        with Broker(data) as broker:
            broker.start()
            lines = [reported(broker, file, batch["position"], SCRUB_SECONDS) for file, batch in damaged.values()]
            for partition, (_, batch) in damaged.items():
                code = read(broker, load, partition, 0, batch["base_offset"])
                assert code in (KafkaError.INVALID_MSG, KafkaError._BAD_MSG), code
                # Behind it everything is served, and a partition without rot from end to end.
                code = read(broker, load, partition, batch["last_offset"] + 1, ends[partition])
                assert code == KafkaError._PARTITION_EOF, code
            assert read(broker, load, whole, 0, ends[whole]) == KafkaError._PARTITION_EOF
            assert len(broker.complaints()) == len(damaged), "\n".join(broker.complaints())
            bad = sum(value for name, value in broker.metrics().items() if name.startswith("corelog_log_bad_batches_total"))
            assert bad == len(damaged), bad
    return "; ".join(line[line.index("file="):] for line in lines)


def frames(file):
    return [line for line in files.dump(file)[1] if line["type"] == "frame" and line["whole"]]


def loaded(broker, count, partitions=100, per_second_max=20_000, **options):
    """A killed broker, and its load."""
    broker.start()
    create_topic(broker.bootstrap, "rotten", partitions)
    load = Load(broker.bootstrap, "rotten", partitions, per_second_max=per_second_max, **options).start()
    load.wait_for(count)
    broker.kill()
    return load


def refused(broker, data, load, file, position, flipped, is_judged=True):
    """A start reports `position` of `file`, as `corelog log verify` does, changes nothing of it and, with the bit as it
    was, nothing is missing."""
    if is_judged:
        code, findings, _ = files.verify(data)
        findings = [(one["file"], one["position"]) for one in findings if one["type"] == "damage"]
        assert code == 1 and findings == [(str(file), position)], findings
    content = file.read_bytes()
    mark = len(broker.log())
    broker.spawn()
    line = reported(broker, file, position, START_SECONDS, mark)
    try:
        # It serves what other shards have, or it ends.
        broker.process.wait(1)
    except subprocess.TimeoutExpired:
        broker.kill()
    assert file.read_bytes() == content, "%s was changed" % file
    files.flip(file, flipped)
    mark = len(broker.log())
    broker.start()
    load.wait_for(100)
    load.drain()
    note = verify(load)
    assert not broker.complaints(mark), "\n".join(broker.complaints(mark))
    broker.stop()
    return "%s; %s" % (note, line[line.index(" ERROR ") + 7:])


def in_a_journal(rng):
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        load = loaded(broker, 10_000)
        used = {file: frames(file) for file in files.journals(data)}
        file = rng.choice([file for file, found in used.items() if len(found) > 8])
        # Whole frames follow. In the middle of what is there, or the first of all.
        found = used[file]
        frame = rng.choice([found[0], *found[len(found) // 4:len(found) // 2]])
        flipped = frame["position"] + rng.randrange(frame["bytes"])
        files.flip(file, flipped)
        return refused(broker, data, load, file, frame["position"], flipped)


def written_directly(data):
    """{(topic, partition): [from, to]} of first segments, where a later frame of the lane says that the write was over;
    without one a start cannot tell whether a crash tore it before anybody was told."""
    ranges, ends = {}, {}
    for file in files.journals(data):
        lines = files.dump(file)[1]
        over = max([line["keep"] for line in lines if line["type"] == "frame" and line["whole"]], default=0)
        for line in lines:
            if line["type"] == "frame":
                sequence = line["sequence"]
            if line["type"] in ("batches", "direct") and line["segment"] == 0:
                at = line["topic_id"], line["partition"]
                end = line["position"] + line.get("bytes", 0)
                if line["type"] == "direct" and sequence < over:
                    ranges.setdefault(at, []).append((ends.get(at, 0), end))
                ends[at] = end
    return ranges


def beside_a_journal(rng):
    """Large batches go to their segment alone: the journal only says that they are there."""
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        load = loaded(broker, 150, partitions=8, per_second_max=200, value_bytes=300_000)
        ranges, found = written_directly(data), []
        for (_, partition), directory in files.partitions(data, "rotten").items():
            file = files.segments(directory)[0]
            own = ranges.get((files.topic_id(directory), partition), ())
            found += [(file, batch) for batch in files.batches(file)
                      if any(first <= batch["position"] < end for first, end in own)]
        assert found, "nothing was written directly"
        file, batch = rng.choice(found)
        flipped = batch["position"] + rng.randrange(COVERED_FROM, batch["size_bytes"])
        files.flip(file, flipped)
        # Of a segment whose rest is in the journal `corelog log verify` only notes it.
        return refused(broker, data, load, file, batch["position"], flipped, is_judged=False)


def with_checkpoints(broker):
    """A killed broker whose second run has made its checkpoints, and its load; the newest checkpoint of a shard and its
    frames."""
    load = loaded(broker, 5_000)
    broker.start()
    load.wait_for(5_000)
    broker.kill()
    newest = {}
    for file in files.checkpoints(broker.data):
        lane, number = file.name.split(".")[:2], int(file.name.split(".")[2])
        if number > newest.get(tuple(lane), (0, None))[0]:
            newest[tuple(lane)] = number, file
    found = [(file, frames(file)) for _, file in newest.values()]
    several = [(file, of_file) for file, of_file in found if sum(frame["last"] for frame in of_file) > 1]
    assert several, "no checkpoint after the first: %s" % found
    return load, several


def in_the_newest_checkpoint(rng):
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        load, found = with_checkpoints(broker)
        for file, of_file in found:
            frame = of_file[-1]
            files.flip(file, frame["position"] + rng.randrange(frame["bytes"]), rng.randrange(8))
        assert files.verify(data)[0] == 0, "a checkpoint that may be torn is called damage"
        broker.start()
        load.wait_for(5_000)
        load.drain()
        note = verify(load)
        assert not broker.complaints(), "\n".join(broker.complaints())
        broker.stop()
    return "%s; %d checkpoints, the one before each is used" % (note, len(found))


def in_an_older_checkpoint(rng):
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        load, found = with_checkpoints(broker)
        file, of_file = rng.choice(found)
        frame = of_file[0]
        flipped = frame["position"] + rng.randrange(frame["bytes"])
        files.flip(file, flipped)
        return refused(broker, data, load, file, frame["position"], flipped)


def checks(options):
    rng = random.Random(options.seed)
    yield "a flipped bit in a segment is reported and never served, closed or not", lambda: in_segments(rng)
    yield "a flipped bit in the middle of a journal is reported and nothing is cut", lambda: in_a_journal(rng)
    yield "a flipped bit in a batch beside the journal is reported and nothing is cut", lambda: beside_a_journal(rng)
    yield "a flipped bit in the newest checkpoint costs nothing: the one before it is used", lambda: in_the_newest_checkpoint(rng)
    yield "a flipped bit in what a checkpoint builds on is reported and nothing is cut", lambda: in_an_older_checkpoint(rng)
