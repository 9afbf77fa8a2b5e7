"""Two log directories on two disks. One dies under load: its partitions answer KAFKA_STORAGE_ERROR, the others serve on,
and after the repair a start has everything that was acknowledged; the same where it is the one with the metadata, only
that topics cannot be changed meanwhile. One is not there at a start, one comes new, one is forgotten in `log.dirs`.
"""

import subprocess
import tempfile
import time
from pathlib import Path

from harness import files, wire
from harness.broker import Broker
from harness.load import Load, create_topic, verify
from harness.loopback import Loopback, require_root

PARTITIONS = 16
KAFKA_STORAGE_ERROR = 56
OFFLINE_SECONDS = 10
FAILING_SECONDS = 10
METADATA = "__cluster_metadata"


def errors(broker, topic):
    """{partition: what a produce answers}"""
    with wire.Connection(broker.bootstrap) as connection:
        return {index: connection.produce(topic, wire.batch(), index)[0] for index in range(PARTITIONS)}


def lying_in(place, topic):
    return {index for _, index in files.partitions(place, topic)}


def offline(broker):
    """How many log directories each shard says are offline."""
    found = {name: value for name, value in broker.metrics().items() if name.startswith("corelog_log_directories_offline")}
    assert len(found) == broker.shards, found
    return set(found.values())


def is_degraded(broker, dead, alive, topic="asked"):
    """The answers of every partition, metrics and health say what is dead."""
    for _ in range(3):
        answers = errors(broker, topic)
        assert all(answers[index] == KAFKA_STORAGE_ERROR for index in dead), answers
        assert all(answers[index] == 0 for index in alive), answers
    with wire.Connection(broker.bootstrap) as connection:
        described = sorted(connection.log_dirs(topic).values(), reverse=True)
    assert described == [(KAFKA_STORAGE_ERROR, set()), (0, alive)], described
    assert offline(broker) == {1}, broker.metrics()
    assert "offline: 1" in broker.health(), broker.health()


def filled(broker, first, second):
    """Topics "asked" and "loaded" with a load; which partitions of "asked" lie where. What the journal has comes to the
    partitions' directories at the latest with a clean stop."""
    broker.start()
    create_topic(broker.bootstrap, "loaded", PARTITIONS)
    create_topic(broker.bootstrap, "asked", PARTITIONS)
    assert set(errors(broker, "asked").values()) == {0}
    broker.stop()
    broker.start()
    load = Load(broker.bootstrap, "loaded", PARTITIONS, codecs=("none", "lz4"), per_second_max=10_000).start()
    load.wait_for(10_000)
    there = lying_in(first, "asked"), lying_in(second, "asked")
    assert all(there) and not there[0] & there[1] and there[0] | there[1] == set(range(PARTITIONS)), there
    assert set(errors(broker, "asked").values()) == {0}
    assert offline(broker) == {0} and broker.health() == "ok"
    return load, *there


def all_back(broker, load):
    """Goes on with everything, and everything is there."""
    mark = len(broker.log())
    broker.start()
    load.wait_for(5_000)
    load.drain()
    assert set(errors(broker, "asked").values()) == {0}
    assert offline(broker) == {0} and broker.health() == "ok"
    note = verify(load)
    assert not broker.complaints(mark), "\n".join(broker.complaints(mark))
    return note


def one_dies(has_metadata):
    require_root()
    with Loopback() as first, Loopback() as second, Broker("%s,%s" % (first.data, second.data)) as broker:
        load, *there = filled(broker, first.data, second.data)
        disks = [first, second]
        at = next(at for at in (0, 1) if bool(files.partitions(disks[at].data, METADATA)) == has_metadata)
        disk, dead, alive = disks[at], there[at], there[1 - at]
        disk.cut_power()
        # What is under way finds out; from then on every answer is the same.
        deadline = time.monotonic() + OFFLINE_SECONDS
        while any(errors(broker, "asked")[index] != KAFKA_STORAGE_ERROR for index in dead):
            assert time.monotonic() < deadline, "not offline within %d s" % OFFLINE_SECONDS
        is_degraded(broker, dead, alive)
        assert broker.process.poll() is None, "the broker ended:\n" + broker.tail()
        said = [line for line in broker.complaints() if "offline" in line and str(disk.data) in line]
        assert said, "no line names %s" % disk.data
        about = [line for line in broker.complaints() if "metadata" in line]
        with wire.Connection(broker.bootstrap) as connection:
            error = connection.create_topic("late")
        if has_metadata:
            assert len(about) == 1 and str(disk.data) in about[0], "\n".join(broker.complaints())
            assert error != 0, "a topic is created without a place for the metadata"
            # Nothing of it takes the others with it.
            is_degraded(broker, dead, alive)
        else:
            assert not about, about[0]
            assert error == 0, "a topic is not created: error %d" % error
        broker.stop()
        disk.unmount()
        disk.mount()
        note = all_back(broker, load)
        broker.stop()
    return "%d partitions offline, %d served on; %s" % (len(dead), len(alive), note)


