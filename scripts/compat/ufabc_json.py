#!/usr/bin/env python3
"""A peer of ufabc-json (JSON over sockets without framing), and a checker of an index server and of peers for it.

    ufabc_json.py check --server HOST:PORT [--root DIR] [--peer PORT --file F [--expect PATH]] [--strict]
    ufabc_json.py get   --server HOST:PORT --file F --out PATH [--from PORT] [--expect PATH]
    ufabc_json.py serve --server HOST:PORT --folder DIR [--root DIR] [--answer yes|no|missing] [--delay S] [--gap S]

One connection to the index lasts as long as the peer; the local port of it is the peer's identity, and the peer listens
on the same port. --root is the directory below which the server lists what JOIN names; folders are made at
ROOT/p2p/PORT. Without it JOIN names a folder that the server may not list, and UPDATE brings the names. `get` searches
and downloads (from the first peer found), with the reads of the original: one recv for each answer, then recv until
fileSize. `serve` prints `ready PORT` and serves until SIGTERM; like the original it leaves no gap between
downloadAccepted and the bytes, unless --gap says so.
"""

import argparse
import errno
import json
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import time

from checks import Bad, Checks, Listener, ended, open_to, pair, same_file, sha256, until_told


class Peer:
    """A peer in the style of the original listings."""

    def __init__(self, server, root=None, timeout=5.0, listen=True):
        self.server, self.timeout = server, timeout
        for last in (False,) * 9 + (True,):  # the port of the connection may be in use by another program
            try:
                self.begin(listen)
                break
            except OSError as error:
                self.socket.close()
                if last or error.errno != errno.EADDRINUSE:
                    raise
        self.made = None
        self.folder = None
        if root:
            self.folder = self.made = os.path.join(os.path.abspath(root), "p2p", str(self.port))
            os.makedirs(self.folder, exist_ok=True)
        self.answer, self.delay, self.gap = "yes", 0.0, 0.0

    def begin(self, listen):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.settimeout(self.timeout)
        self.socket.bind(("", 0))
        self.socket.connect(self.server)
        self.ip, self.port = self.socket.getsockname()
        self.listener = Listener(self.upload, self.ip, self.port) if listen else None

    def stop(self):
        self.socket.close()
        if self.listener:
            self.listener.stop()
        if self.made:
            shutil.rmtree(self.made, ignore_errors=True)

    def say(self, message):
        """Sends an object and returns the result of one recv."""
        self.socket.sendall(message if isinstance(message, bytes) else message.encode())
        answer = self.socket.recv(1024)
        if not answer:
            raise Bad("the index closed")
        return answer.decode()

    def join(self, key="filePath", path=None):
        path = path or self.folder or f"{os.getcwd()}/p2p/{self.port}"
        return self.say(json.dumps({"method": "JOIN", "data": {key: path}}))

    def search(self, name):
        """The list of ports, sorted. The reply must be the text of a Python list of integers."""
        said = self.say('{"method":"SEARCH","data":{"query":"%s"}}' % name)
        if not re.fullmatch(r"\[(\d+(, \d+)*)?\]", said):
            raise Bad(f"a list {said!r}")
        return sorted(json.loads(said))

    def update(self, names):
        return self.say(json.dumps({"method": "UPDATE", "data": {"files": names}}))

    def update_broken(self, names):
        """The output of the original format string: no quotes, and a missing brace."""
        return self.say('{"method": "UPDATE", "data": {"files": [%s]}' % ",".join(names))

    # -- downloads

    def download(self, port, name, out, host=None, approval=60.0):
        """callDownload of the original: "ok", "rejected" or "missing"."""
        with open_to((host or self.server[0], port), self.timeout) as peer:
            peer.sendall(('{"method": "DOWNLOAD_REQUEST", "data": {"filename": %s, "port": %d}}'
                          % (json.dumps(name, ensure_ascii=False), port)).encode())
            peer.settimeout(approval)
            answer = one_object(peer.recv(1024))
            if answer.get("status") == "fileNotFound":
                return "missing"
            if answer.get("status") == "downloadRejected":
                return "rejected"
            if answer.get("status") != "OK" or type(answer.get("fileSize")) is not int:
                raise Bad(f"an answer {answer!r}")
            size = answer["fileSize"]
            answer = one_object(peer.recv(1024))
            if answer.get("status") == "downloadRejected":
                return "rejected"
            if answer.get("status") != "downloadAccepted":
                raise Bad(f"a second answer {answer!r}")
            peer.settimeout(self.timeout)
            got = 0
            with open(out, "wb") as file:
                while got < size:
                    piece = peer.recv(min(1 << 20, size - got))
                    if not piece:
                        raise Bad(f"{got} of {size} bytes came")
                    file.write(piece)
                    got += len(piece)
            if ended(peer, self.timeout):
                raise Bad("bytes after the last")
        return "ok"

    # -- uploads

    def upload(self, connection, _):
        """callUpload of the original, with a decision made before."""
        request = json.loads(connection.recv(1024).decode())
        name = request["data"]["filename"]
        if self.answer == "missing" or name not in os.listdir(self.folder):
            connection.send(json.dumps({"status": "fileNotFound"}).encode())
            return
        path = os.path.join(self.folder, name)
        connection.send(json.dumps({"status": "OK", "fileSize": os.path.getsize(path)}).encode())
        time.sleep(max(self.delay, 0.1))  # the owner reads the prompt and types SIM or NAO
        if self.answer == "no":
            connection.send(json.dumps({"status": "downloadRejected"}).encode())
            return
        connection.send(json.dumps({"status": "downloadAccepted"}).encode())
        if self.gap:
            time.sleep(self.gap)
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                connection.sendall(piece)


