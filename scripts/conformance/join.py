"""Section 6: JOIN."""

import ipaddress
import random
import socket
import struct
import time

from asking import all_peers, goes_on, holders, listed, new_file, new_root, search, server_files, soon
from basics import (
    MAX_INT, SERVER_HEAD_LIMIT, Skipped, check_ok, check_refusal, demand, parse_address, short, spell_address,
)
from checks import check


@check("JOIN / answer, and the peer is found")
def join_answer(run):
    file = new_file(run, 11)
    link, joined = run.member([file])
    demand(joined["files"] == 1, f"files is {joined['files']}")
    ip = parse_address(link.opening["you"])[0]
    demand(parse_address(joined["you"])[0] == ip, f"listed as {joined['you']}, the link comes from {ip}")
    requester = run.link(run.server)  # not joined
    found = search(requester, file["name"])
    demand(len(found) == 1, f"{len(found)} holders")
    demand(found[0]["peer"] == joined["you"] and found[0]["size"] == 11, f"holder is {short(found[0])}")
    demand(found[0]["partial"] is False, "partial is not false")
    demand(server_files(requester, joined["you"]) == {file["name"]: 11}, "LS gives another list")
    demand({"peer": joined["you"], "files": 1} in [{"peer": e["peer"], "files": e["files"]}
                                                   for e in all_peers(requester)], "PEERS does not show it")


@check("JOIN / without files")
def join_empty(run):
    link = run.link(run.server)
    joined = run.join(link)
    demand(joined["files"] == 0, f"files is {joined['files']}")
    demand(server_files(link, joined["you"]) == {}, "LS is not empty")


@check("JOIN / a name that comes twice counts once, the last one")
def join_twice(run):
    file, other = new_file(run, 1), new_file(run, 5)
    link, joined = run.member([file, other, {**file, "size": 2}, {**file, "size": 3}])
    demand(joined["files"] == 2, f"files is {joined['files']}")
    demand(holders(link, file["name"]) == {joined["you"]: 3}, "not the last one counts")


@check("JOIN / roots are passed on, sizes to 2^53-1")
def join_sizes(run):
    files = [new_file(run, size) for size in (0, 1, 2**31, 2**32, 2**40 + 1, MAX_INT)]
    files[0]["root"], files[1]["root"], files[2]["unknown"] = None, new_root(), [1]
    files[3]["partial"], files[4]["partial"] = True, None
    link, joined = run.member(files)
    for file in files:
        found = search(link, file["name"])
        demand(len(found) == 1 and found[0]["size"] == file["size"], f"size {file['size']} gives {short(found)}")
        demand(found[0].get("root") == file.get("root"), f"root {file.get('root')} gives {short(found)}")
        demand(found[0]["partial"] is bool(file.get("partial")), f"partial {file.get('partial')} gives {short(found)}")


@check("JOIN / in parts is invisible until the last part")
def join_parts(run):
    first, second, third = (new_file(run, size) for size in (1, 2, 3))
    link, requester = run.link(run.server), run.link(run.server)
    before = {entry["peer"] for entry in all_peers(requester)}
    while (port := random.randint(1024, 65535)) in {parse_address(peer)[1] for peer in before}:
        pass
    address = spell_address(parse_address(link.opening["you"])[0], port)
    run.world.joined.add(address)
    check_ok(link.ask("JOIN", port=port, files=[first], more=True), "JOIN_MORE")
    check_ok(link.ask("JOIN", part=1, files=[second, {**first, "size": 9}], more=True), "JOIN_MORE")
    demand(not listed(requester, address), "PEERS shows it before its last part")
    demand(search(requester, first["name"]) == [] == search(requester, second["name"]), "SEARCH finds it too early")
    check_refusal(requester.ask("LS", peer=address), "not_found")
    check_refusal(link.ask("UPDATE", files=[third]), "not_joined")
    answer = link.ask("JOIN", part=2, files=[third])
    run.note_join(answer)
    demand(answer["you"] == address and answer["files"] == 3, f"expected {address} and 3 files: {short(answer)}")
    demand(server_files(requester, address) == {first["name"]: 9, second["name"]: 2, third["name"]: 3}, "other files")


@check("JOIN / an end in the middle of parts leaves nothing")
def join_parts_end(run):
    file = new_file(run)
    link, requester = run.link(run.server), run.link(run.server)
    check_ok(link.ask("JOIN", port=random.randint(1024, 65535), files=[file], more=True), "JOIN_MORE")
    link.close()
    time.sleep(0.1)
    demand(search(requester, file["name"]) == [], "files of an unfinished JOIN are found")


