#!/usr/bin/env python3
"""Side by side with nginx and curl. See run.sh.

Usage: bench.py CARDUME [--quick] [a] [b] [c] [d] [e]
"""

import os
import platform
import shlex
import socket
import statistics
import subprocess
import sys
import threading
import time

from throttle import SlowDisk, forget
from tools import MIB, Client, Place, Trouble, quantile, random_file, status

SLOW_RATE = 80 * MIB
CROWD = 64
MEMORY_KIB = 16 * 1024 + 64 * CROWD

NGINX = """
{user}worker_processes 1;
daemon off;
pid {place}/nginx.pid;
error_log {place}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    sendfile on;
    access_log off;
    client_body_temp_path {place}/nginx-body;
    proxy_temp_path {place}/nginx-proxy;
    fastcgi_temp_path {place}/nginx-fastcgi;
    uwsgi_temp_path {place}/nginx-uwsgi;
    scgi_temp_path {place}/nginx-scgi;
    server {{
        listen 127.0.0.1:{port};
        root {files};
    }}
}}
"""


def row(name, ours, other, ratio, target, good):
    print(f"{name:<34} | {ours:>18} | {other:>22} | {ratio:>6} | {target:>8} | {good}", flush=True)


def judged(good):
    return "ok" if good else "SHORT"


def show(command):
    print(f"  $ {shlex.join(command)}", flush=True)


def timed(command):
    """Runs a command to its end; how many seconds it took."""
    began = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    took = time.monotonic() - began
    if done.returncode:
        raise Trouble(f"{shlex.join(command)} ended with code {done.returncode}: {done.stderr.decode().strip()}")
    return took


def crowd(command, count):
    """Runs a command `count` times at once; the finishing times, counted from the common start."""
    began = time.monotonic()
    running = {p.pid: p for p in (subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for _ in range(count))}
    finished = []
    try:
        # Whoever ends first is noted first: waitid tells without taking the exit code from its owner.
        while running:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            if ended.si_pid not in running:
                raise Trouble("a server ended in the middle of the run")
            finished.append(time.monotonic() - began)
            if running.pop(ended.si_pid).wait():
                raise Trouble(f"{shlex.join(command)} failed with 64 at once")
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    return finished


class Memory:
    """The most private memory that a process had while this was open, in KiB."""

    def __init__(self, pid):
        self.pid, self.peak, self.over = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self):
        while not self.over.wait(0.02):
            self.peak = max(self.peak, status(self.pid).get("RssAnon", 0))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


