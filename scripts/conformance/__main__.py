#!/usr/bin/env python3
"""Checks a running cardume server and a running peer against PROTOCOL.md.

Usage: python3 scripts/conformance --server IP:PORT --peer IP:PORT [--folder DIR] [--program FILE] [--slow] [--only TEXT]

With --folder, which the peer shares, files come and change there while the peer is looked at. With --program, the
program `cardume`, it downloads from peers that this script plays.

One line a check, `N passed, N failed` at the end. Exit code 0: all passed, 1: something failed, 2: wrong usage,
or no connection. Written from PROTOCOL.md alone. Where the text leaves a choice the checks are lenient, except where
a client could not do without one answer. It joins under random ports, and takes back all that it joined.
"""

import argparse
import http.client
import ipaddress
import itertools
import json
import os
import random
import re
import select
import secrets
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import blake3
import ed25519

MAX_INT = 2**53 - 1
MAX_BODY = 1 << 20
HEAD_LIMIT = 64 * 1024
SERVER_HEAD_LIMIT = 1 << 20
MIB = 1 << 20

PATIENCE = 3.0  # how long one answer may take, in seconds
QUICK_BUDGET = 15.0  # no quick check begins later than this
LAST_MOMENT = 18.5  # and none waits longer than this, so that it ends within 20 s however slow a side is
HASHING = 30.0  # how long a peer may take to hash a file; those checks come last and have time of their own
PREFIX = b'{"cardume":1'

RETRY = {
    "bad_request": False, "bad_name": False, "unsupported": False, "version": False, "too_large": False,
    "not_joined": False, "address": False, "in_use": True, "not_found": False, "refused": False, "busy": True,
    "changed": False, "range": False, "cancelled": False, "io": True, "internal": True,
    "taken": False, "no_user": False, "no_remote_user": False, "connected": False, "not_connected": False,
    "published": False, "not_published": False, "bad_proof": False, "account_required": False,
}


# ---------------------------------------------------------------------------------------------------- small tools


class Failed(Exception):
    """The side under test broke a rule; the text is the reason that is printed."""


class Ended(Failed):
    """The link ended where something else was due."""


class Skipped(Exception):
    """The check cannot be made here; the text says why."""


def demand(condition, why):
    if not condition:
        raise Failed(why)


def short(value, limit=160):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[:limit] + "…"


def whole(value):
    """An integer as section 5 spells it. Python's True is an int, and 1.0 a float: neither passes."""
    return type(value) is int and 0 <= value <= MAX_INT


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def parse_address(text):
    """(IP object, port) of `IP:PORT` or `[IPv6]:PORT`, None when it is spelled in another way."""
    if not isinstance(text, str):
        return None
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):([0-9]{1,5})", text)
    if not found or not 1 <= int(found[3]) <= 65535:
        return None
    try:
        ip = ipaddress.ip_address(found[1] or found[2])
    except ValueError:
        return None
    if (ip.version == 6) != bool(found[1]) or (ip.version == 6 and ip.ipv4_mapped):
        return None
    return ip, int(found[3])


def spell_address(ip, port):
    return f"[{ip}]:{port}" if ipaddress.ip_address(ip).version == 6 else f"{ip}:{port}"


def is_root(value):
    return value is None or (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None)


def is_name(text):
    """The lengths of a name alone; which characters a part may hold, the checks of names say."""
    parts = [part.encode("utf-8", "replace") for part in text.split("/")]
    fits = len(parts) <= 16 and sum(map(len, parts)) + len(parts) - 1 <= 1024
    return fits and all(0 < len(part) <= 255 for part in parts)


def check_file(entry):
    demand(isinstance(entry, dict), f"a file is not an object: {short(entry)}")
    name = entry.get("name")
    demand(isinstance(name, str) and is_name(name), f"bad name in {short(entry)}")
    demand(whole(entry.get("size")), f"bad size in {short(entry)}")
    demand("root" in entry and is_root(entry["root"]), f"bad root in {short(entry)}")
    demand(type(entry.get("partial")) is bool, f"no partial in {short(entry)}")


def check_cursor(answer):
    demand("cursor" in answer, f"no cursor in the answer: {short(answer)}")
    cursor = answer["cursor"]
    demand(cursor is None or (isinstance(cursor, str) and len(cursor.encode()) <= 64),
           f"a cursor is a string of at most 64 bytes or null, got {short(cursor)}")
    return cursor


def check_refusal(answer, *codes):
    """`answer` is a refusal with one of `codes`, and all its fields are as section 8 says."""
    error = answer.get("error")
    demand(isinstance(error, dict), f"expected a refusal ({' or '.join(codes)}), got {short(answer)}")
    demand("status" not in answer, f"a refusal with a status: {short(answer)}")
    code = error.get("code")
    demand(code in codes, f"expected {' or '.join(codes)}, got {short(error)}")
    demand(error.get("retry") is RETRY[code], f"retry of {code} must be {RETRY[code]}: {short(error)}")
    demand(isinstance(error.get("text"), str) and error["text"], f"a refusal without text: {short(error)}")
    return code


def check_ok(answer, status):
    demand(answer.get("status") == status, f"expected {status}, got {short(answer)}")
    demand("error" not in answer, f"an answer with status and error: {short(answer)}")
    return answer


# ----------------------------------------------------------------------------------------------------------- links


class Clock:
    """When the quick checks must be over; the slow ones have all the time they want."""

    began = time.monotonic()
    stop = began + LAST_MOMENT


class Side:
    """One of the two programs under test."""

    def __init__(self, role, text):
        self.role = role
        self.ip, self.port = text
        self.sockaddr = (str(self.ip), self.port)
        self.max_head = HEAD_LIMIT  # until its opening says more

    def __str__(self):
        return f"{self.role} {spell_address(self.ip, self.port)}"


class Link:
    """One TCP connection, and the framing of section 2: lines, heads, bodies."""

    def __init__(self, side, small_buffer=False):
        self.side = side
        self.buffer = bytearray()
        self.events = []
        self.kept = []  # answers read while another one was waited for
        self.ids = itertools.count(1)
        self.over = False
        self.patience = PATIENCE
        self.opening = None
        self.sock = socket.socket(socket.AF_INET6 if side.ip.version == 6 else socket.AF_INET)
        if small_buffer:  # so that a file of gigabytes does not pour in while only its HTTP head is wanted
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        self.sock.settimeout(PATIENCE)
        try:
            self.sock.connect(side.sockaddr)
        except OSError as error:
            self.sock.close()
            raise Failed(f"cannot connect to {side}: {error}") from None
        self.began = time.monotonic()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        self.sock.close()

    # -- bytes

    def send(self, data):
        """A side that ended the link is found out by reading: it may have said why before it went."""
        try:
            self.sock.settimeout(PATIENCE)
            self.sock.sendall(data)
        except TimeoutError:
            raise Failed("does not take what is sent to it") from None
        except OSError:
            pass

    def stop_sending(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def more_bytes(self, until):
        """False at the end of the link. A reset is an end too: TCP sends one when unread bytes are thrown away."""
        left = min(until, Clock.stop) - time.monotonic()
        if left <= 0:
            raise Failed("no answer in time")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(256 * 1024)
        except TimeoutError:
            raise Failed("no answer in time") from None
        except OSError:
            data = b""
        self.buffer += data
        self.over = self.over or not data
        return bool(data)

    def line(self, limit=HEAD_LIMIT):
        until = time.monotonic() + self.patience
        start = 0
        while True:
            end = self.buffer.find(b"\n", start)
            if end >= 0:
                line = bytes(self.buffer[:end])
                del self.buffer[:end + 1]
                demand(len(line) <= limit, f"a line of {len(line)} bytes")
                return line
            start = len(self.buffer)
            demand(start <= limit, f"{start} bytes without an end of line")
            if not self.more_bytes(until):
                tail = f" after {short(bytes(self.buffer))}" if self.buffer else ""
                raise Ended(f"the link ended where an answer was due{tail}")

    def exactly(self, count):
        # The clock starts again with each piece: a slow line is no fault.
        while len(self.buffer) < count:
            if not self.more_bytes(time.monotonic() + PATIENCE):
                raise Ended(f"the link ended {count - len(self.buffer)} bytes before the end of a body")
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def ends(self, within=PATIENCE):
        """The other side closes, and says nothing more before it does."""
        until = time.monotonic() + within
        while not self.over:
            demand(not self.buffer, f"expected the end of the link, got {short(bytes(self.buffer))}")
            try:
                self.more_bytes(until)
            except Failed:
                raise Failed("the link was not closed") from None
        demand(not self.buffer, f"expected the end of the link, got {short(bytes(self.buffer))}")

    def swallow(self, within=PATIENCE):
        """Everything up to the end of the link, or up to silence. For hostile input, where any words will do."""
        until = time.monotonic() + within
        while not self.over:
            try:
                self.more_bytes(until)
            except Failed:
                break
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    def silent(self, seconds):
        demand(not self.buffer and not self.kept, f"unexpected {short(bytes(self.buffer) or self.kept)}")
        self.sock.settimeout(seconds)
        try:
            data = self.sock.recv(4096)
        except TimeoutError:
            return
        except OSError:
            data = b""
        raise Failed(f"unexpected {short(data)}" if data else "the link was closed")

    # -- heads

    def head(self):
        line = self.line()
        while line in (b"", b"\r"):
            line = self.line()
        try:
            value = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            raise Failed(f"not a head: {short(line)}") from None
        demand(isinstance(value, dict), f"a head that is no object: {short(line)}")
        return value

    def next(self):
        """The next answer and its body. Only an answer to FETCH or PIECES has one."""
        while True:
            head = self.head()
            if "event" in head:
                self.note_event(head)
                continue
            demand("id" in head, f"an answer without id: {short(head)}")
            demand(("status" in head) != ("error" in head), f"neither an answer nor a refusal: {short(head)}")
            body = b""
            if head.get("status") in ("FETCH_OK", "PIECES_OK"):
                length = head.get("length")
                demand(whole(length) and length <= MAX_BODY, f"bad length: {short(head)}")
                body = self.exactly(length)
            return head, body

    def note_event(self, head):
        demand("status" not in head and "error" not in head, f"an event that is an answer too: {short(head)}")
        if head["event"] == "WAITING":
            demand(whole(head.get("id")), f"WAITING without the id of its request: {short(head)}")
            demand(isinstance(head.get("reason"), str), f"WAITING without a reason: {short(head)}")
            if head["reason"] == "slot":
                demand(whole(head.get("place")) and head["place"] >= 1, f"WAITING for a slot without place: {head}")
        self.events.append(head)

    def raw_opening(self):
        line = self.line()
        demand(line.startswith(PREFIX), f"the first line does not start with {PREFIX.decode()}: {short(line)}")
        demand(not line[len(PREFIX):][:1].isdigit(), f"another major version: {short(line)}")
        head = json.loads(line)
        demand(isinstance(head, dict), f"the opening is no object: {short(line)}")
        return head

    def read_opening(self):
        head = self.raw_opening()
        demand("error" not in head, f"the opening was refused: {short(head)}")
        demand(head.get("role") == self.side.role, f"role is not {self.side.role}: {short(head)}")
        self.opening = head
        limit = head.get("max_head", HEAD_LIMIT)
        demand(whole(limit) and limit >= HEAD_LIMIT, f"max_head below 65536: {short(head)}")
        self.side.max_head = limit
        return head

    def open(self, **fields):
        self.send(compact({"cardume": 1, **fields}) + b"\n")
        return self.read_opening()

    def say(self, head):
        self.send(compact(head) + b"\n")

    def request(self, method, **fields):
        number = next(self.ids)
        self.say({"id": number, "method": method, **fields})
        return number

    def answer(self, number):
        """The answer with that id and its body; answers come in any order."""
        for place, (head, body) in enumerate(self.kept):
            if head["id"] == number:
                del self.kept[place]
                return head, body
        while True:
            head, body = self.next()
            if head["id"] == number and type(head["id"]) is type(number):
                return head, body
            demand(head["id"] is not None or "error" not in head, f"refused without an id: {short(head)}")
            self.kept.append((head, body))

    def ask(self, method, **fields):
        return self.answer(self.request(method, **fields))[0]

    def ask_line(self, line, number):
        """A request that is written by hand, for spellings that json.dumps would not make."""
        self.send(line.encode("utf-8") if isinstance(line, str) else line)
        self.send(b"\n")
        return self.answer(number)[0]

    def ping(self):
        answer = self.ask("PING")
        check_ok(answer, "PONG")

    def refused_and_closed(self, *codes):
        """The rule for broken framing: one refusal with `"id":null`, then the end."""
        head, _ = self.next()
        demand(head["id"] is None, f"the refusal must have id null: {short(head)}")
        check_refusal(head, *codes)
        self.ends()

    def opening_refused(self, *codes):
        """The rule for a bad opening: a refusal in the shape of an opening, then the end."""
        head = self.raw_opening()
        demand("role" not in head and isinstance(head.get("error"), dict), f"the opening was taken: {short(head)}")
        demand(head["error"].get("code") in codes, f"expected {' or '.join(codes)}, got {short(head)}")
        self.ends()

    # -- FETCH and PIECES

    def fetch(self, name, **fields):
        return self.fetched(self.request("FETCH", name=name, **fields), name, fields)

    def fetch_root(self, root, name, **fields):
        """By root; `name` is what the giver calls it."""
        got = self.fetched(self.request("FETCH", root=root, **fields), name, fields)
        demand(got.refusal is None, f"refused: {short(got.refusal)}")
        return got

    def list(self, **fields):
        """PIECES: the heads' fields, which are the same in all of them, and the bytes of the list."""
        number = self.request("PIECES", **fields)
        first, data, place = None, b"", fields.get("from", 0)
        self.patience = HASHING
        while True:
            head, body = self.answer(number)
            check_ok(head, "PIECES_OK")
            self.patience = PATIENCE
            same = {key: head.get(key) for key in ("name", "size", "tag", "root")}
            check_file({**same, "partial": False})
            demand(same["root"], f"a list without its root: {short(head)}")
            demand(re.fullmatch("[0-9a-f]{16}", str(same["tag"])), f"bad tag: {short(head)}")
            demand(first in (None, same), "name, size, tag or root changed between two bodies")
            demand(whole(head.get("from")) and head["from"] == place, f"from must be {place}: {short(head)}")
            demand(type(head.get("more")) is bool, f"more is no boolean: {short(head)}")
            first, data, place = same, data + body, place + len(body)
            if not head["more"]:
                return first, data

    def fetched(self, number, name, fields):
        """All answers to one FETCH, put together and measured against section 7."""
        got = Fetched()
        place = fields.get("from", 0)
        while True:
            head, body = self.answer(number)
            if "error" in head:
                got.refusal = head
                return got
            check_ok(head, "FETCH_OK")
            demand(head.get("name") == name, f"another name: {short(head)}")
            demand(whole(head.get("size")), f"bad size: {short(head)}")
            tag = head.get("tag")
            demand(isinstance(tag, str) and re.fullmatch("[0-9a-f]{16}", tag), f"bad tag: {short(head)}")
            demand(type(head.get("more")) is bool, f"more is no boolean: {short(head)}")
            demand(head.get("from") == place and whole(head["from"]), f"from must be {place}: {short(head)}")
            if got.answers:
                demand((head["size"], tag) == (got.size, got.tag), "size or tag changed between two bodies")
            demand(body or (not got.answers and not head["more"]), "an empty body in a longer answer")
            got.size, got.tag = head["size"], tag
            got.answers += 1
            got.data += body
            place += len(body)
            demand(place <= got.size, "bytes beyond the size")
            wanted = fields.get("length")
            demand(wanted is None or len(got.data) <= wanted, f"{len(got.data)} bytes where {wanted} were asked for")
            if not head["more"]:
                return got

    def fetch_ok(self, name, **fields):
        got = self.fetch(name, **fields)
        demand(got.refusal is None, f"FETCH refused: {short(got.refusal)}")
        start, wanted = fields.get("from", 0), fields.get("length")
        due = got.size - start if wanted is None else min(wanted, got.size - start)
        demand(len(got.data) == due, f"{len(got.data)} bytes where {due} were due")
        return got


class Fetched:
    def __init__(self):
        self.size, self.tag, self.data, self.refusal, self.answers = 0, None, bytearray(), None, 0


# ------------------------------------------------------------------------------------------------------------ HTTP


class HttpAnswer:
    def __init__(self, version, status, headers):
        self.version, self.status, self.headers, self.body = version, status, headers, b""

    def get(self, name):
        return self.headers.get(name.lower())


def read_http(link, method="GET", body_limit=4 * MIB, body=True):
    """One answer, read from a link by hand: http.client hides the ends and mixes up pipelined answers."""
    first = link.line().rstrip(b"\r").decode("latin-1")
    found = re.fullmatch(r"HTTP/1\.([01]) ([0-9]{3})(?: .*)?", first)
    demand(found, f"not an HTTP status line: {short(first)}")
    headers = {}
    while True:
        line = link.line()
        demand(line.endswith(b"\r"), f"an HTTP line without CR: {short(line)}")
        line = line[:-1].decode("latin-1")
        if not line:
            break
        name, colon, value = line.partition(":")
        demand(colon and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), f"bad HTTP header: {short(line)}")
        demand(name.lower() not in headers, f"header {name} twice")
        headers[name.lower()] = value.strip(" \t")
    answer = HttpAnswer(int(found[1]), int(found[2]), headers)
    if body and method != "HEAD" and answer.status not in (204, 304):
        length = answer.get("Content-Length")
        demand(length is not None and length.isdigit(), f"{answer.status} without Content-Length: {headers}")
        demand(int(length) <= body_limit, f"{length} bytes of body where a small one was due")
        answer.body = link.exactly(int(length))
    return answer


def http_request(path, headers=(), method="GET", version="1.1"):
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in dict(headers).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def file_path(name):
    return "/files/" + urllib.parse.quote(name.encode("utf-8"), safe="")


# ---------------------------------------------------------------------------------------------------------- checks


class World:
    """What all checks share: both sides, what the peer has, which addresses were joined."""

    def __init__(self, server, peer, folder=None, program=None):
        self.server, self.peer, self.folder, self.program = server, peer, folder, program
        self.token = secrets.token_hex(6)
        self.numbers = itertools.count(1)
        self.joined = set()
        self.names = []
        self.files = None  # of the peer, filled in by look_at_peer
        self.no_bodies = None  # why body checks are skipped
        self.fault = None  # the same, when the peer broke a rule
        self.file = self.big = None
        self.list = None  # what `known_list` found
        self.content = None  # what `a_content` made


class Run:
    """One check under way. It owns its links, and closes them whatever happens."""

    def __init__(self, world):
        self.world, self.server, self.peer = world, world.server, world.peer
        self.links = []

    def raw(self, side, small_buffer=False):
        link = Link(side, small_buffer)
        self.links.append(link)
        return link

    def link(self, side, **fields):
        link = self.raw(side)
        link.open(**fields)
        return link

    def close(self):
        for link in self.links:
            link.close()

    def name(self, ending=".bin"):
        """A name that nobody else has."""
        return f"conformance-{self.world.token}-{next(self.world.numbers)}{ending}"

    def join(self, link, files=(), **fields):
        """Joins under a port that is free; other members hold some. The answer is the JOIN_OK."""
        for _ in range(20):
            port = random.randint(1024, 65535)
            answer = link.ask("JOIN", port=port, files=list(files), **fields)
            if answer.get("error", {}).get("code") == "in_use":
                continue
            self.note_join(answer)
            demand(parse_address(answer["you"])[1] == port, f"joined with port {port}, listed as {answer['you']}")
            return answer
        raise Failed("twenty random ports in a row are in use")

    def note_join(self, answer):
        check_ok(answer, "JOIN_OK")
        demand(parse_address(answer.get("you")), f"you is no address: {short(answer)}")
        self.world.joined.add(answer["you"])
        demand(whole(answer.get("files")), f"files is no integer: {short(answer)}")
        session = answer.get("session")
        demand(isinstance(session, str) and re.fullmatch("[0-9a-f]{32}", session), f"bad session: {short(answer)}")
        demand(whole(answer.get("heartbeat_ms")) and answer["heartbeat_ms"] > 0, f"bad heartbeat: {short(answer)}")

    def member(self, files=(), **fields):
        """A new link that has joined: the link and its JOIN_OK."""
        link = self.link(self.server)
        return link, self.join(link, files, **fields)

    def need_file(self):
        if self.world.no_bodies:
            raise Skipped(self.world.no_bodies)
        return self.world.file

    def need_big(self, size):
        self.need_file()
        if self.world.big["size"] < size:
            raise Skipped(f"the peer shares no file of {size} bytes or more")
        return self.world.big

    def http(self, side, path, headers=(), method="GET", version="1.1", body=True):
        link = self.raw(side, small_buffer=not body)
        link.send(http_request(path, headers, method, version))
        return read_http(link, method, body=body)


