#!/usr/bin/env python3
"""Real clients against a broker: each produces with every codec it has, every other one reads it back.

    CORELOG_BIN=target/release/corelog tests/clients/run.py      starts `corelog dev`
    BOOTSTRAP=127.0.0.1:9092 tests/clients/run.py                takes a broker that is there (any: Apache Kafka too)

BROKER=corelog|kafka says whose promises hold (default: corelog with CORELOG_BIN, kafka with BOOTSTRAP). SEED=N
changes the records. ONLY=kcat,java restricts the clients. KEEP=1 keeps the working directory. Clients are installed
once into ${XDG_CACHE_HOME:-~/.cache}/corelog-tests. Prints one line a check and at the end `N passed, M failed`.
"""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from suite import compare, install, manifest, raw  # noqa: E402
from suite.broker import Dev, Given  # noqa: E402
from suite.report import Report  # noqa: E402

CODECS = raw.CODECS
SECONDS_A_PROGRAM = 180
# At most so many programs at a time: they are to find the broker, not each other.
PROGRAMS_AT_ONCE = max(2, os.cpu_count() or 2)


class Client:
    """One client: how it is installed, and what it cannot do."""

    def __init__(self, name, command, consumes=True, idempotent=False, records=manifest.full, unseen=(), lacks=()):
        self.name = name
        self.install = command
        self.consumes = consumes
        # Its batches carry a producer id without being asked to.
        self.idempotent = idempotent
        self.records = lambda seed: records(seed, lacks)
        # What it cannot send.
        self.lacks = lacks
        self.unseen = unseen
        self.codecs = CODECS
        self.command = None


CLIENTS = [
    Client("kcat", install.kcat, records=manifest.kcat, unseen=("headers",)),
    Client("confluent-kafka", lambda: install.python("client_confluent.py")),
    Client("kafka-python", lambda: install.python("client_kafka_python.py"), idempotent=True,
           lacks=["null key with null value", "null header"]),
    Client("aiokafka", lambda: install.python("client_aiokafka.py"), lacks=["null key with null value"]),
    Client("java", install.java, idempotent=True),
    Client("franz-go", lambda: install.go("franz"), idempotent=True),
    Client("sarama", lambda: install.go("sarama")),
    Client("kafkajs", install.kafkajs, consumes=False, lacks=["null header", "repeated header apart from the first"]),
    Client("rdkafka", install.rdkafka),
]