def one_object(said):
    """The result of one recv, which json.loads of the original must parse as a whole."""
    if not said:
        raise Bad("closed instead of an answer")
    try:
        value = json.loads(said.decode())
    except ValueError:
        raise Bad(f"one recv brought {said[:120]!r}, not one object") from None
    if not isinstance(value, dict):
        raise Bad(f"not an object: {said[:120]!r}")
    return value


# ---------------------------------------------------------------------------------------------------- the checker


class Table:
    def __init__(self, server, root, checks, timeout):
        self.server, self.root, self.c, self.timeout = server, root, checks, timeout
        self.tag = secrets.token_hex(3)
        self.peers = []
        self.scratch = tempfile.TemporaryDirectory()

    def peer(self, *names):
        """A joined peer; its folder has these files, and the index lists them."""
        peer = Peer(self.server, self.root, self.timeout)
        self.peers.append(peer)
        if not peer.folder:
            peer.folder = os.path.join(self.scratch.name, str(peer.port))
            os.mkdir(peer.folder)
        for name in names:
            with open(os.path.join(peer.folder, name), "wb") as file:
                file.write(os.urandom(2_000_003))
        if self.root:
            self.c.same("JOIN", "JOIN_OK", peer.join)
        else:
            self.joined(peer)
            self.c.same("UPDATE in place of a listed JOIN", "UPDATE_OK", lambda: peer.update(list(names)))
        return peer

    def joined(self, peer):
        """A JOIN whose folder the server may not list; whether it answers JOIN_OK is left open."""
        self.c.note("JOIN of a folder that the server may not list", "JOIN_OK", peer.join)

    def run(self, port, file, expect):
        works = [self.index, self.search, self.updates, self.outside, self.broken, self.exchange, self.leaving]
        if self.root:
            works.insert(0, self.joins)
        for work in works:
            self.c.group(work)
        if port:
            self.c.group(self.from_peer, port, file, expect)
        for peer in self.peers:
            peer.stop()
        self.scratch.cleanup()

    def joins(self):
        """Both spellings of the key, with a listing by the server."""
        c = self.c
        for key in ("filesPath", "filePath"):
            peer = Peer(self.server, self.root, self.timeout)
            self.peers.append(peer)
            name = f"{self.tag}-{key} é.mp4"
            with open(os.path.join(peer.folder, name), "wb") as file:
                file.write(b"x")
            c.same(f"JOIN with {key}", "JOIN_OK", lambda: peer.join(key))
            c.same(f"SEARCH finds what JOIN with {key} listed", [peer.port], lambda: peer.search(name))
        empty = Peer(self.server, self.root, self.timeout)
        self.peers.append(empty)
        c.same("JOIN of an empty folder", "JOIN_OK", empty.join)
        c.same("JOIN again on the same connection", "JOIN_OK", empty.join)

    def index(self):
        c = self.c
        name = f"{self.tag}-aula1.txt"
        a, b = self.peer(name), self.peer(name, name + "-only-b")
        both = sorted((a.port, b.port))
        for peer in (a, b):
            c.same("SEARCH of what two have", both, lambda: peer.search(name))
            c.same("SEARCH of what one has", [b.port], lambda: peer.search(name + "-only-b"))
            c.same("SEARCH of nothing", [], lambda: peer.search(self.tag + "-none"))
        c.same("SEARCH matches the whole name", [], lambda: a.search(self.tag + "-aula1"))
        c.same("SEARCH of an empty name", [], lambda: a.search(""))
        c.same("the connection lasts", [both] * 20, lambda: [a.search(name) for _ in range(20)])

    def search(self):
        c = self.c
        a = self.peer()
        c.same("SEARCH with blanks as json.dumps makes them", "[]",
               lambda: a.say(json.dumps({"method": "SEARCH", "data": {"query": self.tag + "-none"}})))
        c.same("SEARCH with the data first", "[]",
               lambda: a.say(json.dumps({"data": {"query": self.tag + "-none"}, "method": "SEARCH"})))
        for name in (f"{self.tag} dois.mp4", f"{self.tag} açúcar.mp4", f"{self.tag} 学.mp4", f"{self.tag}-'; DROP TABLE x; --"):
            c.same(f"UPDATE with {name!r}", "UPDATE_OK", lambda: a.update([name]))
            c.same(f"SEARCH of {name!r}", [a.port], lambda: a.search(name))

        def halves():
            a.socket.sendall(b'{"method":"SEARCH","data"')
            time.sleep(0.03)
            return a.say(':{"query":"%s"}}' % (self.tag + "-none"))

        c.note("an object in two sends", "[]", halves)

    def updates(self):
        c = self.c
        a = self.peer(f"{self.tag}-old")
        one, two = f"{self.tag}-u1", f"{self.tag}-u2"
        c.same("UPDATE", "UPDATE_OK", lambda: a.update([one, two]))
        c.same("SEARCH after UPDATE", [a.port], lambda: a.search(two))
        c.same("UPDATE replaces the whole list", [], lambda: a.search(f"{self.tag}-old"))
        c.same("UPDATE with one less", "UPDATE_OK", lambda: a.update([one]))
        c.same("SEARCH of what UPDATE left out", [], lambda: a.search(two))
        many = [f"{self.tag}-many-{number:04}" for number in range(20)]
        c.same("UPDATE with 20 names", "UPDATE_OK", lambda: a.update(many))
        c.same("SEARCH of the last", [a.port], lambda: a.search(many[-1]))
        c.same("UPDATE with no names", "UPDATE_OK", lambda: a.update([]))
        c.same("SEARCH after an empty UPDATE", [], lambda: a.search(many[0]))

    def outside(self):
        """The server lists no folder outside its root."""
        c = self.c
        watcher = self.peer()
        for path in ("/etc", "/", (self.root or "/tmp") + "/../../../../../../etc", "etc", "/etc/passwd"):
            stranger = Peer(self.server, None, self.timeout, listen=False)
            try:
                stranger.join("filesPath", path)
            except (OSError, Bad, ValueError):
                pass  # refused: equally right
            c.that(f"JOIN of {path} lists nothing",
                   not any(stranger.port in watcher.search(name) for name in ("passwd", "hostname", "etc", "hosts")))
            stranger.stop()

    def broken(self):
        c = self.c
        watcher = self.peer(f"{self.tag}-watched")
        fine = lambda: watcher.search(f"{self.tag}-watched")
        for said in (b"nonsense", b"{", b"[]", b"{}", b'{"method":"SEARCH"}', b'{"method":"SEARCH","data":{"query":7}}',
                     b'{"method":"SEARCH","data":{"query":"a"b"}}', b'{"method":"FLY","data":{}}', b"\xff\xfe", b"[" * 5000,
                     b'{"method": "UPDATE", "data": {"files": "a"}}', b'{"method": "JOIN", "data": {}}'):
            stranger = Peer(self.server, None, self.timeout, listen=False)
            stranger.socket.sendall(said)
            c.same(f"the index answers others after {said[:40]!r}", [watcher.port], fine)
            stranger.stop()
        name = f"{self.tag}-broken"
        a = self.peer()
        a.socket.settimeout(3.0)
        c.note("an UPDATE with the original format string", "UPDATE_OK", lambda: a.update_broken([name, name + "2"]))
        c.same("the index answers others after a broken UPDATE", [watcher.port], fine)
        c.note("and it counts", [a.port], lambda: watcher.search(name))
        c.note("and that connection goes on", [], lambda: a.search(self.tag + "-none"))

    def exchange(self):
        """Peers of this program download from each other by the results of SEARCH."""
        c = self.c
        name = f"{self.tag}-filme.mp4"
        a, b = self.peer(name), self.peer()
        a.gap = 0.1  # without a gap the original downloader does not understand the original uploader
        out = os.path.join(b.folder, name)

        def fetch():
            return b.download(b.search(name)[0], name, out)

        c.same("DOWNLOAD", "ok", fetch)
        c.that("DOWNLOAD brings the same bytes", os.path.exists(out) and sha256(out) == sha256(os.path.join(a.folder, name)))
        c.same("UPDATE after DOWNLOAD", "UPDATE_OK", lambda: b.update(os.listdir(b.folder)))
        c.same("SEARCH after DOWNLOAD", sorted((a.port, b.port)), lambda: a.search(name))
        c.same("a file that is missing", "missing", lambda: b.download(a.port, self.tag + "-none", out))
        a.answer = "no"
        c.same("a refusal", "rejected", lambda: b.download(a.port, name, out))

    def leaving(self):
        c = self.c
        name = f"{self.tag}-gone"
        a, watcher = self.peer(name), self.peer()
        a.stop()
        time.sleep(0.2)
        c.note("SEARCH leaves out who closed its connection", [], lambda: watcher.search(name))
        crowd = [Peer(self.server, None, self.timeout, listen=False) for _ in range(30)]
        for peer in crowd:
            c.same("UPDATE of one in a crowd", "UPDATE_OK", lambda: peer.update([name + "-crowd"]))
        c.same("SEARCH finds the crowd", sorted(peer.port for peer in crowd), lambda: watcher.search(name + "-crowd"))
        for peer in crowd:
            peer.stop()

    def from_peer(self, port, file, expect):
        """A peer of the network: responses come one at a time, so that one recv returns one object."""
        c = self.c
        a = self.peer()
        out = os.path.join(self.scratch.name, "from-peer")
        c.same("SEARCH names the peer", True, lambda: port in a.search(file))
        for _ in range(3):
            c.same("DOWNLOAD from the peer", "ok", lambda: a.download(port, file, out))
            if expect:
                c.that("the same bytes", os.path.exists(out) and sha256(out) == sha256(expect))
        for name in (self.tag + "-none", "../" + file, "/etc/passwd", "", "."):
            c.same(f"DOWNLOAD of {name!r}", {"missing", "rejected"}, lambda: a.download(port, name, out))
        for said in (b"nonsense", b"{}", b'{"method": "DOWNLOAD_REQUEST"}', b""):
            with open_to((self.server[0], port), self.timeout) as stranger:
                stranger.sendall(said)
        c.same("DOWNLOAD after nonsense", "ok", lambda: a.download(port, file, out))


