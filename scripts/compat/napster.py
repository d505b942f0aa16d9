#!/usr/bin/env python3
"""A checker of an index server, and of a peer, for programs of napster-ufabc in their four forms, and providers.

    napster.py check --server HOST:PORT [--peer HOST:PORT --file F --expect PATH] [--timeout S] [--strict]
    napster.py serve --folder DIR --form download|greeting|name|line|object|http [--server HOST:PORT]

Each form is what one family of programs sends, and each answer is read by the code that such a program has: one recv, and
`eval`-like parsing of a list, a dictionary or words. `serve` gives files as one family of programs does, which knows no other
request, and prints `ready PORT`.
"""

import argparse
import ast
import json
import os
import secrets
import struct
import sys
import time

from checks import Bad, Checks, Listener, open_to, pair, until_quiet, until_told


class Bare:
    """The verb in a segment, then its argument in another; one lasting connection."""

    def __init__(self, server, timeout):
        self.socket = open_to(server, timeout)

    def two(self, verb, argument):
        self.socket.sendall(verb.encode())
        time.sleep(0.02)
        self.socket.sendall(argument.encode())
        return self.socket.recv(4096).decode()

    def join(self, port, files):
        said = {"addrs_server": [], "addrs_peer": ["127.0.0.1", port], "folder_path": "/tmp/x", "files": files}
        return self.two("JOIN", json.dumps(said)) == "JOIN_OK"

    def search(self, name, port):
        return sorted(json.loads(self.two("SEARCH", name)))

    def update(self, name, port):
        return self.two("UPDATE", name) == "UPDATE_OK"


class Once:
    """A connection for each request."""

    def __init__(self, server, timeout):
        self.server, self.timeout = server, timeout

    def say(self, text):
        with open_to(self.server, self.timeout) as connection:
            connection.sendall(text.encode())
            got = connection.recv(4096).decode()
        if not got:
            raise Bad("no answer")
        return got


class Words(Once):
    def join(self, port, files):
        return self.say(f"JOIN 127.0.0.1 {port} {' '.join(files)}") == "JOIN_OK"

    def search(self, name, port):
        said = ast.literal_eval(self.say(f"SEARCH {name}"))
        if said["response"] != "SEARCH_OK":
            raise Bad(str(said))
        return sorted(said["matching_peers"])

    def update(self, name, port):
        return self.say(f"UPDATE 127.0.0.1 {port} {name}") == "UPDATE_OK"


class Places(Once):
    def join(self, port, files):
        return self.say(f"JOIN 127.0.0.1:{port} {' '.join(files)}") == "JOIN_OK"

    def search(self, name, port):
        return sorted(self.say(f"SEARCH 127.0.0.1:{port} {name}").split())

    def update(self, name, port):
        return self.say(f"UPDATE 127.0.0.1:{port} {name}") == "UPDATE_OK"


class Name(Once):
    """Objects with `name`."""

    def ask(self, **fields):
        return json.loads(self.say(json.dumps(fields)))

    def join(self, port, files):
        return self.ask(name="JOIN", files=files, client_port=port)["files"] == files

    def search(self, name, port):
        return sorted(self.ask(name="SEARCH", file=name)["results"])

    def update(self, name, port):
        return self.ask(name="UPDATE", file=name, client_port=port)["name"] == "UPDATE_OK"


class Action(Once):
    """Objects with `action` and `data`."""

    def ask(self, action, **data):
        return json.loads(self.say(json.dumps({"action": action, "data": data})))

    def join(self, port, files):
        return self.ask("JOIN", host="127.0.0.1", port=port, files=files)["message"] == "JOIN_OK"

    def search(self, name, port):
        return sorted(f"{ip}:{port}" for ip, port in self.ask("SEARCH", file=name)["data"]["peers"])

    def update(self, name, port):
        return self.ask("UPDATE", host="127.0.0.1", port=port, file=name)["message"] == "UPDATE_OK"


