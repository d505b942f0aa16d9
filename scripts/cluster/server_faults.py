"""Faults of the servers, under load."""

import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from engine_faults import settled
from load import LoadPeer
from servers import UNAVAILABLE, Client, Peer

CUT_GROUP = 54_321
RULES = """table inet cut {{
  chain out {{
    type filter hook output priority 0;
    meta skgid {group} tcp dport {{ {ports} }} drop
  }}
}}
"""


def gone_after(server, name, bound):
    """The time until a name without other holders is certainly gone at another server."""
    began = time.monotonic()
    client = Client(server.address)
    while time.monotonic() < began + bound + 5:
        if client.many([name]) == [[]]:
            break
        time.sleep(0.01)
    return time.monotonic() - began


def ended_server(stage, number, bound):
    """A server ends; its peers go to the next server."""
    word = "SIGTERM" if number == signal.SIGTERM else "kill -9"
    fault = f"{word} of a server"
    extra = stage.world.server(stage.engine.url())
    stage.ready(extra)
    others = stage.servers
    count = 100 if number == signal.SIGKILL else 10
    files = 10_000 if number == signal.SIGKILL else 100
    peers = []
    for one in range(count):
        names = [f"{word} {one} {step}.mp4" for step in range(files)]
        order = [extra, *others[one % 3:], *others[:one % 3]]
        peers.append(LoadPeer(20_000 + one, names, order))
    stage.load.pings.peers += peers
    for peer in peers:
        peer.join()
    assert stage.load.whole(20, others, peers[-1].names[::100], holders=1) < 20, "the peers are not found"
    since = time.monotonic()
    extra.process.send_signal(number)
    took = gone_after(others[0], peers[0].names[0], bound)
    stage.table.row(fault, "its peers invisible", bound, took, "s")
    if number == signal.SIGTERM:
        extra.process.wait(timeout=5)
        stage.table.row(fault, "exit code", 0, extra.process.returncode)
    for peer in peers:
        peer.close()
    # All at once, as real peers do.
    with ThreadPoolExecutor(16) as together:
        list(together.map(LoadPeer.join, peers))
    sample = [name for peer in peers for name in peer.names[::100]]
    stage.load.whole(60, others, sample, holders=1)
    stage.table.row(fault, f"back elsewhere, {count} x {files:,} files", 20, time.monotonic() - since, "s")
    stage.table.row(fault, "wrongly empty answers", 0, stage.load.wrong(since))
    for peer in peers:
        peer.close()


def terminated_server(stage):
    # The handover takes up to an interval of the heartbeats: the worst of some.
    for _ in range(3):
        ended_server(stage, signal.SIGTERM, 0.5)


def killed_server(stage):
    ended_server(stage, signal.SIGKILL, 8)


class Paused:
    """A server that is stopped for a while, with two peers: one stays, and one moves on meanwhile."""

    def __init__(self, stage, seconds):
        self.stage, self.seconds = stage, seconds
        self.server = stage.world.server(stage.engine.url())
        stage.ready(self.server)
        self.stays, self.moves = Peer(self.server, 6_001 + seconds), Peer(self.server, 7_001 + seconds)
        self.stays.join([{"name": f"stays {seconds}.mp4", "size": 1}])
        self.moves.join([{"name": f"moves {seconds}.mp4", "size": 1}])
        stage.load.pings.peers.append(self.stays)
        self.epoch = self.server.epoch()
        self.began = time.monotonic()
        self.server.process.send_signal(signal.SIGSTOP)

    def move(self):
        """The second peer joins elsewhere, once its server counts as dead."""
        wait = self.began + 8 - time.monotonic()
        time.sleep(max(0, wait))
        self.moves.close()
        self.moved = Peer(self.stage.servers[0], self.moves.port)
        self.moved.join([{"name": f"moved {self.seconds}.mp4", "size": 1}], session=self.moves.session)
        self.stage.load.pings.peers.append(self.moved)

    def finish(self):
        stage, fault = self.stage, f"SIGSTOP of a server {self.seconds} s"
        time.sleep(max(0, self.began + self.seconds - time.monotonic()))
        self.server.process.send_signal(signal.SIGCONT)
        since = time.monotonic()
        stays, gone = f"stays {self.seconds}.mp4", f"moves {self.seconds}.mp4"
        reader = Client(stage.servers[1].address)
        last_ghost, back = 0.0, None
        while time.monotonic() < since + 12:
            answers = reader.many([stays, gone])
            now = time.monotonic() - since
            if answers[1] not in ([], UNAVAILABLE):
                last_ghost = now
            if answers[0] == [self.stays.port]:
                back = back or now
            time.sleep(0.02)
        stage.table.row(fault, "ghosts of a peer that moved on", 5, last_ghost, "s")
        stage.table.row(fault, "its own peer found again", 12, back or 99.0, "s")
        moved = reader.many([f"moved {self.seconds}.mp4"])[0]
        stage.table.row(fault, "the moved peer is found", 1, int(moved == [self.moved.port]), above=True)
        epoch = self.server.epoch()
        is_new = int(epoch != self.epoch)
        wanted = 1 if self.seconds > 60 else 0
        stage.table.row(fault, "has a new number" if wanted else "keeps its number", 1, int(is_new == wanted), above=True)
        stage.table.row(fault, "wrongly empty answers", 0, stage.load.wrong(self.began))
        for peer in (self.stays, self.moved):
            peer.close()
        self.server.process.kill()


