"""A sparse file so long that TLS changes its keys on the connection. See run.sh."""

import os
import subprocess
import time

from base import Base, judged, row, show
from tools import Trouble

GIB = 1 << 30
RECORD = 16 << 10
RECORDS = 1 << 24  # under one key of AES-GCM


class Rekey(Base):
    def A(self):
        """One connection of curl from the beginning to the end; the root of the stream is that of the index."""
        size = self.size or (2 * GIB if self.quick else 300 * GIB)
        updates = (size // RECORD - 1) // RECORDS
        hashing, streaming = self.streamed(min(GIB, size), "calibration")
        estimate = size / GIB * (hashing + streaming)
        print(f"  {size / GIB:g} GiB: about {estimate / 60:.1f} minutes, of which the owner hashes {size / GIB * hashing / 60:.1f}; "
              f"{updates} KeyUpdates by the owner", flush=True)
        _, seconds = self.streamed(size, "giant", patience=60 + 4 * estimate)
        rate = GIB / seconds / (1 << 20)
        said = judged(True) if updates else "PASS, but no KeyUpdate: needs more than 256 GiB"
        row(f"A. {size / GIB:g} GiB on one TLS connection", f"{rate:.0f} MiB/s", target="right root", good=said)

    def streamed(self, size, name, patience=120.0):
        """Shares holes and streams them. Returns the seconds of hashing and of streaming, for each GiB."""
        folder = self.place.folder(name)
        self.sparse(f"{name}.bin", size, folder)
        began = time.monotonic()
        peer = self.peer(folder)
        root = self.settled(f"{name}.bin", patience=patience)[0]["root"]
        hashing = time.monotonic() - began
        curl = ["curl", "-sSfk", "--tls13-ciphers", "TLS_AES_128_GCM_SHA256", f"https://{peer.address}/files/{name}.bin"]
        show(curl)
        began = time.monotonic()
        sending = subprocess.Popen(curl, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        summing = subprocess.Popen(["b3sum", "--no-names"], stdin=sending.stdout, stdout=subprocess.PIPE, text=True)
        sending.stdout.close()
        found = summing.communicate()[0].strip()
        took = time.monotonic() - began
        if sending.wait() or found != root:
            raise Trouble(f"curl ended with code {sending.returncode}, and the stream has the root {found}; the index has {root}")
        peer.end()
        os.remove(os.path.join(folder, f"{name}.bin"))
        return hashing * GIB / size, took * GIB / size
