#!/usr/bin/env python3
"""A checker of an index server and of a peer of music-udp, and a provider.

    music.py check --server HOST:PORT [--peer HOST:PORT --file F --expect PATH] [--timeout S] [--strict]
    music.py get   --from HOST:PORT --file F --out PATH [--word REQUISITAR] [--expect PATH] [--within S]
    music.py serve --folder DIR [--server HOST:PORT] [--lose N]

A connection carries an operation, without terminators: `REGISTRAR|ip:port|a,b`, `CONSULTAR`, `ENCERRAR|ip:port`, and the
earlier words `REGISTER ip:port a,b` and `LIST`. The program reads the answer in one recv, as the original does.
`get` asks by UDP, `GET F` or `REQUISITAR|F`, and takes datagrams of 1,024 bytes until `END`, without any pace of its own.
The checks of a peer know two related systems as well: `GET FILE:F` and `SLICE:0:9:F`, and a name alone, whose datagrams are
acknowledged by `CTRL`. `serve` knows `REQUISITAR|F` alone, as the original does, and prints `ready PORT`, the listed port: the
UDP port is a thousand above. With `--lose N`, datagram N of its first answer does not leave.
"""

import argparse
import os
import secrets
import socket
import sys
import threading
import time

from checks import Bad, Checks, open_to, pair, same_file, until_told


def ask(server, said, timeout, pieces=None, half_closes=False):
    """The answer: all bytes until the other side closes."""
    with open_to(server, timeout) as connection:
        for piece in pieces or [said.encode()]:
            connection.sendall(piece)
        if half_closes:
            connection.shutdown(socket.SHUT_WR)
        got = b""
        while piece := connection.recv(65536):
            got += piece
    return got.decode()


def nodes(text):
    """{(ip, port): [file, ...]} as CONSULTAR names them."""
    found = {}
    for entry in text.split("|") if text else []:
        ip, port, files = entry.split(":")
        if ip.count(".") != 3 or (ip, int(port)) in found:
            raise Bad(f"a node {entry!r}")
        found[ip, int(port)] = files.split(",") if files else []
    return found


