"""The cost of verification, and the gain of many sources. See run.sh; a section is a letter."""

import os
import statistics
import subprocess
import tempfile
import threading
import time

from base import TURNS, Base, emptied, judged, medians, milliseconds, row, show, timed
from tools import Client, Trouble, quantile

GIB = 1 << 30
RATE = 100_000_000  # a second, of each owner that has --upload-limit 100MB


def forge(cardume, folder, source, percent):
    """Forges the state of a download of `source` at `percent` in `folder`, with the record format of the real program:
    examples/forge_part.rs."""
    program = os.path.join(os.path.dirname(cardume), "examples", "forge_part")
    if not os.path.exists(program):
        raise NotImplementedError("a download that is almost done can't be forged: there is no examples/forge_part")
    timed([program, folder, source, str(percent)])


def b3sum(path):
    done = subprocess.run(["b3sum", "--no-names", path], stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().strip()


class Trust(Base):
    TURNING = "egh"  # sections with a target for iteration times

    def size_of(self, size):
        return f"{size / GIB:g} GiB"

    def owner(self, number, source, *options):
        """A peer that shares the same file under another name, with its own hashing."""
        folder = self.place.folder(f"owner-{number}")
        link = os.path.join(folder, os.path.basename(source))
        if not os.path.exists(link):
            os.link(source, link)
        return self.peer(folder, *options, cache=self.place.folder(f"cache-{number}"))

    def e(self):
        source = self.file("big.bin", self.big)
        peer = self.hashed_peer()
        target = self.place.folder("downloads")
        verified = self.get("big.bin", target)
        unverified = verified + ["--no-verify"]
        if not self.knows("get", "--no-verify"):
            print("  this program has no --no-verify: both sides do the same")
            unverified = verified
        hashing = ["b3sum", "--num-threads", "1", source]
        show(verified)
        show(unverified)
        show(hashing)
        timed(hashing)  # fill the page cache
        times = []
        for run in range(self.runs):
            took = {}
            # Alternate the order, so that neither side profits from its position.
            for which in (0, 1) if run % 2 == 0 else (1, 0):
                emptied(target)
                took[which] = self.fetch((verified, unverified)[which], "e" if which == 0 else None)
                self.same(os.path.join(target, "big.bin"), source)
            emptied(target)
            times.append((took[0], took[1], timed(hashing)))
        with_it, without, alone = medians(times)
        print(f"  verified {with_it:.2f} s, unverified {without:.2f} s, b3sum with one thread {alone:.2f} s; each run:", *(" ".join(f"{t:.2f}" for t in run) for run in times), sep=" | ")
        row(f"e. {self.size_of(self.big)} verified / bound", f"{with_it:.2f} s", f"{without + 1.15 * alone:.2f} s", f"{with_it / (without + 1.15 * alone):.2f}", "<= 1", judged(with_it <= without + 1.15 * alone))
        row("e. what verifying adds, in b3sums", f"{with_it - without:.2f} s", f"{alone:.2f} s", f"{(with_it - without) / alone:.2f}", "<= 1.15", judged(with_it - without <= 1.15 * alone))
        self.end("e", "provider", peer)

    def g(self):
        source = self.file("big.bin", self.big)
        options = lambda rate: ["--upload-limit", rate]
        owners = [self.owner(n, source, *options("100MB")) for n in range(4)]
        target = self.place.folder("downloads")
        command = self.get("big.bin", target)
        show(owners[0].command)
        print("  ... and three more")
        show(command)
        times, slow, said = [], None, False
        for _ in range(self.runs):
            took = []
            for count in (4, 5):
                if count == 5:
                    slow = self.owner(4, source, *options("1MB"))
                    if not said:
                        show(slow.command)
                        said = True
                self.settled("big.bin", count)
                emptied(target)
                took.append(self.fetch(command, "g"))
                self.same(os.path.join(target, "big.bin"), source)
            self.end("g", "provider", slow)
            times.append(took)
        emptied(target)
        four, five = medians(times)
        print("  four sources and five, each run:", *(" ".join(f"{t:.2f}" for t in run) for run in times), sep=" | ")
        rate = self.big / four
        row(f"g. {self.size_of(self.big)}, four of 100 MB/s", f"{rate / 1e6:.0f} MB/s", f"{4 * RATE / 1e6:.0f} MB/s", f"{rate / (4 * RATE):.2f}", ">= 0.95", judged(rate >= 0.95 * 4 * RATE))
        row("g. and one of 1 MB/s / without it", f"{five:.2f} s", f"{four:.2f} s", f"{five / four:.2f}", "<= 1.05", judged(five <= 1.05 * four))
        self.end("g", "provider", *owners)

    def i(self):
        size = 2 * GIB if self.quick else 100 * GIB
        folder = self.place.folder("giant")
        source = self.sparse("giant.bin", size, folder)
        peer = self.peer(folder)
        began = time.monotonic()
        self.settled("giant.bin", patience=400)
        print(f"  the owner was ready after {time.monotonic() - began:.1f} s")
        target = self.place.folder("restart")
        command = self.get("giant.bin", target, "--allocate", "none", "--json")
        show(command)
        times = []
        try:
            for _ in range(self.runs):
                emptied(target)
                if self.quick:
                    self.stop_at(command, 90)
                else:
                    forge(self.cardume, target, source, 90)
                times.append(self.restarted(command, target))
        except NotImplementedError as error:
            row(f"i. restart of {self.size_of(size)} at 90 %", "-", target="< 300 ms", good=f"skipped: {error}; --quick tries it with a real download")
            return
        finally:
            emptied(target)
            os.remove(source)
        told, seen = (statistics.median(one) * 1e3 for one in zip(*times))
        print(f"  told by the first progress, and seen in the .part: {told:.0f} ms, {seen:.0f} ms (progress is told every 200 ms)")
        row(f"i. restart of {self.size_of(size)} at 90 %", f"{told:.0f} ms", target="< 300 ms", good=judged(told < 300))
        self.end("i", "provider", peer)

    def stop_at(self, command, percent):
        """A real download, ended at about this progress."""
        get = self.place.start([*command, "--download-limit", "800MB"])
        get.event(lambda event: event.get("event") == "progress" and event["held"] * 100 >= event["size"] * (percent - 8), 120)
        get.end()

    def restarted(self, command, target):
        """The time from process start to the first new byte, by its own report and by the disk."""
        part = next(os.path.join(target, name) for name in os.listdir(target) if name.endswith(".part"))
        blocks = os.stat(part).st_blocks
        began = time.monotonic()
        get = self.place.start(command)
        seen = float("nan")
        while time.monotonic() < began + 20 and get.process.poll() is None:
            if os.stat(part).st_blocks > blocks:
                seen = time.monotonic() - began
                break
            time.sleep(0.001)
        begun, _ = get.event(lambda event: event["event"] == "begun")
        _, at = get.event(lambda event: event["event"] in ("begun", "progress") and event["held"] > begun["held"] or event["event"] == "saved")
        get.end()
        if begun["held"] < begun["size"] // 2:
            raise Trouble(f"it began at byte {begun['held']} of {begun['size']}: nothing was taken over")
        return at - began, seen

    def j(self):
        size = 2 * GIB if self.quick else 10 * GIB
        folder = self.place.folder("holes")
        source = self.sparse("holes.bin", size, folder)
        hashing = ["b3sum", "--num-threads", "1", source]
        if self.hashes:
            show(hashing)
            timed(hashing)  # fill the page cache
        else:
            print("  this program does not hash: PING for two seconds each time")
        said, p99s, longest, times = False, [], 0.0, []
        for _ in range(self.runs):
            cache = tempfile.mkdtemp(dir=self.place.path)  # a new cache: every file is hashed
            began = time.monotonic()
            peer = self.peer(folder, cache=cache)
            if not said:
                show(peer.command)
                said = True
            with Watch(self.server.address, "holes.bin", 300.0 if self.hashes else 2.0) as watch:
                client = Client(peer.address)
                client.ask_until(watch.over.is_set, 0.005, lambda _: {"method": "PING"}, lambda _: None)
                client.close()
            took = time.monotonic() - began
            if watch.fault or self.hashes and not watch.root:
                raise Trouble(watch.fault or "the hashing never came to an end")
            p99s.append(quantile(client.times, 0.99) * 1e3)
            longest = max(longest, max(client.times) * 1e3)
            count = len(client.times)
            self.end("j", "provider", peer)
            if self.hashes:
                times.append((took, timed(hashing)))
        p99 = statistics.median(p99s)
        print(f"  p99 of each run: {', '.join(f'{one:.2f}' for one in p99s)} ms; longest {longest:.1f} ms; {count} PINGs in the last")
        row("j. PING while hashing, p99", f"{p99:.2f} ms", target="<= 5 ms", good=judged(p99 <= 5) if self.hashes else f"{judged(p99 <= 5)}, but nothing was hashed")
        if times:
            ours, theirs = medians(times)
            row("j. how fast it hashed meanwhile", f"{size / GIB / ours:.2f} GiB/s", f"{size / GIB / theirs:.2f} GiB/s", f"{theirs / ours:.2f}")
        os.remove(source)

    def k(self):
        told = {}
        for section, who, line in self.turns:
            told.setdefault((section, who), []).append(TURNS.search(line) if line else None)
        for (section, who), found in sorted(told.items()):
            silent, found = found.count(None), [match for match in found if match]
            if not found:
                row(f"k. turns in {section}, {who}", "-", good="it printed none")
                continue
            p99s, longests = ([milliseconds(match[group]) for match in found] for group in (3, 4))
            worst = max(found, key=lambda match: milliseconds(match[4]))
            print(f"  {section}, {who}: {len(found)} processes{f', {silent} more said nothing' if silent else ''}; p99 of each at most {max(p99s):.2f} ms; the one with the longest turn: {worst[0]}")
            p99, longest = statistics.median(p99s), max(longests)
            good = judged(p99 <= 5 and longest <= 50) if section in self.TURNING else "-"
            row(f"k. turns in {section}, {who}: p99, longest", f"{p99:.2f} / {longest:.1f} ms", target="5 / 50 ms" if good != "-" else "-", good=good)


class Watch(threading.Thread):
    """Searches for a file until the index has its root, or until the timeout."""

    def __init__(self, server, name, patience):
        super().__init__(daemon=True)
        self.server, self.name, self.patience = server, name, patience
        self.over, self.root, self.fault = threading.Event(), None, None

    def run(self):
        until = time.monotonic() + self.patience
        try:
            client = Client(self.server)
            client.ask_until(lambda: self.root or self.over.is_set() or time.monotonic() > until, 0.05, lambda _: {"method": "SEARCH", "name": self.name}, self.check)
            client.close()
        except (OSError, Trouble, ValueError) as error:
            self.fault = error
        self.over.set()

    def check(self, answer):
        self.root = next((one["root"] for one in answer.get("holders", ()) if one.get("root")), self.root)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(30)
