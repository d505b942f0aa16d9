#!/usr/bin/env python3
"""Writes the rows of benchmark runs into a page of documentation, between its two marks.

Usage: report.py RUN.json PAGE.md       RUN.json is what `scripts/bench/run.sh --json RUN.json` wrote
"""

import json
import sys

BEGIN, END = "<!-- rows of the runs: scripts/bench/report.py writes them -->", "<!-- end of the rows -->"
COLUMNS = ("cardume", "other", "ratio", "target")


def cells(row):
    verdict = {"PASS": "met", "short": "**missed**", "-": "", "": ""}.get(row["verdict"], row["verdict"])
    texts = (row.get(column, {}).get("text", "") for column in COLUMNS)
    name = row["name"].strip().partition(". ")
    return " | ".join((name[2] if len(name[0]) == 1 else row["name"].strip(), *texts, verdict))


def versions(section):
    """The versions of a section, without the long tails that programs add to theirs."""
    return ", ".join(text.split(" (")[0].removeprefix("nginx version: ") for text in section["versions"].values())


def page(run):
    parts, sections = [], run["sections"]
    for letter, section in sections.items():
        short = sum(row["verdict"] not in ("PASS", "-", "") for row in section["rows"])
        judged = sum(row["verdict"] not in ("-", "") for row in section["rows"])
        told = f"{judged - short} of {judged} targets met" if judged else "no target"
        parts += [f"### {letter}. {section['name']}", "",
                  f"`{section['command']}` at {section['commit']}, medians of {section['runs']} runs, load {section['load_before']} before: {told}.", "",
                  f"| measurement | {' | '.join(COLUMNS)} | |", "|---|---|---|---|---|---|", *(f"| {cells(row)} |" for row in section["rows"]), ""]
    if sections:
        last = list(sections.values())[-1]
        parts += [f"Machine: {last['machine']}. Programs: {versions(last)}.", ""]
    return "\n".join(parts)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        rows = page(json.load(file))
    with open(sys.argv[2]) as file:
        text = file.read()
    before, found, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        sys.exit(f"{sys.argv[2]} lacks the marks {BEGIN} and {END}")
    with open(sys.argv[2], "w") as file:
        file.write(f"{before}{BEGIN}\n\n{rows}\n{END}{after}")


if __name__ == "__main__":
    main()