CHECKS = []
BOTH = ("server", "peer")


def check(name, on=None, phase="quick"):
    """Registers a check. With `on` it runs once for each of these sides and is given the side."""

    def register(function):
        for role in on or (None,):
            CHECKS.append((f"{name}, {role}" if role else name, function, role, phase))
        return function

    return register


def pages(link, method, key, limit, most_pages=200, **fields):
    """All entries of a paged answer, in order."""
    found, cursor, seen = [], None, set()
    for _ in range(most_pages):
        answer = link.ask(method, **fields, **({"cursor": cursor} if cursor is not None else {}))
        check_ok(answer, f"{method}_OK")
        page = answer.get(key)
        demand(isinstance(page, list), f"{key} is no list: {short(answer)}")
        demand(len(page) <= limit, f"{len(page)} {key} in one answer, at most {limit} are allowed")
        found += page
        cursor = check_cursor(answer)
        if cursor is None:
            return found
        demand(page, "an empty page with a cursor")
        demand(cursor not in seen, "the same cursor twice: the pages never end")
        seen.add(cursor)
    return found


def all_peers(link):
    found = pages(link, "PEERS", "peers", 256)
    for entry in found:
        demand(isinstance(entry, dict) and parse_address(entry.get("peer")) and whole(entry.get("files")),
               f"bad entry in PEERS: {short(entry)}")
    return found


def search(link, name):
    found = search_by(link, name=name)
    for entry in found:
        demand(entry["name"] == name, f"a holder with another name: {short(entry)}")
    return found


def search_root(link, root):
    """What each peer says of its file of this content."""
    found = search_by(link, root=root)
    for entry in found:
        demand(entry["root"] == root, f"a holder with another root: {short(entry)}")
    peers = [entry["peer"] for entry in found]
    demand(len(peers) == len(set(peers)), f"a peer came twice: {short(peers)}")
    return {entry["peer"]: (entry["name"], entry["size"], entry["partial"]) for entry in found}


def search_by(link, **wanted):
    found = pages(link, "SEARCH", "holders", 64, **wanted)
    for entry in found:
        check_file(entry)
        demand(parse_address(entry.get("peer")), f"a holder without address: {short(entry)}")
    return found


def holders(link, name):
    return {entry["peer"]: entry["size"] for entry in search(link, name)}


def listed(link, address):
    return any(entry["peer"] == address for entry in all_peers(link))


def server_files(link, address):
    found = pages(link, "LS", "files", 256, peer=address)
    for entry in found:
        check_file(entry)
    return {entry["name"]: entry["size"] for entry in found}


def soon(condition, why, within=2.0):
    """For what follows the end of a link: the server learns of it when TCP tells it."""
    until = time.monotonic() + within
    while not condition():
        demand(time.monotonic() < until, why)
        time.sleep(0.02)


def new_file(run, size=1, ending=".bin", **known):
    return {"name": run.name(ending), "size": size, **known}


def new_root():
    return secrets.token_hex(32)


def goes_on(link):
    """After a refusal that is no fault of the framing the link still answers."""
    link.ping()


def alive(run, side):
    run.link(side).ping()


# ------------------------------------------------------------------------------------------------ section 3 opening


@check("opening / first line and its fields", BOTH)
def opening_fields(run, side):
    link = run.raw(side)
    link.send(b'{"cardume":1}\n')
    head = link.read_opening()
    demand(next(iter(head)) == "cardume", "cardume is not the first key")
    demand(whole(head.get("heartbeat_ms")) and head["heartbeat_ms"] > 0, f"bad heartbeat_ms: {short(head)}")
    caps = head.get("caps", [])
    demand(isinstance(caps, list) and all(isinstance(cap, str) for cap in caps), f"bad caps: {short(head)}")
    if "nonce" in head:
        demand(isinstance(head["nonce"], str) and re.fullmatch("[0-9a-f]{32}", head["nonce"]), "bad nonce")


@check("opening / max_head is what section 5 says", BOTH)
def opening_max_head(run, side):
    run.link(side)
    limit = SERVER_HEAD_LIMIT if side.role == "server" else HEAD_LIMIT
    demand(side.max_head == limit, f"max_head is {side.max_head}, section 5 says {limit}")


@check("opening / you is where the link comes from", BOTH)
def opening_you(run, side):
    link = run.link(side)
    you = parse_address(link.opening.get("you"))
    demand(you, f"you is no address: {short(link.opening)}")
    # Behind a translator of addresses the other side sees something else; on loopback there is none.
    if side.ip.is_loopback:
        here = link.sock.getsockname()
        demand(you == (ipaddress.ip_address(here[0]), here[1]), f"you is {link.opening['you']}, the link has {here}")


@check("opening / nonce is fresh for each link", BOTH)
def opening_nonce(run, side):
    first, second = (run.link(side).opening.get("nonce") for _ in range(2))
    if first is None:
        raise Skipped("no nonce is sent, it is optional")
    demand(first != second, f"two links have the nonce {first}")


@check("opening / optional and unknown fields", BOTH)
def opening_optional(run, side):
    run.link(side, max_head=65536, caps=["future", "x"], nonce="00" * 16, peer=4000, shape={"a": [1, None]}).ping()


@check("opening / other major version is answered and closed", BOTH)
def opening_version(run, side):
    for line in ('{"cardume":2,"shape":"unknown"}', '{"cardume":2}', '{"cardume":10}', '{"cardume":0}'):
        link = run.raw(side)
        link.send(line.encode() + b"\n")
        head = link.raw_opening()
        demand("role" not in head, f"{line} was taken: {short(head)}")
        check_refusal(head, "version")
        link.ends()


@check("opening / other major version with requests behind it", BOTH)
def opening_version_pipelined(run, side):
    link = run.raw(side)
    link.send(b'{"cardume":2}\n{"id":1,"method":"PING"}\n')
    check_refusal(link.raw_opening(), "version")
    link.ends()


@check("opening / requests pipelined behind it", BOTH)
def opening_pipelined(run, side):
    link = run.raw(side)
    link.send(b'{"cardume":1}\n{"id":1,"method":"PING"}\n{"id":2,"method":"PING"}\n')
    link.read_opening()
    for number in (1, 2):
        check_ok(link.answer(number)[0], "PONG")


@check("opening / a long head pipelined behind it", BOTH)
def opening_pipelined_long(run, side):
    # The limit of 64 KiB is that of the opening, not of all that comes in the same packet.
    run.link(side)  # learns max_head
    link = run.raw(side)
    padding = "x" * (side.max_head - 1000)
    link.send(b'{"cardume":1}\n' + compact({"id": 1, "method": "PING", "padding": padding}) + b"\n")
    link.read_opening()
    check_ok(link.answer(1)[0], "PONG")


@check("opening / in single bytes", BOTH)
def opening_bytes(run, side):
    link = run.raw(side)
    for byte in b'{"cardume":1,"caps":[]}\n{"id":7,"method":"PING"}\n':
        link.send(bytes([byte]))
        time.sleep(0.001)
    link.read_opening()
    check_ok(link.answer(7)[0], "PONG")


@check("opening / ended by \\r\\n", BOTH)
def opening_crlf(run, side):
    link = run.raw(side)
    link.send(b'{"cardume":1}\r\n')
    link.read_opening()
    link.ping()


@check("opening / 65,000 bytes are taken", BOTH)
def opening_long(run, side):
    link = run.link(side, padding="x" * 64_970)
    link.ping()


@check("opening / over 64 KiB is too_large", BOTH)
def opening_too_large(run, side):
    link = run.raw(side)
    link.send(compact({"cardume": 1, "padding": "x" * 70_000}) + b"\n")
    head = link.head()
    demand("role" not in head, f"it was taken: {short(head)}")
    check_refusal(head, "too_large")
    link.ends()


@check("opening / a first line that is none ends the link", BOTH)
def opening_missing(run, side):
    # What is said before the end is nowhere written, but it must not be an answer.
    for line in (b'{"id":1,"method":"PING"}', b'{"cardume":"one"}', b'{"cardume":', b"{}", b"{", b'{"cardume":1'):
        link = run.raw(side)
        link.send(line + b"\n")
        said = link.swallow()
        demand(b'"status"' not in said and b'"role"' not in said, f"{line!r} was taken: {short(said)}")
        demand(link.over, f"the link stays open after {line!r}")


@check("opening / garbage as first byte ends the link", BOTH)
def opening_garbage(run, side):
    for data in (b"\x00", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SSH-2.0-x\r\n", b"[1]\n", b"HELLO\r\n",
                 b"\xff\xfe{\x00", b"\x13BitTorrent protocol" + bytes(48), b'"cardume"\n'):
        link = run.raw(side)
        link.send(data)
        said = link.swallow()
        demand(link.over, f"the link stays open after {data[:12]!r}")
        demand(b'"role"' not in said and b" 200 " not in said, f"{data[:12]!r} got {short(said)}")


# ----------------------------------------------------------------------------------- sections 2 and 4: framing, ids


@check("framing / \\r\\n, empty lines and white space", BOTH)
def framing_white_space(run, side):
    link = run.link(side)
    link.send(b'\n\r\n\n{"id":1,"method":"PING"}\r\n\n\n \t{ "id" : 2 , "method" :"PING"\t} \n')
    for number in (1, 2):
        check_ok(link.answer(number)[0], "PONG")
    link.silent(0.1)


@check("framing / order of fields is free, unknown ones are ignored", BOTH)
def framing_unknown_fields(run, side):
    link = run.link(side)
    line = '{"x":{"y":[1,2.5,null,-3e2,"\\u00e9\\ud83d\\ude00"]},"method":"PING","length":7,"cardume":9,"id":41}'
    check_ok(link.ask_line(line, 41), "PONG")
    link.ping()


@check("framing / a head in many small pieces", BOTH)
def framing_pieces(run, side):
    link = run.link(side)
    for byte in b'{"id":5,"method":"PING"}\n':
        link.send(bytes([byte]))
    check_ok(link.answer(5)[0], "PONG")


@check("framing / 3,000 requests at once are all answered", BOTH)
def framing_many(run, side):
    link = run.link(side)
    link.send(b"".join(b'{"id":%d,"method":"PING"}\n' % number for number in range(3000)))
    seen = set()
    for _ in range(3000):
        head, _ = link.next()
        check_ok(head, "PONG")
        seen.add(head["id"])
    demand(seen == set(range(3000)), "some ids are missing or came twice")


@check("framing / unknown method", BOTH)
def framing_unknown_method(run, side):
    link = run.link(side)
    for method in ("DANCE", "", "PING ", "X" * 5000, "\u0000"):
        check_refusal(link.ask(method, tempo="fast"), "unsupported")
    goes_on(link)


@check("framing / methods of the other side are unsupported", BOTH)
def framing_wrong_side(run, side):
    link = run.link(side)
    if side.role == "server":
        requests = [("FETCH", {"name": "a.bin"}), ("CANCEL", {"fetch": 1}), ("FETCH", {"root": "ab" * 32}),
                    ("PIECES", {"name": "a.bin"}), ("HAVE", {"root": "ab" * 32}), ("FETCH", {}), ("PIECES", {"from": -1}), ("HAVE", {}),
                    ("CANCEL", {"fetch": "x"})]
    else:
        requests = [("JOIN", {"port": 4001}), ("SEARCH", {"name": "a.bin"}), ("SEARCH", {"root": "ab" * 32}),
                    ("UPDATE", {}), ("LEAVE", {}), ("PEERS", {}), ("JOIN", {}), ("SEARCH", {}), ("REGISTER", {}), ("SUBSCRIBE", {}),
                    ("LIST_CONTENT", {}), ("JOIN", {"port": "x"}), ("SEARCH", {"name": 5})]
    for method, fields in requests:
        check_refusal(link.ask(method, **fields), "unsupported")
    goes_on(link)


@check("framing / a missing or wrong method", BOTH)
def framing_missing_method(run, side):
    link = run.link(side)
    for number, rest in enumerate(("", ',"method":5', ',"method":null', ',"method":["PING"]', ',"status":"PONG"')):
        check_refusal(link.ask_line(f'{{"id":{number}{rest}}}', number), "bad_request")
    goes_on(link)


@check("framing / missing fields are refused and the link goes on", BOTH)
def framing_missing_fields(run, side):
    link = run.link(side)
    methods = ("JOIN", "SEARCH", "LS") if side.role == "server" else ("FETCH", "CANCEL")
    for method in methods:
        check_refusal(link.ask(method), "bad_request")
    goes_on(link)


NOT_A_HEAD = {
    "a word": b"PING",
    "an array": b"[]",
    "a string": b'"PING"',
    "a number": b"42",
    "null": b"null",
    "half an object": b'{"id":1,"method":"PING"',
    "two objects": b'{"id":1,"method":"PING"}{"id":2,"method":"PING"}',
    "single quotes": b"{'id':1,'method':'PING'}",
    "a trailing comma": b'{"id":1,"method":"PING",}',
    "bytes that are not UTF-8": b'{"id":1,"method":"PING","x":"\xff\xfe"}',
    "overlong UTF-8": b'{"id":1,"method":"PING","x":"\xc0\xaf"}',
    "a raw control character": b'{"id":1,"method":"PING","x":"\x01"}',
    "NaN": b'{"id":1,"method":"PING","x":NaN}',
    "an NUL byte": b"\x00",
}


@check("framing / what is not a JSON object closes the link", BOTH)
def framing_not_json(run, side):
    for what, line in NOT_A_HEAD.items():
        link = run.link(side)
        link.send(line + b"\n")
        try:
            link.refused_and_closed("bad_request")
        except Failed as failure:
            raise Failed(f"{what}: {failure}") from None


@check("framing / answers that are due come before such an end", BOTH)
def framing_answers_first(run, side):
    link = run.link(side)
    link.send(b'{"id":1,"method":"PING"}\nPING\n{"id":2,"method":"PING"}\n')
    heads = [link.next()[0], link.next()[0]]
    demand({head["id"] for head in heads} == {1, None}, f"expected a PONG and a refusal, got {short(heads)}")
    for head in heads:
        if head["id"] == 1:
            check_ok(head, "PONG")
        else:
            check_refusal(head, "bad_request")
    link.ends()


@check("framing / a head close to max_head is taken", BOTH)
def framing_long_head(run, side):
    link = run.link(side)
    for _ in range(2):
        check_ok(link.ask("PING", padding="x" * (side.max_head - 500)), "PONG")


@check("framing / a head over max_head is too_large", BOTH)
def framing_too_large(run, side):
    link = run.link(side)
    link.say({"id": 1, "method": "PING", "padding": "x" * (side.max_head + 10)})
    link.refused_and_closed("too_large")


@check("framing / a head that never ends is too_large", BOTH)
def framing_endless(run, side):
    link = run.link(side)
    link.send(b'{"id":1,"x":"' + b"x" * side.max_head)
    link.refused_and_closed("too_large")


def survives(run, side, line, number=1):
    """Hostile JSON: PONG, or a refusal with or without the end of the link, and the side lives on."""
    link = run.link(side)
    link.send(line + b"\n")
    head, _ = link.next()
    if "error" in head:
        check_refusal(head, "bad_request", "too_large")
        demand(head["id"] in (None, number), f"another id: {short(head)}")
        if head["id"] is None:
            link.ends()  # an unreadable head is a fault of framing
        else:
            goes_on(link)
    else:
        demand(head["id"] == number, f"another id: {short(head)}")
        check_ok(head, "PONG")
        goes_on(link)
    alive(run, side)


