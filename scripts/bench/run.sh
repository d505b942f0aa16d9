#!/usr/bin/env bash
# Measures cardume side by side with nginx and curl, in one run, alternating. Prints one line for each thing measured.
# Usage: scripts/bench/run.sh [--quick] [SECTION...]
#   a  one file from memory to /dev/null                  d  answers while uploads wait for a slow disk
#   b  64 such downloads at once                          e  how long the turns of the loop took in a and c
#   c  one file to the disk
# --quick: three runs in the place of five, and smaller files. Needs about 7 GB below $TMPDIR, or /tmp, for a while.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,6s/^# //p' "$0"
    exit
fi

export PATH=$PATH:/usr/sbin
missing=()
command -v nginx >/dev/null || missing+=(nginx-light)
command -v curl >/dev/null || missing+=(curl)
if ((${#missing[@]})); then
    if ((EUID != 0)); then
        echo "please install ${missing[*]}, or run this as root" >&2
        exit 1
    fi
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
fi

cargo build --locked --release --quiet
export PYTHONDONTWRITEBYTECODE=1
exec python3 scripts/bench/bench.py "${CARGO_TARGET_DIR:-target}/release/cardume" "$@"
