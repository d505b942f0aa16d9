"""Checks servers that share an index on a real engine."""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import accounts
import engines
import faults
import servers
import strangers
import words
from servers import Peer, UNAVAILABLE, ask, say, until


def found(server, name):
    """The ports of the providers, or `unavailable`."""
    return ask(server.client(), {"method": "SEARCH", "name": name})


def is_empty(answer):
    return answer == []


def single(world, _is_short):
    """A single engine without a cluster."""
    engine = world.engines.single()
    first, second = world.server(engine.url()), world.server(engine.url())
    until(10, lambda: is_empty(found(first, "x.mp4")) and is_empty(found(second, "x.mp4")), "certain emptiness")
    root = "5d" * 32
    peer = Peer(first, 4001)
    peer.join([{"name": "aula {1}.mp4", "size": 11, "root": root}, {"name": "b.mp4", "size": 12}])
    assert found(second, "aula {1}.mp4") == [4001], found(second, "aula {1}.mp4")
    assert found(first, "b.mp4") == [4001]
    assert ask(second.client(), {"method": "SEARCH", "root": root}) == [4001]
    other = Peer(second, 4002)
    other.join([{"name": "b.mp4", "size": 12, "partial": False}])
    assert sorted(found(first, "b.mp4")) == [4001, 4002] == sorted(found(second, "b.mp4"))
    # One member an address, at whichever server.
    assert Peer(second, 4001).try_join([]) == "in_use"
    moved = Peer(second, 4001)
    moved.join([{"name": "moved.mp4", "size": 1}], session=peer.session)
    assert found(first, "moved.mp4") == [4001]
    moved.close()
    peer.close()
    until(8, lambda: found(second, "aula {1}.mp4") == [], "gone files")
    other.update([{"name": "new.mp4", "size": 1}], ["b.mp4"])
    assert found(first, "new.mp4") == [4002] and found(first, "b.mp4") == []
    # 200 providers: pages at any server hold each once.
    peers = [Peer((first, second)[port % 2], port) for port in range(20_000, 20_200)]
    for one in peers:
        one.join([{"name": "many.mp4", "size": 1}])
    for server in (first, second):
        ports, cursor = [], None
        while True:
            holders, cursor = server.client().page({"method": "SEARCH", "name": "many.mp4", "cursor": cursor})
            ports += [holder[0] for holder in holders]
            if cursor is None:
                break
        assert sorted(ports) == list(range(20_000, 20_200)), len(ports)
    until(8, lambda: ask(first.client(), {"method": "SEARCH", "contains": "new"}) == [4002], "words")
    status, text = second.http("/api/search?q=nothing-of-that-name")
    assert status in (200, 503), (status, text)
    metrics = second.http("/metrics")[1]
    assert "cardume_engine_nodes 1" in metrics, metrics
    for one in peers + [other]:
        one.close()
    engine.stop()
    until(5, lambda: found(second, "x.mp4") == UNAVAILABLE, "a stopped engine")
    status, _ = second.http("/api/name?name=x.mp4")
    assert status == 503, status
    run = world.run(["search", "x.mp4", "--server", second.address])
    assert run.returncode == 5, run
    assert Peer(second, 4009).try_join([], timeout=20) == UNAVAILABLE


def refusals(world, _is_short):
    """Engines that can't carry an index."""
    evicting = world.engines.single("--maxmemory-policy", "allkeys-lru")
    code, text = world.refused(evicting.url())
    assert code == 7 and "maxmemory-policy noeviction" in text, (code, text)
    locked = world.engines.single("--requirepass", "secret-of-the-test")
    code, text = world.refused(locked.url())
    assert code == 7 and "asks for a password" in text, (code, text)
    code, text = world.refused(locked.url("wrong-one"))
    assert code == 7 and "refuses this user or password" in text and "wrong-one" not in text, (code, text)
    server = world.server(locked.url("secret-of-the-test"), by_file=True)
    until(10, lambda: is_empty(found(server, "x")), "an engine with a password")
    other = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        while True:
            link, _ = other.accept()
            with contextlib.suppress(ConnectionError):
                link.recv(100)
                link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    try:
        code, text = world.refused(f"redis://127.0.0.1:{other.getsockname()[1]}")
        assert code == 7 and "does not speak" in text, (code, text)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    # An engine that answers nothing: the server runs, and knows nothing for certain.
    silent = socket.create_server(("127.0.0.1", 0))
    server = world.server(f"redis://127.0.0.1:{silent.getsockname()[1]}")
    assert found(server, "x") == UNAVAILABLE
    silent.close()