def refused(broker):
    """A start ends with 1; its last line."""
    mark = len(broker.log())
    broker.spawn()
    try:
        code = broker.process.wait(FAILING_SECONDS)
    except subprocess.TimeoutExpired:
        raise AssertionError("the broker runs:\n" + broker.tail()) from None
    assert code == 1, "exit code %d" % code
    lines = broker.log()[mark:].strip().splitlines()
    assert lines, "it says nothing"
    return lines[-1]


def one_is_not_there():
    """The mount point is there, the disk is not."""
    require_root()
    with Loopback() as first, Loopback() as second, Broker("%s,%s" % (first.data, second.data)) as broker:
        load, *there = filled(broker, first.data, second.data)
        disks = [first, second]
        holder = next(at for at in (0, 1) if files.partitions(disks[at].data, METADATA))
        other = 1 - holder
        broker.kill()
        disks[other].unmount()
        broker.start()
        is_degraded(broker, there[other], there[holder])
        said = [line for line in broker.complaints() if str(disks[other].data) in line]
        assert len(said) == 1, "\n".join(broker.complaints())
        # The room of what is not there is not taken by something new.
        create_topic(broker.bootstrap, "meanwhile", 4)
        broker.kill()
        assert not disks[other].data.exists(), "something was written where the disk should be"
        disks[other].mount()
        disks[holder].unmount()
        line = refused(broker)
        assert "metadata" in line and str(disks[holder].data) in line, line
        disks[holder].mount()
        note = all_back(broker, load)
        broker.stop()
    return "%s; %s" % (note, line)


def one_comes_new():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as place:
        first, second = Path(place) / "first", Path(place) / "second"
        with Broker(first) as broker:
            broker.start()
            create_topic(broker.bootstrap, "old", 8)
            old = Load(broker.bootstrap, "old", 8, per_second_max=5_000).start()
            old.wait_for(5_000)
            broker.kill()
            broker.data = "%s,%s" % (first, second)
            broker.start()
            create_topic(broker.bootstrap, "new", 8)
            new = Load(broker.bootstrap, "new", 8, per_second_max=5_000).start()
            new.wait_for(5_000)
            broker.kill()
            # In another order.
            broker.data = "%s,%s" % (second, first)
            broker.start()
            for load in (old, new):
                load.wait_for(2_000)
                load.drain()
            broker.stop()
            assert lying_in(first, "old") == set(range(8)) and not lying_in(second, "old"), "an old partition has moved"
            assert lying_in(second, "new"), "the new directory is not used"
            broker.start()
            notes = [verify(load) for load in (old, new)]
            assert not broker.complaints(), "\n".join(broker.complaints())
            broker.stop()
        return "old: %s; new: %s" % tuple(notes)


def one_is_forgotten():
    """Without the directory that has the metadata a start would make a new cluster beside the old records."""
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as place:
        both = [str(Path(place) / name) for name in ("first", "second")]
        with Broker(",".join(both)) as broker:
            broker.start()
            create_topic(broker.bootstrap, "loaded", PARTITIONS)
            load = Load(broker.bootstrap, "loaded", PARTITIONS, per_second_max=5_000).start()
            load.wait_for(5_000)
            load.drain()
            broker.stop()
            broker.data = next(data for data in both if not files.partitions(data, METADATA))
            line = refused(broker)
            assert "metadata" in line and "log.dirs" in line, line
            broker.data = ",".join(both)
            broker.start()
            return "%s; %s" % (verify(load), line)


def checks(options):
    yield "of two log directories one dies: the other serves on, a repair brings all back", lambda: one_dies(False)
    yield "the one with the metadata dies: the other serves on, a repair brings all back", lambda: one_dies(True)
    yield "one is not there at a start: the other is served; without the metadata's there is no start", one_is_not_there
    yield "one comes new: what was there stays, what is new goes there", one_comes_new
    yield "a start without the directory of the metadata is refused", one_is_forgotten
