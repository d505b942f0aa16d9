#!/usr/bin/env bash
# Starts a server and a peer with five kinds of files, and checks both against PROTOCOL.md. Scripted peers also serve `cardume get`.
# The program is the path printed by scripts/program.sh.
# Usage: scripts/check-conformance.sh [ARGUMENTS OF scripts/conformance, such as --slow]
set -euo pipefail
cd "$(dirname "$0")/.."

cardume=$(scripts/program.sh)
place=$(mktemp -d)
mkdir "$place"/{home,output}
. scripts/checking.sh
pids=()
trap end_programs EXIT

mkdir "$place/files"
: > "$place/files/empty.txt"
head -c 50000 /dev/urandom > "$place/files/small.bin"
mkdir -p "$place/files/Dark/S01"
for number in $(seq 40); do
    head -c $((number * 300)) /dev/urandom > "$place/files/Dark/S01/$number.bin"
done
echo text > "$place/files/Dark/read me.txt"
head -c 3M /dev/urandom > "$place/files/middle.bin"
# Sparse: as long as a real video, without using disk space.
truncate -s 1200M "$place/files/giant.mp4"

listening server "$cardume" server --listen 127.0.0.1:0
server=$at
listening peer "$cardume" peer --server "$server" --listen 127.0.0.1:0 --folder "$place/files" -r
peer=$at

echo "server at $server, peer at $peer with $(ls "$place/files" | tr '\n' ' ')"
check() {
    python3 scripts/conformance --server "$server" --peer "$peer" --folder "$place/files" --program "$cardume" "$@"
}
check "$@"
echo "the same inside TLS"
check --tls "$@"
