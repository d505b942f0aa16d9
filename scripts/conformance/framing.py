"""Sections 2 and 4: framing, ids, and half-closed links."""

from asking import alive, goes_on
from basics import MAX_INT, Failed, check_ok, check_refusal, demand, short
from checks import BOTH, check


@check("framing / \\r\\n, empty lines and white space", BOTH)
def framing_white_space(run, side):
    link = run.link(side)
    link.send(b'\n\r\n\n{"id":1,"method":"PING"}\r\n\n\n \t{ "id" : 2 , "method" :"PING"\t} \n')
    for number in (1, 2):
        check_ok(link.answer(number)[0], "PONG")
    link.silent(0.1)


@check("framing / order of fields is free, unknown ones are ignored", BOTH)
def framing_unknown_fields(run, side):
    link = run.link(side)
    line = '{"x":{"y":[1,2.5,null,-3e2,"\\u00e9\\ud83d\\ude00"]},"method":"PING","length":7,"cardume":9,"id":41}'
    check_ok(link.ask_line(line, 41), "PONG")
    link.ping()


@check("framing / a head in many small pieces", BOTH)
def framing_pieces(run, side):
    link = run.link(side)
    for byte in b'{"id":5,"method":"PING"}\n':
        link.send(bytes([byte]))
    check_ok(link.answer(5)[0], "PONG")


@check("framing / 3,000 requests at once are all answered", BOTH)
def framing_many(run, side):
    link = run.link(side)
    link.send(b"".join(b'{"id":%d,"method":"PING"}\n' % number for number in range(3000)))
    seen = set()
    for _ in range(3000):
        head, _ = link.next()
        check_ok(head, "PONG")
        seen.add(head["id"])
    demand(seen == set(range(3000)), "some ids are missing or came twice")


@check("framing / unknown method", BOTH)
def framing_unknown_method(run, side):
    link = run.link(side)
    for method in ("DANCE", "", "PING ", "X" * 5000, "\u0000"):
        check_refusal(link.ask(method, tempo="fast"), "unsupported")
    goes_on(link)


@check("framing / methods of the other side are unsupported", BOTH)
def framing_wrong_side(run, side):
    link = run.link(side)
    if side.role == "server":
        requests = [("FETCH", {"name": "a.bin"}), ("CANCEL", {"fetch": 1}), ("FETCH", {"root": "ab" * 32}),
                    ("PIECES", {"name": "a.bin"}), ("HAVE", {"root": "ab" * 32}), ("FETCH", {}), ("PIECES", {"from": -1}), ("HAVE", {}),
                    ("CANCEL", {"fetch": "x"}), ("WRONG", {"root": "ab" * 32, "piece": 0})]
    else:
        requests = [("JOIN", {"port": 4001}), ("SEARCH", {"name": "a.bin"}), ("SEARCH", {"root": "ab" * 32}),
                    ("UPDATE", {}), ("LEAVE", {}), ("PEERS", {}), ("JOIN", {}), ("SEARCH", {}), ("REGISTER", {}), ("SUBSCRIBE", {}),
                    ("LIST_CONTENT", {}), ("JOIN", {"port": "x"}), ("SEARCH", {"name": 5})]
    for method, fields in requests:
        check_refusal(link.ask(method, **fields), "unsupported")
    goes_on(link)


@check("framing / a missing or wrong method", BOTH)
def framing_missing_method(run, side):
    link = run.link(side)
    for number, rest in enumerate(("", ',"method":5', ',"method":null', ',"method":["PING"]', ',"status":"PONG"')):
        check_refusal(link.ask_line(f'{{"id":{number}{rest}}}', number), "bad_request")
    goes_on(link)


@check("framing / missing fields are refused and the link goes on", BOTH)
def framing_missing_fields(run, side):
    link = run.link(side)
    methods = ("JOIN", "SEARCH", "LS") if side.role == "server" else ("FETCH", "CANCEL")
    for method in methods:
        check_refusal(link.ask(method), "bad_request")
    goes_on(link)


