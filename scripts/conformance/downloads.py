"""`cardume` downloads from scripted peers, honest and adversarial."""

import json
import os
import secrets
import socket
import subprocess
import tempfile
import threading

import blake3
from asking import goes_on, pages, search_root, soon
from basics import MAX_BODY, MIB, Skipped, check_ok, check_refusal, compact, demand, parse_address, short, spell_address
from checks import check
from client import Side


class Owner(threading.Thread):
    """A peer with one file, written from PROTOCOL.md. `lies`: pieces sent with flipped bytes. `holds_back`: pieces that wait,
    with all later requests, until they are released. Counts the sent pieces."""

    def __init__(self, run, name, content, found, lies=(), holds_back=()):
        super().__init__(daemon=True)
        self.name_, self.content, self.found, self.lies = name, content, found, set(lies)
        self.holds_back, self.lets_go = set(holds_back), threading.Event()
        self.root = blake3.root_of(found)
        self.gave = []
        self.member = run.link(run.server)
        self.listener = socket.create_server((self.member.sock.getsockname()[0], 0))
        self.port = self.listener.getsockname()[1]
        entry = {"name": name, "size": len(content), "root": self.root}
        run.note_join(self.member.ask("JOIN", port=self.port, files=[entry]))
        self.start()

    def close(self):
        self.listener.close()

    def run(self):
        while True:
            try:
                link = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(link,), daemon=True).start()

    def serve(self, link):
        try:
            with link, link.makefile("rb") as lines:
                link.settimeout(30)
                for line in lines:
                    self.answer(link, json.loads(line))
        except (OSError, ValueError):
            pass

    def answer(self, link, head):
        number, method = head.get("id"), head.get("method")

        def say(fields, body=b""):
            link.sendall(compact({"id": number, **fields}) + b"\n" + body)

        about = {"name": self.name_, "size": len(self.content), "tag": "00000000000000c0"}
        ours = head.get("root") == self.root or head.get("name") == self.name_
        if "cardume" in head:
            opening = {"cardume": 1, "role": "peer", "you": spell_address(*link.getpeername()[:2]), "heartbeat_ms": 20000}
            link.sendall(compact(opening) + b"\n")
        elif method == "PING":
            say({"status": "PONG"})
        elif method == "CANCEL":
            say({"status": "CANCEL_OK"})
        elif method in ("FETCH", "PIECES", "HAVE") and not ours:
            say({"error": {"code": "not_found", "retry": False, "text": "no such file here"}})
        elif method == "HAVE":
            say({"status": "HAVE_OK", "root": self.root, "whole": True, "pieces": []})
        elif method == "PIECES":
            data = b"".join(self.found)
            say({"status": "PIECES_OK", **about, "root": self.root, "from": 0, "length": len(data), "more": False}, data)
        elif method == "FETCH":
            start = head.get("from", 0)
            data = bytearray(self.content[start:start + head.get("length", len(self.content))])
            if start // MIB in self.holds_back:
                self.lets_go.wait(30)
            self.gave.append(start // MIB)
            if self.lies & {start // MIB}:
                data[0] ^= 1
            while True:
                more = len(data) > MAX_BODY
                body = data[:MAX_BODY]
                say({"status": "FETCH_OK", **about, "from": start, "length": len(body), "more": more}, body)
                del data[:MAX_BODY]
                start += len(body)
                if not more:
                    return
        else:
            say({"error": {"code": "unsupported", "retry": False, "text": "no such method here"}})


def downloaded(run, name, *more):
    """Runs `cardume get` and returns its exit code, its output and the file."""
    if not run.world.program:
        raise Skipped("no --program")
    with tempfile.TemporaryDirectory() as folder:
        server = spell_address(run.server.ip, run.server.port)
        command = [run.world.program, "get", name, "--server", server, "--folder", folder, "--json", *more]
        done = subprocess.run(command, capture_output=True, timeout=60)
        said = [json.loads(line) for line in done.stdout.splitlines()]
        files = os.listdir(folder)
        demand(done.returncode or files == [name], f"left in the folder: {files}")
        content = open(os.path.join(folder, name), "rb").read() if name in files else None
        return done.returncode, said, content


def a_content(run):
    """A content of three pieces, the last one short."""
    if not run.world.program:
        raise Skipped("no --program")
    if run.world.content is None:
        content = secrets.token_bytes(2 * MIB + 12_345)
        run.world.content = content, blake3.list_of(content)
    return run.world.content


def check_saved(run, name, root, content):
    code, said, got = downloaded(run, name)
    demand(code == 0, f"exit code {code}: {short(said)}")
    saved = [event for event in said if event.get("event") == "saved"]
    demand(len(saved) == 1 and saved[0].get("root") == root, f"not saved with its root: {short(said)}")
    demand(got == content, "the file is another")
    demand(all(event.get("event") != "unverified" for event in said), f"unverified: {short(said)}")
    return said


@check("cardume get / from an owner in Python, verified", phase="long")
def get_verified(run):
    content, found = a_content(run)
    name = run.name()
    owner = Owner(run, name, content, found)
    try:
        check_saved(run, name, owner.root, content)
        demand(owner.gave[:1] == [2], f"the last piece was not the first: {owner.gave}")
        demand(sorted(owner.gave) == [0, 1, 2], f"not each piece once: {owner.gave}")
    finally:
        owner.close()


@check("cardume get / a liar is found out, and an honest owner gives the rest", phase="long")
def get_from_liar(run):
    content, found = a_content(run)
    name = run.name()
    owners = [Owner(run, name, content, found, lies=range(3)), Owner(run, name, content, found)]
    try:
        said = check_saved(run, name, owners[1].root, content)
        blamed = [event for event in said if event.get("event") == "blamed"]
        wrong = owners[0].port if owners[0].gave else None
        demand(all(parse_address(event["peer"])[1] == wrong for event in blamed), f"the wrong one is blamed: {short(blamed)}")
        demand(wrong is None or len(blamed) <= 1, f"blamed more than once: {short(blamed)}")
    finally:
        for owner in owners:
            owner.close()


@check("cardume get / from a liar alone there is no file, and exit code 6", phase="long")
def get_from_liar_alone(run):
    content, found = a_content(run)
    name = run.name()
    owner = Owner(run, name, content, found, lies=[0])
    try:
        code, said, got = downloaded(run, name)
        demand(got is None, "a wrong file got its name")
        demand(code == 6, f"exit code {code}: {short(said)}")
        demand(any(event.get("event") == "blamed" for event in said), f"nobody was blamed: {short(said)}")
    finally:
        owner.close()


class Taker:
    """A running `cardume peer` that downloads."""

    def __init__(self, run, name):
        self.folder = tempfile.TemporaryDirectory()
        command = [run.world.program, "peer", "--server", spell_address(run.server.ip, run.server.port),
                   "--listen", spell_address(run.server.ip, 0), "--folder", self.folder.name, "--lang", "en", "--no-cache"]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, **streams)
        said = self.process.stderr.readline()
        self.process.stdin.write(f"GET {name}\n")
        self.process.stdin.flush()
        found = parse_address(said.strip().rpartition(" ")[2])
        demand(found, f"cardume peer does not say where it listens: {short(said)}")
        self.side = Side("peer", found)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stderr.close()
        self.folder.cleanup()


@check("partial / who still downloads gives what it has checked, and says so", phase="long")
def partial(run):
    content, found = a_content(run)
    name = run.name()
    owner = Owner(run, name, content, found, holds_back=[0])
    taker = Taker(run, name)
    try:
        root, server = owner.root, run.link(run.server)
        me = spell_address(*taker.side.sockaddr)
        soon(lambda: search_root(server, root).get(me) == (name, len(content), True), "not in the index as partial", 10)
        link = run.link(taker.side)
        answer = check_ok(link.ask("HAVE", root=root), "HAVE_OK")
        demand(answer.get("whole") is False and answer.get("root") == root, f"whole already: {short(answer)}")
        has = {first + n for first, count in answer["pieces"] for n in range(count)}
        demand(2 in has and 0 not in has, f"its pieces are {has}")
        head, data = link.list(root=root)
        demand((head["name"], head["size"], head["root"]) == (name, len(content), root), f"another file: {short(head)}")
        demand(data == b"".join(found), "another list")
        demand(link.fetch_root(root, name, **{"from": 2 * MIB}).data == content[2 * MIB:], "another last piece")
        for fields in ({}, {"length": 1}, {"from": MIB - 1, "length": 2}):
            check_refusal(link.ask("FETCH", root=root, **fields), "range")
        for method in ("FETCH", "PIECES"):
            check_refusal(link.ask(method, name=name), "not_found")
        demand(not pages(link, "LS", "files", 256), "LS shows what is not whole")
        check_ok(link.ask("HAVE", root=root), "HAVE_OK")  # replaces the first
        link.events.clear()
        owner.lets_go.set()
        soon(lambda: goes_on(link) or any(event.get("whole") for event in link.events), "no event says that it is whole", 10)
        demand(all(event["event"] == "HAVE" and event.get("root") == root for event in link.events), f"other events: {link.events}")
        demand([event["whole"] for event in link.events].count(True) == 1, f"whole more than once: {link.events}")
        has |= {first + n for event in link.events for first, count in event["pieces"] for n in range(count)}
        demand(has == {0, 1, 2} or link.events[-1]["whole"], f"in the end it has {has}")
        demand(link.fetch_root(root, name).data == content, "other bytes")
        demand(check_ok(link.ask("HAVE", root=root), "HAVE_OK").get("whole") is True, "HAVE does not say that it is whole")
        soon(lambda: search_root(server, root).get(me) == (name, len(content), False), "in the index it stays partial", 10)
    finally:
        owner.lets_go.set()
        taker.close()
        owner.close()
