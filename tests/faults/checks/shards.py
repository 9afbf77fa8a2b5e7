"""The same data directory under 1, 2, 4 and 1 shards: what was written under one number is read under the others, after
clean ends, kills, and kills in the middle of a start.
"""

import random
import tempfile
import time

from harness.broker import Broker
from harness.load import Load, create_topic, verify

ROW = (1, 2, 4, 1)
# Shards of the starts after the first kill; all but the last are killed too before or after they serve.
KILLED_ROW = (1, 3, 1, 3)


def row():
    loads = []
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        for index, shards in enumerate(ROW):
            broker.shards = shards
            broker.start()
            for load in loads:
                verify(load)
            topic = "shards-%d" % index
            create_topic(broker.bootstrap, topic, 8)
            load = Load(broker.bootstrap, topic, 8, codecs=("none", "lz4"), count_max=8_000).start()
            load.wait_until(lambda: load.acknowledged == load.count_max, 60, "last acknowledgement")
            load.drain()
            verify(load)
            loads.append(load)
            # Both kinds of end: recovery and a clean start each meet another number of shards.
            if index % 2:
                broker.kill()
            else:
                code, _ = broker.stop()
                assert code == 0, "exit code %d" % code
        assert not broker.complaints(), "\n".join(broker.complaints())
    return "shards %s, %d topics of 8 partitions" % (", ".join(map(str, ROW)), len(loads))


def kills_in_starts(rng):
    """Four shards under load are killed; so are the starts that follow with other numbers, at random moments."""
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data, shards=4) as broker:
        broker.start()
        create_topic(broker.bootstrap, "starts", 16, **{"segment.bytes": str(1 << 20)})
        load = Load(broker.bootstrap, "starts", 16, codecs=("none", "lz4"), per_second_max=20_000).start()
        load.wait_for(10_000)
        moments = []
        for shards in KILLED_ROW[:-1]:
            broker.kill()
            broker.shards = shards
            began = time.monotonic()
            broker.spawn()
            time.sleep(rng.uniform(0.0, 0.2))
            moments.append("%d shards after %.0f ms" % (shards, (time.monotonic() - began) * 1000))
        broker.kill()
        broker.shards = KILLED_ROW[-1]
        broker.start()
        load.wait_for(5_000)
        load.drain()
        note = verify(load)
        assert not broker.complaints(), "\n".join(broker.complaints())
    return "%s; killed: %s; then %d shards" % (note, ", ".join(moments), KILLED_ROW[-1])


def checks(options):
    rng = random.Random(options.seed)
    yield "data written under one number of shards is read under every other", row
    yield "kill -9 with 4 shards, then in the starts with 1, 3 and 1: nothing acknowledged is lost", lambda: kills_in_starts(rng)
