"""The kernel's own record of what a process asked for and when it was done: tracefs, an instance of its own.

Needs root and a kernel with these events. Times are of the monotonic clock, as `time.monotonic_ns` reads it.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from harness.report import Skipped

MOUNTED = Path("/sys/kernel/tracing")
LINE = re.compile(r"^\s*.+-(\d+)\s+\[\d+\]\s+\S+\s+(\d+)\.(\d{6}): (\w+)(?:: |\(| -> )(.*)$")
BUFFER_KB = 8192


class Event:
    def __init__(self, thread, us, name, text):
        self.thread = thread
        self.us = us
        self.name = name
        self.text = text

    def field(self, name):
        """The word after `name`, or None."""
        found = re.search(r"\b%s:? (\S+?),?(?: |$)" % re.escape(name), self.text)
        return found and found.group(1)

    def __repr__(self):
        return "%d.%06d %s %s" % (self.us // 1_000_000, self.us % 1_000_000, self.name, self.text)


class Tracing:
    """While it is entered, records `events`: {"group/name": filter or ""}."""

    def __init__(self, events):
        if os.geteuid() != 0:
            raise Skipped("needs root (tracefs)")
        self.events = events
        self.own_mount = None
        self.root = MOUNTED
        self.instance = None

    def __enter__(self):
        try:
            if not (self.root / "events").is_dir():
                self.root = self.own_mount = Path(tempfile.mkdtemp(prefix="corelog-faults-"))
                done = subprocess.run(["mount", "-t", "tracefs", "none", str(self.root)], capture_output=True, text=True)
                if done.returncode != 0:
                    raise Skipped("tracefs cannot be mounted: %s" % done.stderr.strip())
            instance = self.root / "instances" / ("corelog-%d" % os.getpid())
            try:
                instance.mkdir()
            except OSError as error:
                raise Skipped("tracefs gives no instance: %s" % error) from None
            self.instance = instance
            self.write("trace_clock", "mono")
            self.write("buffer_size_kb", str(BUFFER_KB))
            for event, condition in self.events.items():
                place = "events/" + event
                if not (instance / place).is_dir():
                    raise Skipped("this kernel has no event %s" % event)
                if condition:
                    self.write(place + "/filter", condition)
                self.write(place + "/enable", "1")
        except BaseException:
            self.__exit__()
            raise
        return self

    def write(self, name, text):
        (self.instance / name).write_text(text)

    def read(self):
        """Stops recording; the events in order of time."""
        self.write("tracing_on", "0")
        for cpu in (self.instance / "per_cpu").iterdir():
            overrun = re.search(r"overrun: (\d+)", (cpu / "stats").read_text())
            assert int(overrun.group(1)) == 0, "the trace buffer ran over"
        out = []
        for line in (self.instance / "trace").read_text().splitlines():
            found = LINE.match(line)
            if found:
                thread, seconds, us, name, text = found.groups()
                out.append(Event(int(thread), int(seconds) * 1_000_000 + int(us), name, text))
        return out

    def __exit__(self, *_):
        if self.instance:
            self.write("tracing_on", "0")
            self.write("events/enable", "0")
            self.instance.rmdir()
            self.instance = None
        if self.own_mount:
            subprocess.run(["umount", str(self.own_mount)], capture_output=True)
            self.own_mount.rmdir()
            self.own_mount = None
