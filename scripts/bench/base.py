"""Common parts of the benchmark sections: programs, files and the table."""

import json
import os
import re
import shlex
import shutil
import socket
import statistics
import subprocess
import threading
import time

from tools import MIB, Trouble, random_file, status

NGINX = """
{user}worker_processes 1;
{limit}daemon off;
pid {place}/nginx.pid;
error_log {place}/nginx.log;
events {{ worker_connections {connections}; }}
http {{
    sendfile on;
    access_log off;
    client_body_temp_path {place}/nginx-body;
    proxy_temp_path {place}/nginx-proxy;
    fastcgi_temp_path {place}/nginx-fastcgi;
    uwsgi_temp_path {place}/nginx-uwsgi;
    scgi_temp_path {place}/nginx-scgi;
    server {{
        listen 127.0.0.1:{port}{listen};
{settings}        root {files};
    }}
}}
"""

TURNS = re.compile(r"(\d+) iterations, p50 (\S+), p99 (\S+), longest (\S+)")
UNITS = {"ns": 1e-6, "µs": 1e-3, "ms": 1.0, "s": 1e3}


MEMORY = "/dev/shm"
CROWD = 64  # downloads at once
ROWS = []  # printed rows, for --json
FIGURE = re.compile(r"([\d.,]+) (MiB/s|MB/s|GiB/s|/s|MiB|KiB|KB|GiB|MB|ns|us|ms|s)")


def figure(text):
    """A cell of the table as number and unit; other cells as text."""
    found = FIGURE.fullmatch(text)
    return {"text": text, "value": float(found[1].replace(",", "")), "unit": found[2]} if found else {"text": text}


def row(name, ours, other="-", ratio="-", target="-", good="-"):
    if name != "what":
        cells = {"cardume": ours, "other": other, "ratio": ratio, "target": target}
        ROWS.append({"name": name, "verdict": good, **{key: figure(text) for key, text in cells.items() if text != "-"}})
    print(f"{name:<38} | {ours:>20} | {other:>22} | {ratio:>6} | {target:>10} | {good}", flush=True)


def judged(good):
    return "PASS" if good else "short"


def show(*commands):
    """Command lines timed together."""
    print(f"  $ {' && '.join(map(shlex.join, commands))}", flush=True)


def timed(command):
    """Runs a command and returns its time in seconds."""
    began = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    took = time.monotonic() - began
    if done.returncode:
        raise Trouble(f"{shlex.join(command)} ended with code {done.returncode}: {done.stderr.decode().strip()}")
    return took


def medians(runs):
    """The median of each column."""
    return [statistics.median(column) for column in zip(*runs)]


