"""`corelog log` on what a broker wrote: the dump is what was acknowledged, a sound directory is called so, and a flipped
bit is found with its file and position.
"""

import random
import tempfile

from harness import files
from harness.broker import Broker
from harness.load import KEY, UNACKNOWLEDGED, Load, create_topic, value_of

PARTITIONS = 3
RECORDS = 12_000
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
# As much of a key or value as a dump shows.
SHOWN_BYTES = 100


def shown(data):
    """Bytes as a dump shows them."""
    simple = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r", 0x22: '\\"', 0x27: "\\'", 0x5C: "\\\\"}
    return "".join(simple.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else "\\x%02x" % byte) for byte in data[:SHOWN_BYTES])


def written(data, per_second_max=None):
    """A stopped broker's directory with several segments of every codec, and what was acknowledged. Slower producers make
    smaller batches."""
    with Broker(data) as broker:
        broker.start()
        create_topic(broker.bootstrap, "dumped", PARTITIONS, **{"segment.bytes": str(1 << 20)})
        load = Load(broker.bootstrap, "dumped", PARTITIONS, codecs=CODECS, count_max=RECORDS,
                    per_second_max=per_second_max).start()
        load.wait_until(lambda: load.acknowledged == RECORDS, 60, "last acknowledgement")
        load.drain()
        code, _ = broker.stop()
        assert code == 0, "exit code %d" % code
        assert not broker.complaints(), "\n".join(broker.complaints())
    return load


def dump_agrees():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data:
        load = written(data)
        found, codecs, file_count = 0, set(), 0
        for (_, partition), directory in files.partitions(data, "dumped").items():
            expected = {}
            for producer, streams in enumerate(load.ledger):
                for number, offset in enumerate(streams[partition]):
                    assert offset != UNACKNOWLEDGED
                    expected[offset] = shown(KEY.pack(producer, partition, number)), shown(value_of(number, load.value_bytes))
            seen = {}
            for file in files.segments(directory):
                code, lines = files.dump(file, "--records")
                assert code == 0, "%s: exit code %d" % (file, code)
                file_count += 1
                codecs |= {line["codec"] for line in lines if line["type"] == "batch"}
                for line in lines:
                    if line["type"] == "record":
                        assert line["value_bytes"] == load.value_bytes, line
                        seen[line["offset"]] = line["key"], line["value"]
            assert seen == expected, "partition %d: %d records dumped, %d acknowledged" % (partition, len(seen), len(expected))
            found += len(seen)
        assert codecs == set(CODECS), codecs
        return "%d records of %d codecs in %d segments" % (found, len(codecs), file_count)


def verify_finds(rng):
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data:
        written(data)
        code, findings, summary = files.verify(data)
        assert code == 0 and summary["damaged"] == 0, findings
        several = [found for found in map(files.segments, files.partitions(data, "dumped").values()) if len(found) > 1]
        file = rng.choice(several)[0]
        batch = rng.choice(files.batches(file))
        # From the attributes on everything is under the checksum.
        position, bit = batch["position"] + rng.randrange(21, batch["size_bytes"]), rng.randrange(8)
        files.flip(file, position, bit)
        code, findings, _ = files.verify(data)
        assert code == 1, "bit %d of byte %d of %s is flipped, exit code %d" % (bit, position, file, code)
        assert [(one["type"], one["file"], one["position"]) for one in findings] == [
            ("damage", str(file), batch["position"])], findings
        code, lines = files.dump(file, "--records")
        assert code == 1
        assert any(line["type"] == "damage" and line["position"] == batch["position"] for line in lines)
        files.flip(file, position, bit)
        assert files.verify(data)[0] == 0
        return "%d batches, one flipped bit at %d of %s" % (summary["batches"], position, file.name)


def checks(options):
    rng = random.Random(options.seed)
    yield "a dump has what was acknowledged, every codec", dump_agrees
    yield "a flipped bit in a closed segment is found", lambda: verify_finds(rng)