def short_pause(stage):
    paused = Paused(stage, 30)
    paused.move()
    paused.finish()
    settled(stage)


def cut_off(stage):
    """A server that reaches no node. Needs root and nftables, in a network namespace of the check."""
    fault = "server cut off 20 s"
    if not stage.may_cut:
        stage.table.note(fault, "skipped", "needs root, nft and unshare")
        return
    server = stage.world.server(stage.engine.url(), group=CUT_GROUP)
    stage.ready(server)
    own, other = Peer(server, 8_001), Peer(stage.servers[0], 8_002)
    own.join([{"name": "own.mp4", "size": 1}, {"name": "both.mp4", "size": 1}])
    other.join([{"name": "other.mp4", "size": 1}, {"name": "both.mp4", "size": 1}])
    stage.load.whole(10, [server], ["both.mp4"], holders=2)
    rules = RULES.format(group=CUT_GROUP, ports=", ".join(str(node.port) for node in stage.engine.nodes))
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    since = time.monotonic()
    wrong = incomplete = refused = 0
    client = Client(server.address)
    try:
        while time.monotonic() < since + 20:
            for name, may_be_empty in (("own.mp4", False), ("both.mp4", False), ("other.mp4", False), ("none.mp4", True)):
                answer = client.ask({"method": "SEARCH", "name": name})
                if "error" in answer:
                    refused += 1
                elif not answer["holders"]:
                    # Certain within the time in which its reads are fresh.
                    wrong += not may_be_empty or time.monotonic() > since + 2
                else:
                    incomplete += answer.get("incomplete", False)
            time.sleep(0.05)
    finally:
        subprocess.run(["nft", "delete", "table", "inet", "cut"], check=True)
    back = time.monotonic()
    stage.table.row(fault, "wrongly empty answers", 0, wrong + stage.load.wrong(since))
    stage.table.note(fault, "answers meanwhile", f"{incomplete} incomplete, {refused} refused")
    for names, holders in ((["both.mp4"], 2), (["own.mp4", "other.mp4"], 1)):
        stage.load.whole(15, [server, stage.servers[0]], names, holders=holders)
    stage.table.row(fault, "whole after the cut", 5, time.monotonic() - back, "s")
    for peer in (own, other):
        peer.close()
    server.process.kill()
    settled(stage)


def dead_peer(stage):
    fault = "a peer of 10,000 files dies"
    peer = Peer(stage.servers[0], 9_001)
    names = [f"dies {step}.mp4" for step in range(10_000)]
    peer.join([{"name": name, "size": 1} for name in names])
    since = time.monotonic()
    peer.close()
    took = gone_after(stage.servers[1], names[-1], 0.5)
    client = Client(stage.servers[1].address)
    while any(client.many(names[::50])) and time.monotonic() < since + 10:
        pass
    stage.table.row(fault, "not found anywhere", 0.5, max(took, time.monotonic() - since), "s")
    def left():
        return sum(len(node.cli("--scan", "--pattern", "n:*dies *").splitlines()) for node in stage.engine.masters())
    while left() and time.monotonic() < since + 10:
        pass
    # The scan of all keys itself takes a part of this time.
    stage.table.row(fault, "entries gone", 1, time.monotonic() - since, "s")


ALL = [dead_peer, terminated_server, killed_server, short_pause, cut_off]
