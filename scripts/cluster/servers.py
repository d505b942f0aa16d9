"""Servers, and scripted clients and peers of the native protocol."""

import http.client
import json
import os
import re
import socket
import subprocess
import time

UNAVAILABLE = "unavailable"


def say(text):
    print(text, flush=True)


def until(seconds, condition, text):
    """Wait for a condition. Returns the time since the call."""
    end = time.monotonic() + seconds
    while True:
        if condition():
            return seconds - (end - time.monotonic())
        assert time.monotonic() < end, f"not within {seconds} s: {text}"
        time.sleep(0.02)


class Client:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.link = socket.create_connection((host, int(port)), timeout=30)
        self.file = self.link.makefile("rwb")
        self.number = 0
        self.put({"cardume": 1})
        self.nonce = self.get()["nonce"]

    def put(self, head):
        self.file.write(json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def get(self):
        self.file.flush()
        line = self.file.readline()
        assert line, "the server has closed the connection"
        return json.loads(line)

    def ask(self, head):
        self.number += 1
        self.put({"id": self.number, **head})
        answer = self.get()
        assert answer["id"] == self.number, answer
        return answer

    def ping(self):
        """A sign of life, without a wait for the answer; a server that is away does not matter."""
        try:
            self.put({"id": 0, "method": "PING"})
            self.file.flush()
        except (OSError, ValueError):
            pass

    def page(self, head):
        answer = self.ask({key: value for key, value in head.items() if value is not None})
        assert "holders" in answer, answer
        return [(int(holder["peer"].rsplit(":", 1)[1]), holder) for holder in answer["holders"]], answer["cursor"]

    def many(self, names):
        """Searches, 32 at once. Answers come in any order."""
        out = [None] * len(names)
        for start in range(0, len(names), 32):
            part = names[start:start + 32]
            first = self.number + 1
            for name in part:
                self.number += 1
                self.put({"id": self.number, "method": "SEARCH", "name": name})
            for _ in part:
                answer = self.get()
                out[start + answer["id"] - first] = short(answer)
        return out

    def close(self):
        self.file.close()
        self.link.close()


def short(answer):
    if "error" in answer:
        return answer["error"]["code"]
    if not answer["holders"] and answer.get("incomplete"):
        raise AssertionError("an incomplete answer without a provider")
    return [int(holder["peer"].rsplit(":", 1)[1]) for holder in answer["holders"]]


def ask(client, head):
    return short(client.ask(head))


class Peer:
    def __init__(self, server, port):
        self.client, self.port, self.session = Client(server.address), port, None

    def try_join(self, files, session=None, timeout=15):
        self.client.link.settimeout(timeout)
        head = {"method": "JOIN", "port": self.port, "files": files}
        if session:
            head["session"] = session
        answer = self.client.ask(head)
        if "error" in answer:
            return answer["error"]["code"]
        self.session = answer["session"]
        return None

    def join(self, files, session=None):
        code = self.try_join(files, session)
        assert code is None, code

    def update(self, files, remove):
        answer = self.client.ask({"method": "UPDATE", "files": files, "remove": remove})
        assert "error" not in answer, answer

    def close(self):
        self.client.close()


class Server:
    def __init__(self, world, url, by_file, group=None, words=()):
        more = ["--index", url, *words]
        if by_file:
            path = os.path.join(world.place, "index-url")
            with open(path, "w") as file:
                file.write(url + "\n")
            more = ["--index-file", path, *words]
        self.process, self.log = world.start_logged(
            ["server", "--listen", "127.0.0.1:0", "--data", "none", "--open", "--metrics", "local", *more], group)
        self.address = None
        self.kept = None
        for _ in range(400):
            with open(self.log) as file:
                match = re.search(r"listening on ([0-9.:]+)", file.read())
            if match:
                self.address = match[1]
                break
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        assert self.address, open(self.log).read()

    def client(self):
        if self.kept is None:
            self.kept = Client(self.address)
        return self.kept

    def http(self, path):
        link = http.client.HTTPConnection(self.address, timeout=30)
        link.request("GET", path)
        answer = link.getresponse()
        text = answer.read().decode()
        link.close()
        return answer.status, text

    def metric(self, name):
        """The sum of a metric."""
        lines = re.findall(rf"^cardume_{name}(?:{{[^}}]*}})? ([0-9.e+-]+)$", self.http("/metrics")[1], re.MULTILINE)
        assert lines, name
        return sum(map(float, lines))

    def quantile(self, which):
        """A quantile of the lengths of the iterations, in seconds."""
        pattern = rf"^cardume_loop_iteration_quantile\w*{{[^}}]*\"{which}\"[^}}]*}} ([0-9.e+-]+)$"
        return float(re.search(pattern, self.http("/metrics")[1], re.MULTILINE)[1])

    def status(self, field):
        """A line of /proc/PID/status as a number."""
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(field + ":"))

    def rss(self):
        """The memory in KiB."""
        return self.status("VmRSS")

    def epoch(self):
        """The last number of this server in its index."""
        with open(self.log) as file:
            return int(re.findall(r"this server is number (\d+) of its index", file.read())[-1])

    def stop(self, number):
        self.process.send_signal(number)
        self.process.wait(timeout=5)


class World:
    def __init__(self, program, place, engines):
        self.program, self.place, self.engines = program, place, engines
        self.processes, self.logs = [], []
        os.makedirs(os.path.join(place, "output"), exist_ok=True)

    def start_logged(self, words, group=None):
        path = os.path.join(self.place, "output", f"program-{len(self.logs)}")
        self.logs.append(path)
        environment = {**os.environ, "RUST_LOG": os.environ.get("RUST_LOG", "cardume=info")}
        log = open(path, "wb")
        process = subprocess.Popen([self.program, *words], stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log, env=environment, group=group)
        self.processes.append(process)
        return process, path

    def start(self, words):
        return self.start_logged(words)[0]

    def server(self, url, by_file=False, group=None, words=()):
        return Server(self, url, by_file, group, words)

    def run(self, words, cwd=None, home=None):
        environment = {**os.environ, **({"HOME": home, "XDG_CONFIG_HOME": home, "XDG_STATE_HOME": home} if home else {})}
        return subprocess.run([self.program, *words], capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, cwd=cwd, env=environment)

    def refused(self, url, *words, accounts=None):
        """A server that must end by itself: its exit code and its words."""
        run = subprocess.run(
            [self.program, "server", "--listen", "127.0.0.1:0", "--data", "none", "--open", *words],
            capture_output=True, text=True, timeout=15, stdin=subprocess.DEVNULL,
            env={**os.environ, "CARDUME_INDEX": url, **({"CARDUME_ACCOUNTS": accounts} if accounts else {})})
        return run.returncode, run.stderr

    def end(self, process):
        process.terminate()
        process.wait(timeout=10)

    def end_all(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.processes = []
        self.engines.stop()

    def show_logs(self):
        for path in self.logs:
            with open(path, errors="replace") as file:
                print(f"== {path}", file.read()[-3000:], sep="\n", flush=True)
        print([process.poll() for process in self.processes])
