"""Engines that speak nonsense, answer late, are too old or are replicas; keys of other programs; clocks that differ."""

import contextlib
import heapq
import os
import random
import select
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

from servers import Peer, UNAVAILABLE, World, ask, say, until

INFO = ("# Server\r\nredis_version:{version}\r\nmaxmemory_policy:noeviction\r\nrole:master\r\n"
        "master_replid:0123456789abcdef0123456789abcdef01234567\r\ncluster_enabled:0\r\n")


def found(server, name):
    """The ports of the providers, or `unavailable`."""
    return ask(server.client(), {"method": "SEARCH", "name": name})


class Relay(threading.Thread):
    """Stands between a server and an engine, and passes bytes on: at once, late, or with nonsense among the replies."""

    NONSENSE = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*99999999999999999999\r\n", b":1x\r\n", b"$3\r\nabcdef\r\n", b"$-5\r\n", b"\0\xff\r\n", b"+\n"]

    def __init__(self, port):
        super().__init__(daemon=True)
        self.engine_port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        # Seconds of delay, and the part of the replies that has nonsense before.
        self.late, self.nonsense = 0.0, 0.0
        self.dice, self.over = random.Random(5), threading.Event()
        self.pairs, self.waiting, self.number = {}, [], 0
        self.start()

    def run(self):
        while not self.over.is_set():
            ready, _, _ = select.select([self.listener, *self.pairs], [], [], 0.01)
            for link in ready:
                if link is self.listener:
                    self.accept()
                elif link in self.pairs:
                    self.read(link)
            while self.waiting and self.waiting[0][0] <= time.monotonic():
                _, _, to, data, link = heapq.heappop(self.waiting)
                try:
                    to.sendall(data)
                except OSError:
                    data = b""
                if not data:
                    for one in (to, link):
                        self.pairs.pop(one, None)
                        one.close()

    def accept(self):
        near, _ = self.listener.accept()
        far = socket.create_connection(("127.0.0.1", self.engine_port), timeout=5)
        self.pairs[near], self.pairs[far] = (far, False), (near, True)

    def read(self, link):
        other, is_reply = self.pairs[link]
        try:
            data = link.recv(1 << 16)
        except OSError:
            data = b""
        if is_reply and data and self.dice.random() < self.nonsense:
            data = self.dice.choice(self.NONSENSE) + data
        self.number += 1
        at = time.monotonic() + (self.late if is_reply else 0)
        heapq.heappush(self.waiting, (at, self.number, other, data, link))


