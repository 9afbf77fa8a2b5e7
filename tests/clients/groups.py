#!/usr/bin/env python3
"""Consumer groups as unmodified clients see them, on a broker of their own that is killed in between.

    CORELOG_BIN=target/release/corelog tests/clients/groups.py

Of each client, two members share a topic, one leaves, commits survive a SIGKILL of the broker, consumption goes on
where it was; where the client has them, static members come back without a rebalance and rebalances are cooperative.
Kafka's own tool lists, describes, resets and deletes a group. ONLY=confluent-kafka,java restricts the clients. Prints
one line a check and `N passed, M failed`.
"""

import concurrent.futures
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
from suite import install, raw  # noqa: E402
from suite.report import Report  # noqa: E402

PARTITIONS = 4
RECORDS = 40
SECONDS_TO_WAIT = 60
SETTINGS = ["group.initial.rebalance.delay.ms=200", "corelog.admin.listener="]

# Joins anew whenever it loses its connection, and so may read again what it has not committed.
JOINS_ANEW = ["kafkajs"]

# Name, how it is installed, whether it has static members, whether it rebalances cooperatively when asked to.
CLIENTS = [
    ("confluent-kafka", lambda: install.python("client_confluent.py"), True, True),
    ("kafka-python", lambda: install.python("client_kafka_python.py"), True, False),
    ("aiokafka", lambda: install.python("client_aiokafka.py"), True, False),
    ("kafkajs", install.kafkajs, False, False),
    ("java", install.java, True, True),
    ("franz-go", lambda: install.go("franz"), True, True),
    ("sarama", lambda: install.go("sarama"), True, False),
]


class Broker:
    """A broker with a directory of its own, always at the same port."""

    def __init__(self, binary, directory):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.bootstrap = "127.0.0.1:%d" % free.getsockname()[1]
        settings = ["listeners=PLAINTEXT://" + self.bootstrap, "log.dirs=%s" % (directory / "data"), *SETTINGS]
        self.command = [binary, "start", "--shards", "2", *(word for one in settings for word in ("--set", one))]
        self.log = open(directory / "broker.log", "ab")
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + SECONDS_TO_WAIT
        while time.monotonic() < deadline:
            try:
                connection = raw.Connection(self.bootstrap)
                connection.api_versions()
                connection.close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the broker does not start")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