# ------------------------------------------------------------------------------------------------------ the modes


def check(options, out=None):
    checks = Checks(options.strict, out)
    Table(pair(options.server), options.root, checks, options.timeout).run(options.peer, options.file, options.expect)
    return checks.end()


def get(options):
    peer = Peer(pair(options.server), options.root, options.timeout)
    try:
        if options.root:
            print(peer.join(options.key), flush=True)
        ports = peer.search(options.file)
        print(f"peers with the file: {ports}", flush=True)
        port = options.sender or next((port for port in ports if port != peer.port), None)
        if port is None:
            raise Bad("nobody has it")
        result = peer.download(port, options.file, options.out, options.host, options.approval)
        if result != "ok":
            raise Bad(result)
        said = peer.update([options.file])
        if said != "UPDATE_OK":
            raise Bad(f"UPDATE gave {said!r}")
        return same_file(options.out, options.expect)
    finally:
        peer.stop()


def serve(options, told=None):
    told = told or until_told()
    peer = Peer(pair(options.server), None, options.timeout)
    link = None
    peer.folder = os.path.abspath(options.folder)
    peer.answer, peer.delay, peer.gap = options.answer, options.delay, options.gap
    try:
        if options.root:  # the index lists ROOT/p2p/PORT, so the files go there
            link = os.path.join(os.path.abspath(options.root), "p2p", str(peer.port))
            shutil.copytree(peer.folder, link)
            peer.folder = link
            said = peer.join(options.key)
            if said != "JOIN_OK":
                raise Bad(f"JOIN gave {said!r}")
        else:
            said = peer.update(os.listdir(peer.folder))
            if said != "UPDATE_OK":
                raise Bad(f"UPDATE gave {said!r}")
        print(f"ready {peer.port}", flush=True)
        told.wait()
        return 0
    finally:
        peer.stop()
        if link:
            shutil.rmtree(link, ignore_errors=True)