class Table:
    def __init__(self, server, checks, timeout):
        self.server, self.c, self.timeout = server, checks, timeout
        self.tag = secrets.token_hex(3)
        self.first = 20_000 + secrets.randbelow(10_000)

    def say(self, text, **how):
        return ask(self.server, text, self.timeout, **how)

    def nodes(self, word="CONSULTAR"):
        return nodes(self.say(word))

    def run(self):
        for work in (self.registers, self.leaves, self.segments, self.earlier, self.refuses, self.floods):
            self.c.group(work)

    def place(self, number):
        return f"127.0.0.1:{self.first + number}"

    def registers(self):
        c, a, b = self.c, self.place(0), self.place(1)
        name = f"{self.tag} canção.mp3"
        c.same("REGISTRAR", "REGISTRO_SUCESSO", lambda: self.say(f"REGISTRAR|{a}|{name},{self.tag}-m1"))
        c.same("CONSULTAR names the node with its files", [name, f"{self.tag}-m1"],
               lambda: self.nodes()["127.0.0.1", self.first])
        c.same("REGISTRAR again", "CLIENTE_JA_REGISTRADO", lambda: self.say(f"REGISTRAR|{a}|{name},{self.tag}-m1"))
        c.same("a node once", 1, lambda: self.say("CONSULTAR").count(f"{a}:"))
        c.same("REGISTRAR of a second node", "REGISTRO_SUCESSO", lambda: self.say(f"REGISTRAR|{b}|{self.tag}-m2"))
        c.same("CONSULTAR names both", True, lambda: {("127.0.0.1", self.first), ("127.0.0.1", self.first + 1)} <= set(self.nodes()))
        c.same("REGISTRAR without files", "REGISTRO_SUCESSO", lambda: self.say(f"REGISTRAR|{self.place(2)}|"))
        c.same("CONSULTAR of a node without files", [], lambda: self.nodes()["127.0.0.1", self.first + 2])

    def leaves(self):
        c = self.c
        for number in range(3):
            c.same("ENCERRAR", "CLIENTE_REMOVIDO", lambda: self.say(f"ENCERRAR|{self.place(number)}"))
        c.same("ENCERRAR of an unknown node", "", lambda: self.say(f"ENCERRAR|{self.place(0)}"))
        c.same("CONSULTAR leaves them out", False, lambda: any(("127.0.0.1", self.first + n) in self.nodes() for n in range(3)))

    def segments(self):
        c, a = self.c, self.place(3)
        said = f"REGISTRAR|{a}|{self.tag}-x,{self.tag}-y".encode()
        c.same("REGISTRAR byte by byte", "REGISTRO_SUCESSO",
               lambda: self.say("", pieces=[said[at:at + 1] for at in range(len(said))]))
        c.same("and all of its files", [f"{self.tag}-x", f"{self.tag}-y"], lambda: self.nodes()["127.0.0.1", self.first + 3])
        began = time.monotonic()
        c.same("a half-closed request", "CLIENTE_REMOVIDO", lambda: self.say(f"ENCERRAR|{a}", half_closes=True))
        c.that("is answered at once", time.monotonic() - began < 1.0)
        c.same("a line", "REGISTRO_SUCESSO", lambda: self.say(f"REGISTRAR|{a}|z\n"))
        c.same("and its removal", "CLIENTE_REMOVIDO", lambda: self.say(f"ENCERRAR|{a}\r\n"))

    def earlier(self):
        c, a = self.c, self.place(4)
        c.same("REGISTER", "REGISTRO_SUCESSO", lambda: self.say(f"REGISTER {a} {self.tag}-a,{self.tag}-b"))
        c.same("LIST", [f"{self.tag}-a", f"{self.tag}-b"], lambda: self.nodes("LIST")["127.0.0.1", self.first + 4])
        self.say(f"ENCERRAR|{a}")

    def refuses(self):
        c, a = self.c, self.place(5)
        for said in (f"REGISTRAR|192.0.2.1:{self.first}|a", "REGISTRAR|here|a", "REGISTRAR|127.0.0.1:99999|a", "APAGAR|x"):
            c.same(f"no success of {said}", True, lambda: "SUCESSO" not in self.say(said))
        c.same("names outside the folder", "REGISTRO_SUCESSO", lambda: self.say(f"REGISTRAR|{a}|../a,/etc/passwd,{self.tag}-ok"))
        c.same("are left out", [f"{self.tag}-ok"], lambda: self.nodes()["127.0.0.1", self.first + 5])
        self.say(f"ENCERRAR|{a}")

    def floods(self):
        c = self.c
        asleep = [open_to(self.server, self.timeout) for _ in range(8)]
        for number, connection in enumerate(asleep):
            connection.sendall([b"REG", b"REGISTRAR|127.0.0.1:1", b"\0\xff\xfe", b"x" * 10_000][number % 4])
        c.same("half requests hold up no other client", True, lambda: isinstance(self.nodes(), dict))
        for connection in asleep:
            connection.close()
        for number in range(100):
            self.say(f"REGISTRAR|{self.place(10)}|{self.tag}-{number}")
        c.same("a node that registers again and again is there once", [f"{self.tag}-99"],
               lambda: self.nodes()["127.0.0.1", self.first + 10])
        self.say(f"ENCERRAR|{self.place(10)}")


