#!/usr/bin/env python3
"""A checker of an index server of music-udp.

    music.py check --server HOST:PORT [--timeout S] [--strict]
    music.py get   --from HOST:PORT --file F --out PATH [--word REQUISITAR] [--expect PATH] [--within S]

A connection carries an operation, without terminators: `REGISTRAR|ip:port|a,b`, `CONSULTAR`, `ENCERRAR|ip:port`, and the
earlier words `REGISTER ip:port a,b` and `LIST`. The program reads the answer in one recv, as the original does.
`get` asks by UDP, `GET F` or `REQUISITAR|F`, and takes datagrams of 1,024 bytes until `END`, without any pace of its own.
"""

import argparse
import secrets
import socket
import sys
import time

from checks import Bad, Checks, open_to, pair, same_file


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


def arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)
    check = modes.add_parser("check")
    check.add_argument("--server", required=True, type=pair)
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
    return checks.end()


if __name__ == "__main__":
    asked = arguments()
    sys.exit(get(asked) if asked.mode == "get" else check(asked))
