"""The memory of a peer with very many shared files."""

import os
import time

from base import Base, Memory, judged, row
from folder import wait_for_root
from tools import MIB, status

FILES = 1_000
# Bytes a file beside its name, and the peak.
BYTES_A_FILE, PEAK_MIB = 200, 250


class Share(Base):
    def F(self):
        for files in [20_000] if self.quick else [100_000, 1_000_000]:
            top = self.place.folder(f"share-{files}")
            names = tiny_files(os.path.join(top, "all"), files)
            empty = self.place.peer(self.cardume, self.server.address, self.place.folder("empty"), "-r")
            least = status(empty.pid)["RssAnon"]
            empty.end()
            peer = self.place.peer(self.cardume, self.server.address, top, "-r")
            with Memory(peer.pid) as memory:
                wait_for_root(peer.address, "all", files // 100)
                time.sleep(5)  # the last UPDATE
            now = status(peer.pid)
            each = ((now["RssAnon"] - least) * 1024 - names) / files
            peak = now["VmHWM"] / 1024
            row(f"F. {files:,} shared files, memory a file beside names", f"{each:.0f} B", "-", "-", f"<= {BYTES_A_FILE} B", judged(each <= BYTES_A_FILE))
            row(f"F. {files:,} shared files, peak of the peer", f"{peak:.0f} MiB", "-", "-", f"<= {PEAK_MIB} MiB", judged(peak <= PEAK_MIB))
            print(f"   peak of private memory: {memory.peak * 1024 / MIB:.0f} MiB")
            peer.end()


def tiny_files(top, count):
    """Writes files that differ, a thousand in each folder, with an old time. Returns the bytes of the names."""
    names, old = 0, time.time() - 3_600
    for at in range(count):
        folder = os.path.join(top, f"{at // FILES:04}")
        if at % FILES == 0:
            os.makedirs(folder)
        path = os.path.join(folder, f"file-{at:07}.txt")
        with open(path, "w") as file:
            file.write(str(at))
        os.utime(path, (old, old))
        names += len(os.path.relpath(path, os.path.dirname(top)))
    return names
