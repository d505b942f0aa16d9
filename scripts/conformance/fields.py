"""Section 5: numbers and other types of fields."""

import itertools

from asking import goes_on, search
from basics import check_refusal, demand, short
from checks import BOTH, check

# 2^53 is a wrong field and a number over its limit: the text allows both codes.
WRONG_NUMBERS = ("-1", "1.5", "1.0", "1e1", str(2**53), "18446744073709551616", '"1"', "true", "[]", "{}")


def wrong_numbers(link, shape, more=()):
    number = itertools.count(1000)
    for text in (*WRONG_NUMBERS, *more):
        this = next(number)
        answer = link.ask_line(shape.replace("@id", str(this)).replace("@n", text), this)
        demand("error" in answer, f"{text} was taken: {short(answer)}")
        demand(answer["error"].get("code") in ("bad_request", "too_large"), f"{text}: {short(answer)}")
        check_refusal(answer, "bad_request", "too_large")
    goes_on(link)


@check("numbers / port of JOIN")
def numbers_port(run):
    wrong_numbers(run.link(run.server), '{"id":@id,"method":"JOIN","port":@n}', ("0", "65536", "null"))


@check("numbers / size in JOIN and UPDATE")
def numbers_size(run):
    name = run.name()
    link = run.link(run.server)
    wrong_numbers(link, '{"id":@id,"method":"JOIN","port":4000,"files":[{"name":"%s","size":@n}]}' % name, ("null",))
    check_refusal(link.ask("LEAVE"), "not_joined")
    link, _ = run.member()
    wrong_numbers(link, '{"id":@id,"method":"UPDATE","files":[{"name":"%s","size":@n}]}' % name, ("null",))
    demand(search(link, name) == [], "a refused UPDATE left its file")


@check("numbers / part of JOIN")
def numbers_part(run):
    wrong_numbers(run.link(run.server), '{"id":@id,"method":"JOIN","port":4000,"part":@n}')


@check("numbers / from and length of FETCH")
def numbers_fetch(run):
    link = run.link(run.peer)
    for field in ("from", "length"):
        wrong_numbers(link, '{"id":@id,"method":"FETCH","name":"conformance.bin","%s":@n}' % field)


@check("numbers / fetch of CANCEL")
def numbers_cancel(run):
    wrong_numbers(run.link(run.peer), '{"id":@id,"method":"CANCEL","fetch":@n}', ("null",))


@check("types / integers are digits up to 2^53-1", BOTH)
def types_integers(run, side):
    link = run.link(side)
    fields = '"method":"UNSUBSCRIBE","of"' if side.role == "server" else '"method":"CANCEL","fetch"'
    for code, numbers in (("too_large", (str(2**53), str(2**64), "9" * 400)), ("bad_request", ("-0", "-1", "1.0", "1e2", "1e400", '"1"', "[1]", "{}"))):
        for number in numbers:
            check_refusal(link.ask_line(f'{{"id":1,{fields}:{number}}}', 1), code)
    if side.role == "server":
        for fields in ('"quic":[4000,"' + "ab" * 32 + '"]', '"files":[["a.bin",5]]', '"ports":[]', '"files":{}'):
            check_refusal(link.ask_line(f'{{"id":1,"method":"JOIN","port":4000,{fields}}}', 1), "bad_request")
        check_refusal(link.ask_line('{"id":1,"method":"PING","moved":[1,2,3,4]}', 1), "bad_request")
    goes_on(link)


@check("types / lists, files and booleans of JOIN and UPDATE")
def types_join(run):
    link = run.link(run.server)
    name = run.name()
    for files in ("x", 5, {}, [5], ["a"], [[]], [None], [{}], [{"name": name}], [{"size": 1}],
                  [{"name": 5, "size": 1}]):
        check_refusal(link.ask("JOIN", port=4000, files=files), "bad_request")
    for more in ("true", 1, 0, []):
        check_refusal(link.ask("JOIN", port=4000, more=more), "bad_request")
    for session in (5, "", "00", "G" * 32, "0" * 33, []):
        check_refusal(link.ask("JOIN", port=4000, session=session), "bad_request")
    check_refusal(link.ask("LEAVE"), "not_joined")
    link, _ = run.member()
    for remove in ("x", 5, {}, [5], [None], [{"name": name}]):
        check_refusal(link.ask("UPDATE", remove=remove), "bad_request")
    goes_on(link)


@check("types / tag of FETCH")
def types_tag(run):
    # An invalid tag may also count as the tag of another version.
    name = run.need_file()["name"]
    link = run.link(run.peer)
    for tag in (5, [], True, {}):
        check_refusal(link.ask("FETCH", name=name, tag=tag), "bad_request")
    for tag in ("", "0", "g" * 16, "A" * 16, "0" * 17):
        check_refusal(link.ask("FETCH", name=name, tag=tag), "bad_request", "changed")
    goes_on(link)
