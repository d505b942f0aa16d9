#!/usr/bin/env python3
"""Instruction counts of a SEARCH, a file of a JOIN, a piece sent and a piece received, by callgrind, against instructions.json.

Usage: instructions.py PROGRAM [--update]        PROGRAM is examples/instruction_cost, built by `make bench-check`

Counts of the same program hardly vary, so that a change of 3 % is a change of the code. A count that is worse fails; one that is better
asks for an update of the file. Counts of another compiler, or of a processor without AVX2, are shown and not judged.
"""

import json
import os
import re
import subprocess
import sys

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.json")
WORK = ("search", "join", "piece-out", "piece-in")
TOLERANCE = 0.03


def counted(program, work):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*press*", program, work]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if done.returncode or not found:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return int(found.group(1)) / int(done.stdout)


def setting():
    compiler = subprocess.run(["rustc", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[1]
    with open("/proc/cpuinfo") as file:
        return f"rustc {compiler}, {'with' if ' avx2 ' in file.read() else 'without'} AVX2"


def main():
    program, update = sys.argv[1], "--update" in sys.argv[2:]
    here = setting()
    counts = {work: round(counted(program, work)) for work in WORK}
    if update:
        with open(FILE, "w") as file:
            json.dump({"setting": here, **counts}, file, indent=2)
            file.write("\n")
    with open(FILE) as file:
        known = json.load(file)
    if known["setting"] != here:
        print(f"not judged: {here}; the file has counts of {known['setting']}")
        print("\n".join(f"{work:10} {count:>12,} instructions" for work, count in counts.items()))
        return 0
    worse = 0
    for work, count in counts.items():
        change = count / known[work] - 1
        word = "WORSE" if change > TOLERANCE else "better: please update" if change < -TOLERANCE else "as before"
        worse += word == "WORSE"
        print(f"{work:10} {count:>12,} instructions, {known[work]:>12,} before, {change:+.1%}  {word}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
