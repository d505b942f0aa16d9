"""A slow disk for one process by a control group, version 1 or 2."""

import os

from tools import Trouble

V1, V2 = "/sys/fs/cgroup/blkio", "/sys/fs/cgroup"


def device_of(path):
    """MAJOR:MINOR of the whole disk below a folder; limits apply to disks, not to partitions."""
    number = os.stat(path).st_dev
    name = f"{os.major(number)}:{os.minor(number)}"
    if os.major(number) == 0 or not os.path.exists(f"/sys/dev/block/{name}"):
        raise Trouble(f"{path} is on no disk of its own")
    if os.path.exists(f"/sys/dev/block/{name}/partition"):
        with open(f"/sys/dev/block/{name}/../dev") as file:
            return file.read().strip()
    return name


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


class SlowDisk:
    """`with SlowDisk(folder, rate) as slow: slow.add(pid)`"""

    def __init__(self, folder, rate):
        self.folder, self.rate = folder, rate

    def __enter__(self):
        device = device_of(self.folder)
        old = os.path.exists(f"{V1}/blkio.throttle.read_bps_device")
        self.group = f"{V1 if old else V2}/cardume-bench-{os.getpid()}"
        try:
            if not old:
                with open(f"{V2}/cgroup.controllers") as file:
                    if "io" not in file.read().split():
                        raise Trouble("the control groups of this machine have no io controller")
                write(f"{V2}/cgroup.subtree_control", "+io")
            os.mkdir(self.group)
        except OSError as error:
            raise Trouble(f"no control group for disks can be made: {error}") from error
        try:
            self.rule = f"blkio.throttle.read_bps_device <- {device} {self.rate}" if old else f"io.max <- {device} rbps={self.rate}"
            name, text = self.rule.split(" <- ")
            write(f"{self.group}/{name}", text)
        except OSError as error:
            os.rmdir(self.group)
            raise Trouble(f"the limit can't be set: {error}") from error
        return self

    def add(self, pid):
        try:
            write(f"{self.group}/cgroup.procs", str(pid))
        except OSError as error:
            raise Trouble(f"the peer can't be moved: {error}") from error

    def __exit__(self, *_):
        # Move remaining processes back to their group; a group can be removed only when empty.
        try:
            with open(f"{self.group}/cgroup.procs") as file:
                for pid in file.read().split():
                    write(f"{os.path.dirname(self.group)}/cgroup.procs", pid)
            os.rmdir(self.group)
        except OSError as error:
            print(f"  {self.group} stays: {error}")


def forget(path):
    """Drops a file from the page cache: the next read comes from the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)
