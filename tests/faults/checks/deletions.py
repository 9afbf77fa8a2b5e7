"""What DeleteRecords took stays away, after every kind of end."""

import tempfile

from harness import wire
from harness.broker import Broker

NONE = 0
NAME = "deletions"


def deletions():
    """The start offset lies within a segment, so that no missing file could tell it."""
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        broker.start()
        with wire.Connection(broker.bootstrap) as connection:
            assert connection.create_topic(NAME) == NONE
            for record in range(6):
                assert connection.produce(NAME, wire.batch([b"%d" % record])) == (NONE, record)
            assert connection.delete_records(NAME, 4) == (4, NONE)
        for end in (None, broker.kill, broker.stop):
            if end:
                end()
                broker.start()
            with wire.Connection(broker.bootstrap) as connection:
                found = [connection.offset(NAME, time) for time in (wire.EARLIEST, wire.LATEST)]
                assert found == [4, 6], "offsets %d to %d" % tuple(found)
        assert not broker.complaints(), "\n".join(broker.complaints())


def checks(options):
    yield "deleted records stay deleted after kill -9 and after a clean stop", deletions
