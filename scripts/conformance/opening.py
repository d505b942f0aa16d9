"""Section 3: the opening."""

import ipaddress
import re
import time

from basics import (
    HEAD_LIMIT, SERVER_HEAD_LIMIT, Skipped, check_ok, check_refusal, compact, demand, parse_address, short, whole,
)
from checks import BOTH, check


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


@check("opening / max_head is what section 3.1 says", BOTH)
def opening_max_head(run, side):
    run.link(side)
    limit = SERVER_HEAD_LIMIT if side.role == "server" else HEAD_LIMIT
    demand(side.max_head == limit, f"max_head is {side.max_head}, section 3.1 says {limit}")


@check("opening / you is where the link comes from", BOTH)
def opening_you(run, side):
    link = run.link(side)
    you = parse_address(link.opening.get("you"))
    demand(you, f"you is no address: {short(link.opening)}")
    # Behind NAT the other side sees a different address; loopback has no NAT.
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
    # The limit of 64 KiB applies to the opening, not to further bytes of the same packet.
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
    # Bytes before the end are unspecified, but must not be a response.
    for line in (b'{"id":1,"method":"PING"}', b'{"cardume":"one"}', b'{"cardume":', b"{}", b"{", b'{"cardume":1'):
        link = run.raw(side)
        link.send(line + b"\n")
        said = link.swallow()
        demand(b'"status"' not in said and b'"role"' not in said, f"{line!r} was taken: {short(said)}")
        demand(link.over, f"the link stays open after {line!r}")


@check("opening / garbage as first byte ends the link", BOTH)
def opening_garbage(run, side):
    # 0x16 begins TLS; this one is no hello.
    for data in (b"\x00", b"\x16\x03\x01\x00\x05hello", b"SSH-2.0-x\r\n", b"[1]\n", b"HELLO\r\n",
                 b"\xff\xfe{\x00", b"\x13BitTorrent protocol" + bytes(48), b'"cardume"\n'):
        link = run.raw(side)
        link.send(data)
        said = link.swallow()
        demand(link.over, f"the link stays open after {data[:12]!r}")
        demand(b'"role"' not in said and b" 200 " not in said, f"{data[:12]!r} got {short(said)}")


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
