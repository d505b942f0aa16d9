"""Tiny index servers and peers of each family, to test the checkers: the behaviour of the original programs in few lines.

`bugs` is a set of deliberate faults, by name; the checkers must notice each.
"""

import json
import os
import socket
import threading
import time

from checks import Listener
from uc3m import PROFILES, status_bytes

WIDTH = 255


class Uc3mIndex:
    """A UC3M index server."""

    BUGS = ("connect-twice", "forgets-on-disconnect", "keeps-on-unregister", "lists-everyone", "one-at-a-time",
            "status-form", "cuts-names", "no-limit", "case", "stays-open", "wrong-port", "date-as-user", "odd-date", "locks-out", "two-writes", "unpadded")
    FIELDS = {"REGISTER": 1, "UNREGISTER": 1, "CONNECT": 2, "DISCONNECT": 1, "PUBLISH": 3, "DELETE": 2,
              "LIST_USERS": 1, "LIST_CONTENT": 2, "GET_FILE": 2}
    OTHER = {"REGISTER": 2, "UNREGISTER": 2, "CONNECT": 3, "DISCONNECT": 3, "PUBLISH": 4, "DELETE": 4,
             "LIST_USERS": 3, "LIST_CONTENT": 4, "GET_FILE": 3}

    def __init__(self, profile, bugs=()):
        self.profile, self.bugs = PROFILES[profile], set(bugs)
        self.users = {}  # name -> {"at": (ip, port) or None, "files": {name: description}}
        self.lock = threading.Lock()
        self.turn = threading.Lock()
        self.kept = []
        self.listener = Listener(self.handle, timeout=10.0, close="stays-open" not in self.bugs)
        self.port = self.listener.port

    def stop(self):
        self.listener.stop()
        for connection in self.kept:
            connection.close()

    def handle(self, connection, address):
        if "one-at-a-time" in self.bugs:
            with self.turn:
                return self.one(connection, address)
        return self.one(connection, address)

    def word(self, connection, ends=b"\0"):
        said = b""
        while len(said) < 2000:
            piece = connection.recv(4096, socket.MSG_PEEK)
            if not piece:
                raise ValueError("cut off")
            at = min((at for at in map(piece.find, (ends[i:i + 1] for i in range(len(ends)))) if at >= 0), default=-1)
            said += connection.recv(len(piece) if at < 0 else at + 1)
            if at >= 0:
                return said[:-1]
        raise ValueError("endless")

    @staticmethod
    def is_date(word):
        return len(word) == 19 and word[2:3] == b"/" and word[5:6] == b"/" and word[13:14] == b":"

    @staticmethod
    def is_ip(word):
        return word.count(b".") == 3

    def one(self, connection, address):
        self.kept.append(connection)
        op = self.word(connection, b"\0\n").decode("latin-1")
        if "case" not in self.bugs:
            op = op.upper().replace(" ", "_")
        if op not in self.FIELDS:
            return
        words, dates = [], 0
        while len(words) < self.FIELDS[op] or len(words) + dates < self.FIELDS[op] + self.profile.date:
            word = self.word(connection)
            if self.is_date(word) and not dates and "date-as-user" not in self.bugs:
                dates += 1
            elif not (op == "CONNECT" and self.is_ip(word) and words):
                words.append(word)
            if "date-as-user" in self.bugs and len(words) == self.FIELDS[op]:
                break
        # A client without a date service sends other words there.
        if self.profile.date and not dates and not self.bugs & {"odd-date", "date-as-user"}:
            words = words[1:]
        reply = self.answer(op, words, address[0])
        if "two-writes" in self.bugs and len(reply) > 100:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(reply[:100])
            time.sleep(0.01)
            reply = reply[100:]
        connection.sendall(reply)
        if "stays-open" not in self.bugs:
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(1.0)
            while connection.recv(4096):
                pass

    def status(self, number):
        if "status-form" in self.bugs:
            return b"%d\n" % number
        return status_bytes(number, self.profile)

    def fixed(self, word, width):
        return word.encode().ljust(width, b" " if "unpadded" in self.bugs else b"\0") if self.profile.fixed else word.encode() + b"\0"

    def answer(self, op, words, ip):
        if "no-limit" not in self.bugs and max(map(len, words)) > WIDTH:
            return self.status(self.OTHER[op])
        try:
            words = [word.decode() for word in words]
        except UnicodeDecodeError:
            return self.status(self.OTHER[op])
        if "cuts-names" in self.bugs:
            words = [word.partition("'")[0] for word in words]
        if not words[0]:
            return self.status(self.OTHER[op])
        with self.lock:
            number, rows = getattr(self, op.lower())(ip, *words[:self.FIELDS[op]])
        if number or rows is None:
            return self.status(number)
        if op == "GET_FILE":
            return self.status(0) + b"".join(word.encode() + b"\0" for word in rows)
        count = b"%04d" % len(rows) if self.profile.fixed else b"%d\0" % len(rows)
        widths = (256, 16, 6) if op == "LIST_USERS" else (256, 256)
        return self.status(0) + count + b"".join(self.fixed(w, n) for row in rows for w, n in zip(row, widths))

    def state(self, user):
        """0, 1 no such user, 2 not connected."""
        return 1 if user not in self.users else 2 if self.users[user]["at"] is None else 0

    def register(self, ip, user):
        if user in self.users:
            return 1, None
        self.users[user] = {"at": None, "files": getattr(self, "left", {}).pop(user, {})}
        return 0, None

    def unregister(self, ip, user):
        if user not in self.users:
            return 1, None
        gone = self.users.pop(user)
        if "keeps-on-unregister" in self.bugs:
            self.left = getattr(self, "left", {})
            self.left[user] = gone["files"]
        return 0, None

    def connect(self, ip, user, port):
        state = self.state(user)
        if state == 1:
            return 1, None
        if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            return 3, None
        if state == 0 and "connect-twice" not in self.bugs and ("locks-out" in self.bugs or self.listens(user)):
            return 2, None
        self.users[user]["at"] = ip, str(int(port) + ("wrong-port" in self.bugs))
        return 0, None

    def listens(self, user):
        """The program of a user is still there: its port answers."""
        ip, port = self.users[user]["at"]
        try:
            socket.create_connection((ip, int(port)), 1.0).close()
        except OSError:
            return False
        return True

    def disconnect(self, ip, user):
        state = self.state(user)
        if not state:
            self.users[user]["at"] = None
            if "forgets-on-disconnect" in self.bugs:
                self.users[user]["files"] = {}
        return state, None

    def publish(self, ip, user, file, description):
        state = self.state(user)
        if not state:
            if file in self.users[user]["files"]:
                return 3, None
            self.users[user]["files"][file] = description
        return state, None

    def delete(self, ip, user, file):
        state = self.state(user)
        if not state and self.users[user]["files"].pop(file, None) is None:
            return 3, None
        return state, None

    def list_users(self, ip, user):
        return self.state(user), [(name, *(entry["at"] or ("0.0.0.0", "0"))) for name, entry in self.users.items()
                                  if entry["at"] or "lists-everyone" in self.bugs]

    def list_content(self, ip, user, other):
        state = self.state(user)
        if not state and other not in self.users:
            return 3, None
        rows = list(self.users[other]["files"].items()) if not state else []
        return state, rows if self.profile.descriptions else [row[:1] for row in rows]

    def get_file(self, ip, user, other):
        state = self.state(user)
        if not state and self.state(other):
            return 1, None
        return state, list(self.users[other]["at"]) if not state else None