class Peer:
    """The checks of a peer, by UDP. A socket for each question, as the originals have."""

    def __init__(self, peer, file, expect, checks, timeout):
        self.peer, self.file, self.c, self.timeout = peer, file, checks, timeout
        with open(expect, "rb") as opened:
            self.wanted = opened.read()

    def run(self):
        for work in (self.whole, self.slices, self.controlled, self.small):
            self.c.group(work)

    def asker(self):
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asker.settimeout(self.timeout)
        return asker

    def once(self, said):
        with self.asker() as asker:
            asker.sendto(said.encode(), self.peer)
            return asker.recv(4096).decode(errors="replace")

    def take(self, word):
        with self.asker() as asker:
            asker.sendto(f"{word}{self.file}".encode(), self.peer)
            got = []
            while (datagram := asker.recv(4096)) != b"END":
                if got and len(got[-1]) != 1024 or len(datagram) > 1024:
                    raise Bad(f"a datagram of {len(datagram)} bytes behind {len(got)}")
                got.append(datagram)
            return b"".join(got)

    def whole(self):
        for word in ("GET ", "REQUISITAR|"):
            self.c.same(f"{word}F", True, lambda: self.take(word) == self.wanted)
            self.c.same(f"{word}of a missing file", "ERRO: Arquivo não encontrado.", lambda: self.once(f"{word}no such file"))
        for name in ("../etc/passwd", "/etc/passwd", "a/../../b"):
            self.c.same(f"GET {name}", "ERRO: Arquivo não encontrado.", lambda: self.once(f"GET {name}"))

    def slice(self, first, last, stop=None):
        """The bytes of the slices, which arrive in order, until silence."""
        with self.asker() as asker:
            asker.sendto(f"SLICE:{first}:{last}:{self.file}".encode(), self.peer)
            got, number = b"", first
            while True:
                try:
                    datagram = asker.recv(4096)
                except TimeoutError:
                    return got
                asker.settimeout(0.3)
                head, data = datagram[:20], datagram[20:]
                if head[:7] != b"%06d:" % number or not head[7:].isdigit() or abs(int(head[7:]) / 1000 - time.time()) > 60:
                    raise Bad(f"the header {head}")
                if len(data) > 320:
                    raise Bad(f"a slice of {len(data)} bytes")
                got, number = got + data, number + 1
                if number - first == stop:
                    asker.sendto(b"KILL", self.peer)

    def slices(self):
        c, size = self.c, len(self.wanted)
        last = max(size - 1, 0) // 320
        c.same("GET FILE:F", f"EXISTS:{size}", lambda: self.once(f"GET FILE:{self.file}"))
        c.same("GET FILE of a missing file", "FILE NOT FOUND", lambda: self.once("GET FILE:no such file"))
        c.same("SLICE of a missing file", "FILE NOT FOUND", lambda: self.once("SLICE:0:1:no such file"))
        c.same("POLICY", "sequential", lambda: self.once("POLICY"))
        c.same("PING", "PONG", lambda: self.once("PING"))
        c.same("SLICE of the last slices", True, lambda: self.slice(max(last - 20, 0), last + 1) == self.wanted[max(last - 20, 0) * 320:])
        c.same("SLICE sends one again", True, lambda: self.slice(last, last) == self.wanted[last * 320:])
        if last > 3000:
            c.same("KILL ends slices", True, lambda: len(self.slice(0, last, stop=5)) < 1000 * 320)

    def controlled(self):
        c = self.c

        def take(answers):
            """The file with an answer to each datagram, and whether more came before the answer."""
            with self.asker() as asker:
                asker.sendto(self.file.encode(), self.peer)
                got, early = b"", False
                for answer in answers:
                    datagram = asker.recv(4096)
                    if datagram == b"END_OF_FILE":
                        return got, early
                    got += datagram
                    asker.settimeout(0.02)
                    try:
                        asker.recv(4096)
                        early = True
                    except TimeoutError:
                        pass
                    asker.settimeout(self.timeout)
                    asker.sendto(answer, self.peer)
                asker.settimeout(0.5)
                try:
                    return got + asker.recv(4096), early
                except TimeoutError:
                    return got, early

        c.same("a name alone, missing", "END_OF_FILE", lambda: self.once("no such file"))
        c.same("a name alone: each datagram waits", (self.wanted[:3072], False), lambda: take([b"CTRL", b"CTRL", b"S"]))
        if len(self.wanted) < 100_000:
            c.same("a name alone: the whole file", (self.wanted, False), lambda: take([b"CTRL"] * 200))

    def small(self):
        """Answers to nothing, and to what is no request."""
        for said in (b"", b"KILL", b"CTRL", b"S"):
            with self.asker() as asker:
                asker.settimeout(0.3)
                asker.sendto(said, self.peer)
                try:
                    self.c.that(f"no answer to {said}", not asker.recv(4096))
                except TimeoutError:
                    self.c.that(f"no answer to {said}", True)
        for said in (b"\xff\xfe\0", b"x" * 2047, b"x" * 9000, b"SLICE:" + b"9" * 500):
            with self.asker() as asker:
                asker.sendto(said, self.peer)
        self.c.same("strange datagrams hold nothing up", "PONG", lambda: self.once("PING"))


