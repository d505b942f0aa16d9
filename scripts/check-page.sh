#!/usr/bin/env bash
# Looks at the pages of a server and its peers in a real browser: searching, playing, seeking, hostile names, the keyboard, a phone, three languages.
# Where nginx is installed, the pages are tried behind it too.
# Usage: scripts/check-page.sh [FOLDER]      screenshots go there; the program is what scripts/program.sh names
set -euo pipefail
# Debian keeps nginx where only root looks.
PATH=$PATH:/usr/sbin
cd "$(dirname "$0")/.."
for needed in node "${CHROMIUM:-chromium}"; do
    if ! command -v "$needed" >/dev/null; then
        echo "skipped: $needed is not installed here"
        exit 0
    fi
done
exec node scripts/page/check.mjs "$(scripts/program.sh)" "$@"
