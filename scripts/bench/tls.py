"""The cost of TLS: beside nginx with OpenSSL, beside plain TCP, and the memory of quiet connections. See run.sh."""

import os
import socket
import ssl
import subprocess
import threading
import time

from base import CROWD, Base, Memory, crowd, emptied, judged, medians, row, show, timed
from swarm import used
from tools import MIB, Trouble, status

SETTINGS = """
        ssl_certificate {place}/tls.pem;
        ssl_certificate_key {place}/tls.key;
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
"""
CPU_BOUND = 0.75
GET_BOUND = 0.8
QUIET = 10_000
QUIET_KIB = 14
CROWD_MIB = 8


class Tls(Base):
    def nginx_by_tls(self):
        place = self.place.folder("nginx-tls")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=nginx",
                        "-keyout", f"{place}/tls.key", "-out", f"{place}/tls.pem"], check=True, stderr=subprocess.DEVNULL)
        return self.start_nginx(place, " ssl", SETTINGS.format(place=place))

    def y(self):
        source = self.file("big.bin", self.big)
        data = self.place.folder("tls-data")
        server = self.place.start([self.cardume, "server", "--listen", "127.0.0.1:0", "--data", data])
        address = server.wait_for("listening on ").rsplit(" ", 1)[1]
        url = subprocess.run([self.cardume, "server", "url", address, "--data", data], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
        kept, self.server.address = self.server.address, address
        peer = self.place.peer(self.cardume, url, self.files)
        self.settled("big.bin")
        self.upload(peer)
        self.downloads(url, address, source)
        self.crowd(peer)
        self.quiet(server, address)
        self.server.address = kept

    def upload(self, peer):
        """One file to curl: processor seconds of the giver beside nginx."""
        nginx = self.nginx_by_tls()
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

    def downloads(self, url, address, source):
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

    def crowd(self, peer):
        """64 downloads by TLS at once: the peak of private memory."""
        before = status(peer.pid)["RssAnon"]
        with Memory(peer.pid) as memory:
            crowd(["curl", "-sSk", "-o", "/dev/null", f"https://{peer.address}/files/big.bin", "-r", f"0-{self.each - 1}"], CROWD)
        grown = max(0, memory.peak - before) / 1024
        row(f"y. {CROWD} downloads by TLS, private memory", f"{grown:.1f} MiB", "-", "-", f"<= {CROWD_MIB} MiB", judged(grown <= CROWD_MIB))

    def quiet(self, server, address):
        """Quiet TLS connections at the server, and the time of their handshakes."""
        host, port = address.rsplit(":", 1)
        count = 1_000 if self.quick else QUIET
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        held, before, began = [], status(server.pid)["RssAnon"], time.monotonic()

        def connect(number):
            # Different loopback addresses, as a single one has a bound on its connections.
            for at in range(number, count, 4):
                link = socket.create_connection((host, int(port)), source_address=(f"127.0.{1 + at // 250}.{1 + at % 250}", 0))
                link = context.wrap_socket(link)
                link.sendall(b'{"cardume":1}\n{"id":1,"method":"PING"}\n')
                held.append(link)

        threads = [threading.Thread(target=connect, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - began
        if len(held) != count:
            raise Trouble(f"{len(held)} of {count} connections by TLS were made")
        time.sleep(1)
        each = (status(server.pid)["RssAnon"] - before) / count
        row(f"y. {count} quiet connections by TLS, each", f"{each:.1f} KiB", "-", "-", f"<= {QUIET_KIB} KiB", judged(each <= QUIET_KIB))
        row("   handshakes, with Python's share", f"{count / took:.0f} /s")
        for link in held:
            link.close()
