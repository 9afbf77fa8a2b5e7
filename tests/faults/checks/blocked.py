"""Machines that refuse what the fast paths want: no io_uring, no direct I/O. The broker serves and says so."""

import ctypes
import errno
import os
import platform
import struct
import tempfile
from pathlib import Path

from harness.broker import Broker
from harness.load import Load, create_topic, verify
from harness.loopback import require_root, run
from harness.report import Skipped

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7FFF0000, 0x00050000
LOAD_WORD, JUMP_EQUAL, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
# Where a filter finds the number of the call and the low half of its third argument.
NUMBER_AT, FLAGS_AT = 0, 32
# The same on every architecture that io_uring came to.
IO_URING_SETUP = 425
OPENAT = {"x86_64": 257, "aarch64": 56}
LIBC = ctypes.CDLL(None, use_errno=True)


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


class SystemCallFilter:
    """Called in the child before it becomes the broker; the rules hold from there on."""

    def __init__(self, *instructions):
        code = b"".join(struct.pack("=HBBI", *words) for words in instructions)
        self.code = ctypes.create_string_buffer(code, len(code))
        self.program = Program(len(instructions), ctypes.addressof(self.code))

    def __call__(self):
        if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "no_new_privs")
        if LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(self.program), 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "seccomp")


def refuse_io_uring():
    """As the default profile of containers does."""
    return SystemCallFilter(
        (LOAD_WORD, 0, 0, NUMBER_AT),
        (JUMP_EQUAL, 0, 1, IO_URING_SETUP),
        (RETURN, 0, 0, SECCOMP_RET_ERRNO | errno.EPERM),
        (RETURN, 0, 0, SECCOMP_RET_ALLOW),
    )


def refuse_direct_opens():
    """As a filesystem without direct I/O does. A ring opens files past the filter, so this is for the fallback."""
    if platform.machine() not in OPENAT:
        raise Skipped("the filter is written for %s" % " and ".join(OPENAT))
    return SystemCallFilter(
        (LOAD_WORD, 0, 0, NUMBER_AT),
        (JUMP_EQUAL, 0, 3, OPENAT[platform.machine()]),
        (LOAD_WORD, 0, 0, FLAGS_AT),
        (JUMP_ANY_BIT, 0, 1, os.O_DIRECT),
        (RETURN, 0, 0, SECCOMP_RET_ERRNO | errno.EINVAL),
        (RETURN, 0, 0, SECCOMP_RET_ALLOW),
    )


def serves_and_survives(broker):
    broker.start()
    create_topic(broker.bootstrap, "blocked", 2)
    load = Load(broker.bootstrap, "blocked", 2, codecs=("none", "zstd"), per_second_max=20_000).start()
    load.wait_for(5_000)
    broker.kill()
    broker.start()
    load.wait_for(2_000)
    load.drain()
    return verify(load)


def said(broker, *words):
    for line in broker.log().splitlines():
        if all(word.lower() in line.lower() for word in words):
            return line.strip()
    raise AssertionError("the broker says nothing of %s:\n%s" % (" and ".join(words), broker.tail()))


def without_io_uring():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data:
        with Broker(data, before_exec=refuse_io_uring()) as broker:
            note = serves_and_survives(broker)
            said(broker, "io_uring")
            values = {name: value for name, value in broker.metrics().items() if "poll" in name and value}
            assert values, "/metrics does not say that the fallback runs"
            return note


def without_direct_io():
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as data:
        with Broker(data, io="poll", before_exec=refuse_direct_opens()) as broker:
            note = serves_and_survives(broker)
            said(broker, "WARN", "direct I/O")
            return note


def on_a_filesystem_without_direct_io():
    """ramfs refuses O_DIRECT and fallocate, and keeps its pages over a kill."""
    require_root()
    with tempfile.TemporaryDirectory(prefix="corelog-faults-") as place:
        run("mount", "-t", "ramfs", "none", place)
        try:
            with Broker(Path(place) / "data", settings=["log.segment.bytes=16777216"]) as broker:
                note = serves_and_survives(broker)
                said(broker, "WARN", "direct I/O")
                return note
        finally:
            run("umount", place)


def checks(options):
    yield "io_uring refused: served by the fallback, which says so", without_io_uring
    yield "direct I/O refused: served with buffered writes, which is said", without_direct_io
    yield "direct I/O and fallocate refused by ramfs: served, which is said", on_a_filesystem_without_direct_io