@check("JOIN / part 0 starts anew")
def join_part_0(run):
    first, second = new_file(run), new_file(run)
    link = run.link(run.server)
    check_ok(link.ask("JOIN", port=random.randint(1024, 65535), files=[first], more=True), "JOIN_MORE")
    joined = run.join(link, [second], part=0, more=False)
    demand(server_files(link, joined["you"]) == {second["name"]: 1}, "files of the part before are still there")


@check("JOIN / parts out of order are refused")
def join_part_order(run):
    link = run.link(run.server)
    port = random.randint(1024, 65535)
    check_refusal(link.ask("JOIN", part=1, files=[]), "bad_request")
    check_refusal(link.ask("JOIN", part=1, port=port, files=[]), "bad_request")
    check_ok(link.ask("JOIN", port=port, files=[new_file(run)], more=True), "JOIN_MORE")
    check_refusal(link.ask("JOIN", part=2, files=[]), "bad_request")
    check_refusal(link.ask("UPDATE"), "not_joined")


@check("JOIN / the old list stands while the parts of a new one come")
def join_parts_again(run):
    old, new = new_file(run), new_file(run)
    link, joined = run.member([old])
    requester = run.link(run.server)
    port = parse_address(joined["you"])[1]
    check_ok(link.ask("JOIN", port=port, files=[new], more=True), "JOIN_MORE")
    demand(search(requester, new["name"]) == [], "an unfinished JOIN shows")
    run.note_join(link.ask("JOIN", part=1))
    demand(server_files(requester, joined["you"]) == {new["name"]: 1}, "the new list does not stand")
    demand(search(requester, old["name"]) == [], "the old list still stands")


@check("JOIN / a second one on the same link replaces the first")
def join_again(run):
    old, new = new_file(run), new_file(run)
    link, first = run.member([old])
    requester = run.link(run.server)
    port = parse_address(first["you"])[1]
    same = link.ask("JOIN", port=port, files=[new])
    run.note_join(same)
    demand(same["you"] == first["you"] and same["files"] == 1, f"expected {first['you']}: {short(same)}")
    demand(search(requester, old["name"]) == [] and holders(requester, new["name"]) == {same["you"]: 1}, "not replaced")
    moved = run.join(link, [old])
    if moved["you"] != first["you"]:
        demand(not listed(requester, first["you"]), "the address of the first JOIN is still listed")
    demand(holders(requester, old["name"]) == {moved["you"]: 1}, "the new address is not found")


@check("JOIN / in_use, and the session takes over")
def join_session(run):
    old, new = new_file(run), new_file(run)
    first, joined = run.member([old])
    port = parse_address(joined["you"])[1]
    second = run.link(run.server)
    check_refusal(second.ask("JOIN", port=port, files=[new]), "in_use")
    check_refusal(second.ask("JOIN", port=port, files=[new], session="0123456789abcdef" * 2), "in_use")
    demand(search(second, new["name"]) == [], "a refused JOIN left its files")
    goes_on(first)
    answer = second.ask("JOIN", port=port, files=[new], session=joined["session"])
    run.note_join(answer)
    demand(answer["you"] == joined["you"], f"another address: {short(answer)}")
    first.ends()
    time.sleep(0.1)  # the end of the old connection must not remove the new entry
    demand(holders(second, new["name"]) == {answer["you"]: 1}, "the new link's files are not found")
    demand(search(second, old["name"]) == [], "the old link's files are still found")
    third = run.link(run.server)
    check_refusal(third.ask("JOIN", port=port), "in_use")
    run.note_join(third.ask("JOIN", port=port, session=answer["session"]))
    second.ends()


@check("JOIN / an address is free again after the end of its link")
def join_after_end(run):
    file = new_file(run)
    link, joined = run.member([file])
    requester = run.link(run.server)
    link.close()
    soon(lambda: not listed(requester, joined["you"]), "PEERS still shows it 2 s after the end of its link")
    demand(search(requester, file["name"]) == [], "SEARCH still finds it")
    check_refusal(requester.ask("LS", peer=joined["you"]), "not_found")
    run.note_join(requester.ask("JOIN", port=parse_address(joined["you"])[1], session=joined["session"]))


