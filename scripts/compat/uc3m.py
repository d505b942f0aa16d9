#!/usr/bin/env python3
"""A client of the UC3M peer-to-peer family, and a checker of an index server for it.

    uc3m.py check --server HOST:PORT --profile P [--peer-get] [--peer USER --file F [--expect PATH]] [--slow] [--strict]
    uc3m.py get   --server HOST:PORT --profile P --user ME --from OTHER --file F --out PATH [--expect PATH] [--style S]
    uc3m.py serve --server HOST:PORT --profile P --user U --folder DIR --publish F:DESC ... [--style S]

Profiles: 2020, 2020-int, 2024, 2024-plain, 2025, fixed. `check` runs the whole table of operations and statuses, prints a line
for each failed check and `N checks, M failed`. With --peer-get its own clients download from each other through what
LIST_USERS told them; with --peer a file of a listed user is downloaded, in every style. `get` registers, connects, looks
OTHER up, downloads, disconnects and unregisters. `serve` prints `ready PORT` and serves until SIGTERM.
"""

import argparse
import os
import re
import secrets
import socket
import struct
import sys
import tempfile
import threading
import time

from checks import Bad, Checks, Listener, ended, open_to, pair, same_file, sha256, until_told


class Profile:
    def __init__(self, name, status, date, fixed, descriptions, size):
        self.name = name
        self.status = status  # "digit", "digit0" (a digit and NUL) or "raw" (a byte of value 0..4)
        self.date = date  # a date follows the operation
        self.fixed = fixed  # lists are made of fields of fixed width
        self.descriptions = descriptions  # LIST_CONTENT brings descriptions
        self.size = size  # a peer sends the size before the bytes: as "text", or as an "int"


PROFILES = {
    "2020": Profile("2020", "digit", False, False, False, None),
    "2020-int": Profile("2020-int", "digit", False, False, False, "int"),
    "2024": Profile("2024", "digit0", True, False, True, None),
    "2024-plain": Profile("2024-plain", "digit0", True, False, False, "text"),
    "2025": Profile("2025", "raw", True, False, False, "text"),
    "fixed": Profile("fixed", "digit", True, True, True, None),
}


class Style:
    """The way a client sends a request."""

    def __init__(self, send="segments", op=str, end=b"\0", date_last=False, ip=None, half_close=False, date=None):
        self.send, self.op, self.end, self.date_last, self.ip = send, op, end, date_last, ip
        self.half_close = half_close
        self.date = date  # what stands in place of the date


STYLES = {
    "segments": Style(),  # each field in a send of its own
    "paused": Style(send="paused"),  # the same with a pause between
    "one": Style(send="one"),
    "bytes": Style(send="bytes"),  # byte by byte
    "lower": Style(op=str.lower),
    "blank": Style(op=lambda op: op.replace("_", " ")),
    "lower-blank": Style(send="one", op=lambda op: op.replace("_", " ").lower()),
    "newline": Style(end=b"\n"),
    "newline-one": Style(send="one", end=b"\n"),
    "date-last": Style(date_last=True),
    "date-last-one": Style(send="one", date_last=True),
    "ip-before": Style(ip="before"),
    "ip-before-one": Style(send="one", ip="before"),
    "ip-after": Style(ip="after"),
    "ip-after-one": Style(send="one", ip="after"),
    "half-close": Style(half_close=True),
    "half-close-one": Style(send="one", half_close=True),
}


# What clients without a date service, or with another one, send as the date.
DATES = (b"FECHA NO DISPONIBLE", b"2026-11-30T10:07:09", b"2026-11-30 10:07:09.123456", b"2026-11-30T10:07:09Z",
         b"30-11-2026 10:07", b"30/11/2026", b"Mon Nov 30 10:07:09 2026", b"unknown", b"")

# ------------------------------------------------------------------------------------------------------- the wire


def text(value):
    return value if isinstance(value, bytes) else str(value).encode()


def date_now():
    return time.strftime("%d/%m/%Y %H:%M:%S").encode()