NOT_A_HEAD = {
    "a word": b"PING",
    "an array": b"[]",
    "a string": b'"PING"',
    "a number": b"42",
    "null": b"null",
    "half an object": b'{"id":1,"method":"PING"',
    "two objects": b'{"id":1,"method":"PING"}{"id":2,"method":"PING"}',
    "single quotes": b"{'id':1,'method':'PING'}",
    "a trailing comma": b'{"id":1,"method":"PING",}',
    "bytes that are not UTF-8": b'{"id":1,"method":"PING","x":"\xff\xfe"}',
    "overlong UTF-8": b'{"id":1,"method":"PING","x":"\xc0\xaf"}',
    "a raw control character": b'{"id":1,"method":"PING","x":"\x01"}',
    "NaN": b'{"id":1,"method":"PING","x":NaN}',
    "an NUL byte": b"\x00",
}


@check("framing / what is not a JSON object closes the link", BOTH)
def framing_not_json(run, side):
    for what, line in NOT_A_HEAD.items():
        link = run.link(side)
        link.send(line + b"\n")
        try:
            link.refused_and_closed("bad_request")
        except Failed as failure:
            raise Failed(f"{what}: {failure}") from None


@check("framing / answers that are due come before such an end", BOTH)
def framing_answers_first(run, side):
    link = run.link(side)
    link.send(b'{"id":1,"method":"PING"}\nPING\n{"id":2,"method":"PING"}\n')
    heads = [link.next()[0], link.next()[0]]
    demand({head["id"] for head in heads} == {1, None}, f"expected a PONG and a refusal, got {short(heads)}")
    for head in heads:
        if head["id"] == 1:
            check_ok(head, "PONG")
        else:
            check_refusal(head, "bad_request")
    link.ends()


@check("framing / a head close to max_head is taken", BOTH)
def framing_long_head(run, side):
    link = run.link(side)
    for _ in range(2):
        check_ok(link.ask("PING", padding="x" * (side.max_head - 500)), "PONG")


@check("framing / a head over max_head is too_large", BOTH)
def framing_too_large(run, side):
    link = run.link(side)
    link.say({"id": 1, "method": "PING", "padding": "x" * (side.max_head + 10)})
    link.refused_and_closed("too_large")


@check("framing / a head that never ends is too_large", BOTH)
def framing_endless(run, side):
    link = run.link(side)
    link.send(b'{"id":1,"x":"' + b"x" * side.max_head)
    link.refused_and_closed("too_large")


def survives(run, side, line, number=1):
    """Hostile JSON: PONG, or a refusal with or without a close, and the side keeps serving."""
    link = run.link(side)
    link.send(line + b"\n")
    head, _ = link.next()
    if "error" in head:
        check_refusal(head, "bad_request", "too_large")
        demand(head["id"] in (None, number), f"another id: {short(head)}")
        if head["id"] is None:
            link.ends()  # an unreadable header is a framing error
        else:
            goes_on(link)
    else:
        demand(head["id"] == number, f"another id: {short(head)}")
        check_ok(head, "PONG")
        goes_on(link)
    alive(run, side)


