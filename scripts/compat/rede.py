#!/usr/bin/env python3
"""A peer of rede-p2p (rede-p2p, plain text), and a checker of an index server and of peers for it.

    rede.py check --server HOST:PORT [--bind 127.0.0.2 --bind 127.0.0.3] [--peer IP:PORT --file F [--expect PATH]] [--strict]
    rede.py get   --server HOST:PORT --from IP[:PORT] --file F --out PATH [--bind 127.0.0.3] [--size N] [--expect PATH]
    rede.py serve --server HOST:PORT --folder DIR [--list FILE] [--bind 127.0.0.2]

The index greets with the port that the peer shall listen on; then `peers` and `quit` are bare words on that connection.
Peers answer `ls` and `get NAME`. The index knows a peer by its address, so every peer binds to one of its own. `get`
reads until the other side closes, or is quiet for --quiet seconds, or --size bytes came. `serve` shares what --list
names (`name path` a line, as meus_arquivos.txt; else all of the folder), never closes after the bytes, like the
original, and prints `ready PORT`.
"""

import argparse
import os
import re
import secrets
import sys
import tempfile
import time

from checks import Bad, Checks, Listener, open_to, pair, same_file, sha256, until_quiet, until_told


class Peer:
    """A peer: its lasting connection to the index, and the server for other peers."""

    def __init__(self, server, bind=None, files=None, timeout=5.0):
        self.server, self.bind, self.timeout = server, bind, timeout
        self.files = files if files is not None else {}  # name -> path
        self.socket = open_to(server, timeout, bind)
        self.ip = self.socket.getsockname()[0]
        self.greeting = self.socket.recv(1024)
        if not self.greeting.isdigit() or not 0 < int(self.greeting) < 65536:
            self.socket.close()
            raise Bad(f"a greeting {self.greeting!r}")
        self.port = int(self.greeting)
        self.listener = None

    def listen(self):
        self.listener = Listener(self.serve_one, self.ip, self.port)
        return self

    def stop(self):
        self.socket.close()
        if self.listener:
            self.listener.stop()

    def peers(self, word=b"peers"):
        """[(ip, port), ...] as sent by the index, each terminated by a slash."""
        self.socket.sendall(word)
        said = self.socket.recv(65536).decode()
        if not re.fullmatch(r"(\d+\.\d+\.\d+\.\d+:\d+/)*", said) or not said:
            raise Bad(f"a list {said!r}")
        return [(ip, int(port)) for ip, port in (entry.split(":") for entry in said.split("/") if entry)]

    def quit(self):
        """True when the index closes."""
        self.socket.sendall(b"quit")
        try:
            while self.socket.recv(1024):
                pass
        except ConnectionResetError:
            pass
        return True

    # -- the other peers; one connection for each command

    def open(self, address):
        return open_to(address, self.timeout, self.bind)

    def ls(self, address, word=b"ls"):
        with self.open(address) as peer:
            peer.sendall(word)
            said = until_quiet(peer, 0.5, self.timeout).decode()
        if said and not said.endswith(" "):
            raise Bad(f"names {said!r} without a space at the end")
        return said

    def get(self, address, name, out, quiet=2.0, size=None, pieces=None):
        """Returns the number of received bytes. `pieces` splits the command into several sends."""
        got = 0
        with self.open(address) as peer:
            for number, piece in enumerate(pieces or [f"get {name}".encode()]):
                if number:
                    time.sleep(0.01)
                peer.sendall(piece)
            with open(out, "wb") as file:
                peer.settimeout(self.timeout)
                while size is None or got < size:
                    try:
                        piece = peer.recv(65536)
                    except TimeoutError:
                        break
                    if not piece:
                        break
                    file.write(piece)
                    got += len(piece)
                    peer.settimeout(quiet)
        return got

    def serve_one(self, connection, _):
        """Answers commands until the other side closes."""
        connection.settimeout(300.0)
        while said := connection.recv(1024):
            word, _, name = said.decode().partition(" ")
            if word == "ls":
                connection.sendall("".join(name + " " for name in self.files).encode())
            elif word == "get" and name in self.files:
                with open(self.files[name], "rb") as file:
                    while piece := file.read(1024 * 64):
                        connection.sendall(piece)
            elif word == "quit":
                return


def share(folder, listing=None):
    """name -> path, from `name path` lines or from a folder."""
    if not listing:
        return {name: os.path.join(folder, name) for name in sorted(os.listdir(folder))}
    with open(listing) as file:
        lines = [line.strip().split(" ", 1) for line in file if line.strip()]
    return {name: os.path.join(folder, path) for name, path in lines}


# ---------------------------------------------------------------------------------------------------- the checker


