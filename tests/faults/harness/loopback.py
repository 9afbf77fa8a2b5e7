"""An ext4 filesystem of its own on a loop device, and the end of its power. Needs root.

Owns image, device and mount; leaves nothing behind. The cut is the filesystem's: what it has not written stays
unwritten, the journal's buffered part included. A device that loses its own cache is not imitated.
"""

import errno
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from harness.report import Skipped

# _IOR('X', 125, __u32) of linux/fs.h, and the flag that leaves the journal unflushed.
FS_IOC_SHUTDOWN = 0x8004587D
NOLOGFLUSH = 2
UNMOUNT_SECONDS = 20
FILLER = "filler"


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, "%s: %s" % (" ".join(command), done.stderr.strip())
    return done.stdout.strip()


def require_root():
    """Skips by name where root or a tool is missing."""
    if os.geteuid() != 0:
        raise Skipped("needs root (loop device, mount)")
    for tool in ("mkfs.ext4", "losetup", "mount", "umount"):
        if shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
            raise Skipped("needs %s" % tool)


class Loopback:
    def __init__(self, image_bytes=4 << 30):
        require_root()
        self.place = Path(tempfile.mkdtemp(prefix="corelog-faults-"))
        self.mount_point = self.place / "mount"
        self.device = None
        self.mounted = False
        try:
            self.mount_point.mkdir()
            image = self.place / "image"
            with open(image, "wb") as file:
                file.truncate(image_bytes)
            run("mkfs.ext4", "-q", "-F", str(image))
            try:
                self.device = run("losetup", "--find", "--show", str(image))
            except AssertionError as error:
                raise Skipped("no loop device: %s" % error) from None
            self.mount()
        except BaseException:
            self.close()
            raise

    @property
    def data(self):
        return self.mount_point / "data"

    def mount(self):
        run("mount", "-t", "ext4", self.device, str(self.mount_point))
        self.mounted = True

    def unmount(self):
        deadline = time.monotonic() + UNMOUNT_SECONDS
        while True:
            try:
                run("umount", str(self.mount_point))
                break
            except AssertionError:
                # The kernel lets go of a killed process's ring, and so of its files, a little later.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.mounted = False

    def cut_power(self):
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        finally:
            os.close(descriptor)

    def fill(self):
        """Takes all the room that is left."""
        with open(self.mount_point / FILLER, "ab") as file:
            step = 1 << 30
            while step >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error
                    # What a failed call took stays taken, which is what is wanted.
                    step //= 2

    def free(self):
        """Gives it back."""
        os.unlink(self.mount_point / FILLER)

    def free_bytes(self):
        room = os.statvfs(self.mount_point)
        return room.f_bavail * room.f_frsize

    def device_numbers(self):
        status = os.stat(self.device)
        return os.major(status.st_rdev), os.minor(status.st_rdev)

    def close(self):
        if self.mounted:
            self.unmount()
        if self.device:
            run("losetup", "--detach", self.device)
            self.device = None
        shutil.rmtree(self.place, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