@check("framing / JSON nested 100,000 deep does not kill it", BOTH)
def framing_nested(run, side):
    run.link(side)
    depth = min(100_000, (side.max_head - 1000) // 2)
    deep = b"[" * depth + b"]" * depth
    survives(run, side, b'{"id":1,"method":"PING","x":' + deep + b"}")
    depth = min(100_000, (side.max_head - 1000) // 6)
    survives(run, side, b'{"id":1,"method":"PING","x":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}")


@check("framing / unclosed nesting does not kill it", BOTH)
def framing_nested_open(run, side):
    for line in (b"[" * 60_000, b'{"id":1,"x":' + b"[" * 60_000, b'{"a":' * 12_000):
        link = run.link(side)
        link.send(line + b"\n")
        link.refused_and_closed("bad_request", "too_large")
    link = run.raw(side)
    link.send(b'{"cardume":1,"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}\n")
    link.opening_refused("bad_request")
    alive(run, side)


@check("framing / what JSON leaves open is refused and the link goes on", BOTH)
def framing_strict_json(run, side):
    link = run.link(side)
    cases = [
        ("a key twice", '"x":1,"x":2', "bad_request"), ("a key twice inside", '"x":[{"a":{"b":1,"\\u0062":2}}]', "bad_request"),
        ("too deep", '"x":' + "[" * 127 + "]" * 127, "bad_request"), ("much too deep", '"x":' + "[" * 9000 + "]" * 9000, "bad_request"),
        ("half a pair", '"x":"\\ud800"', "bad_request"), ("the other half", '"\\udc00":0', "bad_request"),
        ("many members", ",".join(f'"k{number}":0' for number in range(300)), "too_large"),
    ]
    for number, (what, more, code) in enumerate(cases):
        try:
            check_refusal(link.ask_line(f'{{"id":{number},"method":"PING",{more}}}', number), code)
        except Failed as failure:
            raise Failed(f"{what}: {failure}") from None
    good = ['"x":1e400', '"x":-0', '"x":' + "9" * 400, '"x":' + "[" * 126 + "]" * 126, '"x":"\\ud83d\\ude00"', '"\\u0000":0', '"from":"x","files":1e400,"port":-1']
    for number, more in enumerate(good):
        check_ok(link.ask_line(f'{{"id":{number},"method":"PING",{more}}}', number), "PONG")
    goes_on(link)


@check("framing / odd but valid JSON does not kill it", BOTH)
def framing_odd_json(run, side):
    survives(run, side, b'{"id":1,"method":"PING","x":"\\ud800"}')
    survives(run, side, b'{"id":1,"method":"PING","x":1e999999}')
    survives(run, side, b'{"id":1,"method":"PING","x":' + b"9" * 5000 + b"}")
    survives(run, side, b'{"id":1,"method":"PING","x":-0.' + b"0" * 5000 + b"1e-5000}")
    survives(run, side, b'{"id":1,"method":"PING","":"","\\u0000":0}')


@check("ids / 0 and 2^53-1", BOTH)
def ids_large(run, side):
    link = run.link(side)
    for number in (0, MAX_INT, 1, 2**32, 2**31):
        link.say({"id": number, "method": "PING"})
        head, _ = link.next()
        demand(type(head["id"]) is int and head["id"] == number, f"id {number} came back as {head['id']!r}")
        check_ok(head, "PONG")


@check("ids / a request without id is answered with null", BOTH)
def ids_missing(run, side):
    link = run.link(side)
    link.send(b'{"method":"PING"}\n')
    head, _ = link.next()
    demand(head["id"] is None, f"id is not null: {short(head)}")
    check_ok(head, "PONG")
    link.send(b'{"method":"DANCE"}\n')
    head, _ = link.next()
    demand(head["id"] is None, f"id is not null: {short(head)}")
    check_refusal(head, "unsupported")
    goes_on(link)


@check("ids / null is taken or refused, and answered with null", BOTH)
def ids_null(run, side):
    link = run.link(side)
    link.send(b'{"id":null,"method":"PING"}\n')
    head, _ = link.next()
    demand(head["id"] is None, f"id is not null: {short(head)}")
    if "error" in head:
        check_refusal(head, "bad_request")
    else:
        check_ok(head, "PONG")
    goes_on(link)


@check("ids / wrong ids are refused with id null", BOTH)
def ids_wrong(run, side):
    for text in ("-1", "1.5", "1.0", "1e1", str(2**53), "99999999999999999999", '"1"', "true", "[1]", "{}"):
        link = run.link(side)
        link.send(f'{{"id":{text},"method":"PING"}}\n'.encode())
        head, _ = link.next()
        demand("error" in head, f"id {text} was taken: {short(head)}")
        demand(head["id"] is None, f"id {text} was refused with another id than null: {short(head)}")
        check_refusal(head, "bad_request", "too_large")
        goes_on(link)


@check("ids / an id may be used again after its answer", BOTH)
def ids_again(run, side):
    link = run.link(side)
    for _ in range(3):
        check_ok(link.ask_line('{"id":9,"method":"PING"}', 9), "PONG")


@check("half-close / what was asked is still answered", BOTH)
def half_close(run, side):
    link = run.raw(side)
    link.send(b'{"cardume":1}\n{"id":1,"method":"PING"}\n{"id":2,"method":"DANCE"}\n')
    link.stop_sending()
    link.read_opening()
    check_ok(link.answer(1)[0], "PONG")
    check_refusal(link.answer(2)[0], "unsupported")
    link.ends()


@check("half-close / after the opening alone the link ends", BOTH)
def half_close_idle(run, side):
    link = run.link(side)
    link.stop_sending()
    link.ends()
