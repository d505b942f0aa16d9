#!/usr/bin/env bash
# Prints the path of the program that checks run: $CARDUME_PROGRAM, or the optimised one, which is built first.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ -z ${CARDUME_PROGRAM:-} ]]; then
    cargo build --locked --release --quiet
    CARDUME_PROGRAM=${CARGO_TARGET_DIR:-target}/release/cardume
fi
realpath "$CARDUME_PROGRAM"
