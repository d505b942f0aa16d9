#!/usr/bin/env python3
"""Checks the operation log from outside, in plain sockets.

  rpc_log.py HOST:PORT             calls a log server (cardume rpc-log) and checks what it answers
  rpc_log.py --serve IP:PORT [N]   is a log server: prints each operation that an index server tells it, checks its calls, and ends after N of them

Prints one line for each check that fails, then "N checks, M failed"; the exit code is 1 when any failed.
What the log server prints is for its own reader to compare: the calls say user, operation, file and date as the checks below have them.
"""

import socket
import struct
import sys

PROGRAM, VERSION = 1, 1
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def demand(truth, otherwise):
    if not truth:
        raise AssertionError(otherwise)


def string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack(">I", len(data)) + data + b"\0" * (-len(data) % 4)


def record(body):
    return struct.pack(">I", 0x80000000 | len(body)) + body


def call(xid, procedure, arguments=b"", program=PROGRAM, version=VERSION, rpc=2, proof=b""):
    identity = struct.pack(">II", 1 if proof else 0, len(proof)) + proof + b"\0" * (-len(proof) % 4)
    return struct.pack(">IIIIII", xid, 0, rpc, program, version, procedure) + identity + struct.pack(">II", 0, 0) + arguments


def read_exactly(link, count):
    data = b""
    while len(data) < count:
        part = link.recv(count - len(data))
        if not part:
            raise EOFError(f"the link ended after {len(data)} of {count} bytes")
        data += part
    return data


def read_record(link):
    whole = b""
    while True:
        mark, = struct.unpack(">I", read_exactly(link, 4))
        demand(mark & 0x7FFFFFFF <= 65536, f"a fragment of {mark & 0x7FFFFFFF} bytes")
        whole += read_exactly(link, mark & 0x7FFFFFFF)
        if mark & 0x80000000:
            return whole


def answer(link):
    """xid, and ("done", results) or ("no", reason numbers)."""
    body = read_record(link)
    numbers = struct.unpack(f">{len(body) // 4}I", body)
    demand(len(body) % 4 == 0 and len(numbers) >= 3 and numbers[1] == 1, f"no reply: {numbers}")
    if numbers[2] == 1:
        return numbers[0], ("denied", numbers[3:])
    demand(numbers[2:5] == (0, 0, 0), f"a strange reply: {numbers}")
    return numbers[0], ("done" if numbers[5] == 0 else "no", numbers[6:] if numbers[5] == 0 else numbers[5:])


class Client:
    def __init__(self):
        self.link = socket.create_connection((HOST, PORT), timeout=10)
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.link.close()

    def ask(self, body, xid=1):
        self.link.sendall(record(body))
        got, said = answer(self.link)
        demand(got == xid, f"an answer to {got}")
        return said

    def is_over(self):
        try:
            return self.link.recv(1) == b""
        except ConnectionError:
            return True


DATE = "12/05/2024 10:20:30"
OPERATION = string("ana") + string("CONNECT") + string(DATE)
ON_A_FILE = string("ana") + string("PUBLISH") + string("aula 1.mp4") + string(DATE)


@check
def operations_are_taken():
    with Client() as client:
        demand(client.ask(call(1, 0)) == ("done", ()), "NULL")
        demand(client.ask(call(1, 1, OPERATION)) == ("done", (0,)), "an operation")
        demand(client.ask(call(1, 2, ON_A_FILE)) == ("done", (0,)), "an operation on a file")
        demand(client.ask(call(1, 1, OPERATION, proof=b"\0" * 24)) == ("done", (0,)), "with an identity")
        demand(client.ask(call(1, 1, string("") * 3)) == ("done", (0,)), "of empty names")


@check
def names_that_could_command_a_terminal_are_taken_all_the_same():
    with Client() as client:
        hostile = string(b"\x1b[2J\t\nx\xff") + string("CONNECT\r\n") + string(DATE)
        demand(client.ask(call(1, 1, hostile)) == ("done", (0,)), "hostile names")


@check
def calls_may_come_in_fragments_in_pieces_and_all_at_once():
    body = call(7, 2, ON_A_FILE)
    with Client() as client:
        for place in range(0, len(body), 10):
            part = body[place:place + 10]
            client.link.sendall(struct.pack(">I", len(part) | (0x80000000 if place + 10 >= len(body) else 0)) + part)
        demand(answer(client.link) == (7, ("done", (0,))), "in fragments")
        for byte in record(body):
            client.link.sendall(bytes([byte]))
        demand(answer(client.link) == (7, ("done", (0,))), "in pieces")
        client.link.sendall(b"".join(record(call(xid, 1, OPERATION)) for xid in range(100)))
        demand([answer(client.link) for _ in range(100)] == [(xid, ("done", (0,))) for xid in range(100)], "all at once")
        client.link.sendall(record(call(9, 0)))
        client.link.shutdown(socket.SHUT_WR)
        demand(answer(client.link) == (9, ("done", ())) and client.is_over(), "and the end behind them")


