#!/usr/bin/env python3
"""Draws the rows of a benchmark run with a comparison program, as SVG.

Usage: graph.py RUN.json GRAPH.svg SECTION...       RUN.json is what `scripts/bench/run.sh --json RUN.json` wrote

A row is drawn when both sides have a rate of the same unit, so a longer bar is always the better one. The longest bar of the
whole graph has the full width; nothing is drawn that the file does not hold.
"""

import json
import sys
import textwrap
from html import escape

OTHERS = {"a": "nginx", "b": "nginx", "q": "TCP"}  # the comparison program, by section; other rows name theirs
RATES = ("MiB/s", "MB/s", "GiB/s", "/s")
WIDTH, LEFT, RIGHT, BAR, GAP = 860, 290, 150, 18, 14
STYLE = """
  text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: #14202b }
  .small { font-size: 11.5px; fill: #50606c }
  .title { font-size: 16px; font-weight: 600 }
  .cardume { fill: #0b6b7a } .other { fill: #a9b8c2 } .paper { fill: #fff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e8eef2 } .small { fill: #a9b8c2 } .cardume { fill: #4fb8c6 } .other { fill: #5d6e7a } .paper { fill: #14202b }
  }
"""


def drawable(run, sections):
    rows = []
    for row in (row for section in sections for row in run["sections"][section]["rows"]):
        ours, other = row.get("cardume", {}), row.get("other", {})
        if "value" not in ours or "value" not in other or ours["unit"] != other["unit"] or ours["unit"] not in RATES:
            continue
        rows.append(row)
    units = {row["cardume"]["unit"] for row in rows}
    if len(units) != 1:
        sys.exit(f"the rows must have one unit, and have {sorted(units) or 'none'}")
    return rows


def graph(section, rows):
    longest = max(side["value"] for row in rows for side in (row["cardume"], row["other"]))
    scale = (WIDTH - LEFT - RIGHT) / longest
    parts, y = [], 56
    for row in rows:
        letter, _, name = row["name"].partition(". ")
        lines = textwrap.wrap(name, 40)
        for number, line in enumerate(lines):
            at = y + BAR + 4 + (number - (len(lines) - 1) / 2) * 16
            parts.append(f'<text x="{LEFT - 14}" y="{at:g}" text-anchor="end">{escape(line)}</text>')
        other = OTHERS.get(letter, "other")
        for side, label in (("cardume", "cardume"), ("other", other)):
            figure = row[side]
            wide = max(1, figure["value"] * scale)
            parts.append(f'<rect class="{side}" x="{LEFT}" y="{y}" width="{wide:.1f}" height="{BAR}" rx="2"/>')
            parts.append(f'<text class="small" x="{LEFT + wide + 7:.1f}" y="{y + 13}">{escape(figure["text"])} {escape(label)}</text>')
            y += BAR + 2
        y += GAP
    versions = ", ".join(version.split(" (x86")[0] for version in section["versions"].values())
    for line in textwrap.wrap(f"{section['command']} at {section['commit']}, medians of {section['runs']} alternating runs, loopback. {section['machine']}. {versions}.", 125):
        parts.append(f'<text class="small" x="20" y="{y + 8}">{escape(line)}</text>')
        y += 16
    height = y + 12
    title = f"Throughput in {rows[0]['cardume']['unit']}, longer is better"
    head = f'<text class="title" x="20" y="32">{escape(title)}</text>'
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">\n'
            f'<title>{escape(title)}</title>\n<style>{STYLE}</style>\n<rect class="paper" width="{WIDTH}" height="{height}"/>\n'
            + "\n".join([head, *parts]) + "\n</svg>\n")


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        run = json.load(file)
    with open(sys.argv[2], "w") as file:
        file.write(graph(run["sections"][sys.argv[3]], drawable(run, sys.argv[3:])))


if __name__ == "__main__":
    main()