def spoken(world, text):
    """The exit code and the words of a server whose engine says this to INFO."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        link, _ = listener.accept()
        # The server closes the connection as soon as it has read the version.
        with link, contextlib.suppress(OSError):
            while data := link.recv(1 << 16):
                for word in data.split(b"\r\n"):
                    if word == b"INFO":
                        link.sendall(b"$%d\r\n%s\r\n" % (len(text), text.encode()))
                    elif word in (b"CLIENT", b"CONFIG"):
                        link.sendall(b"+OK\r\n")

    threading.Thread(target=answer, daemon=True).start()
    return world.refused(f"redis://127.0.0.1:{listener.getsockname()[1]}")


def refused_engines(world):
    """Engines that are no engine for an index: each has its reason."""
    for version in ("6.2.14", "5.0.0", "new"):
        code, text = spoken(world, INFO.format(version=version))
        assert code == 7 and "older than Redis 7.0" in text, (version, code, text)
    engine = world.engines.single()
    replica = world.engines.single("--replicaof", "127.0.0.1", str(engine.nodes[0].port))
    code, text = world.refused(replica.url())
    assert code == 7 and "is a replica" in text, (code, text)
    replica.stop()
    return engine


def bad_replies(world, engine):
    """Nonsense, and replies later than half the time of a failover: never a wrong empty answer."""
    relay = Relay(engine.nodes[0].port)
    server, plain = world.server(f"redis://127.0.0.1:{relay.port}"), world.server(engine.url())
    for one in (server, plain):
        until(20, lambda: found(one, "x") == [], "certain emptiness")
    peer = Peer(plain, 4001)
    names = [f"aula {number}.mp4" for number in range(200)]
    peer.join([{"name": name, "size": 1} for name in names])
    until(5, lambda: server.client().many(names) == [[4001]] * len(names), "all names by way of the relay")
    counts = {"found": 0, UNAVAILABLE: 0}
    for text, late, nonsense in (("nonsense", 0.0, 0.05), ("late", 1.5, 0.0)):
        relay.late, relay.nonsense = late, nonsense
        end = time.monotonic() + 6
        while time.monotonic() < end:
            for name, answer in zip(names, server.client().many(names)):
                assert answer in ([4001], UNAVAILABLE), f"replies are {text}: {name} is {answer}"
                counts["found" if answer == [4001] else UNAVAILABLE] += 1
            peer.client.ask({"method": "PING"})
        relay.late, relay.nonsense = 0.0, 0.0
        until(10, lambda: server.client().many(names) == [[4001]] * len(names), f"all names after replies that were {text}")
        assert server.process.poll() is None
    say(f"  nonsense and late replies: {counts['found']} answers right, {counts[UNAVAILABLE]} unavailable, none wrong")
    assert min(counts.values()) > 0, counts
    peer.close()
    server.stop(signal.SIGTERM)
    plain.stop(signal.SIGTERM)
    relay.over.set()


def other_keys(world):
    """Keys of another program: the server says what to do, and a prefix keeps both apart."""
    engine = world.engines.single()
    node = engine.nodes[0]
    theirs = [("c:servers", "text"), ("c:epoch", "a word"), *((f"{kind}:{{{number}}}", "text") for kind in "xv" for number in range(8))]
    for key, value in theirs:
        node.cli("set", key, value)
    lost = world.server(engine.url())
    end = time.monotonic() + 4
    while time.monotonic() < end:
        assert found(lost, "x") == UNAVAILABLE
        time.sleep(0.1)
    until(5, lambda: "--index-prefix" in open(lost.log).read(), "a word about --index-prefix")
    lost.stop(signal.SIGKILL)
    one, other = world.server(engine.url(), words=("--index-prefix", "videos:")), world.server(engine.url(), words=("--index-prefix", "films:"))
    for server in (one, other):
        until(20, lambda: found(server, "x") == [], "certain emptiness with a prefix")
    peer = Peer(one, 4001)
    peer.join([{"name": "a.mp4", "size": 1}])
    assert found(one, "a.mp4") == [4001] and found(other, "a.mp4") == []
    for key, value in theirs:
        assert node.cli("get", key).strip() == value, key
    keys = node.cli("--scan").split()
    # The server without a prefix has proposed a secret.
    known = {"c:secret", *dict(theirs)}
    strange = [key for key in keys if not key.startswith(("videos:", "films:")) and key not in known]
    assert "c:servers" in keys and not strange, strange
    peer.close()


def other_clocks(world):
    """A server whose clock is a year ahead: servers count, and compare no clocks."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-T", "--fork", "--monotonic", "9", "true"], capture_output=True).returncode:
        say("  skipped: clocks that differ, as this machine has no time namespaces")
        return
    engine = world.engines.single()
    ahead = ["unshare", "-T", "--fork", "--kill-child", "--monotonic", "31536000", "--boottime", "31536000"]
    if shutil.which("faketime"):
        ahead += ["faketime", "+1 year"]
    program = os.path.join(world.place, "ahead")
    with open(program, "w") as file:
        file.write(f'#!/bin/sh\nexec {" ".join(ahead)} {world.program} "$@"\n')
    os.chmod(program, stat.S_IRWXU)
    there = World(program, os.path.join(world.place, "there"), world.engines)
    near, far = world.server(engine.url()), there.server(engine.url())
    world.processes += there.processes
    for server in (near, far):
        until(20, lambda: found(server, "x") == [], "certain emptiness")
    peers = [Peer(near, 4001), Peer(far, 4002)]
    for peer in peers:
        peer.join([{"name": "zeit.mp4", "size": 1}])
    end = time.monotonic() + 8
    while time.monotonic() < end:
        for server in (near, far):
            assert sorted(found(server, "zeit.mp4")) == [4001, 4002], "a server counts as dead by its clock"
        time.sleep(0.2)
        for peer in peers:
            peer.client.ask({"method": "PING"})
    far.stop(signal.SIGKILL)
    took = until(9, lambda: found(near, "zeit.mp4") == [4001], "members of a killed server")
    say(f"  a server a year ahead is killed: its members are invisible after {took:.1f} s")
    peers[0].close()


def check(world, _is_short):
    engine = refused_engines(world)
    bad_replies(world, engine)
    other_keys(world)
    other_clocks(world)
