"""Accounts and publications of several servers on an engine."""

import hashlib
import os
import random
import signal
import socket
import threading
import time

import ed25519
from servers import Client, Peer, UNAVAILABLE, until


def code(answer):
    """The error code, or None."""
    return answer["error"]["code"] if "error" in answer else None


class User:
    """A client of the native protocol with a key."""

    def __init__(self, server, name, secret=None):
        self.client, self.name = Client(server.address), name
        self.identity = ed25519.Identity(hashlib.sha256((secret or name).encode()).digest())

    def prove(self, method):
        text = f"cardume 1\n{method}\n{self.name}\n{self.client.nonce}".encode()
        head = {"method": method, "user": self.name, "key": self.identity.key.hex()}
        return self.client.ask({**head, "proof": self.identity.sign(text).hex()})

    def ask(self, method, **fields):
        return self.client.ask({"method": method, **fields})

    def register(self):
        return code(self.prove("REGISTER"))

    def connect(self):
        return code(self.prove("CONNECT"))

    def publish(self, name, description=""):
        return code(self.ask("PUBLISH", name=name, description=description))


def content(server, user):
    """All publications of a user, or the error code."""
    files, cursor = [], None
    while True:
        more = {"cursor": cursor} if cursor else {}
        answer = server.client().ask({"method": "LIST_CONTENT", "user": user, **more})
        if "error" in answer:
            return code(answer)
        files += [(file["name"], file["description"]) for file in answer["files"]]
        cursor = answer["cursor"]
        if cursor is None:
            return files
        assert answer["files"], "an empty page has a cursor"


def users(server):
    found, cursor = [], None
    while True:
        more = {"cursor": cursor} if cursor else {}
        answer = server.client().ask({"method": "LIST_USERS", **more})
        if "error" in answer:
            return code(answer)
        found += [(user["user"], user["peer"]) for user in answer["users"]]
        cursor = answer["cursor"]
        if cursor is None:
            return sorted(found)
        assert answer["users"], "an empty page has a cursor"


