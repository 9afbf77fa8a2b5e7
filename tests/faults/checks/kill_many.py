"""kill -9 under load with many partitions, a full disk and a torn tail among the kills: whatever was acknowledged is
there, in order, once.
"""

import random
import tempfile
import time

from harness import files
from harness.broker import Broker
from harness.load import Load, create_topic, verify
from harness.loopback import Loopback, require_root

PARTITIONS = 300
STALL_SECONDS = 1.0
FILL_SECONDS = 120


def is_full(broker):
    return any(value > 0 for name, value in broker.metrics().items() if "log_directories_full" in name)


def stalls(load, broker, what):
    """Waits until the broker says that its disk is full, and nothing is acknowledged for a while."""
    deadline = time.monotonic() + FILL_SECONDS
    seen, since = load.acknowledged, time.monotonic()
    while time.monotonic() - since < STALL_SECONDS:
        assert time.monotonic() < deadline, "still acknowledging %d s after %s" % (FILL_SECONDS, what)
        time.sleep(0.05)
        if load.acknowledged != seen or not is_full(broker):
            seen, since = load.acknowledged, time.monotonic()


def kills(rng, count):
    require_root()
    full_at, torn_at = rng.sample(range(count), 2)
    with Loopback() as disk, Broker(disk.data) as broker:
        broker.start()
        create_topic(broker.bootstrap, "many", PARTITIONS)
        load = Load(broker.bootstrap, "many", PARTITIONS, codecs=("none", "lz4"), per_second_max=30_000).start()
        restart_ms, torn = [], 0
        for index in range(count):
            load.wait_for(3_000)
            time.sleep(rng.uniform(0.0, 1.0))
            if index == full_at:
                disk.fill()
                stalls(load, broker, "the disk was full")
            broker.kill()
            if index == full_at:
                disk.free()
            if index == torn_at:
                torn = files.tear(disk.data, rng)
                assert torn, "nothing to tear"
            broker.start()
            restart_ms.append(broker.start_ms)
        load.wait_for(3_000)
        load.drain()
        note = verify(load)
        full = ("little space is left", "No space left")
        bad = [line for line in broker.complaints() if not any(words in line for words in full)]
        assert not bad, "\n".join(bad)
        broker.stop()
        assert files.verify(disk.data)[0] == 0
    restart_ms.sort()
    return "%s; full disk at kill %d, %d torn files at kill %d; restarts %.0f ms median, %.0f ms at most" % (
        note, full_at + 1, torn, torn_at + 1, restart_ms[len(restart_ms) // 2], restart_ms[-1])


def checks(options):
    rng = random.Random(options.seed)
    count = 50 if options.long else 3
    yield ("kill -9, %d times under load on %d partitions, full disk and torn tail among them" % (count, PARTITIONS),
           lambda: kills(rng, count))
