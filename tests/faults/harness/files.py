"""The files of a data directory, found by their names and read with `corelog log`; damaged where a check wants them so.

A partition's directory is `<topic>-<partition>`. Journals are whatever large files lie outside of partitions' directories:
their names and form are the broker's business, and so no check depends on them.
"""

import json
import os
import random
import re
import subprocess
from pathlib import Path

from harness.broker import binary

PARTITION = re.compile(r"^.+-\d+$")
JOURNAL_BYTES_MIN = 1 << 20
BLOCK_BYTES = 4096


def partitions(data, topic=None):
    """{(topic, index): directory} of one or several data directories, separated by commas."""
    out = {}
    for place in str(data).split(","):
        for directory in sorted(Path(place).iterdir()):
            if directory.is_dir() and PARTITION.match(directory.name):
                name, index = directory.name.rsplit("-", 1)
                if topic in (None, name):
                    out[name, int(index)] = directory
    return out


def topic_id(directory):
    lines = (Path(directory) / "partition.metadata").read_bytes().rstrip(b"\0").decode().splitlines()
    return next(line.split(": ")[1] for line in lines if line.startswith("topic_id: "))


def segments(directory):
    return sorted(Path(directory).glob("*.log"))


def journals(data):
    """The large files outside of partitions' directories."""
    out = []
    for place in str(data).split(","):
        for folder, folders, names in os.walk(place):
            folders[:] = [name for name in folders if not PARTITION.match(name)]
            out += [Path(folder) / name for name in sorted(names)]
    return [path for path in out if path.stat().st_size >= JOURNAL_BYTES_MIN]


def checkpoints(data):
    return sorted(path for place in str(data).split(",") for path in Path(place).glob("journal/*.checkpoint"))


def dump(file, *options):
    """(exit code, the lines of `corelog log dump --json`)"""
    done = subprocess.run([binary(), "log", "dump", "--json", *options, str(file)], capture_output=True, text=True)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def verify(directory):
    """(exit code, the findings, the summary) of `corelog log verify --json`"""
    done = subprocess.run([binary(), "log", "verify", "--json", str(directory)], capture_output=True, text=True)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    *findings, summary = [json.loads(line) for line in done.stdout.splitlines()]
    assert summary["type"] == "summary"
    return done.returncode, findings, summary


def batches(file):
    return [line for line in dump(file)[1] if line["type"] == "batch"]


def flip(file, position, bit=0):
    with open(file, "r+b") as opened:
        opened.seek(position)
        byte = opened.read(1)[0]
        opened.seek(position)
        opened.write(bytes([byte ^ 1 << bit]))
        opened.flush()
        os.fsync(opened.fileno())


def last_used(file):
    """The position after the last byte that is not zero."""
    size = os.path.getsize(file)
    step = 1 << 20
    with open(file, "rb") as opened:
        for start in range((size - 1) // step * step, -1, -step):
            opened.seek(start)
            content = opened.read(step).rstrip(b"\0")
            if content:
                return start + len(content)
    return 0


def tear(data, rng=random):
    """What a write that was under way leaves: half a batch behind what some segments hold, noise in the next free
    block of every journal. Only for a broker that is not running. Says how many files were torn."""
    torn = 0
    chosen = list(partitions(data).values())
    for directory in rng.sample(chosen, min(20, len(chosen))):
        files = segments(directory)
        whole = [line for line in batches(files[-1]) if line["crc_ok"]] if files else []
        if not whole:
            continue
        last = whole[-1]
        with open(files[-1], "r+b") as opened:
            opened.seek(last["position"])
            half = opened.read(max(62, last["size_bytes"] // 2))
            # The file may end in the middle of a batch whose other bytes the journal has: whole blocks are durable.
            end = max(last["position"] + last["size_bytes"], last_used(files[-1]))
            opened.seek(-(-end // BLOCK_BYTES) * BLOCK_BYTES)
            opened.write((last["last_offset"] + 1).to_bytes(8, "big") + half[8:])
        torn += 1
    for file in journals(data):
        free = -(-last_used(file) // BLOCK_BYTES) * BLOCK_BYTES
        if free + BLOCK_BYTES <= os.path.getsize(file):
            with open(file, "r+b") as opened:
                opened.seek(free)
                opened.write(rng.randbytes(BLOCK_BYTES))
            torn += 1
    return torn