class Table:
    def __init__(self, server, binds, checks, timeout):
        self.server, self.binds, self.c, self.timeout = server, binds, checks, timeout
        self.tag = secrets.token_hex(3)
        self.scratch = tempfile.TemporaryDirectory()

    def run(self, peer, file, expect):
        for work in (self.greets, self.lists, self.leaves, self.words, self.exchange):
            self.c.group(work)
        if peer:
            self.c.group(self.from_peer, peer, file, expect)
        self.scratch.cleanup()

    def peer(self, number=0, files=None):
        return Peer(self.server, self.binds[number], files, self.timeout)

    def until(self, name, wanted, ask):
        """The index may notice a closed connection late."""
        def patient():
            for _ in range(20):
                got = ask()
                if got == wanted:
                    break
                time.sleep(0.1)
            return got
        self.c.same(name, wanted, patient)

    def greets(self):
        c = self.c
        a = self.peer()
        rest = until_quiet(a.socket, 0.2, 0.3)
        c.that("the greeting is a port and nothing more", not rest, f"then came {rest!r}")
        c.that("the greeting is a port above 1023", a.port > 1023, str(a.port))
        c.same("the port can be listened on", True, lambda: a.listen() is a)
        a.stop()

    def lists(self):
        c = self.c
        a, b = self.peer(0), self.peer(1)
        c.same("peers names the other", True, lambda: (b.ip, b.port) in a.peers())
        c.same("and to the other this one", True, lambda: (a.ip, a.port) in b.peers())
        c.note("peers names who asks as well", True, lambda: (a.ip, a.port) in a.peers())
        c.same("each peer is named once", [1] * 2, lambda: [a.peers().count((b.ip, b.port)), b.peers().count((a.ip, a.port))])
        c.same("peers may be asked again and again", True, lambda: all((b.ip, b.port) in a.peers() for _ in range(20)))
        a.stop()
        b.stop()

    def leaves(self):
        c = self.c
        a, b = self.peer(0), self.peer(1)
        gone = b.ip, b.port
        c.same("quit closes the connection", True, b.quit)
        b.stop()
        self.until("peers leaves out who quit", False, lambda: gone in a.peers())
        b = self.peer(1)
        gone = b.ip, b.port
        c.same("a peer that quit may come again", True, lambda: gone in a.peers())
        b.stop()
        self.until("peers leaves out whose connection ended", False, lambda: gone in a.peers())
        for _ in range(10):
            b = self.peer(1)
            b.stop()
        b = self.peer(1)
        c.same("and who came and went ten times is there", True, lambda: (b.ip, b.port) in a.peers())
        again = self.peer(1)
        c.note("a second connection from one address", 1, lambda: sum(ip == b.ip for ip, _ in a.peers()))
        again.stop()
        a.stop()
        b.stop()

    def words(self):
        c = self.c
        a, b = self.peer(0), self.peer(1)
        for said in (b"nonsense", b"\0\xff\xfe", b"x" * 5000, b"get", b"ls 1.2.3.4 5"):
            b.socket.close()
            b = self.peer(1)
            b.socket.sendall(said)
            c.same(f"the index answers others after {said[:20]!r}", True, lambda: bool(a.peers()))
        for word in (b"peers\n", b"peers\r\n", b"peers "):
            until_quiet(a.socket, 0.1, 0.1)
            c.note(f"{word!r}", True, lambda: bool(a.peers(word)))
        b.stop()
        quiet = self.peer(1)
        time.sleep(0.5)
        c.same("a peer that said nothing is still listed", True, lambda: (quiet.ip, quiet.port) in a.peers())
        c.same("and answered", True, lambda: bool(quiet.peers()))
        quiet.stop()
        a.stop()

    def exchange(self):
        """Its own peers, found through the index."""
        c = self.c
        path, out = (os.path.join(self.scratch.name, name) for name in ("given", "taken"))
        with open(path, "wb") as file:
            file.write(os.urandom(1_500_001))
        a = self.peer(0, {"a.txt": path, "int.png": path}).listen()
        b = self.peer(1)
        self.until("peers gives one address for the other", [(a.ip, a.port)],
                   lambda: [entry for entry in b.peers() if entry[0] == a.ip])
        address = a.ip, a.port
        c.same("ls", "a.txt int.png ", lambda: b.ls(address))
        c.same("get", 1_500_001, lambda: b.get(address, "a.txt", out, 0.5))
        c.that("get brings the same bytes", sha256(out) == sha256(path))
        a.stop()
        b.stop()

    def from_peer(self, address, file, expect):
        """A peer of the network."""
        c = self.c
        a = self.peer()
        out = os.path.join(self.scratch.name, "from-peer")
        c.same("peers names the peer", True, lambda: address in a.peers())
        c.same("ls names the file", True, lambda: file + " " in a.ls(address))
        command = f"get {file}".encode()
        ways = {"at once": [command], "in two": [command[:-2], command[-2:]], "word and name": [command[:4], command[4:]]}
        for way, pieces in ways.items():
            began = time.monotonic()
            c.same(f"get {way}", True, lambda: a.get(address, file, out, 3.0, pieces=pieces) > 0)
            c.that(f"the uploader closes at the end, {way}", time.monotonic() - began < 3.0)
            if expect:
                c.that(f"the same bytes, {way}", sha256(out) == sha256(expect))
        for name in (self.tag + "-none", "../" + file, "/etc/passwd", "", "."):
            try:
                size = a.get(address, name, out, 0.5)
                with open(out, "rb") as got:
                    begin = got.read(200)
            except OSError:
                size, begin = 0, b""
            c.that(f"get of {name!r} brings nothing", size == 0, f"{size} bytes: {begin!r}")
        for said in (b"nonsense", b"\0\xff", b""):
            with a.open(address) as stranger:
                stranger.sendall(said)
        c.same("ls after nonsense", True, lambda: file + " " in a.ls(address))
        asleep = [a.open(address) for _ in range(10)]
        c.same("get while others say nothing", True, lambda: a.get(address, file, out, 3.0) > 0)
        for connection in asleep:
            connection.close()
        a.stop()


