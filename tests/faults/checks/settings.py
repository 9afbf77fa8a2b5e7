"""What an administrator changed while the broker ran: at once, and after every kind of end."""

import tempfile

from harness import wire
from harness.broker import Broker

NONE, MESSAGE_TOO_LARGE = 0, 10
TOPIC, BROKER = 2, 4
# Kafka's numbers of sources.
OF_TOPIC, OF_BROKER, OF_ALL_BROKERS = 1, 2, 3
NAME = "settings"
LARGE = wire.batch([b"x" * 5_000])


def sizes(connection):
    """Whether a batch of 5 kB is taken by the topic with a value of its own, and by one without."""
    return [connection.produce(topic, LARGE)[0] for topic in (NAME, NAME + "-plain")]


def shown(connection):
    return [connection.config(TOPIC, NAME, "max.message.bytes"), connection.config(BROKER, "1", "message.max.bytes"),
            connection.config(BROKER, "", "message.max.bytes"),
            connection.config(TOPIC, NAME + "-plain", "max.message.bytes")]


def survive():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        broker.start()
        with wire.Connection(broker.bootstrap) as connection:
            for topic in (NAME, NAME + "-plain"):
                assert connection.create_topic(topic) == NONE
            assert sizes(connection) == [NONE, NONE]
            for kind, name, key, value in ((TOPIC, NAME, "max.message.bytes", "1000"),
                                           (BROKER, "", "message.max.bytes", "2000"),
                                           (BROKER, "1", "message.max.bytes", "20000")):
                assert connection.set_config(kind, name, key, value) == NONE
        wanted = [("1000", OF_TOPIC), ("20000", OF_BROKER), ("2000", OF_ALL_BROKERS), ("20000", OF_BROKER)]
        for end in (None, broker.kill, broker.stop, broker.kill):
            if end:
                end()
                broker.start()
            with wire.Connection(broker.bootstrap) as connection:
                assert shown(connection) == wanted, shown(connection)
                assert sizes(connection) == [MESSAGE_TOO_LARGE, NONE]
        with wire.Connection(broker.bootstrap) as connection:
            assert connection.set_config(BROKER, "1", "message.max.bytes", None) == NONE
            assert connection.set_config(TOPIC, NAME, "max.message.bytes", None) == NONE
        broker.kill()
        broker.start()
        with wire.Connection(broker.bootstrap) as connection:
            assert connection.config(TOPIC, NAME, "max.message.bytes") == ("2000", OF_ALL_BROKERS)
            assert sizes(connection) == [MESSAGE_TOO_LARGE, MESSAGE_TOO_LARGE]
        assert not broker.complaints(), "\n".join(broker.complaints())


def checks(options):
    yield "changed settings hold at once, after kill -9 and after a clean stop", survive
