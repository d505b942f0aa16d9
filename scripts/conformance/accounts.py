"""Section 6: accounts."""

import re
import secrets
import time

import ed25519
from asking import goes_on, pages, soon
from basics import check_ok, check_refusal, compact, demand, short
from checks import check


class User:
    """A user of this run with its key and its connections."""

    def __init__(self, run, name=None):
        self.name = name or f"user-{run.world.token}-{next(run.world.numbers)}"
        self.secret = secrets.token_bytes(32)
        self.key = ed25519.public(self.secret).hex()

    def proof(self, method, nonce, name=None):
        text = f"cardume 1\n{method}\n{self.name if name is None else name}\n{nonce}"
        return ed25519.sign(self.secret, text.encode()).hex()

    def fields(self, method, link):
        nonce = link.opening.get("nonce")
        demand(isinstance(nonce, str) and re.fullmatch("[0-9a-f]{32}", nonce), f"no nonce to sign: {short(link.opening)}")
        return {"user": self.name, "key": self.key, "proof": self.proof(method, nonce)}

    def do(self, method, link):
        return check_ok(link.ask(method, **self.fields(method, link)), f"{method}_OK")

    def online(self, run):
        """A new connection, registered and connected."""
        link = run.link(run.server)
        self.do("REGISTER", link)
        self.do("CONNECT", link)
        return link


def content_of(link, user, **fields):
    found = pages(link, "LIST_CONTENT", "files", 256, user=user, **fields)
    for entry in found:
        demand(isinstance(entry.get("name"), str) and isinstance(entry.get("description"), str), f"no name and description: {short(entry)}")
    return {entry["name"]: entry["description"] for entry in found}


def is_there(link, name):
    return link.ask("FIND_USER", user=name).get("status") == "FIND_USER_OK"


@check("accounts / the life of a user", phase="long")
def account_life(run):
    ana, asker, file = User(run), run.link(run.server), run.name()
    link = run.link(run.server)
    check_refusal(link.ask("CONNECT", **ana.fields("CONNECT", link)), "no_user")
    check_refusal(asker.ask("FIND_USER", user=ana.name), "no_remote_user")
    check_refusal(asker.ask("LIST_CONTENT", user=ana.name), "no_remote_user")
    ana.do("REGISTER", link)
    ana.do("REGISTER", link)  # the owner may register again
    other = User(run)
    other.name, taken = ana.name, run.link(run.server)
    check_refusal(taken.ask("REGISTER", **other.fields("REGISTER", taken)), "taken")
    check_refusal(asker.ask("FIND_USER", user=ana.name), "not_connected")
    for method, fields in (("PUBLISH", {"name": file}), ("DELETE", {"name": file}), ("DISCONNECT", {})):
        check_refusal(link.ask(method, **fields), "not_connected")
    ana.do("CONNECT", link)
    check_refusal(link.ask("CONNECT", **ana.fields("CONNECT", link)), "connected")
    found = check_ok(asker.ask("FIND_USER", user=ana.name), "FIND_USER_OK")
    demand(found.get("user") == ana.name and found.get("peer") is None, f"a user without a peer: {short(found)}")
    check_ok(link.ask("PUBLISH", name=file, description="a word of its own"), "PUBLISH_OK")
    check_refusal(link.ask("PUBLISH", name=file), "published")
    demand(content_of(asker, ana.name) == {file: "a word of its own"}, "another list than what was published")
    check_ok(link.ask("DISCONNECT"), "DISCONNECT_OK")
    check_refusal(link.ask("DISCONNECT"), "not_connected")
    demand(content_of(asker, ana.name) == {file: "a word of its own"}, "what was published did not last")
    ana.do("CONNECT", link)
    check_ok(link.ask("DELETE", name=file), "DELETE_OK")
    check_refusal(link.ask("DELETE", name=file), "not_published")
    demand(content_of(asker, ana.name) == {}, "a deleted file is listed")
    check_ok(link.ask("UNREGISTER"), "UNREGISTER_OK")
    check_refusal(asker.ask("LIST_CONTENT", user=ana.name), "no_remote_user")
    User(run, ana.name).online(run)  # the name is free for another key


