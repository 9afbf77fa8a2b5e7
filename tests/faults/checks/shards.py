"""The same data directory under 1, 2, 4 and 1 shards: what was written under one number is read under the others."""

import tempfile

from harness.broker import Broker
from harness.load import Load, create_topic, verify

ROW = (1, 2, 4, 1)


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


def checks(options):
    yield "data written under one number of shards is read under every other", row
