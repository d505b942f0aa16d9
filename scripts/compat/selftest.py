#!/usr/bin/env python3
"""Tests the checkers of this folder on tiny reference servers: correct servers must pass, faulty ones must fail.

    selftest.py                 everything: right servers, faulty servers, and the get and serve modes (under a minute)
    selftest.py --list          the families and their faults
    selftest.py --bug FAMILY:B  one faulty server; prints what the checker says and exits as the checker does (1)
"""

import argparse
import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import music
import napster
import reference
import reference_words
import rede
import ufabc_json
import uc3m

HERE = pathlib.Path(__file__).resolve().parent
FIRST_PORTS = iter(range(21000, 32000, 100))  # public ports assigned by the rede index, below the ephemeral range


def run_uc3m(profile, bugs, out):
    index = reference.Uc3mIndex(profile, bugs)
    try:
        words = ["check", "--server", f"127.0.0.1:{index.port}", "--profile", profile, "--peer-get", "--timeout", "1" if bugs else "5"]
        return uc3m.check(uc3m.arguments(words), out)
    finally:
        index.stop()


def run_ufabc_json(rooted, bugs, out):
    with tempfile.TemporaryDirectory() as root:
        index = reference.UfabcJsonIndex(root if rooted else None, bugs)
        try:
            words = ["check", "--server", f"127.0.0.1:{index.port}", "--timeout", "1" if bugs else "5"]
            return ufabc_json.check(ufabc_json.arguments(words + (["--root", root] if rooted else [])), out)
        finally:
            index.stop()


def run_rede(first, bugs, out):
    index = reference.RedeIndex(first, bugs)
    try:
        words = ["check", "--server", f"127.0.0.1:{index.port}", "--timeout", "1" if bugs else "5"]
        return rede.check(rede.arguments(words), out)
    finally:
        index.stop()


def run_words(checker, index, bugs, out):
    index = index(bugs)
    try:
        words = ["check", "--server", f"127.0.0.1:{index.port}", "--timeout", "1" if bugs else "5"]
        return checker.check(checker.arguments(words), out)
    finally:
        index.stop()


def run_music(bugs, out):
    return run_words(music, reference_words.MusicIndex, bugs, out)


def run_music_peer(bugs, out):
    """The index is right, the peer may be faulty."""
    content = os.urandom(3_001 * 320 + 7)
    index, peer = reference_words.MusicIndex(), reference_words.MusicPeer(content, bugs)
    try:
        with tempfile.NamedTemporaryFile() as expect:
            expect.write(content)
            expect.flush()
            words = ["check", "--server", f"127.0.0.1:{index.port}", "--peer", f"127.0.0.1:{peer.port}", "--file", "m1",
                     "--expect", expect.name, "--timeout", "1" if bugs else "5"]
            return music.check(music.arguments(words), out)
    finally:
        index.stop()
        peer.stop()


def run_napster(bugs, out):
    return run_words(napster, reference_words.NapsterIndex, bugs, out)


def runs():
    """(name, shall pass, function, arguments)"""
    for profile in uc3m.PROFILES:
        yield f"uc3m {profile}", True, run_uc3m, profile, ()
    for bug in reference.Uc3mIndex.BUGS:
        yield f"uc3m:{bug}", False, run_uc3m, "fixed" if bug in ("two-writes", "unpadded") else "2024", (bug,)
    for rooted in (False, True):
        yield f"ufabc_json {'with' if rooted else 'without'} a root", True, run_ufabc_json, rooted, ()
    for bug in reference.UfabcJsonIndex.BUGS:
        yield f"ufabc_json:{bug}", False, run_ufabc_json, True, (bug,)
    yield "rede", True, run_rede, next(FIRST_PORTS), ()
    for bug in reference.RedeIndex.BUGS:
        yield f"rede:{bug}", False, run_rede, next(FIRST_PORTS), (bug,)
    for name, run, index in (("music", run_music, reference_words.MusicIndex), ("music_peer", run_music_peer, reference_words.MusicPeer),
                             ("napster", run_napster, reference_words.NapsterIndex)):
        yield name, True, run, ()
        for bug in index.BUGS:
            yield f"{name}:{bug}", False, run, (bug,)


# ------------------------------------------------------------------------------------- the modes serve and get


def program(name, *words):
    return [sys.executable, str(HERE / f"{name}.py"), *map(str, words)]


def exchange(name, serve, get, *checks):
    """One process serves, another downloads, and checkers may run on the first; returns the failures."""
    server = subprocess.Popen(program(name, "serve", *serve), stdout=subprocess.PIPE, text=True)
    try:
        word, _, port = server.stdout.readline().strip().partition(" ")
        if word != "ready":
            return "serve is not ready"
        for mode, *words in (["get", *get], *(["check", *words] for words in checks)):
            places = {"PORT": port, "UDP": f"127.0.0.1:{int(port) + 1000}"}
            command = program(name, mode, *(places.get(word, word) for word in words))
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
            if done.returncode:
                return f"{mode}: {done.stdout}{done.stderr}"
        server.send_signal(signal.SIGTERM)
        if server.wait(5):
            return f"serve ended with {server.returncode}"
    finally:
        if server.poll() is None:
            server.kill()
        server.stdout.close()
    return ""


