"""Apache Kafka's own DumpLogSegments reads the segments that a broker wrote and closed."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from checks.log_files import CODECS, RECORDS, written
from harness import files
from harness.report import Skipped

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients"))
from suite import install  # noqa: E402

TOOL = "org.apache.kafka.tools.DumpLogSegments"
# It says so of every segment that does not begin with offset 0.
NOT_THE_FIRST = re.compile(r"^Non-consecutive offsets in \S*/0*(\d+)\.log\n +-1 is followed by \1\n", re.M)
# What it says of damage; it ends with 0 all the same.
COMPLAINTS = re.compile(r"mismatch|corrupt|exception|error|out of order|non-consecutive|could not|invalid", re.I)


def tool(*words):
    try:
        command = [*install.maven("topic-command"), TOOL, *words]
    except install.Missing as missing:
        raise Skipped(str(missing)) from None
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=180)
    said = done.stdout + done.stderr
    assert done.returncode == 0, "exit code %d: %s" % (done.returncode, said[-500:])
    return said


def reads_closed_segments():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data:
        written(data)
        names = [str(path) for directory in files.partitions(data, "dumped").values() for path in files.segments(directory)]
        said = tool("--deep-iteration", "--print-data-log", "--files", ",".join(names))
        # Payloads are random bytes: only what the tool says itself is looked at.
        own = [line for line in NOT_THE_FIRST.sub("", said).split("\n") if not line.startswith("| ")]
        bad = [line for line in own if COMPLAINTS.search(line.replace("isvalid: true", ""))]
        assert not bad, "\n".join(bad[:5])
        batches = [line for line in own if line.startswith("baseOffset:")]
        wrong = [line for line in batches if "isvalid: true" not in line]
        assert not wrong, wrong[0]
        records = sum(int(re.search(r"count: (\d+)", line)[1]) for line in batches)
        assert records == RECORDS, "%d records read of %d" % (records, RECORDS)
        codecs = {re.search(r"compresscodec: (\w+)", line)[1] for line in batches}
        assert codecs == set(CODECS), codecs
        return "%d records in %d batches of %d segments" % (records, len(batches), len(names))


def checks(options):
    yield "DumpLogSegments reads closed segments of every codec", reads_closed_segments