class Bench:
    def __init__(self, cardume, place, quick):
        self.cardume, self.place, self.quick = cardume, place, quick
        self.runs = 3 if quick else 5
        self.files = place.folder("files")
        self.big = 512 * MIB if quick else 2048 * MIB
        self.each = 64 * MIB if quick else 256 * MIB
        self.turns = []
        self.server = self.nginx = None

    def prepare(self, sections):
        wanted = {"ac": [("big.bin", self.big)], "b": [("each.bin", self.each)]}
        for letters, files in wanted.items():
            for name, size in files if set(letters) & sections else ():
                random_file(os.path.join(self.files, name), size)
        os.sync()  # what we wrote just now must not be in the way of what is measured
        self.server = self.place.server(self.cardume)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = os.path.join(self.place.path, "nginx.conf")
        # As root, nginx would work as somebody who may not read our folder.
        user = "user root;\n" if os.geteuid() == 0 else ""
        with open(config, "w") as file:
            file.write(NGINX.format(user=user, place=self.place.path, files=self.files, port=port))
        self.nginx = self.place.start(["nginx", "-p", self.place.path, "-c", config])
        self.theirs = f"http://127.0.0.1:{port}"
        for _ in range(500):
            if self.nginx.process.poll() is not None:
                raise Trouble(f"nginx did not start: {self.nginx.lines}")
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.01)  # it says nothing when it is ready
        else:
            raise Trouble("nginx did not start")

    def nginx_worker(self):
        with open(f"/proc/{self.nginx.pid}/task/{self.nginx.pid}/children") as file:
            return int(file.read().split()[0])

    def peer(self, folder=None):
        """A fresh peer, so that the times of its turns belong to one section."""
        return self.place.peer(self.cardume, self.server.address, folder or self.files, info=True)

    def end(self, peer, what):
        peer.end()
        self.note_turns(what, [line for line in peer.lines if line])

    def note_turns(self, what, lines):
        found = [line.split("] ")[-1] for line in lines if " turns, p50 " in line]
        self.turns.append((what, found[-1] if found else "it printed none"))

    def a(self):
        peer = self.peer()
        command = lambda base: ["curl", "-sS", "-o", "/dev/null", base]
        ours, theirs = command(f"http://{peer.address}/files/big.bin"), command(f"{self.theirs}/big.bin")
        show(ours)
        show(theirs)
        timed(ours), timed(theirs)  # everything in memory
        pairs = [(timed(ours), timed(theirs)) for _ in range(self.runs)]
        self.compare(f"a. {self.big // MIB} MiB from memory", pairs, self.big, 1.3)
        self.end(peer, "a, the peer")

    def compare(self, name, pairs, size, target):
        ours, theirs = (statistics.median(side) for side in zip(*pairs))
        ratio = theirs / ours
        rate = lambda took: f"{size / MIB / took:.0f} MiB/s"
        row(name, rate(ours), rate(theirs), f"{ratio:.2f}", f">= {target}" if target else "-", judged(ratio >= target) if target else "-")

    def b(self):
        peer = self.peer()
        command = lambda base: ["curl", "-sS", "-o", "/dev/null", base]
        ours, theirs = command(f"http://{peer.address}/files/each.bin"), command(f"{self.theirs}/each.bin")
        for one in (ours, theirs):
            print(f"  {CROWD} at once:")
            show(one)
        timed(ours), timed(theirs)
        pairs, spreads, memories = [], [], []
        for _ in range(self.runs):
            results = []
            for one, pid in ((ours, peer.pid), (theirs, self.nginx_worker())):
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
        peer.end()

    def c(self):
        peer = self.peer()
        target = self.place.folder("downloads")
        file = os.path.join(target, "big.bin")
        ours = [self.cardume, "get", "big.bin", "--from", peer.address, "--folder", target]
        theirs = ["curl", "-sS", "-o", file, f"{self.theirs}/big.bin"]
        show(ours)
        show(theirs)
        show(["sync", file])

        def fresh():
            if os.path.exists(file):
                os.remove(file)
            os.sync()  # each run begins with a disk that has nothing else to do

        plain, synced = [], []
        for _ in range(self.runs):
            fresh()
            began = time.monotonic()
            get = self.place.start(ours, info=True)
            if get.ended(300):
                raise Trouble(f"{shlex.join(ours)} failed: {get.lines}")
            took = time.monotonic() - began
            if subprocess.run(["cmp", "-s", file, os.path.join(self.files, "big.bin")]).returncode:
                raise Trouble("the file that came is another one")
            fresh()
            curl = timed(theirs)
            plain.append((took, curl))
            synced.append((took, curl + timed(["sync", file])))
        fresh()
        self.compare(f"c. {self.big // MIB} MiB to disk, curl", plain, self.big, 1.5)
        self.compare("c. the same, curl and then sync", synced, self.big, None)
        self.end(peer, "c, the peer that gives")
        self.note_turns("c, the last get", [line for line in get.lines if line])

    def d(self):
        name = "d. PING, p99, slow disk"
        folder = self.place.folder("cold")
        size = (32 if self.quick else 160) * MIB
        paths = [os.path.join(folder, f"cold-{n}.bin") for n in range(4)]
        try:
            with SlowDisk(folder, SLOW_RATE) as slow:
                for path in paths:
                    random_file(path, size)
                    forget(path)
                peer = self.peer(folder)
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
                peer.end()
                self.note_turns("d, the peer", [line for line in peer.lines if line])
                rate = 4 * size / took
                print(f"  4 cold uploads of {size // MIB} MiB in {took:.1f} s: {rate / MIB:.0f} MiB/s, {len(times)} PINGs, longest {max(times) * 1e3:.1f} ms")
                if rate > 1.5 * SLOW_RATE:
                    raise Trouble("the limit has no effect, the files came faster than that")
                p99 = quantile(times, 0.99) * 1e3
                row(name, f"{p99:.2f} ms", "-", "-", "<= 10 ms", judged(p99 <= 10))
        except Trouble as error:
            row(name, "-", "-", "-", "<= 10 ms", f"not possible here: {error}")

    def e(self):
        for what, line in self.turns:
            print(f"e. turns, {what}: {line}")


def first_line(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.strip().splitlines()[0]


def machine(cardume, place):
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    kind = first_line(["stat", "-f", "-c", "%T", place.path])
    print(f"machine: {len(os.sched_getaffinity(0))} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}, files on {kind}")
    print(f"load before: {os.getloadavg()[0]:.2f}")
    for command in ([cardume, "--version"], ["nginx", "-v"], ["curl", "--version"]):
        print(f"{os.path.basename(command[0])}: {first_line(command)}")
    print("nginx: one worker, sendfile on, access_log off; all else as it comes")


def main():
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= {"--quick", *"abcde"}:
        print(__doc__, file=sys.stderr)
        return 2
    cardume, quick = sys.argv[1], "--quick" in sys.argv
    sections = set(sys.argv[2:]) - {"--quick"} or set("abcde")
    if sections == {"e"}:
        sections = set("ace")
    try:
        with Place() as place:
            bench = Bench(cardume, place, quick)
            machine(cardume, place)
            print(f"medians of {bench.runs} alternating runs\n", flush=True)
            bench.prepare(sections)
            row("what", "cardume", "other", "ratio", "target", "")
            for letter in sorted(sections):
                getattr(bench, letter)()
            return 0
    except Trouble as error:
        print(f"the benchmark can't go on: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
