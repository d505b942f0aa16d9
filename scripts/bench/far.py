"""Throughput of TCP and QUIC over a long lossy link. See run.sh; a section is a letter."""

import json
import os
import socket
import statistics
import time
import urllib.parse

import wire
from base import Base, judged, row, show
from tools import MIB, Trouble

FETCH_SECONDS = 8.0
VIDEO_BITS = 8_000_000
WAY_MS = 25
BUFFER_SECONDS = 2.0  # buffer of a player before the start


class Far(Base):
    def line(self):
        program = os.path.join(os.path.dirname(self.cardume), "examples", "delay_line")
        if why := wire.can_be_made():
            raise Trouble(f"no networks of our own here: {why}")
        return program

    def far_pair(self, line, folder, udp=True):
        """An index and a peer on one side."""
        inside, address = line.inside(0), line.ADDRESSES[0]
        server = self.place.start([*inside, self.cardume, "server", "--open", "--listen", f"{address}:0"])
        server.address = server.wait_for("listening on ").rsplit(" ", 1)[1]
        by = ["--udp", f"{address}:0"] if udp else []
        peer = self.place.start([*inside, self.cardume, "peer", "--server", server.address, "--listen", f"{address}:0", "--folder", folder, *by])
        peer.address = peer.wait_for("Sou peer ").split()[2]
        self.far_settled(line, server, os.listdir(folder))
        return server, peer

    def far_settled(self, line, server, names, patience=60.0):
        """Waits until these files have roots."""
        until = time.monotonic() + patience
        for name in names:
            while True:
                search = self.place.start([*line.inside(0), self.cardume, "search", name, "--server", server.address, "--json"])
                search.ended(patience)
                if any('"root":"' in said for said in search.lines if said):
                    break
                if time.monotonic() > until:
                    raise Trouble(f"{name} has no root")
                time.sleep(0.1)

    def comes(self, line, server, name, transport):
        """Bytes a second in the first seconds of a download."""
        folder = self.place.folder(f"far-{transport}-{time.monotonic_ns()}")
        command = [*line.inside(1), self.cardume, "get", name, "--server", server.address, "--folder", folder, "--json"]
        command += ["--transport", "quic"] if transport == "quic" else []
        began = time.monotonic()
        get = self.place.start(command)
        code = get.ended_within(FETCH_SECONDS)
        took = time.monotonic() - began
        get.process.terminate()
        get.end(5)
        held = 0
        for said, at in zip(get.lines, get.times):
            event = json.loads(said) if said and said.startswith("{") else {}
            if event.get("event") == "progress" and at <= began + FETCH_SECONDS:
                held = event["held"]
            if event.get("event") == "saved":
                held = event["size"]
        if transport == "quic" and any("TCP" in said for said in get.lines if said):
            raise Trouble(f"it came by TCP: {get.lines}")
        if code not in (None, 0):
            raise Trouble(f"the download ended with code {code}: {get.lines}")
        return held / min(took, FETCH_SECONDS)

    def w(self):
        program = self.line()
        folder = self.place.folder("far")
        self.file("far.bin", (64 if self.quick else 256) * MIB, folder)
        print(f"  two namespaces, 20 ms each way, 10 of 1000 packets lost each way; bytes of a `get` in its first {FETCH_SECONDS:.0f} s")
        with wire.Wire(program, 20, 10) as line:
            server, _ = self.far_pair(line, folder)
            rates = {"quic": [], "cubic": [], "bbr": []}
            for _ in range(self.runs):
                for kind, of in rates.items():
                    if kind != "quic":
                        line.control(kind)
                    of.append(self.comes(line, server, "far.bin", kind))
            ours, cubic, bbr = (statistics.median(of) / MIB for of in rates.values())
        show(["cardume", "get", "far.bin", "--transport", "quic"])
        ratio = ours / max(cubic, 1e-9)
        row("w. far: QUIC vs TCP cubic", f"{ours:.2f} MiB/s", f"{cubic:.2f} MiB/s", f"{ratio:.1f}", ">= 2.0", judged(ratio >= 2.0))
        row("w. far: QUIC vs TCP bbr", f"{ours:.2f} MiB/s", f"{bbr:.2f} MiB/s", f"{ours / max(bbr, 1e-9):.1f}")

    def x(self):
        program = self.line()
        folder = self.place.folder("video")
        seconds = 15 if self.quick else 40
        size = VIDEO_BITS // 8 * seconds
        self.file("video.bin", size, folder)
        print(f"  two namespaces, 50 ms each way, 20 of 1000 packets lost each way; {seconds} s of {VIDEO_BITS / 1e6:.0f} Mbit/s, begun with {BUFFER_SECONDS:.0f} s at hand")
        with wire.Wire(program, 50, 20) as line:
            server, _ = self.far_pair(line, folder)
            command = [*line.inside(1), self.cardume, "play", "video.bin", "--server", server.address, "--folder", self.place.folder("watched"),
                       "--player", "none", "--transport", "quic"]
            show(command)
            play = self.place.start(command)
            url = urllib.parse.urlsplit(play.wait_for("http://"))
            reader = self.place.start([*line.inside(1), "python3", __file__, str(url.port), url.path, str(size)])
            if reader.ended(seconds * 6 + 60):
                raise Trouble(f"the player ended: {reader.lines} {play.lines}")
            first, stalls, longest = map(float, reader.lines[0].split())
            if any("TCP" in said for said in play.lines if said):
                raise Trouble(f"it came by TCP: {play.lines}")
        row("x. 8 Mbit/s video, 2 % lost, 50 ms", f"{stalls:.0f} stalls, {longest:.2f} s", f"begun after {first:.2f} s", "-", "0 stalls", judged(not stalls))


    def E(self):
        program = self.line()
        folder = self.place.folder("trips")
        self.file("one.bin", 10_000, folder)
        self.file("long.bin", 64 * MIB, folder)
        round_trip = 2 * WAY_MS / 1000
        print(f"  two namespaces, {WAY_MS} ms each way; round trips from the first packet")
        with wire.Wire(program, WAY_MS, 0) as line:
            server, peer = self.far_pair(line, folder, udp=False)
            ask = [*line.inside(1), self.cardume, "search", "one.bin", "--server", server.address]
            get = lambda name: [*line.inside(1), self.cardume, "get", name, "--server", server.address, "--folder", self.place.folder(f"trips-{time.monotonic_ns()}")]
            show(["cardume", "search", "one.bin"])
            show(["cardume", "get", "long.bin"])
            searched, small, long = [], [], []
            for _ in range(self.runs):
                searched.append(self.first_bytes(line, server, ask, server.address, 100) / round_trip)
                small.append(self.first_bytes(line, server, get("one.bin"), peer.address, 1_000) / round_trip)
                long.append(self.first_bytes(line, server, get("long.bin"), peer.address, 1_000) / round_trip)
        for what, of, most in (("search: the answer", searched, 2.5), ("get, 10 kB: first bytes", small, 5), ("get, 64 MiB: first bytes", long, 5)):
            trips = statistics.median(of)
            row(f"E. {what}", f"{trips:.2f} trips", "-", "-", f"<= {most}", judged(trips <= most))

    def first_bytes(self, line, server, command, source, least):
        """Seconds from the first packet to the server to the first packet of `source` with so many bytes."""
        spy = self.place.start([*line.inside(1), "python3", __file__, "spy", server.address.rsplit(":", 1)[1], source.rsplit(":", 1)[1], str(least)])
        spy.wait_for("ready")
        process = self.place.start(command)
        if process.ended(30):
            raise Trouble(f"{command} failed: {process.lines}")
        if spy.ended(30):
            raise Trouble(f"no packet of {source}: {spy.lines}")
        return float(spy.lines[-1] if spy.lines[-1] else spy.lines[-2])