FORMS = (Bare, Words, Places, Name, Action)


class Table:
    def __init__(self, server, checks, timeout):
        self.server, self.c, self.timeout = server, checks, timeout
        self.tag = secrets.token_hex(3)
        self.first = 20_000 + secrets.randbelow(10_000)

    def run(self, peer, file, expect):
        for number, form in enumerate(FORMS):
            self.c.group(self.form, form, self.first + number)
        self.c.group(self.together)
        self.c.group(self.refuses)
        if peer:
            self.c.group(self.from_peer, peer, file, expect)

    def form(self, form, port):
        c, kind = self.c, form.__name__
        program = form(self.server, self.timeout)
        name, place = f"{self.tag}-{kind}.mp4", f"127.0.0.1:{port}"
        c.same(f"{kind}: SEARCH of nothing", [], lambda: program.search(name, port))
        c.same(f"{kind}: JOIN", True, lambda: program.join(port, [name, f"{self.tag}-common"]))
        c.same(f"{kind}: SEARCH", [place], lambda: program.search(name, port))
        c.same(f"{kind}: SEARCH of a part of the name", [], lambda: program.search(name[:-1], port))
        c.same(f"{kind}: UPDATE", True, lambda: program.update(f"new-{name}", port))
        c.same(f"{kind}: SEARCH of what UPDATE added", [place], lambda: program.search(f"new-{name}", port))
        c.same(f"{kind}: UPDATE removes nothing", [place], lambda: program.search(name, port))
        c.same(f"{kind}: JOIN again", True, lambda: program.join(port, [name, f"{self.tag}-common"]))
        c.same(f"{kind}: takes the place of the earlier list", [], lambda: program.search(f"new-{name}", port))

    def together(self):
        """Every form finds the peers of all forms."""
        every = sorted(f"127.0.0.1:{self.first + number}" for number in range(len(FORMS)))
        for form in FORMS:
            program = form(self.server, self.timeout)
            self.c.same(f"{form.__name__} finds all", every, lambda: program.search(f"{self.tag}-common", self.first))

    def refuses(self):
        c, watcher = self.c, Places(self.server, self.timeout)
        once = Once(self.server, self.timeout)
        c.same("JOIN of another machine's address", "JOIN_FAIL", lambda: once.say("JOIN 192.0.2.1:4001 a"))
        c.same("UPDATE of an unknown peer", "UPDATE_FAIL", lambda: once.say("UPDATE 127.0.0.1:1 a"))
        for said in (b"JO", b"JOIN", b"JOIN{", b'{"name":', b"\0\xff\xfe", b"x" * 10_000, b"JRMI\0\2K", b"\x80\4\x95"):
            with open_to(self.server, self.timeout) as connection:
                connection.sendall(said)
                c.same(f"the index answers others after {said[:12]!r}", [],
                       lambda: watcher.search(self.tag + "-none", self.first))

    def from_peer(self, peer, file, expect):
        c = self.c
        with open(expect, "rb") as opened:
            wanted = opened.read()

        def get(said, header):
            """All bytes behind a header that arrives by itself."""
            with open_to(peer, self.timeout) as connection:
                connection.sendall(said.encode())
                first = connection.recv(len(header) if isinstance(header, bytes) else header)
                got = b""
                while piece := connection.recv(1 << 20):
                    got += piece
            return first, got

        c.same("DOWNLOAD", (b"DOWNLOAD_OK", wanted), lambda: get(f"DOWNLOAD {file}", 4096))
        c.same("a name with a line end", (struct.pack(">q", len(wanted)), wanted), lambda: get(f"{file}\n", 8))
        c.same("a name alone", (b"ACCEPT", wanted), lambda: get(file, 4096))
        head, body = get(json.dumps({"name": "DOWNLOAD", "file": file}), 4096)
        c.same("an object", ({"name": file, "size": len(wanted)}, True), lambda: (json.loads(head), body == wanted))
        for name in ("none", "../" + file, "/etc/passwd"):
            c.same(f"DOWNLOAD {name}", (b"DOWNLOAD_FAIL", b""), lambda: get(f"DOWNLOAD {name}", 4096))

        def greeted(name):
            """A program that waits for the peer to speak first."""
            with open_to(peer, self.timeout) as connection:
                if connection.recv(4096) != b"Connect_OK":
                    raise Bad("no greeting")
                connection.sendall(name.encode())
                got = b""
                while piece := connection.recv(1 << 20):
                    got += piece
            return got

        c.same("a greeting, and a name behind it", True, lambda: greeted(file) == wanted)
        c.same("a greeting, and a missing name", b"", lambda: greeted("none"))