def put(connection, pieces, how):
    """Sends the pieces. An early close by the server is no error: its response can still be read."""
    try:
        if how == "one":
            connection.sendall(b"".join(pieces))
        elif how == "bytes":
            for byte in b"".join(pieces):
                connection.sendall(bytes([byte]))
                time.sleep(0.0005)
        else:
            for number, piece in enumerate(pieces):
                if how == "paused" and number:
                    time.sleep(0.01)
                connection.sendall(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass


def get_string(connection, limit=4096, ends=b"\0"):
    """Byte by byte up to the NUL, as these clients do."""
    said = b""
    while True:
        byte = connection.recv(1)
        if not byte:
            raise Bad(f"closed inside a string, after {said!r}")
        if byte in ends:
            return said.decode()
        said += byte
        if len(said) > limit:
            raise Bad("a string without end")


def get_status(connection, profile):
    if profile.status == "digit0":
        said = get_string(connection)
        if len(said) != 1 or said not in "0123456789":
            raise Bad(f"a status {said!r}")
        return int(said)
    byte = connection.recv(1)
    if not byte:
        raise Bad("closed without a status")
    if profile.status == "raw":
        if byte[0] > 4:
            raise Bad(f"a status byte {byte!r}")
        return byte[0]
    if not byte.isdigit():
        raise Bad(f"a status {byte!r}")
    return int(byte)


def status_bytes(status, profile):
    return {"digit": b"%d" % status, "digit0": b"%d\0" % status, "raw": bytes([status])}[profile.status]


def get_field(connection, width):
    """One recv for a field of fixed width: the original client does not loop."""
    field = connection.recv(width)
    if len(field) != width:
        raise Bad(f"one recv brought {len(field)} of {width} bytes")
    value, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise Bad(f"not padded with NULs: {field!r}")
    if len(value) == width and width > 4:
        raise Bad("a field without its NUL")
    return value.decode()


def get_list(connection, profile, widths):
    """The count and the rows."""
    count = get_field(connection, 4) if profile.fixed else get_string(connection)
    if not count.isascii() or not count.isdigit() or profile.fixed and len(count) != 4:
        raise Bad(f"a count {count!r}")
    if profile.fixed:
        return [tuple(get_field(connection, width) for width in widths) for _ in range(int(count))]
    return [tuple(get_string(connection) for _ in widths) for _ in range(int(count))]


# ----------------------------------------------------------------------------------------------------- the client


class Client:
    """One user. Every operation gives its status; the list operations give (status, rows)."""

    def __init__(self, server, profile, user, style="segments", timeout=5.0, oddities=None):
        self.server, self.profile, self.user, self.timeout = server, profile, user, timeout
        self.style = STYLES[style] if isinstance(style, str) else style
        self.files = {}
        self.listener = None
        self.oddities = oddities  # where a list is given: replies with a tail, and connections left open

    # -- requests

    def pieces(self, op, fields, style=None, date=None):
        style = style or self.style
        said = date_now() if style.date is None else style.date
        date = [said + b"\0"] if (self.profile.date if date is None else date) else []
        fields = [text(field) + b"\0" for field in fields]
        head = [style.op(op).encode() + style.end]
        return head + fields + date if style.date_last else head + date + fields

    def start(self, op, *fields, date=None):
        connection = open_to(self.server, self.timeout)
        try:
            put(connection, self.pieces(op, fields, date=date), self.style.send)
            if self.style.half_close:
                try:
                    connection.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # closed already; the response is still readable
        except OSError:
            connection.close()
            raise
        return connection

    def finish(self, connection, op):
        if self.oddities is None or self.oddities:
            return
        try:
            rest = ended(connection, 2.0)
        except OSError as error:
            rest = repr(error).encode()
        if rest is None:
            self.oddities.append(f"{op}: not closed after the reply")
        elif rest:
            self.oddities.append(f"{op}: after the reply came {rest!r}")

    def ask(self, op, *fields):
        with self.start(op, *fields) as connection:
            status = get_status(connection, self.profile)
            self.finish(connection, op)
            return status

    def register(self):
        return self.ask("REGISTER", self.user)

    def unregister(self):
        return self.ask("UNREGISTER", self.user)

    def connect(self, port=None):
        port = port if port is not None else self.listen()
        address = [self.own_ip()] if self.style.ip else []
        return self.ask("CONNECT", self.user, *([*address, port] if self.style.ip == "before" else [port, *address]))

    def disconnect(self):
        return self.ask("DISCONNECT", self.user)

    def publish(self, file, description="no description"):
        return self.ask("PUBLISH", self.user, file, description)

    def delete(self, file):
        return self.ask("DELETE", self.user, file)

    def rows(self, op, fields, widths):
        with self.start(op, *fields) as connection:
            status = get_status(connection, self.profile)
            rows = get_list(connection, self.profile, widths) if status == 0 else []
            self.finish(connection, op)
            return status, rows

    def list_users(self):
        return self.rows("LIST_USERS", [self.user], (256, 16, 6))

    def list_content(self, other):
        return self.rows("LIST_CONTENT", [self.user, other], (256, 256) if self.profile.descriptions else (256,))

    def look_up(self, other):
        """GET_FILE sent to the server: the address of a user."""
        with self.start("GET_FILE", self.user, other) as connection:
            status = get_status(connection, self.profile)
            return (status, get_string(connection), get_string(connection)) if status == 0 else (status, "", "")

    def send_and_close(self, op, *fields, reset=False):
        """Sends a request without waiting for the response."""
        connection = self.start(op, *fields)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    def find(self, other):
        """(ip, port) of a connected user."""
        status, rows = self.list_users()
        if status:
            raise Bad(f"LIST_USERS gave {status}")
        for name, ip, port in rows:
            if name == other:
                return ip, int(port)
        raise Bad(f"{other!r} is not among {[row[0] for row in rows]}")

    def own_ip(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(self.server)
            return probe.getsockname()[0]

    # -- this client's own server for GET_FILE

    def listen(self, port=0):
        if self.listener is None:
            self.listener = Listener(self.serve_one, self.own_ip(), port)
        return self.listener.port

    def serve_one(self, connection, _):
        op = get_string(connection, ends=b"\0\n").strip().upper().replace(" ", "_")
        name = get_string(connection)
        if re.fullmatch(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", name):
            name = get_string(connection)
        name = re.sub(r"/(\.?/)+", "/", name)
        path = self.files.get(name) or self.files.get(name.removeprefix("/"))
        if path is None and name in map(os.path.abspath, self.files.values()):
            path = name
        if op != "GET_FILE":
            connection.sendall(status_bytes(2, self.profile))
        elif path is None or not os.path.isfile(path):
            connection.sendall(status_bytes(1, self.profile))
        else:
            with open(path, "rb") as file:
                connection.sendall(status_bytes(0, self.profile))
                size = os.path.getsize(path)
                if self.profile.size:
                    connection.sendall(b"%d\0" % size if self.profile.size == "text" else b"\0" + struct.pack(">i", size))
                while piece := file.read(8192):
                    connection.sendall(piece)

    def get_file(self, address, name, out):
        """Downloads from a peer; returns (status, size). Peers send no date."""
        with open_to(address, self.timeout) as connection:
            put(connection, self.pieces("GET_FILE", [name], date=False), self.style.send)
            if self.style.half_close:
                connection.shutdown(socket.SHUT_WR)
            status = get_status(connection, self.profile)
            if status:
                rest = ended(connection, self.timeout)
                if rest:
                    raise Bad(f"after status {status} came {rest[:80]!r}")
                return status, 0
            size = None
            if self.profile.size == "int":
                said = b""
                while len(said) < 5 and (piece := connection.recv(5 - len(said))):
                    said += piece
                nul, size = struct.unpack(">bi", said) if len(said) == 5 else (1, 0)
                if nul or size < 0:
                    raise Bad(f"a length {said!r}")
            elif self.profile.size:
                said = get_string(connection)
                if not said.isascii() or not said.isdigit():
                    raise Bad(f"a size {said!r}")
                size = int(said)
            got = 0
            with open(out, "wb") as file:
                while size is None or got < size:
                    piece = connection.recv(65536 if size is None else min(65536, size - got))
                    if not piece:
                        break
                    file.write(piece)
                    got += len(piece)
            if size is not None and got != size:
                raise Bad(f"{got} of {size} bytes came")
            if size is not None and ended(connection, self.timeout):
                raise Bad("bytes after the last")
            return status, got

    def stop(self):
        if self.listener:
            self.listener.stop()
            self.listener = None


# ---------------------------------------------------------------------------------------------------- the checker


class Table:
    """The checks; every name carries a random tag, so that a server may be checked many times."""

    def __init__(self, server, profile, checks, timeout=5.0):
        self.server, self.profile, self.c, self.timeout = server, profile, checks, timeout
        self.tag = secrets.token_hex(3)
        self.clients = []
        self.oddities = []
        self.folder = tempfile.TemporaryDirectory()

    def user(self, name, style="segments", exact=False):
        client = Client(self.server, self.profile, name if exact else f"{self.tag}-{name}", style, self.timeout,
                        self.oddities)
        self.clients.append(client)
        return client

    def online(self, name, style="segments", exact=False):
        client = self.user(name, style, exact)
        self.c.same(f"REGISTER {name}", 0, client.register)
        self.c.same(f"CONNECT {name}", 0, client.connect)
        return client

    def row(self, client):
        return client.user, client.own_ip(), str(client.listen())

    def content(self, *files):
        """The sorted rows expected from LIST_CONTENT; files are (name, description)."""
        return 0, sorted(files if self.profile.descriptions else [(name,) for name, _ in files])

    @staticmethod
    def listed(asker, owner):
        status, rows = asker.list_content(owner.user)
        return status, sorted(rows)

    def run(self, slow=False, peer_get=False, peer=None, file=None, expect=None):
        c = self.c
        for work in (self.unknown, self.registered, self.connected, self.published, self.gone, self.ports,
                     self.styles, self.dates, self.killed, self.impatient, self.limits, self.names, self.silent, self.look, self.parallel):
            c.group(work)
        if slow:
            c.group(self.slow)
        if peer_get:
            c.group(self.peer_get)
        if peer:
            c.group(self.from_peer, peer, file, expect)
        c.that("every reply ends where it should and the server closes", not self.oddities, "; ".join(self.oddities))
        self.clean()

    def clean(self):
        for client in self.clients:
            client.oddities = None
            client.stop()
            try:
                client.unregister()
            except (OSError, Bad, ValueError):
                pass
        self.folder.cleanup()

    # -- statuses

    def unknown(self):
        a = self.user("nobody")
        c = self.c
        c.same("UNREGISTER of an unknown user", 1, a.unregister)
        c.same("CONNECT of an unknown user", 1, a.connect)
        c.same("DISCONNECT of an unknown user", 1, a.disconnect)
        c.same("PUBLISH of an unknown user", 1, lambda: a.publish("f.bin"))
        c.same("DELETE of an unknown user", 1, lambda: a.delete("f.bin"))
        c.same("LIST_USERS of an unknown user", (1, []), a.list_users)
        c.same("LIST_CONTENT of an unknown user", (1, []), lambda: a.list_content(a.user))

    def registered(self):
        a = self.user("ana")
        c = self.c
        c.same("REGISTER", 0, a.register)
        c.same("REGISTER twice", 1, a.register)
        c.same("DISCONNECT before CONNECT", 2, a.disconnect)
        c.same("PUBLISH before CONNECT", 2, lambda: a.publish("f.bin"))
        c.same("DELETE before CONNECT", 2, lambda: a.delete("f.bin"))
        c.same("LIST_USERS before CONNECT", (2, []), a.list_users)
        c.same("LIST_CONTENT before CONNECT", (2, []), lambda: a.list_content(a.user))
        c.same("LIST_CONTENT of nobody before CONNECT", (2, []), lambda: a.list_content(self.tag + "-none"))
        c.same("UNREGISTER before CONNECT", 0, a.unregister)
        c.same("UNREGISTER twice", 1, a.unregister)
        c.same("CONNECT after UNREGISTER", 1, a.connect)
        c.same("REGISTER of a free name again", 0, a.register)

    def connected(self):
        c = self.c
        a, b = self.online("bea"), self.online("carlos")
        offline = self.user("off")
        c.same("REGISTER off", 0, offline.register)
        c.same("CONNECT twice", 2, a.connect)
        c.same("CONNECT twice, with another port", 2, lambda: a.connect(1234))
        c.same("LIST_USERS gives 0", 0, lambda: a.list_users()[0])
        for client in (a, b):
            c.same("LIST_USERS names a connected user once, with ip and port", [self.row(client)],
                   lambda: [row for row in a.list_users()[1] if row[0] == client.user])
        c.same("LIST_USERS leaves out who is not connected", [],
               lambda: [row for row in a.list_users()[1] if row[0] == offline.user])
        c.same("DISCONNECT", 0, b.disconnect)
        c.same("DISCONNECT twice", 2, b.disconnect)
        c.same("LIST_USERS leaves out who disconnected", [],
               lambda: [row for row in a.list_users()[1] if row[0] == b.user])
        c.same("LIST_USERS after DISCONNECT", (2, []), b.list_users)
        b.stop()
        c.same("CONNECT again, on another port", 0, b.connect)
        c.same("LIST_USERS names the new port", [self.row(b)],
               lambda: [row for row in a.list_users()[1] if row[0] == b.user])
        c.same("UNREGISTER while connected", 0, b.unregister)
        c.same("LIST_USERS leaves out who unregistered", [],
               lambda: [row for row in a.list_users()[1] if row[0] == b.user])
        c.same("DISCONNECT after UNREGISTER", 1, b.disconnect)

    def published(self):
        c = self.c
        a, b = self.online("dora"), self.online("emil")
        one, two = ("one.bin", "the first file"), ("two words.mp4", "a, b; \"c\"")
        c.same("LIST_CONTENT of one without files", (0, []), lambda: a.list_content(a.user))
        c.same("PUBLISH", 0, lambda: a.publish(*one))
        c.same("PUBLISH twice", 3, lambda: a.publish(*one))
        c.same("PUBLISH twice, with another description", 3, lambda: a.publish(one[0], "another"))
        c.same("PUBLISH a second file", 0, lambda: a.publish(*two))
        c.same("PUBLISH of the same name by another user", 0, lambda: b.publish(one[0], "of b"))
        c.same("LIST_CONTENT of oneself", self.content(one, two), lambda: self.listed(a, a))
        c.same("LIST_CONTENT of another", self.content(one, two), lambda: self.listed(b, a))
        c.same("LIST_CONTENT of the other's own", self.content((one[0], "of b")), lambda: self.listed(a, b))
        c.same("LIST_CONTENT of an unknown user", (3, []), lambda: a.list_content(self.tag + "-none"))
        c.same("DELETE of what is not there", 3, lambda: a.delete("none.bin"))
        c.same("DELETE of what only another has", 3, lambda: b.delete(two[0]))
        c.same("DISCONNECT of a publisher", 0, a.disconnect)
        c.same("LIST_CONTENT of one who is not connected", self.content(one, two), lambda: self.listed(b, a))
        c.same("PUBLISH after DISCONNECT", 2, lambda: a.publish("late.bin"))
        c.same("DELETE after DISCONNECT", 2, lambda: a.delete(one[0]))
        c.same("CONNECT of a publisher again", 0, a.connect)
        c.same("publications last over DISCONNECT and CONNECT", self.content(one, two), lambda: self.listed(a, a))
        c.same("PUBLISH of what lasted", 3, lambda: a.publish(*one))
        c.same("DELETE", 0, lambda: a.delete(one[0]))
        c.same("DELETE twice", 3, lambda: a.delete(one[0]))
        c.same("LIST_CONTENT after DELETE", self.content(two), lambda: self.listed(b, a))
        c.same("DELETE left the other's alone", self.content((one[0], "of b")), lambda: self.listed(b, b))
        c.same("PUBLISH after DELETE", 0, lambda: a.publish(one[0], "back"))
        c.same("LIST_CONTENT shows the new description", self.content((one[0], "back"), two), lambda: self.listed(b, a))
        many = [(f"file-{number:03}.bin", f"number {number}") for number in range(25)]
        for name, description in many:
            if b.publish(name, description):
                c.that("PUBLISH of many", False, name)
        c.same("LIST_CONTENT of many", self.content((one[0], "of b"), *many), lambda: self.listed(a, b))

    def gone(self):
        c = self.c
        a, b = self.online("fay"), self.online("gil")
        c.same("PUBLISH before UNREGISTER", 0, lambda: a.publish("f.bin", "f"))
        c.same("UNREGISTER of a publisher", 0, a.unregister)
        c.same("LIST_CONTENT after UNREGISTER", (3, []), lambda: b.list_content(a.user))
        c.same("PUBLISH after UNREGISTER", 1, lambda: a.publish("g.bin"))
        c.same("UNREGISTER frees the name", 0, a.register)
        c.same("CONNECT under the freed name", 0, a.connect)
        c.same("UNREGISTER dropped the publications", (0, []), lambda: b.list_content(a.user))
        c.same("PUBLISH under the freed name", 0, lambda: a.publish("f.bin", "f"))

    def ports(self):
        a = self.user("ports", Style(send="one", half_close=True))
        self.c.same("REGISTER ports", 0, a.register)
        for port in ("65536", "-1", "abc"):
            self.c.same(f"CONNECT with port {port}", 3, lambda: a.connect(port))
        for port in ("0", ""):
            self.c.note(f"CONNECT with port {port!r}", 3, lambda: a.connect(port))
        try:
            a.disconnect()
        except (OSError, Bad):
            pass
        self.c.same("CONNECT after bad ports", 0, a.connect)
        twin = self.user("twin")
        twin.register()
        self.c.note("CONNECT with a port that another user of this host gave", 0, lambda: twin.connect(a.listen()))

    # -- the forms of a request

    def cycle(self, name, style):
        """All operations of a user in one style."""
        c = self.c
        a = self.user(name, style)
        label = f" [{name}]"
        c.same("REGISTER" + label, 0, a.register)
        c.same("REGISTER twice" + label, 1, a.register)
        c.same("CONNECT" + label, 0, a.connect)
        c.same("CONNECT twice" + label, 2, a.connect)
        c.same("PUBLISH" + label, 0, lambda: a.publish("a file.bin", "some words"))
        c.same("LIST_USERS" + label, True, lambda: self.row(a) in a.list_users()[1])
        c.same("LIST_CONTENT" + label, self.content(("a file.bin", "some words")), lambda: self.listed(a, a))
        c.same("DELETE" + label, 0, lambda: a.delete("a file.bin"))
        c.same("DISCONNECT" + label, 0, a.disconnect)
        c.same("UNREGISTER" + label, 0, a.unregister)
        a.stop()

    def styles(self):
        for name, style in STYLES.items():
            if self.profile.date or not style.date_last:
                self.cycle(name, style)
        a = self.online("newlines", Style(send="one"))
        mine = self.row(a)
        for end in (b"\n\0", b"\r\n\0"):
            a.style = Style(send="one", end=end)
            self.c.note(f"LIST_USERS ended by {end!r}", True, lambda: mine in a.list_users()[1])
        a.style = Style(send="one")

        def trailing():
            with open_to(self.server, self.timeout) as connection:
                put(connection, a.pieces("LIST_USERS", [a.user]) + [b"\n"], "one")
                status = get_status(connection, self.profile)
                return mine in get_list(connection, self.profile, (256, 16, 6)) if status == 0 else status

        self.c.same("LIST_USERS with a newline at the end of the request", True, trailing)

    def dates(self):
        """The first field is the date, whatever its form: nobody is called by it."""
        if not self.profile.date:
            return
        for number, date in enumerate(DATES):
            self.cycle(f"date {number}", Style(send=("one", "segments", "bytes")[number % 3], date=date))
            named = self.user(date, "one", exact=True)
            self.c.same(f"UNREGISTER of a user called {date!r}", {1, 2}, named.unregister)
            self.clients.remove(named)
        with open_to(self.server, self.timeout) as connection:
            connection.sendall(b"REGISTER\0FECHA NO DISPONIBLE\0")
            time.sleep(0.5)
            connection.sendall(text(f"{self.tag}-late") + b"\0")
            self.c.same("REGISTER with a pause behind an odd date", 0, lambda: get_status(connection, self.profile))
        self.c.same("UNREGISTER of the user behind the pause", 0, self.user("late").unregister)

    def impatient(self):
        """Clients that do not wait: their requests are executed, and the server keeps serving."""
        c = self.c
        a = self.user("haste")
        a.send_and_close("REGISTER", a.user)

        def connects():
            for _ in range(20):
                status = a.connect()
                if status != 1:
                    return status
                time.sleep(0.1)
            return 1

        c.same("a REGISTER whose asker closed at once counts", 0, connects)
        for _ in range(20):
            a.send_and_close("LIST_USERS", a.user)
            a.send_and_close("LIST_USERS", a.user, reset=True)
        for _ in range(5):
            open_to(self.server, self.timeout).close()
        c.same("the server answers after askers that closed", True, lambda: self.row(a) in a.list_users()[1])

    def limits(self):
        c = self.c
        a = self.online("limits", "one")
        for size in (256, 300, 1000):
            long = "x" * size
            big = self.user(long, "one", exact=True)
            label = f" with {size} bytes"
            c.same("REGISTER" + label, 2, big.register)
            c.same("UNREGISTER" + label, 2, big.unregister)
            c.same("CONNECT" + label, 3, big.connect)
            c.same("DISCONNECT" + label, 3, big.disconnect)
            c.same("LIST_USERS" + label, (3, []), big.list_users)
            c.same("LIST_CONTENT" + label, (4, []), lambda: a.list_content(long))
            c.same("PUBLISH of a file" + label, 4, lambda: a.publish(long, "d"))
            c.same("PUBLISH of a description" + label, 4, lambda: a.publish("f", long))
            c.same("DELETE" + label, 4, lambda: a.delete(long))
            self.clients.remove(big)
            big.stop()
        c.same("nothing too long was kept", (0, []), lambda: a.list_content(a.user))
        full = "n" * 255
        c.same("PUBLISH of 255 bytes", 0, lambda: a.publish(full, "d" * 255))
        c.same("LIST_CONTENT with 255 bytes", self.content((full, "d" * 255)), lambda: self.listed(a, a))
        longest = self.online(self.tag + "y" * (255 - len(self.tag)), "one", exact=True)
        c.same("LIST_USERS with a user of 255 bytes", True, lambda: self.row(longest) in a.list_users()[1])
        for field in (b"\xff\xfe\x80", b""):
            odd = self.user("odd", "one")
            odd.user = field
            c.note(f"REGISTER {field!r}", 2, odd.register)
            c.note(f"UNREGISTER {field!r}", {1, 2}, odd.unregister)
        for garbage in (b"NONSENSE\0x\0", b"\0\0\0\0", b"GET / HTTP/1.0\r\n\r\n", bytes(range(256)), b"z" * 200_000):
            with open_to(self.server, self.timeout) as connection:
                put(connection, [garbage], "one")
        c.same("the server answers after nonsense", True, lambda: self.row(a) in a.list_users()[1])

    def names(self):
        c = self.c
        seen = self.online("onlooker")
        for name in ("'; DROP TABLE users; --", "\" OR \"1\"=\"1", "two words", "joão ñandú", "学生", "🐟", "a;b,c end",
                     "%s%n%x", "{\"a\":1}", "$(id)`id`"):
            name = f"{self.tag} {name}"
            a = self.online(name, exact=True)
            c.same(f"REGISTER {name!r} twice", 1, a.register)
            c.same(f"LIST_USERS names {name!r}", [self.row(a)],
                   lambda: [row for row in seen.list_users()[1] if row[0] == name])
            c.same(f"PUBLISH {name!r}", 0, lambda: a.publish(name, name))
            c.same(f"LIST_CONTENT with {name!r}", self.content((name, name)), lambda: self.listed(seen, a))
            c.same(f"DELETE {name!r}", 0, lambda: a.delete(name))
        c.same("the users are still there", 1, seen.register)
        for name in (f"../{self.tag}", f"{self.tag}\\0", f"{self.tag}\tend"):  # 2: a server may require valid file names without separators
            c.note(f"REGISTER {name!r}", {0, 2}, self.user(name, exact=True).register)
        c.note("PUBLISH of a path", 0, lambda: seen.publish("/tmp/some/file.bin", "a path"))

    # -- a server that is not blocked

    def silent(self):
        """Unfinished requests delay no other client."""
        c = self.c
        a = self.online("awake")
        date = date_now() + b"\0" if self.profile.date else b""
        starts = (b"", b"REG", b"REGISTER", b"REGISTER\0", b"REGISTER\0" + date + b"half", b"CONNECT\0" + date + b"half\0")
        asleep = [open_to(self.server, self.timeout) for _ in range(8) for _ in starts]
        try:
            for connection, start in zip(asleep, starts * 8):
                connection.sendall(start)
            began = time.monotonic()
            for _ in range(3):
                c.same("the server answers while others never end a request", True,
                       lambda: self.row(a) in a.list_users()[1])
            c.that("and soon", time.monotonic() - began < 3.0, f"{time.monotonic() - began:.1f} s for three answers")
        finally:
            for connection in asleep:
                connection.close()

    def slow(self):
        """An unfinished connection is closed after a while."""
        with open_to(self.server, self.timeout) as connection:
            connection.sendall(b"REGISTER")
            self.c.that("a request that never ends is closed within 30 s", ended(connection, 30.0) is not None)
        with open_to(self.server, self.timeout) as connection:
            connection.sendall(b"REGISTER")
            connection.shutdown(socket.SHUT_WR)
            self.c.that("a request cut off is closed", ended(connection, 15.0) is not None)

    def look(self):
        if self.profile.fixed:
            return
        a, b = self.online("seeker"), self.online("sought")
        self.c.same("GET_FILE at the server gives the address", (0, *self.row(b)[1:]), lambda: a.look_up(b.user))
        self.c.that("GET_FILE at the server, of nobody, is refused", a.look_up(self.tag + "-none")[0] != 0)

    def parallel(self):
        c = self.c
        begin = threading.Barrier(50)
        statuses, wrong = [], []

        def same_name():
            client = Client(self.server, self.profile, self.tag + "-race", "one", 15.0)
            begin.wait(10)
            statuses.append(client.register())

        def life(number):
            client = Client(self.server, self.profile, f"{self.tag}-many-{number}", ("segments", "one")[number % 2], 15.0)
            begin.wait(10)
            name, found = f"file-{number}", {}

            def content():
                status, rows = client.list_content(client.user)
                return 0 if not status and [row[0] for row in rows] == [name] else f"{status} {rows}"

            def listed():
                status, rows = client.list_users()
                found["row"] = (client.user, client.own_ip(), str(client.listen()))
                return 0 if not status and found["row"] in rows else f"{status}, not listed"

            try:
                for what, step in (("register", client.register), ("connect", client.connect),
                                   ("publish", lambda: client.publish(name, "d")), ("list_users", listed),
                                   ("list_content", content), ("delete", lambda: client.delete(name)),
                                   ("disconnect", client.disconnect), ("unregister", client.unregister)):
                    got = step()
                    if got != 0:
                        wrong.append(f"{number} {what}: {got}")
            except (OSError, Bad, ValueError) as error:
                wrong.append(f"{number}: {type(error).__name__} {error}")
            finally:
                client.stop()

        for work in (same_name, life):
            threads = [threading.Thread(target=self.quietly, args=(work, wrong, *([n] if work is life else []))) for n in range(50)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        self.user("race")
        c.that("of 50 who register one name at once one succeeds", sorted(statuses) == [0] + [1] * 49, str(statuses))
        c.that("50 whole lives at once", not wrong, "; ".join(wrong[:5]))

    @staticmethod
    def quietly(work, wrong, *args):
        try:
            work(*args)
        except (OSError, Bad, ValueError, threading.BrokenBarrierError) as error:
            wrong.append(f"{type(error).__name__} {error}")

    # -- downloads

    def peer_get(self):
        """A client's file, found through the server by another client."""
        c = self.c
        a, b = self.user("provider"), self.user("requester")
        path, out = (os.path.join(self.folder.name, name) for name in ("given", "taken"))
        with open(path, "wb") as file:
            file.write(os.urandom(3_000_001))
        a.files["a gift.bin"] = path
        for client in (a, b):
            c.same("REGISTER for a download", 0, client.register)
            c.same("CONNECT for a download", 0, client.connect)
        c.same("PUBLISH for a download", 0, lambda: a.publish("a gift.bin", "random"))
        c.same("GET_FILE", (0, 3_000_001), lambda: b.get_file(b.find(a.user), "a gift.bin", out))
        c.that("GET_FILE brings the same bytes", os.path.exists(out) and sha256(out) == sha256(path))
        c.same("GET_FILE of no file", (1, 0), lambda: b.get_file(b.find(a.user), "none.bin", out))

    def from_peer(self, peer, file, expect):
        """A file of a user of the network, in every style, and a missing file."""
        c = self.c
        a = self.online("visitor")
        address = a.find(peer)
        out = os.path.join(self.folder.name, "from-peer")
        for name, style in STYLES.items():
            if style.ip or style.date_last:
                continue
            a.style = style
            c.same(f"GET_FILE from {peer} [{name}]", 0, lambda: a.get_file(address, file, out)[0])
            if expect:
                c.that(f"the same bytes [{name}]", os.path.exists(out) and sha256(out) == sha256(expect))
            if os.path.exists(out):
                os.remove(out)
        a.style = STYLES["segments"]
        absolute = ["/" + file, "//./" + file]
        if expect and self.profile.name == "2025":
            # The one program of 2025 asks for paths: those of the files that the other user shares.
            absolute += [os.path.realpath(expect), "/" + os.path.realpath(expect)]
        for name in absolute:
            c.same(f"GET_FILE of {name!r}", 0, lambda: a.get_file(address, name, out)[0])
            if expect:
                c.that(f"the same bytes of {name!r}", os.path.exists(out) and sha256(out) == sha256(expect))
        if expect:
            beside = os.path.dirname(os.path.realpath(expect))
            for name in (beside, f"{beside}/../{os.path.basename(beside)}/{os.path.basename(file)}", os.path.realpath(__file__)):
                c.same(f"GET_FILE of {name!r}", {(1, 0), (2, 0)}, lambda: a.get_file(address, name, out))
        c.same("GET_FILE with a date", 0, lambda: self.dated_file(a, address, file, out))
        c.same("LIST_CONTENT names it", True, lambda: file in [row[0] for row in a.list_content(peer)[1]])
        c.same("GET_FILE of no file", (1, 0), lambda: a.get_file(address, self.tag + "-none", out))
        for name in ("../" + file, "/etc/passwd", "../../../../../../etc/passwd", ".", ""):
            c.same(f"GET_FILE of {name!r}", {(1, 0), (2, 0)}, lambda: a.get_file(address, name, out))
        c.same("GET_FILE of a name too long", {(1, 0), (2, 0)}, lambda: a.get_file(address, "x" * 300, out))
        asleep = [open_to(address, self.timeout) for _ in range(10)]
        for connection in asleep:
            connection.sendall(b"GET_FILE\0half")
        c.same("GET_FILE while others never end a request", 0, lambda: a.get_file(address, file, out)[0])
        for connection in asleep:
            connection.close()

    def dated_file(self, a, address, file, out):
        """Some clients send the date to peers as well."""
        if not self.profile.date:
            return 0
        with open_to(address, self.timeout) as connection:
            put(connection, a.pieces("GET_FILE", [file], date=True), "segments")
            return get_status(connection, self.profile)

    def killed(self):
        """A user whose program was killed connects again; one whose program still listens does not."""
        c = self.c
        a = self.online("killed")
        c.same("CONNECT while the old port listens", 2, lambda: a.connect(1234))
        a.stop()
        c.same("CONNECT after the old port has closed", 0, a.connect)
        c.same("LIST_USERS names the new port", [self.row(a)], lambda: [row for row in a.list_users()[1] if row[0] == a.user])
        c.same("CONNECT with the new port twice", 2, a.connect)
        a.stop()
        c.same("CONNECT with a bad port", 3, lambda: a.connect("99999"))
        c.same("CONNECT after a bad port", 0, a.connect)


# ------------------------------------------------------------------------------------------------------ the modes


def check(options, out=None):
    checks = Checks(options.strict, out)
    table = Table(pair(options.server), PROFILES[options.profile], checks, options.timeout)
    table.run(options.slow, options.peer_get, options.peer, options.file, options.expect)
    return checks.end()


def join(client):
    status = client.register()
    if status not in (0, 1):
        raise Bad(f"REGISTER gave {status}")
    status = client.connect()
    if status == 2:  # an earlier run ended without DISCONNECT
        client.disconnect()
        status = client.connect()
    if status:
        raise Bad(f"CONNECT gave {status}")


def get(options):
    client = Client(pair(options.server), PROFILES[options.profile], options.user, options.style, options.timeout)
    join(client)
    try:
        ip, port = client.find(options.sender)
        print(f"{options.sender} is at {ip}:{port}", flush=True)
        status, size = client.get_file((ip, port), options.file, options.out)
        if status:
            raise Bad(f"GET_FILE gave {status}")
        if size != os.path.getsize(options.out):
            raise Bad(f"{size} bytes came, {os.path.getsize(options.out)} are in the file")
        return same_file(options.out, options.expect)
    finally:
        statuses = client.disconnect(), client.unregister()
        client.stop()
        if statuses != (0, 0):
            print(f"FAILED DISCONNECT and UNREGISTER gave {statuses}", file=sys.stderr)


def serve(options, told=None):
    told = told or until_told()
    client = Client(pair(options.server), PROFILES[options.profile], options.user, options.style, options.timeout)
    published = [item.partition(":") for item in options.publish]
    client.files = {name: os.path.join(options.folder, name) for name, _, _ in published}
    client.listen(options.port)
    join(client)
    for name, _, description in published:
        status = client.publish(name, description or name)
        if status not in (0, 3):
            raise Bad(f"PUBLISH {name} gave {status}")
    print(f"ready {client.listen()}", flush=True)
    told.wait()
    status = client.disconnect()
    client.stop()
    return 0 if status == 0 else 1


def arguments(words=None):
    parser = argparse.ArgumentParser(description="UC3M client, peer and checker")
    modes = parser.add_subparsers(dest="mode", required=True)
    for name in ("check", "get", "serve"):
        mode = modes.add_parser(name)
        mode.add_argument("--server", required=True, metavar="HOST:PORT")
        mode.add_argument("--profile", required=True, choices=PROFILES)
        mode.add_argument("--timeout", type=float, default=5.0 if name == "check" else 30.0)
        if name == "check":
            mode.add_argument("--peer-get", action="store_true", help="its own clients download from each other")
            mode.add_argument("--peer", metavar="USER", help="download --file from this listed user in every style")
            mode.add_argument("--file")
            mode.add_argument("--slow", action="store_true", help="also wait for connections that the server ends late")
            mode.add_argument("--strict", action="store_true", help="notes count as checks")
        else:
            mode.add_argument("--user", required=True)
            mode.add_argument("--style", choices=STYLES, default="segments")
        if name == "get":
            mode.add_argument("--from", dest="sender", required=True, metavar="OTHER")
            mode.add_argument("--file", required=True)
            mode.add_argument("--out", required=True)
        if name == "serve":
            mode.add_argument("--folder", required=True)
            mode.add_argument("--publish", action="append", default=[], metavar="FILE:DESCRIPTION")
            mode.add_argument("--port", type=int, default=0)
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