def spy(server, source, least):
    """Prints the seconds between the first packet to the server's port and the first one from the other port with so many bytes."""
    link, began = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)), None
    print("ready", flush=True)
    while True:
        packet = link.recv(65536)
        now = time.monotonic()
        if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
            continue
        head = (packet[0] & 15) * 4
        from_port, to_port = int.from_bytes(packet[head:head + 2], "big"), int.from_bytes(packet[head + 2:head + 4], "big")
        length = int.from_bytes(packet[2:4], "big") - head - (packet[head + 12] >> 4) * 4
        if to_port == server and began is None:
            began = now
        if from_port == source and length >= least and began is not None:
            return print(f"{now - began:.6f}")


def watch(port, path, size):
    """Reads like a player with a start buffer. Returns the time to start, and the number and length of stalls."""
    began = time.monotonic()
    link = socket.create_connection(("127.0.0.1", port), timeout=60)
    link.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
    stream = link.makefile("rb")
    if b" 200 " not in stream.readline():
        raise SystemExit("no 200")
    while stream.readline().strip():
        pass
    rate, have, shown_from, stalls, longest = VIDEO_BITS / 8, 0, None, 0, 0.0
    first, late = 0.0, 0.0  # late: accumulated delay by stalls
    while have < size:
        came = stream.read1(65536)
        if not came:
            raise SystemExit(f"ended after {have} bytes")
        have += len(came)
        now = time.monotonic()
        if shown_from is None:
            if have >= min(size, BUFFER_SECONDS * rate):
                shown_from, first = now, now - began
            continue
        # The first missing bytes: did they arrive late?
        due = shown_from + late + (have - len(came)) / rate
        if now > due:
            stalls, longest, late = stalls + 1, max(longest, now - due), late + (now - due)
    print(f"{first:.3f} {stalls} {longest:.3f}")


if __name__ == "__main__":
    import sys
    if sys.argv[1] == "spy":
        spy(*map(int, sys.argv[2:]))
    else:
        watch(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
