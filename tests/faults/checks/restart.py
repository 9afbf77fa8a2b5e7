"""How long a start takes after kill -9: with 10 GB of data, and with 1,000 partitions. Under a second each."""

import random
import tempfile
import time

from harness.broker import Broker
from harness.load import Load, create_topic, verify

BYTES = 10_000_000_000
LARGE_BYTES = 500_000
MANY = 1_000
START_MS_MAX = 1_000


def killed_and_started(broker, rng, load, times=5):
    """The restarts' times, each after a kill under load."""
    out = []
    for _ in range(times):
        load.wait_for(200)
        time.sleep(rng.uniform(0.0, 0.5))
        broker.kill()
        broker.start()
        out.append(broker.start_ms)
    return out


def judged(times, note):
    assert max(times) < START_MS_MAX, "restarts took %s ms" % ", ".join("%.0f" % ms for ms in times)
    return "%s; restarts %s ms" % (note, ", ".join("%.0f" % ms for ms in times))


def with_much_data(rng):
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        broker.start()
        create_topic(broker.bootstrap, "large", 6)
        count = BYTES // LARGE_BYTES
        load = Load(broker.bootstrap, "large", 6, value_bytes=LARGE_BYTES).start()
        load.wait_until(lambda: load.acknowledged >= count, 900, "%d acknowledgements" % count)
        load.per_second_max = 100
        times = killed_and_started(broker, rng, load)
        load.drain()
        assert not load.errors, load.errors[0]
        return judged(times, "%.1f GB" % (load.acknowledged * LARGE_BYTES / 1e9))


def with_many_partitions(rng):
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        broker.start()
        create_topic(broker.bootstrap, "many", MANY)
        load = Load(broker.bootstrap, "many", MANY, per_second_max=20_000).start()
        load.wait_for(40_000)
        times = killed_and_started(broker, rng, load)
        load.drain()
        return judged(times, "%d partitions, %s" % (MANY, verify(load)))


def checks(options):
    rng = random.Random(options.seed)
    yield "a start after kill -9 with 10 GB takes less than a second", lambda: with_much_data(rng)
    yield "a start after kill -9 with 1,000 partitions takes less than a second", lambda: with_many_partitions(rng)