@check("accounts / proofs are good for one method, one user, one link and one key", phase="long")
def account_proofs(run):
    ana, bia = User(run), User(run)
    link, other = ana.online(run), run.link(run.server)
    nonce = other.opening["nonce"]
    good = ana.proof("CONNECT", nonce)
    for proof in (ana.proof("REGISTER", nonce), ana.proof("CONNECT", nonce, bia.name), ana.proof("CONNECT", "0" * 32),
                  ana.proof("CONNECT", link.opening["nonce"]), bia.proof("CONNECT", nonce, ana.name),
                  f"{int(good[0], 16) ^ 1:x}" + good[1:], good[:64] + "0" * 64, "0" * 128):
        check_refusal(other.ask("CONNECT", user=ana.name, key=ana.key, proof=proof), "bad_proof")
    # A valid proof by a key that does not own the name.
    check_refusal(other.ask("CONNECT", user=ana.name, key=bia.key, proof=bia.proof("CONNECT", nonce, ana.name)), "bad_proof")
    for key, proof in ((ana.key, good[:-2]), (ana.key, good.upper()), (ana.key[:-2], good), (ana.key, None), (None, good), (ana.key, 7)):
        check_refusal(other.ask("CONNECT", user=ana.name, key=key, proof=proof), "bad_request")
    demand(not is_there(other, bia.name), "somebody is there who never was")
    check_ok(other.ask("CONNECT", user=ana.name, key=ana.key, proof=good), "CONNECT_OK")


@check("accounts / nobody acts for somebody else", phase="long")
def account_others(run):
    ana, bia, file = User(run), User(run), run.name()
    hers, his = ana.online(run), bia.online(run)
    check_ok(hers.ask("PUBLISH", name=file), "PUBLISH_OK")
    check_refusal(his.ask("DELETE", name=file, user=ana.name), "not_published")
    check_ok(his.ask("UNREGISTER", user=ana.name), "UNREGISTER_OK")  # an unknown field there: UNREGISTER applies to its own user
    demand(content_of(hers, ana.name) == {file: ""}, "what she has published changed")
    check_refusal(hers.ask("FIND_USER", user=bia.name), "no_remote_user")
    stranger = run.link(run.server)
    for method, fields in (("PUBLISH", {"name": file}), ("DELETE", {"name": file}), ("DISCONNECT", {}), ("UNREGISTER", {})):
        check_refusal(stranger.ask(method, user=ana.name, **fields), "not_connected")


# Encodings of points of small order, canonical and not, and one coordinate that is not below the prime: under each a constant signature is valid for many
# messages, or a key has two encodings.
WEAK_KEYS = ["01" + "00" * 31, "00" * 32, "00" * 31 + "80", "01" + "00" * 30 + "80", "ec" + "ff" * 30 + "7f", "ed" + "ff" * 30 + "7f",
             "ee" + "ff" * 30 + "7f", "ee" + "ff" * 31, "ff" * 32,
             "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
             "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"]


@check("accounts / a key that proves nothing is refused wherever one is told", phase="long")
def account_weak_keys(run):
    link = run.link(run.server)
    name = User(run).name
    # R is the identity and S is 0: a key of small order accepts this for one message in eight, or for all.
    constant = "01" + "00" * 63
    for key in WEAK_KEYS:
        for method in ("REGISTER", "CONNECT"):
            for _ in range(8):
                check_refusal(link.ask(method, user=name, key=key, proof=constant), "bad_proof")
        check_refusal(link.ask("JOIN", port=4001, quic={"port": 4002, "key": key}), "bad_request")
    goes_on(link)


@check("accounts / a proof has one spelling", phase="long")
def account_one_spelling(run):
    link = run.link(run.server)
    ana = User(run)
    ana.do("REGISTER", link)
    good = bytes.fromhex(ana.proof("CONNECT", link.opening["nonce"]))
    larger = int.from_bytes(good[32:], "little") + 2**252 + 27742317777372353535851937790883648493
    for proof in (good[:32] + larger.to_bytes(32, "little"), b"\x01" + bytes(31) + good[32:], b"\xee" + b"\xff" * 30 + b"\x7f" + good[32:]):
        check_refusal(link.ask("CONNECT", user=ana.name, key=ana.key, proof=proof.hex()), "bad_proof")
    check_ok(link.ask("CONNECT", user=ana.name, key=ana.key, proof=good.hex()), "CONNECT_OK")
    check_ok(link.ask("UNREGISTER"), "UNREGISTER_OK")


