"""What a start costs after kill -9: with 10 GB really there, with 50 GB, and with 1,000 partitions. It reads checkpoints,
journals and what was written beside the journals since, however much lies in the segments: that is asserted, by what the
kernel counts as read from the disk. How long it takes is printed.

The bytes of closed segments become holes beyond 10 GB, so that 50 GB fit on a small disk. A start that read them would
have to say so.
"""

import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

from harness import files
from harness.broker import Broker
from harness.load import Load, create_topic, verify

WHOLE_BYTES = 10_000_000_000
ALL_BYTES = 50_000_000_000
LARGE_BYTES = 500_000
LARGE_PARTITIONS = 6
PRODUCE_SECONDS = 1800
MANY = 1_000
STARTS = 3
# What may lie beside the journal of a shard: 256 MiB make a checkpoint due, as much may come while it is made.
BESIDE_BYTES_MAX = 512 << 20


def forget_cached(data):
    """Takes a data directory's files out of the page cache: what a start reads comes from the disk."""
    for path in Path(data).rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def read_bytes(broker):
    """What the kernel has read from disks for the broker."""
    lines = Path("/proc/%d/io" % broker.pid).read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("read_bytes:")))


def killed_and_started(broker, rng, load):
    """A note of times and bytes of starts, each after a kill under load."""
    times, read = [], []
    for _ in range(STARTS):
        load.wait_for(200)
        time.sleep(rng.uniform(0.0, 0.5))
        broker.kill()
        forget_cached(broker.data)
        frames = sum(file.stat().st_size for file in (Path(broker.data) / "journal").iterdir())
        broker.start()
        times.append(broker.start_ms)
        read.append(read_bytes(broker))
        most = frames + broker.shards * BESIDE_BYTES_MAX
        assert read[-1] <= most, "a start reads %d bytes, %d are in the journals" % (read[-1], frames)
    assert any(read), "nothing is counted as read"
    return "starts %s ms, reading %s MB" % (
        ", ".join("%.0f" % ms for ms in times), ", ".join("%.1f" % (bytes_read / 1e6) for bytes_read in read))


def make_holes(data):
    """Leaves of closed segments only their lengths."""
    for directory in files.partitions(data, "large").values():
        for file in files.segments(directory)[:-1]:
            length = file.stat().st_size
            if file.stat().st_blocks * 512 > length // 2:
                subprocess.run(["fallocate", "--punch-hole", "--offset", "0", "--length", str(length), str(file)], check=True)


def segment_bytes(data):
    return sum(file.stat().st_size for directory in files.partitions(data, "large").values()
               for file in files.segments(directory))


def with_much_data(rng):
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        broker.start()
        create_topic(broker.bootstrap, "large", LARGE_PARTITIONS, **{"segment.bytes": str(256 << 20)})
        notes = []
        # One record a batch: no copies of gigabytes wait in the client.
        load = Load(broker.bootstrap, "large", LARGE_PARTITIONS, value_bytes=LARGE_BYTES).start()
        for target in (WHOLE_BYTES, ALL_BYTES):
            load.per_second_max = None
            deadline = time.monotonic() + PRODUCE_SECONDS
            while load.acknowledged * LARGE_BYTES < target:
                assert not load.errors, load.errors[0]
                assert time.monotonic() < deadline, "only %d records" % load.acknowledged
                if target > WHOLE_BYTES:
                    make_holes(data)
                time.sleep(0.5)
            load.slow_down(100)
            notes.append("%.1f GB in segments: %s" % (segment_bytes(data) / 1e9, killed_and_started(broker, rng, load)))
        assert not load.errors, load.errors[0]
        load.abandon()
        return "; ".join(notes)


def with_many_partitions(rng):
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        broker.start()
        create_topic(broker.bootstrap, "many", MANY)
        load = Load(broker.bootstrap, "many", MANY, per_second_max=20_000).start()
        load.wait_for(40_000)
        note = killed_and_started(broker, rng, load)
        load.drain()
        return "%d partitions: %s; %s" % (MANY, note, verify(load))


def checks(options):
    rng = random.Random(options.seed)
    yield "a start after kill -9 reads the journals only, with 1,000 partitions", lambda: with_many_partitions(rng)
    yield "a start after kill -9 reads the journals only, with 10 GB and with 50 GB", lambda: with_much_data(rng)
