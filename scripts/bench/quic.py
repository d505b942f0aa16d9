"""The cost of a file by QUIC and by TCP. See run.sh; a section is a letter."""

import os
import tempfile

from base import MEMORY, Base, emptied, show, warmed
from tools import MIB

BOUND = 0.75  # of plain TCP


class Quic(Base):
    def q(self):
        source = self.file("big.bin", self.big)
        plain = self.unencrypted()
        peers = [self.peer(None, "--udp", "0"), self.place.peer(self.cardume, plain.address, self.files, "--open", info=True)]
        self.settled("big.bin")
        self.settled("big.bin", server=plain)
        with tempfile.TemporaryDirectory(prefix="cardume-", dir=MEMORY) as root:
            target = os.path.join(root, "to")
            by_tls = self.get("big.bin", target)
            ways = {"QUIC": by_tls + ["--transport", "quic"], "TLS": by_tls,
                    "plain TCP": [self.cardume, "get", "big.bin", "--server", plain.address, "--folder", target]}
            for command in ways.values():
                show(command)
            times = {name: [] for name in ways}
            for turn in range(self.runs):
                names = list(ways)
                for name in names[turn % len(names):] + names[:turn % len(names)]:
                    emptied(target)
                    warmed(target, self.big)
                    times[name].append(self.fetch(ways[name], "q" if name == "QUIC" else None))
                    self.same(os.path.join(target, "big.bin"), source)
        for name, least in (("plain TCP", BOUND), ("TLS", None)):
            self.compare(f"q. {self.big // MIB} MiB by QUIC, by {name}", list(zip(times["QUIC"], times[name])), self.big, least)
        self.end("q", "provider", *peers)
