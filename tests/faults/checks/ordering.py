"""No acknowledgement leaves before the synced write that covers it has completed, by the kernel's own record.

One connection produces one batch at a time, so between sending a request and reading its answer there is exactly one
acknowledgement. Two records are held against that window:
- the system calls or ring submissions of the broker: a write of data completes before the answer is sent;
- the block device, which carries nothing but the data directory: a flush (or a forced-unit-access write) that was
  issued after a data write completed, before the answer is sent.
"""

import os
import time
from pathlib import Path

from harness import wire
from harness.broker import Broker
from harness.loopback import Loopback, require_root
from harness.tracing import Tracing

ROUNDS = 40
# Two large batches fill a segment: ten of them are ROUNDS / 4.
ROLLING = {"large_bytes": 600_000, "configs": [("segment.bytes", str(1 << 20))]}
# Clocks are read a little before and after the calls that they bound; the trace rounds to 1 us.
SLACK_US = 2
RING = ["io_uring/io_uring_submit_req", "io_uring/io_uring_complete"]
WRITES = ["pwritev2", "pwritev", "pwrite64", "fdatasync", "fsync"]
SENDS = ["sendto", "sendmsg", "writev", "write"]
CALLS = ["syscalls/sys_exit_" + name for name in WRITES] + ["syscalls/sys_enter_" + name for name in SENDS]
BLOCK = ["block/block_rq_complete"]
RING_WRITES = ("WRITE", "WRITEV", "WRITE_FIXED", "WRITEV_FIXED", "FSYNC", "SYNC_FILE_RANGE")
RING_SENDS = ("SEND", "SENDMSG", "SEND_ZC", "SENDMSG_ZC", "SPLICE")
# Wake-ups are writes too, of 8 bytes; data is written in blocks.
DATA_BYTES_MIN = 512
# Results are printed unsigned.
FAILED_FROM = 1 << 63


def produce_and_trace(broker, disk, events, large_bytes=20_000, configs=()):
    """The windows (begin, end) in us, the events, and which descriptors of the broker are sockets."""
    with wire.Connection(broker.bootstrap) as connection:
        assert connection.create_topic("ordering", configs=configs) == 0
        while connection.produce("ordering", wire.batch())[0] != 0:
            time.sleep(0.01)
        threads = " || ".join("common_pid == %s" % tid for tid in os.listdir("/proc/%d/task" % broker.pid))
        device = "dev == %d" % (disk.device_numbers()[0] << 20 | disk.device_numbers()[1])
        filters = {event: device if event in BLOCK else "" if event in RING else threads for event in events + BLOCK}
        windows = []
        with Tracing(filters) as tracing:
            for round_index in range(ROUNDS):
                value = bytes([round_index]) * (100 if round_index % 4 else large_bytes)
                batch = wire.batch([value])
                begin = time.monotonic_ns() // 1000 - SLACK_US
                error, _ = connection.produce("ordering", batch, acks=(-1, 1)[round_index % 2])
                windows.append((begin, time.monotonic_ns() // 1000 + SLACK_US))
                assert error == 0, "produce answers error %d" % error
                # Past the window, so that nothing late counts for the next.
                time.sleep(0.002)
            links = Path("/proc/%d/fd" % broker.pid).iterdir()
            sockets = {int(link.name) for link in links if str(os.readlink(link)).startswith("socket:")}
            return windows, tracing.read(), sockets


def flushed(event):
    """Whether the device has finished a flush, or a write that forces its own way to the medium."""
    return "F" in event.text.split()[1]


def wrote(event):
    kind = event.text.split()[1]
    return "W" in kind and "M" not in kind and "+ 0" not in event.text


def check_windows(windows, events, done, sent):
    """`done` and `sent` tell the broker's completed writes and begun sends."""
    for index, (begin, end) in enumerate(windows):
        inside = [event for event in events if begin <= event.us <= end]
        story = "\n  ".join(map(repr, inside))
        sends = [at for at, event in enumerate(inside) if sent(event)]
        assert sends, "answer %d left and no send is seen:\n  %s" % (index, story)
        before = inside[:sends[0]]
        assert any(done(event) for event in before), "answer %d left before any write was done:\n  %s" % (index, story)
        data = [at for at, event in enumerate(before) if event.name == "block_rq_complete" and wrote(event)]
        flush = [at for at, event in enumerate(before) if event.name == "block_rq_complete" and flushed(event)]
        assert data, "answer %d left before the device had data:\n  %s" % (index, story)
        assert flush, "answer %d left before the device had flushed:\n  %s" % (index, story)
        assert flush[-1] >= data[0], "answer %d: the flush came before the data:\n  %s" % (index, story)
    return "%d acknowledgements, each behind its flush" % len(windows)


def through_ring(**batches):
    require_root()
    with Loopback() as disk, Broker(disk.data, shards=1, io="ring") as broker:
        broker.start()
        windows, events, _ = produce_and_trace(broker, disk, RING, **batches)
        kinds = {}
        sizes = {}
        for event in events:
            if event.name == "io_uring_submit_req":
                kinds[event.field("req")] = event.field("opcode")
            elif event.name == "io_uring_complete":
                sizes[event] = kinds.get(event.field("req")), int(event.field("result"))

        def done(event):
            kind, size = sizes.get(event, (None, 0))
            return kind in RING_WRITES and (size >= DATA_BYTES_MIN or "SYNC" in kind)

        return check_windows(windows, events, done, lambda event: event.field("opcode") in RING_SENDS)


def through_calls():
    require_root()
    with Loopback() as disk, Broker(disk.data, shards=1, io="poll") as broker:
        broker.start()
        windows, events, sockets = produce_and_trace(broker, disk, CALLS)

        def done(event):
            if not event.name.startswith("sys_pwrite") and not event.name.endswith("sync"):
                return False
            result = int(event.text, 16)
            return event.name.endswith("sync") and result == 0 or DATA_BYTES_MIN <= result < FAILED_FROM

        def sent(event):
            if event.name not in ("sys_sendto", "sys_sendmsg", "sys_writev", "sys_write"):
                return False
            return int(event.field("fd"), 16) in sockets

        return check_windows(windows, events, done, sent)


def checks(options):
    yield "ring: no acknowledgement before the flush that covers it", through_ring
    yield "ring, with rolls: no acknowledgement before the flush that covers it", lambda: through_ring(**ROLLING)
    yield "system calls: no acknowledgement before the flush that covers it", through_calls