@check("accounts / REGISTER makes the link good for UNREGISTER alone", phase="long")
def account_register_alone(run):
    ana, link = User(run), run.link(run.server)
    ana.do("REGISTER", link)
    check_refusal(link.ask("PUBLISH", name=run.name()), "not_connected")
    check_ok(link.ask("UNREGISTER"), "UNREGISTER_OK")


@check("accounts / by several links at once, until the last one ends", phase="long")
def account_links(run):
    ana, asker = User(run), run.link(run.server)
    first, second = ana.online(run), run.link(run.server)
    ana.do("CONNECT", second)
    first.close()
    time.sleep(0.1)
    demand(is_there(asker, ana.name), "not there although one of two links is")
    second.close()
    soon(lambda: not is_there(asker, ana.name), "there without a link")


@check("accounts / names of users", phase="long")
def account_names(run):
    link = run.link(run.server)
    for name in ("", ".", "..", "a/b", "a\\b", "a\nb", "a\0b", "\u202eab", "x" * 256, "é" * 128, "127.0.0.1:4000", "[::1]:4000"):
        user = User(run, name or None)
        user.name = name
        check_refusal(link.ask("REGISTER", **user.fields("REGISTER", link)), "bad_name")
    for name in ("x" * (255 - 12) + secrets.token_hex(6), f"ana {run.world.token} õ", f'"{run.world.token}"'):
        one = run.link(run.server)
        User(run, name).do("REGISTER", one)
        check_ok(one.ask("UNREGISTER"), "UNREGISTER_OK")


@check("accounts / descriptions and the words of SEARCH have limits", phase="long")
def account_limits(run):
    link = User(run).online(run)
    check_ok(link.ask("PUBLISH", name=run.name(), description="x" * 255), "PUBLISH_OK")
    check_ok(link.ask("PUBLISH", name=run.name(), description="é" * 127), "PUBLISH_OK")
    for wrong in ("x" * 256, "é" * 128, "two\nlines", "\0", 7, ["x"]):
        check_refusal(link.ask("PUBLISH", name=run.name(), description=wrong), "bad_request")
    for wrong in ("../a", "", "a.part"):
        check_refusal(link.ask("PUBLISH", name=wrong), "bad_name")
    check_refusal(link.ask("PUBLISH"), "bad_request")
    check_ok(link.ask("SEARCH", text="x" * 255), "SEARCH_OK")
    for wrong in ("", "x" * 256, 7):
        check_refusal(link.ask("SEARCH", text=wrong), "bad_request")
    check_refusal(link.ask("SEARCH", text="x", name="x"), "bad_request")


@check("accounts / operations that come at once are done and answered in their order", phase="long")
def account_order(run):
    ana, link, file = User(run), run.link(run.server), run.name()
    steps = [("REGISTER", ana.fields("REGISTER", link), None), ("CONNECT", ana.fields("CONNECT", link), None),
             ("PUBLISH", {"name": file}, None), ("PUBLISH", {"name": file}, "published"), ("DELETE", {"name": file}, None),
             ("DELETE", {"name": file}, "not_published"), ("PUBLISH", {"name": file, "description": "again"}, None),
             ("LIST_CONTENT", {"user": ana.name}, None), ("DISCONNECT", {}, None), ("PUBLISH", {"name": file}, "not_connected"),
             ("CONNECT", ana.fields("CONNECT", link), None)]
    heads = [compact({"id": place, "method": method, **fields}) for place, (method, fields, _) in enumerate(steps)]
    link.send(b"\n".join(heads) + b"\n")
    for place, (method, _, code) in enumerate(steps):
        head = link.next()[0]
        demand(head["id"] == place, f"{method} was to be answered, {short(head)} came")
        if code:
            check_refusal(head, code)
        else:
            check_ok(head, f"{method}_OK")
        if method == "LIST_CONTENT":
            demand([entry["name"] for entry in head["files"]] == [file], f"another list than what was published: {short(head)}")
    check_ok(link.ask("UNREGISTER"), "UNREGISTER_OK")


