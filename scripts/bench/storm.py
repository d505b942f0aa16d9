"""Handshakes: their rate beside nginx with OpenSSL, a crowd after a restart of its server, and a flood. See run.sh."""

import contextlib
import json
import os
import statistics
import subprocess
import time

from base import Base, judged, medians, row, show
from tools import Client, Trouble, quantile, used

PEERS = 2_000
JOIN_SECONDS = 3
PING_MS = 20
RATE = 5_000
PERIOD = 0.005  # between PINGs


@contextlib.contextmanager
def urgent():
    """The probe runs before the load: its own wait for a core is no latency of the server. Needs root."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def came_in(program):
    """The times at which all peers of a load had joined, with their events."""
    return [(at, json.loads(line)) for at, line in zip(program.times, program.lines) if line and '"event":"in"' in line]


class Storm(Base):
    def strangers(self, listen="127.0.0.1:0"):
        """A server on the first core, for which programs of this user are strangers: those from elsewhere are."""
        data = self.place.folder("storm-data")
        words = [self.cardume, "server", "--listen", listen, "--open", "--no-local", "--data", data]
        server = self.place.start(self.pinned(0, words))
        server.address = server.wait_for("listening on ").rsplit(" ", 1)[1]
        return server, self.url_of(server.address, data)

    def z(self):
        server, _ = self.strangers()
        nginx = self.nginx_by_tls()
        self.handshakes(server, nginx)
        self.flood(server)
        server.end()
        self.reconnects()

    def shakes(self, address, kind, seconds, *rate):
        return self.pinned(1, [self.example("handshake_rate"), address, kind, str(seconds), *map(str, rate)])

    def handshakes(self, server, nginx):
        """The same client for all, on the second core."""
        worker = self.worker_of(nginx)
        os.sched_setaffinity(worker, {sorted(os.sched_getaffinity(0))[0]})
        sides = {
            "certificate": (server.pid, server.address, "x509"),
            "raw key": (server.pid, server.address, "raw"),
            "raw keys of both sides": (server.pid, server.address, "member"),
            "nginx": (worker, f"127.0.0.1:{nginx.port}", "x509"),
        }
        seconds = 1 if self.quick else 3
        for _, address, kind in sides.values():
            show(self.shakes(address, kind, seconds))
        results = {name: [] for name in sides}
        for run in range(self.runs):
            for name in sides if run % 2 == 0 else reversed(sides):
                pid, address, kind = sides[name]
                before = used(pid)
                told = self.told(self.shakes(address, kind, seconds))
                cpu = used(pid) - before
                if told["failed"] or not told["handshakes"]:
                    raise Trouble(f"{told['failed']} handshakes failed, {told['handshakes']} did not: {told['why']}")
                results[name].append((told["handshakes"] / told["seconds"], cpu * 1e6 / told["handshakes"], cpu / told["seconds"],
                                      told["client_cpu"] / told["seconds"]))
        found = {name: medians(runs) for name, runs in results.items()}
        their_rate, their_cost, _, _ = found["nginx"]
        for name, (rate, cost, _, _) in found.items():
            if name != "nginx":
                row(f"z. handshakes, {name} / nginx", f"{rate:.0f} /s", f"{their_rate:.0f} /s", f"{rate / their_rate:.2f}")
                row("   processor time of each", f"{cost:.0f} us", f"{their_cost:.0f} us", f"{cost / their_cost:.2f}")
        for name, (_, _, busy, client) in found.items():
            limit = "; the client is the limit, so only the processor time counts" if client > 0.9 > busy else ""
            print(f"  {name}: the server used {busy * 100:.0f} % of a core, the client {client * 100:.0f} %{limit}", flush=True)

    @staticmethod
    def told(command):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise Trouble(f"{' '.join(command)} ended with code {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def flood(self, server):
        """PINGs of a member while handshakes are offered at a fixed rate."""
        seconds = 2 if self.quick else 5
        command = self.shakes(server.address, "member", seconds, RATE)
        show(command)
        p99s, rates, longest = [], [], 0
        for _ in range(self.runs):
            probe = Client(server.address, by_tls=True)
            before, began = used(server.pid), time.monotonic()
            flood = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            with urgent():
                probe.ask_until(lambda: flood.poll() is not None, PERIOD, lambda _: {"method": "PING"}, lambda _: None)
            busy = (used(server.pid) - before) / (time.monotonic() - began)
            probe.close()
            told = json.loads(flood.communicate()[0])
            rates.append((told["handshakes"] / told["seconds"], told["late"] / told["seconds"], told["failed"], busy, told["client_cpu"] / told["seconds"]))
            p99s.append(quantile(probe.times, 0.99) * 1e3)
            longest = max(longest, max(probe.times) * 1e3)
        p99 = statistics.median(p99s)
        row(f"z. PING, {RATE} handshakes/s offered, p99", f"{p99:.2f} ms", "-", "-", f"< {PING_MS} ms", judged(p99 < PING_MS))
        done, late, failed, busy, client = medians(rates)
        print(f"  {done:.0f} a second were finished, {late:.0f} a second could not begin, {failed:.0f} failed; the server used {busy * 100:.0f} % of a core, "
              f"the client {client * 100:.0f} %; p99 of each run: {', '.join(f'{one:.2f}' for one in p99s)} ms, longest {longest:.1f} ms", flush=True)

    def reconnects(self):
        """A crowd that comes back at once when its server was killed and started again."""
        times, p99s, longest, probed, costs = [], [], 0, [], []
        for run in range(self.runs):
            server, url = self.strangers()
            words = ["bench", "--server", url, "--peers", PEERS, "--files", 10, "--idle", "--reconnect", "--json"]
            command = self.pinned(1, [self.cardume, *map(str, words)])
            if run == 0:
                show(command)
            load = self.place.start(command)
            load.event(lambda event: event["event"] == "in", 120.0)
            server.process.kill()
            server.ended()
            server, _ = self.strangers(server.address)
            listening = next(at for at, line in zip(server.times, server.lines) if "listening on " in line)
            probe, at = self.member(server.address)
            probed.append(at - listening)
            until = time.monotonic() + 60
            with urgent():
                probe.ask_until(lambda: len(came_in(load)) > 1 or time.monotonic() > until, PERIOD, lambda _: {"method": "PING"}, lambda _: None)
            probe.close()
            if len(came_in(load)) < 2:
                raise Trouble(f"{PEERS} peers were not back after 60 s")
            at, event = came_in(load)[1]
            peers = subprocess.run([self.cardume, "peers", "--server", url], stdout=subprocess.PIPE, text=True).stdout.splitlines()
            if len(peers) != PEERS or event["files"] < PEERS * 10:
                raise Trouble(f"{len(peers)} of {PEERS} peers are listed after the restart")
            times.append(at - listening)
            costs.append((used(server.pid), event["measured"]["client_cpu"]))
            if probe.times:
                p99s.append(quantile(probe.times, 0.99) * 1e3)
                longest = max(longest, max(probe.times) * 1e3)
            load.end()
            server.end()
        took = statistics.median(times)
        row(f"z. {PEERS} reconnects at once, all joined", f"{took:.2f} s", "-", "-", f"<= {JOIN_SECONDS} s", judged(took <= JOIN_SECONDS))
        if p99s:
            p99 = statistics.median(p99s)
            row("   PING meanwhile, p99", f"{p99:.2f} ms", "-", "-", f"< {PING_MS} ms", judged(p99 < PING_MS))
        print(f"  each run: {', '.join(f'{one:.2f}' for one in times)} s; p99 {', '.join(f'{one:.1f}' for one in p99s)} ms, longest {longest:.1f} ms; "
              f"the pinging member was in after {statistics.median(probed):.2f} s; processor time of the server {medians(costs)[0]:.2f} s, "
              f"of the {PEERS} peers {medians(costs)[1]:.2f} s", flush=True)

    @staticmethod
    def member(address):
        """A connection by TLS to a server that was just started, and its time."""
        until = time.monotonic() + 30
        while True:
            try:
                return Client(address, by_tls=True), time.monotonic()
            except (OSError, Trouble):  # a server in a storm may end handshakes
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
