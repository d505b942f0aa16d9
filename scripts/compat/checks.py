"""Common parts of these programs: counted checks, listeners, and helpers for sockets and files.

A check that fails prints one line. A *note* is a check of something that the description leaves open: it is printed
and not counted, unless --strict makes it a check like the others.
"""

import hashlib
import os
import signal
import socket
import sys
import threading
import time


class Bad(Exception):
    """The other side broke the format; the text has the reason."""


class Checks:
    def __init__(self, strict=False, out=None):
        self.strict = strict
        self.out = out or (lambda line: print(line, flush=True))
        self.done = 0
        self.failed = []
        self.lock = threading.Lock()

    def that(self, name, fine, detail=""):
        with self.lock:
            self.done += 1
            if not fine:
                self.failed.append(name)
                self.out(f"FAILED {name}" + (f": {detail}" if detail else ""))
        return fine

    def same(self, name, wanted, ask):
        """ask() must return `wanted`; an exception is a failure as well."""
        fine, detail = self._ask(wanted, ask)
        return self.that(name, fine, detail)

    def note(self, name, wanted, ask):
        fine, detail = self._ask(wanted, ask)
        if self.strict:
            return self.that(name, fine, detail)
        if not fine:
            self.out(f"note   {name}: {detail}")
        return fine

    @staticmethod
    def _ask(wanted, ask):
        try:
            got = ask()
        except (OSError, Bad, ValueError, LookupError) as error:
            return False, f"wanted {wanted!r}, got {type(error).__name__}: {error}"
        fine = got in wanted if isinstance(wanted, set) else got == wanted
        return fine, f"wanted {wanted!r}, got {got!r}"

    def group(self, work, *args):
        """An unexpected failure ends the group, not the program."""
        try:
            work(*args)
        except (OSError, Bad, ValueError, LookupError, AttributeError, TypeError) as error:
            self.that(work.__name__, False, f"{type(error).__name__}: {error}")

    def end(self):
        self.out(f"{self.done} checks, {len(self.failed)} failed")
        return 1 if self.failed else 0


class Listener:
    """A threaded TCP server: handle(connection, address) runs in a thread of its own for each connection."""

    def __init__(self, handle, host="127.0.0.1", port=0, timeout=30.0, close=True):
        self.handle, self.timeout, self.close = handle, timeout, close
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self.socket.listen(200)
        self.socket.settimeout(0.2)
        self.host, self.port = self.socket.getsockname()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._loop, daemon=True)
        self.thread.start()

    def _loop(self):
        while not self.stopped.is_set():
            try:
                connection, address = self.socket.accept()
            except TimeoutError:
                continue
            except OSError:
                break
            connection.settimeout(self.timeout)
            threading.Thread(target=self._one, args=(connection, address), daemon=True).start()
        self.socket.close()

    def _one(self, connection, address):
        try:
            self.handle(connection, address)
        except (OSError, Bad, ValueError, LookupError, TypeError, AttributeError):
            pass  # these systems drop a connection on errors
        finally:
            if self.close:
                connection.close()

    def stop(self):
        """Frees the port."""
        self.stopped.set()
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
        except OSError:
            pass
        self.thread.join(2.0)


def pair(text, host=None):
    """`host:port`, or `port` alone where a host is given."""
    at, _, port = text.rpartition(":")
    if not port.isdigit() or not (at or host):
        raise SystemExit(f"not an address: {text}")
    return at or host, int(port)


def open_to(address, timeout, source=None):
    """A connection that sends small pieces at once."""
    connection = socket.create_connection(address, timeout, (source, 0) if source else None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ended(connection, within):
    """All bytes until the other side closes; None on a timeout."""
    rest = b""
    until = time.monotonic() + within
    while True:
        left = until - time.monotonic()
        if left <= 0:
            return None
        connection.settimeout(left)
        try:
            piece = connection.recv(4096)
        except TimeoutError:
            return None
        if not piece:
            return rest
        rest += piece


def until_quiet(connection, quiet, first):
    """All bytes until the other side closes or stays silent."""
    said = b""
    connection.settimeout(first)
    try:
        while piece := connection.recv(65536):
            said += piece
            connection.settimeout(quiet)
    except TimeoutError:
        pass
    return said


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def same_file(out, expect):
    """Prints the received size and, with a file to compare, whether the content is the same."""
    size, digest = os.path.getsize(out), sha256(out)
    print(f"got {size} bytes, sha256 {digest}", flush=True)
    if expect and (size != os.path.getsize(expect) or digest != sha256(expect)):
        print(f"FAILED the bytes differ from {expect}", file=sys.stderr, flush=True)
        return 1
    return 0


def until_told():
    """Waits for SIGTERM or SIGINT."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    return told
