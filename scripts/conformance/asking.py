"""Requests common to many checks: paged lists, providers, new files and roots."""

import secrets
import time

from basics import check_cursor, check_file, check_ok, demand, parse_address, short, whole


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
    """The entry of each provider of this content."""
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
    """Retries after a closed connection, until the server has received the end."""
    until = time.monotonic() + within
    while not condition():
        demand(time.monotonic() < until, why)
        time.sleep(0.02)


def new_file(run, size=1, ending=".bin", **known):
    return {"name": run.name(ending), "size": size, **known}


def new_root():
    return secrets.token_hex(32)


def goes_on(link):
    """After a refusal without a framing error the connection still answers."""
    link.ping()


def alive(run, side):
    run.link(side).ping()
