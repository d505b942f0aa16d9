#!/usr/bin/env python3
"""Dozens of peers that download from each other while a client searches. See ../load-test.sh.

Usage: load.py CARDUME [PEERS] [SIZE]
"""

import filecmp
import os
import sys
import threading
import time

from tools import MIB, Client, Place, Trouble, parse_size, quantile, random_file, status

DOWNLOADS = 3  # of each peer
PATIENCE = 120.0  # for all downloads together


def name_of(number):
    return f"peer-{number:03}.bin"


def wanted_by(number, peers):
    """Three other peers, so that every peer has three requesters."""
    return sorted({(number + step) % peers for step in (1, 1 + peers // 3, 1 + peers // 2)} - {number})[:DOWNLOADS]


class Watch(threading.Thread):
    """Checks the threads of all processes and searches while the load runs."""

    def __init__(self, server, programs, peers):
        super().__init__(daemon=True)
        self.server, self.programs, self.peers = server, programs, peers
        self.over = threading.Event()
        self.times, self.threads, self.fault = [], {}, None

    def run(self):
        try:
            client = Client(self.server)
            self.times = client.times
            # 100 searches a second add no load of their own.
            client.ask_until(self.over.is_set, 0.01, self.question, self.check)
            client.close()
        except (OSError, Trouble, ValueError) as error:
            self.fault = error

    def question(self, number):
        program = self.programs[number % len(self.programs)]
        self.threads[program.pid] = max(self.threads.get(program.pid, 0), status(program.pid).get("Threads", 0))
        return {"method": "SEARCH", "name": name_of(number % self.peers)}

    def check(self, answer):
        if not answer.get("holders"):
            raise Trouble(f"a SEARCH during the load found nobody: {answer}")


def run(cardume, peers, size):
    problems = []
    with Place() as place:
        print(f"{peers} peers, a file of {size / MIB:.0f} MiB each, {min(DOWNLOADS, peers - 1)} downloads each")
        for number in range(peers):
            random_file(os.path.join(place.folder(f"peer-{number:03}"), name_of(number)), size)
        server = place.server(cardume)
        nodes = [place.peer(cardume, server.address, place.folder(f"peer-{n:03}"), typed=True) for n in range(peers)]
        server.wait_for("adicionado", count=peers)
        print(f"all have joined the server at {server.address}; the load begins")

        watch = Watch(server.address, [server, *nodes], peers)
        watch.start()
        began = time.monotonic()
        wishes = {n: wanted_by(n, peers) for n in range(peers)}
        for n, node in enumerate(nodes):
            node.tell("".join(f"GET {name_of(other)}\n" for other in wishes[n]))
        for n, node in enumerate(nodes):
            try:
                node.wait_for("baixado com sucesso", len(wishes[n]), max(1.0, began + PATIENCE - time.monotonic()))
            except Trouble as error:
                problems.append(str(error))
        took = time.monotonic() - began
        watch.over.set()
        watch.join(30)
        if watch.fault:
            problems.append(f"the searching client: {watch.fault}")

        for n, others in wishes.items():
            for other in others:
                original = os.path.join(place.path, f"peer-{other:03}", name_of(other))
                copy = os.path.join(place.path, f"peer-{n:03}", name_of(other))
                if not os.path.exists(copy):
                    problems.append(f"peer {n} lacks {name_of(other)}")
                elif not filecmp.cmp(original, copy, shallow=False):
                    problems.append(f"peer {n} has another {name_of(other)} than its provider")

        figures = {program: status(program.pid) for program in (server, *nodes)}
        for program in figures:
            watch.threads[program.pid] = max(watch.threads.get(program.pid, 0), figures[program].get("Threads", 0))
        busiest = max(nodes, key=lambda node: figures[node].get("VmHWM", 0))
        for node in nodes:
            node.tell("QUIT\n")
        codes = [node.ended() for node in nodes]
        if any(codes):
            problems.append(f"peers ended with the codes {sorted(set(codes))}")
        server_code = server.end()
        if server_code:
            problems.append(f"the server ended with code {server_code}")
        if max(watch.threads.values()) > 1:
            problems.append(f"a process had {max(watch.threads.values())} threads")

        downloads = sum(map(len, wishes.values()))
        print(f"downloads     {downloads} of {size / MIB:.0f} MiB in {took:.2f} s, {downloads * size / MIB / took:.0f} MiB/s, on the disk")
        print(f"SEARCH        {len(watch.times)} meanwhile, p50 {quantile(watch.times, .5) * 1e3:.2f} ms, p99 {quantile(watch.times, .99) * 1e3:.2f} ms")
        for what, program in (("server", server), ("busiest peer", busiest)):
            f = figures[program]
            print(f"{what:<13} peak memory {f.get('VmHWM', 0) / 1024:.1f} MiB, now {f.get('RssAnon', 0) / 1024:.1f} MiB private and "
                  f"{f.get('RssFile', 0) / 1024:.1f} MiB of mapped files, {watch.threads[program.pid]} thread")
    for problem in problems:
        print(f"WRONG: {problem}")
    print("every byte is right" if not problems else f"{len(problems)} things are wrong")
    return 1 if problems else 0


def main():
    try:
        cardume, peers, size = sys.argv[1], int((sys.argv[2:3] or ["48"])[0]), parse_size((sys.argv[3:4] or ["16M"])[0])
        if not 2 <= peers <= 500:
            raise Trouble("between 2 and 500 peers, please")
        return run(cardume, peers, size)
    except (IndexError, ValueError):
        print(__doc__, file=sys.stderr)
        return 2
    except Trouble as error:
        print(f"WRONG: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
