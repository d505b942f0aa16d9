"""All faults on one cluster of three masters and three replicas, with three servers and a load."""

import os
import shutil
import subprocess
import time

import engine_faults
import server_faults
from load import Load
from servers import Client, until
from table import Table

# The time after which the entries of a dead server are deleted, and the time for the deletion.
REMOVED_AFTER = 60 + 60


class Stage:
    def __init__(self, world):
        self.world, self.table = world, Table()
        self.engine = world.engines.cluster()
        self.servers = [world.server(self.engine.url()) for _ in range(3)]
        for server in self.servers:
            self.ready(server)
        self.load = Load(self.servers)
        # The cut concerns a group of processes; a namespace of its own keeps all else out.
        self.may_cut = os.geteuid() == 0 and shutil.which("nft") is not None and os.environ.get("CARDUME_OWN_NETWORK") == "1"

    def ready(self, server):
        until(30, lambda: Client(server.address).many(["none.mp4"]) == [[]], "certain emptiness")



def run(world, _is_short):
    stage = Stage(world)
    began = time.monotonic()
    print(f"  {len(stage.load.peers)} peers join: {stage.load.join():.1f} s", flush=True)
    assert stage.load.whole(30, stage.servers) < 30, "the load is not whole"
    stage.load.read()
    only = os.environ.get("CARDUME_FAULTS", "").split()
    chosen = [fault for fault in engine_faults.ALL + server_faults.ALL if not only or fault.__name__ in only]
    long_pause = killed = None
    if not only or "long_pause" in only:
        # Long pauses pass while other faults come and go.
        long_pause = server_faults.Paused(stage, 90)
        long_pause.move()
    try:
        for fault in chosen:
            print(f" {fault.__name__}, after {time.monotonic() - began:.0f} s", flush=True)
            fault(stage)
            if fault is server_faults.killed_server:
                killed = time.monotonic()
        if long_pause:
            long_pause.finish()
        if killed:
            deleted(stage, killed)
        everywhere(stage, began)
    finally:
        stage.load.close()
        stage.table.show()
    assert stage.table.broken == 0, f"{stage.table.broken} bounds are broken"


def deleted(stage, since):
    """The entries of the killed server."""
    def left():
        return sum(len(node.cli("--scan", "--pattern", "n:*kill -9 *").splitlines()) for node in stage.engine.masters())
    while left() and time.monotonic() < since + REMOVED_AFTER + 30:
        time.sleep(1)
    stage.table.row("kill -9 of a server", "its entries deleted", REMOVED_AFTER, time.monotonic() - since, "s")


def everywhere(stage, began):
    """What holds for all faults together."""
    answers = sum(reader.answers for reader in stage.load.readers)
    stage.table.note("all", "answers", f"{answers:,}")
    stage.table.row("all", "wrongly empty answers", 0, stage.load.wrong())
    stage.table.row("all", "threads of a server", 1, max(server.status("Threads") for server in stage.servers))
    p99 = max(server.quantile("p99") for server in stage.servers)
    if "/debug/" in stage.world.program:
        stage.table.note("all", "iteration p99, program without optimisation", f"{p99 * 1e3:.2f} ms")
    else:
        stage.table.row("all", "iteration p99", 5, p99 * 1e3, "ms")
