#!/usr/bin/env bash
# Dozens of peers with one file each download from each other while a client searches. Checks every byte of every download
# and the single thread of each process. Prints throughput, search times and memory. Fails on any error.
# Usage: scripts/load-test.sh [PEERS] [SIZE]        default: 48 peers with 16M each
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,4s/^# //p' "$0"
    exit
fi
cardume=$(scripts/program.sh)
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
export PYTHONDONTWRITEBYTECODE=1 XDG_STATE_HOME=$state
python3 scripts/bench/load.py "$cardume" "${1:-48}" "${2:-16M}"
