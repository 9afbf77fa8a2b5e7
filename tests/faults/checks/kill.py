"""kill -9 under load: whatever was acknowledged is there after a restart, in order, and once for idempotent producers."""

import random
import tempfile
import time

from harness.broker import Broker
from harness.load import Load, create_topic, verify

PARTITIONS = 4
MILLION = 1_000_000


def kills_under_load(rng, count):
    """One data directory, killed and started again while idempotent and plain producers go on."""
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        broker.start()
        create_topic(broker.bootstrap, "once", PARTITIONS)
        create_topic(broker.bootstrap, "plain", PARTITIONS)
        once = Load(broker.bootstrap, "once", PARTITIONS, codecs=("none", "lz4"), per_second_max=40_000).start()
        plain = Load(broker.bootstrap, "plain", PARTITIONS, idempotent=False, per_second_max=10_000).start()
        restart_ms = []
        for _ in range(count):
            for load in (once, plain):
                load.wait_for(1_000)
            time.sleep(rng.uniform(0.0, 1.5))
            broker.kill()
            time.sleep(rng.uniform(0.0, 0.3))
            broker.start()
            restart_ms.append(broker.start_ms)
        for load in (once, plain):
            load.wait_for(1_000)
            load.drain()
        note = "once: %s; plain: %s; restarts %s ms" % (
            verify(once), verify(plain), ", ".join("%.0f" % ms for ms in restart_ms))
        assert not broker.complaints(), "\n".join(broker.complaints())
        return note


def kill_during_a_second_million(rng):
    """A million records of 1 KiB, then a kill at a random moment of another million."""
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        broker.start()
        create_topic(broker.bootstrap, "million", PARTITIONS)
        load = Load(broker.bootstrap, "million", PARTITIONS, codecs=("none", "none"), count_max=2 * MILLION).start()
        at = MILLION + rng.randrange(MILLION * 9 // 10)
        load.wait_until(lambda: load.acknowledged >= at, 300, "%d acknowledgements" % at)
        broker.kill()
        broker.start()
        load.wait_until(lambda: load.acknowledged >= load.count_max, 300, "last acknowledgement")
        load.drain()
        return "killed at %d, restart %.0f ms, %s" % (at, broker.start_ms, verify(load))


def checks(options):
    rng = random.Random(options.seed)
    if not options.long:
        yield "kill -9, three times under load: nothing acknowledged is lost", lambda: kills_under_load(rng, 3)
        return
    for index in range(20):
        yield ("kill -9 number %d of 20 during the second million: nothing acknowledged is lost" % (index + 1),
               lambda: kill_during_a_second_million(rng))
    yield "kill -9, twenty times on one directory: nothing acknowledged is lost", lambda: kills_under_load(rng, 20)