@check("accounts / LIST_CONTENT in pages, with long names and descriptions", phase="long")
def account_content_pages(run):
    ana, link = User(run), None
    link = ana.online(run)
    stem = run.world.token
    files = {f"{stem}{place:03}".ljust(255, '"'): f"{place:03}".ljust(255, '"') for place in range(300)}
    numbers = [link.request("PUBLISH", name=name, description=text) for name, text in files.items()]
    for number in numbers:
        check_ok(link.answer(number)[0], "PUBLISH_OK")
    demand(content_of(run.link(run.server), ana.name) == files, "other files than were published")  # Link.line refuses a head over 64 KiB
    bia = User(run)
    short_ones = bia.online(run)
    for number in [short_ones.request("PUBLISH", name=f"{place}") for place in range(600)]:
        check_ok(short_ones.answer(number)[0], "PUBLISH_OK")
    demand(len(content_of(link, bia.name)) == 600, "not all of 600 short names are listed")
    check_ok(short_ones.ask("UNREGISTER"), "UNREGISTER_OK")
    for cursor in ("nonsense", "x" * 65):
        check_refusal(link.ask("LIST_CONTENT", user=ana.name, cursor=cursor), "bad_request")
        check_refusal(link.ask("LIST_USERS", cursor=cursor), "bad_request")
    check_ok(link.ask("UNREGISTER"), "UNREGISTER_OK")


@check("accounts / LIST_USERS in pages, with long names", phase="long")
def account_user_pages(run):
    users = [User(run, f"{run.world.token}{place:03}".ljust(255, '"')) for place in range(150)]
    links = [user.online(run) for user in users]
    for link in links:
        run.join(link)
    asker = run.link(run.server)
    names = [entry.get("user") for entry in pages(asker, "LIST_USERS", "users", 256)]
    demand(len(names) == len(set(names)), "a user came twice")
    demand({user.name for user in users} <= set(names), "some users are missing")
    for link in links:
        check_ok(link.ask("UNREGISTER"), "UNREGISTER_OK")


@check("accounts / what a user's peer shares is found by his name and his words", phase="long")
def account_peer(run):
    ana, file, shared = User(run), run.name(), run.name()
    link = ana.online(run)
    words = f"Lição {run.world.token} última"
    check_ok(link.ask("PUBLISH", name=file, description=words), "PUBLISH_OK")
    at = run.join(link, [{"name": file, "size": 7}, {"name": shared, "size": 8}], ports={"uc3m-2024": 4001, "unknown": 4002})["you"]
    asker = run.link(run.server)
    found = check_ok(asker.ask("FIND_USER", user=ana.name), "FIND_USER_OK")
    demand(found.get("peer") == at, f"joined as {at}, found as {short(found)}")
    demand([entry["user"] for entry in pages(asker, "LIST_USERS", "users", 256) if entry.get("peer") == at] == [ana.name], "not listed with its peer")
    demand(content_of(asker, ana.name) == {file: words, shared: ""}, "content is what was published and what is shared")

    def holder(**wanted):
        holders = [entry for entry in pages(asker, "SEARCH", "holders", 64, **wanted) if entry.get("peer") == at]
        demand(len(holders) == 1, f"found {len(holders)} times by {wanted}")
        return holders[0]

    for wanted in ({"name": file}, {"text": f"ULTIMA licao {run.world.token}"}, {"text": file.upper()}):
        one = holder(**wanted)
        demand((one.get("user"), one.get("description"), one.get("size")) == (ana.name, words, 7), f"by {wanted}: {short(one)}")
    demand(holder(name=shared).get("user") == ana.name, "whose it is was not said")
    check_ok(link.ask("DELETE", name=file), "DELETE_OK")
    demand("description" not in holder(name=file), "the words of a deleted publication are still told")
    check_ok(link.ask("UNREGISTER"), "UNREGISTER_OK")
