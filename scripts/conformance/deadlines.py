"""Section 9: deadlines. These checks are slow and run only with --slow."""

import select
import time

from asking import holders, listed, new_file, search, soon
from basics import MAX_INT, MIB, Failed, Skipped, demand
from checks import BOTH, check
from client import http_request, read_http


def closed_after(link, seconds, low, high, drip=None, what="the link"):
    """The connection must close after about `seconds`. `drip` is sent once a second meanwhile."""
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
        link.send(b"\n")  # an empty line is ignored, but counts as a byte
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
    """Sends PINGs without reading until the other side stops reading. False when that never happens."""
    line = b'{"id":%d,"method":"PING"}\n' % MAX_INT
    batch = line * 2000
    link.sock.setblocking(False)
    sent, last = 0, time.monotonic()
    while time.monotonic() - last < 3.0:
        try:
            # A batch may be sent in part; the rest of a line does not matter now.
            sent += link.sock.send(batch)
            last = time.monotonic()
        except BlockingIOError:
            select.select([], [link.sock], [], 0.5)
        except OSError:
            return True  # closed at once: the queue is bounded as well
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
    # Nothing is read here either, so the end shows as a hang-up or an error.
    watch = select.poll()
    watch.register(link.sock, getattr(select, "POLLRDHUP", 0))
    while time.monotonic() - start < 68:
        if any(state & (select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0))
               for _, state in watch.poll(1000)):
            return
    raise Failed("the link is still open after 68 s")
