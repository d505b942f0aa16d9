#!/usr/bin/env bash
# Checks the pages of a server and its peers in a real browser: search, play, seek, hostile names, keyboard, phone, three languages.
# Then the page of one file, folders, orders, 10,000 files, installing, a slow network, and uploads.
# Then the sessions of browsers by a certificate, and the view of administrators; that needs openssl.
# With nginx installed, the pages are also checked behind a proxy.
# Usage: scripts/check-page.sh [FOLDER]      for screenshots; the program is the path printed by scripts/program.sh
set -euo pipefail
# Debian installs nginx in a folder outside the PATH of users.
PATH=$PATH:/usr/sbin
cd "$(dirname "$0")/.."
for needed in node "${CHROMIUM:-chromium}"; do
    if ! command -v "$needed" >/dev/null; then
        echo "skipped: $needed is not installed here"
        exit 0
    fi
done
program=$(scripts/program.sh)
code=0
node scripts/page/check.mjs "$program" "$@" || code=$?
node scripts/page/files.mjs "$program" "$@" || code=$?
if command -v openssl >/dev/null; then
    node scripts/page/sessions.mjs "$program" "$@" || code=$?
else
    echo "skipped: openssl is not installed here, and the check of sessions is left out"
fi
exit "$code"