# ------------------------------------------------------------------------------------------------------ the modes


def check(options, out=None):
    checks = Checks(options.strict, out)
    binds = (options.bind or []) + ["127.0.0.2", "127.0.0.3"][len(options.bind or []):]
    peer = pair(options.peer) if options.peer else None
    Table(pair(options.server), binds, checks, options.timeout).run(peer, options.file, options.expect)
    return checks.end()


def get(options):
    peer = Peer(pair(options.server), options.bind, {}, options.timeout)
    try:
        ip, _, port = options.sender.partition(":")
        found = [entry for entry in peer.peers() if entry[0] == ip and port in ("", str(entry[1]))]
        if not found:
            raise Bad(f"{options.sender} is not among {peer.peers()}")
        print(f"{options.sender} is at {found[0][0]}:{found[0][1]}", flush=True)
        names = peer.ls(found[0])
        if options.file + " " not in names:
            raise Bad(f"{options.file} is not among {names!r}")
        size = peer.get(found[0], options.file, options.out, options.quiet, options.size)
        if options.size is not None and size != options.size:
            raise Bad(f"{size} of {options.size} bytes came")
        failed = same_file(options.out, options.expect)
        peer.quit()
        return failed
    finally:
        peer.stop()


def serve(options, told=None):
    told = told or until_told()
    peer = Peer(pair(options.server), options.bind, share(options.folder, options.list), options.timeout).listen()
    print(f"ready {peer.port}", flush=True)
    told.wait()
    peer.quit()
    peer.stop()
    return 0


def arguments(words=None):
    parser = argparse.ArgumentParser(description="peer and checker of rede-p2p (rede-p2p)")
    modes = parser.add_subparsers(dest="mode", required=True)
    for name in ("check", "get", "serve"):
        mode = modes.add_parser(name)
        mode.add_argument("--server", required=True, metavar="HOST:PORT")
        mode.add_argument("--timeout", type=float, default=5.0 if name == "check" else 30.0)
        if name == "check":
            mode.add_argument("--bind", action="append", metavar="IP", help="twice: the addresses of its two peers")
            mode.add_argument("--peer", metavar="IP:PORT", help="also download --file from this peer")
            mode.add_argument("--file")
            mode.add_argument("--strict", action="store_true", help="notes count as checks")
        else:
            mode.add_argument("--bind", default={"get": "127.0.0.3", "serve": "127.0.0.2"}[name], metavar="IP")
        if name == "get":
            mode.add_argument("--from", dest="sender", required=True, metavar="IP[:PORT]")
            mode.add_argument("--file", required=True)
            mode.add_argument("--out", required=True)
            mode.add_argument("--quiet", type=float, default=2.0, help="seconds of silence that end a file")
            mode.add_argument("--size", type=int, help="stop after so many bytes")
        if name == "serve":
            mode.add_argument("--folder", required=True)
            mode.add_argument("--list", help="a file of lines `name path`, paths from the folder")
        else:
            mode.add_argument("--expect", metavar="PATH", help="the bytes must be those of this file")
    options = parser.parse_args(words)
    if options.mode == "check" and options.peer and not options.file:
        parser.error("--peer needs --file")
    return options


def main(words=None):
    options = arguments(words)
    try:
        return {"check": check, "get": get, "serve": serve}[options.mode](options)
    except (OSError, Bad, ValueError) as error:
        print(f"FAILED {type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