def serve(options):
    """A provider of one word. It answers from a socket of its own, 32 datagrams each 4 ms."""
    answers = 0
    served = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    served.bind(("127.0.0.1", 0))
    listed = served.getsockname()[1] - 1000

    def answer(said, asker):
        nonlocal answers
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            name = said.removeprefix("REQUISITAR|")
            path = os.path.join(options.folder, os.path.basename(name))
            if name == said or not os.path.isfile(path):
                out.sendto("ERRO: Arquivo não encontrado.".encode(), asker)
                return
            answers += 1
            lost = options.lose if answers == 1 else None
            with open(path, "rb") as file:
                number = 0
                while part := file.read(1024):
                    if number != lost:
                        out.sendto(part, asker)
                    number += 1
                    if number % 32 == 0:
                        time.sleep(0.004)
            out.sendto(b"END", asker)

    def loop():
        while True:
            said, asker = served.recvfrom(4096)
            threading.Thread(target=answer, args=(said.decode(errors="replace"), asker), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    if options.server:
        said = ask(options.server, f"REGISTRAR|127.0.0.1:{listed}|{','.join(sorted(os.listdir(options.folder)))}", 5.0)
        if said != "REGISTRO_SUCESSO":
            raise SystemExit(f"REGISTRAR: {said!r}")
    told = until_told()
    print(f"ready {listed}", flush=True)
    told.wait()
    if options.server:
        ask(options.server, f"ENCERRAR|127.0.0.1:{listed}", 5.0)
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
    get = modes.add_parser("get")
    get.add_argument("--from", dest="source", required=True, type=pair)
    get.add_argument("--file", required=True)
    get.add_argument("--out", required=True)
    get.add_argument("--word", choices=("GET", "REQUISITAR"), default="GET")
    get.add_argument("--expect")
    get.add_argument("--within", type=float)
    get.add_argument("--timeout", type=float, default=5.0)
    give = modes.add_parser("serve")
    give.add_argument("--folder", required=True)
    give.add_argument("--server", type=pair)
    give.add_argument("--lose", type=int)
    return parser.parse_args(words)


def get(options):
    """The file by UDP; a lost datagram is a shorter file, which --expect notices."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker, open(options.out, "wb") as out:
        asker.settimeout(options.timeout)
        began = time.monotonic()
        separator = " " if options.word == "GET" else "|"
        asker.sendto(f"{options.word}{separator}{options.file}".encode(), options.source)
        while (datagram := asker.recv(4096)) != b"END":
            if datagram.startswith(b"ERRO: "):
                print(datagram.decode())
                return 1
            out.write(datagram)
        took = time.monotonic() - began
    fine = same_file(options.out, options.expect)
    print(f"{took:.2f} s")
    return fine or int(options.within is not None and took > options.within)


def check(options, out=None):
    checks = Checks(options.strict, out)
    Table(options.server, checks, options.timeout).run()
    if options.peer:
        Peer(options.peer, options.file, options.expect, checks, options.timeout).run()
    return checks.end()


if __name__ == "__main__":
    asked = arguments()
    sys.exit({"get": get, "serve": serve, "check": check}[asked.mode](asked))
