"""Section 6: LS, PEERS and SEARCH, their pages and their cursors."""

import random

from asking import all_peers, goes_on, holders, new_file, new_root, pages, search, search_root, server_files, soon
from basics import Failed, Skipped, check_cursor, check_ok, check_refusal, demand, short
from checks import BOTH, check


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
    """Opens `count` joined connections at once. Returns the addresses, unordered."""
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
    # The cursor most likely refers to the last entry of the page.
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
    # Several names, one of them complete: still one provider, and a complete one.
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
    # An entry that stays is listed once, whatever leaves and arrives between two pages.
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
        # The limit of connections of one address is set by the operator, or by the open files of this shell.
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
