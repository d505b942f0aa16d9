"""Section 7: PIECES, HAVE, roots, and a download with each piece verified."""

import os
import random
import secrets
import time

import blake3
from asking import all_peers, goes_on, new_root, pages, search_by, search_root, soon
from basics import HASHING, MAX_INT, MIB, Skipped, check_ok, check_refusal, demand, short
from checks import check


def middling(run):
    """A file of several pieces, few enough for hashing in plain Python."""
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
    """The verified list of the medium file."""
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
    # The UPDATE may still be in flight.
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
    for _ in range(20):  # above the limit of subscriptions, but each one ends
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
    # The last piece proves the list. The others are requested together.
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
    """A temporary file in the folder of the peer, for one check."""

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
        """True when the peer lists the file."""
        soon(lambda: any(file["name"] == self.name for file in pages(link, "LS", "files", 256, most_pages=40)),
             "a new file was not shared within 20 s", 20)


@check("WAITING / hashing: the list of a giant file that has just come", phase="long")
def waiting_hashing(run):
    with Guest(run) as guest:
        guest.write(size=2_000_000_000)
        link = run.link(run.peer)
        # A noticed file is debounced, then hashed: this request arrives before the hash is known.
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
