"""Searches by words, and events, of files at other servers."""

import json
import signal
import statistics
import time

from servers import Client, Peer, UNAVAILABLE, ask, say, until


def find(server, **fields):
    """The names that a search finds, sorted, or `unavailable`."""
    answer = server.client().ask({"method": "SEARCH", **fields})
    if "error" in answer:
        return answer["error"]["code"]
    assert answer["holders"] or not answer.get("incomplete"), answer
    return sorted(holder["name"] for holder in answer["holders"])


def pages(server, **fields):
    """All entries of a search, page by page, in order."""
    out, cursor, tries = [], None, 0
    while True:
        head = {"method": "SEARCH", **fields, **({"cursor": cursor} if cursor else {})}
        answer = server.client().ask(head)
        if "error" in answer or answer.get("incomplete"):
            # A machine with much to do: the server says so, and knows more soon.
            tries += 1
            assert tries < 40, answer
            time.sleep(0.25)
            continue
        out += [(holder["name"], int(holder["peer"].rsplit(":", 1)[1])) for holder in answer["holders"]]
        cursor = answer["cursor"]
        if cursor is None:
            if tries:
                say(f"  {tries} incomplete pages")
            return out


class Watcher(Client):
    """A client with a SUBSCRIBE."""

    def __init__(self, server, **fields):
        self.data = b""
        super().__init__(server.address)
        answer = self.ask({"method": "SUBSCRIBE", **fields})
        assert answer.get("status") == "SUBSCRIBE_OK", answer

    def get(self):
        # A buffered file can't be read any more after a timeout.
        self.file.flush()
        while b"\n" not in self.data:
            part = self.link.recv(1 << 16)
            assert part, "the server has closed the connection"
            self.data += part
        line, self.data = self.data.split(b"\n", 1)
        return json.loads(line)

    def event(self, seconds):
        self.link.settimeout(seconds)
        try:
            return self.get()
        except TimeoutError:
            raise AssertionError("no event") from None

    def settle(self):
        """The first subscriber of a server is told to search, once all later events are read."""
        assert self.event(5)["event"] == "MISSED"


def in_order(found, key, reverse=False):
    assert [key(entry) for entry in found] == sorted((key(entry) for entry in found), reverse=reverse), found


