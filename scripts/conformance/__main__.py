"""Checks a running cardume server and a running peer against PROTOCOL.md.

Usage: python3 scripts/conformance --server IP:PORT --peer IP:PORT [--folder DIR] [--program FILE] [--slow] [--only TEXT] [--tls]

With --folder, which the peer shares, files come and change there while the peer is looked at. With --program, the
program `cardume`, it downloads from peers that this script plays.

One line a check, `N passed, N failed` at the end. Exit code 0: all passed, 1: something failed, 2: wrong usage,
or no connection. Written from PROTOCOL.md alone. Where the text leaves a choice the checks are lenient, except where
a client could not do without one answer. It joins under random ports, and takes back all that it joined.

Each topic has a file of its own here, which registers its checks. The topics share `client.py`, `checks.py`,
`asking.py` and `basics.py`; `blake3.py` and `ed25519.py` depend on nothing else.
"""

import argparse
import importlib
import sys
import threading
import time

from asking import pages
from basics import QUICK_BUDGET, Failed, Skipped, check_file, parse_address, short
from checks import CHECKS, Run, World
from client import Clock, Link, Side, tls_context

# The checks of each topic run in this order.
TOPICS = ("opening", "framing", "names", "join", "update", "search", "accounts", "fields", "transfers", "web", "deadlines",
          "pieces", "folders", "downloads", "ending")


def look_at_peer(world):
    """The files of the peer, and whether uploads need consent."""
    run = Run(world)
    try:
        link = run.link(world.peer)
        world.files = pages(link, "LS", "files", 256, most_pages=40)
        for entry in world.files:
            check_file(entry)
        full = [file for file in world.files if file["size"] > 0]
        if not full:
            world.no_bodies = "the peer shares no file that is not empty"
            return
        # A medium file first: long enough for ranges, short enough to read whole.
        world.file = min(full, key=lambda file: (file["size"] < 1000, abs(file["size"] - 500_000)))
        world.big = max(full, key=lambda file: file["size"])
        for file in (world.file, world.big):
            got = link.fetch(file["name"], length=1)
            if got.refusal:
                world.no_bodies = f"the peer does not give {file['name']!r}: {short(got.refusal)}"
    except Failed as failure:
        world.files = world.files or []
        if run.links and any(event.get("reason") == "consent" for event in run.links[0].events):
            world.no_bodies = "a person is asked for consent"
        else:
            world.no_bodies = world.fault = f"looking at what the peer shares failed: {failure}"
    finally:
        run.close()


PRINTING = threading.Lock()


def report(line):
    with PRINTING:
        # File names may hold characters that this terminal cannot encode.
        data = line.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
        print(data.decode(sys.stdout.encoding or "utf-8"), flush=True)


def perform(world, name, function, role):
    """One check. True: passed, False: failed, None: skipped."""
    run = Run(world)
    try:
        if role:
            function(run, world.server if role == "server" else world.peer)
        else:
            function(run)
    except Skipped as skipped:
        report(f"skip {name}: {skipped}")
        return None
    except Failed as failure:
        report(f"FAIL {name}: {failure}")
        return False
    except Exception as error:  # input that breaks this script is a finding as well
        report(f"FAIL {name}: {error!r}")
        return False
    finally:
        run.close()
    report(f"ok   {name}")
    return True


def perform_all(world, only, slow):
    results = []
    chosen = [entry for entry in CHECKS if only in entry[0]]

    def one_by_one(phase):
        for name, function, role, _ in [entry for entry in chosen if entry[3] == phase]:
            if Clock.stop == float("inf") or time.monotonic() < Clock.began + QUICK_BUDGET:
                results.append(perform(world, name, function, role))
            else:
                report(f"FAIL {name}: no time left, what came before took {QUICK_BUDGET:g} s")
                results.append(False)

    one_by_one("quick")
    Clock.stop = float("inf")  # hashing takes time, above all in this script
    one_by_one("long")
    if slow:  # in parallel: each check mostly waits
        threads = [threading.Thread(target=lambda entry=entry: results.append(perform(world, *entry[:3])))
                   for entry in chosen if entry[3] == "slow"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    one_by_one("last")
    return results


def address_argument(text):
    found = parse_address(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not IP:PORT or [IPv6]:PORT")
    return found


def main():
    for topic in TOPICS:
        importlib.import_module(topic)
    parser = argparse.ArgumentParser(prog="conformance", description="Checks a running cardume server and peer against PROTOCOL.md.")
    parser.add_argument("--server", required=True, type=address_argument, metavar="IP:PORT")
    parser.add_argument("--peer", required=True, type=address_argument, metavar="IP:PORT")
    parser.add_argument("--folder", metavar="DIR", help="what the peer shares: files come and change there")
    parser.add_argument("--program", metavar="FILE", help="the program cardume, to download from peers of this script")
    parser.add_argument("--slow", action="store_true", help="check the deadlines too, which takes about 80 s more")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the checks whose names hold this text")
    parser.add_argument("--tls", action="store_true", help="encrypt every connection, by Python's ssl")
    arguments = parser.parse_args()
    tls = tls_context() if arguments.tls else None
    server, peer = Side("server", arguments.server, tls), Side("peer", arguments.peer, tls)
    world = World(server, peer, arguments.folder, arguments.program)
    for side in (world.server, world.peer):
        try:
            Link(side).close()
        except Failed as failure:
            print(failure, file=sys.stderr)
            return 2
    look_at_peer(world)
    results = perform_all(world, arguments.only, arguments.slow)
    passed, failed = results.count(True), results.count(False)
    report(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
