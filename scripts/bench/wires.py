"""Legacy protocols: one big file by each, beside plain HTTP in the same run, and a megabyte by UDP."""

import json
import os
import socket
import statistics
import tempfile
import time

from base import MEMORY, Base, emptied, judged, row, show, timed, warmed
from tools import Trouble

SIZE = 1200 * 1000 * 1000
TARGET = 0.8  # of the rate of HTTP
SONG = 1_000_000
SECONDS = 1.0  # for a song
NAMES = {"napster": "napster-ufabc"}  # of a source, where it differs
PORTS = {"uc3m-2025": ("--uc3m", "0:2025"), "uc3m-2020": ("--uc3m", "0:2020"), "rede": ("--rede", "0")}


def request(wire, name):
    """The bytes of a request, and how many bytes precede the file: a count, or the text that ends them."""
    size = str(SIZE)
    return {
        "http": (f"GET /files/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", b"\r\n\r\n"),
        "uc3m-2025": (f"GET_FILE\0{name}\0", len(f"0{size}") + 1),
        "uc3m-2020": (f"GET_FILE\0{name}\0", 1),
        "rede": (f"get {name}", 0),
        "ufabc-json": (json.dumps({"method": "DOWNLOAD_REQUEST", "data": {"filename": name, "port": 0}}), b'{"status": "downloadAccepted"}'),
        "napster": (f"DOWNLOAD {name}", len("DOWNLOAD_OK")),
    }[wire]


def take(at, wire, name):
    """The time of a download into memory that is thrown away; every byte is counted."""
    said, front = request(wire, name)
    room = memoryview(bytearray(1 << 20))
    began = time.monotonic()
    with socket.create_connection(at, 30) as conn:
        conn.sendall(said.encode())
        got, held = 0, b""
        while count := conn.recv_into(room):
            got += count
            if isinstance(front, bytes):
                held += bytes(room[:count])
                if front in held:
                    front = held.index(front) + len(front)
            if isinstance(front, int) and got >= front + SIZE:
                break
    took = time.monotonic() - began
    if isinstance(front, bytes) or got != front + SIZE:
        raise Trouble(f"{wire}: {got} bytes behind a header {front}")
    return took


def take_song(at, name):
    """The time of a song by UDP, with the usual receive buffer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(5)
        began = time.monotonic()
        asker.sendto(f"REQUISITAR|{name}".encode(), at)
        got = 0
        while (datagram := asker.recv(4096)) != b"END":
            got += len(datagram)
        took = time.monotonic() - began
    if got != SONG:
        raise Trouble(f"{SONG - got} bytes of a song were lost")
    return took


class Wires(Base):
    def B(self):
        folder = self.place.folder("wires")
        self.file("giant.mp4", SIZE, folder)
        self.file("song.mp3", SONG, folder)
        options = [word for pair in PORTS.values() for word in pair]
        peer = self.place.peer(self.cardume, self.server.address, folder, "--open", "--ufabc-json", "--napster", "--music-udp", "0", *options, info=True)
        ports = {"http": peer.address, "ufabc-json": peer.address, "napster": peer.address}
        for wire in (*PORTS, "music-udp"):
            ports[wire] = peer.wait_for(f"{wire} ").rsplit(" ", 1)[1]
        at = lambda wire: (ports[wire].rsplit(":", 1)[0], int(ports[wire].rsplit(":", 1)[1]))
        for name in ("giant.mp4", "song.mp3"):
            self.settled(name)
        wires = ("uc3m-2025", "uc3m-2020", "rede", "ufabc-json", "napster")
        for wire in ("http", *wires):
            take(at(wire), wire, "giant.mp4")  # fills the page cache, and warms the taker
        for wire in wires:
            pairs = [(take(at(wire), wire, "giant.mp4"), take(at("http"), "http", "giant.mp4")) for _ in range(self.runs)]
            self.compare(f"B. 1.2 GB given by {wire}, HTTP", pairs, SIZE, TARGET)
        self.taken(at, wires)
        self.saved_by_wires(at, wires)
        self.songs(at("music-udp"))
        self.end("B", "provider", peer)

    def taken(self, at, wires):
        """The same bytes by `cardume get` and by curl, thrown away; the first pair warms both."""
        http = ["curl", "-sS", "-o", "/dev/null", "http://%s:%d/files/giant.mp4" % at("http")]
        show(http)
        for wire in wires:
            source = f"{NAMES.get(wire, wire)}@%s:%d" % at(wire)
            ours = [self.cardume, "get", "giant.mp4", "--from", source, "-o", "-"]
            show(ours)
            pairs = [(timed(ours), timed(http)) for _ in range(self.runs + 1)][1:]
            self.compare(f"B. 1.2 GB taken by {wire}, curl", pairs, SIZE, TARGET)

    def saved_by_wires(self, at, wires):
        """The same bytes as a file in memory, by `cardume get` and by curl, in turns."""
        with tempfile.TemporaryDirectory(prefix="cardume-", dir=MEMORY) as root:
            target = os.path.join(root, "to")
            file, source = os.path.join(target, "giant.mp4"), os.path.join(self.place.folder("wires"), "giant.mp4")
            http = ["curl", "-sS", "-o", file, "http://%s:%d/files/giant.mp4" % at("http")]
            show(http)
            for wire in wires:
                ours = [self.cardume, "get", "giant.mp4", "--from", f"{NAMES.get(wire, wire)}@%s:%d" % at(wire), "--folder", target]
                show(ours)
                pairs = []
                for turn in range(self.runs):
                    took = {}
                    for command in (ours, http)[:: 1 if turn % 2 else -1]:
                        emptied(target)
                        warmed(target, SIZE)
                        took[command[0]] = timed(command)
                        self.same(file, source)
                    pairs.append((took[self.cardume], took["curl"]))
                self.compare(f"B. 1.2 GB saved by {wire}, curl", pairs, SIZE, TARGET)

    def songs(self, at):
        times = [take_song(at, "song.mp3") for _ in range(self.runs)]
        row("B. 1 MB by UDP, to a plain taker", f"{statistics.median(times):.2f} s", good=judged(max(times) < SECONDS), target=f"< {SECONDS:.0f} s")
        target = self.place.folder("taken")
        ours = [self.cardume, "get", "song.mp3", "--from", f"music-udp@{at[0]}:{at[1] - 1000}", "--folder", target]
        show(ours)
        times = []
        for _ in range(self.runs):
            times.append(timed(ours))
            self.same(os.path.join(target, "song.mp3"), os.path.join(self.place.folder("wires"), "song.mp3"))
            os.remove(os.path.join(target, "song.mp3"))
        row("B. 1 MB by UDP, by get", f"{statistics.median(times):.2f} s", good=judged(max(times) < SECONDS), target=f"< {SECONDS:.0f} s")
