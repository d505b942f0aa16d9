"""Files that are saved: by one taker, beside curl and aria2c, and by many at once, beside programs of BitTorrent."""

import os
import shutil
import tempfile
import time

from base import MEMORY, Base, emptied, judged, medians, row, show, timed, warmed
from tools import MIB, Trouble, used
from torrents import LibTorrent, Rqbit, Tracker, write_torrent
from trust import RATE, b3sum

SWARMED = 256 * MIB
CROWDS = {8: 1.3, 16: 1.5}  # takers at once, and the bound: the time of one taker, times this


class Takers(Base):
    def c(self):
        """One file to memory and to a disk: each program with its proof and its sync, in rotating order."""
        source = self.file("big.bin", self.big)
        url = self.theirs("big.bin")
        peer = self.hashed_peer()
        for name, parent in (("tmpfs", MEMORY), ("disk", self.place.path)):
            with tempfile.TemporaryDirectory(prefix="cardume-", dir=parent) as folder:
                self.saved(name, os.path.join(folder, "to"), source, url)
        self.end("c", "provider", peer)

    def saved(self, where, target, source, url):
        file = os.path.join(target, "big.bin")
        get = self.get("big.bin", target)
        curl, aria = ["curl", "-sS", "-o", file, url], ["aria2c", "-x1", "-q", "-d", target, "-o", "big.bin", url]
        proof, sync = ["b3sum", file], ["sync", file]
        programs = {"cardume": (get,), "curl": (curl, sync), "curl && b3sum": (curl, proof), "aria2c && b3sum": (aria, proof)}
        for commands in programs.values():
            show(*commands)
        times = {name: [] for name in programs}
        for turn in range(self.runs):
            names = list(programs)
            for name in names[turn % len(names):] + names[:turn % len(names)]:
                emptied(target)
                warmed(self.big)
                first, *rest = programs[name]
                took = [self.fetch(first, "c") if name == "cardume" else timed(first), *map(timed, rest)]
                if name == "cardume":
                    self.same(file, source)
                times[name].append((took[0], sum(took)))
        size = f"{self.big // MIB} MiB to {where}"
        pairs = lambda name, column: [(ours[0], theirs[column]) for ours, theirs in zip(times["cardume"], times[name])]
        self.compare(f"c. {size}, curl without sync", pairs("curl", 0), self.big, None)
        for name, title, least in (("curl", "curl && sync", 1.2), ("curl && b3sum",) * 2 + (1.3,), ("aria2c && b3sum",) * 2 + (2.0,)):
            self.compare(f"c. {size}, {title}", pairs(name, 1), self.big, least)

    def h(self):
        """One owner of 100 MB/s, and many takers at once, all in memory."""
        size = SWARMED
        with tempfile.TemporaryDirectory(prefix="cardume-", dir=MEMORY) as root:
            folder = os.path.join(root, "owner")
            os.makedirs(folder)
            source = self.file("swarm.bin", size, folder)
            programs = {"cardume": self.swarm, **self.torrent_swarms(root, source)}
            times = {name: {count: [] for count in (1, *CROWDS)} for name in programs}
            for turn in range(self.runs):
                names = list(programs)
                for name in names[turn % len(names):] + names[:turn % len(names)]:
                    for count in times[name]:
                        warmed(size * (count + 1))
                        times[name][count].append(programs[name](count, root, source))
            ours = {count: medians(runs) for count, runs in times["cardume"].items()}
            for count, bound in CROWDS.items():
                alone, crowd = ours[1][0], ours[count][0]
                title = f"h. {size // MIB} MiB to {count}"
                row(f"{title} / to one", f"{crowd:.2f} s", f"{alone:.2f} s", f"{crowd / alone:.2f}", f"<= {bound}", judged(crowd <= bound * alone))
                for name, runs in times.items():
                    if name == "cardume":
                        continue
                    their_time, their_cost = medians(runs[count])
                    row(f"{title}, {name}", f"{crowd:.2f} s", f"{their_time:.2f} s", f"{crowd / their_time:.2f}",
                        "<= 1", judged(crowd <= their_time))
                    cost = ours[count][1]
                    row("   processor time of all", f"{cost:.2f} s", f"{their_cost:.2f} s", f"{cost / their_cost:.2f}", "<= 1", judged(cost <= their_cost))

    def swarm(self, count, root, source):
        """New peers of cardume. Returns the time of the last, and the processor time of all."""
        owner = self.place.peer(self.cardume, self.server.address, os.path.dirname(source), "--upload-limit", f"{RATE}", info=True)
        self.settled("swarm.bin")
        folders = self.new_folders(root, count)
        peers = [self.peer(folder, typed=True, cache=f"{folder}-cache") for folder in folders]
        try:
            programs = (owner, *peers)
            before, began = sum(used(one.pid) for one in programs), time.monotonic()
            for peer in peers:
                peer.tell("GET swarm.bin\n")
            for peer in peers:
                peer.wait_for("baixado com sucesso", patience=240)
            took, cost = time.monotonic() - began, sum(used(one.pid) for one in programs) - before
            self.compared(folders, source)
        finally:
            self.end("h", "getter", *peers)
            self.end("h", "provider", owner)
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
        return took, cost

    @staticmethod
    def new_folders(root, count):
        folders = [os.path.join(root, f"{number:02}") for number in range(count)]
        for folder in folders:
            os.makedirs(folder)
        return folders

    @staticmethod
    def compared(folders, source):
        hashes = {b3sum(os.path.join(folder, os.path.basename(source))) for folder in folders}
        if hashes != {b3sum(source)}:
            raise Trouble("a taker has another file than the owner")

    def torrent_swarms(self, root, source):
        """The swarms of the programs at hand, by their versions."""
        torrent = os.path.join(root, "swarm.torrent")
        found = {}
        for program in (LibTorrent.at_hand(self.place), Rqbit.at_hand(self.place)):
            if program is None:
                continue
            def swarm(count, root, source, program=program):
                tracker = Tracker()
                write_torrent(torrent, source, tracker)
                folders = self.new_folders(root, count)
                try:
                    return program.swarm(torrent, os.path.dirname(source), folders, RATE, lambda: self.compared(folders, source))
                finally:
                    tracker.end()
                    for folder in folders:
                        shutil.rmtree(folder, ignore_errors=True)
            found[program.version] = swarm
        return found
