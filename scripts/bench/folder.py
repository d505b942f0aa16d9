"""A folder of many small files from one peer, beside an rsync daemon."""

import filecmp
import os
import random
import socket
import time

from base import Base, emptied, show, timed
from tools import Client, Trouble

FILES = 10_000
DAEMON = """use chroot = no
[files]
path = {path}
read only = yes
"""


class Folder(Base):
    def D(self):
        files = FILES // 5 if self.quick else FILES
        top = self.place.folder("many")
        size = small_files(os.path.join(top, "many"), files)
        peer = self.place.peer(self.cardume, self.server.address, top, "-r", info=True)
        wait_for_root(peer.address, "many")
        port = self.start_rsync(os.path.join(top, "many"))
        target = self.place.folder("arrived")
        ours = lambda to: [self.cardume, "get", "many/", "--from", peer.address, "--folder", to, "--json"]
        theirs = lambda to: ["rsync", "-a", f"rsync://127.0.0.1:{port}/files/", os.path.join(to, "many")]
        show(ours(target))
        show(theirs(target))
        show(["sync", "-f", target])
        plain, synced, again = [], [], []
        for run in range(self.runs):
            # A folder of its own for each, removed at the end: ext4 without a journal gives out no inode that was freed in the
            # last minutes, and searches long for others.
            here, there = (emptied(os.path.join(target, f"{who}{run}")) for who in ("ours", "theirs"))
            took = timed(ours(here))
            self.check_folder(os.path.join(here, "many"), os.path.join(top, "many"), files)
            repeated = timed(ours(here))
            os.sync()
            other = timed(theirs(there))
            synced.append((took, other + timed(["sync", "-f", there])))
            plain.append((took, other))
            again.append((repeated, timed(theirs(there))))
        emptied(target)
        self.compare(f"D. {files:,} files of 1 to 100 KiB", plain, size, 0.67)
        self.compare("D. the same, rsync and then sync -f", synced, size, None)
        self.compare("D. again, with every file there", again, size, None)
        self.end("D", "provider", peer)

    def start_rsync(self, path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = os.path.join(self.place.path, "rsyncd.conf")
        with open(config, "w") as file:
            file.write(DAEMON.format(path=path))
        self.place.start(["rsync", "--daemon", "--no-detach", f"--config={config}", f"--port={port}", "--address=127.0.0.1"])
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return port
            time.sleep(0.05)
        raise Trouble("the rsync daemon does not listen")

    def check_folder(self, here, there, files):
        """Every file is here, with the bytes of the other folder."""
        found = sum(len(names) for _, _, names in os.walk(here))
        if found != files:
            raise Trouble(f"{found} files of {files} came")
        for folder, _, names in os.walk(there):
            other = os.path.join(here, os.path.relpath(folder, there))
            _, mismatch, errors = filecmp.cmpfiles(folder, other, names, shallow=False)
            if mismatch or errors:
                raise Trouble(f"other bytes: {(mismatch + errors)[:3]}")


def small_files(path, count):
    """Files of 1 to 100 KiB in a hundred folders, always the same sizes. Returns the bytes of all."""
    chance, total = random.Random(1), 0
    for number in range(count):
        folder = os.path.join(path, f"{number % 100:02}")
        os.makedirs(folder, exist_ok=True)
        size = chance.randint(1 << 10, 100 << 10)
        with open(os.path.join(folder, f"{number:05}.bin"), "wb") as file:
            file.write(os.urandom(size))
        total += size
    os.sync()
    return total


def wait_for_root(address, name, patience=300.0):
    """Waits until the peer has hashed every file of the folder."""
    client, until = Client(address), time.monotonic() + patience
    known = []
    question = lambda _: {"method": "FOLDER", "name": name, "limit": 0}
    check = lambda answer: known.append(1) if answer.get("root") else None
    client.ask_until(lambda: bool(known) or time.monotonic() > until, 0.2, question, check)
    client.close()
    if not known:
        raise Trouble(f"the peer does not hash {name}")
