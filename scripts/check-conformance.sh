#!/usr/bin/env bash
# Starts a server and a peer with four kinds of files, and checks both against PROTOCOL.md. Scripted peers also serve `cardume get`.
# The program is the path printed by scripts/program.sh.
# Usage: scripts/check-conformance.sh [ARGUMENTS OF scripts/conformance, such as --slow]
set -euo pipefail
cd "$(dirname "$0")/.."

cardume=$(scripts/program.sh)
export CARDUME_LANG=en

place=$(mktemp -d)
export CARDUME_CACHE=$place/.cache XDG_STATE_HOME=$place/.state
pids=()
clean_up() {
    ((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null && wait "${pids[@]}" 2>/dev/null
    rm -rf "$place"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir "$place/files"
: > "$place/files/empty.txt"
head -c 50000 /dev/urandom > "$place/files/small.bin"
head -c 3M /dev/urandom > "$place/files/middle.bin"
# Sparse: as long as a real video, without using disk space.
truncate -s 1200M "$place/files/giant.mp4"

# Reads the output of a program from a file descriptor and prints the listen address.
address_in() {
    local line
    while read -r -t 20 -u "$1" line; do
        if [[ $line =~ listening\ on\ ([0-9.:]+) ]]; then
            echo "${BASH_REMATCH[1]}"
            return
        fi
    done
    echo "no listen address was printed" >&2
    return 1
}

exec {from_server}< <(exec "$cardume" server --listen 127.0.0.1:0 2>&1 >/dev/null)
pids+=("$!")
server=$(address_in "$from_server")
exec {from_peer}< <(exec "$cardume" peer --server "$server" --listen 127.0.0.1:0 --folder "$place/files" 2>&1 >/dev/null </dev/null)
pids+=("$!")
peer=$(address_in "$from_peer")

echo "server at $server, peer at $peer with $(ls "$place/files" | tr '\n' ' ')"
check() {
    python3 scripts/conformance --server "$server" --peer "$peer" --folder "$place/files" --program "$cardume" "$@"
}
check "$@"
echo "the same inside TLS"
check --tls "$@"
