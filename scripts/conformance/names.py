"""Section 5: names and roots."""

import json
import random

from asking import alive, goes_on, holders, new_file, search, server_files
from basics import check_ok, check_refusal, demand, short
from checks import check


def bad_names():
    """Every class of names refused by section 5.1, as a function of a harmless stem."""
    turning = [0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
    return {
        "empty": [""],
        ". and ..": [".", ".."],
        "an empty part": ["/", "/etc/passwd", "a/", "a//b", "//a", "a/b/", "a//"],
        "a part that leads up": ["../a", "a/../b", "a/..", "./a", "a/./b", "a/b/.", "../../etc/passwd"],
        "a backslash": ["a\\b", "..\\a", "\\"],
        "NUL": ["\0", "a\0", "a\0.bin"],
        "a control character": [f"a{chr(code)}b" for code in [*range(1, 0x20), *range(0x7F, 0xA0)]],
        "a line or paragraph separator": ["a\u2028b", "a\u2029", "\u2028"],
        "turned text": [f"a{chr(code)}b" for code in turning],
        ".part": ["a.part", "a.PART", "a.Part", ".part", "a.b.pArT", "a/b.part", "a.Part/b"],
        ".part.record": ["a.part.record", "a.PART.RECORD", "a.part.Record", ".part.record", "a/b.part.record"],
        "over 255 bytes": ["x" * 256, "é" * 128, "x" * 5000, "a/" + "x" * 256, "x" * 256 + "/a"],
        "too deep": ["a/" * 16 + "a", ("x" * 200 + "/") * 5 + "x" * 20, "a/" * 3000 + "a"],
    }


def good_stems(run):
    """Suspicious but valid names; each contains the token and is unique."""
    token = run.world.token
    return [
        token + " with spaces ", " " + token, token + ".", "..." + token, ".hidden" + token, token + ".part.txt",
        token + ".partjson", token + ".part.jsonx", "part" + token, token + ".json", token + "part",
        token + '"quotes"<>|*?:', token + "%2e%2e%2f%00", token + "é", token + "e\u0301", token + "日本語",
        token + "😀", token + "\u200d\u200b\u00a0\ufeff\uffff", token + "~$;&#+=@'`^{}[]",
        token + "\u2060\u2027\u202f",
        "a/" + token, token + "/a/a/a", ".hidden/" + token + "/...", "C:/" + token, token + "/-rf", " / /" + token,
        "a/" * 15 + token, (token + "/" + ("x" * 200 + "/") * 5 + "x" * 255)[:1024], token + "/" + "x" * 255,
        token + ".part.json", token + ".part.records",
        (token + "x" * 255)[:255], token + "x" + "€" * 80, "CON" + token, "-rf " + token, token + "\u2065\u206a",
    ]


# A too long name is refused by section 5.1 and exceeds a limit: both codes are allowed.
LENGTH_CODES = ("bad_name", "too_large", "bad_request")


def name_codes(what):
    return LENGTH_CODES if what in ("empty", "over 255 bytes", "too deep") else ("bad_name",)


def register_bad_names():
    for what in bad_names():
        check(f"names / {what} in JOIN")(lambda run, what=what: bad_name_in_join(run, what))
        check(f"names / {what} in SEARCH")(lambda run, what=what: bad_name_in_search(run, what))
        check(f"names / {what} in FETCH")(lambda run, what=what: bad_name_in_fetch(run, what))


def bad_name_in_join(run, what):
    link = run.link(run.server)
    port = random.randint(1024, 65535)
    for name in bad_names()[what]:
        for files in ([{"name": name, "size": 1}], [new_file(run), {"name": name, "size": 1}]):
            answer = link.ask("JOIN", port=port, files=files)
            demand("error" in answer, f"{name[:40]!r} was taken: {short(answer)}")
            demand(answer["error"].get("code") in name_codes(what), f"{name[:40]!r}: {short(answer)}")
            check_refusal(answer, *name_codes(what))
    check_refusal(link.ask("LEAVE"), "not_joined")  # none of these was a JOIN


def bad_name_in_search(run, what):
    bad_name_asked(run.link(run.server), "SEARCH", what)


def bad_name_in_fetch(run, what):
    bad_name_asked(run.link(run.peer), "FETCH", what)


def bad_name_asked(link, method, what):
    for name in bad_names()[what]:
        answer = link.ask(method, name=name)
        demand("error" in answer, f"{name[:40]!r} was taken: {short(answer)}")
        demand(answer["error"].get("code") in name_codes(what), f"{name[:40]!r}: {short(answer)}")
        check_refusal(answer, *name_codes(what))
    goes_on(link)


register_bad_names()


@check("names / bad ones in UPDATE")
def bad_name_in_update(run):
    kept = new_file(run)
    link, joined = run.member([kept])
    for what, names in bad_names().items():
        for name in names[:3]:
            answer = link.ask("UPDATE", files=[{"name": name, "size": 1}])
            demand("error" in answer, f"{what}: {name[:40]!r} was taken: {short(answer)}")
            check_refusal(answer, *name_codes(what))
    demand(server_files(link, joined["you"]) == {kept["name"]: 1}, "a refused UPDATE changed the list")


@check("names / strange ones that are allowed")
def good_names(run):
    names = good_stems(run)
    link, joined = run.member([{"name": name, "size": place} for place, name in enumerate(names)])
    demand(joined["files"] == len(names), f"{joined['files']} of {len(names)} names were taken")
    for place, name in enumerate(names):
        demand(holders(link, name) == {joined["you"]: place}, f"{name[:60]!r} is not found")
    demand(set(server_files(link, joined["you"])) == set(names), "LS gives other names back")


@check("names / strange ones that are allowed in FETCH")
def good_names_fetch(run):
    link = run.link(run.peer)
    for name in good_stems(run):
        check_refusal(link.ask("FETCH", name=name), "not_found")


@check("names / no case folding, no normalisation, no pattern")
def names_exact(run):
    stem = f"Conf-{run.world.token}-"
    link, joined = run.member([{"name": stem + "é.mp4", "size": 1}, {"name": stem + "e\u0301.mp4", "size": 2}])
    demand(joined["files"] == 2, "two spellings of one letter were taken for one name")
    demand(holders(link, stem + "é.mp4") == {joined["you"]: 1}, "the composed name is not found exactly")
    demand(holders(link, stem + "e\u0301.mp4") == {joined["you"]: 2}, "the decomposed name is not found exactly")
    for other in (stem + "É.mp4", stem.lower() + "é.mp4", stem.upper() + "é.MP4", stem + "*", stem + "é", "",):
        if other:
            demand(search(link, other) == [], f"{other!r} finds something")


@check("names / each is one file, a folder is none")
def names_folders(run):
    folder = run.name("")
    link, joined = run.member([{"name": folder + "/a/b", "size": 1}, {"name": folder + "/a", "size": 2}])
    demand(joined["files"] == 2, "a name and what is below it were taken for one")
    demand(holders(link, folder + "/a/b") == {joined["you"]: 1}, "a name of three parts is not found exactly")
    for other in (folder, folder + "/b", folder + "/a/b/c", "a/b"):
        demand(joined["you"] not in holders(link, other), f"{other!r} finds something")
    check_ok(link.ask("UPDATE", remove=[folder + "/a"]), "UPDATE_OK")
    demand(server_files(link, joined["you"]) == {folder + "/a/b": 1}, "what is below a removed name went with it")


@check("names / \\u escapes mean the same")
def names_escaped(run):
    name = run.name("-é😀.bin")
    link, joined = run.member([{"name": name, "size": 3}])
    answer = link.ask_line(json.dumps({"id": 900, "method": "SEARCH", "name": name}, ensure_ascii=True), 900)
    check_ok(answer, "SEARCH_OK")
    demand([entry["peer"] for entry in answer["holders"]] == [joined["you"]], "an escaped name is another name")


@check("names / a lone surrogate is refused")
def names_surrogate(run):
    for side, method in ((run.server, "SEARCH"), (run.peer, "FETCH")):
        link = run.link(side)
        link.send(f'{{"id":1,"method":"{method}","name":"a\\ud800b"}}\n'.encode())
        check_refusal(link.next()[0], "bad_name", "bad_request")
        alive(run, side)


@check("names / what is no string is bad_request")
def names_type(run):
    links = {"SEARCH": run.link(run.server), "FETCH": run.link(run.peer)}
    for method, link in links.items():
        for name in (5, None, [], {}, True, ["a"]):
            check_refusal(link.ask(method, name=name), "bad_request")
        goes_on(link)


ROOT = "0123456789abcdef" * 4
WRONG_ROOTS = ("", "ab", ROOT[1:], ROOT + "0", ROOT.upper(), "g" * 64, " " + ROOT[1:], "0x" + ROOT[2:], "é" * 32)


@check("roots / wrong ones are bad_request")
def roots_wrong(run):
    asking = [(run.link(run.server), "SEARCH"), (run.link(run.peer), "FETCH")]
    for link, method in asking:
        for root in (*WRONG_ROOTS, 5, [], {}, True, [ROOT]):
            check_refusal(link.ask(method, root=root), "bad_request")
        goes_on(link)
    link, joined = run.member()
    file = new_file(run)
    for root in (*WRONG_ROOTS, 5, [], {}, True):
        check_refusal(link.ask("UPDATE", files=[{**file, "root": root}]), "bad_request")
        check_refusal(link.ask("JOIN", port=4000, files=[{**file, "root": root}]), "bad_request")
    for partial in (5, "true", [], 1):
        check_refusal(link.ask("UPDATE", files=[{**file, "partial": partial}]), "bad_request")
    demand(server_files(link, joined["you"]) == {}, "a refused UPDATE left its file")


@check("roots / name and root at once are bad_request, and so is neither")
def roots_both(run):
    name = run.name()
    for link, method in ((run.link(run.server), "SEARCH"), (run.link(run.peer), "FETCH")):
        check_refusal(link.ask(method, name=name, root=ROOT), "bad_request")
        check_refusal(link.ask(method), "bad_request")
        check_refusal(link.ask(method, name=None, root=None), "bad_request")
        goes_on(link)
    link = run.link(run.server)
    check_ok(link.ask("SEARCH", name=name, root=None), "SEARCH_OK")
    check_ok(link.ask("SEARCH", name=None, root=ROOT), "SEARCH_OK")
