#!/usr/bin/env bash
# Makes docs/picture.png from the real program: three terminals, and the page of the server on a phone.
# Two network namespaces stand for two computers on one network, 192.168.1.7 and 192.168.1.23.
# Usage: scripts/picture.sh [FILE]      the program is the path printed by scripts/program.sh
# Needs chromium, node, python3, unshare, nsenter, ip, pngquant and optipng, and 1.3 GB below $TMPDIR, or /tmp, for a while.
set -euo pipefail
cd "$(dirname "$0")/.."
for needed in "${CHROMIUM:-chromium}" node python3 unshare nsenter ip pngquant optipng; do
    command -v "$needed" >/dev/null || { echo "please install $needed" >&2; exit 1; }
done

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
program=$(scripts/program.sh)
unshare --map-root-user --net --pid --fork --mount-proc python3 scripts/picture/picture.py "$program" "$place"
pngquant --quality 70-95 --speed 1 --strip --output "$place/small.png" "$place/picture.png"
optipng -quiet -o5 "$place/small.png"
size=$(stat -c %s "$place/small.png")
((size < 300000)) || { echo "the picture has $size bytes, more than 300,000" >&2; exit 1; }
target=${1:-docs/picture.png}
cp "$place/small.png" "$target"
echo "$target: $size bytes"
