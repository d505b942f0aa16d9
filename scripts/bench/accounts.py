"""Accounts: the rate of durable operations, the start time of a large store, and the size of the log."""

import json
import os
import shutil
import socket
import subprocess
import threading
import time

from base import Base, judged, medians, row
from tools import MIB, Client, Trouble, quantile

LINKS = 64
JOINED = 5_000
USERS, PUBLICATIONS = 100_000, 1_000_000
IN_A_ROW = 400_000


def name_of(number):
    return f"joined-{number:05}.mp4"


class Beside:
    """Runs a peer with some thousand files, and a client that searches for them 500 times a second."""

    def __init__(self, address):
        self.peer, self.asker = Client(address), Client(address)
        files = [{"name": name_of(number), "size": 1} for number in range(JOINED)]
        self.peer.socket.sendall(json.dumps({"id": 0, "method": "JOIN", "port": 4001, "files": files}).encode() + b"\n")
        if b"JOIN_OK" not in self.peer._lines(1)[0]:
            raise Trouble("the peer beside can't join")
        self.over, self.fault = threading.Event(), None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            self.asker.ask_until(self.over.is_set, 0.002, lambda number: {"method": "SEARCH", "name": name_of(number % JOINED)}, self._check)
        except (OSError, Trouble, ValueError) as error:
            self.fault = error

    def _check(self, answer):
        if not answer.get("holders"):
            raise Trouble(f"a SEARCH under load found nobody: {answer}")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.peer.close()
        self.asker.close()

    def times(self):
        if self.fault:
            raise Trouble(str(self.fault))
        return self.asker.times


def synced(folder, count=200):
    """The median time of appending and syncing a page, in milliseconds."""
    path, times = os.path.join(folder, "synced"), []
    with open(path, "wb", buffering=0) as file:
        for _ in range(count):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    os.unlink(path)
    return quantile(times, 0.5) * 1e3


class Accounts(Base):
    def load(self, *words):
        """The output of `examples/accounts_load.rs`."""
        program = os.path.join(os.path.dirname(os.path.abspath(self.cardume)), "examples", "accounts_load")
        done = subprocess.run([program, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise Trouble(f"accounts_load {words[0]}: {done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout else None

    def keeper(self, folder):
        """A server with its accounts in `folder`."""
        command = [self.cardume, "server", "--listen", "127.0.0.1:0", "--data", folder]
        program = self.place.start(command, info=True)
        program.began = time.monotonic()
        program.address = program.wait_for("listening on ").rsplit(" ", 1)[1]
        return program

    def l(self):
        """Durable operations of many connections against those of a single connection."""
        folder = self.place.folder("accounts")
        print(f"  this disk keeps a page in {synced(folder):.2f} ms")
        server = self.keeper(folder)
        for word in ("PUBLISH", "REGISTER"):
            runs, searches = [], []
            for _ in range(self.runs):
                with Beside(server.address) as beside:
                    alone = self.load("work", server.address, word, 1, 1, 3_000, 1.0)
                    before = len(beside.asker.times)
                    many = self.load("work", server.address, word, LINKS, 1, 30_000, 1.5)
                searches += beside.times()[before:]
                runs.append((alone["rate"], many["rate"], alone["p50_ms"], many["p50_ms"], many["p99_ms"]))
            one, all_, one_ms, many_ms, p99 = medians(runs)
            print(f"  one alone waits {one_ms:.2f} ms for an answer that lasts; one of {LINKS} {many_ms:.2f} ms, p99 {p99:.2f} ms")
            row(f"l. {word}, {LINKS} links, 1 link", f"{all_:.0f} /s", f"{one:.0f} /s", f"{all_ / one:.1f}", ">= 10", judged(all_ >= 10 * one))
            p99 = quantile(searches, 0.99) * 1e3
            row("l. SEARCH meanwhile, p99", f"{p99:.2f} ms", "-", "-", "<= 5 ms", judged(p99 <= 5))
        self.end("l", "server", server)
        shutil.rmtree(folder)

    def m(self):
        """The start of a server with a large store."""
        folder = self.place.folder("accounts")
        self.load("fill", folder, USERS, PUBLICATIONS)
        # Publication N belongs to user N % USERS; every second user is connected.
        last = PUBLICATIONS - 2
        exact = {"method": "SEARCH", "name": f"Cursos/aula de video {last:07}.mp4"}
        # An exact name is indexed on request; this name is indexed in order, among the last.
        words = {"method": "SEARCH", "text": f"video {last - 2:07}"}
        firsts, behinds = [], []
        for _ in range(3):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                address = f"127.0.0.1:{probe.getsockname()[1]}"
            began = time.monotonic()
            server = self.place.start([self.cardume, "server", "--listen", address, "--data", folder], info=True)
            client = self.reached(server, address)
            if not self.holders_of(client, exact):
                raise Trouble("the first exact answer is wrong")
            firsts.append(time.monotonic() - began)
            while not self.holders_of(client, words):
                if time.monotonic() - began > 120:
                    raise Trouble("what was published is not found by its words within two minutes")
                time.sleep(0.02)
            behinds.append(time.monotonic() - began)
            client.close()
            self.end("m", "server", server)
            print(f"  turns: {self.turns[-1][2]}")
        first, behind = (sorted(times)[1] for times in (firsts, behinds))
        row(f"m. {USERS} users, exact answer after", f"{first:.2f} s", "-", "-", "<= 1.5 s", judged(first <= 1.5))
        row(f"m. {PUBLICATIONS} files by words after", f"{behind:.2f} s")
        shutil.rmtree(folder)

    def reached(self, server, address):
        while True:
            try:
                return Client(address)
            except ConnectionRefusedError:
                if server.process.poll() is not None:
                    raise Trouble(f"the server did not start: {server.lines}") from None
                time.sleep(0.002)  # the line is printed only when true

    def holders_of(self, client, question):
        client.socket.sendall(json.dumps({"id": 1, **question}).encode() + b"\n")
        answer = json.loads(client._lines(1)[0])
        if "error" in answer:
            raise Trouble(f"a SEARCH was refused: {answer}")
        return answer["holders"]

    def n(self):
        """The log of very many publications in a row."""
        folder = self.place.folder("accounts")
        server = self.keeper(folder)
        log, peak, over = os.path.join(folder, "accounts.sqlite-wal"), 0, threading.Event()

        def watch():
            nonlocal peak
            while not over.wait(0.005):
                peak = max(peak, os.path.getsize(log))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            done = self.load("work", server.address, "PUBLISH", 4, 256, IN_A_ROW, 100.0)
        finally:
            over.set()
            watcher.join()
        if done["done"] < IN_A_ROW:
            raise Trouble(f"{done['done']} of {IN_A_ROW} within {done['seconds']:.0f} s")
        row(f"n. {IN_A_ROW} PUBLISHes in a row", f"{done['rate']:.0f} /s")
        row("n. most of the log meanwhile", f"{peak / MIB:.1f} MiB", "-", "-", "<= 64 MiB", judged(peak <= 64 * MIB))
        self.end("n", "server", server)
        print(f"  turns: {self.turns[-1][2]}")
        shutil.rmtree(folder)
