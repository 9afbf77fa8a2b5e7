"""Kills and power cuts while topics are compacted: the last acknowledged value of every key is there, and a topic beside
them, which is not compacted, has everything.
"""

import random
import tempfile
import time

from harness import files
from harness.broker import Broker
from harness.keyed import Keyed
from harness.load import Load, create_topic, verify
from harness.loopback import Loopback, require_root

PARTITIONS = 4
COMPACTED = {
    "cleanup.policy": "compact", "segment.bytes": str(1 << 20), "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "1000", "segment.ms": "2000",
}
# So that cleaning goes on all the time.
SETTINGS = ["log.cleaner.backoff.ms=100"]
CLEANED_SECONDS = 60


def loads(broker):
    create_topic(broker.bootstrap, "compacted", PARTITIONS, **COMPACTED)
    create_topic(broker.bootstrap, "whole", PARTITIONS, **{"segment.bytes": str(1 << 20)})
    keyed = Keyed(broker.bootstrap, "compacted", PARTITIONS, per_second_max=15_000).start()
    whole = Load(broker.bootstrap, "whole", PARTITIONS, codecs=("none", "lz4"), per_second_max=5_000).start()
    return keyed, whole


def settle(broker, data, keyed, whole):
    for load in (keyed, whole):
        load.wait_for(1_000)
        load.drain()
    note = "compacted: %s; whole: %s" % (keyed.verify(), verify(whole))
    # A cleaner that never ran shows nothing: less than a tenth may be left.
    deadline = time.monotonic() + CLEANED_SECONDS
    while True:
        left = sum(path.stat().st_blocks * 512 for place in files.partitions(data, "compacted").values()
                   for path in files.segments(place))
        if left < keyed.acknowledged * keyed.value_bytes / 4:
            break
        assert time.monotonic() < deadline, "%d bytes are left of %d records" % (left, keyed.acknowledged)
        time.sleep(0.2)
    keyed.verify()
    assert not broker.complaints(), "\n".join(broker.complaints())
    broker.stop()
    code, findings, _ = files.verify(data)
    assert code == 0, findings
    return note


def kills(rng, count):
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data, settings=SETTINGS) as broker:
        broker.start()
        keyed, whole = loads(broker)
        for _ in range(count):
            keyed.wait_for(10_000)
            time.sleep(rng.uniform(0.0, 1.0))
            broker.kill()
            broker.start()
        return settle(broker, data, keyed, whole)


def power_cuts(rng, count):
    require_root()
    with Loopback() as disk, Broker(disk.data, settings=SETTINGS) as broker:
        broker.start()
        keyed, whole = loads(broker)
        for _ in range(count):
            keyed.wait_for(10_000)
            time.sleep(rng.uniform(0.0, 1.0))
            broker.pause()
            disk.cut_power()
            broker.kill()
            disk.unmount()
            disk.mount()
            broker.start()
        return settle(broker, disk.data, keyed, whole)


def checks(options):
    rng = random.Random(options.seed)
    count = 20 if options.long else 2
    yield "kill -9 while topics are compacted, %d times: nothing acknowledged is lost" % count, lambda: kills(rng, count)
    yield "power cuts while topics are compacted, %d times: nothing acknowledged is lost" % count, lambda: power_cuts(rng, count)
