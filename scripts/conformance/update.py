"""Section 6: UPDATE and LEAVE."""

from asking import goes_on, holders, listed, new_file, new_root, pages, search, search_root, server_files
from basics import check_ok, check_refusal, demand, parse_address, short, whole
from checks import check


@check("UPDATE / adds, replaces, removes")
def update(run):
    first, second = new_file(run, 1), new_file(run, 2)
    link, joined = run.member([first])
    asker = run.link(run.server)

    def updated(count, **fields):
        answer = check_ok(link.ask("UPDATE", **fields), "UPDATE_OK")
        demand(answer.get("files") == count and whole(answer["files"]), f"files must be {count}: {short(answer)}")

    updated(2, files=[second])
    demand(holders(asker, second["name"]) == {joined["you"]: 2}, "an added file is not found")
    updated(2, files=[{**second, "size": 7}])
    demand(holders(asker, second["name"]) == {joined["you"]: 7}, "the new size does not show")
    updated(1, remove=[first["name"], run.name()])
    demand(search(asker, first["name"]) == [], "a removed file is found")
    updated(1)
    updated(1, files=[first], remove=[second["name"]])
    demand(server_files(asker, joined["you"]) == {first["name"]: 1}, "another list")
    updated(0, remove=[first["name"], first["name"]])
    demand(server_files(asker, joined["you"]) == {}, "the list is not empty")
    demand(listed(asker, joined["you"]), "a peer without files must stay listed")


@check("UPDATE / a root is told later, changes, and is unknown again")
def update_root(run):
    first, second = new_root(), new_root()
    file = new_file(run, 7)
    link, joined = run.member([file])
    asker, you = run.link(run.server), joined["you"]

    def told(known, size=7, **fields):
        answer = check_ok(link.ask("UPDATE", files=[{**file, "size": size, **fields}]), "UPDATE_OK")
        demand(answer.get("files") == 1, f"files must be 1: {short(answer)}")
        entry = search(asker, file["name"])[0]
        demand((entry["root"], entry["size"]) == (known, size), f"SEARCH by name says {short(entry)}")
        partial = fields.get("partial", False)
        demand(entry["partial"] is partial, f"SEARCH by name says {short(entry)}")
        for one in (first, second):
            due = {you: (file["name"], size, partial)} if one == known else {}
            found = search_root(asker, one)
            demand(found == due, f"SEARCH by root gives {short(found)}, expected {short(due)}")

    told(None)
    told(first, root=first)
    told(first, root=first)
    told(second, root=second, size=8)
    told(None, root=None)
    told(first, root=first, partial=True)
    told(first, root=first, partial=False)
    told(None, size=9)
    check_ok(link.ask("UPDATE", files=[{**file, "root": first}, {**file, "root": second}]), "UPDATE_OK")
    demand((search_root(asker, first), len(search_root(asker, second))) == ({}, 1), "not the last one counts")
    check_ok(link.ask("UPDATE", remove=[file["name"]]), "UPDATE_OK")
    demand(search_root(asker, second) == {}, "a removed file is found by its root")


@check("UPDATE / partial shows in LS and SEARCH")
def update_partial(run):
    file = new_file(run, 7, root=new_root(), partial=True)
    link, joined = run.member([file])
    for partial in (True, False, True):
        check_ok(link.ask("UPDATE", files=[{**file, "partial": partial}]), "UPDATE_OK")
        entry = pages(link, "LS", "files", 256, peer=joined["you"])[0]
        demand(entry["partial"] is partial and entry["root"] == file["root"], f"LS says {short(entry)}")
        demand(search_root(link, file["root"]) == {joined["you"]: (file["name"], 7, partial)}, "SEARCH says another")


@check("UPDATE / groups are not repeated, and bad groups are refused")
def update_groups(run):
    file = new_file(run, 7, **{"for": ["turma-a", "public", "turma-a"]})
    link, joined = run.member([file])
    for groups in (["all"], [], None, ["public"]):
        check_ok(link.ask("UPDATE", files=[{**file, "for": groups}]), "UPDATE_OK")
        found = search(link, file["name"])
        demand(len(found) == 1 and "for" not in found[0], f"for {groups} SEARCH says {short(found)}")
        entry = pages(link, "LS", "files", 256, peer=joined["you"])[0]
        demand("for" not in entry, f"for {groups} LS says {short(entry)}")
    for groups in (["Turma"], ["-a"], ["a" * 33], [""], [1], "a", {"a": 1}, [f"g{number}" for number in range(17)]):
        check_refusal(link.ask("UPDATE", files=[{**file, "size": 9, "for": groups}]), "bad_request")
    demand(holders(link, file["name"]) == {joined["you"]: 7}, "a refused UPDATE changes an entry")
    goes_on(link)


@check("UPDATE and LEAVE / not_joined before JOIN")
def not_joined(run):
    link = run.link(run.server)
    check_refusal(link.ask("UPDATE", files=[new_file(run)]), "not_joined")
    check_refusal(link.ask("LEAVE"), "not_joined")
    goes_on(link)


@check("LEAVE / takes the peer out, the link stays")
def leave(run):
    file = new_file(run)
    link, joined = run.member([file])
    check_ok(link.ask("LEAVE"), "LEAVE_OK")
    demand(search(link, file["name"]) == [], "SEARCH still finds it")
    demand(not listed(link, joined["you"]), "PEERS still shows it")
    check_refusal(link.ask("LS", peer=joined["you"]), "not_found")
    check_refusal(link.ask("UPDATE"), "not_joined")
    check_refusal(link.ask("LEAVE"), "not_joined")
    other = run.link(run.server)
    run.note_join(other.ask("JOIN", port=parse_address(joined["you"])[1]))
    run.join(link, [file])
    demand(len(search(link, file["name"])) == 1, "a JOIN after LEAVE is not found")
