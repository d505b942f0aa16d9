#!/usr/bin/env bash
# Looks at the pages of a server and its peers in a real browser: searching, playing, seeking, hostile names, the keyboard, a phone, three languages.
# Usage: scripts/check-page.sh [FOLDER]      screenshots go there; the program is what scripts/program.sh names
set -euo pipefail
cd "$(dirname "$0")/.."
for needed in node "${CHROMIUM:-chromium}"; do
    if ! command -v "$needed" >/dev/null; then
        echo "skipped: $needed is not installed here"
        exit 0
    fi
done
exec node scripts/page/check.mjs "$(scripts/program.sh)" "$@"