def arguments(words=None):
    parser = argparse.ArgumentParser(description="peer and checker of ufabc-json")
    modes = parser.add_subparsers(dest="mode", required=True)
    for name in ("check", "get", "serve"):
        mode = modes.add_parser(name)
        mode.add_argument("--server", required=True, metavar="HOST:PORT")
        mode.add_argument("--root", help="JOIN names ROOT/p2p/PORT")
        mode.add_argument("--timeout", type=float, default=5.0 if name == "check" else 30.0)
        if name == "check":
            mode.add_argument("--peer", type=int, metavar="PORT", help="also download --file from this peer")
            mode.add_argument("--file")
            mode.add_argument("--strict", action="store_true", help="notes count as checks")
        else:
            mode.add_argument("--key", choices=("filePath", "filesPath"), default="filePath")
        if name == "get":
            mode.add_argument("--from", dest="sender", type=int, metavar="PORT")
            mode.add_argument("--host", help="where the peer is (as in the original: where the server is)")
            mode.add_argument("--file", required=True)
            mode.add_argument("--out", required=True)
            mode.add_argument("--approval", type=float, default=60.0, help="seconds that the owner may think")
        if name == "serve":
            mode.add_argument("--folder", required=True)
            mode.add_argument("--answer", choices=("yes", "no", "missing"), default="yes")
            mode.add_argument("--delay", type=float, default=0.0, help="seconds that the owner thinks")
            mode.add_argument("--gap", type=float, default=0.0, help="seconds between downloadAccepted and the bytes")
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
