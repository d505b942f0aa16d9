#!/usr/bin/env python3
"""Side by side with nginx, curl, aria2c and b3sum. See run.sh, which lists the sections.

Usage: bench.py CARDUME [--quick] [--only] [--json FILE] [--size SIZE] [SECTION...]       a section is a letter or a name
"""

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time

from accounts import Accounts
from base import CROWD, ROWS, Base, Memory, crowd, judged, row, show, timed
from engine import Engine
from far import Far
from folder import Folder
from index import Index
from page import Page
from play import Play
from quic import Quic
from rekey import Rekey
from share import Share
from storm import Storm
from takers import Takers
from throttle import SlowDisk, forget
from tls import Tls
from tools import MIB, Client, Place, Trouble, parse_size, quantile, random_file
from trust import Trust
from wires import Wires

NAMES = {"a": "memory", "b": "crowd", "c": "disk", "d": "slow", "e": "verified", "g": "sources", "h": "swarm", "i": "restart",
         "j": "hashing", "k": "turns", "l": "lasting", "m": "start", "n": "log", "o": "play", "p": "stalls", "q": "quic", "r": "page", "s": "search",
         "t": "asking", "u": "joining", "v": "idle", "w": "far", "x": "video", "y": "tls", "z": "storm", "A": "rekey", "B": "wires",
         "C": "engine", "D": "folder", "E": "trips", "F": "share"}

SLOW_RATE = 80 * MIB
MEMORY_KIB = 16 * 1024 + 64 * CROWD
FINE = ("PASS", "-", "")  # verdicts of rows that missed no target


class Plain(Base):
    """Transfers without verification, except `cardume get`, which always verifies."""

    def a(self):
        self.file("big.bin", self.big)
        peer = self.hashed_peer()
        command = lambda base: ["curl", "-sS", "-o", "/dev/null", base]
        ours, theirs = command(f"http://{peer.address}/files/big.bin"), command(self.theirs("big.bin"))
        show(ours)
        show(theirs)
        timed(ours), timed(theirs)  # fill the page cache
        pairs = [(timed(ours), timed(theirs)) for _ in range(self.runs)]
        self.compare(f"a. {self.big // MIB} MiB from memory", pairs, self.big, 1.3)
        self.end("a", "provider", peer)

    def b(self):
        self.file("each.bin", self.each)
        peer = self.hashed_peer()
        command = lambda base: ["curl", "-sS", "-o", "/dev/null", base]
        ours, theirs = command(f"http://{peer.address}/files/each.bin"), command(self.theirs("each.bin"))
        for one in (ours, theirs):
            print(f"  {CROWD} at once:")
            show(one)
        timed(ours), timed(theirs)
        pairs, spreads, memories = [], [], []
        for _ in range(self.runs):
            results = []
            for one, pid in ((ours, peer.pid), (theirs, self.worker_of(self.nginx))):
                with Memory(pid) as memory:
                    results.append((crowd(one, CROWD), memory.peak))
            pairs.append(tuple(max(times) for times, _ in results))
            spreads.append(tuple(max(times) / min(times) for times, _ in results))
            memories.append(tuple(peak for _, peak in results))
        self.compare(f"b. {CROWD} x {self.each // MIB} MiB, in all", pairs, CROWD * self.each, 1.0)
        peaks = [max(side) / 1024 for side in zip(*memories)]
        row("b. most private memory", f"{peaks[0]:.1f} MiB", f"{peaks[1]:.1f} MiB", "-", f"<= {MEMORY_KIB // 1024} MiB", judged(peaks[0] * 1024 <= MEMORY_KIB))
        middle = [statistics.median(side) for side in zip(*spreads)]
        row("b. slowest / fastest finisher", f"{middle[0]:.2f}", f"{middle[1]:.2f}", "-", "<= 1.5", judged(middle[0] <= 1.5))
        self.end("b", "provider", peer)

    def d(self):
        name = "d. PING, p99, slow disk"
        folder = self.place.folder("cold")
        size = (32 if self.quick else 160) * MIB
        paths = [os.path.join(folder, f"cold-{n}.bin") for n in range(4)]
        try:
            with SlowDisk(folder, SLOW_RATE) as slow:
                for path in paths:
                    random_file(path, size)
                self.hashed_peer(folder).end()  # all hashed, so that only curl reads the files
                for path in paths:
                    forget(path)
                peer = self.hashed_peer(folder)
                slow.add(peer.pid)
                print(f"  {slow.rule}")
                client = Client(peer.address)
                commands = [["curl", "-sS", "-o", "/dev/null", f"http://{peer.address}/files/{os.path.basename(path)}"] for path in paths]
                show(commands[0])
                began = time.monotonic()
                curls = [subprocess.Popen(command) for command in commands]
                client.ask_until(lambda: all(curl.poll() is not None for curl in curls), 0.005, lambda _: {"method": "PING"}, lambda _: None)
                times = client.times
                took = time.monotonic() - began
                client.close()
                if any(curl.returncode for curl in curls):
                    raise Trouble("a download from the slow disk failed")
                self.end("d", "provider", peer)
                rate = 4 * size / took
                print(f"  4 cold uploads of {size // MIB} MiB in {took:.1f} s: {rate / MIB:.0f} MiB/s, {len(times)} PINGs, longest {max(times) * 1e3:.1f} ms")
                if rate > 1.5 * SLOW_RATE:
                    raise Trouble("the limit has no effect, the files came faster than that")
                p99 = quantile(times, 0.99) * 1e3
                row(name, f"{p99:.2f} ms", "-", "-", "<= 10 ms", judged(p99 <= 10))
        except Trouble as error:
            row(name, "-", "-", "-", "<= 10 ms", f"not possible here: {error}")