def certificate(world, name, more):
    """A key and a certificate by openssl: the authority itself, or signed by an authority."""
    paths = [os.path.join(world.place, f"{name}.{end}") for end in ("key", "crt")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", f"/CN={name}", "-days", "10", "-keyout", paths[0], "-out", paths[1], *more],
                   check=True, capture_output=True)
    return paths


def by_tls(world, _is_short):
    """An engine that takes TLS, and certificates that are not trusted."""
    if not world.engines.has_tls():
        return say("  skipped: this engine is built without TLS")
    authority_key, authority = certificate(world, "authority", [])
    _, stranger = certificate(world, "stranger", [])
    signed = ["-CA", authority, "-CAkey", authority_key, "-addext", "basicConstraints=critical,CA:FALSE"]
    key, shown = certificate(world, "node", [*signed, "-addext", "subjectAltName=IP:127.0.0.1"])
    other_key, other = certificate(world, "other", [*signed, "-addext", "subjectAltName=DNS:engine.example"])
    engine = world.engines.by_tls(shown, key)
    url = engine.url(scheme="rediss")
    first, second = (world.server(url, words=("--index-ca", authority)) for _ in range(2))
    until(15, lambda: is_empty(found(first, "x")) and is_empty(found(second, "x")), "certain emptiness by TLS")
    peer = Peer(first, 4001)
    names = [f"tls {number}.mp4" for number in range(2_000)]
    peer.join([{"name": name, "size": 1} for name in names])
    assert second.client().many(names) == [[4001]] * len(names)
    peer.close()
    code, text = world.refused(url, "--index-ca", stranger)
    assert code == 7 and "signed by no known authority" in text and text.count("engine of --index") == 1, (code, text)
    # Without a file the authorities of the system count, and these have not signed.
    code, text = world.refused(url)
    assert code == 7 and "authorit" in text, (code, text)
    code, text = world.refused(world.engines.by_tls(other, other_key).url(scheme="rediss"), "--index-ca", authority)
    assert code == 7 and "is for other names" in text, (code, text)
    code, text = world.refused(engine.url(), "--index-ca", authority)
    assert code == 2 and "rediss://" in text, (code, text)
    code, text = world.refused(url, "--index-ca", os.path.join(world.place, "missing"))
    assert code == 7 and "missing" in text, (code, text)


def troubles(world, _is_short):
    """An engine that takes no writes, and one that has lost everything."""
    engine = world.engines.single()
    node = engine.nodes[0]
    first = world.server(engine.url())
    until(15, lambda: is_empty(found(first, "x")), "certain emptiness")
    peer = Peer(first, 4001)
    peer.join([{"name": "f.mp4", "size": 1}])
    # Out of memory: JOIN is refused, and searches go on.
    node.cli("config", "set", "maxmemory", "1")
    assert Peer(first, 4002).try_join([{"name": "g.mp4", "size": 1}], timeout=30) == UNAVAILABLE
    assert found(first, "f.mp4") == [4001]
    node.cli("config", "set", "maxmemory", "0")
    until(10, lambda: Peer(first, 4003).try_join([], timeout=30) is None, "JOIN with memory again")
    # All data is lost, even the secret of the keys: a server that starts now must not invent another.
    second = world.server(engine.url())
    until(15, lambda: is_empty(found(second, "x")), "certain emptiness")
    node.kill()
    node.start()
    node.wait()
    third = world.server(engine.url())
    end = time.monotonic() + 8
    while time.monotonic() < end:
        for server in (first, second, third):
            answer = found(server, "f.mp4")
            assert answer in ([4001], UNAVAILABLE), answer
    for server in (first, second, third):
        until(5, lambda: found(server, "f.mp4") == [4001], "the file is back")
        until(5, lambda: is_empty(found(server, "x")), "certain emptiness")