class Run:
    def __init__(self, broker, report, directory, seed, kind):
        self.broker = broker
        self.report = report
        self.directory = directory
        self.seed = seed
        self.kind = kind
        # Names of a run don't meet those of an earlier one on the same broker.
        self.prefix = "t%x" % (time.time_ns() // 1_000_000 % (1 << 32))
        self.window_ms = [time.time_ns() // 1_000_000 - 1_000, None]
        # (client name, codec) of the topics that hold what was to be produced; only those are read.
        self.whole = set()

    def program(self, command, timeout=SECONDS_A_PROGRAM):
        """(exit code, standard output, the end of standard error)"""
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, errors="replace")
        except subprocess.TimeoutExpired as expired:
            out = expired.stdout or b""
            return -1, out.decode(errors="replace") if isinstance(out, bytes) else out, "not done in %d s" % timeout
        return done.returncode, done.stdout, last_line(done.stderr)

    def topic(self, client, codec):
        return "%s-%s-%s" % (self.prefix, client.name, codec)

    def topic_command_creates(self):
        """The first thing that a new broker hears, in processes as an operator runs them."""
        address = ["--bootstrap-server", self.broker.bootstrap]
        create = ["--create", "--topic", "measurements", "--partitions", "1", "--replication-factor", "1"]
        for name, words, wanted in [
            ("creates `measurements`", create, "Created topic measurements."),
            ("lists `measurements`", ["--list"], "measurements"),
        ]:
            code, out, error = self.program(install.topic_command(address + words))
            good = code == 0 and wanted in out.splitlines()
            self.report.check("TopicCommand: " + name, [] if good else ["code %d, %r, %s" % (code, out, error)])

    def topic_command_checks(self):
        command = install.topic_command_checks(self.broker.bootstrap, self.prefix + "-command", self.kind)
        self.report.lines("TopicCommand", self.program(command)[1])
        words = ["--bootstrap-server", self.broker.bootstrap, "--delete", "--topic", "measurements"]
        code, _, error = self.program(install.topic_command(words))
        self.report.check("TopicCommand: deletes `measurements`", [] if code == 0 else [error])

    def config_command_checks(self):
        command = install.config_command_checks(self.broker.bootstrap, self.prefix + "-config", self.kind)
        self.report.lines("ConfigCommand", self.program(command)[1])

    def admin_tool_checks(self):
        command = install.admin_tool_checks(self.broker.bootstrap, self.prefix + "-tools", self.kind)
        self.report.lines("Kafka's tools", self.program(command)[1])

    def advertised(self):
        """librdkafka before 2.5 forgets gzip, snappy and lz4 where Produce isn't advertised from 0."""
        connection = raw.Connection(self.broker.bootstrap)
        least, most = connection.api_versions()[raw.PRODUCE]
        connection.close()
        self.report.check("raw: Produce is advertised from 0 to 12 or above",
                          [] if least == 0 and most >= 12 else ["%d to %d" % (least, most)])

    def create_topics(self, clients):
        names = [self.topic(client, codec) for client in clients for codec in client.codecs]
        connection = raw.Connection(self.broker.bootstrap)
        errors = connection.create_topics(names, manifest.PARTITIONS, {"retention.ms": "-1"})
        bad = ["%s: error %d" % item for item in errors.items() if item[1] != 0]
        # Apache Kafka answers before its broker knows; the metadata of Corelog is there with the answer.
        deadline = time.monotonic() + (0 if self.kind == "corelog" else 20)
        while (unseen := not_led(connection.metadata(names))) and time.monotonic() < deadline:
            time.sleep(0.1)
        connection.close()
        self.report.check("raw: creates %d topics, seen at once" % len(names), bad + unseen)

    def produce(self, client):
        path = self.directory / (client.name + ".manifest")
        manifest.write(client.records(self.seed), path)
        command = [*client.command, "produce", "--bootstrap", self.broker.bootstrap]
        for codec in client.codecs:
            command += ["--topic", self.topic(client, codec), "--codec", codec, "--input", str(path)]
        code, _, error = self.program(command)
        self.report.check("%s: produces %s" % (client.name, ", ".join(client.codecs)), [] if code == 0 else [error])

    def stored(self, client, codec):
        """What the log holds, read without any client."""
        topic = self.topic(client, codec)
        wanted = client.records(self.seed)
        out = []
        connection = raw.Connection(self.broker.bootstrap)
        for partition in range(manifest.PARTITIONS):
            count = sum(1 for record in wanted if record["partition"] == partition)
            end = connection.end_offset(topic, partition)
            if end != count:
                out.append("%s-%d holds %d records instead of %d" % (topic, partition, end, count))
            for batch in connection.batches(topic, partition, end):
                at = "%s-%d at %d: " % (topic, partition, batch["base_offset"])
                if batch["codec"] != codec:
                    out.append(at + "stored as %s" % batch["codec"])
                if batch["log_append_time"]:
                    out.append(at + "stored with the append time")
                if client.idempotent and batch["producer_id"] < 0:
                    out.append(at + "stored without a producer id")
        connection.close()
        return out

    def check_stored(self, client):
        for codec in client.codecs:
            name = "%s: stored as %s" % (client.name, codec)
            try:
                differences = self.stored(client, codec)
                self.report.check(name, differences)
                if not differences:
                    self.whole.add((client.name, codec))
            except (AssertionError, OSError) as error:
                self.report.fail(name, "%s: %s" % (type(error).__name__, error))

    def consume(self, reader, clients):
        """One start of the reader for every topic of every other producer."""
        jobs = [(writer, codec, self.directory / ("%s-by-%s" % (self.topic(writer, codec), reader.name)))
                for writer in clients if writer is not reader for codec in writer.codecs
                if (writer.name, codec) in self.whole]
        command = [*reader.command, "consume", "--bootstrap", self.broker.bootstrap]
        for writer, codec, path in jobs:
            command += ["--topic", self.topic(writer, codec), "--output", str(path)]
            command += ["--count", str(len(writer.records(self.seed)))]
        code, _, error = self.program(command)
        self.report.check("%s: consumes %d topics" % (reader.name, len(jobs)), [] if code == 0 else [error])
        for writer in clients:
            if writer is not reader:
                self.compare(reader, writer, [(codec, path) for other, codec, path in jobs if other is writer])

    def compare(self, reader, writer, outputs):
        wanted = writer.records(self.seed)
        read = [codec for codec, _ in outputs]
        out = ["%s: was not stored whole" % codec for codec in writer.codecs if codec not in read]
        for codec, path in outputs:
            try:
                actual = manifest.read(path)
            except (OSError, ValueError) as error:
                out.append("%s: nothing to read: %s" % (codec, type(error).__name__))
                continue
            found = compare.differences(wanted, actual, self.window_ms, reader.unseen)
            out.extend("%s: %s" % (codec, difference) for difference in found)
        self.report.check("%s reads what %s produced" % (reader.name, writer.name), out)

    def checks(self, client):
        command = [*client.command, "checks", "--bootstrap", self.broker.bootstrap, "--prefix", self.prefix]
        code, out, error = self.program([*command, "--broker", self.kind])
        self.report.lines(client.name, out)
        if code != 0:
            self.report.fail(client.name + ": checks", error)

    def all(self, clients, tools):
        if tools:
            self.topic_command_creates()
        self.advertised()
        self.create_topics(clients)
        with concurrent.futures.ThreadPoolExecutor(PROGRAMS_AT_ONCE) as pool:
            each(pool, self.produce, clients)
            self.window_ms[1] = time.time_ns() // 1_000_000 + 1_000
            each(pool, self.check_stored, clients)
            each(pool, lambda reader: self.consume(reader, clients), [one for one in clients if one.consumes])
            jobs = [lambda client=client: self.checks(client) for client in clients]
            if tools:
                jobs += [self.topic_command_checks, self.config_command_checks, self.admin_tool_checks]
            each(pool, lambda job: job(), jobs)
        for client in clients:
            if not client.consumes:
                self.report.skip("%s: consumes" % client.name, "it cannot assign partitions by hand")
        self.report.skip("kcat: timestamps of its own, per-record headers", "its command line has none")
        if self.kind != "corelog":
            self.report.skip("refusal of transactions, effects seen at once", "BROKER=%s" % self.kind)


def each(pool, action, items):
    for future in [pool.submit(action, item) for item in items]:
        future.result()


def not_led(metadata):
    return ["%s has no leader" % name for name, (error, partitions) in metadata.items()
            if error != 0 or len(partitions) != manifest.PARTITIONS or any(one[0] != 0 for one in partitions)]


def last_line(text):
    """The line that says most: the last one that names an error, or just the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if "rror" in line or "xception" in line]
    return (named or lines or ["no reason given"])[-1][:500]


def installed(report, wanted):
    out = []
    for client in CLIENTS:
        if wanted and client.name not in wanted:
            report.skip(client.name, "ONLY=%s" % ",".join(wanted))
            continue
        try:
            client.command = client.install()
        except (install.Missing, RuntimeError) as error:
            report.fail(client.name + ": installs", error)
            continue
        out.append(client)
        for what in client.lacks:
            report.skip("%s: %s" % (client.name, what), "the client cannot send it")
        if client.name == "kafkajs":
            listed = subprocess.run([*client.command, "codecs"], capture_output=True, text=True).stdout.split()
            client.codecs = [codec for codec in CODECS if codec in listed]
            for codec in set(CODECS) - set(listed):
                report.skip("kafkajs: " + codec, "its plugin package could not be installed")
    return out


def main():
    binary, bootstrap = os.environ.get("CORELOG_BIN"), os.environ.get("BOOTSTRAP")
    if bool(binary) == bool(bootstrap):
        sys.exit("set either CORELOG_BIN or BOOTSTRAP")
    report = Report()
    wanted = [name for name in os.environ.get("ONLY", "").split(",") if name]
    clients = installed(report, wanted)
    tools = not wanted or "TopicCommand" in wanted
    if tools:
        try:
            install.maven("topic-command")
        except (install.Missing, RuntimeError) as error:
            report.fail("TopicCommand: installs", error)
            tools = False
    directory = pathlib.Path(tempfile.mkdtemp(prefix="corelog-clients-"))
    started = time.monotonic()
    try:
        broker = Dev(binary, directory / "broker.log") if binary else Given(bootstrap)
        kind = os.environ.get("BROKER", "corelog" if binary else "kafka")
        seed = int(os.environ.get("SEED", "1"))
        print("broker at %s, seed %d, clients %s" % (broker.bootstrap, seed, ", ".join(one.name for one in clients)))
        try:
            Run(broker, report, directory, seed, kind).all(clients, tools)
        finally:
            broker.close(report)
    finally:
        if os.environ.get("KEEP"):
            print("kept: %s" % directory)
        else:
            shutil.rmtree(directory)
    print("the run took %d s" % (time.monotonic() - started))
    sys.exit(0 if report.close() else 1)


if __name__ == "__main__":
    main()