class Bench(Plain, Takers, Trust, Accounts, Play, Quic, Tls, Storm, Rekey, Page, Index, Engine, Far, Folder, Share, Wires):
    pass


def first_line(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.strip().splitlines()[0]


def machine(cardume, place):
    """Prints the machine and the versions, and returns them for --json."""
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    kind = first_line(["stat", "-f", "-c", "%T", place.path])
    told = {"machine": f"{len(os.sched_getaffinity(0))} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}, files on {kind}"}
    print(f"machine: {told['machine']}")
    print(f"load before: {os.getloadavg()[0]:.2f}")
    commands = ([cardume, "--version"], ["nginx", "-v"], ["curl", "--version"], ["aria2c", "--version"], ["b3sum", "--version"],
                ["openssl", "version"])
    told["versions"] = {os.path.basename(command[0]): first_line(command) for command in commands}
    for program, version in told["versions"].items():
        print(f"{program}: {version}")
    print("nginx: one worker, sendfile on, access_log off; all else as it comes")
    return told


def fell_short(rows):
    """Prints the rows that missed their target. A row without a name of its own belongs to the one before."""
    short, section = [], ""
    for one in rows:
        section = one["name"] if not one["name"].startswith(" ") else section
        if one["verdict"] not in FINE:
            name = one["name"] if one["name"] == section else f"{section}: {one['name'].strip()}"
            cells = (one.get(key, {}).get("text", "-") for key in ("cardume", "other", "ratio", "target"))
            short.append("  {}: {} beside {}, ratio {}, target {}: {}".format(name, *cells, one["verdict"]))
    print(f"\nfell short: {len(short)} of {len(rows)} rows", *short, sep="\n", flush=True)


def told_of(ran, told, words, runs):
    """The sections that ran, each with all that one needs to judge its rows."""
    command = shlex.join(["scripts/bench/run.sh", *words])
    commit = first_line(["git", "-C", os.path.dirname(os.path.abspath(__file__)), "describe", "--always", "--dirty", "--abbrev=8"])
    return {letter: {"name": NAMES[letter], "command": command, "commit": commit, "runs": runs, **told, **one} for letter, one in ran.items()}


def write(target, sections):
    """Replaces these sections in the file; the others stay."""
    known = {}
    if os.path.exists(target):
        with open(target) as file:
            known = json.load(file)["sections"]
    known.update(sections)
    order = sorted(known, key=lambda letter: (letter.isupper(), letter))
    with open(target, "w") as file:
        json.dump({"sections": {letter: known[letter] for letter in order}}, file, indent=1, ensure_ascii=False)
        file.write("\n")


def options(words):
    """Returns quick, the JSON file or None, the size for section A or None, and the sections."""
    words, values = list(words), {}
    for name in ("--json", "--size"):
        if name in words:
            at = words.index(name)
            values[name] = words[at + 1]
            del words[at:at + 2]
    size = parse_size(values["--size"]) if "--size" in values else None
    return "--quick" in words, values.get("--json"), size, chosen(word for word in words if word not in ("--quick", "--only"))


def chosen(words):
    """The letters of the chosen sections; all without a choice."""
    by_name = {name: letter for letter, name in NAMES.items()}
    sections = set()
    for word in words:
        letter = by_name.get(word, word)
        if letter not in NAMES:
            raise ValueError
        sections.add(letter)
    if sections == {"k"}:
        return {*Trust.TURNING, "k"}  # iteration times need a running section
    return sections or set(NAMES)


def main():
    try:
        cardume = sys.argv[1]
        quick, target, size, sections = options(sys.argv[2:])
    except (IndexError, ValueError, Trouble):
        print(__doc__, file=sys.stderr)
        return 2
    failed = False
    try:
        with Place() as place:
            bench = Bench(cardume, place, quick, size)
            told = machine(cardume, place)
            print(f"medians of {bench.runs} alternating runs\n", flush=True)
            row("what", "cardume", "other", "ratio", "target", "")
            ran = {}
            for letter in sorted(sections, key=lambda letter: (letter.isupper(), letter)):
                first, load = len(ROWS), os.getloadavg()[0]
                try:
                    getattr(bench, letter)()
                except Trouble as error:
                    failed = True
                    row(f"{letter}. {NAMES[letter]}", "-", good=f"came to nothing: {error}")
                place.end_but(bench.server, bench.nginx)
                ran[letter] = {"load_before": round(load, 2), "rows": ROWS[first:]}
            fell_short(ROWS)
            if target:
                words = [word for word in sys.argv[2:] if word not in ("--json", target)]
                write(target, told_of(ran, told, words, bench.runs))
            return 1 if failed else 0
    except Trouble as error:
        print(f"the benchmark can't go on: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
