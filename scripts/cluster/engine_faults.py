"""Faults of the engine, under load."""

import signal
import subprocess
import time

from servers import UNAVAILABLE, Peer, until

SLOTS_TO_MOVE = 1_000
# Names of a master that are looked for after a fault.
SAMPLE = 3_000


def names_of(node, limit=2_000):
    """Some names of the load whose entries this master has."""
    names = []
    scan = subprocess.Popen(["redis-cli", "-p", str(node.port), "--scan", "--pattern", "n:*"],
                            stdout=subprocess.PIPE, text=True)
    for line in scan.stdout:
        name = line.rstrip("\n").partition("}")[2]
        if name.startswith("video "):
            names.append(name)
        if len(names) >= limit:
            break
    scan.kill()
    scan.wait()
    return names


def settled(stage):
    """All nodes are there, each master has its replica, and all servers know all."""
    engine = stage.engine
    engine.restart_dead()
    engine.wait_whole()
    until(30, lambda: all(server.metric("engine_slots_unmirrored") == 0 for server in stage.servers), "all mirrored")
    assert stage.load.whole(30, stage.servers) < 30, "the load is not whole"


def after_failover(stage, fault, names, since, blind_bound=5.0):
    load, table = stage.load, stage.table
    # A client in Python asks a part of the names, or its own time would count.
    load.whole(30, stage.servers, names[::len(names) // SAMPLE + 1])
    until(30, lambda: all(server.metric("engine_slots_unmirrored") == 0 for server in stage.servers), "all mirrored")
    whole = time.monotonic() - since
    table.row(fault, "wrongly empty answers", 0, load.wrong(since))
    spans = load.failures(since)
    own = set(names)
    longest = max((last - first for first, last in spans.values()), default=0.0)
    table.row(fault, "a name unavailable", blind_bound, max(longest, load.blind(since)), "s")
    # Each server has a holder of each name, and answers with this one meanwhile.
    table.note(fault, "answers that lack a holder", f"for {load.span('few', since):.2f} s")
    if len(own) > 20_000:
        others = [name for name in spans if name not in own]
        table.row(fault, "names of other masters unavailable", 0, len(others))
    table.row(fault, "all holders back", 15, whole, "s")


def lost_entries(stage, fault, node, lose):
    """A master loses its entries by an action."""
    names = names_of(node, 100_000)
    since = time.monotonic()
    lose(node)
    after_failover(stage, fault, names, since)
    settled(stage)


def kill_master(stage):
    lost_entries(stage, "kill -9 a master", stage.engine.masters()[0], stage.engine.kill)


def lagging_replica(stage):
    fault = "replica lags 1.5 s, master killed"
    node = stage.engine.masters()[0]
    names = names_of(node, 100_000)
    replica = stage.engine.replica_of(node)
    replica.process.send_signal(signal.SIGSTOP)
    # Writes that only the master has.
    peer = Peer(stage.servers[0], 4_100)
    began = time.monotonic()
    own = [f"late {number}.mp4" for number in range(10_000)]
    peer.join([{"name": name, "size": 1} for name in own])
    time.sleep(max(0, 1.5 - (time.monotonic() - began)))
    since = time.monotonic()
    stage.engine.kill(node)
    replica.process.send_signal(signal.SIGCONT)
    after_failover(stage, fault, names, since)
    lost = stage.load.whole(15, stage.servers, own[::5], holders=1)
    stage.table.row(fault, "acknowledged entries back, after that", 15, lost, "s")
    stage.table.row(fault, "acknowledged JOIN, wrongly empty", 0,
                    sum(answer == [] for answer in stage.servers[1].client().many(own)))
    peer.close()
    settled(stage)


def empty_master(stage):
    lost_entries(stage, "master restarted empty", stage.engine.masters()[-1], stage.engine.wipe)


def flushed_master(stage):
    lost_entries(stage, "FLUSHALL at a master", stage.engine.masters()[0], lambda node: node.cli("flushall"))


def paused_master(stage):
    """No JOIN_OK without an entry at the new master."""
    fault = "SIGSTOP a master 8 s"
    node = stage.engine.masters()[0]
    names = names_of(node, 100_000)
    since = time.monotonic()
    node.process.send_signal(signal.SIGSTOP)
    joined, refused = [], 0
    number = 0
    while time.monotonic() < since + 8:
        number += 1
        peer = Peer(stage.servers[number % 3], 4_200 + number)
        own = [f"paused {number} {step}.mp4" for step in range(30)]
        if peer.try_join([{"name": name, "size": 1} for name in own], timeout=30) is None:
            joined.append((peer, own))
        else:
            refused += 1
            peer.close()
    node.process.send_signal(signal.SIGCONT)
    time.sleep(0.5)
    missing = 0
    for _, own in joined:
        missing += sum(not isinstance(answer, list) or len(answer) != 1 for answer in stage.servers[0].client().many(own))
    stage.table.note(fault, "JOINs in that time", f"{len(joined)} done, {refused} refused")
    stage.table.row(fault, "files of a JOIN_OK that are missing", 0, missing)
    after_failover(stage, fault, names, since)
    for peer, _ in joined:
        peer.close()
    settled(stage)


def moved_slots(stage):
    fault = "1,000 slots move"
    load, engine = stage.load, stage.engine
    calm = time.monotonic()
    time.sleep(4)
    since = time.monotonic()
    before = load.p99(calm)
    masters = engine.masters()
    done = subprocess.run(
        ["redis-cli", "--cluster", "reshard", f"127.0.0.1:{masters[0].port}", "--cluster-from", masters[0].own_id(),
         "--cluster-to", masters[1].own_id(), "--cluster-slots", str(SLOTS_TO_MOVE), "--cluster-yes",
         "--cluster-pipeline", "50"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr
    took = time.monotonic() - since
    stage.table.note(fault, "took", f"{took:.1f} s")
    stage.table.row(fault, "wrongly empty answers", 0, load.wrong(since))
    stage.table.row(fault, "refused answers", 0, len(load.all_of("failed", since)))
    stage.table.row(fault, "p99 of 64 searches, of that before", 3, load.p99(since) / max(before, 1e-9), "x")
    settled(stage)


def stopped_engine(stage):
    fault = "engine stopped 30 s"
    load = stage.load
    since = time.monotonic()
    before = [server.rss() for server in stage.servers]
    nodes = stage.engine.alive()
    for node in nodes:
        node.process.send_signal(signal.SIGSTOP)
    peers, most = [], [0] * len(before)
    number = 0
    while time.monotonic() < since + 30:
        # JOINs pile up, too.
        number += 1
        peer = Peer(stage.servers[number % 3], 5_000 + number)
        peer.client.put({"id": 1, "method": "JOIN", "port": peer.port,
                         "files": [{"name": f"piled {number} {step}.mp4", "size": 1} for step in range(1_000)]})
        peer.client.file.flush()
        peers.append(peer)
        most = [max(now, server.rss()) for now, server in zip(most, stage.servers)]
        time.sleep(0.2)
    for node in nodes:
        node.process.send_signal(signal.SIGCONT)
    more = max(now - then for now, then in zip(most, before))
    stage.table.row(fault, "memory of a server, more", 64, more / 1024, "MiB")
    for peer in peers:
        peer.close()
    back = time.monotonic()
    load.whole(30, stage.servers)
    stage.table.row(fault, "all holders back", 15, time.monotonic() - back, "s")
    stage.table.row(fault, "wrongly empty answers", 0, load.wrong(since))
    settled(stage)


def full_engine(stage):
    fault = "engine out of memory"
    masters = stage.engine.masters()
    since = time.monotonic()
    for node in masters:
        node.cli("config", "set", "maxmemory", "1")
    peer = Peer(stage.servers[0], 4_900)
    code = peer.try_join([{"name": f"full {step}.mp4", "size": 1} for step in range(50)], timeout=30)
    peer.close()
    stage.table.row(fault, "JOIN refused as unavailable", 1, int(code == UNAVAILABLE), above=True)
    stage.table.row(fault, "refused searches", 0, len(stage.load.all_of("failed", since)))
    stage.table.row(fault, "wrongly empty answers", 0, stage.load.wrong(since))
    for node in masters:
        node.cli("config", "set", "maxmemory", "0")
    settled(stage)


ALL = [kill_master, lagging_replica, empty_master, flushed_master, paused_master, moved_slots, full_engine, stopped_engine]