@check("framing / JSON nested 100,000 deep does not kill it", BOTH)
def framing_nested(run, side):
    run.link(side)
    depth = min(100_000, (side.max_head - 1000) // 2)
    deep = b"[" * depth + b"]" * depth
    survives(run, side, b'{"id":1,"method":"PING","x":' + deep + b"}")
    depth = min(100_000, (side.max_head - 1000) // 6)
    survives(run, side, b'{"id":1,"method":"PING","x":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}")


@check("framing / unclosed nesting does not kill it", BOTH)
def framing_nested_open(run, side):
    for line in (b"[" * 60_000, b'{"id":1,"x":' + b"[" * 60_000, b'{"a":' * 12_000):
        link = run.link(side)
        link.send(line + b"\n")
        link.refused_and_closed("bad_request", "too_large")
    link = run.raw(side)
    link.send(b'{"cardume":1,"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}\n")
    link.opening_refused("bad_request")
    alive(run, side)


@check("framing / what JSON leaves open is refused and the link goes on", BOTH)
def framing_strict_json(run, side):
    link = run.link(side)
    cases = [
        ("a key twice", '"x":1,"x":2', "bad_request"), ("a key twice inside", '"x":[{"a":{"b":1,"\\u0062":2}}]', "bad_request"),
        ("too deep", '"x":' + "[" * 127 + "]" * 127, "bad_request"), ("much too deep", '"x":' + "[" * 9000 + "]" * 9000, "bad_request"),
        ("half a pair", '"x":"\\ud800"', "bad_request"), ("the other half", '"\\udc00":0', "bad_request"),
        ("many members", ",".join(f'"k{number}":0' for number in range(300)), "too_large"),
    ]
    for number, (what, more, code) in enumerate(cases):
        try:
            check_refusal(link.ask_line(f'{{"id":{number},"method":"PING",{more}}}', number), code)
        except Failed as failure:
            raise Failed(f"{what}: {failure}") from None
    good = ['"x":1e400', '"x":-0', '"x":' + "9" * 400, '"x":' + "[" * 126 + "]" * 126, '"x":"\\ud83d\\ude00"', '"\\u0000":0', '"from":"x","files":1e400,"port":-1']
    for number, more in enumerate(good):
        check_ok(link.ask_line(f'{{"id":{number},"method":"PING",{more}}}', number), "PONG")
    goes_on(link)


@check("types / integers are digits up to 2^53-1", BOTH)
def types_integers(run, side):
    link = run.link(side)
    fields = '"method":"UNSUBSCRIBE","of"' if side.role == "server" else '"method":"CANCEL","fetch"'
    for code, numbers in (("too_large", (str(2**53), str(2**64), "9" * 400)), ("bad_request", ("-0", "-1", "1.0", "1e2", "1e400", '"1"', "[1]", "{}"))):
        for number in numbers:
            check_refusal(link.ask_line(f'{{"id":1,{fields}:{number}}}', 1), code)
    if side.role == "server":
        for fields in ('"quic":[4000,"' + "ab" * 32 + '"]', '"files":[["a.bin",5]]', '"ports":[]', '"files":{}'):
            check_refusal(link.ask_line(f'{{"id":1,"method":"JOIN","port":4000,{fields}}}', 1), "bad_request")
        check_refusal(link.ask_line('{"id":1,"method":"PING","moved":[1,2,3,4]}', 1), "bad_request")
    goes_on(link)


@check("opening / the version follows at once and in digits", BOTH)
def opening_spelling(run, side):
    for line in (b'{"cardume": 1}', b'{"cardume" :1}', b'{"cardume":1.0}', b'{"cardume":01}', b'{"cardume":-1}', b'{"cardume":"1"}', b'{"cardume":1e0}',
                 b'{"cardume":1,"x":1,"x":2}', b'{"cardume":1,"x":"\\ud800"}'):
        link = run.raw(side)
        link.send(line + b"\n")
        link.opening_refused("bad_request")
    for line in (b'{"cardume":0}', b'{"cardume":18446744073709551616}'):
        link = run.raw(side)
        link.send(line + b"\n")
        link.opening_refused("version")
    for more in ('"peer":"x"', '"peer":1e400', '"peer":70000', '"peer":[]', '"x":1e400'):
        link = run.raw(side)
        link.send(b'{"cardume":1,' + more.encode() + b"}\n")
        link.read_opening()


@check("framing / odd but valid JSON does not kill it", BOTH)
def framing_odd_json(run, side):
    survives(run, side, b'{"id":1,"method":"PING","x":"\\ud800"}')
    survives(run, side, b'{"id":1,"method":"PING","x":1e999999}')
    survives(run, side, b'{"id":1,"method":"PING","x":' + b"9" * 5000 + b"}")
    survives(run, side, b'{"id":1,"method":"PING","x":-0.' + b"0" * 5000 + b"1e-5000}")
    survives(run, side, b'{"id":1,"method":"PING","":"","\\u0000":0}')


@check("ids / 0 and 2^53-1", BOTH)
def ids_large(run, side):
    link = run.link(side)
    for number in (0, MAX_INT, 1, 2**32, 2**31):
        link.say({"id": number, "method": "PING"})
        head, _ = link.next()
        demand(type(head["id"]) is int and head["id"] == number, f"id {number} came back as {head['id']!r}")
        check_ok(head, "PONG")


@check("ids / a request without id is answered with null", BOTH)
def ids_missing(run, side):
    link = run.link(side)
    link.send(b'{"method":"PING"}\n')
    head, _ = link.next()
    demand(head["id"] is None, f"id is not null: {short(head)}")
    check_ok(head, "PONG")
    link.send(b'{"method":"DANCE"}\n')
    head, _ = link.next()
    demand(head["id"] is None, f"id is not null: {short(head)}")
    check_refusal(head, "unsupported")
    goes_on(link)


@check("ids / null is taken or refused, and answered with null", BOTH)
def ids_null(run, side):
    link = run.link(side)
    link.send(b'{"id":null,"method":"PING"}\n')
    head, _ = link.next()
    demand(head["id"] is None, f"id is not null: {short(head)}")
    if "error" in head:
        check_refusal(head, "bad_request")
    else:
        check_ok(head, "PONG")
    goes_on(link)


@check("ids / wrong ids are refused with id null", BOTH)
def ids_wrong(run, side):
    for text in ("-1", "1.5", "1.0", "1e1", str(2**53), "99999999999999999999", '"1"', "true", "[1]", "{}"):
        link = run.link(side)
        link.send(f'{{"id":{text},"method":"PING"}}\n'.encode())
        head, _ = link.next()
        demand("error" in head, f"id {text} was taken: {short(head)}")
        demand(head["id"] is None, f"id {text} was refused with another id than null: {short(head)}")
        check_refusal(head, "bad_request", "too_large")
        goes_on(link)


@check("ids / an id may be used again after its answer", BOTH)
def ids_again(run, side):
    link = run.link(side)
    for _ in range(3):
        check_ok(link.ask_line('{"id":9,"method":"PING"}', 9), "PONG")


@check("half-close / what was asked is still answered", BOTH)
def half_close(run, side):
    link = run.raw(side)
    link.send(b'{"cardume":1}\n{"id":1,"method":"PING"}\n{"id":2,"method":"DANCE"}\n')
    link.stop_sending()
    link.read_opening()
    check_ok(link.answer(1)[0], "PONG")
    check_refusal(link.answer(2)[0], "unsupported")
    link.ends()


@check("half-close / after the opening alone the link ends", BOTH)
def half_close_idle(run, side):
    link = run.link(side)
    link.stop_sending()
    link.ends()


# --------------------------------------------------------------------------------------------------- section 5 names


def bad_names():
    """Every class of name that section 5 refuses. The function of the stem: the rest of the name is harmless."""
    turning = [0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
    return {
        "empty": [""],
        ". and ..": [".", ".."],
        "an empty part": ["/", "/etc/passwd", "a/", "a//b", "//a", "a/b/", "a//"],
        "a part that leads up": ["../a", "a/../b", "a/..", "./a", "a/./b", "a/b/.", "../../etc/passwd"],
        "a backslash": ["a\\b", "..\\a", "\\"],
        "NUL": ["\0", "a\0", "a\0.bin"],
        "a control character": [f"a{chr(code)}b" for code in [*range(1, 0x20), *range(0x7F, 0xA0)]],
        "a line or paragraph separator": ["a\u2028b", "a\u2029", "\u2028"],
        "turned text": [f"a{chr(code)}b" for code in turning],
        ".part": ["a.part", "a.PART", "a.Part", ".part", "a.b.pArT", "a/b.part", "a.Part/b"],
        ".part.record": ["a.part.record", "a.PART.RECORD", "a.part.Record", ".part.record", "a/b.part.record"],
        "over 255 bytes": ["x" * 256, "é" * 128, "x" * 5000, "a/" + "x" * 256, "x" * 256 + "/a"],
        "too deep": ["a/" * 16 + "a", ("x" * 200 + "/") * 5 + "x" * 20, "a/" * 3000 + "a"],
    }


def good_stems(run):
    """Names that look suspicious and are allowed; each holds the token, so that nobody else has it."""
    token = run.world.token
    return [
        token + " with spaces ", " " + token, token + ".", "..." + token, ".hidden" + token, token + ".part.txt",
        token + ".partjson", token + ".part.jsonx", "part" + token, token + ".json", token + "part",
        token + '"quotes"<>|*?:', token + "%2e%2e%2f%00", token + "é", token + "e\u0301", token + "日本語",
        token + "😀", token + "\u200d\u200b\u00a0\ufeff\uffff", token + "~$;&#+=@'`^{}[]",
        token + "\u2060\u2027\u202f",
        "a/" + token, token + "/a/a/a", ".hidden/" + token + "/...", "C:/" + token, token + "/-rf", " / /" + token,
        "a/" * 15 + token, (token + "/" + ("x" * 200 + "/") * 5 + "x" * 255)[:1024], token + "/" + "x" * 255,
        token + ".part.json", token + ".part.records",
        (token + "x" * 255)[:255], token + "x" + "€" * 80, "CON" + token, "-rf " + token, token + "\u2065\u206a",
    ]


# A name beyond its length is a "name that section 5 refuses" and a thing over its limit: both codes are fair.
LENGTH_CODES = ("bad_name", "too_large", "bad_request")


def name_codes(what):
    return LENGTH_CODES if what in ("empty", "over 255 bytes", "too deep") else ("bad_name",)


def register_bad_names():
    for what in bad_names():
        check(f"names / {what} in JOIN")(lambda run, what=what: bad_name_in_join(run, what))
        check(f"names / {what} in SEARCH")(lambda run, what=what: bad_name_in_search(run, what))
        check(f"names / {what} in FETCH")(lambda run, what=what: bad_name_in_fetch(run, what))


def bad_name_in_join(run, what):
    link = run.link(run.server)
    port = random.randint(1024, 65535)
    for name in bad_names()[what]:
        for files in ([{"name": name, "size": 1}], [new_file(run), {"name": name, "size": 1}]):
            answer = link.ask("JOIN", port=port, files=files)
            demand("error" in answer, f"{name[:40]!r} was taken: {short(answer)}")
            demand(answer["error"].get("code") in name_codes(what), f"{name[:40]!r}: {short(answer)}")
            check_refusal(answer, *name_codes(what))
    check_refusal(link.ask("LEAVE"), "not_joined")  # none of these has joined it


def bad_name_in_search(run, what):
    bad_name_asked(run.link(run.server), "SEARCH", what)


def bad_name_in_fetch(run, what):
    bad_name_asked(run.link(run.peer), "FETCH", what)


def bad_name_asked(link, method, what):
    for name in bad_names()[what]:
        answer = link.ask(method, name=name)
        demand("error" in answer, f"{name[:40]!r} was taken: {short(answer)}")
        demand(answer["error"].get("code") in name_codes(what), f"{name[:40]!r}: {short(answer)}")
        check_refusal(answer, *name_codes(what))
    goes_on(link)


@check("names / bad ones in UPDATE")
def bad_name_in_update(run):
    kept = new_file(run)
    link, joined = run.member([kept])
    for what, names in bad_names().items():
        for name in names[:3]:
            answer = link.ask("UPDATE", files=[{"name": name, "size": 1}])
            demand("error" in answer, f"{what}: {name[:40]!r} was taken: {short(answer)}")
            check_refusal(answer, *name_codes(what))
    demand(server_files(link, joined["you"]) == {kept["name"]: 1}, "a refused UPDATE changed the list")


@check("names / strange ones that are allowed")
def good_names(run):
    names = good_stems(run)
    link, joined = run.member([{"name": name, "size": place} for place, name in enumerate(names)])
    demand(joined["files"] == len(names), f"{joined['files']} of {len(names)} names were taken")
    for place, name in enumerate(names):
        demand(holders(link, name) == {joined["you"]: place}, f"{name[:60]!r} is not found")
    demand(set(server_files(link, joined["you"])) == set(names), "LS gives other names back")


@check("names / strange ones that are allowed in FETCH")
def good_names_fetch(run):
    link = run.link(run.peer)
    for name in good_stems(run):
        check_refusal(link.ask("FETCH", name=name), "not_found")


@check("names / no case folding, no normalisation, no pattern")
def names_exact(run):
    stem = f"Conf-{run.world.token}-"
    link, joined = run.member([{"name": stem + "é.mp4", "size": 1}, {"name": stem + "e\u0301.mp4", "size": 2}])
    demand(joined["files"] == 2, "two spellings of one letter were taken for one name")
    demand(holders(link, stem + "é.mp4") == {joined["you"]: 1}, "the composed name is not found exactly")
    demand(holders(link, stem + "e\u0301.mp4") == {joined["you"]: 2}, "the decomposed name is not found exactly")
    for other in (stem + "É.mp4", stem.lower() + "é.mp4", stem.upper() + "é.MP4", stem + "*", stem + "é", "",):
        if other:
            demand(search(link, other) == [], f"{other!r} finds something")


@check("names / each is one file, a folder is none")
def names_folders(run):
    folder = run.name("")
    link, joined = run.member([{"name": folder + "/a/b", "size": 1}, {"name": folder + "/a", "size": 2}])
    demand(joined["files"] == 2, "a name and what is below it were taken for one")
    demand(holders(link, folder + "/a/b") == {joined["you"]: 1}, "a name of three parts is not found exactly")
    for other in (folder, folder + "/b", folder + "/a/b/c", "a/b"):
        demand(joined["you"] not in holders(link, other), f"{other!r} finds something")
    check_ok(link.ask("UPDATE", remove=[folder + "/a"]), "UPDATE_OK")
    demand(server_files(link, joined["you"]) == {folder + "/a/b": 1}, "what is below a removed name went with it")


@check("names / \\u escapes mean the same")
def names_escaped(run):
    name = run.name("-é😀.bin")
    link, joined = run.member([{"name": name, "size": 3}])
    answer = link.ask_line(json.dumps({"id": 900, "method": "SEARCH", "name": name}, ensure_ascii=True), 900)
    check_ok(answer, "SEARCH_OK")
    demand([entry["peer"] for entry in answer["holders"]] == [joined["you"]], "an escaped name is another name")


@check("names / a lone surrogate is refused")
def names_surrogate(run):
    for side, method in ((run.server, "SEARCH"), (run.peer, "FETCH")):
        link = run.link(side)
        link.send(f'{{"id":1,"method":"{method}","name":"a\\ud800b"}}\n'.encode())
        check_refusal(link.next()[0], "bad_name", "bad_request")
        alive(run, side)


@check("names / what is no string is bad_request")
def names_type(run):
    links = {"SEARCH": run.link(run.server), "FETCH": run.link(run.peer)}
    for method, link in links.items():
        for name in (5, None, [], {}, True, ["a"]):
            check_refusal(link.ask(method, name=name), "bad_request")
        goes_on(link)


ROOT = "0123456789abcdef" * 4
WRONG_ROOTS = ("", "ab", ROOT[1:], ROOT + "0", ROOT.upper(), "g" * 64, " " + ROOT[1:], "0x" + ROOT[2:], "é" * 32)


@check("roots / wrong ones are bad_request")
def roots_wrong(run):
    asking = [(run.link(run.server), "SEARCH"), (run.link(run.peer), "FETCH")]
    for link, method in asking:
        for root in (*WRONG_ROOTS, 5, [], {}, True, [ROOT]):
            check_refusal(link.ask(method, root=root), "bad_request")
        goes_on(link)
    link, joined = run.member()
    file = new_file(run)
    for root in (*WRONG_ROOTS, 5, [], {}, True):
        check_refusal(link.ask("UPDATE", files=[{**file, "root": root}]), "bad_request")
        check_refusal(link.ask("JOIN", port=4000, files=[{**file, "root": root}]), "bad_request")
    for partial in (5, "true", [], 1):
        check_refusal(link.ask("UPDATE", files=[{**file, "partial": partial}]), "bad_request")
    demand(server_files(link, joined["you"]) == {}, "a refused UPDATE left its file")


@check("roots / name and root at once are bad_request, and so is neither")
def roots_both(run):
    name = run.name()
    for link, method in ((run.link(run.server), "SEARCH"), (run.link(run.peer), "FETCH")):
        check_refusal(link.ask(method, name=name, root=ROOT), "bad_request")
        check_refusal(link.ask(method), "bad_request")
        check_refusal(link.ask(method, name=None, root=None), "bad_request")
        goes_on(link)
    link = run.link(run.server)
    check_ok(link.ask("SEARCH", name=name, root=None), "SEARCH_OK")
    check_ok(link.ask("SEARCH", name=None, root=ROOT), "SEARCH_OK")


# ---------------------------------------------------------------------------------------------------- section 6 JOIN


@check("JOIN / answer, and the peer is found")
def join_answer(run):
    file = new_file(run, 11)
    link, joined = run.member([file])
    demand(joined["files"] == 1, f"files is {joined['files']}")
    ip = parse_address(link.opening["you"])[0]
    demand(parse_address(joined["you"])[0] == ip, f"listed as {joined['you']}, the link comes from {ip}")
    asker = run.link(run.server)  # one that has not joined
    found = search(asker, file["name"])
    demand(len(found) == 1, f"{len(found)} holders")
    demand(found[0]["peer"] == joined["you"] and found[0]["size"] == 11, f"holder is {short(found[0])}")
    demand(found[0]["partial"] is False, "partial is not false")
    demand(server_files(asker, joined["you"]) == {file["name"]: 11}, "LS gives another list")
    demand({"peer": joined["you"], "files": 1} in [{"peer": e["peer"], "files": e["files"]}
                                                   for e in all_peers(asker)], "PEERS does not show it")


@check("JOIN / without files")
def join_empty(run):
    link = run.link(run.server)
    joined = run.join(link)
    demand(joined["files"] == 0, f"files is {joined['files']}")
    demand(server_files(link, joined["you"]) == {}, "LS is not empty")


@check("JOIN / a name that comes twice counts once, the last one")
def join_twice(run):
    file, other = new_file(run, 1), new_file(run, 5)
    link, joined = run.member([file, other, {**file, "size": 2}, {**file, "size": 3}])
    demand(joined["files"] == 2, f"files is {joined['files']}")
    demand(holders(link, file["name"]) == {joined["you"]: 3}, "not the last one counts")


@check("JOIN / roots are passed on, sizes to 2^53-1")
def join_sizes(run):
    files = [new_file(run, size) for size in (0, 1, 2**31, 2**32, 2**40 + 1, MAX_INT)]
    files[0]["root"], files[1]["root"], files[2]["unknown"] = None, new_root(), [1]
    files[3]["partial"], files[4]["partial"] = True, None
    link, joined = run.member(files)
    for file in files:
        found = search(link, file["name"])
        demand(len(found) == 1 and found[0]["size"] == file["size"], f"size {file['size']} gives {short(found)}")
        demand(found[0].get("root") == file.get("root"), f"root {file.get('root')} gives {short(found)}")
        demand(found[0]["partial"] is bool(file.get("partial")), f"partial {file.get('partial')} gives {short(found)}")


@check("JOIN / in parts is invisible until the last part")
def join_parts(run):
    first, second, third = (new_file(run, size) for size in (1, 2, 3))
    link, asker = run.link(run.server), run.link(run.server)
    before = {entry["peer"] for entry in all_peers(asker)}
    while (port := random.randint(1024, 65535)) in {parse_address(peer)[1] for peer in before}:
        pass
    address = spell_address(parse_address(link.opening["you"])[0], port)
    run.world.joined.add(address)
    check_ok(link.ask("JOIN", port=port, files=[first], more=True), "JOIN_MORE")
    check_ok(link.ask("JOIN", part=1, files=[second, {**first, "size": 9}], more=True), "JOIN_MORE")
    demand(not listed(asker, address), "PEERS shows it before its last part")
    demand(search(asker, first["name"]) == [] == search(asker, second["name"]), "SEARCH finds it too early")
    check_refusal(asker.ask("LS", peer=address), "not_found")
    check_refusal(link.ask("UPDATE", files=[third]), "not_joined")
    answer = link.ask("JOIN", part=2, files=[third])
    run.note_join(answer)
    demand(answer["you"] == address and answer["files"] == 3, f"expected {address} and 3 files: {short(answer)}")
    demand(server_files(asker, address) == {first["name"]: 9, second["name"]: 2, third["name"]: 3}, "other files")


@check("JOIN / an end in the middle of parts leaves nothing")
def join_parts_end(run):
    file = new_file(run)
    link, asker = run.link(run.server), run.link(run.server)
    check_ok(link.ask("JOIN", port=random.randint(1024, 65535), files=[file], more=True), "JOIN_MORE")
    link.close()
    time.sleep(0.1)
    demand(search(asker, file["name"]) == [], "files of an unfinished JOIN are found")


@check("JOIN / part 0 starts anew")
def join_part_0(run):
    first, second = new_file(run), new_file(run)
    link = run.link(run.server)
    check_ok(link.ask("JOIN", port=random.randint(1024, 65535), files=[first], more=True), "JOIN_MORE")
    joined = run.join(link, [second], part=0, more=False)
    demand(server_files(link, joined["you"]) == {second["name"]: 1}, "files of the part before are still there")


@check("JOIN / parts out of order are refused")
def join_part_order(run):
    link = run.link(run.server)
    port = random.randint(1024, 65535)
    check_refusal(link.ask("JOIN", part=1, files=[]), "bad_request")
    check_refusal(link.ask("JOIN", part=1, port=port, files=[]), "bad_request")
    check_ok(link.ask("JOIN", port=port, files=[new_file(run)], more=True), "JOIN_MORE")
    check_refusal(link.ask("JOIN", part=2, files=[]), "bad_request")
    check_refusal(link.ask("UPDATE"), "not_joined")


@check("JOIN / the old list stands while the parts of a new one come")
def join_parts_again(run):
    old, new = new_file(run), new_file(run)
    link, joined = run.member([old])
    asker = run.link(run.server)
    port = parse_address(joined["you"])[1]
    check_ok(link.ask("JOIN", port=port, files=[new], more=True), "JOIN_MORE")
    demand(search(asker, new["name"]) == [], "an unfinished JOIN shows")
    run.note_join(link.ask("JOIN", part=1))
    demand(server_files(asker, joined["you"]) == {new["name"]: 1}, "the new list does not stand")
    demand(search(asker, old["name"]) == [], "the old list still stands")


@check("JOIN / a second one on the same link replaces the first")
def join_again(run):
    old, new = new_file(run), new_file(run)
    link, first = run.member([old])
    asker = run.link(run.server)
    port = parse_address(first["you"])[1]
    same = link.ask("JOIN", port=port, files=[new])
    run.note_join(same)
    demand(same["you"] == first["you"] and same["files"] == 1, f"expected {first['you']}: {short(same)}")
    demand(search(asker, old["name"]) == [] and holders(asker, new["name"]) == {same["you"]: 1}, "not replaced")
    moved = run.join(link, [old])
    if moved["you"] != first["you"]:
        demand(not listed(asker, first["you"]), "the address of the first JOIN is still listed")
    demand(holders(asker, old["name"]) == {moved["you"]: 1}, "the new address is not found")


@check("JOIN / in_use, and the session takes over")
def join_session(run):
    old, new = new_file(run), new_file(run)
    first, joined = run.member([old])
    port = parse_address(joined["you"])[1]
    second = run.link(run.server)
    check_refusal(second.ask("JOIN", port=port, files=[new]), "in_use")
    check_refusal(second.ask("JOIN", port=port, files=[new], session="0123456789abcdef" * 2), "in_use")
    demand(search(second, new["name"]) == [], "a refused JOIN left its files")
    goes_on(first)
    answer = second.ask("JOIN", port=port, files=[new], session=joined["session"])
    run.note_join(answer)
    demand(answer["you"] == joined["you"], f"another address: {short(answer)}")
    first.ends()
    time.sleep(0.1)  # the end of the old link must not take the new one's entry with it
    demand(holders(second, new["name"]) == {answer["you"]: 1}, "the new link's files are not found")
    demand(search(second, old["name"]) == [], "the old link's files are still found")
    third = run.link(run.server)
    check_refusal(third.ask("JOIN", port=port), "in_use")
    run.note_join(third.ask("JOIN", port=port, session=answer["session"]))
    second.ends()


@check("JOIN / an address is free again after the end of its link")
def join_after_end(run):
    file = new_file(run)
    link, joined = run.member([file])
    asker = run.link(run.server)
    link.close()
    soon(lambda: not listed(asker, joined["you"]), "PEERS still shows it 2 s after the end of its link")
    demand(search(asker, file["name"]) == [], "SEARCH still finds it")
    check_refusal(asker.ask("LS", peer=joined["you"]), "not_found")
    run.note_join(asker.ask("JOIN", port=parse_address(joined["you"])[1], session=joined["session"]))


@check("JOIN / a reset of the link removes it too")
def join_reset(run):
    link, joined = run.member([new_file(run)])
    asker = run.link(run.server)
    link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()
    soon(lambda: not listed(asker, joined["you"]), "PEERS still shows it 2 s after the reset of its link")


@check("JOIN / half-close is answered and then removes it")
def join_half_close(run):
    file = new_file(run)
    link, asker = run.link(run.server), run.link(run.server)
    taken = {parse_address(entry["peer"])[1] for entry in all_peers(asker)}
    port = random.choice([port for port in range(1024, 65536) if port not in taken])
    number = link.request("JOIN", port=port, files=[file])
    link.stop_sending()
    run.note_join(link.answer(number)[0])
    link.ends()
    soon(lambda: search(asker, file["name"]) == [], "SEARCH still finds it")


@check("JOIN / addresses that may not be advertised")
def join_address(run):
    link = run.link(run.server)
    foreign = ["192.0.2.7:4000", "[2001:db8::7]:4000", "0.0.0.0:4000", "255.255.255.255:4000", "[::]:4000"]
    if not parse_address(link.opening["you"])[0].is_loopback:
        foreign += ["127.0.0.1:4000", "[::1]:4000"]
    for address in foreign:
        answer = link.ask("JOIN", port=4000, advertise=address)
        demand("error" in answer, f"{address} was taken; does the operator allow that range? {short(answer)}")
        check_refusal(answer, "address")
    check_refusal(link.ask("LEAVE"), "not_joined")


@check("JOIN / the same address with another port may be advertised")
def join_advertise(run):
    link = run.link(run.server)
    ip = parse_address(link.opening["you"])[0]
    file = new_file(run)
    ips = [ip]
    if ip.is_loopback:  # any loopback address for a link that comes from loopback
        ips += [ipaddress.ip_address("127.0.0.2"), ipaddress.ip_address("127.9.8.7"), ipaddress.ip_address("::1")]
    for ip in ips:
        for _ in range(20):
            address = spell_address(ip, random.randint(1024, 65535))
            answer = link.ask("JOIN", port=random.randint(1024, 65535), advertise=address, files=[file])
            if answer.get("error", {}).get("code") != "in_use":
                break
        run.note_join(answer)
        demand(answer["you"] == address, f"advertised {address}, listed as {answer['you']}")
        demand(holders(link, file["name"]) == {address: 1}, f"{address} is not found")


@check("JOIN / an IPv4-mapped address is written as IPv4")
def join_mapped(run):
    link = run.link(run.server)
    ip = parse_address(link.opening["you"])[0]
    if ip.version != 4:
        raise Skipped("the link is IPv6")
    for _ in range(20):
        port = random.randint(1024, 65535)
        answer = link.ask("JOIN", port=port, advertise=f"[::ffff:{ip}]:{port}")
        if answer.get("error", {}).get("code") != "in_use":
            break
    if "error" in answer:  # the text does not say that this spelling must be taken
        check_refusal(answer, "bad_request", "address")
    else:
        run.note_join(answer)
        demand(answer["you"] == f"{ip}:{port}", f"listed as {answer['you']}")


@check("JOIN / what is no address is refused")
def join_bad_address(run):
    link = run.link(run.server)
    for address in ("", "localhost:4000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "::1:4000",
                    "127.0.0.1:4000 ", "127.0.0.1:-1", "[127.0.0.1]:4000", "127.1:4000", "x" * 2000, 4000, ["a"]):
        answer = link.ask("JOIN", port=4000, advertise=address)
        demand("error" in answer, f"{address!r} was taken: {short(answer)}")
        check_refusal(answer, "bad_request")
    for peer in ("", "localhost:1", "127.0.0.1:0", 7, None):
        check_refusal(link.ask("LS", peer=peer), "bad_request")
    goes_on(link)


@check("JOIN / 20,000 files in one part, 20,001 are too_large")
def join_limit(run):
    if run.server.max_head < SERVER_HEAD_LIMIT:
        raise Skipped("the server takes no heads of 1 MiB")
    stem = run.world.token
    files = [{"name": f"{stem}{place:x}", "size": 1} for place in range(20_001)]
    link = run.link(run.server)
    check_refusal(link.ask("JOIN", port=random.randint(1024, 65535), files=files), "too_large")
    goes_on(link)
    joined = run.join(link, files[:20_000])
    demand(joined["files"] == 20_000, f"files is {joined['files']}")
    demand(holders(link, files[19_999]["name"]) == {joined["you"]: 1}, "the last one is not found")


# -------------------------------------------------------------------------------------- section 6 UPDATE, LEAVE, lists


@check("UPDATE / adds, replaces, removes")
def update(run):
    first, second = new_file(run, 1), new_file(run, 2)
    link, joined = run.member([first])
    asker = run.link(run.server)

    def updated(count, **fields):
        answer = check_ok(link.ask("UPDATE", **fields), "UPDATE_OK")
        demand(answer.get("files") == count and whole(answer["files"]), f"files must be {count}: {short(answer)}")

    updated(2, files=[second])
    demand(holders(asker, second["name"]) == {joined["you"]: 2}, "an added file is not found")
    updated(2, files=[{**second, "size": 7}])
    demand(holders(asker, second["name"]) == {joined["you"]: 7}, "the new size does not show")
    updated(1, remove=[first["name"], run.name()])
    demand(search(asker, first["name"]) == [], "a removed file is found")
    updated(1)
    updated(1, files=[first], remove=[second["name"]])
    demand(server_files(asker, joined["you"]) == {first["name"]: 1}, "another list")
    updated(0, remove=[first["name"], first["name"]])
    demand(server_files(asker, joined["you"]) == {}, "the list is not empty")
    demand(listed(asker, joined["you"]), "a peer without files must stay listed")


@check("UPDATE / a root is told later, changes, and is unknown again")
def update_root(run):
    first, second = new_root(), new_root()
    file = new_file(run, 7)
    link, joined = run.member([file])
    asker, you = run.link(run.server), joined["you"]

    def told(known, size=7, **fields):
        answer = check_ok(link.ask("UPDATE", files=[{**file, "size": size, **fields}]), "UPDATE_OK")
        demand(answer.get("files") == 1, f"files must be 1: {short(answer)}")
        entry = search(asker, file["name"])[0]
        demand((entry["root"], entry["size"]) == (known, size), f"SEARCH by name says {short(entry)}")
        partial = fields.get("partial", False)
        demand(entry["partial"] is partial, f"SEARCH by name says {short(entry)}")
        for one in (first, second):
            due = {you: (file["name"], size, partial)} if one == known else {}
            found = search_root(asker, one)
            demand(found == due, f"SEARCH by root gives {short(found)}, expected {short(due)}")

    told(None)
    told(first, root=first)
    told(first, root=first)
    told(second, root=second, size=8)
    told(None, root=None)
    told(first, root=first, partial=True)
    told(first, root=first, partial=False)
    told(None, size=9)
    check_ok(link.ask("UPDATE", files=[{**file, "root": first}, {**file, "root": second}]), "UPDATE_OK")
    demand((search_root(asker, first), len(search_root(asker, second))) == ({}, 1), "not the last one counts")
    check_ok(link.ask("UPDATE", remove=[file["name"]]), "UPDATE_OK")
    demand(search_root(asker, second) == {}, "a removed file is found by its root")


@check("UPDATE / partial shows in LS and SEARCH")
def update_partial(run):
    file = new_file(run, 7, root=new_root(), partial=True)
    link, joined = run.member([file])
    for partial in (True, False, True):
        check_ok(link.ask("UPDATE", files=[{**file, "partial": partial}]), "UPDATE_OK")
        entry = pages(link, "LS", "files", 256, peer=joined["you"])[0]
        demand(entry["partial"] is partial and entry["root"] == file["root"], f"LS says {short(entry)}")
        demand(search_root(link, file["root"]) == {joined["you"]: (file["name"], 7, partial)}, "SEARCH says another")


@check("UPDATE and LEAVE / not_joined before JOIN")
def not_joined(run):
    link = run.link(run.server)
    check_refusal(link.ask("UPDATE", files=[new_file(run)]), "not_joined")
    check_refusal(link.ask("LEAVE"), "not_joined")
    goes_on(link)


@check("LEAVE / takes the peer out, the link stays")
def leave(run):
    file = new_file(run)
    link, joined = run.member([file])
    check_ok(link.ask("LEAVE"), "LEAVE_OK")
    demand(search(link, file["name"]) == [], "SEARCH still finds it")
    demand(not listed(link, joined["you"]), "PEERS still shows it")
    check_refusal(link.ask("LS", peer=joined["you"]), "not_found")
    check_refusal(link.ask("UPDATE"), "not_joined")
    check_refusal(link.ask("LEAVE"), "not_joined")
    other = run.link(run.server)
    run.note_join(other.ask("JOIN", port=parse_address(joined["you"])[1]))
    run.join(link, [file])
    demand(len(search(link, file["name"])) == 1, "a JOIN after LEAVE is not found")


@check("LS / pages of 600 files, on the server")
def server_ls_pages(run):
    files = [new_file(run, place) for place in range(600)]
    link, joined = run.member(files)
    found = pages(run.link(run.server), "LS", "files", 256, peer=joined["you"])
    demand(len(found) == 600, f"{len(found)} files on all pages together")
    demand({entry["name"]: entry["size"] for entry in found} == {file["name"]: file["size"] for file in files},
           "other files than those of the JOIN")


@check("LS / long names make shorter pages, not longer heads")
def server_ls_long(run):
    # A quotation mark takes two bytes in JSON, so 600 of these names do not fit in heads of 64 KiB, 256 each.
    stem = run.world.token
    files = [{"name": f"{stem}{place:03}".ljust(255, '"'), "size": place} for place in range(600)]
    link, joined = run.member(files)
    found = server_files(link, joined["you"])  # Link.line refuses a head over 64 KiB
    demand(len(found) == 600, f"{len(found)} files on all pages together")


@check("LS / a peer that is not there")
def ls_unknown(run):
    link = run.link(run.server)
    for address in ("192.0.2.7:4000", "[2001:db8::7]:4000"):
        check_refusal(link.ask("LS", peer=address), "not_found")


@check("PEERS / in the order in which they joined")
def peers_order(run):
    joined = [run.member()[1]["you"] for _ in range(4)]
    ours = [entry["peer"] for entry in all_peers(run.link(run.server)) if entry["peer"] in joined]
    demand(ours == joined, f"joined {joined}, listed {ours}")


def crowd(run, count, files):
    """`count` links that have joined, made at one go. Their addresses, in no order."""
    links = []
    for _ in range(count):
        link = run.raw(run.server)
        link.send(b'{"cardume":1}\n')
        links.append(link)
    for link in links:
        link.read_opening()
    addresses = {}
    for link in links:
        addresses[run.join(link, files)["you"]] = link
    return addresses


@check("SEARCH / 70 holders: pages of 64, each holder once")
def search_pages(run):
    file = new_file(run, 5)
    addresses = crowd(run, 70, [file])
    asker = run.link(run.server)
    for _ in range(3):
        found = [entry["peer"] for entry in search(asker, file["name"])]
        demand(len(found) == len(set(found)), "a holder came twice, though nothing had changed")
        demand(set(found) == set(addresses), f"{len(found)} of 70 holders were found")


@check("SEARCH / where the holders start rotates")
def search_rotation(run):
    file = new_file(run, 5)
    crowd(run, 5, [file])
    asker = run.link(run.server)
    firsts = {check_ok(asker.ask("SEARCH", name=file["name"]), "SEARCH_OK")["holders"][0]["peer"] for _ in range(40)}
    demand(len(firsts) > 1, "forty searches began with the same holder")


@check("SEARCH / a cursor outlives what comes and goes")
def search_cursor_change(run):
    file = new_file(run, 5)
    addresses = crowd(run, 75, [file])
    asker = run.link(run.server)
    answer = check_ok(asker.ask("SEARCH", name=file["name"]), "SEARCH_OK")
    page = [entry["peer"] for entry in answer["holders"]]
    demand(1 <= len(page) <= 64, f"{len(page)} holders in one answer")
    cursor = check_cursor(answer)
    demand(cursor is not None, "75 holders in one page")
    # The last one of the page is the one where the cursor most likely stands.
    for address in (page[-1], page[0]):
        check_ok(addresses[address].ask("LEAVE"), "LEAVE_OK")
    for _ in range(2):
        run.member([file])
    rest = []
    while cursor is not None:
        answer = check_ok(asker.ask("SEARCH", name=file["name"], cursor=cursor), "SEARCH_OK")
        rest += [entry["peer"] for entry in answer["holders"]]
        demand(len(rest) < 1000, "the pages never end")
        cursor = check_cursor(answer)
    missing = set(addresses) - set(page) - set(rest)
    demand(not missing, f"{len(missing)} holders that stayed all the time were missed")
    stayed = [peer for peer in page + rest if peer in addresses and peer not in (page[-1], page[0])]
    demand(len(stayed) == len(set(stayed)), "a holder that stayed all the time came twice")


@check("SEARCH by root / whatever the name, each peer once")
def search_root_names(run):
    root = new_root()
    one, other = new_file(run, 5, root=root), new_file(run, 5, root=root)
    first, joined = run.member([one])
    second, also = run.member([{**other, "partial": True}, new_file(run, 5), {**one, "root": new_root()}])
    asker = run.link(run.server)
    due = {joined["you"]: (one["name"], 5, False), also["you"]: (other["name"], 5, True)}
    demand(search_root(asker, root) == due, f"expected {short(due)}, got {short(search_root(asker, root))}")
    # More names for it, one of them whole: still one holder, and a whole one.
    more = [new_file(run, 5, root=root, partial=place != 3) for place in range(100)]
    check_ok(second.ask("UPDATE", files=more), "UPDATE_OK")
    due[also["you"]] = (more[3]["name"], 5, False)
    demand(search_root(asker, root) == due, f"expected {short(due)}, got {short(search_root(asker, root))}")
    demand(search_root(asker, new_root()) == {}, "a root that nobody has is found")
    check_ok(second.ask("LEAVE"), "LEAVE_OK")
    demand(set(search_root(asker, root)) == {joined["you"]}, "a peer that has left is still found")
    first.close()
    soon(lambda: search_root(asker, root) == {}, "a peer whose link has ended is still found")


@check("SEARCH by root / invisible until the last part of a JOIN")
def search_root_parts(run):
    root = new_root()
    link, asker = run.link(run.server), run.link(run.server)
    port = random.randint(1024, 65535)
    check_ok(link.ask("JOIN", port=port, files=[new_file(run, root=root)], more=True), "JOIN_MORE")
    demand(search_root(asker, root) == {}, "an unfinished JOIN is found by root")
    joined = run.join(link, [new_file(run, root=root)])
    demand(set(search_root(asker, root)) == {joined["you"]}, "a finished one is not")


@check("SEARCH by root / 70 holders: pages of 64, each holder once")
def search_root_pages(run):
    root = new_root()
    addresses = crowd(run, 70, [])
    for link in addresses.values():
        link.request("UPDATE", files=[new_file(run, 5, root=root)])
    for link in addresses.values():
        check_ok(link.next()[0], "UPDATE_OK")
    asker = run.link(run.server)
    firsts = set()
    for _ in range(5):
        answer = check_ok(asker.ask("SEARCH", root=root), "SEARCH_OK")
        demand(len(answer["holders"]) == 64 and answer["cursor"], f"{len(answer['holders'])} on the first page")
        firsts.add(answer["holders"][0]["peer"])
        demand(set(search_root(asker, root)) == set(addresses), "not all of 70 holders were found")
    demand(len(firsts) > 1, "five searches began with the same holder")
    # Who stays is met once, whoever leaves and comes between two pages.
    answer = check_ok(asker.ask("SEARCH", root=root), "SEARCH_OK")
    page = [entry["peer"] for entry in answer["holders"]]
    for address in (page[0], page[-1]):
        check_ok(addresses.pop(address).ask("LEAVE"), "LEAVE_OK")
    run.member([new_file(run, 5, root=root)])
    rest = check_ok(asker.ask("SEARCH", root=root, cursor=answer["cursor"]), "SEARCH_OK")
    stayed = [peer for peer in page + [entry["peer"] for entry in rest["holders"]] if peer in addresses]
    demand(sorted(stayed) == sorted(addresses), "who stayed all the time was missed, or came twice")


@check("SEARCH by root / where few holders start rotates")
def search_root_rotation(run):
    root = new_root()
    crowd(run, 5, [new_file(run, 5, root=root)])
    asker = run.link(run.server)
    firsts = {check_ok(asker.ask("SEARCH", root=root), "SEARCH_OK")["holders"][0]["peer"] for _ in range(60)}
    demand(len(firsts) == 5, f"sixty searches began with {len(firsts)} of 5 holders")


@check("SEARCH / long names make shorter pages, not longer heads")
def search_long(run):
    # A quotation mark takes two bytes in JSON: 40 of these names do not fit into a head of 64 KiB.
    root = new_root()
    name = run.world.token + ("/" + '"' * 240) * 4
    addresses = crowd(run, 40, [{"name": name, "size": 5, "root": root}])
    asker = run.link(run.server)
    # Link.line refuses a head over 64 KiB.
    demand(set(holders(asker, name)) == set(addresses), "not all were found by name")
    demand(set(search_root(asker, root)) == set(addresses), "not all were found by root")


@check("PEERS / pages of more than 256 peers")
def peers_pages(run):
    try:
        addresses = crowd(run, 260, [])
    except (Failed, OSError) as failure:
        # How many links one address may hold is the operator's choice, or the limit of open files of this shell.
        raise Skipped(f"260 links at once were not to be had: {short(str(failure))}") from None
    found = [entry["peer"] for entry in all_peers(run.link(run.server))]
    demand(len(found) == len(set(found)), "a peer came twice")
    missing = set(addresses) - set(found)
    demand(not missing, f"{len(missing)} of 260 peers are on no page")


@check("cursors / wrong ones are refused or end the list", BOTH)
def cursors_wrong(run, side):
    link = run.link(side)
    if side.role == "server":
        file = new_file(run, root=new_root())
        _, joined = run.member([file])
        requests = [("SEARCH", {"name": file["name"]}), ("SEARCH", {"root": file["root"]}), ("PEERS", {}),
                    ("LS", {"peer": joined["you"]})]
    else:
        requests = [("LS", {})]
    for method, fields in requests:
        for cursor in (5, [], {}, True):
            check_refusal(link.ask(method, cursor=cursor, **fields), "bad_request")
        for cursor in ("", "nonsense", "-1", "\0", "é" * 30, "9" * 64, "x" * 64, "x" * 65, "x" * 20_000):
            answer = link.ask(method, cursor=cursor, **fields)
            if "error" in answer:
                check_refusal(answer, "bad_request", "too_large")
            else:
                check_ok(answer, f"{method}_OK")
    goes_on(link)


# ------------------------------------------------------------------------------------------------- section 6 accounts


class User:
    """A name of this run with a key of its own, and the links on which it proves to have it."""

    def __init__(self, run, name=None):
        self.name = name or f"user-{run.world.token}-{next(run.world.numbers)}"
        self.secret = secrets.token_bytes(32)
        self.key = ed25519.public(self.secret).hex()

    def proof(self, method, nonce, name=None):
        text = f"cardume 1\n{method}\n{self.name if name is None else name}\n{nonce}"
        return ed25519.sign(self.secret, text.encode()).hex()

    def fields(self, method, link):
        nonce = link.opening.get("nonce")
        demand(isinstance(nonce, str) and re.fullmatch("[0-9a-f]{32}", nonce), f"no nonce to sign: {short(link.opening)}")
        return {"user": self.name, "key": self.key, "proof": self.proof(method, nonce)}

    def do(self, method, link):
        return check_ok(link.ask(method, **self.fields(method, link)), f"{method}_OK")

    def online(self, run):
        """A new link on which it is registered and connected."""
        link = run.link(run.server)
        self.do("REGISTER", link)
        self.do("CONNECT", link)
        return link


def content_of(link, user, **fields):
    found = pages(link, "LIST_CONTENT", "files", 256, user=user, **fields)
    for entry in found:
        demand(isinstance(entry.get("name"), str) and isinstance(entry.get("description"), str), f"no name and description: {short(entry)}")
    return {entry["name"]: entry["description"] for entry in found}


def is_there(link, name):
    return link.ask("FIND_USER", user=name).get("status") == "FIND_USER_OK"


@check("accounts / the life of a user", phase="long")
def account_life(run):
    ana, asker, file = User(run), run.link(run.server), run.name()
    link = run.link(run.server)
    check_refusal(link.ask("CONNECT", **ana.fields("CONNECT", link)), "no_user")
    check_refusal(asker.ask("FIND_USER", user=ana.name), "no_remote_user")
    check_refusal(asker.ask("LIST_CONTENT", user=ana.name), "no_remote_user")
    ana.do("REGISTER", link)
    check_refusal(link.ask("REGISTER", **ana.fields("REGISTER", link)), "taken")
    check_refusal(asker.ask("FIND_USER", user=ana.name), "not_connected")
    for method, fields in (("PUBLISH", {"name": file}), ("DELETE", {"name": file}), ("DISCONNECT", {})):
        check_refusal(link.ask(method, **fields), "not_connected")
    ana.do("CONNECT", link)
    check_refusal(link.ask("CONNECT", **ana.fields("CONNECT", link)), "connected")
    found = check_ok(asker.ask("FIND_USER", user=ana.name), "FIND_USER_OK")
    demand(found.get("user") == ana.name and found.get("peer") is None, f"a user without a peer: {short(found)}")
    check_ok(link.ask("PUBLISH", name=file, description="a word of its own"), "PUBLISH_OK")
    check_refusal(link.ask("PUBLISH", name=file), "published")
    demand(content_of(asker, ana.name) == {file: "a word of its own"}, "another list than what was published")
    check_ok(link.ask("DISCONNECT"), "DISCONNECT_OK")
    check_refusal(link.ask("DISCONNECT"), "not_connected")
    demand(content_of(asker, ana.name) == {file: "a word of its own"}, "what was published did not last")
    ana.do("CONNECT", link)
    check_ok(link.ask("DELETE", name=file), "DELETE_OK")
    check_refusal(link.ask("DELETE", name=file), "not_published")
    demand(content_of(asker, ana.name) == {}, "a deleted file is listed")
    check_ok(link.ask("UNREGISTER"), "UNREGISTER_OK")
    check_refusal(asker.ask("LIST_CONTENT", user=ana.name), "no_remote_user")
    User(run, ana.name).online(run)  # the name is free for another key


@check("accounts / proofs are good for one method, one user, one link and one key", phase="long")
def account_proofs(run):
    ana, bia = User(run), User(run)
    link, other = ana.online(run), run.link(run.server)
    nonce = other.opening["nonce"]
    good = ana.proof("CONNECT", nonce)
    for proof in (ana.proof("REGISTER", nonce), ana.proof("CONNECT", nonce, bia.name), ana.proof("CONNECT", "0" * 32),
                  ana.proof("CONNECT", link.opening["nonce"]), bia.proof("CONNECT", nonce, ana.name),
                  f"{int(good[0], 16) ^ 1:x}" + good[1:], good[:64] + "0" * 64, "0" * 128):
        check_refusal(other.ask("CONNECT", user=ana.name, key=ana.key, proof=proof), "bad_proof")
    # A good proof by a key to which the name does not belong.
    check_refusal(other.ask("CONNECT", user=ana.name, key=bia.key, proof=bia.proof("CONNECT", nonce, ana.name)), "bad_proof")
    for key, proof in ((ana.key, good[:-2]), (ana.key, good.upper()), (ana.key[:-2], good), (ana.key, None), (None, good), (ana.key, 7)):
        check_refusal(other.ask("CONNECT", user=ana.name, key=key, proof=proof), "bad_request")
    demand(not is_there(other, bia.name), "somebody is there who never was")
    check_ok(other.ask("CONNECT", user=ana.name, key=ana.key, proof=good), "CONNECT_OK")


@check("accounts / nobody acts for somebody else", phase="long")
def account_others(run):
    ana, bia, file = User(run), User(run), run.name()
    hers, his = ana.online(run), bia.online(run)
    check_ok(hers.ask("PUBLISH", name=file), "PUBLISH_OK")
    check_refusal(his.ask("DELETE", name=file, user=ana.name), "not_published")
    check_ok(his.ask("UNREGISTER", user=ana.name), "UNREGISTER_OK")  # an unknown field there: he means himself
    demand(content_of(hers, ana.name) == {file: ""}, "what she has published changed")
    check_refusal(hers.ask("FIND_USER", user=bia.name), "no_remote_user")
    stranger = run.link(run.server)
    for method, fields in (("PUBLISH", {"name": file}), ("DELETE", {"name": file}), ("DISCONNECT", {}), ("UNREGISTER", {})):
        check_refusal(stranger.ask(method, user=ana.name, **fields), "not_connected")


# Encodings of points of small order, canonical and not, and one coordinate that is not below the prime: under each a constant signature holds for many
# messages, or a key has two names.
WEAK_KEYS = ["01" + "00" * 31, "00" * 32, "00" * 31 + "80", "01" + "00" * 30 + "80", "ec" + "ff" * 30 + "7f", "ed" + "ff" * 30 + "7f",
             "ee" + "ff" * 30 + "7f", "ee" + "ff" * 31, "ff" * 32,
             "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
             "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"]


@check("accounts / a key that proves nothing is refused wherever one is told", phase="long")
def account_weak_keys(run):
    link = run.link(run.server)
    name = User(run).name
    # R is the identity and S is 0: what a key of small order accepts for one message in eight, or for all.
    constant = "01" + "00" * 63
    for key in WEAK_KEYS:
        for method in ("REGISTER", "CONNECT"):
            for _ in range(8):
                check_refusal(link.ask(method, user=name, key=key, proof=constant), "bad_proof")
        check_refusal(link.ask("JOIN", port=4001, quic={"port": 4002, "key": key}), "bad_request")
    goes_on(link)


@check("accounts / a proof has one spelling", phase="long")
def account_one_spelling(run):
    link = run.link(run.server)
    ana = User(run)
    ana.do("REGISTER", link)
    good = bytes.fromhex(ana.proof("CONNECT", link.opening["nonce"]))
    larger = int.from_bytes(good[32:], "little") + 2**252 + 27742317777372353535851937790883648493
    for proof in (good[:32] + larger.to_bytes(32, "little"), b"\x01" + bytes(31) + good[32:], b"\xee" + b"\xff" * 30 + b"\x7f" + good[32:]):
        check_refusal(link.ask("CONNECT", user=ana.name, key=ana.key, proof=proof.hex()), "bad_proof")
    check_ok(link.ask("CONNECT", user=ana.name, key=ana.key, proof=good.hex()), "CONNECT_OK")
    check_ok(link.ask("UNREGISTER"), "UNREGISTER_OK")


@check("accounts / REGISTER makes the link good for UNREGISTER alone", phase="long")
def account_register_alone(run):
    ana, link = User(run), run.link(run.server)
    ana.do("REGISTER", link)
    check_refusal(link.ask("PUBLISH", name=run.name()), "not_connected")
    check_ok(link.ask("UNREGISTER"), "UNREGISTER_OK")


@check("accounts / by several links at once, until the last one ends", phase="long")
def account_links(run):
    ana, asker = User(run), run.link(run.server)
    first, second = ana.online(run), run.link(run.server)
    ana.do("CONNECT", second)
    first.close()
    time.sleep(0.1)
    demand(is_there(asker, ana.name), "not there although one of two links is")
    second.close()
    soon(lambda: not is_there(asker, ana.name), "there without a link")


@check("accounts / names of users", phase="long")
def account_names(run):
    link = run.link(run.server)
    for name in ("", ".", "..", "a/b", "a\\b", "a\nb", "a\0b", "\u202eab", "x" * 256, "é" * 128, "127.0.0.1:4000", "[::1]:4000"):
        user = User(run, name or None)
        user.name = name
        check_refusal(link.ask("REGISTER", **user.fields("REGISTER", link)), "bad_name")
    for name in ("x" * (255 - 12) + secrets.token_hex(6), f"ana {run.world.token} õ", f'"{run.world.token}"'):
        one = run.link(run.server)
        User(run, name).do("REGISTER", one)
        check_ok(one.ask("UNREGISTER"), "UNREGISTER_OK")


@check("accounts / descriptions and the words of SEARCH have limits", phase="long")
def account_limits(run):
    link = User(run).online(run)
    check_ok(link.ask("PUBLISH", name=run.name(), description="x" * 255), "PUBLISH_OK")
    check_ok(link.ask("PUBLISH", name=run.name(), description="é" * 127), "PUBLISH_OK")
    for wrong in ("x" * 256, "é" * 128, "two\nlines", "\0", 7, ["x"]):
        check_refusal(link.ask("PUBLISH", name=run.name(), description=wrong), "bad_request")
    for wrong in ("../a", "", "a.part"):
        check_refusal(link.ask("PUBLISH", name=wrong), "bad_name")
    check_refusal(link.ask("PUBLISH"), "bad_request")
    check_ok(link.ask("SEARCH", text="x" * 255), "SEARCH_OK")
    for wrong in ("", "x" * 256, 7):
        check_refusal(link.ask("SEARCH", text=wrong), "bad_request")
    check_refusal(link.ask("SEARCH", text="x", name="x"), "bad_request")


@check("accounts / operations that come at once are done and answered in their order", phase="long")
def account_order(run):
    ana, link, file = User(run), run.link(run.server), run.name()
    steps = [("REGISTER", ana.fields("REGISTER", link), None), ("CONNECT", ana.fields("CONNECT", link), None),
             ("PUBLISH", {"name": file}, None), ("PUBLISH", {"name": file}, "published"), ("DELETE", {"name": file}, None),
             ("DELETE", {"name": file}, "not_published"), ("PUBLISH", {"name": file, "description": "again"}, None),
             ("LIST_CONTENT", {"user": ana.name}, None), ("DISCONNECT", {}, None), ("PUBLISH", {"name": file}, "not_connected"),
             ("CONNECT", ana.fields("CONNECT", link), None)]
    heads = [compact({"id": place, "method": method, **fields}) for place, (method, fields, _) in enumerate(steps)]
    link.send(b"\n".join(heads) + b"\n")
    for place, (method, _, code) in enumerate(steps):
        head = link.next()[0]
        demand(head["id"] == place, f"{method} was to be answered, {short(head)} came")
        if code:
            check_refusal(head, code)
        else:
            check_ok(head, f"{method}_OK")
        if method == "LIST_CONTENT":
            demand([entry["name"] for entry in head["files"]] == [file], f"another list than what was published: {short(head)}")
    check_ok(link.ask("UNREGISTER"), "UNREGISTER_OK")


@check("accounts / LIST_CONTENT in pages, with long names and descriptions", phase="long")
def account_content_pages(run):
    ana, link = User(run), None
    link = ana.online(run)
    stem = run.world.token
    files = {f"{stem}{place:03}".ljust(255, '"'): f"{place:03}".ljust(255, '"') for place in range(300)}
    numbers = [link.request("PUBLISH", name=name, description=text) for name, text in files.items()]
    for number in numbers:
        check_ok(link.answer(number)[0], "PUBLISH_OK")
    demand(content_of(run.link(run.server), ana.name) == files, "other files than were published")  # Link.line refuses a head over 64 KiB
    bia = User(run)
    short_ones = bia.online(run)
    for number in [short_ones.request("PUBLISH", name=f"{place}") for place in range(600)]:
        check_ok(short_ones.answer(number)[0], "PUBLISH_OK")
    demand(len(content_of(link, bia.name)) == 600, "not all of 600 short names are listed")
    check_ok(short_ones.ask("UNREGISTER"), "UNREGISTER_OK")
    for cursor in ("nonsense", "x" * 65):
        check_refusal(link.ask("LIST_CONTENT", user=ana.name, cursor=cursor), "bad_request")
        check_refusal(link.ask("LIST_USERS", cursor=cursor), "bad_request")
    check_ok(link.ask("UNREGISTER"), "UNREGISTER_OK")


@check("accounts / LIST_USERS in pages, with long names", phase="long")
def account_user_pages(run):
    users = [User(run, f"{run.world.token}{place:03}".ljust(255, '"')) for place in range(150)]
    links = [user.online(run) for user in users]
    for link in links:
        run.join(link)
    asker = run.link(run.server)
    names = [entry.get("user") for entry in pages(asker, "LIST_USERS", "users", 256)]
    demand(len(names) == len(set(names)), "a user came twice")
    demand({user.name for user in users} <= set(names), "some users are missing")
    for link in links:
        check_ok(link.ask("UNREGISTER"), "UNREGISTER_OK")


@check("accounts / what a user's peer shares is found by his name and his words", phase="long")
def account_peer(run):
    ana, file, shared = User(run), run.name(), run.name()
    link = ana.online(run)
    words = f"Lição {run.world.token} última"
    check_ok(link.ask("PUBLISH", name=file, description=words), "PUBLISH_OK")
    at = run.join(link, [{"name": file, "size": 7}, {"name": shared, "size": 8}], ports={"uc3m-2024": 4001, "unknown": 4002})["you"]
    asker = run.link(run.server)
    found = check_ok(asker.ask("FIND_USER", user=ana.name), "FIND_USER_OK")
    demand(found.get("peer") == at, f"joined as {at}, found as {short(found)}")
    demand([entry["user"] for entry in pages(asker, "LIST_USERS", "users", 256) if entry.get("peer") == at] == [ana.name], "not listed with its peer")
    demand(content_of(asker, ana.name) == {file: words, shared: ""}, "content is what was published and what is shared")

    def holder(**wanted):
        holders = [entry for entry in pages(asker, "SEARCH", "holders", 64, **wanted) if entry.get("peer") == at]
        demand(len(holders) == 1, f"found {len(holders)} times by {wanted}")
        return holders[0]

    for wanted in ({"name": file}, {"text": f"ULTIMA licao {run.world.token}"}, {"text": file.upper()}):
        one = holder(**wanted)
        demand((one.get("user"), one.get("description"), one.get("size")) == (ana.name, words, 7), f"by {wanted}: {short(one)}")
    demand(holder(name=shared).get("user") == ana.name, "whose it is was not said")
    check_ok(link.ask("DELETE", name=file), "DELETE_OK")
    demand("description" not in holder(name=file), "the words of a deleted publication are still told")
    check_ok(link.ask("UNREGISTER"), "UNREGISTER_OK")


# ---------------------------------------------------------------------------------------------------- section 5 numbers

# 2^53 is a wrong field and a number over its limit: the text allows both codes.
WRONG_NUMBERS = ("-1", "1.5", "1.0", "1e1", str(2**53), "18446744073709551616", '"1"', "true", "[]", "{}")


def wrong_numbers(link, shape, more=()):
    number = itertools.count(1000)
    for text in (*WRONG_NUMBERS, *more):
        this = next(number)
        answer = link.ask_line(shape.replace("@id", str(this)).replace("@n", text), this)
        demand("error" in answer, f"{text} was taken: {short(answer)}")
        demand(answer["error"].get("code") in ("bad_request", "too_large"), f"{text}: {short(answer)}")
        check_refusal(answer, "bad_request", "too_large")
    goes_on(link)


@check("numbers / port of JOIN")
def numbers_port(run):
    wrong_numbers(run.link(run.server), '{"id":@id,"method":"JOIN","port":@n}', ("0", "65536", "null"))


@check("numbers / size in JOIN and UPDATE")
def numbers_size(run):
    name = run.name()
    link = run.link(run.server)
    wrong_numbers(link, '{"id":@id,"method":"JOIN","port":4000,"files":[{"name":"%s","size":@n}]}' % name, ("null",))
    check_refusal(link.ask("LEAVE"), "not_joined")
    link, _ = run.member()
    wrong_numbers(link, '{"id":@id,"method":"UPDATE","files":[{"name":"%s","size":@n}]}' % name, ("null",))
    demand(search(link, name) == [], "a refused UPDATE left its file")


@check("numbers / part of JOIN")
def numbers_part(run):
    wrong_numbers(run.link(run.server), '{"id":@id,"method":"JOIN","port":4000,"part":@n}')


@check("numbers / from and length of FETCH")
def numbers_fetch(run):
    link = run.link(run.peer)
    for field in ("from", "length"):
        wrong_numbers(link, '{"id":@id,"method":"FETCH","name":"conformance.bin","%s":@n}' % field)


@check("numbers / fetch of CANCEL")
def numbers_cancel(run):
    wrong_numbers(run.link(run.peer), '{"id":@id,"method":"CANCEL","fetch":@n}', ("null",))


@check("types / lists, files and booleans of JOIN and UPDATE")
def types_join(run):
    link = run.link(run.server)
    name = run.name()
    for files in ("x", 5, {}, [5], ["a"], [[]], [None], [{}], [{"name": name}], [{"size": 1}],
                  [{"name": 5, "size": 1}]):
        check_refusal(link.ask("JOIN", port=4000, files=files), "bad_request")
    for more in ("true", 1, 0, []):
        check_refusal(link.ask("JOIN", port=4000, more=more), "bad_request")
    for session in (5, "", "00", "G" * 32, "0" * 33, []):
        check_refusal(link.ask("JOIN", port=4000, session=session), "bad_request")
    check_refusal(link.ask("LEAVE"), "not_joined")
    link, _ = run.member()
    for remove in ("x", 5, {}, [5], [None], [{"name": name}]):
        check_refusal(link.ask("UPDATE", remove=remove), "bad_request")
    goes_on(link)


@check("types / tag of FETCH")
def types_tag(run):
    # A tag that is no tag may also be taken for the tag of another version.
    name = run.need_file()["name"]
    link = run.link(run.peer)
    for tag in (5, [], True, {}):
        check_refusal(link.ask("FETCH", name=name, tag=tag), "bad_request")
    for tag in ("", "0", "g" * 16, "A" * 16, "0" * 17):
        check_refusal(link.ask("FETCH", name=name, tag=tag), "bad_request", "changed")
    goes_on(link)


# ----------------------------------------------------------------------------------------------------- section 7 FETCH


@check("FETCH / one byte of a file that LS shows")
def fetch_first(run):
    demand(run.world.fault is None, run.world.fault)
    run.link(run.peer).fetch_ok(run.need_file()["name"], length=1)


@check("LS / of the peer")
def peer_ls(run):
    link = run.link(run.peer)
    answer = check_ok(link.ask("LS"), "LS_OK")
    demand(parse_address(answer.get("peer")), f"peer is no address: {short(answer)}")
    demand(parse_address(answer["peer"])[1] == run.peer.port, f"it listens on {run.peer.port}, says {answer['peer']}")
    found = pages(link, "LS", "files", 256, most_pages=20)
    for entry in found:
        check_file(entry)
    names = [entry["name"] for entry in found]
    demand(len(names) == len(set(names)), "a name came twice")
    check_ok(link.ask("LS", peer="192.0.2.1:1"), "LS_OK")  # an unknown field here


@check("FETCH / not_found")
def fetch_not_found(run):
    link = run.link(run.peer)
    check_refusal(link.ask("FETCH", name=run.name()), "not_found")
    check_refusal(link.ask("FETCH", name=run.name(), **{"from": 5, "tag": "0" * 16, "length": 0}), "not_found")
    goes_on(link)


@check("FETCH / pieces fit together")
def fetch_pieces(run):
    file = run.need_file()
    link = run.link(run.peer)
    span = min(file["size"], 200_000)
    base = link.fetch_ok(file["name"], length=span)
    demand(base.size == file["size"], f"LS says {file['size']} bytes, FETCH {base.size}")
    cuts = {(0, 1), (span - 1, 1), (0, span), (span // 2, span - span // 2), (span // 3, span // 3)}
    cuts |= {(start := random.randrange(span), random.randrange(span - start) + 1) for _ in range(10)}
    for start, length in cuts:
        if length:
            got = link.fetch_ok(file["name"], **{"from": start, "length": length, "tag": base.tag})
            demand(got.data == base.data[start:start + length], f"bytes {start}+{length} differ from the same before")
            demand(got.tag == base.tag, "another tag, though nothing was said to have changed")


@check("FETCH / the end of the file")
def fetch_end(run):
    file = run.need_file()
    link = run.link(run.peer)
    size = file["size"]
    start = max(0, size - 100)
    base = link.fetch_ok(file["name"], **{"from": start})
    for length in (size - start, size - start + 1, 2**32, MAX_INT):
        got = link.fetch_ok(file["name"], **{"from": start, "length": length})
        demand(got.data == base.data, f"length {length} gives other bytes")
    last = link.fetch_ok(file["name"], **{"from": size - 1})
    demand(last.data == base.data[-1:], "another last byte")


@check("FETCH / nothing wanted, nothing left")
def fetch_nothing(run):
    file = run.need_file()
    link = run.link(run.peer)
    size = file["size"]
    for fields in ({"length": 0}, {"from": size}, {"from": size, "length": 0}, {"from": size, "length": 10},
                   {"from": size // 2, "length": 0}):
        got = link.fetch_ok(file["name"], **fields)
        demand(got.data == b"" and got.answers == 1, f"{fields} gives {got.answers} answers")


@check("FETCH / range")
def fetch_range(run):
    file = run.need_file()
    link = run.link(run.peer)
    for start in (file["size"] + 1, 2**40 + file["size"], MAX_INT):
        check_refusal(link.ask("FETCH", name=file["name"], **{"from": start}), "range")
        check_refusal(link.ask("FETCH", name=file["name"], **{"from": start, "length": 0}), "range")
        check_refusal(link.ask("FETCH", name=file["name"], **{"from": start, "length": MAX_INT}), "range")
    goes_on(link)


@check("FETCH / tag and changed")
def fetch_tag(run):
    file = run.need_file()
    link = run.link(run.peer)
    tag = link.fetch_ok(file["name"], length=1).tag
    link.fetch_ok(file["name"], length=1, tag=tag)
    other = "%016x" % (int(tag, 16) ^ 1)
    check_refusal(link.ask("FETCH", name=file["name"], length=1, tag=other), "changed")
    again = run.link(run.peer)
    demand(again.fetch_ok(file["name"], length=1).tag == tag, "another link sees another tag")


@check("FETCH / an empty file")
def fetch_empty_file(run):
    run.need_file()
    empty = [file for file in run.world.files if file["size"] == 0]
    if not empty:
        raise Skipped("the peer shares no empty file")
    link = run.link(run.peer)
    got = link.fetch_ok(empty[0]["name"])
    demand(got.size == 0 and got.answers == 1, f"size {got.size}, {got.answers} answers")
    check_refusal(link.ask("FETCH", name=empty[0]["name"], **{"from": 1}), "range")


@check("FETCH / several bodies for one request")
def fetch_bodies(run):
    big = run.need_big(MAX_BODY + 1)
    link = run.link(run.peer)
    start = max(0, big["size"] - 5 * MIB // 2)
    got = link.fetch_ok(big["name"], **{"from": start})
    demand(got.answers > 1, "more than 1 MiB in one body")
    for _ in range(4):
        at = random.randrange(len(got.data) - 1000)
        piece = link.fetch_ok(big["name"], **{"from": start + at, "length": 1000, "tag": got.tag})
        demand(piece.data == got.data[at:at + 1000], f"bytes at {start + at} differ")


@check("FETCH / beyond 1 GB")
def fetch_far(run):
    big = run.need_big(10**9)
    link = run.link(run.peer)
    for start in (10**9 - 50, 2**31 - 50, 2**32 - 50, big["size"] - 100):
        if start + 100 <= big["size"]:
            long = link.fetch_ok(big["name"], **{"from": start, "length": 100})
            half = link.fetch_ok(big["name"], **{"from": start + 50, "length": 50})
            demand(long.data[50:] == half.data, f"bytes at {start + 50} differ")


@check("FETCH / a PING is answered beside it")
def fetch_ping(run):
    file = run.need_file()
    link = run.link(run.peer)
    wanted = min(file["size"], 2 * MIB)
    number = link.request("FETCH", name=file["name"], length=wanted)
    ping = link.request("PING")
    got = link.fetched(number, file["name"], {"length": wanted})
    check_ok(link.answer(ping)[0], "PONG")
    demand(len(got.data) == wanted, f"{len(got.data)} of {wanted} bytes")


@check("FETCH / 17 pipelined: answered, or busy")
def fetch_pipelined(run):
    file = run.need_file()
    link = run.link(run.peer)
    lines, wanted = [], {}
    for place in range(17):
        number = next(link.ids)
        wanted[number] = {"from": place % file["size"], "length": 1}
        lines.append(compact({"id": number, "method": "FETCH", "name": file["name"], **wanted[number]}) + b"\n")
    link.send(b"".join(lines))
    good = 0
    for number, fields in wanted.items():
        got = link.fetched(number, file["name"], fields)
        if got.refusal:
            check_refusal(got.refusal, "busy")
        else:
            demand(len(got.data) == 1, f"{len(got.data)} bytes where 1 was due")
            good += 1
    demand(good >= 16, f"only {good} were answered, 16 may be under way")
    link.fetch_ok(file["name"], length=1)


@check("FETCH / several at once do not mix their bytes")
def fetch_parallel(run):
    file = run.need_file()
    span = min(file["size"], 100_000)
    base = run.link(run.peer).fetch_ok(file["name"], length=span).data
    links = [run.link(run.peer) for _ in range(3)]
    asked = []
    for link in links:
        for _ in range(4):
            start = random.randrange(span)
            fields = {"from": start, "length": span - start}
            asked.append((link, link.request("FETCH", name=file["name"], **fields), fields))
    for link, number, fields in asked:
        got = link.fetched(number, file["name"], fields)
        demand(got.refusal is None, f"refused: {short(got.refusal)}")
        demand(got.data == base[fields["from"]:], f"bytes from {fields['from']} differ")


@check("FETCH / half-close is still answered")
def fetch_half_close(run):
    file = run.need_file()
    link = run.link(run.peer)
    wanted = min(file["size"], 2 * MIB)
    number = link.request("FETCH", name=file["name"], length=wanted)
    link.stop_sending()
    got = link.fetched(number, file["name"], {"length": wanted})
    demand(len(got.data) == wanted, f"{len(got.data)} of {wanted} bytes")
    link.ends()


@check("FETCH / a link that is dropped in the middle does no harm")
def fetch_dropped(run):
    file = run.need_file()
    for _ in range(5):
        link = run.raw(run.peer, small_buffer=True)
        link.open()
        link.request("FETCH", name=file["name"], length=min(file["size"], 2 * MIB))
        link.line()
        link.close()
    run.link(run.peer).fetch_ok(file["name"], length=1)


@check("CANCEL / of nothing")
def cancel_nothing(run):
    link = run.link(run.peer)
    for number in (0, 77, MAX_INT):
        check_ok(link.ask("CANCEL", fetch=number), "CANCEL_OK")
    goes_on(link)


@check("CANCEL / of a FETCH that is done")
def cancel_done(run):
    file = run.need_file()
    link = run.link(run.peer)
    link.fetch_ok(file["name"], length=1)
    check_ok(link.ask("CANCEL", fetch=1), "CANCEL_OK")
    link.silent(0.1)
    goes_on(link)


@check("CANCEL / of a FETCH under way")
def cancel_running(run):
    big = run.need_big(MAX_BODY + 1)
    # A small buffer, so that the peer cannot have sent everything before it reads the CANCEL.
    link = run.raw(run.peer, small_buffer=True)
    link.open()
    wanted = min(big["size"], 6 * MIB)
    number = link.request("FETCH", name=big["name"], length=wanted)
    cancel = link.request("CANCEL", fetch=number)
    got = link.fetched(number, big["name"], {"length": wanted})
    if got.refusal:
        check_refusal(got.refusal, "cancelled")
    else:
        demand(len(got.data) == wanted, f"neither cancelled nor whole: {len(got.data)} of {wanted} bytes")
    check_ok(link.answer(cancel)[0], "CANCEL_OK")
    link.silent(0.1)
    link.fetch_ok(big["name"], length=10)


# ----------------------------------------------------------------------------------------------------- section 10 HTTP


def check_file_headers(answer, length):
    demand(answer.get("Content-Length") == str(length), f"Content-Length must be {length}: {answer.headers}")
    demand(answer.get("Accept-Ranges") == "bytes", f"Accept-Ranges is missing: {answer.headers}")
    demand(re.fullmatch('"[0-9a-f]{16}"', answer.get("ETag") or ""), f"ETag is no tag in quotes: {answer.headers}")
    demand(answer.get("X-Content-Type-Options") == "nosniff", f"nosniff is missing: {answer.headers}")
    demand(answer.get("Content-Security-Policy") == "sandbox", f"sandbox is missing: {answer.headers}")
    kind = (answer.get("Content-Type") or "").lower()
    demand(re.match(r"[a-z0-9.+-]+/[a-z0-9.+-]+", kind), f"Content-Type is missing: {answer.headers}")
    shown = kind.startswith(("audio/", "video/", "image/")) and not kind.startswith("image/svg")
    place = (answer.get("Content-Disposition") or "").lower()
    if shown:
        demand(not place.startswith("attachment"), f"{kind} as attachment")
    else:
        demand(place.startswith("attachment"), f"{kind} without Content-Disposition: attachment")


@check("HTTP / HEAD of a file and its headers")
def http_head(run):
    file = run.need_file()
    link = run.raw(run.peer)
    for _ in range(2):
        link.send(http_request(file_path(file["name"]), method="HEAD"))
        answer = read_http(link, "HEAD")
        demand(answer.status == 200, f"status {answer.status}")
        check_file_headers(answer, file["size"])
    link.silent(0.1)  # no body


@check("HTTP / HEAD and GET give the same headers, the ETag is the tag")
def http_same_headers(run):
    file = run.need_file()
    tag = run.link(run.peer).fetch_ok(file["name"], length=1).tag
    head = run.http(run.peer, file_path(file["name"]), method="HEAD")
    get = run.http(run.peer, file_path(file["name"]), body=False)
    demand(get.status == 200, f"status {get.status}")
    check_file_headers(get, file["size"])
    demand(get.get("ETag") == f'"{tag}"', f"ETag {get.get('ETag')}, tag {tag}")
    volatile = ("date", "connection", "keep-alive")
    for name in set(get.headers) | set(head.headers):
        demand(name in volatile or get.get(name) == head.get(name), f"{name}: GET {get.get(name)!r}, "
               f"HEAD {head.get(name)!r}")


@check("HTTP / the same bytes as by FETCH, through http.client")
def http_same_bytes(run):
    file = run.need_file()
    span = min(file["size"], 300_000)
    start = random.randrange(file["size"] - span + 1)
    base = run.link(run.peer).fetch_ok(file["name"], **{"from": start, "length": span})
    client = http.client.HTTPConnection(str(run.peer.ip), run.peer.port, timeout=PATIENCE)
    try:
        for _ in range(2):
            client.request("GET", file_path(file["name"]), headers={"Range": f"bytes={start}-{start + span - 1}"})
            answer = client.getresponse()
            data = answer.read()
            demand(answer.status == 206, f"status {answer.status}")
            demand(data == bytes(base.data), "other bytes than by FETCH")
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"http.client: {error!r}") from None
    finally:
        client.close()


@check("HTTP / a whole small file")
def http_whole(run):
    run.need_file()
    small = [file for file in run.world.files if 0 < file["size"] <= MIB]
    if not small:
        raise Skipped("the peer shares no file of 1 MiB or less")
    base = run.link(run.peer).fetch_ok(small[0]["name"])
    answer = run.http(run.peer, file_path(small[0]["name"]))
    demand(answer.status == 200, f"status {answer.status}")
    demand(answer.body == bytes(base.data), "other bytes than by FETCH")


def ranged(run, file, value, headers=()):
    return run.http(run.peer, file_path(file["name"]), {"Range": value, **dict(headers)})


def expect_206(answer, base, start, data, size):
    demand(answer.status == 206, f"status {answer.status}, expected 206")
    check_file_headers(answer, len(data))
    wanted = f"bytes {start}-{start + len(data) - 1}/{size}"
    demand(answer.get("Content-Range") == wanted, f"Content-Range {answer.get('Content-Range')}, expected {wanted}")
    demand(answer.body == bytes(data), "other bytes than by FETCH")
    demand(answer.get("ETag") == f'"{base.tag}"', "the ETag is not the tag")


@check("HTTP / Range a-b")
def http_range(run):
    file = run.need_file()
    base = run.link(run.peer).fetch_ok(file["name"], length=min(file["size"], 1000))
    count = len(base.data)
    for start, end in {(0, 0), (0, count - 1), (count // 2, count - 1), (count // 3, count // 2)}:
        expect_206(ranged(run, file, f"bytes={start}-{end}"), base, start, base.data[start:end + 1], file["size"])


@check("HTTP / Range a-, -n, and an end beyond the end")
def http_range_open(run):
    file = run.need_file()
    size = file["size"]
    start = max(0, size - 1000)
    base = run.link(run.peer).fetch_ok(file["name"], **{"from": start})
    expect_206(ranged(run, file, f"bytes={start}-"), base, start, base.data, size)
    expect_206(ranged(run, file, f"bytes=-{size - start}"), base, start, base.data, size)
    expect_206(ranged(run, file, "bytes=-1"), base, size - 1, base.data[-1:], size)
    expect_206(ranged(run, file, f"bytes={size - 1}-{size + 1000}"), base, size - 1, base.data[-1:], size)
    expect_206(ranged(run, file, f"bytes={size - 1}-{MAX_INT}"), base, size - 1, base.data[-1:], size)


@check("HTTP / 416")
def http_416(run):
    file = run.need_file()
    size = file["size"]
    for value in (f"bytes={size}-", f"bytes={size}-{size + 5}", f"bytes={size + 10**9}-", f"bytes={MAX_INT}-"):
        answer = ranged(run, file, value)
        demand(answer.status == 416, f"{value}: status {answer.status}")
        demand(answer.get("Content-Range") == f"bytes */{size}", f"Content-Range {answer.get('Content-Range')}")


@check("HTTP / several ranges or other units: the whole file")
def http_range_ignored(run):
    file = run.need_file()
    for value in ("bytes=0-0,2-3", "bytes=0-0, -1", "lines=1-2", "bits=0-7"):
        answer = run.http(run.peer, file_path(file["name"]), {"Range": value}, body=False)
        demand(answer.status == 200, f"{value}: status {answer.status}")
        check_file_headers(answer, file["size"])
        demand(answer.get("Content-Range") is None, f"{value}: 200 with Content-Range")


@check("HTTP / broken ranges are no 206 and no crash")
def http_range_broken(run):
    file = run.need_file()
    for value in ("bytes=5-1", "bytes=-", "bytes=", "bytes", "bytes=a-b", "bytes=0x0-0x1", "bytes=--1", "=0-1",
                  "bytes=1" + "0" * 40 + "-", "bytes=-0", "bytes=18446744073709551616-", "bytes=+0-+1", "b" * 3000):
        answer = run.http(run.peer, file_path(file["name"]), {"Range": value}, body=False)
        demand(answer.status in (200, 400, 416), f"{value[:60]!r}: status {answer.status}")
    alive(run, run.peer)


@check("HTTP / If-Range")
def http_if_range(run):
    file = run.need_file()
    base = run.link(run.peer).fetch_ok(file["name"], length=1)
    same = ranged(run, file, "bytes=0-0", {"If-Range": f'"{base.tag}"'})
    expect_206(same, base, 0, base.data, file["size"])
    other = "%016x" % (int(base.tag, 16) ^ 1)
    headers = {"Range": "bytes=0-0", "If-Range": f'"{other}"'}
    answer = run.http(run.peer, file_path(file["name"]), headers, body=False)
    demand(answer.status == 200, f"status {answer.status} with another ETag")
    check_file_headers(answer, file["size"])


@check("HTTP / If-None-Match")
def http_none_match(run):
    file = run.need_file()
    tag = run.link(run.peer).fetch_ok(file["name"], length=1).tag
    link = run.raw(run.peer)
    for method in ("GET", "HEAD"):
        link.send(http_request(file_path(file["name"]), {"If-None-Match": f'"{tag}"'}, method))
        answer = read_http(link, method)
        demand(answer.status == 304, f"{method}: status {answer.status}")
    link.silent(0.1)  # a 304 has no body
    other = "%016x" % (int(tag, 16) ^ 1)
    answer = run.http(run.peer, file_path(file["name"]), {"If-None-Match": f'"{other}"'}, "HEAD")
    demand(answer.status == 200, f"status {answer.status} with another ETag")


@check("HTTP / every byte of NAME percent-encoded")
def http_encoded(run):
    file = run.need_file()
    data = file["name"].encode("utf-8")
    for spelling in ("".join(f"%{byte:02X}" for byte in data), "".join(f"%{byte:02x}" for byte in data)):
        answer = run.http(run.peer, "/files/" + spelling, method="HEAD")
        demand(answer.status == 200, f"status {answer.status}")
        check_file_headers(answer, file["size"])


@check("HTTP / 404", BOTH)
def http_404(run, side):
    link = run.raw(side)
    for path in ("/files/" + run.name(), "/nothing", "/files", "/files/", "/FILES/x", "/index.html", "/favicon.ico"):
        link.send(http_request(path))
        answer = read_http(link)
        demand(answer.status == 404, f"{path}: status {answer.status}")


@check("HTTP / files are no business of the server")
def http_server_files(run):
    for file in run.world.files[:3]:
        answer = run.http(run.server, file_path(file["name"]))
        demand(answer.status == 404, f"status {answer.status}")


@check("HTTP / the list at /", BOTH)
def http_root(run, side):
    answer = run.http(side, "/")
    demand(answer.status == 200, f"status {answer.status}")
    demand((answer.get("Content-Type") or "").startswith("text/plain"), f"type {answer.get('Content-Type')}")
    lines = answer.body.decode("utf-8").splitlines()
    if side.role == "server":
        demand(len(lines) == 1 and lines[0], f"{len(lines)} lines")
        return
    demand(all(line.startswith("/files/") for line in lines), f"a line that is no path: {short(lines)}")
    if len(run.world.files) < 256:  # else the list may have been cut short by this script
        paths = {urllib.parse.unquote(line) for line in lines} | set(lines)
        for file in run.world.files:
            demand("/files/" + file["name"] in paths, f"{file['name']!r} is not in the list")
    for line in lines[:3]:
        demand(run.http(side, line, method="HEAD").status == 200, f"{line} is listed and not there")


@check("HTTP / other methods are 405 with Allow", BOTH)
def http_405(run, side):
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = run.http(side, "/", method=method)
        demand(answer.status == 405, f"{method}: status {answer.status}")
        allow = {word.strip() for word in (answer.get("Allow") or "").split(",")}
        demand({"GET", "HEAD"} <= allow and method not in allow, f"{method}: Allow is {answer.get('Allow')!r}")


def no_second_answer(link):
    """What came as a body must not be read as a request."""
    said = link.swallow(1.5)
    demand(link.over, "the link stays open")
    demand(b"HTTP/1." not in said, f"the body was read as a request: {short(said)}")


@check("HTTP / a request body is 400 and ends the link", BOTH)
def http_body(run, side):
    hidden = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
    for headers, body in (({"Content-Length": str(len(hidden))}, hidden), ({"Transfer-Encoding": "chunked"}, chunked)):
        link = run.raw(side)
        link.send(http_request("/", headers) + body)
        answer = read_http(link)
        demand(answer.status == 400, f"GET with {headers}: status {answer.status}")
        no_second_answer(link)
    link = run.raw(side)
    link.send(http_request("/", {"Content-Length": str(len(hidden))}, "POST") + hidden)
    answer = read_http(link)
    demand(answer.status in (400, 405), f"POST: status {answer.status}")
    no_second_answer(link)


@check("HTTP / two lengths, or length and chunks, are no way to hide a request", BOTH)
def http_smuggling(run, side):
    hidden = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for lines in ("Content-Length: 0\r\nContent-Length: %d" % len(hidden), "Content-Length: +5", "Content-Length: x",
                  "Content-Length: 0\r\nTransfer-Encoding: chunked", "Transfer-Encoding: identity, chunked"):
        link = run.raw(side)
        link.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + lines.encode() + b"\r\n\r\n" + hidden)
        answer = read_http(link)
        demand(answer.status == 400, f"{lines!r}: status {answer.status}")
        no_second_answer(link)


@check("HTTP / keep-alive", BOTH)
def http_keep_alive(run, side):
    link = run.raw(side)
    for _ in range(4):
        link.send(http_request("/"))
        demand(read_http(link).status == 200, "not 200")
        link.send(http_request("/nothing", method="HEAD"))
        demand(read_http(link, "HEAD").status == 404, "not 404")
    link.silent(0.1)


@check("HTTP / pipelining", BOTH)
def http_pipelining(run, side):
    link = run.raw(side)
    paths = ["/", "/nothing", "/"] * 5
    link.send(b"".join(http_request(path) for path in paths))
    for path in paths:
        status = read_http(link).status
        demand(status == (200 if path == "/" else 404), f"{path}: status {status}, answers are out of order")


@check("HTTP / pipelined ranges come in order")
def http_pipelined_ranges(run):
    file = run.need_file()
    base = run.link(run.peer).fetch_ok(file["name"], length=min(file["size"], 5000))
    count = len(base.data)
    link = run.raw(run.peer)
    starts = [random.randrange(count) for _ in range(12)]
    link.send(b"".join(http_request(file_path(file["name"]), {"Range": f"bytes={start}-{count - 1}"})
                       for start in starts))
    for start in starts:
        expect_206(read_http(link), base, start, base.data[start:], file["size"])


@check("HTTP / 1.0 and Connection: close end the link", BOTH)
def http_close(run, side):
    for version, headers in (("1.0", {}), ("1.1", {"Connection": "close"})):
        link = run.raw(side)
        link.send(http_request("/", headers, version=version))
        answer = read_http(link)
        demand(answer.status == 200, f"status {answer.status}")
        demand((answer.get("Connection") or "").lower() == "close", f"Connection: {answer.get('Connection')}")
        link.ends()


@check("HTTP / in single bytes", BOTH)
def http_bytes(run, side):
    link = run.raw(side)
    for byte in b"HEAD / HTTP/1.1\r\nHost: localhost\r\nX-Any: a:b\r\n\r\n":
        link.send(bytes([byte]))
        time.sleep(0.001)
    demand(read_http(link, "HEAD").status == 200, "not 200")


@check("HTTP / without Host, or with two or a foreign one: no answer but a no", BOTH)
def http_host(run, side):
    for lines, status in (("", 400), ("Host: localhost\r\nHost: localhost\r\n", 400), ("Host: a b\r\n", 400),
                          ("Host: evil.example\r\n", 403), ("Host: 127.0.0.1.evil.example\r\n", 403)):
        for path in ("/", "/api/live", "/metrics", "/favicon.svg", "/nothing"):
            link = run.raw(side)
            link.send(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
            answer = read_http(link)
            demand(answer.status == status, f"{path} with {lines!r}: status {answer.status}")


@check("HTTP / methods that nobody knows are 501", BOTH)
def http_501(run, side):
    for method in ("PROPFIND", "get", "GETX"):
        answer = run.http(side, "/", method=method)
        demand(answer.status == 501, f"{method}: status {answer.status}")


@check("HTTP / If-Match")
def http_if_match(run):
    file = run.need_file()
    tag = run.link(run.peer).fetch_ok(file["name"], length=1).tag
    for value, status in ((f'"{tag}"', 200), ("*", 200), (f'"x", "{tag}"', 200), ('"x"', 412), (f'W/"{tag}"', 412)):
        answer = run.http(run.peer, file_path(file["name"]), {"If-Match": value}, "HEAD")
        demand(answer.status == status, f"{value}: status {answer.status}")


@check("HTTP / names of headers in any case")
def http_header_case(run):
    file = run.need_file()
    answer = run.http(run.peer, file_path(file["name"]), {"rAnGe": "bytes=0-0"})
    demand(answer.status == 206, f"status {answer.status}")


@check("HTTP / half-close is still answered", BOTH)
def http_half_close(run, side):
    link = run.raw(side)
    link.send(http_request("/") + http_request("/nothing"))
    link.stop_sending()
    demand([read_http(link).status for _ in range(2)] == [200, 404], "other answers")
    link.ends()


TRAVERSAL = [
    "/files/../../../../../../etc/passwd", "/files/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/files/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/files/%2Fetc%2Fpasswd",
    "/files//etc/passwd", "//etc/passwd", "/etc/passwd", "/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
    "/files/..%5c..%5cwindows%5cwin.ini", "/files/C:%5cwindows%5cwin.ini", "/files/..%252f..%252fetc%252fpasswd",
    "/files/%c0%ae%c0%ae%c0%af%c0%ae%c0%ae%c0%afetc%c0%afpasswd", "/files/%00", "/files/%00/etc/passwd", "/files/%",
    "/files/%2", "/files/%zz", "/files/%ff%fe", "/files/.", "/files/..", "/files/%2e", "/files/%2e%2e",
    "/files/%2e%2e%2f", "/files/%e2%80%ae", "/files/%0d%0aSet-Cookie:%20a=b", "/files/a.part", "/files/a.part.record",
    "/files/a//b", "/files/a/../b", "/files/a%2f..%2f..%2fetc/passwd", "/files/a/%2e%2e/%2e%2e/etc/passwd",
    "/files/a.part/b", "/files/etc/passwd", "/files/" + "a/" * 16 + "a",
    "/files/%EF%BC%8E%EF%BC%8E",
    "file:///etc/passwd", "etc/passwd", "../etc/passwd", "*", "/files/" + "%2e%2e%2f" * 1000 + "etc/passwd",
    "/files/" + "x" * 256, "/files/" + "x" * 8000, "/proc/self/environ", "/files/%2fproc%2fself%2fenviron",
]


@check("HTTP / paths that lead elsewhere are 404 or 400", BOTH)
def http_traversal(run, side):
    for path in TRAVERSAL:
        answer = run.http(side, path)
        # 414 says the same of a path that is too long.
        demand(answer.status in (400, 404) or (len(path) > 1000 and answer.status == 414),
               f"{path[:80]}: status {answer.status}")
        demand(b"root:" not in answer.body and b"PATH=" not in answer.body, f"{path[:80]} gives a file")
        demand("set-cookie" not in answer.headers, f"{path[:80]} writes headers")
    alive(run, side)


@check("HTTP / a real name with something before or behind it is 404 or 400")
def http_almost(run):
    name = run.need_file()["name"]
    path = file_path(name)
    for other in (path + "%00", path + "/", path + "%2f", "/files/%2e/" + path[7:], "/files/%2e%2f" + path[7:],
                  "/files/x/../" + path[7:], "/files%2f" + path[7:], path[6:], "/x" + path, path + "%20", path + "."):
        answer = run.http(run.peer, other, method="HEAD")
        demand(answer.status in (400, 404), f"{other}: status {answer.status}")


@check("HTTP / broken requests are refused or end the link", BOTH)
def http_broken(run, side):
    for data in (b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
                 b"GET / HTTP/1.1\r\n: x\r\n\r\n", b"GET  /  HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nX: \x00\r\n\r\n",
                 b"GET /\xff\x00 HTTP/1.1\r\n\r\n", b"GET / XTTP/1.1\r\n\r\n", b"GETX / HTTP/1.1\r\n\r\n",
                 b"POST", b"GET / HTTP/1.1\r\nContent-Length: 5"):
        link = run.raw(side)
        link.send(data)
        link.stop_sending()
        said = link.swallow()
        demand(link.over, f"{data!r}: the link stays open")
        demand(not said or said.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")), f"{data!r} got {short(said)}")


@check("HTTP / an endless head ends the link", BOTH)
def http_endless(run, side):
    for data in (b"GET /" + b"x" * 300_000, b"GET / HTTP/1.1\r\nX: " + b"x" * 300_000,
                 b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 60_000):
        link = run.raw(side)
        link.send(data)
        said = link.swallow()
        demand(link.over, "the link stays open after 300,000 bytes of head")
        demand(not said or re.match(rb"HTTP/1\.[01] 4", said), f"got {short(said)}")


@check("HTTP / a link keeps its language", BOTH)
def http_language(run, side):
    link = run.raw(side)
    link.send(http_request("/"))
    demand(read_http(link).status == 200, "not 200")
    link.send(b'{"cardume":1}\n{"id":1,"method":"PING"}\n')
    link.stop_sending()
    demand(b'"role"' not in link.swallow(), "an opening was answered on an HTTP link")
    link = run.link(side)
    link.send(http_request("/"))
    link.refused_and_closed("bad_request")


# -------------------------------------------------------------------------------------------------- section 9 deadlines


def closed_after(link, seconds, low, high, drip=None, what="the link"):
    """The link is closed when `seconds` are over, give or take. `drip` is sent once a second meanwhile."""
    start = time.monotonic() if seconds is None else link.began
    while True:
        age = time.monotonic() - start
        demand(age < high, f"{what} is still open after {age:.1f} s")
        link.sock.settimeout(1.0)
        try:
            data = link.sock.recv(65536)
        except TimeoutError:
            if drip:
                link.send(drip)
            continue
        except OSError:
            data = b""
        if not data:
            age = time.monotonic() - start
            demand(age >= low, f"{what} was closed after {age:.1f} s already, {low:.1f} s at least were due")
            return


@check("deadlines / 10 s for an opening, silent", BOTH, "slow")
def slow_silent(run, side):
    closed_after(run.raw(side), 10, 9, 14)


@check("deadlines / 10 s for an opening, byte by byte", BOTH, "slow")
def slow_drip(run, side):
    link = run.raw(side)
    link.send(b'{"cardume":1,"padding":"')
    closed_after(link, 10, 9, 14, b"x")


@check("deadlines / 10 s for an HTTP head", BOTH, "slow")
def slow_http(run, side):
    link = run.raw(side)
    link.send(b"GET / HTTP/1.1\r\nX: ")
    closed_after(link, 10, 9, 14, b"x")


@check("deadlines / 30 s for a later head", BOTH, "slow")
def slow_head(run, side):
    link = run.link(side)
    link.ping()
    link.send(b'{"id":5,"method":"PING","padding":"')
    closed_after(link, None, 28.5, 36, b"x")


def heartbeat_of(link):
    seconds = link.opening["heartbeat_ms"] / 1000
    if seconds > 30:
        raise Skipped(f"a heartbeat of {seconds:g} s takes too long")
    return seconds


@check("deadlines / 2.5 heartbeats of silence end the link", BOTH, "slow")
def slow_heartbeat(run, side):
    link = run.link(side)
    limit = 2.5 * heartbeat_of(link)
    closed_after(link, None, limit - 1.5, limit + 6)


@check("deadlines / 2.5 heartbeats of silence remove a peer", None, "slow")
def slow_heartbeat_join(run):
    file = new_file(run)
    link, joined = run.member([file])
    limit = 2.5 * heartbeat_of(link)
    closed_after(link, None, limit - 1.5, limit + 6)
    asker = run.link(run.server)
    soon(lambda: not listed(asker, joined["you"]), "the peer is still in the index")
    demand(search(asker, file["name"]) == [], "its file is still found")


@check("deadlines / any byte keeps the link", BOTH, "slow")
def slow_kept(run, side):
    link = run.link(side)
    beat = heartbeat_of(link)
    until = time.monotonic() + 2.5 * beat + 6
    while time.monotonic() < until:
        link.send(b"\n")  # an empty line is ignored, but it is a byte
        link.silent(min(beat, 5.0))
    link.ping()


@check("deadlines / a joined peer that PINGs stays in the index", None, "slow")
def slow_joined(run):
    file = new_file(run)
    link, joined = run.member([file])
    beat = heartbeat_of(link)
    until = time.monotonic() + 2.5 * beat + 6
    while time.monotonic() < until:
        time.sleep(beat)
        link.ping()
    demand(holders(link, file["name"]) == {joined["you"]: 1}, "its file is not found any more")


@check("deadlines / an idle HTTP link has 60 s", BOTH, "slow")
def slow_http_idle(run, side):
    link = run.raw(side)
    link.send(http_request("/"))
    read_http(link)
    closed_after(link, None, 57, 68)


def fill(link, limit=64 * MIB):
    """Sends PINGs and reads no answer, until the other side takes no more. False when it never stops taking."""
    line = b'{"id":%d,"method":"PING"}\n' % MAX_INT
    batch = line * 2000
    link.sock.setblocking(False)
    sent, last = 0, time.monotonic()
    while time.monotonic() - last < 3.0:
        try:
            # Only part of a batch may go: what is left of a line does not matter, nothing is read any more.
            sent += link.sock.send(batch)
            last = time.monotonic()
        except BlockingIOError:
            select.select([], [link.sock], [], 0.5)
        except OSError:
            return True  # closed at once is rude, but what waits for us is bounded
        if sent > limit:
            return False
    return True


@check("deadlines / who reads nothing is not read from, and cut off after 60 s", BOTH, "slow")
def slow_reader(run, side):
    if not hasattr(select, "poll"):
        raise Skipped("this system has no poll")
    link = run.raw(side, small_buffer=True)
    link.open()
    demand(fill(link), "64 MiB of requests were taken from one that reads no answer")
    start = time.monotonic()
    # Nothing is read here either, so the end shows as a hang-up or an error, never as data.
    watch = select.poll()
    watch.register(link.sock, getattr(select, "POLLRDHUP", 0))
    while time.monotonic() - start < 68:
        if any(state & (select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0))
               for _, state in watch.poll(1000)):
            return
    raise Failed("the link is still open after 68 s")


# ---------------------------------------------------------------------------------------- section 7 PIECES, HAVE, roots


def middling(run):
    """A file of several pieces, and not too many for a hash in plain Python."""
    run.need_file()
    files = [file for file in run.world.files if MIB < file["size"] <= 4 * MIB]
    if not files:
        raise Skipped("the peer shares no file between 1 MiB and 4 MiB")
    return min(files, key=lambda file: file["size"])


def values(data):
    return [bytes(data[at:at + 32]) for at in range(0, len(data), 32)]


def check_list(head, data):
    """The first half of the proof: the list has the right length, and leads to the root."""
    count = max(1, -(-head["size"] // MIB))
    demand(len(data) == 32 * count, f"a list of {len(data)} bytes for {count} pieces")
    demand(blake3.root_of(values(data)) == head["root"], f"the list does not lead to {head['root']}")
    return values(data)


def known_list(run):
    """The list of the middling file, checked."""
    if run.world.list is None:
        file = middling(run)
        head, data = run.link(run.peer).list(name=file["name"])
        demand((head["name"], head["size"]) == (file["name"], file["size"]), f"of another file: {short(head)}")
        run.world.list = head, check_list(head, data)
    return run.world.list


@check("PIECES / a list leads to its root", phase="long")
def pieces_list(run):
    known_list(run)


@check("PIECES / small files: the value is the root", phase="long")
def pieces_small(run):
    run.need_file()
    link = run.link(run.peer)
    for file in [file for file in run.world.files if file["size"] <= 100_000][:4]:
        head, data = link.list(name=file["name"])
        content = bytes(link.fetch_ok(file["name"]).data)
        demand(data.hex() == head["root"] == blake3.root(content), f"another root than that of {file['name']!r}")


@check("PIECES / of a giant file", phase="long")
def pieces_giant(run):
    big = run.need_big(10**9)
    link = run.link(run.peer)
    head, data = link.list(name=big["name"])
    found = check_list(head, data)
    last = len(found) - 1
    got = link.fetch_root(head["root"], head["name"], **{"from": last * MIB})
    demand(blake3.value_of(bytes(got.data), last) == found[last], "the last piece is not what the list says")


@check("PIECES / parts of a list", phase="long")
def pieces_parts(run):
    head, found = known_list(run)
    link, all_of_it = run.link(run.peer), b"".join(found)
    size = len(all_of_it)
    for fields in ({"from": 0, "length": 32}, {"from": 32}, {"from": 31, "length": 3}, {"from": size - 1, "length": MAX_INT},
                   {"length": 0}, {"from": size}):
        again, data = link.list(root=head["root"], **fields)
        start = fields.get("from", 0)
        demand(again == head, f"other fields for a part: {short(again)}")
        demand(data == all_of_it[start:start + fields.get("length", size)], f"{fields} gives other bytes")
    check_refusal(link.ask("PIECES", root=head["root"], **{"from": size + 1}), "range")
    goes_on(link)


@check("PIECES / tag", phase="long")
def pieces_tag(run):
    head, _ = known_list(run)
    link = run.link(run.peer)
    link.list(name=head["name"], tag=head["tag"])
    other = "%016x" % (int(head["tag"], 16) ^ 1)
    check_refusal(link.ask("PIECES", name=head["name"], tag=other), "changed")
    demand(link.fetch_ok(head["name"], length=1).tag == head["tag"], "FETCH says another tag")


@check("PIECES and FETCH / several at once on one link", phase="long")
def pieces_beside_fetch(run):
    head, found = known_list(run)
    link = run.link(run.peer)
    fetch = link.request("FETCH", root=head["root"], length=2 * MIB)
    first, second = link.list(root=head["root"]), link.list(name=head["name"])
    ping = link.request("PING")
    got = link.fetched(fetch, head["name"], {"length": 2 * MIB})
    check_ok(link.answer(ping)[0], "PONG")
    demand(first == second == (head, b"".join(found)), "another list")
    demand(got.refusal is None, f"refused: {short(got.refusal)}")


@check("roots / LS, SEARCH and PIECES say the same", phase="long")
def roots_agree(run):
    head, _ = known_list(run)
    link, server = run.link(run.peer), run.link(run.server)
    entry = {"name": head["name"], "size": head["size"], "root": head["root"], "partial": False}
    demand(entry in pages(link, "LS", "files", 256, most_pages=40), "the peer's own LS says otherwise")
    me = link.ask("LS")["peer"]
    if me not in [peer["peer"] for peer in all_peers(server)]:
        raise Skipped("this peer has not joined that server")
    # The UPDATE may be on its way.
    soon(lambda: entry in pages(server, "LS", "files", 256, peer=me), "LS of the server says otherwise")
    demand({"peer": me, **entry} in search_by(server, name=head["name"]), "SEARCH by name says otherwise")
    demand(search_root(server, head["root"]).get(me) == (head["name"], head["size"], False), "SEARCH by root says otherwise")


@check("FETCH by root / ranges are those of the file", phase="long")
def root_ranges(run):
    head, _ = known_list(run)
    link, size = run.link(run.peer), head["size"]
    base = link.fetch_ok(head["name"]).data
    cuts = [(0, size), (0, 1), (size - 1, 1), (size, 0), (MIB - 1, 2), (MIB, MIB)]
    cuts += [(start := random.randrange(size), random.randrange(size - start + 1)) for _ in range(10)]
    for start, length in cuts:
        got = link.fetch_root(head["root"], head["name"], **{"from": start, "length": length})
        demand(got.data == base[start:start + length], f"bytes {start}+{length} differ from those by name")
    check_refusal(link.ask("FETCH", root=head["root"], **{"from": size + 1}), "range")


@check("roots / unknown ones, wrong ones, two wishes at once", phase="long")
def roots_unknown(run):
    link, name = run.link(run.peer), middling(run)["name"]
    for method in ("FETCH", "PIECES", "HAVE"):
        check_refusal(link.ask(method, root=new_root()), "not_found")
        for wrong in ("", "0" * 63, "0" * 65, "A" * 64, 7):
            check_refusal(link.ask(method, root=wrong), "bad_request")
        check_refusal(link.ask(method), "bad_request")
        check_refusal(link.ask(method, root=None), "bad_request")
    for method in ("FETCH", "PIECES"):
        check_refusal(link.ask(method, root=new_root(), name=name), "bad_request")
        check_refusal(link.ask(method, name="../" + name), "bad_name")
        check_refusal(link.ask(method, name=run.name()), "not_found")
    goes_on(link)


@check("HAVE / of a whole file", phase="long")
def have_whole(run):
    head, _ = known_list(run)
    link = run.link(run.peer)
    for _ in range(20):  # more than may be followed, but nothing is left to follow
        answer = check_ok(link.ask("HAVE", root=head["root"]), "HAVE_OK")
        demand(answer.get("root") == head["root"] and answer.get("whole") is True, f"not whole: {short(answer)}")
        demand(isinstance(answer.get("pieces"), list), f"pieces is no list: {short(answer)}")
    link.silent(0.1)


@check("downloading / from the last piece to the first, each one checked", phase="long")
def download_checked(run):
    file = middling(run)
    link = run.link(run.peer)
    head, data = link.list(name=file["name"])
    found = check_list(head, data)
    content = bytearray(head["size"])
    # The last piece proves the list. The others are asked for all at once.
    order = [len(found) - 1, *range(len(found) - 1)]
    for places in (order[:1], order[1:]):
        asked = []
        for piece in places:
            fields = {"from": piece * MIB, "length": min(MIB, head["size"] - piece * MIB)}
            asked.append((piece, link.request("FETCH", root=head["root"], **fields), fields))
        for piece, number, fields in asked:
            got = link.fetched(number, head["name"], fields)
            demand(got.refusal is None, f"piece {piece} was refused: {short(got.refusal)}")
            value = blake3.value_of(bytes(got.data), piece, len(found) == 1)
            demand(value == found[piece], f"piece {piece} is not what the list says")
            content[fields["from"]:fields["from"] + fields["length"]] = got.data
    demand(content == link.fetch_ok(file["name"]).data, "put together it is another file")


class Guest:
    """A file of ours in the folder of the peer, for as long as one check takes."""

    def __init__(self, run, ending=".bin"):
        if not run.world.folder:
            raise Skipped("no --folder")
        self.name = run.name(ending)
        self.path = os.path.join(run.world.folder, self.name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if os.path.exists(self.path):
            os.unlink(self.path)

    def write(self, content=b"", size=None):
        with open(self.path, "wb") as file:
            file.write(content)
            if size is not None:
                file.truncate(size)

    def noticed(self, link):
        """The peer says that it shares it."""
        soon(lambda: any(file["name"] == self.name for file in pages(link, "LS", "files", 256, most_pages=40)),
             "a new file was not shared within 20 s", 20)


@check("WAITING / hashing: the list of a giant file that has just come", phase="long")
def waiting_hashing(run):
    with Guest(run) as guest:
        guest.write(size=2_000_000_000)
        link = run.link(run.peer)
        # Once it is noticed it waits to be left alone, and then it is hashed: the question comes before the answer is known.
        time.sleep(1)
        number = link.request("PIECES", name=guest.name)
        link.patience = HASHING
        head, body = link.answer(number)
        check_ok(head, "PIECES_OK")
        waits = [event for event in link.events if event.get("id") == number]
        demand(waits and all(event["reason"] == "hashing" for event in waits), f"no WAITING for hashing: {short(waits)}")
        found = check_list(head, body)
        demand(found[0] == blake3.value_of(bytes(MIB), 0), "the first piece of nothing but zeros is another")
        demand(len({*found[:-1]}) == len(found) - 1, "two pieces in different places have one value")


@check("roots / a file that was changed is no longer given by its root", phase="long")
def root_changed(run):
    with Guest(run) as guest:
        link = run.link(run.peer)
        old, new = secrets.token_bytes(50_000), secrets.token_bytes(50_000)
        guest.write(old)
        guest.noticed(link)
        head, data = link.list(name=guest.name)
        demand(data.hex() == head["root"] == blake3.root(old), "another root")
        demand(link.fetch_root(head["root"], guest.name).data == old, "other bytes")
        guest.write(new)
        for _ in range(40):
            for other in (link, run.link(run.peer)):
                for method in ("FETCH", "PIECES"):
                    check_refusal(other.ask(method, root=head["root"]), "changed", "not_found")
            time.sleep(0.02)
        fetched = link.fetch_ok(guest.name)
        demand(fetched.data == new and fetched.tag != head["tag"], "by name come other bytes, or the old tag")
        again, data = link.list(name=guest.name)
        demand(again["tag"] == fetched.tag and again["root"] == blake3.root(new), "the list is not that of the new content")
        demand(link.fetch_root(again["root"], guest.name).data == new, "by the new root come other bytes")
        check_refusal(link.ask("FETCH", root=head["root"]), "not_found")


@check("roots / the list of a file that goes away meanwhile is not_found", phase="long")
def root_gone(run):
    with Guest(run) as guest:
        link = run.link(run.peer)
        guest.write(size=10**12)
        guest.noticed(link)
        number = link.request("PIECES", name=guest.name)
        soon(lambda: goes_on(link) or link.events, "no WAITING for hashing")
        os.unlink(guest.path)
        link.patience = HASHING
        check_refusal(link.answer(number)[0], "not_found")


# ------------------------------------------------------------------------------- the program downloads from this script


class Owner(threading.Thread):
    """A peer with one file, written from PROTOCOL.md. `lies`: pieces whose bytes it turns over. `holds_back`: pieces, and what is asked
    after them, that it gives when it is told to let go. It counts what it gave."""

    def __init__(self, run, name, content, found, lies=(), holds_back=()):
        super().__init__(daemon=True)
        self.name_, self.content, self.found, self.lies = name, content, found, set(lies)
        self.holds_back, self.lets_go = set(holds_back), threading.Event()
        self.root = blake3.root_of(found)
        self.gave = []
        self.member = run.link(run.server)
        self.listener = socket.create_server((self.member.sock.getsockname()[0], 0))
        self.port = self.listener.getsockname()[1]
        entry = {"name": name, "size": len(content), "root": self.root}
        run.note_join(self.member.ask("JOIN", port=self.port, files=[entry]))
        self.start()

    def close(self):
        self.listener.close()

    def run(self):
        while True:
            try:
                link = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(link,), daemon=True).start()

    def serve(self, link):
        try:
            with link, link.makefile("rb") as lines:
                link.settimeout(30)
                for line in lines:
                    self.answer(link, json.loads(line))
        except (OSError, ValueError):
            pass

    def answer(self, link, head):
        number, method = head.get("id"), head.get("method")

        def say(fields, body=b""):
            link.sendall(compact({"id": number, **fields}) + b"\n" + body)

        about = {"name": self.name_, "size": len(self.content), "tag": "00000000000000c0"}
        ours = head.get("root") == self.root or head.get("name") == self.name_
        if "cardume" in head:
            opening = {"cardume": 1, "role": "peer", "you": spell_address(*link.getpeername()[:2]), "heartbeat_ms": 20000}
            link.sendall(compact(opening) + b"\n")
        elif method == "PING":
            say({"status": "PONG"})
        elif method == "CANCEL":
            say({"status": "CANCEL_OK"})
        elif method in ("FETCH", "PIECES", "HAVE") and not ours:
            say({"error": {"code": "not_found", "retry": False, "text": "no such file here"}})
        elif method == "HAVE":
            say({"status": "HAVE_OK", "root": self.root, "whole": True, "pieces": []})
        elif method == "PIECES":
            data = b"".join(self.found)
            say({"status": "PIECES_OK", **about, "root": self.root, "from": 0, "length": len(data), "more": False}, data)
        elif method == "FETCH":
            start = head.get("from", 0)
            data = bytearray(self.content[start:start + head.get("length", len(self.content))])
            if start // MIB in self.holds_back:
                self.lets_go.wait(30)
            self.gave.append(start // MIB)
            if self.lies & {start // MIB}:
                data[0] ^= 1
            while True:
                more = len(data) > MAX_BODY
                body = data[:MAX_BODY]
                say({"status": "FETCH_OK", **about, "from": start, "length": len(body), "more": more}, body)
                del data[:MAX_BODY]
                start += len(body)
                if not more:
                    return
        else:
            say({"error": {"code": "unsupported", "retry": False, "text": "no such method here"}})


def downloaded(run, name, *more):
    """What `cardume get` makes of it: its exit code, what it said, and the file."""
    if not run.world.program:
        raise Skipped("no --program")
    with tempfile.TemporaryDirectory() as folder:
        server = spell_address(run.server.ip, run.server.port)
        command = [run.world.program, "get", name, "--server", server, "--folder", folder, "--json", *more]
        done = subprocess.run(command, capture_output=True, timeout=60)
        said = [json.loads(line) for line in done.stdout.splitlines()]
        files = os.listdir(folder)
        demand(done.returncode or files == [name], f"left in the folder: {files}")
        content = open(os.path.join(folder, name), "rb").read() if name in files else None
        return done.returncode, said, content


def a_content(run):
    """Three pieces, the last of which is short."""
    if not run.world.program:
        raise Skipped("no --program")
    if run.world.content is None:
        content = secrets.token_bytes(2 * MIB + 12_345)
        run.world.content = content, blake3.list_of(content)
    return run.world.content


def check_saved(run, name, root, content):
    code, said, got = downloaded(run, name)
    demand(code == 0, f"exit code {code}: {short(said)}")
    saved = [event for event in said if event.get("event") == "saved"]
    demand(len(saved) == 1 and saved[0].get("root") == root, f"not saved with its root: {short(said)}")
    demand(got == content, "the file is another")
    demand(all(event.get("event") != "unverified" for event in said), f"unverified: {short(said)}")
    return said


@check("cardume get / from an owner in Python, verified", phase="long")
def get_verified(run):
    content, found = a_content(run)
    name = run.name()
    owner = Owner(run, name, content, found)
    try:
        check_saved(run, name, owner.root, content)
        demand(owner.gave[:1] == [2], f"the last piece was not the first: {owner.gave}")
        demand(sorted(owner.gave) == [0, 1, 2], f"not each piece once: {owner.gave}")
    finally:
        owner.close()


@check("cardume get / a liar is found out, and an honest owner gives the rest", phase="long")
def get_from_liar(run):
    content, found = a_content(run)
    name = run.name()
    owners = [Owner(run, name, content, found, lies=range(3)), Owner(run, name, content, found)]
    try:
        said = check_saved(run, name, owners[1].root, content)
        blamed = [event for event in said if event.get("event") == "blamed"]
        wrong = owners[0].port if owners[0].gave else None
        demand(all(parse_address(event["peer"])[1] == wrong for event in blamed), f"the wrong one is blamed: {short(blamed)}")
        demand(wrong is None or len(blamed) <= 1, f"blamed more than once: {short(blamed)}")
    finally:
        for owner in owners:
            owner.close()


@check("cardume get / from a liar alone there is no file, and exit code 6", phase="long")
def get_from_liar_alone(run):
    content, found = a_content(run)
    name = run.name()
    owner = Owner(run, name, content, found, lies=[0])
    try:
        code, said, got = downloaded(run, name)
        demand(got is None, "a wrong file got its name")
        demand(code == 6, f"exit code {code}: {short(said)}")
        demand(any(event.get("event") == "blamed" for event in said), f"nobody was blamed: {short(said)}")
    finally:
        owner.close()


class Taker:
    """A running `cardume peer` that downloads."""

    def __init__(self, run, name):
        self.folder = tempfile.TemporaryDirectory()
        command = [run.world.program, "peer", "--server", spell_address(run.server.ip, run.server.port),
                   "--listen", spell_address(run.server.ip, 0), "--folder", self.folder.name, "--lang", "en", "--no-cache"]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, **streams)
        said = self.process.stderr.readline()
        self.process.stdin.write(f"GET {name}\n")
        self.process.stdin.flush()
        found = parse_address(said.strip().rpartition(" ")[2])
        demand(found, f"cardume peer does not say where it listens: {short(said)}")
        self.side = Side("peer", found)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stderr.close()
        self.folder.cleanup()


@check("partial / who still downloads gives what it has checked, and says so", phase="long")
def partial(run):
    content, found = a_content(run)
    name = run.name()
    owner = Owner(run, name, content, found, holds_back=[0])
    taker = Taker(run, name)
    try:
        root, server = owner.root, run.link(run.server)
        me = spell_address(*taker.side.sockaddr)
        soon(lambda: search_root(server, root).get(me) == (name, len(content), True), "not in the index as partial", 10)
        link = run.link(taker.side)
        answer = check_ok(link.ask("HAVE", root=root), "HAVE_OK")
        demand(answer.get("whole") is False and answer.get("root") == root, f"whole already: {short(answer)}")
        has = {first + n for first, count in answer["pieces"] for n in range(count)}
        demand(2 in has and 0 not in has, f"its pieces are {has}")
        head, data = link.list(root=root)
        demand((head["name"], head["size"], head["root"]) == (name, len(content), root), f"another file: {short(head)}")
        demand(data == b"".join(found), "another list")
        demand(link.fetch_root(root, name, **{"from": 2 * MIB}).data == content[2 * MIB:], "another last piece")
        for fields in ({}, {"length": 1}, {"from": MIB - 1, "length": 2}):
            check_refusal(link.ask("FETCH", root=root, **fields), "range")
        for method in ("FETCH", "PIECES"):
            check_refusal(link.ask(method, name=name), "not_found")
        demand(not pages(link, "LS", "files", 256), "LS shows what is not whole")
        check_ok(link.ask("HAVE", root=root), "HAVE_OK")  # takes the place of the first
        link.events.clear()
        owner.lets_go.set()
        soon(lambda: goes_on(link) or any(event.get("whole") for event in link.events), "no event says that it is whole", 10)
        demand(all(event["event"] == "HAVE" and event.get("root") == root for event in link.events), f"other events: {link.events}")
        demand([event["whole"] for event in link.events].count(True) == 1, f"whole more than once: {link.events}")
        has |= {first + n for event in link.events for first, count in event["pieces"] for n in range(count)}
        demand(has == {0, 1, 2} or link.events[-1]["whole"], f"in the end it has {has}")
        demand(link.fetch_root(root, name).data == content, "other bytes")
        demand(check_ok(link.ask("HAVE", root=root), "HAVE_OK").get("whole") is True, "HAVE does not say that it is whole")
        soon(lambda: search_root(server, root).get(me) == (name, len(content), False), "in the index it stays partial", 10)
    finally:
        owner.lets_go.set()
        taker.close()
        owner.close()


# ------------------------------------------------------------------------------------------------------ at the very end


@check("at the end / it still answers", BOTH, "last")
def still_alive(run, side):
    link = run.link(side)
    link.ping()
    demand(run.http(side, "/").status == 200, "HTTP does not answer")


@check("at the end / nothing of this script is left in the index", None, "last")
def nothing_left(run):
    link = run.link(run.server)

    def ours(address):
        # Somebody else may have taken one of these addresses since; then its files do not hold our token.
        answer = link.ask("LS", peer=address)
        names = [file["name"] for file in answer.get("files", [])]
        return "error" not in answer and (not names or any(run.world.token in name for name in names))

    def left():
        return [entry["peer"] for entry in all_peers(link) if entry["peer"] in run.world.joined and ours(entry["peer"])]

    soon(lambda: not left(), "some addresses that were joined here are still listed")


# ------------------------------------------------------------------------------------------------------------- running


def look_at_peer(world):
    """What the peer shares, and whether it gives it without asking a person."""
    run = Run(world)
    try:
        link = run.link(world.peer)
        world.files = pages(link, "LS", "files", 256, most_pages=40)
        for entry in world.files:
            check_file(entry)
        full = [file for file in world.files if file["size"] > 0]
        if not full:
            world.no_bodies = "the peer shares no file that is not empty"
            return
        # A middling file first: long enough for ranges, short enough to be read whole.
        world.file = min(full, key=lambda file: (file["size"] < 1000, abs(file["size"] - 500_000)))
        world.big = max(full, key=lambda file: file["size"])
        for file in (world.file, world.big):
            got = link.fetch(file["name"], length=1)
            if got.refusal:
                world.no_bodies = f"the peer does not give {file['name']!r}: {short(got.refusal)}"
    except Failed as failure:
        world.files = world.files or []
        if run.links and any(event.get("reason") == "consent" for event in run.links[0].events):
            world.no_bodies = "a person is asked for consent"
        else:
            world.no_bodies = world.fault = f"looking at what the peer shares failed: {failure}"
    finally:
        run.close()


PRINTING = threading.Lock()


def report(line):
    with PRINTING:
        # A name of a file may hold what this terminal cannot write.
        data = line.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
        print(data.decode(sys.stdout.encoding or "utf-8"), flush=True)


def perform(world, name, function, role):
    """One check. True: passed, False: failed, None: skipped."""
    run = Run(world)
    try:
        if role:
            function(run, world.server if role == "server" else world.peer)
        else:
            function(run)
    except Skipped as skipped:
        report(f"skip {name}: {skipped}")
        return None
    except Failed as failure:
        report(f"FAIL {name}: {failure}")
        return False
    except Exception as error:  # what comes from outside may break this script too, and that is a finding
        report(f"FAIL {name}: {error!r}")
        return False
    finally:
        run.close()
    report(f"ok   {name}")
    return True


def perform_all(world, only, slow):
    results = []
    chosen = [entry for entry in CHECKS if only in entry[0]]

    def one_by_one(phase):
        for name, function, role, _ in [entry for entry in chosen if entry[3] == phase]:
            if Clock.stop == float("inf") or time.monotonic() < Clock.began + QUICK_BUDGET:
                results.append(perform(world, name, function, role))
            else:
                report(f"FAIL {name}: no time left, what came before took {QUICK_BUDGET:g} s")
                results.append(False)

    one_by_one("quick")
    Clock.stop = float("inf")  # hashes take their time, in this script above all
    one_by_one("long")
    if slow:  # all at once: each one mostly waits
        threads = [threading.Thread(target=lambda entry=entry: results.append(perform(world, *entry[:3])))
                   for entry in chosen if entry[3] == "slow"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    one_by_one("last")
    return results


def address_argument(text):
    found = parse_address(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not IP:PORT or [IPv6]:PORT")
    return found


def main():
    parser = argparse.ArgumentParser(prog="conformance", description="Checks a running cardume server and peer against PROTOCOL.md.")
    parser.add_argument("--server", required=True, type=address_argument, metavar="IP:PORT")
    parser.add_argument("--peer", required=True, type=address_argument, metavar="IP:PORT")
    parser.add_argument("--folder", metavar="DIR", help="what the peer shares: files come and change there")
    parser.add_argument("--program", metavar="FILE", help="the program cardume, to download from peers of this script")
    parser.add_argument("--slow", action="store_true", help="check the deadlines too, which takes about 80 s more")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the checks whose names hold this text")
    arguments = parser.parse_args()
    world = World(Side("server", arguments.server), Side("peer", arguments.peer), arguments.folder, arguments.program)
    for side in (world.server, world.peer):
        try:
            Link(side).close()
        except Failed as failure:
            print(failure, file=sys.stderr)
            return 2
    look_at_peer(world)
    results = perform_all(world, arguments.only, arguments.slow)
    passed, failed = results.count(True), results.count(False)
    report(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


register_bad_names()

if __name__ == "__main__":
    sys.exit(main())
