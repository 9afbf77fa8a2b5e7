"""Starts that must fail say so in one line, end with 1 and write nothing; ends are clean; `dev` leaves nothing."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path

from harness import wire
from harness.broker import Broker, binary, free_port
from harness.load import Load, create_topic, verify

FAILING_SECONDS = 10
STOP_SECONDS = 2.0
STARTS = 5


def tree(place):
    """Everything below a directory: names, kinds, sizes and times of change."""
    out = {}
    for found in sorted(Path(place).rglob("*")):
        status = found.lstat()
        size = None if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_mtime_ns)
        out[str(found.relative_to(place))] = (status.st_mode, size)
    return out


def fails(arguments, *words, environment=None, watch=None):
    """`corelog ARGUMENTS` ends with 1 and one line that has all the words; nothing below `watch` changes."""
    before = tree(watch) if watch else None
    done = subprocess.run([binary(), *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=FAILING_SECONDS, env={**os.environ, **(environment or {})})
    lines = (done.stderr + done.stdout).strip().splitlines()
    assert done.returncode == 1, "exit code %d: %s" % (done.returncode, lines)
    assert len(lines) == 1, "%d lines instead of one:\n%s" % (len(lines), "\n".join(lines))
    for word in words:
        assert word in lines[0], "%r says nothing of %r" % (lines[0], word)
    if watch:
        assert tree(watch) == before, "something was written: %s" % sorted(set(tree(watch).items()) ^ set(before.items()))
    return lines[0]


def start_arguments(data, *settings, port=None):
    sets = ["listeners=PLAINTEXT://127.0.0.1:%d" % (port or free_port()), "log.dirs=%s" % data, *settings]
    return ["start"] + [word for setting in sets for word in ("--set", setting)]


def unwritable_directory():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as place:
        file = Path(place) / "file"
        file.write_text("no directory")
        fails(start_arguments(file), str(file), watch=place)
        fails(start_arguments(file / "below"), str(file), watch=place)
        # procfs refuses new directories to root as well.
        return fails(start_arguments("/proc/corelog-data"), "/proc/corelog-data")


def read_only_filesystem():
    from harness.loopback import require_root, run
    require_root()
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as place:
        run("mount", "-t", "tmpfs", "-o", "ro,size=1m", "none", place)
        try:
            return fails(start_arguments(Path(place) / "data"), place)
        finally:
            run("umount", place)


def locked_directory():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as place, Broker(place) as broker:
        broker.start()
        line = fails(start_arguments(place), place)
        with wire.Connection(broker.bootstrap) as connection:
            assert connection.create_topic("still-served") == 0
        return line


def taken_port():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as place, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        return fails(start_arguments(Path(place) / "data", port=port), str(port), watch=place)


def port_of_another_broker():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as place:
        with Broker(Path(place) / "first") as broker:
            broker.start()
            line = fails(start_arguments(Path(place) / "second", port=broker.port), str(broker.port))
            assert not (Path(place) / "second").exists(), "something was written"
            return line


def malformed_settings():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as place:
        data = Path(place) / "data"
        for setting in ("num.partitions=many", "num.partitions=0", "log.segment.bytes=-1", "listeners=nonsense",
                        "listeners=PLAINTEXT://127.0.0.1:99999", "message.max.bytes=99999999999999999999",
                        "compression.type=gzip"):
            fails(start_arguments(data, setting), setting.split("=")[0], watch=place)
        fails(["start", "--set", "no-equals-sign"], "no-equals-sign", watch=place)
        fails(start_arguments(data) + ["--shards", "0"], "shards", watch=place)


def unknown_settings():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as place:
        data = Path(place) / "data"
        fails(start_arguments(data, "num.partition=3"), "num.partition", "num.partitions", watch=place)
        fails(start_arguments(data, "log.dir.s=x"), "log.dir.s", "log.dirs", watch=place)
        config = Path(place) / "broker.properties"
        config.write_text("# a comment\nmessage.max.byte=1000\n")
        return fails(start_arguments(data) + ["--config", str(config)], "message.max.byte", "message.max.bytes", watch=place)


def config_file_missing():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as place:
        return fails(start_arguments(Path(place) / "data") + ["--config", place + "/none"], place + "/none", watch=place)


def term_under_load():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(data) as broker:
        broker.start()
        create_topic(broker.bootstrap, "term", 4)
        load = Load(broker.bootstrap, "term", 4, codecs=("none", "none"), per_second_max=30_000).start()
        load.wait_for(5_000)
        code, seconds = broker.stop()
        broker.start()
        load.wait_for(1_000)
        load.drain()
        note = "%.2f s, %s" % (seconds, verify(load))
        assert code == 0, "exit code %d" % code
        assert seconds < STOP_SECONDS, "%.2f s" % seconds
        assert not broker.complaints(), "\n".join(broker.complaints())
        return note


def start_time():
    """Printed, not judged: machines differ."""
    taken = []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data, Broker(Path(data) / "data") as broker:
            broker.start()
            taken.append(broker.start_ms)
            idle_mib = broker.rss_bytes() / 2**20
    return "start to first served request %s ms (aim: 50), idle memory %.1f MiB" % (
        ", ".join("%.0f" % ms for ms in sorted(taken)), idle_mib)


def dev(ends):
    """`corelog dev` prints one line of JSON once it serves; whatever ends it, its directory goes."""
    process = subprocess.Popen([binary(), "dev"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    try:
        line = json.loads(process.stdout.readline())
        assert set(line) >= {"bootstrap", "data", "pid"}, line
        assert line["pid"] == process.pid, line
        assert re.fullmatch(r"127\.0\.0\.1:\d+", line["bootstrap"]), line
        assert Path(line["data"]).is_dir(), line
        with wire.Connection(line["bootstrap"]) as connection:
            assert connection.create_topic("ephemeral") == 0
            assert connection.produce("ephemeral", wire.batch())[0] in (0, 3, 6)
        began = time.monotonic()
        process.send_signal(ends)
        rest = process.communicate(timeout=FAILING_SECONDS)[0]
        assert process.returncode == 0, "exit code %d" % process.returncode
        assert rest == "", "more than one line: %r" % rest
        assert not Path(line["data"]).exists(), "%s is left" % line["data"]
        return "%.2f s" % (time.monotonic() - began)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def checks(options):
    yield "a data directory that cannot be written is one line and exit code 1", unwritable_directory
    yield "a read-only filesystem is one line and exit code 1", read_only_filesystem
    yield "a directory locked by another broker is one line and exit code 1", locked_directory
    yield "a taken port is one line and exit code 1", taken_port
    yield "a port of another broker is one line and exit code 1", port_of_another_broker
    yield "a malformed setting is one line and exit code 1", malformed_settings
    yield "an unknown setting is one line with a suggestion and exit code 1", unknown_settings
    yield "a missing config file is one line and exit code 1", config_file_missing
    yield "SIGTERM under load: exit 0 within 2 s, nothing acknowledged is lost", term_under_load
    yield "start time", start_time
    yield "dev: one line of JSON, nothing left after SIGTERM", lambda: dev(signal.SIGTERM)
    yield "dev: one line of JSON, nothing left after SIGINT", lambda: dev(signal.SIGINT)
