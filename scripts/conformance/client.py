"""An independent client: sides, connections with the framing of section 2, FETCH and PIECES, and HTTP by hand."""

import itertools
import json
import re
import socket
import ssl
import time
import urllib.parse

from basics import (
    HASHING, HEAD_LIMIT, LAST_MOMENT, MAX_BODY, MIB, PATIENCE, PREFIX, Ended, Failed, check_file, check_ok,
    check_refusal, compact, demand, short, spell_address, whole,
)


class Clock:
    """The deadline of quick checks; slow checks have none."""

    began = time.monotonic()
    stop = began + LAST_MOMENT


def tls_context():
    """TLS 1.3 without a check of the key: pins are checked elsewhere."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Side:
    """One of the two programs under test. With a TLS context every link to it is encrypted."""

    def __init__(self, role, text, tls=None):
        self.role = role
        self.tls = tls
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
        self.kept = []  # responses received out of order
        self.ids = itertools.count(1)
        self.over = False
        self.patience = PATIENCE
        self.opening = None
        self.sock = socket.socket(socket.AF_INET6 if side.ip.version == 6 else socket.AF_INET)
        if small_buffer:  # keeps gigabytes from arriving when only the HTTP header is read
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        self.sock.settimeout(PATIENCE)
        try:
            self.sock.connect(side.sockaddr)
        except OSError as error:
            self.sock.close()
            raise Failed(f"cannot connect to {side}: {error}") from None
        self.began = time.monotonic()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if side.tls:
            try:
                self.sock = side.tls.wrap_socket(self.sock)
            except OSError as error:
                raise Failed(f"no TLS with {side}: {error}") from None

    def close(self):
        self.sock.close()

    # -- bytes

    def send(self, data):
        """Reads on after a failed write: the other side may have sent the reason before closing."""
        try:
            self.sock.settimeout(PATIENCE)
            self.sock.sendall(data)
        except TimeoutError:
            raise Failed("does not take what is sent to it") from None
        except OSError:
            pass

    def stop_sending(self):
        try:
            # The shutdown of an SSLSocket would end its decryption too.
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
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
        # The timeout restarts with each received chunk: a slow line is no fault.
        while len(self.buffer) < count:
            if not self.more_bytes(time.monotonic() + PATIENCE):
                raise Ended(f"the link ended {count - len(self.buffer)} bytes before the end of a body")
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def ends(self, within=PATIENCE):
        """The other side must close without sending more."""
        until = time.monotonic() + within
        while not self.over:
            demand(not self.buffer, f"expected the end of the link, got {short(bytes(self.buffer))}")
            try:
                self.more_bytes(until)
            except Failed:
                raise Failed("the link was not closed") from None
        demand(not self.buffer, f"expected the end of the link, got {short(bytes(self.buffer))}")

    def swallow(self, within=PATIENCE):
        """All bytes until the end or until silence. For hostile input with any response."""
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
        """The next response and its body. Only FETCH and PIECES have a body."""
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
        """The response with this id and its body; responses come in any order."""
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
        """Sends a request written by hand, for spellings that json.dumps cannot produce."""
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
        """Downloads by root; `name` is the name at the provider."""
        got = self.fetched(self.request("FETCH", root=root, **fields), name, fields)
        demand(got.refusal is None, f"refused: {short(got.refusal)}")
        return got

    def list(self, **fields):
        """PIECES: the fields common to all headers, and the bytes of the list."""
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
        """All responses to one FETCH, joined and checked against sections 6.7 and 7.1."""
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


class HttpAnswer:
    def __init__(self, version, status, headers):
        self.version, self.status, self.headers, self.body = version, status, headers, b""

    def get(self, name):
        return self.headers.get(name.lower())


def read_http(link, method="GET", body_limit=4 * MIB, body=True):
    """One HTTP response, parsed by hand: http.client hides ends and mixes pipelined responses."""
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
