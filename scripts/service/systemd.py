"""Plays the service manager for a server: passes a listening socket, and reads its notifications.

    python3 scripts/service/systemd.py PROGRAM

Prints OK, or fails with the first difference from what systemd needs of a unit with Type=notify."""

import os
import signal
import socket
import subprocess
import sys
import tempfile

FIRST = 3
PATIENCE = 20


class Manager:
    """The socket of NOTIFY_SOCKET."""

    def __init__(self, folder, abstract):
        name = f"\0cardume-test-{os.getpid()}" if abstract else os.path.join(folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name)
        self.socket.settimeout(PATIENCE)
        self.variable = name.replace("\0", "@")

    def until(self, wanted):
        """The next message with this line; keep-alives and states come in between."""
        while True:
            message = self.socket.recv(4096).decode()
            if wanted in message.split("\n"):
                return message


def start(program, folder, manager, passed, words, extra):
    """Starts the server with the descriptors from 3 on, as systemd does: LISTEN_PID is its own."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        return child, os.fdopen(read)
    for place, given in enumerate(passed):
        os.dup2(os.dup(given.fileno()), FIRST + 20 + place)
    for place in range(len(passed)):
        os.dup2(FIRST + 20 + place, FIRST + place)
        os.set_inheritable(FIRST + place, True)
    os.dup2(write, 2)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    variables = dict(
        os.environ,
        CARDUME_LANG="en",
        CARDUME_CONFIG=os.path.join(folder, "cardume.toml"),
        XDG_STATE_HOME=folder,
        NOTIFY_SOCKET=manager.variable,
        LISTEN_PID=str(os.getpid()),
        LISTEN_FDS=str(len(passed)),
        **extra,
    )
    os.execve(program, [program, *words], variables)


def ends(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def check(program, folder, abstract):
    manager = Manager(folder, abstract)
    settings = os.path.join(folder, "cardume.toml")
    with open(settings, "w") as file:
        file.write("[server]\nmetrics = 'local'\nheartbeat = 20\n")
    port = socket.create_server(("127.0.0.1", 0))
    at = "%s:%d" % port.getsockname()
    # A client that connects before the server runs waits instead of being refused.
    early = socket.create_connection(port.getsockname(), timeout=PATIENCE)
    child, notes = start(program, folder, manager, [port], ["server"], {"WATCHDOG_USEC": "400000"})
    manager.until(f"STATUS=listening on {at}")
    manager.until("READY=1")
    for _ in range(3):
        manager.until("WATCHDOG=1")
    early.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert early.recv(4096).startswith(b"HTTP/1.1 200"), "the early client gets an answer"
    with open(settings, "w") as file:
        file.write("[server]\nmetrics = 'open'\nheartbeat = 30\n")
    os.kill(child, signal.SIGHUP)
    assert "MONOTONIC_USEC=" in manager.until("RELOADING=1")
    manager.until("READY=1")
    # A broken file: the service goes on, and says so.
    with open(settings, "w") as file:
        file.write("[server]\nnonsense = 1\n")
    os.kill(child, signal.SIGHUP)
    manager.until("RELOADING=1")
    manager.until("READY=1")
    os.kill(child, signal.SIGTERM)
    manager.until("STOPPING=1")
    code = ends(child)
    assert code == 0, f"exit code {code}"
    text = notes.read()
    for wanted in [
        "metrics is open from now on",
        "heartbeat has changed and needs a restart",
        "unknown key nonsense in [server]",
    ]:
        assert wanted in text, f"{wanted!r} is not in {text!r}"
    # The manager still holds the port: a new client waits for the next start.
    late = socket.create_connection(port.getsockname(), timeout=PATIENCE)
    late.close()
    # Sockets for another process are left alone.
    with open(settings, "w") as file:
        file.write("[server]\nlisten = ['127.0.0.1:0']\n")
    child, notes = start(program, folder, manager, [port], ["server"], {"LISTEN_FDNAMES": "x"})
    status = manager.socket.recv(4096).decode()
    assert status.startswith("STATUS=listening on 127.0.0.1:") and at not in status, status
    manager.until("READY=1")
    os.kill(child, signal.SIGTERM)
    assert ends(child) == 0
    # A server that cannot start is never ready.
    with open(settings, "w") as file:
        file.write("[server]\nlisten = ['192.0.2.1:1']\n")
    child, notes = start(program, folder, manager, [], ["server"], {})
    assert ends(child) == 7
    manager.socket.setblocking(False)
    try:
        while True:
            assert b"READY=1" not in manager.socket.recv(4096)
    except BlockingIOError:
        pass


def main():
    program = os.path.abspath(sys.argv[1])
    for abstract in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            check(program, folder, abstract)
    print("OK")


if __name__ == "__main__":
    main()
