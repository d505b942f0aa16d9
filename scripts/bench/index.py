"""Memory and response times of an index of millions of names, each with its target."""

import json
import os
import re
import subprocess

from base import Base, judged, row
from tools import Trouble

# The metric, its target, and whether the target is an upper bound.
TARGETS = {
    "files added per second": (400_000, "above"),
    "slowest 1,000 files added": (2, "below"),
    "slowest slice of building": (2, "below"),
    "memory of names, both": (130, "below"),
    "memory of holdings": (32, "below"),
    "memory of roots": (48, "below"),
    "exact p99": (20, "below"),
    "contains, all kinds, p50": (200, "below"),
    "contains, all kinds, p99": (2_000, "below"),
    "slowest slice of sweeping": (2, "below"),
    "like, longest step": (2, "below"),
    "the worst words, longest step": (2, "below"),
    "sorted by size, longest step": (2, "below"),
}
# Targets that depend on the number of names, all upper bounds.
SIZED = {(1_000_000, "like p50"): 50, (5_000_000, "like p50"): 250}
# An exact look-up at the largest of these sizes, against the smallest.
GROWTH = (100_000, 10_000_000)


class Index(Base):
    def s(self):
        """An index of one and of five million names in one process."""
        example = os.path.join(os.path.dirname(self.cardume), "examples", "index_size")
        if not os.path.exists(example):
            raise Trouble(f"{example} is not there: cargo build --release --example index_size")
        looks = {}
        sizes = ["1000000"] if self.quick else ["1000000", "5000000"]
        with subprocess.Popen([example, "--json", *sizes], stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                figure = json.loads(line)
                what, value = figure["what"], figure["value"]
                if what == "growth: exact p50":
                    looks[figure["names"]] = value
                sized = SIZED.get((figure["names"], re.sub(r" \(\d+ hits\)", "", what)))
                target, kind = (sized, "below") if sized else TARGETS.get(what, (None, None))
                good = "" if target is None else judged(value <= target if kind == "below" else value >= target)
                wanted = "-" if target is None else f"{'<=' if kind == 'below' else '>='} {target:,}"
                row(f"s. {figure['names']:,}: {what}", f"{value:,.2f} {figure['unit']}", target=wanted, good=good)
        if process.returncode != 0:
            raise Trouble("index_size failed")
        small, large = (looks[names] for names in GROWTH)
        row(f"s. exact look-up, {GROWTH[1]:,} names, {GROWTH[0]:,} names", f"{large:.2f} us", f"{small:.2f} us", f"{large / small:.1f}", "<= 2",
            judged(large <= 2 * small))
