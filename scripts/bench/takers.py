"""Files that are saved: by one taker, beside curl and aria2c, and by many at once, beside programs of BitTorrent."""

import functools
import os
import shutil
import tempfile
import time

from base import MEMORY, Base, emptied, judged, medians, row, show, timed, warmed
from tools import MIB, Trouble, used
from torrents import LibTorrent, Rqbit, Tracker, write_torrent
from trust import RATE, b3sum

SWARMED = 256 * MIB
PLAIN, ENCRYPTED = "plain", "encrypted"
CROWDS = {8: 1.3, 16: 1.5}  # takers at once, and the bound: the time of one taker, times this


class Takers(Base):
    def c(self):
        """One file to memory and to a disk: each program with its proof and its sync, in rotating order."""
        source = self.file("big.bin", self.big)
        url = self.theirs("big.bin")
        servers = {name: self.unencrypted() if name == PLAIN else self.server for name in (PLAIN, ENCRYPTED)}
        peers = [self.place.peer(self.cardume, server.address, self.files, *(["--open"] if name == PLAIN else []), info=True)
                 for name, server in servers.items()]
        for name, server in servers.items():
            self.settled("big.bin", server=server)
        for name, parent in (("tmpfs", MEMORY), ("disk", self.place.path)):
            with tempfile.TemporaryDirectory(prefix="cardume-", dir=parent) as folder:
                self.saved(name, os.path.join(folder, "to"), source, url, servers)
        self.end("c", "provider", *peers)

    def saved(self, where, target, source, url, servers):
        file = os.path.join(target, "big.bin")
        get = lambda server: [self.cardume, "get", "big.bin", "--server", server.address, "--folder", target]
        curl, aria = ["curl", "-sS", "-o", file, url], ["aria2c", "-x1", "-q", "-d", target, "-o", "big.bin", url]
        proof, sync = ["b3sum", file], ["sync", file]
        programs = {name: (get(server),) for name, server in servers.items()}
        programs.update({"curl": (curl, sync), "curl && b3sum": (curl, proof), "aria2c && b3sum": (aria, proof)})
        for commands in programs.values():
            show(*commands)
        times = {name: [] for name in programs}
        for turn in range(self.runs):
            names = list(programs)
            for name in names[turn % len(names):] + names[:turn % len(names)]:
                emptied(target)
                warmed(target, self.big)
                first, *rest = programs[name]
                took = [self.fetch(first, "c") if name in servers else timed(first), *map(timed, rest)]
                if name in servers:
                    self.same(file, source)
                times[name].append((took[0], sum(took)))
        size = f"{self.big // MIB} MiB to {where}"
        pairs = lambda ours, theirs, column=1: [(one[0], other[column]) for one, other in zip(times[ours], times[theirs])]
        self.compare(f"c. {size}, curl without sync", pairs(PLAIN, "curl", 0), self.big, None)
        for name, title, least in (("curl", "curl && sync", 1.2), ("curl && b3sum",) * 2 + (1.3,), ("aria2c && b3sum",) * 2 + (2.0,)):
            self.compare(f"c. {size}, {title}", pairs(PLAIN, name), self.big, least)
        self.compare(f"c. {size} encrypted, curl && b3sum", pairs(ENCRYPTED, "curl && b3sum"), self.big, None)

    def h(self):
        """One owner of 100 MB/s, and many takers at once, all in memory."""
        with tempfile.TemporaryDirectory(prefix="cardume-", dir=MEMORY) as root:
            folder = os.path.join(root, "owner")
            os.makedirs(folder)
            source = self.file("swarm.bin", SWARMED, folder)
            programs = {name: functools.partial(self.swarm, server, name == PLAIN)
                        for name, server in ((PLAIN, self.unencrypted()), (ENCRYPTED, self.server))}
            programs.update(self.torrent_swarms(root))
            times = {name: {count: [] for count in (1, *CROWDS)} for name in programs}
            for turn in range(self.runs):
                names = list(programs)
                for name in names[turn % len(names):] + names[:turn % len(names)]:
                    for count in times[name]:
                        warmed(root, SWARMED * (count + 1))
                        times[name][count].append(programs[name](count, root, source))
            figures = {name: {count: medians(runs) for count, runs in of.items()} for name, of in times.items()}
            for count, bound in CROWDS.items():
                title = f"h. {SWARMED // MIB} MiB to {count}"
                for name in (PLAIN, ENCRYPTED):
                    alone, crowd = figures[name][1][0], figures[name][count][0]
                    kind, target, good = ("", f"<= {bound}", judged(crowd <= bound * alone)) if name == PLAIN else (f" {name}", "-", "-")
                    row(f"{title}{kind} / to one", f"{crowd:.2f} s", f"{alone:.2f} s", f"{crowd / alone:.2f}", target, good)
                time_of_ours, cost_of_ours = figures[PLAIN][count]
                for name in list(programs)[2:]:
                    their_time, their_cost = figures[name][count]
                    row(f"{title}, {name}", f"{time_of_ours:.2f} s", f"{their_time:.2f} s", f"{time_of_ours / their_time:.2f}",
                        "<= 1", judged(time_of_ours <= their_time))
                    row("   processor time of all", f"{cost_of_ours:.2f} s", f"{their_cost:.2f} s", f"{cost_of_ours / their_cost:.2f}",
                        "<= 1", judged(cost_of_ours <= their_cost))

    def swarm(self, server, is_open, count, root, source):
        """New peers of cardume. Returns the time of the last, and the processor time of all."""
        options = ["--open"] if is_open else []
        owner = self.place.peer(self.cardume, server.address, os.path.dirname(source), "--upload-limit", f"{RATE}", *options, info=True)
        self.settled("swarm.bin", server=server)
        folders = self.new_folders(root, count)
        peers = [self.place.peer(self.cardume, server.address, folder, *options, info=True, typed=True, cache=f"{folder}-cache") for folder in folders]
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

    def torrent_swarms(self, root):
        """The swarms of the programs at hand, by their versions."""
        torrent = os.path.join(root, "swarm.torrent")

        def swarm(program, count, root, source):
            tracker, folders = Tracker(), self.new_folders(root, count)
            write_torrent(torrent, source, tracker)
            try:
                return program.swarm(torrent, os.path.dirname(source), folders, RATE, lambda: self.compared(folders, source))
            finally:
                tracker.end()
                for folder in folders:
                    shutil.rmtree(folder, ignore_errors=True)

        programs = (LibTorrent.at_hand(self.place), Rqbit.at_hand(self.place))
        return {program.version: functools.partial(swarm, program) for program in programs if program}
