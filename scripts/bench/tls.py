"""The cost of TLS: beside nginx with OpenSSL, beside plain TCP, and the memory of quiet connections. See run.sh."""

import os
import resource
import shutil
import socket
import subprocess
import threading
import time

from base import CROWD, Base, Memory, crowd, emptied, judged, medians, row, show, timed
from tools import MIB, Trouble, status, unchecked, used

SETTINGS = """
        ssl_certificate {place}/tls.pem;
        ssl_certificate_key {place}/tls.key;
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
        ssl_session_tickets off;
        keepalive_timeout 3600s;
"""
CPU_BOUND = 0.75
GET_BOUND = 0.8
QUIET = 10_000
QUIET_KIB = 14
CROWD_MIB = 8
RECEIVES = 8_000  # calls for each GiB


class Tls(Base):
    def nginx_by_tls(self):
        place = self.place.folder("nginx-tls")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=nginx",
                        "-keyout", f"{place}/tls.key", "-out", f"{place}/tls.pem"], check=True, stderr=subprocess.DEVNULL)
        return self.start_nginx(place, " ssl", SETTINGS.format(place=place), connections=QUIET + 1_000)

    def y(self):
        source = self.file("big.bin", self.big)
        server, url = self.server_by_tls("tls-data")
        address = server.address
        kept, self.server.address = self.server.address, address
        peer = self.place.peer(self.cardume, url, self.files)
        self.settled("big.bin")
        nginx = self.nginx_by_tls()
        self.upload(peer, nginx)
        self.downloads(url, source)
        self.receives(url)
        self.crowd(peer)
        self.quiet(server, address, nginx)
        self.quiet_peers()
        self.server.address = kept

    def server_by_tls(self, name):
        """A server with a new key, and its URL."""
        data = self.place.folder(name)
        server = self.place.start([self.cardume, "server", "--listen", "127.0.0.1:0", "--data", data])
        server.address = server.wait_for("listening on ").rsplit(" ", 1)[1]
        return server, self.url_of(server.address, data)

    def upload(self, peer, nginx):
        """One file to curl: processor seconds of the giver beside nginx."""
        worker = self.worker_of(nginx)
        curl = ["curl", "-sSk", "--tls13-ciphers", "TLS_AES_128_GCM_SHA256", "-o", "/dev/null"]
        ours, theirs = [*curl, f"https://{peer.address}/files/big.bin"], [*curl, f"https://127.0.0.1:{nginx.port}/big.bin"]
        show(ours)
        show(theirs)
        timed(ours)
        times = []
        for run in range(self.runs):
            took = {}
            for which in (0, 1) if run % 2 == 0 else (1, 0):
                pid = (peer.pid, worker)[which]
                before = used(pid)
                took[which] = (timed((ours, theirs)[which]), used(pid) - before)
            times.append((*took[0], *took[1]))
        our_time, our_cpu, their_time, their_cpu = medians(times)
        name = f"y. {self.big // MIB} MiB to curl by TLS"
        rate = lambda seconds: f"{self.big / MIB / seconds:.0f} MiB/s"
        row(f"{name}, nginx", rate(our_time), rate(their_time), f"{their_time / our_time:.2f}", ">= 1", judged(their_time >= our_time))
        row("   processor time of the giver", f"{our_cpu:.2f} s", f"{their_cpu:.2f} s", f"{our_cpu / their_cpu:.2f}", f"<= {CPU_BOUND}",
            judged(our_cpu <= CPU_BOUND * their_cpu))

    def downloads(self, url, source):
        """A verified download by TLS and by plain TCP."""
        target = self.place.folder("downloads")
        plain = self.get("big.bin", target)
        by_tls = [self.cardume, "get", "big.bin", "--server", url, "--folder", target]
        show(by_tls)
        show(plain)
        self.fetch(plain)
        times = []
        for run in range(self.runs):
            took = {}
            for which in (0, 1) if run % 2 == 0 else (1, 0):
                emptied(target)
                took[which] = self.fetch((by_tls, plain)[which])
                self.same(os.path.join(target, "big.bin"), source)
            times.append((took[0], took[1]))
        emptied(target)
        tls, tcp = medians(times)
        rate = lambda seconds: f"{self.big / MIB / seconds:.0f} MiB/s"
        row(f"y. {self.big // MIB} MiB verified by TLS / plain", rate(tls), rate(tcp), f"{tcp / tls:.2f}", f">= {GET_BOUND}", judged(tcp / tls >= GET_BOUND))

    def receives(self, url):
        """The system calls that receive a verified download."""
        name = "y. receive calls for each GiB, by TLS"
        if not shutil.which("strace"):
            row(name, "-", "-", "-", f"< {RECEIVES}", "skipped: strace is not installed")
            return
        target, counts = self.place.folder("downloads"), os.path.join(self.place.path, "strace.txt")
        strace = ["strace", "-f", "--seccomp-bpf", "-c", "-e", "trace=recvfrom,recvmsg,recvmmsg", "-o", counts]
        commands = [[*strace, self.cardume, "get", "big.bin", "--server", url, "--folder", target], [*strace, *self.get("big.bin", target)]]
        show(commands[0])
        times = []
        for run in range(self.runs):
            took = {}
            for which in (0, 1) if run % 2 == 0 else (1, 0):
                emptied(target)
                timed(commands[which])
                with open(counts) as file:
                    # % time, seconds, usecs/call, calls, errors (often empty), name
                    lines = [line.split() for line in file if line.split() and line.split()[-1].startswith("recv")]
                took[which] = sum(int(line[3]) for line in lines) * (1 << 30) / self.big
            times.append((took[0], took[1]))
        emptied(target)
        tls, tcp = medians(times)
        if not tls:
            raise Trouble("strace counted no call that receives")
        row(name + ", plain", f"{tls:.0f}", f"{tcp:.0f}", f"{tls / tcp:.2f}", f"< {RECEIVES}", judged(tls < RECEIVES))
        print("  strace slows each call a little, so that a call finds more bytes than without strace", flush=True)

    def crowd(self, peer):
        """64 downloads by TLS at once: the peak of private memory."""
        before = status(peer.pid)["RssAnon"]
        with Memory(peer.pid) as memory:
            crowd(["curl", "-sSk", "-o", "/dev/null", f"https://{peer.address}/files/big.bin", "-r", f"0-{self.each - 1}"], CROWD)
        grown = max(0, memory.peak - before) / 1024
        row(f"y. {CROWD} downloads by TLS, private memory", f"{grown:.1f} MiB", "-", "-", f"<= {CROWD_MIB} MiB", judged(grown <= CROWD_MIB))

    def quiet(self, server, address, nginx):
        """Quiet TLS connections after a request, at the server and at nginx."""
        count = 1_000 if self.quick else QUIET
        with open(os.path.join(self.files, "small.txt"), "w") as file:
            file.write("small\n")
        ping = b'{"cardume":1}\n{"id":1,"method":"PING"}\n'
        page = b"GET /small.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
        worker = self.worker_of(nginx)
        each, rates = [], []
        for pid, where, request, answer in ((server.pid, address, ping, b"PONG"), (worker, f"127.0.0.1:{nginx.port}", page, b"small")):
            before = status(pid)["RssAnon"]
            held, took = hold(where, count, request, answer)
            time.sleep(1)
            there = len(os.listdir(f"/proc/{pid}/fd"))
            if there < count:
                raise Trouble(f"only {there} of {count} connections are still open: they took {took:.0f} s, and quiet ones end")
            each.append((status(pid)["RssAnon"] - before) / count)
            rates.append(count / took)
            for link in held:
                link.close()
        row(f"y. {count} quiet connections by TLS, each", f"{each[0]:.1f} KiB", f"{each[1]:.1f} KiB", f"{each[0] / each[1]:.2f}", f"<= {QUIET_KIB} KiB",
            judged(each[0] <= QUIET_KIB))
        print(f"  made at {rates[0]:.0f} and {rates[1]:.0f} a second, mostly time of the client in Python: section z has the handshakes", flush=True)

    def quiet_peers(self):
        """Quiet peers that have joined by TLS, each with a file."""
        count = 1_000 if self.quick else QUIET
        server, url = self.server_by_tls("tls-peers")  # without memory of closed connections
        before = status(server.pid)["RssAnon"]
        peers, _ = self.idle(url, "--peers", count, "--files", 1, "--names", count)
        time.sleep(1)
        each = (status(server.pid)["RssAnon"] - before) / count
        peers.end()
        row(f"y. {count} quiet peers by TLS, each", f"{each:.1f} KiB", "-", "-", f"<= {QUIET_KIB} KiB", judged(each <= QUIET_KIB))


def hold(address, count, request, answer):
    """Connections by TLS, each after an answer, and the time that took."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 100:
        raise Trouble(f"{count} connections: the system allows this process {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    host, port = address.rsplit(":", 1)
    context, held, began = unchecked(), [], time.monotonic()

    def connect(number):
        # Different loopback addresses, as a single one has a bound on its connections.
        for at in range(number, count, 4):
            link = socket.create_connection((host, int(port)), 30, source_address=(f"127.0.{1 + at // 250}.{1 + at % 250}", 0))
            link = context.wrap_socket(link)
            link.sendall(request)
            came = b""
            while answer not in came:
                more = link.recv(4096)
                if not more:
                    return
                came += more
            held.append(link)

    threads = [threading.Thread(target=connect, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    if len(held) != count:
        raise Trouble(f"{len(held)} of {count} connections by TLS were made")
    return held, took
