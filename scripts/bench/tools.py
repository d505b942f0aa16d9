"""Common parts of the load test and the benchmark: programs, a native client, figures of /proc."""

import json
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1 << 20


class Trouble(Exception):
    """The run cannot continue; the text has the reason."""


class Program:
    """A running program with its collected output lines."""

    def __init__(self, command, info=False, typed=False, cache=None):
        env = dict(os.environ, CARDUME_LANG="en", RUST_LOG="info" if info else "warn")
        if cache:
            env["CARDUME_CACHE"] = cache
        self.command = command
        self.lines, self.times = [], []  # output lines, and their times
        self.news = threading.Condition()
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE if typed else subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.times.append(time.monotonic())
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.lines.append(None)  # end of output
            self.news.notify_all()

    def wait_for(self, text, count=1, patience=30.0):
        """The `count`th line that holds `text`."""
        def found():
            return [line for line in self.lines if line is not None and text in line]

        with self.news:
            self.news.wait_for(lambda: len(found()) >= count or None in self.lines, patience)
            if len(found()) < count:
                said = " / ".join(line for line in self.lines[-4:] if line)
                raise Trouble(f"{' '.join(self.command[:2])} (pid {self.pid}) never said '{text}' {count} times; it said: {said}")
            return found()[count - 1]

    def event(self, wanted, patience=30.0):
        """The first matching `--json` event and its time."""
        def found():
            for line, at in zip(self.lines, self.times):
                if line and line.startswith("{") and wanted(event := json.loads(line)):
                    return event, at
            return None

        with self.news:
            self.news.wait_for(lambda: found() or None in self.lines, patience)
            if not (result := found()):
                raise Trouble(f"{' '.join(self.command[:2])} (pid {self.pid}) never said what was waited for; it said: {self.lines[-4:]}")
            return result

    def tell(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def end(self, patience=20.0):
        """Sends SIGTERM, then SIGKILL; returns the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.ended(patience)

    def ended_within(self, seconds):
        """The exit code; None when the program still runs after that time."""
        self.reader.join(seconds)
        return None if self.reader.is_alive() else self.process.wait()

    def ended(self, patience=20.0):
        # The end of the output is noticed at once; wait() with a timeout polls every 50 ms only.
        self.reader.join(patience)
        if self.reader.is_alive():
            self.process.kill()
        code = self.process.wait()
        self.reader.join(5)
        return code


class Place:
    """A temporary folder and its programs; removed at the end in every case."""

    def __enter__(self):
        # A signal unwinds like any other error, so that the folder is removed.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(143))
        self.path = tempfile.mkdtemp(prefix="cardume-")
        self.programs = []
        return self

    def __exit__(self, *_):
        for program in self.programs:
            if program.process.poll() is None:
                program.process.terminate()
        for program in self.programs:
            program.end(5)
        shutil.rmtree(self.path, ignore_errors=True)

    def end_but(self, *kept):
        """Ends all programs except these."""
        for program in self.programs:
            if program not in kept:
                program.end(5)

    def folder(self, name):
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        return path

    def package(self, name):
        """A Python environment with this package of PyPI; None without it."""
        folder = os.path.join(self.path, f"package-{name}")
        if not os.path.exists(folder):
            for words in ([sys.executable, "-m", "venv", folder], [os.path.join(folder, "bin", "pip"), "install", "--quiet", name]):
                if subprocess.run(words, capture_output=True).returncode:
                    print(f"  {name} is left out: it is not at hand (PyPI)", flush=True)
                    shutil.rmtree(folder, ignore_errors=True)
                    return None
        return folder

    def start(self, command, **how):
        # The hash cache stays out of the home of the user.
        program = Program(command, **{"cache": self.folder("cache"), **how})
        self.programs.append(program)
        return program

    def server(self, cardume, *options, **how):
        program = self.start([cardume, "server", "--listen", "127.0.0.1:0", *options], **how)
        program.address = program.wait_for("listening on ").rsplit(" ", 1)[1]
        return program

    def peer(self, cardume, server, folder, *options, **how):
        program = self.start([cardume, "peer", "--server", server, "--listen", "127.0.0.1:0", "--folder", folder, *options], **how)
        program.address = program.wait_for("Sou peer ").split()[2]
        return program


class Client:
    """A native connection with requests at a fixed rate, independent of responses. A client that waits would send fewer
    requests when the server is slow, and report better times than the true ones. See PROTOCOL.md, section 2."""

    def __init__(self, address, patience=30.0, by_tls=False):
        host, port = address.rsplit(":", 1)
        self.patience = patience
        self.socket = socket.create_connection((host, int(port)), timeout=patience)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if by_tls:
            self.socket = unchecked().wrap_socket(self.socket)
        self.rest = b""
        self.times = []  # response times in seconds
        self.socket.sendall(b'{"cardume":1}\n')
        self._lines(1)

    def _lines(self, least):
        """Received lines, at least `count`."""
        lines = []
        while len(lines) < least:
            came = self.socket.recv(65536)
            if not came:
                raise Trouble("the link was closed before the answer")
            *whole, self.rest = (self.rest + came).split(b"\n")
            lines += whole
        return lines

    def ask_until(self, over, period, question, check):
        """Sends `question(number)` every `period` seconds until `over()`; each response is passed to `check`."""
        sent, number, due = {}, 0, time.perf_counter()
        while True:
            ending = over()
            if ending and not sent:
                return
            if sent and time.perf_counter() - next(iter(sent.values())) > self.patience:
                raise Trouble(f"no answer within {self.patience:.0f} s")
            wait = self.patience if ending else due - time.perf_counter()
            if wait <= 0:
                number += 1
                head = json.dumps({"id": number, **question(number)}).encode() + b"\n"
                sent[number] = time.perf_counter()
                self.socket.sendall(head)
                due = max(due + period, sent[number])
                wait = 0
            if select.select([self.socket], [], [], wait)[0]:
                now = time.perf_counter()
                for line in self._lines(1):
                    answer = json.loads(line)
                    self.times.append(now - sent.pop(answer["id"]))
                    check(answer)

    def close(self):
        self.socket.close()


def unchecked():
    """TLS with any key of the server: a benchmark knows its own servers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def status(pid):
    """The lines of /proc/PID/status as numbers, kB values in KiB; empty when the process is gone."""
    try:
        with open(f"/proc/{pid}/status") as file:
            rows = (line.split() for line in file)
            return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
    except (FileNotFoundError, ProcessLookupError):
        return {}


def used(pid):
    """Processor time of a process, in seconds."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def random_file(path, size):
    with open(path, "wb") as file:
        left = size
        while left > 0:
            left -= file.write(os.urandom(min(left, 4 * MIB)))


def parse_size(text):
    units = {"K": 1 << 10, "M": MIB, "G": 1 << 30}
    unit = units.get(text[-1:].upper())
    number = text[:-1] if unit else text
    if not number.isdigit():
        raise Trouble(f"a size is like 16M, not {text}")
    return int(number) * (unit or 1)
