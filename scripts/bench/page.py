"""The page in a browser: bytes loaded, and the time from typing to the result on the screen."""

import json
import os
import shutil
import statistics
import subprocess

from base import Base, judged, row
from tools import Client, Trouble

FILES = 100_000
PART = 5_000
WORDS = ("aula", "curso", "video", "lesson", "filme")
DRIVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "page", "time.mjs")


class Page(Base):
    def r(self):
        """The size of the page, and the time from typing to the first result with a hundred thousand files in the index."""
        browser = os.environ.get("CHROMIUM", "chromium")
        if not shutil.which("node") or not shutil.which(browser):
            raise Trouble(f"node or {browser} is not installed here")
        peer = Client(self.server.address)
        for part in range(FILES // PART):
            numbers = range(part * PART, (part + 1) * PART)
            files = [{"name": f"{WORDS[number % 5]} {number:06} do ano {2000 + number % 27}.mp4", "size": 1_000_000_000 + number} for number in numbers]
            head = {"id": part, "method": "JOIN", "part": part, "more": (part + 1) * PART < FILES, "files": files}
            if part == 0:
                head["port"] = 4001
            peer.socket.sendall(json.dumps(head).encode() + b"\n")
            if b"JOIN_" not in peer._lines(1)[0]:
                raise Trouble("the index does not take the files")
        queries = ["aula", "curso 0", "099999", "ano 2026", "lesson 012"][:self.runs]
        done = subprocess.run(["node", DRIVER, self.server.address, *queries], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=180)
        peer.close()
        if done.returncode:
            raise Trouble(f"the browser: {done.stderr.strip()}")
        said = json.loads(done.stdout)
        print(f"  {', '.join(f'{query}: {took:.0f} ms' for query, took in zip(queries, said['times']))}")
        took = statistics.median(said["times"])
        row("r. the page in all, as sent", f"{said['bytes'] / 1000:.1f} KB", target="< 90 KB", good=judged(said["bytes"] < 90_000))
        row(f"r. typed to seen, {FILES:,} files", f"{took:.0f} ms", target="< 200 ms", good=judged(took < 200))
