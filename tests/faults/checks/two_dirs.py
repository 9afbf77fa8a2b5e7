"""Two log directories on two disks, and one of them dies: its partitions answer KAFKA_STORAGE_ERROR, the others serve on,
and after the repair a start has everything that was acknowledged.
"""

import time

from harness import files, wire
from harness.broker import Broker
from harness.load import Load, create_topic, verify
from harness.loopback import Loopback, require_root

PARTITIONS = 16
KAFKA_STORAGE_ERROR = 56
OFFLINE_SECONDS = 10


def errors(broker, topic):
    """{partition: what a produce answers}"""
    with wire.Connection(broker.bootstrap) as connection:
        return {index: connection.produce(topic, wire.batch(), index)[0] for index in range(PARTITIONS)}


def one_dies():
    require_root()
    with Loopback() as first, Loopback() as second:
        with Broker("%s,%s" % (first.data, second.data)) as broker:
            broker.start()
            create_topic(broker.bootstrap, "loaded", PARTITIONS)
            create_topic(broker.bootstrap, "asked", PARTITIONS)
            assert set(errors(broker, "asked").values()) == {0}
            # What the journal has comes to the partitions' directories at the latest with a clean stop.
            broker.stop()
            broker.start()
            load = Load(broker.bootstrap, "loaded", PARTITIONS, codecs=("none", "lz4"), per_second_max=10_000).start()
            load.wait_for(10_000)
            dead = {index for name, index in files.partitions(second.data, "asked")}
            alive = {index for name, index in files.partitions(first.data, "asked")}
            assert dead and alive and dead | alive == set(range(PARTITIONS)), "%s and %s" % (alive, dead)
            assert set(errors(broker, "asked").values()) == {0}
            second.cut_power()
            # What is under way finds out; from then on every answer is the same.
            deadline = time.monotonic() + OFFLINE_SECONDS
            while any(errors(broker, "asked")[index] != KAFKA_STORAGE_ERROR for index in dead):
                assert time.monotonic() < deadline, "not offline within %d s" % OFFLINE_SECONDS
            for _ in range(3):
                answers = errors(broker, "asked")
                assert all(answers[index] == KAFKA_STORAGE_ERROR for index in dead), answers
                assert all(answers[index] == 0 for index in alive), answers
            assert broker.process.poll() is None, "the broker ended:\n" + broker.tail()
            offline = [(name, value) for name, value in broker.metrics().items() if "offline" in name]
            assert any(value > 0 for _, value in offline), offline
            said = [line for line in broker.complaints() if str(second.data) in line]
            assert said, "no line names %s" % second.data
            broker.stop()
            second.unmount()
            second.mount()
            mark = len(broker.log())
            broker.start()
            load.wait_for(5_000)
            load.drain()
            assert set(errors(broker, "asked").values()) == {0}
            note = verify(load)
            assert not broker.complaints(mark), "\n".join(broker.complaints(mark))
            broker.stop()
    return "%d partitions offline, %d served on; %s" % (len(dead), len(alive), note)


def checks(options):
    yield "of two log directories one dies: the other serves on, a repair brings all back", one_dies
