"""Apache Kafka's own DumpLogSegments finds the indexes of closed segments right."""

import tempfile

from checks.dump_log_segments import COMPLAINTS, tool
from checks.log_files import written
from harness import files


def reads_indexes():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data:
        written(data)
        counts = []
        for suffix in ("index", "timeindex"):
            names = [path for directory in files.partitions(data, "dumped").values() for path in directory.glob("*." + suffix)]
            # Every segment but the last of a partition was closed by a roll.
            assert len(names) >= 3, "%d files *.%s" % (len(names), suffix)
            filled = [str(path) for path in sorted(names) if path.stat().st_size]
            assert filled, "every *.%s is empty" % suffix
            said = tool("--files", ",".join(filled))
            bad = [line for line in said.splitlines() if COMPLAINTS.search(line)]
            assert not bad, "\n".join(bad[:5])
            entries = sum(1 for line in said.splitlines() if line.startswith(("offset:", "timestamp:")))
            assert entries >= len(filled), said[-500:]
            counts.append("%d entries of %d *.%s" % (entries, len(filled), suffix))
        code, findings, _ = files.verify(data)
        assert code == 0, findings
        return ", ".join(counts)


def checks(options):
    yield "DumpLogSegments finds the indexes of closed segments right", reads_indexes
