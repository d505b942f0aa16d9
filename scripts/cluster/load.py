"""Peers with many files at all servers, and readers that judge each answer."""

import os
import threading
import time

from servers import Client

# A slow machine takes less: CARDUME_LOAD=12x500.
PEERS, FILES = map(int, os.environ.get("CARDUME_LOAD", "60x5000").split("x"))
# Each name has three holders, one at each of three servers.
HOLDERS = 3
NAMES = PEERS * FILES // HOLDERS
BATCH = 64
# A server drops a peer that is silent for 50 s.
PING_EVERY = 10
# The readers leave the processor to the engines and servers that are checked.
PAUSE = 0.02


def name_of(number):
    return f"video {number % NAMES}.mp4"


class LoadPeer:
    """A peer. After the end of its server it goes to the next server."""

    def __init__(self, port, names, servers):
        self.port, self.names, self.servers = port, names, servers
        self.client = self.session = self.server = None

    def join(self, patience=30):
        """Join at the first server that takes the peer."""
        end = time.monotonic() + patience
        why = None
        while time.monotonic() < end:
            for server in self.servers:
                if server.process.poll() is not None:
                    continue
                try:
                    client = Client(server.address)
                    head = {"method": "JOIN", "port": self.port,
                            "files": [{"name": name, "size": 5} for name in self.names]}
                    if self.session:
                        head["session"] = self.session
                    answer = client.ask(head)
                except (OSError, AssertionError) as error:
                    why = error
                    continue
                if "error" not in answer:
                    self.client, self.session, self.server = client, answer["session"], server
                    return
                why = answer["error"]
                client.close()
            time.sleep(0.1)
        raise AssertionError(f"peer {self.port} can't join: {why}")

    def close(self):
        if self.client:
            self.client.close()
            self.client = None


class Pings(threading.Thread):
    """Signs of life of all peers. The few answers wait in the socket, and are never read."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peers = []

    def run(self):
        while True:
            time.sleep(PING_EVERY)
            for client in [peer.client for peer in self.peers if peer.client]:
                client.ping()


class Reader(threading.Thread):
    """Searches at a server all the time. Every name has a holder, so an empty answer is wrong."""

    def __init__(self, server, load):
        super().__init__(daemon=True)
        self.server, self.load = server, load
        self.over = threading.Event()
        self.client, self.at = None, 0
        self.answers = 0
        self.wrong, self.failed, self.few, self.took, self.odd = [], [], [], [], []

    def run(self):
        while not self.over.is_set():
            try:
                if self.client is None:
                    self.client = Client(self.server.address)
                self.batch()
            except (OSError, AssertionError, ValueError, KeyError) as error:
                if isinstance(error, AssertionError) and "closed" not in str(error):
                    self.odd.append((time.monotonic(), str(error)))
                self.client = None
                time.sleep(0.05)
            time.sleep(PAUSE)

    def batch(self):
        self.at += 7_919  # a prime: all names in turn, spread over all slots
        names = [name_of(self.at + step * 1_543) for step in range(BATCH)]
        began = time.monotonic()
        answers = self.client.many(names)
        now = time.monotonic()
        self.took.append((now, now - began))
        for name, answer in zip(names, answers):
            self.answers += 1
            if answer == []:
                self.wrong.append((began, name))
            elif isinstance(answer, str):
                self.failed.append((now, name, answer))
            elif len(answer) < HOLDERS:
                self.few.append((now, name))


class Load:
    def __init__(self, servers):
        self.servers = servers
        self.peers = []
        for number in range(PEERS):
            names = [name_of(number * FILES + step) for step in range(FILES)]
            turn = number // (PEERS // HOLDERS) % len(servers)
            order = servers[turn:] + servers[:turn]
            self.peers.append(LoadPeer(10_001 + number, names, order))
        self.readers = []
        self.pings = Pings()
        self.pings.peers = list(self.peers)
        self.pings.start()

    def join(self):
        began = time.monotonic()
        for peer in self.peers:
            peer.join()
        return time.monotonic() - began

    def read(self, *more):
        for server in [*self.servers, *more]:
            self.add_reader(server)

    def add_reader(self, server):
        reader = Reader(server, self)
        self.readers.append(reader)
        reader.start()

    def stop(self):
        for reader in self.readers:
            reader.over.set()
        for reader in self.readers:
            reader.join(10)

    def close(self):
        self.stop()
        for peer in self.peers:
            peer.close()

    def all_of(self, what, since):
        return [event for reader in self.readers for event in getattr(reader, what) if event[0] >= since]

    def wrong(self, since=0):
        return len(self.all_of("wrong", since)) + len(self.all_of("odd", since))

    def failures(self, since):
        """For each name that failed: the first and the last time."""
        spans = {}
        for at, name, _ in sorted(self.all_of("failed", since)):
            first, _ = spans.get(name, (at, at))
            spans[name] = (first, at)
        return spans

    def span(self, what, since):
        """The time from the first to the last event, of all readers."""
        times = [event[0] for event in self.all_of(what, since)]
        return max(times) - min(times) if times else 0.0

    def blind(self, since):
        return self.span("failed", since)

    def p99(self, since, until=None):
        took = sorted(span for at, span in self.all_of("took", since) if until is None or at <= until)
        return took[int(len(took) * 0.99)] if took else 0.0

    def whole(self, seconds, servers, names=None, holders=HOLDERS):
        """Wait until these servers know all holders of these names; the time since the call."""
        began = time.monotonic()
        names = names or [name_of(number * 41) for number in range(2_000)]
        clients = {}
        missing = "nothing was asked"
        while time.monotonic() < began + seconds:
            missing = None
            for server in servers:
                try:
                    if server not in clients:
                        clients[server] = Client(server.address)
                    answers = clients[server].many(names)
                except (OSError, AssertionError) as error:
                    missing = error
                    clients.pop(server, None)
                    break
                for name, answer in zip(names, answers):
                    if isinstance(answer, str) or len(answer) != holders:
                        missing = f"{name} at {server.address}: {answer}"
                        break
                if missing:
                    break
            if missing is None:
                return time.monotonic() - began
            time.sleep(0.05)
        print(f"  not whole: {missing}", flush=True)
        return seconds