def cluster(world, is_short):
    """Three masters and three replicas."""
    engine = world.engines.cluster()
    first, second = world.server(engine.url()), world.server(engine.url())
    until(20, lambda: is_empty(found(first, "x")) and is_empty(found(second, "x")), "certain emptiness")
    count = 300 if is_short else 3_000
    # Names that would all go to one slot, if the text in braces chose the slot.
    names = [f"{{x}} video {number}.mp4" for number in range(count)]
    peer = Peer(first, 4001)
    peer.join([{"name": name, "size": 5} for name in names])
    for name in names:
        assert found(second, name) == [4001], name

    shares = [len(node.cli("--scan", "--pattern", "n:*").splitlines()) for node in engine.masters()]
    assert sum(shares) >= count and min(shares) > count / 5, f"names of one tag are not spread: {shares}"

    # A real peer, and a download by way of the other server.
    share = os.path.join(world.place, "share")
    os.makedirs(share)
    with open(os.path.join(share, "real.bin"), "wb") as file:
        file.write(os.urandom(200_000))
    real = world.start(["peer", "--server", first.address, "--listen", "127.0.0.1:0", "--folder", share])
    until(15, lambda: isinstance(found(second, "real.bin"), list) and found(second, "real.bin"), "a real peer")
    into = os.path.join(world.place, "into")
    os.makedirs(into)
    run = world.run(["get", "real.bin", "--server", second.address], cwd=into)
    assert run.returncode == 0, run
    with open(os.path.join(share, "real.bin"), "rb") as a, open(os.path.join(into, "real.bin"), "rb") as b:
        assert a.read() == b.read()
    world.end(real)

    def watch(seconds, text):
        """Search all the time. No name is ever empty; returns the time from the first to the last
        answer `unavailable`, and the part of the names."""
        peer.client.ask({"method": "PING"})
        end, failing, times, met = time.monotonic() + seconds, set(), [], set()
        while time.monotonic() < end:
            for name, answer in zip(names, second.client().many(names)):
                now = time.monotonic()
                assert answer != [], f"{text}: {name} has a provider, and the server says none"
                if answer == UNAVAILABLE:
                    times.append(now)
                    failing.add(name)
                    met.add(name)
                else:
                    failing.discard(name)
        assert not failing, f"{text}: {len(failing)} names are still unavailable"
        took = times[-1] - times[0] if times else 0
        say(f"  {text}: {100 * len(met) // len(names)} % of the names unavailable, for {took:.1f} s")
        assert took < 15, took
        assert len(met) < len(names) / 2, "names of other masters failed"

    engine.kill_master()
    watch(8, "a killed master")
    engine.restart_dead()
    engine.wipe_master()
    watch(8, "a master restarted empty")

    # The peer moves to another server after SIGTERM, and after kill -9.
    first.stop(signal.SIGTERM)
    took = until(3, lambda: found(second, names[0]) == [], "members of a server that ended")
    say(f"  SIGTERM of a server: its members invisible after {took:.1f} s")
    third = world.server(engine.url())
    until(15, lambda: is_empty(found(third, "x")), "a third server")
    back = Peer(third, 4001)
    back.join([{"name": name, "size": 5} for name in names], session=peer.session)
    assert found(second, names[1]) == [4001]
    third.stop(signal.SIGKILL)
    took = until(8.5, lambda: found(second, names[1]) == [], "members of a killed server")
    say(f"  kill -9 of a server: its members invisible after {took:.1f} s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--place", required=True)
    parser.add_argument("--engine", default="redis-server")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", choices=CHECKS, required=True)
    args = parser.parse_args()
    number = list(CHECKS).index(args.only)
    world = servers.World(args.program, args.place, engines.Engines(args.engine, args.place, number))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began = time.monotonic()
    try:
        CHECKS[args.only](world, args.short)
    except BaseException:
        world.show_logs()
        raise
    finally:
        world.end_all()
    say(f"{args.only} on {args.engine.rsplit('/', 1)[-1]}: fine, {time.monotonic() - began:.0f} s")


def with_say(check):
    return lambda world, is_short: check(world, is_short, say)


CHECKS = {
    "single": single, "refusals": refusals, "tls": by_tls, "troubles": troubles, "cluster": cluster,
    "words": words.check, "names": words.load, "faults": faults.run,
    "accounts": with_say(accounts.check_single), "accounts-apart": with_say(accounts.check_apart),
    "accounts-cluster": with_say(accounts.check_cluster),
    "strangers": strangers.check,
}
main()
