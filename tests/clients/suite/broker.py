"""The broker under test: one that is there already, or `corelog dev` started and ended by the suite."""

import json
import os
import re
import signal
import subprocess
import threading

SECONDS_TO_START = 30
SECONDS_TO_STOP = 10

# Lines of the broker's log at WARN or ERROR that the checks call for. Any other one fails the run.
ANNOUNCED = [
    # Says what the machine was busy with as much as what the broker was.
    r"WARN.* slow turn ",
]


class Given:
    """A broker that somebody else runs."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def close(self, report):
        pass


class Dev:
    """`corelog dev`: a free port, a temporary directory, gone at its end."""

    def __init__(self, binary, log_path):
        self.log_path = log_path
        with open(log_path, "wb") as log:
            self.process = subprocess.Popen([binary, "dev"], stdout=subprocess.PIPE, stderr=log,
                                            env=dict(os.environ, NO_COLOR="1"))
        # A broker that neither speaks nor ends would hold the suite up for ever.
        guard = threading.Timer(SECONDS_TO_START, self.process.kill)
        guard.start()
        line = self.process.stdout.readline()
        guard.cancel()
        if not line:
            self.process.wait()
            raise RuntimeError("`%s dev` does not start: %s" % (binary, self.log()[-2000:]))
        said = json.loads(line)
        self.bootstrap = said["bootstrap"]
        self.data = said["data"]

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def close(self, report):
        """Ends it and checks how it ends."""
        report.check("broker: still runs", [] if self.process.poll() is None else ["it ended by itself"])
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(SECONDS_TO_STOP)
            report.check("broker: SIGTERM ends it with code 0", [] if code == 0 else ["code %d" % code])
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            report.fail("broker: SIGTERM ends it", "not within %d s" % SECONDS_TO_STOP)
        report.check("broker: its data is removed", [self.data] if os.path.exists(self.data) else [])
        report.check("broker: logs nothing at WARN or ERROR that was not announced", self.unannounced())

    def unannounced(self):
        lines = re.findall(r"^.*(?:\bWARN\b|\bERROR\b|panicked at).*$", self.log(), re.M)
        return [line for line in lines if not any(re.search(form, line) for form in ANNOUNCED)]