class Provider:
    """Gives the files of a folder, as one family of programs does."""

    def __init__(self, folder, form):
        self.folder, self.form = folder, form
        self.listener = Listener(self.handle)
        self.port = self.listener.port

    def open(self, name):
        path = os.path.join(self.folder, os.path.basename(name))
        return open(path, "rb") if os.path.isfile(path) else None

    def handle(self, connection, _):
        if self.form == "greeting":
            connection.sendall(b"Connect_OK")
        said = until_quiet(connection, 0.1, 5.0).decode(errors="replace")
        getattr(self, self.form)(connection, said)

    @staticmethod
    def send(connection, header, file):
        if header:
            connection.sendall(header)
            time.sleep(0.1)  # these takers read the header by one recv
        with file:
            while piece := file.read(1 << 16):
                connection.sendall(piece)

    def download(self, connection, said):
        file = self.open(said[9:]) if said.startswith("DOWNLOAD ") else None
        self.send(connection, b"DOWNLOAD_OK", file) if file else connection.sendall(b"DOWNLOAD_FAIL")

    def greeting(self, connection, said):
        if file := self.open(said):
            self.send(connection, b"", file)

    def name(self, connection, said):
        file = self.open(said)
        self.send(connection, b"ACCEPT", file) if file else connection.sendall(b"REJECT")

    def line(self, connection, said):
        """Answers nothing before the end of a line."""
        if said.endswith("\n") and (file := self.open(said.strip())):
            connection.sendall(struct.pack(">q", os.fstat(file.fileno()).st_size))
            self.send(connection, b"", file)

    def object(self, connection, said):
        name = said.removeprefix("DOWNLOAD ")
        if file := self.open(name):
            self.send(connection, json.dumps({"name": name, "size": os.fstat(file.fileno()).st_size}).encode(), file)

    def http(self, connection, said):
        file = self.open(said.removeprefix("DOWNLOAD "))
        self.send(connection, b"HTTP/1.1 200 OK\r\n\r\n", file) if file else connection.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")


def serve(options):
    provider = Provider(options.folder, options.form)
    if options.server:
        said = Words(options.server, 5.0).join(provider.port, sorted(os.listdir(options.folder)))
        if not said:
            raise SystemExit("JOIN was refused")
    told = until_told()
    print(f"ready {provider.port}", flush=True)
    told.wait()
    provider.listener.stop()
    return 0


def arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)
    check = modes.add_parser("check")
    check.add_argument("--server", required=True, type=pair)
    check.add_argument("--peer", type=pair)
    check.add_argument("--file")
    check.add_argument("--expect")
    check.add_argument("--timeout", type=float, default=5.0)
    check.add_argument("--strict", action="store_true")
    give = modes.add_parser("serve")
    give.add_argument("--folder", required=True)
    give.add_argument("--form", required=True, choices=("download", "greeting", "name", "line", "object", "http"))
    give.add_argument("--server", type=pair)
    return parser.parse_args(words)


def check(options, out=None):
    checks = Checks(options.strict, out)
    Table(options.server, checks, options.timeout).run(options.peer, options.file, options.expect)
    return checks.end()


if __name__ == "__main__":
    asked = arguments()
    sys.exit(serve(asked) if asked.mode == "serve" else check(asked))