class UfabcJsonIndex:
    """The index of ufabc-json; `root` is the folder of its listings."""

    BUGS = ("newline", "forgets", "adds", "lists-anything", "substring", "not-a-list")

    def __init__(self, root=None, bugs=()):
        self.root, self.bugs, self.peers = root and os.path.realpath(root), set(bugs), {}
        self.listener = Listener(self.handle)
        self.port = self.listener.port

    def stop(self):
        self.listener.stop()

    def handle(self, connection, address):
        tail = b"\n" if "newline" in self.bugs else b""
        try:
            while said := connection.recv(65536):
                asked = json.loads(said.decode())
                data = asked["data"]
                if asked["method"] == "JOIN":
                    self.peers[address[1]] = self.names(data.get("filesPath") or data["filePath"])
                    connection.sendall(b"JOIN_OK" + tail)
                elif asked["method"] == "SEARCH":
                    found = [port for port, names in list(self.peers.items()) if self.has(names, data["query"])]
                    connection.sendall(("" if "not-a-list" in self.bugs and not found else str(found) + "").encode()
                                       or b"none")
                elif asked["method"] == "UPDATE":
                    old = self.peers.get(address[1], []) if "adds" in self.bugs else []
                    self.peers[address[1]] = old + [] if "forgets" in self.bugs else old + data["files"]
                    connection.sendall(b"UPDATE_OK" + tail)
        except RecursionError:
            pass
        finally:
            self.peers.pop(address[1], None)

    def has(self, names, query):
        return any(query in name for name in names) if "substring" in self.bugs else query in names

    def names(self, path):
        inside = self.root and os.path.realpath(path).startswith(self.root + os.sep)
        if not (inside or "lists-anything" in self.bugs) or not os.path.isdir(path):
            return []
        return os.listdir(path)


class RedeIndex:
    """The index of rede-p2p: public ports from `first` on, a peer for each address."""

    BUGS = ("greets-with-newline", "keeps-the-gone", "no-slash", "quit-ignored", "wrong-port")

    def __init__(self, first=5455, bugs=()):
        self.bugs, self.next, self.peers, self.lock = set(bugs), first, {}, threading.Lock()
        self.listener = Listener(self.handle)
        self.port = self.listener.port

    def stop(self):
        self.listener.stop()

    def handle(self, connection, address):
        with self.lock:
            port, self.next = self.next, self.next + 1
        self.peers[address] = port + ("wrong-port" in self.bugs)
        try:
            connection.sendall(b"%d" % port + (b"\n" if "greets-with-newline" in self.bugs else b""))
            while said := connection.recv(1024):
                if said.strip() == b"peers":
                    rows = [f"{ip}:{port}" for (ip, _), port in list(self.peers.items())]
                    connection.sendall(("/".join(rows) + ("" if "no-slash" in self.bugs else "/")).encode())
                elif said == b"quit" and "quit-ignored" not in self.bugs:
                    break
        finally:
            if "keeps-the-gone" not in self.bugs:
                self.peers.pop(address, None)
