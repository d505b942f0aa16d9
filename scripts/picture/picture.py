"""Runs a server, a peer and a download in terminals, and puts their screens and the page on a phone into one picture.

Usage: picture.py CARDUME FOLDER       runs in a network namespace of its own; see scripts/picture.sh
"""

import html
import os
import subprocess
import sys
import time
from pathlib import Path

from terminal import Terminal

HERE = Path(__file__).parent
HOST, FRIEND = "192.168.1.7", "192.168.1.23"
SERVER = f"{HOST}:1099"
PATIENCE = 60.0
# Sparse files: the picture needs only names and sizes.
VIDEOS = {"aula1.mp4": 1_200_000_000, "aula2.mp4": 1_900_000_000, "slides.pdf": 3_000_000, "Álgebra.mkv": 2_400_000_000}


def network():
    """Two computers on one network; returns the process with the namespace of the second."""
    run = lambda *words: subprocess.run(words, check=True)
    second = subprocess.Popen(["unshare", "--net", "sleep", "600"])
    own = os.readlink("/proc/self/ns/net")
    until(lambda: os.readlink(f"/proc/{second.pid}/ns/net") != own, "a second namespace")
    inside = ["nsenter", "--net", "--target", str(second.pid)]
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1", "netns", str(second.pid))
    run("ip", "address", "add", f"{HOST}/24", "dev", "lan0")
    run("ip", "link", "set", "lan0", "up")
    run(*inside, "ip", "link", "set", "lo", "up")
    run(*inside, "ip", "address", "add", f"{FRIEND}/24", "dev", "lan1")
    run(*inside, "ip", "link", "set", "lan1", "up")
    return second, inside


def until(true, what):
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            sys.exit(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.02)


class Stage:
    def __init__(self, cardume, place):
        self.place = place
        os.makedirs(place / "bin")
        os.symlink(cardume, place / "bin/cardume")
        self.second, self.inside = network()
        self.terminals = []

    def environment(self, home):
        return {**os.environ, "PATH": f"{self.place}/bin:{os.environ['PATH']}", "HOME": str(home), "TERM": "xterm-256color", "LANG": "C.UTF-8",
                "XDG_STATE_HOME": str(home / ".state"), "CARDUME_CACHE": str(home / ".cache"), "CARDUME_LANG": "en"}

    def terminal(self, title, prompt, home, inside=()):
        os.makedirs(home, exist_ok=True)
        terminal = Terminal(title, prompt, home, self.environment(home), inside)
        self.terminals.append(terminal)
        return terminal

    def drawn(self, phone):
        """The whole picture as a page of HTML."""
        windows = "".join(
            f'<section><h2>{html.escape(one.title)}</h2><pre>{one.as_html()}</pre></section>' for one in self.terminals)
        text = (HERE / "picture.html").read_text()
        return text.replace("<!-- terminals -->", windows).replace("PHONE", str(phone))

    def end(self):
        for terminal in self.terminals:
            terminal.end()
        self.second.kill()
        self.second.wait()


def main():
    cardume, place = sys.argv[1], Path(sys.argv[2])
    stage = Stage(cardume, place)
    try:
        videos = place / "host/videos"
        os.makedirs(videos)
        for name, size in VIDEOS.items():
            with open(videos / name, "wb") as file:
                file.write(name.encode())
                file.truncate(size)

        server = stage.terminal("server · 192.168.1.7", "host$", place / "host")
        server.start("cardume server --open --listen 0.0.0.0:1099 --data accounts")
        until(lambda: server.shows("listening on"), "a server")
        peer = stage.terminal("peer · 192.168.1.7", "host$", place / "host")
        peer.export("CARDUME_SERVER", SERVER)
        peer.start("cardume peer --listen 0.0.0.0:4000 --folder videos --upload-limit 60MB")
        until(lambda: peer.shows("Sou peer"), "a peer")

        friend = stage.terminal("download · 192.168.1.23", "friend$", place / "friend", stage.inside)
        friend.export("CARDUME_SERVER", SERVER)
        listed = lambda: subprocess.run([*stage.inside, cardume, "ls", f"{HOST}:4000"], env=friend.environment, capture_output=True, text=True)
        until(lambda: listed().stdout.count("hashed") == len(VIDEOS), "hashes of all files")
        friend.run(f"cardume ls {HOST}:4000")
        friend.run("cardume search --contains AULA")
        friend.run("cardume get slides.pdf")
        friend.run("cardume hash slides.pdf")

        phone = place / "phone.png"
        browser = subprocess.Popen([*stage.inside, "node", HERE / "shot.mjs", "phone", f"http://{SERVER}/", phone],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if browser.stdout.readline() != "ready\n":
            sys.exit("the page does not show the files")
        friend.start("cardume get aula1.mp4")
        until(lambda: friend.shows_like(r"(3[3-9]|[4-9]\d) %"), "a third of the download")
        browser.stdin.write("now\n")
        browser.stdin.flush()
        if browser.wait():
            sys.exit("no picture of the page")
        page = place / "picture.html"
        page.write_text(stage.drawn(phone))
        subprocess.run(["node", HERE / "shot.mjs", "page", page.as_uri(), place / "picture.png"], check=True)
    finally:
        stage.end()


if __name__ == "__main__":
    main()
