"""A filesystem of 256 MiB fills up: producers get errors that they try again after, reading goes on, an administrator
deletes records, and producers go on by themselves. With confluent-kafka and with Kafka's Java producer and tools.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from checks.kill_many import stalls
from harness.broker import Broker
from harness.load import QUIET, Load, create_topic, verify
from harness.loopback import Loopback, require_root
from harness.report import Skipped

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients"))
from suite import install  # noqa: E402

DISK_BYTES = 256 << 20
PARTITIONS = 4
CONFIG = {"segment.bytes": str(1 << 20), "retention.ms": "-1"}
JAVA_RECORDS = 40_000
JAVA_PER_SECOND = 2_000
JAVA_SECONDS = 180


def java(*words):
    try:
        return [*install.maven("topic-command"), *words]
    except install.Missing as missing:
        raise Skipped(str(missing)) from None


def java_producer(bootstrap, topic):
    command = java(
        "org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--num-records", str(JAVA_RECORDS), "--record-size",
        "1024", "--throughput", str(JAVA_PER_SECOND), "--producer-props", "bootstrap.servers=" + bootstrap, "acks=all",
        "enable.idempotence=true", "delivery.timeout.ms=170000", "request.timeout.ms=10000", "retry.backoff.ms=100",
        # The producer waits for room, it does not fail.
        "max.block.ms=170000")
    output = tempfile.TemporaryFile("w+")
    return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL), output


def ends(bootstrap, topic):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "faults", **QUIET})
    try:
        parts = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        return [TopicPartition(topic, part.partition, consumer.get_watermark_offsets(part, 10)[1]) for part in parts]
    finally:
        consumer.close()


def reads_one(bootstrap, topic):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "faults", "auto.offset.reset": "error",
                         "enable.auto.commit": False, **QUIET})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(20)
        assert message is not None and message.error() is None, "a full disk cannot be read: %s" % message
    finally:
        consumer.close()


def delete_with_confluent(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
    starts = {}
    for part, future in admin.delete_records(ends(bootstrap, topic), request_timeout=30).items():
        starts[part.partition] = future.result().low_watermark
    return starts


def delete_with_java(bootstrap, topic):
    parts = [{"topic": topic, "partition": part.partition, "offset": part.offset} for part in ends(bootstrap, topic)]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"version": 1, "partitions": parts}, file)
        file.flush()
        done = subprocess.run(java("org.apache.kafka.tools.DeleteRecordsCommand", "--bootstrap-server", bootstrap,
                                   "--offset-json-file", file.name), capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and said.count("low_watermark") == PARTITIONS, said


def fills_and_goes_on():
    require_root()
    with Loopback(DISK_BYTES) as disk, Broker(disk.data) as broker:
        broker.start()
        create_topic(broker.bootstrap, "filling", PARTITIONS, **CONFIG)
        create_topic(broker.bootstrap, "java", PARTITIONS, **CONFIG)
        load = Load(broker.bootstrap, "filling", PARTITIONS, per_second_max=15_000).start()
        process, output = java_producer(broker.bootstrap, "java")
        try:
            stalls(load, broker, "more was produced than the disk holds")
            at_stall = load.acknowledged
            assert not load.errors, "a producer failed: " + load.errors[0]
            assert process.poll() is None, "the Java producer ended while the disk was full"
            reads_one(broker.bootstrap, "filling")
            deleted_at = time.monotonic()
            starts = delete_with_confluent(broker.bootstrap, "filling")
            delete_with_java(broker.bootstrap, "java")
            load.wait_for(1_000, 60)
            resumed_seconds = time.monotonic() - deleted_at
            # What was held back is enough.
            load.stopping.set()
            assert process.wait(JAVA_SECONDS) == 0
            load.drain()
            output.seek(0)
            said = output.read()
            # Its log has what it tried again; what it gave up stands there bare.
            failed = [line for line in said.splitlines() if "Exception" in line and not line.startswith("[")]
            assert not failed, failed[0]
            assert "%d records sent" % JAVA_RECORDS in said, said[-1000:]
            note = verify(load, starts=starts)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            output.close()
        bad = [line for line in broker.complaints() if "little space is left" not in line]
        assert not bad, "\n".join(bad)
        code, _ = broker.stop()
        assert code == 0, "exit code %d" % code
    return "full after %d records, going on %.1f s after the deletion; %s" % (at_stall, resumed_seconds, note)


def checks(options):
    yield "a full disk stops producers until records are deleted, and they go on by themselves", fills_and_goes_on
