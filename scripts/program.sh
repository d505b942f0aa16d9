#!/usr/bin/env bash
# Prints the path of the program for the checks: $CARDUME_PROGRAM, or the release program after building.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ -z ${CARDUME_PROGRAM:-} ]]; then
    cargo build --locked --release --quiet
    CARDUME_PROGRAM=${CARGO_TARGET_DIR:-target}/release/cardume
fi
realpath "$CARDUME_PROGRAM"
