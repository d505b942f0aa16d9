"""The state common to all checks, the run of one check, and the list of checks."""

import itertools
import random
import re
import secrets

from basics import Failed, Skipped, check_ok, demand, parse_address, short, whole
from client import Link, http_request, read_http


class World:
    """The state common to all checks: both sides, the peer's files, the joined addresses."""

    def __init__(self, server, peer, folder=None, program=None):
        self.server, self.peer, self.folder, self.program = server, peer, folder, program
        self.token = secrets.token_hex(6)
        self.numbers = itertools.count(1)
        self.joined = set()
        self.names = []
        self.files = None  # of the peer, filled in by look_at_peer
        self.no_bodies = None  # the reason to skip body checks
        self.fault = None  # the same, when the peer broke a rule
        self.file = self.big = None
        self.list = None  # the result of `known_list`
        self.content = None  # the result of `a_content`


class Run:
    """A running check. Its connections are closed at the end."""

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
        """A unique file name."""
        return f"conformance-{self.world.token}-{next(self.world.numbers)}{ending}"

    def join(self, link, files=(), **fields):
        """Joins under a port free in the index. Returns the JOIN_OK."""
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
        """A new joined connection and its JOIN_OK."""
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
    """Registers a check. With `on` the check runs once for each side, passed as an argument."""

    def register(function):
        for role in on or (None,):
            CHECKS.append((f"{name}, {role}" if role else name, function, role, phase))
        return function

    return register