def check(world, is_short):
    engine = world.engines.single()
    node = engine.nodes[0]
    first, second = world.server(engine.url()), world.server(engine.url())
    for server in (first, second):
        until(20, lambda: find(server, contains="nothing") == [], "certain emptiness by words")

    # A new name is found by words at the other server.
    peer = Peer(first, 4001)
    peer.join([{"name": "Curso {1}/Aula Ação.mp4", "size": 11, "root": "5d" * 32},
               {"name": "notas.pdf", "size": 5}, {"name": "aula 2.mkv", "size": 900, "partial": True}])
    took = until(4, lambda: find(second, contains="acao") == ["Curso {1}/Aula Ação.mp4"], "a new name")
    say(f"  a new name is found by words at the other server after {took:.2f} s")
    until(4, lambda: len(find(second, contains="aula")) == 2, "a second name")
    assert find(second, like="nottas") == ["notas.pdf"]
    assert find(second, ext=["MKV"]) == ["aula 2.mkv"]
    assert find(second, contains="aula", min_size=100) == ["aula 2.mkv"]
    assert find(second, contains="aula", complete=True) == ["Curso {1}/Aula Ação.mp4"]
    assert find(second, contains="aula", hashed=False) == ["aula 2.mkv"]
    assert find(second, contains="aula -ação") == ["aula 2.mkv"]
    assert find(second, root="5d" * 32, min_size=1) == ["Curso {1}/Aula Ação.mp4"]
    assert find(second, name="notas.pdf", max_size=4) == []
    assert find(second, contains="aula", owner="ana") == []
    status, text = second.http("/api/search?q=notas")
    assert status == 200 and "notas.pdf" in text, (status, text)
    # Words of a description are known at one server only, and say so.
    assert find(second, contains="aula", description="x") == UNAVAILABLE

    # Pages in each order hold each entry once, also those of a name with many providers.
    many = [f"página {number:03}.mp4" for number in range(150)]
    lister = Peer(first, 4002)
    lister.join([{"name": name, "size": (number * 7) % 50} for number, name in enumerate(many)])
    near = Peer(second, 4003)
    near.join([{"name": name, "size": 60} for name in many[::3]])
    hot = [Peer((first, second)[port % 2], port) for port in range(20_000, 20_150)]
    for one in hot:
        one.join([{"name": "página comum.mp4", "size": 70}])
    wanted = sorted([(name, 4002) for name in many] + [(name, 4003) for name in many[::3]]
                    + [("página comum.mp4", one.port) for one in hot])
    until(6, lambda: len(pages(second, contains="pagina")) == len(wanted), "all pages")
    def keep():
        """A peer that is silent for long is dropped."""
        for one in (peer, lister, near):
            one.client.ask({"method": "PING"})

    for limit in (7, 64, 256):
        keep()
        assert sorted(pages(second, contains="pagina", limit=limit)) == wanted, limit
        assert sorted(pages(second, like="pagina", limit=limit)) == wanted, limit
        for sort in ("name", "-name", "size", "-size"):
            found = pages(second, contains="pagina", sort=sort, limit=limit)
            assert sorted(found) == wanted, (sort, limit, len(found))
            if sort.endswith("name"):
                in_order(found, lambda entry: entry[0].encode(), reverse=sort == "-name")
    assert sorted(pages(second, name="página comum.mp4", min_size=1, sort="name", limit=50)) == wanted[-150:]
    cursor = second.client().ask({"method": "SEARCH", "contains": "pagina", "limit": 5})["cursor"]
    answer = first.client().ask({"method": "SEARCH", "contains": "pagina", "limit": 5, "cursor": cursor})
    assert answer["error"]["code"] == "bad_request", answer
    for one in hot:
        one.close()

    # Arrivals and departures at the other server are pushed.
    keep()
    by_words = Watcher(second, contains="novidade")
    by_words.settle()
    by_name = Watcher(second, name="novidade 0.mp4")
    times = []
    count = 30 if is_short else 200
    for number in range(count):
        name = f"novidade {number}.mp4"
        began = time.monotonic()
        peer.update([{"name": name, "size": number}], [])
        event = by_words.event(4)
        times.append(time.monotonic() - began)
        assert event["event"] == "APPEARED" and event["holder"]["name"] == name, event
        assert event["holder"]["peer"].endswith(":4001") and event["holder"]["size"] == number, event
    times.sort()
    say(f"  a push to the other server: p50 {1000 * statistics.median(times):.0f} ms, "
        f"p99 {1000 * times[len(times) * 99 // 100]:.0f} ms of {count}")
    assert times[len(times) * 99 // 100] < (0.5 if is_short else 0.25), times[-3:]
    assert by_name.event(1)["event"] == "APPEARED"
    peer.update([], ["novidade 0.mp4"])
    gone = by_name.event(2)
    assert gone["event"] == "GONE" and gone["name"] == "novidade 0.mp4" and gone["peer"].endswith(":4001"), gone
    assert by_words.event(2)["event"] == "GONE"
    # A peer that joins again, at whichever server, still has its file: no departure is told.
    again = Peer(first, 4001)
    again.join([{"name": "novidade 1.mp4", "size": 1}], session=peer.session)
    peer.close()
    peer = again
    seen = {}
    end = time.monotonic() + 2
    while time.monotonic() < end:
        try:
            event = by_words.event(0.5)
        except AssertionError:
            break
        seen.setdefault(event.get("name") or event["holder"]["name"], []).append(event["event"])
    assert seen["novidade 1.mp4"] == ["APPEARED"], seen["novidade 1.mp4"]
    assert seen["novidade 2.mp4"] == ["GONE"], seen["novidade 2.mp4"]

    # A peer with many files that dies is nowhere after half a second.
    names = [f"lote {number}.bin" for number in range(1_000 if is_short else 10_000)]
    big = Peer(first, 4010)
    big.join([{"name": name, "size": 1} for name in names])
    until(6, lambda: len(pages(second, contains="lote", limit=256)) == len(names), "all names of a peer")
    big.close()
    time.sleep(0.5)
    found = second.client().many(names)
    assert not any(answer != [] for answer in found if answer != UNAVAILABLE), "a dead peer is still shown"
    assert found.count(UNAVAILABLE) < len(names) / 10, found.count(UNAVAILABLE)
    left = find(second, contains="lote")
    assert left in ([], UNAVAILABLE), left

    keep()
    # A server that starts later reads all names, and until then does not say that there are none.
    third = world.server(engine.url())
    took = until(20, lambda: find(third, contains="pagina 149") == ["página 149.mp4"], "the names at a new server")
    until(20, lambda: find(third, contains="nothing") == [], "certain emptiness at a new server")
    say(f"  a new server finds old names after {took:.1f} s")

    keep()
    def trim_during_pause(kind, word, name):
        """A stream of this kind is trimmed while a server stands still."""
        third.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        again.update([{"name": name, "size": 1}], [])
        until(4, lambda: find(second, contains=word) == [name], "a name during a pause")
        for number in range(8):
            node.cli("xtrim", f"{kind}:{{{number}}}", "maxlen", "0")
        third.process.send_signal(signal.SIGCONT)

    # The server reads all names again.
    trim_during_pause("x", "pausa", "durante a pausa.mp4")
    took = until(20, lambda: find(third, contains="pausa") == ["durante a pausa.mp4"], "a name of a trimmed stream")
    say(f"  a name of a trimmed stream is found after {took:.1f} s")
    keep()
    # The same for entries: subscribers are told to search again.
    lasting = Watcher(third, contains="durante")
    lasting.settle()
    trim_during_pause("v", "outra", "durante outra.mp4")
    assert lasting.event(10)["event"] == "MISSED"

    keep()
    # A server that is killed: its files are gone, and subscribers are told to search again.
    first.stop(signal.SIGKILL)
    until(10, lambda: find(second, contains="pagina 001") == [], "names of a killed server")
    assert find(second, contains="pagina 003") == ["página 003.mp4"]
    while True:
        event = by_words.event(10)["event"]
        if event == "MISSED":
            break
    engine.stop()
    until(6, lambda: find(second, contains="pagina 001") == UNAVAILABLE, "words without an engine")
    answer = second.client().ask({"method": "SEARCH", "contains": "pagina 003"})
    assert answer["incomplete"] is True and len(answer["holders"]) == 1, answer
    status, _ = second.http("/api/search?q=pagina+001")
    assert status == 503, status


def load(world, is_short):
    """Figures: many names at one server, and a server that reads them all. Called by hand."""
    count = 10_000 if is_short else 100_000
    engine = world.engines.single()
    first = world.server(engine.url())
    until(20, lambda: find(first, contains="nothing") == [], "certain emptiness by words")
    peers = []
    for start in range(0, count, 5_000):
        peer = Peer(first, 30_000 + len(peers))
        peer.join([{"name": f"Curso {n % 97}/Aula {n} da disciplina {n % 1013}.mp4", "size": n} for n in range(start, start + 5_000)])
        peers.append(peer)

    def resident(server):
        with open(f"/proc/{server.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

    def slowest(server):
        text = server.http("/metrics")[1]
        lines = [line for line in text.splitlines() if "loop_iteration" in line and not line.startswith("#")]
        return lines

    second = world.server(engine.url())
    before, began = resident(second), time.monotonic()
    until(120, lambda: "engine_names_known 1" in second.http("/metrics")[1], "all names")
    took = time.monotonic() - began
    time.sleep(2)
    after = resident(second)
    say(f"  {count} names known after {took:.1f} s; {1024 * (after - before) / count:.0f} bytes a name")
    for line in slowest(second):
        say("  " + line)
    began = time.monotonic()
    found = pages(second, contains="aula 77", limit=256)
    say(f"  {len(found)} files by words in {time.monotonic() - began:.2f} s")
    began = time.monotonic()
    holders = second.client().ask({"method": "SEARCH", "contains": "disciplina 77", "sort": "-size", "limit": 64})
    say(f"  sorted by size: {len(holders.get('holders', []))} in {time.monotonic() - began:.2f} s {json.dumps(holders)[:80]}")
