"""A broker as a process: started, killed, paused, asked for its memory. Never looks inside it.

Owns the process and the file with its output. `CORELOG_BIN` names the binary. `CORELOG_FAULTS_COMMAND` puts another
broker in its place (a command in the foreground with `{port}` and `{data}`): what the checks say of a broker that is
known not to sync shows that they can fail.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from harness import wire

ROOT = Path(__file__).resolve().parents[3]
ADMIN_SETTING = "corelog.admin.listener"
START_SECONDS = 60
STOP_SECONDS = 30
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# What a loaded test machine causes; anything else above INFO is a finding.
EXPECTED = re.compile(r"turn (was )?long|long turn|slow turn", re.I)


def binary():
    named = os.environ.get("CORELOG_BIN")
    path = Path(named) if named else Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "corelog"
    assert path.is_file(), "%s is missing: cargo build --release, or set CORELOG_BIN" % path
    return str(path)


def substitute():
    return os.environ.get("CORELOG_FAULTS_COMMAND")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    def __init__(self, data, shards=2, io=None, settings=(), before_exec=None):
        self.data = str(data)
        self.shards = shards
        self.io = io
        self.settings = list(settings)
        self.before_exec = before_exec
        self.port = free_port()
        self.admin_port = free_port()
        self.process = None
        self.output = tempfile.NamedTemporaryFile(prefix="corelog-faults-", suffix=".log", delete=False)
        self.start_ms = None

    @property
    def bootstrap(self):
        return "127.0.0.1:%d" % self.port

    @property
    def pid(self):
        return self.process.pid

    def command(self):
        if substitute():
            return shlex.split(substitute().format(port=self.port, data=self.data))
        out = [binary(), "start", "--set", "listeners=PLAINTEXT://" + self.bootstrap, "--set", "log.dirs=" + self.data,
               "--set", "%s=127.0.0.1:%d" % (ADMIN_SETTING, self.admin_port)]
        if self.shards:
            out += ["--shards", str(self.shards)]
        if self.io:
            out += ["--io", self.io]
        for setting in self.settings:
            out += ["--set", setting]
        return out

    def spawn(self):
        """Starts the process and does not wait for it to serve."""
        assert self.process is None or self.process.poll() is not None
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=subprocess.STDOUT, preexec_fn=self.before_exec)

    def start(self):
        began = time.monotonic()
        self.spawn()
        while not self.serves():
            assert self.process.poll() is None, "the broker ended with %d:\n%s" % (self.process.returncode, self.tail())
            assert time.monotonic() - began < START_SECONDS, "the broker does not serve:\n" + self.tail()
            time.sleep(0.001)
        self.start_ms = (time.monotonic() - began) * 1000
        return self

    def serves(self):
        try:
            with wire.Connection(self.bootstrap, seconds=START_SECONDS) as connection:
                connection.api_versions()
                return True
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        # The signal is taken when the state is T; a thread in a system call gets there on its way out.
        for _ in range(1000):
            if Path("/proc/%d/stat" % self.pid).read_text().rsplit(")", 1)[1].split()[0] == "T":
                return
            time.sleep(0.001)

    def stop(self, sent=signal.SIGTERM):
        """The exit code and the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(sent)
        code = self.process.wait(STOP_SECONDS)
        return code, time.monotonic() - began

    def rss_bytes(self):
        for line in Path("/proc/%d/status" % self.pid).read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def metrics(self):
        """{name with labels: value}"""
        url = "http://127.0.0.1:%d/metrics" % self.admin_port
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def health(self):
        with urllib.request.urlopen("http://127.0.0.1:%d/health" % self.admin_port, timeout=10) as answer:
            return answer.read().decode().strip()

    def log(self):
        return COLOURS.sub("", Path(self.output.name).read_text(errors="replace"))

    def tail(self):
        return "\n".join(self.log().splitlines()[-20:])

    def complaints(self, after=0):
        """The lines of WARN and ERROR past the first `after` characters, but for those that a busy machine causes."""
        if substitute():
            return []
        lines = self.log()[after:].splitlines()
        return [line for line in lines if re.search(r"\b(WARN|ERROR|panicked)\b", line) and not EXPECTED.search(line)]

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.output.close()
        os.unlink(self.output.name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