def exchanges():
    """(name, function) for a download in every form."""
    def over_uc3m(profile):
        with tempfile.TemporaryDirectory() as folder:
            given = pathlib.Path(folder, "a video.mp4")
            given.write_bytes(os.urandom(5_000_011))
            index = reference.Uc3mIndex(profile)
            common = ["--server", f"127.0.0.1:{index.port}", "--profile", profile, "--user"]
            found = ["--file", given.name, "--expect", given]
            wrong = exchange("uc3m", [*common, "ana", "--folder", folder, "--publish", f"{given.name}:a film: long"],
                             [*common, "bea", "--from", "ana", "--out", f"{folder}/out", *found],
                             *[[*common[:-1], "--peer", "ana", *found]] * (profile == "2025"))
            index.stop()
            if not wrong and (list(index.users) != ["ana"] or index.users["ana"]["at"]):
                wrong = f"left behind: {index.users}"
            return wrong

    def over_ufabc_json(rooted):
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as root:
            given = pathlib.Path(folder, "aula1.mp4")
            given.write_bytes(os.urandom(5_000_011))
            index = reference.UfabcJsonIndex(root)
            common = ["--server", f"127.0.0.1:{index.port}", *(["--root", root] if rooted else [])]
            found = ["--file", given.name, "--expect", given]
            wrong = exchange("ufabc_json", [*common, "--folder", folder, "--gap", 0.1, "--delay", 0.3],
                             [*common, "--out", f"{root}/out", *found], [*common, "--peer", "PORT", *found])
            index.stop()
            return wrong

    def over_rede(first):
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
            given = pathlib.Path(folder, "a.mp4")
            given.write_bytes(os.urandom(5_000_011))
            pathlib.Path(other, "meus_arquivos.txt").write_text("a.mp4 ./a.mp4\nb.mp4 ./a.mp4\n")
            index = reference.RedeIndex(first)
            common = ["--server", f"127.0.0.1:{index.port}"]
            wrong = exchange("rede", [*common, "--folder", folder, "--list", f"{other}/meus_arquivos.txt"],
                             [*common, "--from", "127.0.0.2", "--file", "b.mp4", "--out", f"{other}/out", "--quiet", 1,
                              "--expect", given])
            index.stop()
            return wrong

    def over_music(lost):
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
            given = pathlib.Path(folder, "m1")
            given.write_bytes(os.urandom(1_000_003))
            index = reference_words.MusicIndex()
            server = ["--server", f"127.0.0.1:{index.port}"]
            get = ["--from", "UDP", "--word", "REQUISITAR", "--file", "m1", "--out", f"{other}/out", "--expect", given]
            wrong = exchange("music", [*server, "--folder", folder, *(["--lose", "7"] if lost else [])], get)
            index.stop()
            if lost:
                return "" if "FAILED the bytes differ" in wrong else f"the loss was not noticed: {wrong}"
            return wrong or (f"left behind: {index.nodes}" if index.nodes else "")

    yield "music get and serve", over_music, False
    yield "music get notices a loss", over_music, True
    for profile in uc3m.PROFILES:
        yield f"uc3m get and serve, {profile}", over_uc3m, profile
    for rooted in (False, True):
        yield "ufabc_json get and serve" + (", with a root" if rooted else ""), over_ufabc_json, rooted
    yield "rede get and serve", over_rede, next(FIRST_PORTS)


def one_run(run):
    """Runs the checker on one server; a faulty server must produce failures."""
    name, good, function, *args = run
    lines = []
    code = function(*args, lines.append)
    failed = [line for line in lines if line.startswith("FAILED")]
    if good:
        return name, code == 0 and not failed, lines[-1] if code == 0 else "\n".join(failed[:10])
    return name, code == 1 and bool(failed), f"noticed: {failed[0][7:100]}" if failed else "the checker noticed nothing"


def one_exchange(part):
    name, function, argument = part
    wrong = function(argument)
    return name, not wrong, wrong or "the same bytes"


def main():
    parser = argparse.ArgumentParser(description="tries the checkers on reference servers")
    parser.add_argument("--bug", metavar="FAMILY:BUG")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        print(*(run[0] for run in runs() if not run[1]), sep="\n")
        return 0
    if options.bug:
        for name, good, function, *args in runs():
            if name == options.bug:
                return function(*args, print)
        parser.error("no such bug; see --list")
    bad = 0
    with concurrent.futures.ProcessPoolExecutor(8) as pool:
        results = [pool.submit(one_run, run) for run in runs()] + [pool.submit(one_exchange_by_number, number)
                                                                   for number in range(len(list(exchanges())))]
        for result in results:
            name, fine, detail = result.result()
            bad += not fine
            print(f"{'ok    ' if fine else 'FAILED'} {name}: {detail}", flush=True)
    print(f"{len(results)} tries, {bad} failed")
    return 1 if bad else 0


def one_exchange_by_number(number):
    return one_exchange(list(exchanges())[number])


if __name__ == "__main__":
    sys.exit(main())