def uc3m(port, *fields):
    """A request of the UC3M protocol: the status of the response, and the rest."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(b"".join(field.encode() + b"\0" for field in fields))
        link.shutdown(socket.SHUT_WR)
        reply = b""
        while part := link.recv(4096):
            reply += part
    assert reply, "no response"
    return reply[0] - ord("0"), reply[1:]


def free_port():
    """A port below those that the system gives to servers with port 0."""
    while True:
        port = random.randrange(20_000, 30_000)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            pass


def operations(world, first, second, ports):
    """Each operation at one server, and its effect at the other."""
    ana, other = User(first, "ana"), User(second, "ana", "another key")
    assert code(other.prove("CONNECT")) == "no_user"
    assert content(second, "ana") == "no_remote_user"
    # The first user of an engine sets a mark in each slot, which takes some seconds.
    until(60, lambda: ana.register() is None, "the first user")
    # The second server looks for the marks, too, before it takes a write.
    until(30, lambda: other.register() == "taken", "a name that another key has")
    assert other.connect() == "bad_proof"
    again = User(second, "ana")
    assert again.register() is None, "the same key may repeat REGISTER"
    assert ana.publish("a.mp4") == "not_connected"
    assert ana.connect() is None
    assert ana.publish("a.mp4", "mine") is None
    assert ana.publish("a.mp4", "mine") is None, "a repeated PUBLISH"
    assert ana.publish("a.mp4", "another text") == "published"
    assert content(second, "ana") == [("a.mp4", "mine")] == content(first, "ana")
    # The user is away: no peer has the file.
    found = second.client().ask({"method": "SEARCH", "name": "a.mp4"})
    assert found["holders"] == [] and found["away"] == [
        {"name": "a.mp4", "user": "ana", "description": "mine"}], found
    assert code(second.client().ask({"method": "FIND_USER", "user": "ana"})) == "not_connected"
    joined = ana.ask("JOIN", port=4101, files=[{"name": "a.mp4", "size": 7}, {"name": "b.mp4", "size": 8}])
    assert code(joined) is None, joined
    found = second.client().ask({"method": "SEARCH", "name": "a.mp4"})
    holder = found["holders"][0]
    assert holder["user"] == "ana" and holder["description"] == "mine" and "away" not in found, found
    found = second.client().ask({"method": "FIND_USER", "user": "ana"})
    assert found.get("peer") == "127.0.0.1:4101", found
    assert users(second) == [("ana", "127.0.0.1:4101")] == users(first), (users(first), users(second))
    assert content(first, "ana") == [("a.mp4", "mine"), ("b.mp4", "")], content(first, "ana")
    # A member without an account has its address as name, at each server.
    nobody = Peer(second, 4102)
    nobody.join([{"name": "c.mp4", "size": 1}])
    until(3, lambda: users(first) == [("127.0.0.1:4102", "127.0.0.1:4102"), ("ana", "127.0.0.1:4101")], "users")
    found = first.client().ask({"method": "FIND_USER", "user": "127.0.0.1:4102"})
    assert found.get("peer") == "127.0.0.1:4102", found
    # A user who publishes, is online at the other server, and does not share that file.
    assert ana.publish("only-published.mp4") is None
    found = second.client().ask({"method": "SEARCH", "name": "only-published.mp4"})
    assert found["holders"] == [] and "away" not in found, found
    assert code(ana.ask("DELETE", name="only-published.mp4")) is None
    assert code(ana.ask("DELETE", name="only-published.mp4")) == "not_published"
    # A user that connects after the JOIN.
    late = User(first, "late")
    assert late.register() is None
    assert code(late.ask("JOIN", port=4103, files=[{"name": "late.mp4", "size": 1}])) is None
    assert late.connect() is None
    def holder_user():
        return second.client().ask({"method": "SEARCH", "name": "late.mp4"})["holders"][0].get("user")
    until(12, lambda: holder_user() == "late", "the user of a provider")
    until(3, lambda: ("late", "127.0.0.1:4103") in users(second), "a late user")
    late.client.close()
    nobody.close()
    # The account goes at the other server: the login ends, and the publications go.
    elsewhere = User(second, "ana")
    assert elsewhere.connect() is None
    assert code(elsewhere.ask("UNREGISTER")) is None
    assert ana.publish("z.mp4") == "not_connected"
    assert content(first, "ana") == "no_remote_user"
    def found_there():
        return second.client().ask({"method": "SEARCH", "name": "a.mp4"})
    assert "away" not in found_there(), found_there()
    # The name of a provider is part of the provider's record, which is kept for some seconds.
    until(12, lambda: "user" not in found_there()["holders"][0], "the end of the user of a provider")
    fresh = User(second, "ana", "another key")
    assert fresh.register() is None and fresh.connect() is None
    assert content(first, "ana") == [], content(first, "ana")
    # Pages.
    names = [f"page {number:03}.mp4" for number in range(600)]
    for name in names:
        assert fresh.publish(name) is None
    assert [name for name, _ in content(first, "ana")] == names
    # A server that starts later knows all.
    third = world.server(world.last_url)
    until(20, lambda: content(third, "ana") != UNAVAILABLE, "a third server")
    assert len(content(third, "ana")) == 600
    third.stop(signal.SIGTERM)
    ana.client.close()
    legacy(second, ports)
    administration(world, first, second)


def legacy(second, ports):
    """UC3M clients at the two servers."""
    one, two = ports
    assert uc3m(one, "REGISTER", "bia")[0] == 0
    assert uc3m(two, "REGISTER", "bia")[0] == 1
    assert uc3m(one, "PUBLISH", "bia", "/aula.mp4", "text")[0] == 2
    assert uc3m(one, "CONNECT", "bia", "5123")[0] == 0
    assert uc3m(two, "CONNECT", "bia", "5124")[0] == 2
    assert uc3m(two, "PUBLISH", "bia", "uc3m aula.mp4", "a text")[0] == 0
    assert uc3m(one, "PUBLISH", "bia", "uc3m aula.mp4", "a text")[0] == 3
    assert uc3m(one, "REGISTER", "caio")[0] == 0 and uc3m(one, "CONNECT", "caio", "5125")[0] == 0
    for port in ports:
        status, fields = uc3m(port, "LIST_USERS", "caio")
        assert status == 0 and b"bia" in fields and b"5123" in fields and b"caio" in fields, fields
        status, fields = uc3m(port, "LIST_CONTENT", "caio", "bia")
        assert status == 0 and b"uc3m aula.mp4" in fields, fields
    found = second.client().ask({"method": "SEARCH", "name": "uc3m aula.mp4"})
    holder = found["holders"][0]
    assert (holder["peer"], holder["user"], holder["description"]) == ("127.0.0.1:5123", "bia", "a text"), found
    assert uc3m(two, "DELETE", "bia", "uc3m aula.mp4")[0] == 0
    assert uc3m(two, "DISCONNECT", "bia")[0] == 0
    assert uc3m(one, "DISCONNECT", "bia")[0] == 2
    assert uc3m(two, "LIST_USERS", "caio")[1].count(b"bia") == 0
    assert uc3m(two, "UNREGISTER", "bia")[0] == 0
    assert uc3m(one, "UNREGISTER", "bia")[0] == 1
    assert uc3m(one, "DISCONNECT", "caio")[0] == 0


def many_legacy_users(first, second, port, count=1_500):
    """Pages of LIST_USERS that end within a page of the engine."""
    names = [f"crowd-{number:04}" for number in range(count)]
    for place, name in enumerate(names):
        answers = uc3m(port, "REGISTER", name), uc3m(port, "CONNECT", name, str(10_000 + place))
        assert [status for status, _ in answers] == [0, 0], (name, answers)
    for server in (first, second):
        listed = [user for user, _ in users(server) if user.startswith("crowd-")]
        assert listed == names, f"{len(listed)} of {count} users are listed"
    for name in names:
        assert uc3m(port, "UNREGISTER", name)[0] == 0


def administration(world, first, second):
    """An administrator of one server acts on the users of all."""
    dora = User(second, "dora")
    assert dora.register() is None and dora.connect() is None
    assert dora.publish("dora.mp4") is None
    def run(*words):
        return world.run([*words, "--server", first.address])
    assert run("delete", "--admin", "--user", "nobody", "dora.mp4").returncode != 0
    done = run("delete", "--admin", "--user", "dora", "dora.mp4")
    assert done.returncode == 0, done
    assert content(second, "dora") == []
    assert run("delete", "--admin", "--user", "dora", "dora.mp4").returncode != 0
    done = run("ban", "dora", "--force")
    assert done.returncode == 0, done
    done = run("unban", "dora")
    assert done.returncode == 0, done
    done = run("unregister", "--admin", "dora")
    assert done.returncode == 0, done
    assert content(second, "dora") == "no_remote_user"
    assert dora.publish("x.mp4") == "not_connected"


def race(first, second, rounds, clients):
    """Many clients register one name at two servers at once: exactly one wins."""
    for number in range(rounds):
        name = f"race {number}"
        racers = [User((first, second)[place % 2], name, f"{name} {place}") for place in range(clients)]
        results, barrier = [None] * clients, threading.Barrier(clients)
        def run(place):
            barrier.wait()
            results[place] = racers[place].register()
        threads = [threading.Thread(target=run, args=(place,)) for place in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results.count(None) == 1 and results.count("taken") == clients - 1, results
        for racer in racers:
            racer.client.close()


class Load:
    """Clients that register and publish until told to stop, and note all acknowledged changes."""

    def __init__(self, all_servers, threads):
        self.servers, self.is_over = all_servers, False
        self.registered, self.published, self.refused = {}, [], 0
        self.last_ok = time.monotonic()
        self.threads = [threading.Thread(target=self.run, args=(place,)) for place in range(threads)]
        for thread in self.threads:
            thread.start()

    def repeat(self, request, fine=(None,)):
        """Repeat while the answer is `unavailable`. False when the load is over before."""
        while True:
            answer = request()
            if answer in fine:
                self.last_ok = time.monotonic()
                return True
            assert answer == UNAVAILABLE, answer
            self.refused += 1
            if self.is_over:
                return False
            time.sleep(0.02)

    def run(self, place):
        count = 0
        while not self.is_over:
            count += 1
            user = User(self.servers[place % len(self.servers)], f"load {place} {count}")
            if not self.repeat(user.register):
                return
            self.registered[user.name] = user.identity.key.hex()
            if not self.repeat(user.connect, fine=(None, "connected")):
                return
            for number in range(5):
                if self.is_over or not self.repeat(lambda: user.publish(f"{place} {count} {number}", "d")):
                    break
                self.published.append((user.name, f"{place} {count} {number}"))
            user.client.close()

    def stop(self):
        self.is_over = True
        for thread in self.threads:
            thread.join()


def losses(server, load):
    """Acknowledged changes that are not there, with a settled engine."""
    by_user = {}
    for name, file in load.published:
        by_user.setdefault(name, []).append(file)
    lost = []
    for name in load.registered:
        files = content(server, name)
        until(10, lambda: content(server, name) != UNAVAILABLE, "the accounts after a failure")
        files = content(server, name)
        if files == "no_remote_user":
            lost.append(name)
            continue
        held = {file for file, _ in files}
        lost += [(name, file) for file in by_user.get(name, []) if file not in held]
    return lost


def ready(server):
    found = server.client().ask({"method": "SEARCH", "name": "nothing.mp4"})
    return content(server, "nobody at all") == "no_remote_user" and found.get("holders") == []


def two_servers(world, engine, patience):
    """Two servers of one index, after all operations on accounts were tried."""
    world.last_url = engine.url()
    ports = [free_port(), free_port()]
    first, second = (world.server(engine.url(), words=["--uc3m", f"127.0.0.1:{port}"]) for port in ports)
    until(patience, lambda: ready(first) and ready(second), "the accounts")
    operations(world, first, second, ports)
    return first, second, ports


def check_single(world, is_short, say):
    """A single engine without a replica, then without an answer."""
    engine = world.engines.single()
    first, second, ports = two_servers(world, engine, 20)
    race(first, second, 3 if is_short else 10, 16)
    many_legacy_users(first, second, ports[0])
    metrics = first.http("/metrics")[1]
    assert "cardume_account_engine_ready 1" in metrics, metrics
    with open(first.log) as log:
        assert "keeps no file of the accounts" in log.read()
    user = User(first, "eva")
    assert user.register() is None and user.connect() is None
    home = os.path.join(world.place, "home")
    os.makedirs(home, exist_ok=True)
    def one_shot(*words):
        return world.run([*words, "--server", second.address], home=home)
    # The engine stops, with its data kept for the check.
    node = engine.nodes[0]
    node.cli("save")
    node.kill()
    assert user.publish("away.mp4") == UNAVAILABLE
    until(5, lambda: content(first, "eva") == UNAVAILABLE, "unavailable, and no absence")
    assert content(second, "nobody at all") == UNAVAILABLE
    assert uc3m(ports[0], "LIST_CONTENT", "bia", "bia")[0] == 4, "no absence on a legacy wire"
    done = one_shot("register", "fred")
    assert done.returncode == 5, done
    done = one_shot("publish", "--user", "fred", "x.mp4", "a text")
    assert done.returncode == 5, done
    node.start()
    node.wait()
    until(10, lambda: content(first, "eva") == [], "the engine is back")
    assert user.publish("away.mp4") is None
    done = one_shot("register", "fred")
    assert done.returncode == 0, done
    done = one_shot("publish", "--user", "fred", "x.mp4", "a text")
    assert done.returncode == 0, done
    assert content(first, "fred") == [("x.mp4", "a text")]
    # A node that has lost all data: nothing is known, and no name can be taken.
    node.cli("flushall")
    thief = User(first, "eva", "a thief")
    assert content(first, "eva") == UNAVAILABLE and thief.register() == UNAVAILABLE


def check_apart(world, _is_short, say):
    """Accounts on an engine of their own."""
    index, accounts = world.engines.single(), world.engines.single("--appendonly", "yes")
    evicting = world.engines.single("--maxmemory-policy", "allkeys-lru")
    code_, text = world.refused(index.url(), accounts=evicting.url())
    assert code_ == 7 and "--accounts-engine" in text and "noeviction" in text, (code_, text)
    first, second = (world.server(index.url(), words=["--accounts-engine", accounts.url()]) for _ in range(2))
    until(20, lambda: ready(first) and ready(second), "the accounts")
    ana = User(first, "ana")
    until(60, lambda: ana.register() is None, "the first user")
    assert ana.connect() is None and ana.publish("a.mp4") is None
    assert content(second, "ana") == [("a.mp4", "")]
    assert accounts.nodes[0].cli("dbsize").strip() != "0"
    assert not any("u:" in key for key in index.nodes[0].cli("keys", "*").split("\n") if key.startswith("u:"))
    # Without its engine of accounts a server still finds peers.
    peer = Peer(second, 4201)
    peer.join([{"name": "f.mp4", "size": 1}])
    accounts.nodes[0].kill()
    until(5, lambda: content(first, "ana") == UNAVAILABLE, "accounts away")
    found = first.client().ask({"method": "SEARCH", "name": "f.mp4"})
    assert found["holders"][0]["peer"] == "127.0.0.1:4201", found
    accounts.nodes[0].start()
    accounts.nodes[0].wait()
    until(10, lambda: content(first, "ana") == [("a.mp4", "")], "the accounts of the file")


def check_cluster(world, is_short, say):
    """Three masters and three replicas, a master killed under load."""
    engine = world.engines.cluster()
    first, second, _ = two_servers(world, engine, 30)
    race(first, second, 2 if is_short else 10, 16)
    for round_ in range(1 if is_short else 3):
        load = Load((first, second), 8)
        time.sleep(2)
        engine.kill_master()
        time.sleep(8 if is_short else 12)
        load.stop()
        until(20, lambda: ready(first) and ready(second), "the accounts after the failover")
        lost = losses(second, load)
        say(f"  kill -9 of a master: {len(load.registered)} users and {len(load.published)} publications "
            f"acknowledged, {load.refused} times unavailable, {len(lost)} lost")
        assert lost == [], lost[:5]
        assert len(load.registered) > 20 and time.monotonic() - load.last_ok < 30
        engine.restart_dead()
        until(20, lambda: engine.replicas_up() == 3, "the replicas")
