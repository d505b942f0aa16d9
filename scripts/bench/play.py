"""Response times of a player, and stalls during play. See run.sh; a section is a letter."""

import os
import shutil
import socket
import statistics
import subprocess
import time

from base import Base, emptied, judged, row, show
from tools import MIB, Trouble

CROWD = 64
FILM = 25_000_000 / 8  # bytes a second
BUFFER = 2.0  # seconds of film that the reader keeps ahead


class Reader:
    """A connection to the URL of a film."""

    def __init__(self, url, first=0):
        host, path = url.removeprefix("http://").split("/", 1)
        name, port = host.split(":")
        self.socket = socket.create_connection((name, int(port)), timeout=30)
        self.socket.sendall(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nRange: bytes={first}-\r\n\r\n".encode())

    def head(self):
        """Reads up to the first byte of the body."""
        text = b""
        while b"\r\n\r\n" not in text or text.endswith(b"\r\n\r\n"):
            came = self.socket.recv(4096)
            if not came:
                raise Trouble("the link of the player was closed")
            text += came
        status = text.split(b" ", 2)[1]
        if status != b"206":
            raise Trouble(f"the player got {status!r}")
        return len(text.split(b"\r\n\r\n", 1)[1])

    def close(self):
        self.socket.close()


class Play(Base):
    def play(self, name, folder):
        """The command line of `play` without a player."""
        return [self.cardume, "play", name, "--player", "none", "--server", self.server.address, "--folder", folder]

    def o(self):
        size = 1024 * MIB if self.quick else 4096 * MIB
        folder = self.place.folder("film")
        self.file("film.mkv", size, folder)
        peer = self.hashed_peer(folder)
        target = self.place.folder("watched")
        command = self.play("film.mkv", target)
        show(command)
        firsts, seeks = [], []
        for run in range(self.runs):
            emptied(target)
            began = time.monotonic()
            play = self.place.start(command)
            reader = Reader(play.wait_for("http://"))
            reader.head()
            firsts.append(time.monotonic() - began)
            # The rest is downloading at full speed; these positions were never requested.
            for part in (0.9, 0.6, 0.75):
                reader.close()
                place = int(size * part) + run * 40 * MIB
                missing = is_hole(os.path.join(target, "film.mkv.part"), place)
                began = time.monotonic()
                reader = Reader(play.wait_for("http://"), place)
                reader.head()
                took = time.monotonic() - began
                if missing:
                    seeks.append(took)
            reader.close()
            play.end()
        emptied(target)
        print("  first byte, each run:", *(f"{one * 1e3:.0f} ms" for one in firsts), sep=" | ")
        print("  a seek into what was missing, each:", *(f"{one * 1e3:.0f} ms" for one in seeks), sep=" | ")
        first = statistics.median(firsts) * 1e3
        row("o. first byte after the start", f"{first:.0f} ms", target="< 100 ms", good=judged(first < 100))
        if not seeks:
            raise Trouble("all was here before anybody could seek")
        seek, longest = statistics.median(seeks) * 1e3, max(seeks) * 1e3
        row("o. seek, first byte: median, longest", f"{seek:.0f} / {longest:.0f} ms", target="< 150 ms", good=judged(longest < 150))
        self.end("o", "provider", peer)
        shutil.rmtree(folder)

    def p(self):
        size = 256 * MIB if self.quick else 512 * MIB
        folder = self.place.folder("film")
        self.file("film.mkv", size, folder)
        self.file("other.bin", 1024 * MIB, folder)
        peer = self.hashed_peer(folder)
        target = self.place.folder("watched")
        emptied(target)
        curl = ["sh", "-c", f"while curl -sSf -o /dev/null http://{peer.address}/files/other.bin; do :; done"]
        command = self.play("film.mkv", target)
        print(f"  {CROWD} at once:")
        show(curl)
        show(command)
        crowd = [subprocess.Popen(curl, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) for _ in range(CROWD)]
        try:
            time.sleep(1)  # until all have arrived
            play = self.place.start(command)
            stalls, dry, took = watch(Reader(play.wait_for("http://")), 15 if self.quick else 40)
            play.end()
        finally:
            for one in crowd:
                os.killpg(one.pid, 15)
            for one in crowd:
                one.wait()
        emptied(target)
        print(f"  {took:.1f} s of film at 25 Mbit/s beside {CROWD} downloads: {stalls} stalls, the longest {dry * 1e3:.0f} ms")
        row(f"p. stalls beside {CROWD} downloads", f"{stalls}", target="0", good=judged(stalls == 0))
        row("p. longest stall", f"{dry * 1e3:.0f} ms", target="0 ms", good=judged(dry == 0))
        self.end("p", "provider", peer)
        shutil.rmtree(folder)


def is_hole(path, place):
    """True when no byte of the download is present at this offset, that is, a hole in the sparse file."""
    with open(path, "rb") as file:
        try:
            return os.lseek(file.fileno(), place, os.SEEK_DATA) > place
        except OSError:
            return True  # nor any byte after


def watch(reader, seconds):
    """Plays part of a film with a buffer of two seconds. Returns the number of stalls, the longest one, and the bytes played."""
    reader.head()
    have, stalls, longest, gap, paused = 0, 0, 0.0, 0.0, 0.0
    began = None
    while True:
        now = time.monotonic()
        if began is None and have >= BUFFER * FILM:
            began = now
        played = now - began - paused if began else 0.0
        if played >= seconds:
            reader.close()
            return stalls, longest, played
        if have / FILM - played >= BUFFER:
            time.sleep(0.002)
            continue
        dry_at = began + paused + have / FILM if began else float("inf")
        came = len(reader.socket.recv(65536))
        if not came:
            raise Trouble(f"the film ended after {have} bytes")
        have += came
        late = time.monotonic() - dry_at
        if late > 0:
            # A few bytes after a stall do not end the stall.
            stalls, gap = (stalls, gap + late) if gap else (stalls + 1, late)
            paused, longest = paused + late, max(longest, gap)
        elif have / FILM - played > BUFFER / 2:
            gap = 0.0
