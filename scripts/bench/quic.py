"""The cost of a file by QUIC and by TCP. See run.sh; a section is a letter."""

import os

from base import Base, emptied, judged, medians, row, show
from tools import MIB, Trouble

BOUND = 0.25


class Quic(Base):
    def q(self):
        source = self.file("big.bin", self.big)
        peer = self.peer(None, "--udp", "0")
        self.settled("big.bin")
        target = self.place.folder("downloads")
        by_tcp = self.get("big.bin", target)
        by_quic = by_tcp + ["--transport", "quic"]
        show(by_quic)
        show(by_tcp)
        self.fetch(by_tcp)  # fill the page cache
        times = []
        for run in range(self.runs):
            took = {}
            # Alternate the order, so that neither side profits from its position.
            for which in (0, 1) if run % 2 == 0 else (1, 0):
                emptied(target)
                took[which] = self.fetch((by_quic, by_tcp)[which], "q" if which == 0 else None)
                self.same(os.path.join(target, "big.bin"), source)
            times.append((took[0], took[1]))
        emptied(target)
        quic, tcp = medians(times)
        if not quic or not tcp:
            raise Trouble("a download took no time")
        rate = lambda seconds: f"{self.big / MIB / seconds:.0f} MiB/s"
        row(f"q. {self.big // MIB} MiB by QUIC / by TCP", rate(quic), rate(tcp), f"{tcp / quic:.2f}", f">= {BOUND}", judged(tcp / quic >= BOUND))
        self.end("q", "provider", peer)
