"""A power cut under load: the broker stops, its filesystem loses what it had not written, and all that was
acknowledged is there afterwards. A broker that acknowledges from the page cache loses about half of it here.
"""

import random
import time

from harness.broker import Broker
from harness.load import Load, create_topic, verify
from harness.loopback import Loopback, require_root

PARTITIONS = 4
# A filesystem serves this many cuts, so that recovery after a recovery is tried and the image stays small.
CUTS_A_FILESYSTEM = 4


# Several rolls a second.
ROLLING = {"segment.bytes": str(1 << 20)}


def power_cuts(rng, count, **config):
    require_root()
    with Loopback() as disk, Broker(disk.data) as broker:
        broker.start()
        create_topic(broker.bootstrap, "power", PARTITIONS, **config)
        load = Load(broker.bootstrap, "power", PARTITIONS, codecs=("none", "none"), per_second_max=30_000).start()
        restart_ms = []
        for _ in range(count):
            load.wait_for(2_000)
            time.sleep(rng.uniform(0.0, 1.5))
            broker.pause()
            disk.cut_power()
            broker.kill()
            disk.unmount()
            disk.mount()
            broker.start()
            restart_ms.append(broker.start_ms)
        try:
            load.wait_for(2_000)
        except AssertionError:
            # A producer that meets a log without its last records cannot go on; what is lost is the better answer.
            verify(load, complete=False)
            raise
        load.drain()
        note = "%s; restarts %s ms" % (verify(load), ", ".join("%.0f" % ms for ms in restart_ms))
        assert not broker.complaints(), "\n".join(broker.complaints())
        broker.stop()
        return note


def checks(options):
    rng = random.Random(options.seed)
    if not options.long:
        yield "power cut under load: nothing acknowledged is lost", lambda: power_cuts(rng, 1)
        yield "power cut under load with rolls: nothing acknowledged is lost", lambda: power_cuts(rng, 1, **ROLLING)
        return
    for first in range(1, 21, CUTS_A_FILESYSTEM):
        yield ("power cuts %d to %d of 20 under load: nothing acknowledged is lost" % (first, first + CUTS_A_FILESYSTEM - 1),
               lambda: power_cuts(rng, CUTS_A_FILESYSTEM))
        yield ("power cuts %d to %d of 20 under load with rolls: nothing acknowledged is lost" % (
            first, first + CUTS_A_FILESYSTEM - 1), lambda: power_cuts(rng, CUTS_A_FILESYSTEM, **ROLLING))