@check
def what_is_not_there_is_refused_as_the_standard_says():
    with Client() as client:
        demand(client.ask(call(1, 1, OPERATION, program=100000)) == ("no", (1,)), "another program")
        demand(client.ask(call(1, 1, OPERATION, version=2)) == ("no", (2, 1, 1)), "another version")
        demand(client.ask(call(1, 3, OPERATION)) == ("no", (3,)), "another procedure")
        for arguments in (b"", OPERATION[:-4], OPERATION + b"\0" * 4, b"\xff" * 40, ON_A_FILE):
            demand(client.ask(call(1, 1, arguments)) == ("no", (4,)), f"garbage: {arguments!r}")
        demand(client.ask(call(1, 2, OPERATION)) == ("no", (4,)), "an operation without its file")
        demand(client.ask(call(1, 0, rpc=3)) == ("denied", (0, 2, 2)), "another RPC")
        demand(client.ask(call(1, 1, OPERATION)) == ("done", (0,)), "and on it goes")


@check
def nonsense_ends_the_link():
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 8, struct.pack(">I", 0x80000000 | 65536), b"\0" * 4096, record(b"abc"), record(b""),
                 record(struct.pack(">III", 1, 1, 0)), record(call(1, 1, OPERATION)[:30]), struct.pack(">I", 4096) + b"x" * 4096 + b"\x80\0\0\x01"):
        with Client() as client:
            client.link.sendall(data)
            demand(client.is_over(), f"{data[:20]!r} is not the end")
    operations_are_taken()


def main():
    failed = 0
    for function in CHECKS:
        try:
            function()
        except Exception as error:  # an exception is a failed check
            failed += 1
            print(f"{function.__name__}: {type(error).__name__}: {error}")
    print(f"{len(CHECKS)} checks, {failed} failed")
    sys.exit(1 if failed else 0)


def read_strings(data, count):
    texts = []
    for _ in range(count):
        length, = struct.unpack(">I", data[:4])
        demand(length <= len(data) - 4, f"a string of {length} bytes in {len(data) - 4}")
        texts.append(data[4:4 + length].decode())
        padded = 4 + length + -length % 4
        demand(data[4 + length:padded] == b"\0" * (-length % 4), "a string that is not filled up with zeros")
        data = data[padded:]
    demand(data == b"", f"{data!r} behind the arguments")
    return texts


def read_call(body):
    """xid, procedure and texts of an operation sent by an index server."""
    xid, kind, rpc, program, version, procedure, *identity = struct.unpack(">10I", body[:40])
    demand((kind, rpc, program, version) == (0, 2, PROGRAM, VERSION) and identity == [0, 0, 0, 0], f"a strange call: {body[:40]!r}")
    demand(procedure in (1, 2), f"procedure {procedure}")
    return xid, procedure, read_strings(body[40:], 2 + procedure)


def serve(address, most):
    """A log server for one connection at a time; ends with the first wrong call."""
    host, port = address.rsplit(":", 1)
    told = 0
    with socket.create_server((host, int(port))) as listener:
        print(f"listening on {host}:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
        while most is None or told < most:
            link, _ = listener.accept()
            with link:
                while most is None or told < most:
                    try:
                        body = read_record(link)
                    except EOFError:
                        break
                    xid, procedure, texts = read_call(body)
                    user, operation, date = texts[0], texts[1] + (f" {texts[2]}" if procedure == 2 else ""), texts[-1]
                    print(f"{user}\t{operation}\t{date}", flush=True)
                    link.sendall(record(struct.pack(">7I", xid, 1, 0, 0, 0, 0, 0)))
                    told += 1
    print(f"{told} checks, 0 failed")


if len(sys.argv) in (3, 4) and sys.argv[1] == "--serve":
    try:
        serve(sys.argv[2], int(sys.argv[3]) if len(sys.argv) == 4 else None)
    except AssertionError as error:
        print(f"{error}\n1 checks, 1 failed")
        sys.exit(1)
elif len(sys.argv) == 2 and ":" in sys.argv[1]:
    HOST, PORT = sys.argv[1].rsplit(":", 1)
    main()
else:
    sys.exit(__doc__)