@check("JOIN / a reset of the link removes it too")
def join_reset(run):
    link, joined = run.member([new_file(run)])
    requester = run.link(run.server)
    link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()
    soon(lambda: not listed(requester, joined["you"]), "PEERS still shows it 2 s after the reset of its link")


@check("JOIN / half-close is answered and then removes it")
def join_half_close(run):
    file = new_file(run)
    link, requester = run.link(run.server), run.link(run.server)
    taken = {parse_address(entry["peer"])[1] for entry in all_peers(requester)}
    port = random.choice([port for port in range(1024, 65536) if port not in taken])
    number = link.request("JOIN", port=port, files=[file])
    link.stop_sending()
    run.note_join(link.answer(number)[0])
    link.ends()
    soon(lambda: search(requester, file["name"]) == [], "SEARCH still finds it")


@check("JOIN / addresses that may not be advertised")
def join_address(run):
    link = run.link(run.server)
    foreign = ["192.0.2.7:4000", "[2001:db8::7]:4000", "0.0.0.0:4000", "255.255.255.255:4000", "[::]:4000"]
    if not parse_address(link.opening["you"])[0].is_loopback:
        foreign += ["127.0.0.1:4000", "[::1]:4000"]
    for address in foreign:
        answer = link.ask("JOIN", port=4000, advertise=address)
        demand("error" in answer, f"{address} was taken; does the operator allow that range? {short(answer)}")
        check_refusal(answer, "address")
    check_refusal(link.ask("LEAVE"), "not_joined")


@check("JOIN / the same address with another port may be advertised")
def join_advertise(run):
    link = run.link(run.server)
    ip = parse_address(link.opening["you"])[0]
    file = new_file(run)
    ips = [ip]
    if ip.is_loopback:  # any loopback address for a connection from loopback
        ips += [ipaddress.ip_address("127.0.0.2"), ipaddress.ip_address("127.9.8.7"), ipaddress.ip_address("::1")]
    for ip in ips:
        for _ in range(20):
            address = spell_address(ip, random.randint(1024, 65535))
            answer = link.ask("JOIN", port=random.randint(1024, 65535), advertise=address, files=[file])
            if answer.get("error", {}).get("code") != "in_use":
                break
        run.note_join(answer)
        demand(answer["you"] == address, f"advertised {address}, listed as {answer['you']}")
        demand(holders(link, file["name"]) == {address: 1}, f"{address} is not found")


@check("JOIN / an IPv4-mapped address is written as IPv4")
def join_mapped(run):
    link = run.link(run.server)
    ip = parse_address(link.opening["you"])[0]
    if ip.version != 4:
        raise Skipped("the link is IPv6")
    for _ in range(20):
        port = random.randint(1024, 65535)
        answer = link.ask("JOIN", port=port, advertise=f"[::ffff:{ip}]:{port}")
        if answer.get("error", {}).get("code") != "in_use":
            break
    if "error" in answer:  # the text does not require accepting this spelling
        check_refusal(answer, "bad_request", "address")
    else:
        run.note_join(answer)
        demand(answer["you"] == f"{ip}:{port}", f"listed as {answer['you']}")


@check("JOIN / what is no address is refused")
def join_bad_address(run):
    link = run.link(run.server)
    for address in ("", "localhost:4000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "::1:4000",
                    "127.0.0.1:4000 ", "127.0.0.1:-1", "[127.0.0.1]:4000", "127.1:4000", "x" * 2000, 4000, ["a"]):
        answer = link.ask("JOIN", port=4000, advertise=address)
        demand("error" in answer, f"{address!r} was taken: {short(answer)}")
        check_refusal(answer, "bad_request")
    for peer in ("", "localhost:1", "127.0.0.1:0", 7, None):
        check_refusal(link.ask("LS", peer=peer), "bad_request")
    goes_on(link)


@check("JOIN / 20,000 files in one part, 20,001 are too_large")
def join_limit(run):
    if run.server.max_head < SERVER_HEAD_LIMIT:
        raise Skipped("the server takes no heads of 1 MiB")
    stem = run.world.token
    files = [{"name": f"{stem}{place:x}", "size": 1} for place in range(20_001)]
    link = run.link(run.server)
    check_refusal(link.ask("JOIN", port=random.randint(1024, 65535), files=files), "too_large")
    goes_on(link)
    joined = run.join(link, files[:20_000])
    demand(joined["files"] == 20_000, f"files is {joined['files']}")
    demand(holders(link, files[19_999]["name"]) == {joined["you"]: 1}, "the last one is not found")