def warmed(folder, size):
    """Writes a file of this size and removes it: the next program there finds memory that the host has given already."""
    path, block = os.path.join(folder, "warm"), bytes(8 * MIB)
    with open(path, "wb", buffering=0) as file:
        for _ in range(size // len(block)):
            file.write(block)
    os.remove(path)
    os.sync()


def emptied(folder):
    """Empties the folder and waits until the disk is idle."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    os.sync()
    return folder


def milliseconds(text):
    """Parses the `{:?}` output of a Rust Duration."""
    number, unit = re.fullmatch(r"([\d.]+)(\D+)", text).groups()
    return float(number) * UNITS[unit]


def crowd(command, count):
    """Runs a command `count` times at once and returns the times from the common start."""
    began = time.monotonic()
    running = {p.pid: p for p in (subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for _ in range(count))}
    finished = []
    try:
        # Record processes in order of exit: waitid with WNOWAIT leaves the exit code to the owner.
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
    """The peak private memory of a process within the block, in KiB."""

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


class Base:
    def __init__(self, cardume, place, quick, size=None):
        self.cardume, self.place, self.quick = cardume, place, quick
        self.size = size  # of the file in section A
        self.runs = 3 if quick else 5
        self.files = place.folder("files")
        self.big = 512 * MIB if quick else 2048 * MIB
        self.each = 64 * MIB if quick else 256 * MIB
        self.turns = []  # (section, who, line)
        self.server = place.server(cardume)
        self.nginx = None
        self.hashes = self.knows("hash")  # older programs have no roots

    def example(self, name):
        """A program of examples/, which run.sh builds beside the others."""
        program = os.path.join(os.path.dirname(self.cardume), "examples", name)
        if not os.path.exists(program):
            raise Trouble(f"there is no {program}: cargo build --release --example {name}")
        return program

    def unencrypted(self):
        """A server that is open: its peers meet without encryption, as the other programs do here."""
        return self.place.server(self.cardume, "--open")

    def url_of(self, address, data):
        """The address of a server with its key: connections to that go by TLS."""
        command = [self.cardume, "server", "url", address, "--data", data]
        return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.strip()

    def knows(self, *words):
        """True when the program accepts these words; `--help` succeeds only after valid words."""
        return not subprocess.run([self.cardume, *words, "--help"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

    def file(self, name, size, folder=None):
        """A file of random bytes, created once, in the page cache."""
        path = os.path.join(folder or self.files, name)
        if not os.path.exists(path):
            random_file(path, size)
            os.sync()  # pending writes must not disturb the measurement
        return path

    def sparse(self, name, size, folder):
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.truncate(size)
        return path

    def theirs(self, name):
        """The URL of a file at nginx, which is started on the first call."""
        if not self.nginx:
            self.nginx = self.start_nginx(self.place.path)
        return f"http://127.0.0.1:{self.nginx.port}/{name}"

    def start_nginx(self, folder, listen="", settings="", connections=None):
        """nginx with its state below `folder`. `listen` and `settings` go into its configuration."""
        limit = f"worker_rlimit_nofile {connections + 1000};\n" if connections else ""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = os.path.join(folder, "nginx.conf")
        # Run by root, nginx would switch to a user without access to the folder.
        user = "user root;\n" if os.geteuid() == 0 else ""
        with open(config, "w") as file:
            file.write(NGINX.format(user=user, limit=limit, connections=connections or 1024, place=folder, files=self.files, port=port,
                                    listen=listen, settings=settings))
        nginx = self.place.start(["nginx", "-p", folder, "-c", config])
        nginx.port = port
        for _ in range(500):
            if nginx.process.poll() is not None:
                raise Trouble(f"nginx did not start: {nginx.lines}")
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return nginx
            except ConnectionRefusedError:
                time.sleep(0.01)  # nginx prints nothing when ready
        raise Trouble("nginx did not start")

    @staticmethod
    def worker_of(nginx):
        with open(f"/proc/{nginx.pid}/task/{nginx.pid}/children") as file:
            return int(file.read().split()[0])

    def peer(self, folder=None, *options, **how):
        """A new peer, so that its iteration times belong to one section."""
        return self.place.peer(self.cardume, self.server.address, folder or self.files, *options, info=True, **how)

    def holders(self, name, server=None):
        """The output of `cardume search`."""
        done = subprocess.run([self.cardume, "search", name, "--server", (server or self.server).address, "--json"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
        return [line for line in lines if "peer" in line]

    def settled(self, name, count=1, patience=120.0, server=None):
        """Waits until exactly `count` providers of a file are listed, all with a root."""
        until = time.monotonic() + patience
        while True:
            found = self.holders(name, server)
            if len(found) == count and (not self.hashes or all(one.get("root") for one in found)):
                return found
            if time.monotonic() > until:
                raise Trouble(f"after {patience:.0f} s, {count} holders of {name} with a root were still to come: {found}")
            time.sleep(0.05)

    def hashed_peer(self, folder=None):
        """A peer with all files hashed."""
        peer = self.peer(folder)
        for name in sorted(os.listdir(folder or self.files)):
            self.settled(name)
        return peer

    def get(self, name, folder, *options):
        """The command line of a download through the index."""
        return [self.cardume, "get", name, "--server", self.server.address, "--folder", folder, *options]

    def fetch(self, command, section=None, patience=300.0):
        """Runs `cardume get` and returns its time in seconds. Its iteration times are kept for the section."""
        began = time.monotonic()
        get = self.place.start(command, info=True)
        code = get.ended(patience)
        took = time.monotonic() - began
        if code:
            raise Trouble(f"{shlex.join(command)} ended with code {code}: {get.lines}")
        if section:
            self.note_turns(section, "getter", get)
        return took

    def same(self, one, other):
        if subprocess.run(["cmp", "-s", one, other]).returncode:
            raise Trouble(f"{one} is another file than {other}")

    def end(self, section, who, *peers):
        for peer in peers:
            if peer.process.poll() is None:
                peer.process.terminate()
        for peer in peers:
            peer.end()
            self.note_turns(section, who, peer)

    def note_turns(self, section, who, program):
        found = [line.split("] ")[-1] for line in program.lines if line and TURNS.search(line)]
        self.turns.append((section, who, found[-1] if found else None))

    def compare(self, name, pairs, size, target):
        ours, theirs = medians(pairs)
        ratio = theirs / ours
        rate = lambda took: f"{size / MIB / took:.0f} MiB/s"
        row(name, rate(ours), rate(theirs), f"{ratio:.2f}", f">= {target}" if target else "-", judged(ratio >= target) if target else "-")
