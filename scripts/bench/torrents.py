"""Programs that speak BitTorrent, for one file on this machine: a tracker, the torrent, and peers of libtorrent and rqbit."""

import hashlib
import http.server
import json
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
import urllib.parse
import urllib.request

from tools import MIB, Trouble, used

PIECE = MIB  # as large as a piece of cardume
PATIENCE = 240.0
LOOK = 0.01
AGAIN = 1  # seconds between two questions of a peer to the tracker: all peers come within one


def encoded(value):
    """The bencoding of a value."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(encoded, value)) + b"e"
    return b"d" + b"".join(encoded(key) + encoded(value[key]) for key in sorted(value)) + b"e"


class Tracker:
    """Answers announcements with the addresses of all other peers of the same torrent."""

    def __init__(self):
        self.peers, lock = {}, threading.Lock()
        peers = self.peers

        class Announcement(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked = dict(part.partition("=")[::2] for part in urllib.parse.urlsplit(self.path).query.split("&"))
                torrent, port = asked.get("info_hash"), int(asked.get("port", 0))
                with lock:
                    known = peers.setdefault(torrent, set())
                    known.discard(port) if asked.get("event") == "stopped" else known.add(port)
                    others = sorted(known - {port})
                compact = b"".join(socket.inet_aton("127.0.0.1") + struct.pack(">H", other) for other in others)
                body = encoded({"interval": AGAIN, "min interval": AGAIN, "peers": compact})
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Announcement)
        self.server.handle_error = lambda *_: None  # a peer that ends does not wait for its answer
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/announce"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()


def write_torrent(path, source, tracker):
    """Writes the torrent of one file."""
    pieces = bytearray()
    with open(source, "rb") as file:
        while block := file.read(PIECE):
            pieces += hashlib.sha1(block).digest()
    info = {"name": os.path.basename(source), "length": os.path.getsize(source), "piece length": PIECE, "pieces": bytes(pieces), "private": 1}
    with open(path, "wb") as file:
        file.write(encoded({"announce": tracker.url, "info": info}))


class LibTorrent:
    """Peers of libtorrent, each a process of `torrent_peer.py`."""

    def __init__(self, place, python):
        self.place, self.python = place, python
        self.version = f"libtorrent {output(python, '-c', 'import libtorrent; print(libtorrent.__version__)')}"

    @staticmethod
    def at_hand(place):
        folder = place.package("libtorrent")
        return LibTorrent(place, os.path.join(folder, "bin", "python")) if folder else None

    def swarm(self, torrent, source, folders, rate, compare):
        """An owner, and one taker for each folder. Returns the time of the last, and the processor time of all."""
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torrent_peer.py")
        start = lambda folder, rate: self.place.start([self.python, script, torrent, folder, str(rate)], typed=True)
        owner = start(source, rate)
        owner.tell("\n")
        owner.wait_for("whole")
        takers = [start(folder, 0) for folder in folders]
        try:
            for taker in takers:
                taker.wait_for("ready")
            programs = (owner, *takers)
            before, began = sum(used(one.pid) for one in programs), time.monotonic()
            for taker in takers:
                taker.tell("\n")
            for taker in takers:
                taker.wait_for("whole", patience=PATIENCE)
            took, cost = time.monotonic() - began, sum(used(one.pid) for one in programs) - before
            for taker in takers:
                # The rest of its cache goes to the file after that.
                taker.process.stdin.close()
                taker.ended()
            compare()
        finally:
            for program in (owner, *takers):
                program.end()
        return took, cost


class Rqbit:
    """Peers of rqbit, each a process of its own."""

    def __init__(self, place, program):
        self.place, self.program = place, program
        self.version = output(program, "--version")

    @staticmethod
    def at_hand(place):
        program = shutil.which("rqbit")
        if program is None:
            print("  rqbit is left out: it is not at hand (cargo install rqbit)", flush=True)
        return Rqbit(place, program) if program else None

    def swarm(self, torrent, source, folders, rate, compare):
        """An owner, and one taker for each folder. Returns the time of the last, and the processor time of all."""
        owner = self.peer(torrent, source, "--ratelimit-upload", str(rate))
        self.until_whole([owner])
        before, began = used(owner.pid), time.monotonic()
        takers = [self.peer(torrent, folder) for folder in folders]
        try:
            self.until_whole(takers)
            took, cost = time.monotonic() - began, sum(used(one.pid) for one in (owner, *takers)) - before
            compare()
        finally:
            for program in (owner, *takers):
                program.end()
        return took, cost

    def peer(self, torrent, folder, *options):
        api, port = f"127.0.0.1:{free_port()}", str(free_port())
        # Without --announce-port, a download announces the port of a server.
        program = self.place.start([self.program, "-v", "error", "--disable-dht", "--disable-upnp-port-forward", "--listen-ip", "127.0.0.1",
                                    "--listen-port", port, "--announce-port", port, "--tracker-refresh-interval", f"{AGAIN}s",
                                    "--http-api-listen-addr", api, *options, "download", "--overwrite", "--output-folder", folder, torrent])
        program.api = f"http://{api}/torrents/0/stats/v1"
        return program

    @staticmethod
    def until_whole(peers):
        until, waiting = time.monotonic() + PATIENCE, list(peers)
        while waiting:
            peer = waiting[-1]
            try:
                with urllib.request.urlopen(peer.api) as answer:
                    if json.load(answer).get("finished"):
                        waiting.pop()
                        continue
            except OSError:
                pass  # it has only begun
            if peer.process.poll() is not None or time.monotonic() > until:
                raise Trouble(f"rqbit did not finish: {peer.lines[-4:]}")
            time.sleep(LOOK)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
