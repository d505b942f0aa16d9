"""Section 7: FETCH and CANCEL, and LS of a peer."""

import random

from asking import goes_on, pages
from basics import (
    MAX_BODY, MAX_INT, MIB, Skipped, check_file, check_ok, check_refusal, compact, demand, parse_address, short,
)
from checks import check


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
    # A small buffer, so that the CANCEL arrives before the whole file is sent.
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