class Member:
    """One process of a client that is in a group; what it says is kept."""

    def __init__(self, command, broker, group, topic, instance=None, cooperative=False):
        words = ["member", "--bootstrap", broker.bootstrap, "--group", group]
        words += ["--instance", instance] if instance else []
        words += ["--cooperative", "yes"] if cooperative else []
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen([*command, *words, "--topic", topic], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        # Each assignment that it was told of, and each (partition, offset) that it has read.
        self.assignments = []
        self.read = []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            kind, *numbers = line.split()
            if kind == "assigned":
                self.assignments.append({int(number) for number in numbers})
            elif kind == "read":
                self.read.append(tuple(int(number) for number in numbers))

    @property
    def assigned(self):
        return self.assignments[-1] if self.assignments else set()

    def leave(self):
        self.process.stdin.close()
        try:
            return self.process.wait(SECONDS_TO_WAIT)
        except subprocess.TimeoutExpired:
            raise AssertionError("does not end: " + self.said()) from None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace").strip()[-300:]


def awaited(what, holds, *members):
    deadline = time.monotonic() + SECONDS_TO_WAIT
    while not holds():
        if time.monotonic() > deadline:
            state = "; ".join("assigned %s, read %d, %s" % (one.assignments[-3:], len(one.read), one.said())
                              for one in members)
            raise AssertionError("%s: not within %d s: %s" % (what, SECONDS_TO_WAIT, state))
        time.sleep(0.05)


ALL = set(range(PARTITIONS))


class Scenario:
    """What one client goes through. Each step is a check; the first that fails ends it."""

    def __init__(self, name, command, broker, report, cooperative=False):
        self.name, self.command, self.broker, self.report = name, command, broker, report
        self.cooperative = cooperative
        kind = "cooperative" if cooperative else "group"
        self.topic = self.group = "%s-%s" % (name, kind)
        self.label = "%s%s: " % (name, " (cooperative)" if cooperative else "")
        self.members = []
        self.produced = 0

    def member(self, instance=None):
        member = Member(self.command, self.broker, self.group, self.topic, instance, self.cooperative)
        self.members.append(member)
        return member

    def produce(self):
        kcat = ["kcat", "-P", "-b", self.broker.bootstrap, "-t", self.topic]
        for partition in range(PARTITIONS):
            values = "\n".join("v" for _ in range(RECORDS // PARTITIONS)) + "\n"
            done = subprocess.run([*kcat, "-p", str(partition)], input=values, text=True, capture_output=True)
            assert done.returncode == 0, done.stderr
        self.produced += RECORDS

    def check(self, name, action):
        try:
            action()
        except Exception as error:  # Whatever went wrong is the result of the check.
            self.report.fail(self.label + name, "%s: %s" % (type(error).__name__, str(error).replace("\n", " ")))
            raise
        self.report.ok(self.label + name)

    def before(self):
        """Until the broker is killed."""
        connection = raw.Connection(self.broker.bootstrap)
        errors = connection.create_topics([self.topic], PARTITIONS, {"retention.ms": "-1"})
        connection.close()
        assert not any(errors.values()), errors
        self.first = self.member()
        self.check("a member gets every partition", self.alone)
        self.check("a second one shares them", self.share)
        self.check("one leaves, the other takes over", self.take_over)

    def alone(self):
        awaited("all partitions", lambda: self.first.assigned == ALL, self.first)
        self.produce()
        awaited("all records", lambda: len(set(self.first.read)) == self.produced, self.first)

    def share(self):
        second = self.member()
        halves = lambda: (len(self.first.assigned), len(second.assigned)) == (2, 2)  # noqa: E731
        awaited("halves", lambda: halves() and self.first.assigned | second.assigned == ALL, self.first, second)
        self.produce()
        both = lambda: set(self.first.read) | set(second.read)  # noqa: E731
        awaited("all records", lambda: len(both()) == self.produced, self.first, second)
        assert second.read, "the second one read nothing"

    def take_over(self):
        second = self.members[1]
        code = second.leave()
        assert code == 0, "code %d: %s" % (code, second.said())
        awaited("all partitions", lambda: self.first.assigned == ALL, self.first)
        self.produce()
        awaited("all records", lambda: self.all_read() == self.produced, self.first)
        # The last commit must have its answer before the broker dies.
        time.sleep(1)

    def all_read(self):
        return len({one for member in self.members for one in member.read})

    def after(self):
        """Once it is there again."""
        if self.name in JOINS_ANEW:
            self.check("goes on after a SIGKILL of the broker", self.go_on)
        else:
            self.check("goes on after a SIGKILL of the broker, in the same generation", self.go_on)
        self.check("starts again where it was", self.start_again)

    def go_on(self):
        assignments, read = len(self.first.assignments), len(self.first.read)
        self.produce()
        awaited("all records", lambda: self.all_read() == self.produced, self.first)
        if self.name in JOINS_ANEW:
            return
        assert len(self.first.assignments) == assignments, "rebalanced: %s" % self.first.assignments[assignments:]
        new = self.first.read[read:]
        assert len(new) == RECORDS, "%d records read, %d of them new" % (len(new), RECORDS)

    def start_again(self):
        time.sleep(1)
        self.first.leave()
        self.produce()
        third = self.member()
        awaited("all records", lambda: self.all_read() == self.produced, third)
        assert len(third.read) == RECORDS, "%d records read, %d of them new" % (len(third.read), RECORDS)
        third.leave()

    def end(self):
        for member in self.members:
            if member.process.poll() is None:
                member.kill()


class Static(Scenario):
    """A static member is killed and comes back: the other one notices nothing."""

    def __init__(self, name, command, broker, report):
        super().__init__(name, command, broker, report)
        self.topic = self.group = "%s-static" % name

    def before(self):
        connection = raw.Connection(self.broker.bootstrap)
        connection.create_topics([self.topic], PARTITIONS, {"retention.ms": "-1"})
        connection.close()
        self.check("a static member comes back without a rebalance", self.come_back)

    def come_back(self):
        one, two = self.member("one"), self.member("two")
        whole = lambda: len(one.assigned) == len(two.assigned) == 2 and one.assigned | two.assigned == ALL  # noqa: E731
        awaited("halves", whole, one, two)
        before = len(one.assignments)
        two.kill()
        again = self.member("two")
        awaited("the same work", lambda: again.assigned == two.assigned, again)
        time.sleep(2)
        assert len(one.assignments) == before, "rebalanced: %s" % one.assignments[before:]

    def after(self):
        pass


def tool(broker, *words):
    command = [*install.maven("topic-command"), "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"]
    done = subprocess.run([*command, "--bootstrap-server", broker.bootstrap, *words], capture_output=True, text=True,
                          timeout=SECONDS_TO_WAIT)
    return done.stdout + done.stderr


def tool_checks(broker, report, group):
    """`kafka-consumer-groups.sh` on a group that nobody is in any more."""
    reset = ["--reset-offsets", "--group", group, "--topic", group, "--to-offset", "3", "--execute"]
    for name, words, wanted in [
        ("lists", ["--list"], [group]),
        ("lists with states", ["--list", "--state", "Empty"], [group, "Empty"]),
        ("describes", ["--describe", "--group", group], [group, "CURRENT-OFFSET"]),
        ("describes its state", ["--describe", "--group", group, "--state"], ["Empty"]),
        ("resets offsets", reset, [group, "3"]),
        ("describes what was reset", ["--describe", "--group", group], [" 3 "]),
        ("deletes offsets", ["--delete-offsets", "--group", group, "--topic", group + ":0"], ["Successful"]),
        ("deletes", ["--delete", "--group", group], ["was successful"]),
        ("describes no more", ["--describe", "--group", group], ["not found"]),
    ]:
        said = tool(broker, *words)
        missing = [text for text in wanted if text not in said]
        report.check("ConsumerGroupCommand: " + name, ["%r is not in %r" % (missing, said[-600:])] if missing else [])


def old_versions(broker, report):
    """The oldest versions that are served, as shippers with old libraries send them."""
    topic = group = "raw-group"
    connection = raw.Connection(broker.bootstrap)
    connection.create_topics([topic], 1, {"retention.ms": "-1"})
    text, number = raw.string, lambda form, *values: struct.pack(">" + form, *values)
    data = lambda content: number("i", len(content)) + content  # noqa: E731

    def find():
        answer = connection.call(10, 0, text(group))
        return answer.number("h"), answer.number("i")

    def join(version, member):
        timeouts = number("i", 6_000) + (number("i", 6_000) if version > 0 else b"")
        protocols = number("i", 1) + text("range") + data(b"subscription")
        answer = connection.call(11, version, text(group) + timeouts + text(member) + text("consumer") + protocols)
        error, generation, protocol = answer.number("h"), answer.number("i"), answer.string()
        leader, member = answer.string(), answer.string()
        members = answer.array(lambda: (answer.string(), answer.take(answer.number("i"))))
        assert (protocol, leader, members) == ("range", member, [(member, b"subscription")]), members
        return error, generation, member

    def sync(generation, member):
        assignments = number("i", 1) + text(member) + data(b"work")
        answer = connection.call(14, 0, text(group) + number("i", generation) + text(member) + assignments)
        return answer.number("h"), answer.take(answer.number("i"))

    def commit(generation, member, offset):
        body = text(group) + number("i", generation) + text(member) + number("q", -1)
        body += number("i", 1) + text(topic) + number("iiq", 1, 0, offset) + text("note")
        answer = connection.call(8, 2, body)
        return answer.array(lambda: (answer.string(), answer.array(lambda: (answer.number("i"), answer.number("h")))))

    def fetch(version):
        answer = connection.call(9, version, text(group) + number("i", 1) + text(topic) + number("ii", 1, 0))
        partition = lambda: (answer.number("i"), answer.number("q"), answer.string(), answer.number("h"))  # noqa: E731
        return answer.array(lambda: (answer.string(), answer.array(partition)))

    def error(key, body, version=0):
        return connection.call(key, version, body).number("h")

    def conversation():
        assert find()[0] == 0
        for version, generation in [(0, 1), (1, 2)]:
            said, at, member = join(version, "")
            assert (said, at) == (0, generation * 2 - 1), (said, at)
            assert sync(at, member) == (0, b"work")
            assert error(12, text(group) + number("i", at) + text(member)) == 0
            assert commit(at, member, generation) == [(topic, [(0, 0)])]
            for fetch_version in (1, 2):
                assert fetch(fetch_version) == [(topic, [(0, generation, "note", 0)])]
            assert error(13, text(group) + text(member)) == 0
        answer = connection.call(15, 0, number("i", 1) + text(group))
        described = answer.array(lambda: (answer.number("h"), answer.string(), answer.string(), answer.string()))
        assert described == [(0, group, "Empty", "consumer")], described
        answer = connection.call(16, 0, b"")
        assert answer.number("h") == 0
        assert (group, "consumer") in answer.array(lambda: (answer.string(), answer.string()))
        answer = connection.call(42, 0, number("i", 1) + text(group))
        answer.number("i")
        assert answer.array(lambda: (answer.string(), answer.number("h"))) == [(group, 0)]
        connection.close()

    try:
        conversation()
        report.ok("raw: a group in the oldest versions")
    except Exception as failed:  # Whatever went wrong is the result of the check.
        report.fail("raw: a group in the oldest versions", "%s: %s" % (type(failed).__name__, failed))


def run(step, scenarios):
    """Every scenario's step, at the same time; those that got through it."""
    def one(scenario):
        try:
            getattr(scenario, step)()
        except Exception:  # It was reported.
            return None
        return scenario

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return [scenario for scenario in pool.map(one, scenarios) if scenario]


def scenarios(broker, report):
    out = []
    wanted = [name for name in os.environ.get("ONLY", "").split(",") if name]
    for name, installed, has_static, has_cooperative in CLIENTS:
        if wanted and name not in wanted:
            report.skip(name, "ONLY=%s" % ",".join(wanted))
            continue
        try:
            command = installed()
        except (install.Missing, RuntimeError) as error:
            report.fail(name + ": installs", error)
            continue
        out.append(Scenario(name, command, broker, report))
        out += [Scenario(name, command, broker, report, cooperative=True)] if has_cooperative else []
        out += [Static(name, command, broker, report)] if has_static else []
    return out


def main():
    report = Report()
    with tempfile.TemporaryDirectory(prefix="corelog-groups-") as directory:
        broker = Broker(os.environ["CORELOG_BIN"], pathlib.Path(directory))
        all_of_them = scenarios(broker, report)
        try:
            left = run("before", all_of_them)
            broker.kill()
            broker.start()
            left = run("after", left)
            groups = [one.group for one in left if not isinstance(one, Static)]
            old_versions(broker, report)
            if groups:
                tool_checks(broker, report, groups[0])
        finally:
            for scenario in all_of_them:
                scenario.end()
            code = broker.stop()
            report.check("broker: SIGTERM ends it with code 0", [] if code == 0 else ["code %d" % code])
            log = pathlib.Path(directory, "broker.log").read_text(errors="replace")
            bad = [line for line in log.splitlines() if (" WARN" in line or "ERROR" in line) and "slow turn" not in line]
            report.check("broker: logs nothing at WARN or ERROR", bad)
    sys.exit(0 if report.close() else 1)


if __name__ == "__main__":
    main()
