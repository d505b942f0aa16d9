#!/usr/bin/env bash
# Starts a server and a peer with every legacy protocol, and checks them with programs of the legacy systems: the checks of
# scripts/compat, and transfers in both directions, each file compared.
# Usage: scripts/check-compat.sh [PROGRAM]        default: the path printed by scripts/program.sh
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,4s/^# //p' "$0"
    exit
fi
if (($#)); then
    cardume=$(realpath "$1")
else
    cardume=$(scripts/program.sh)
fi

place=$(mktemp -d)
mkdir "$place"/{home,root,data,ana,ana/Sub,theirs,out,output}
. scripts/checking.sh
export RUST_LOG=info PYTHONDONTWRITEBYTECODE=1
compat=scripts/compat
profiles=(2020 2024 2024-plain 2025 fixed)
pids=()
declare -A under_way
clean_up() {
    kill "${pids[@]}" "${under_way[@]}" 2>/dev/null || true
    wait
    rm -rf "$place"
}
trap clean_up EXIT

start() { # NAME COMMAND...
    local name=$1
    shift
    "$@" </dev/null >"$place/output/$name" 2>&1 &
    pids+=("$!")
}

# Runs a check in the background; its last line goes into the summary.
aside() { # NAME COMMAND...
    local name=$1
    shift
    timeout 50 "$@" </dev/null >"$place/output/$name" 2>&1 &
    under_way[$name]=$!
}

failed=0
finish() {
    local name
    while IFS= read -r name; do
        if wait "${under_way[$name]}"; then
            printf '%-28s %s\n' "$name" "$(tail -n 1 "$place/output/$name")"
        else
            failed=$((failed + 1))
            printf '%-28s FAILED\n' "$name"
            sed 's/^/    /' "$place/output/$name"
        fi
    done < <(printf '%s\n' "${!under_way[@]}" | sort)
    under_way=()
}

head -c 5M /dev/urandom >"$place/ana/a.mp4"
head -c 3M /dev/urandom >"$place/ana/Sub/b.mp4"
head -c 120M /dev/urandom >"$place/ana/long.mp4"
cp "$place/ana/a.mp4" "$place/theirs/theirs.mp4"
# Sparse: as long as a real video, without using disk space.
truncate -s 1200M "$place/ana/giant.mp4"
printf 'not only zeros' | dd of="$place/ana/giant.mp4" bs=1 seek=1100000000 conv=notrunc status=none

# The legacy protocols cannot use port 0. Free ports are chosen below the ephemeral range of the system.
mapfile -t ports < <(python3 -c '
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    one = socket.socket()
    try:
        one.bind(("127.0.0.1", random.randrange(20000, 32000)))
        held.append(one)
    except OSError:
        one.close()
print(*(one.getsockname()[1] for one in held), sep="\n")' 13)
start log "$cardume" rpc-log --listen 127.0.0.1:0
log=$(wait_for "$place/output/log" 'listening on ([0-9.:]+)')
start server "$cardume" server --listen 127.0.0.1:0 --data "$place/data" --ufabc-json-root "$place/root" --rede "${ports[5]}" --soap "${ports[6]}" \
    --rpc-log "$log" $(for n in {0..4}; do echo "--uc3m ${ports[n]}:${profiles[n]}"; done)
server=$(wait_for "$place/output/server" 'cardume: listening on ([0-9.:]+)')
uc3m=("${ports[@]:0:5}")
uc3m=("${uc3m[@]/#/127.0.0.1:}") rede=127.0.0.1:${ports[5]} soap=127.0.0.1:${ports[6]}
start peer "$cardume" peer --server "$server" --listen 127.0.0.1:0 --folder "$place/ana" --recursive --user ana --ufabc-json \
    --rede "${ports[7]}" $(for n in {0..4}; do echo "--uc3m ${ports[n + 8]}:${profiles[n]}"; done)
peer=$(wait_for "$place/output/peer" 'Sou peer [0-9.]+:([0-9]+) ')
wait_for "$place/output/peer" '(connected as ana)' >"$place/connected"
peer_rede=127.0.0.1:${ports[7]}
export CARDUME_SERVER=$server

for n in "${!profiles[@]}"; do
    profile=${profiles[n]}
    aside "uc3m $profile" python3 "$compat/uc3m.py" check --server "${uc3m[n]}" --profile "$profile" --peer-get \
        --peer ana --file Sub/b.mp4 --expect "$place/ana/Sub/b.mp4"
done
aside ufabc_json python3 "$compat/ufabc_json.py" check --server "$server" --root "$place/root" --peer "$peer" --file a.mp4 --expect "$place/ana/a.mp4"
aside rede python3 "$compat/rede.py" check --server "$rede" --peer "$peer_rede" --file a.mp4 --expect "$place/ana/a.mp4"
aside soap python3 "$compat/soap.py" "$soap"
aside "soap on the usual port" python3 "$compat/soap.py" "$server"
aside "rpc log" python3 "$compat/rpc_log.py" "$log"
finish

# From our peer to the legacy peers, with one file of more than 1 GB.
for n in "${!profiles[@]}"; do
    profile=${profiles[n]} file=long.mp4
    [[ $profile == fixed ]] && file=giant.mp4
    aside "uc3m $profile takes" python3 "$compat/uc3m.py" get --server "${uc3m[n]}" --profile "$profile" --user "requester-$profile" \
        --from ana --file "$file" --out "$place/out/$profile" --expect "$place/ana/$file"
done
aside "ufabc_json takes" python3 "$compat/ufabc_json.py" get --server "$server" --file long.mp4 --out "$place/out/ufabc_json" --from "$peer" \
    --expect "$place/ana/long.mp4"
aside "rede takes" python3 "$compat/rede.py" get --server "$rede" --from "$peer_rede" --file long.mp4 --out "$place/out/rede" \
    --expect "$place/ana/long.mp4"
finish
rm -f "$place"/out/*

# From the legacy peers to `cardume get`.
for n in "${!profiles[@]}"; do
    profile=${profiles[n]}
    start "provider-$profile" python3 "$compat/uc3m.py" serve --server "${uc3m[n]}" --profile "$profile" --user "provider-$profile" \
        --folder "$place/ana" --publish long.mp4:lesson
done
start provider-ufabc_json python3 "$compat/ufabc_json.py" serve --server "$server" --folder "$place/theirs" --root "$place/root"
start provider-rede python3 "$compat/rede.py" serve --server "$rede" --folder "$place/ana"
ours() { # NAME FILE GET'S ARGUMENTS...
    local name=$1 file=$2
    shift 2
    aside "$name" bash -c 'file=$1 got=$2 && shift 2 && "$@" -o "$got" && cmp "$file" "$got" && echo "$(stat -c %s "$got") bytes, the same"' - \
        "$file" "$place/out/$name" "$cardume" get "$(basename "$file")" "$@"
}
for profile in "${profiles[@]}"; do
    ours "uc3m $profile gives" "$place/ana/long.mp4" --from "uc3m-$profile@127.0.0.1:$(wait_for "$place/output/provider-$profile" 'ready ([0-9]+)')"
done
# The rede program never closes the connection, so the end is unproven: the bytes stay in the .part, and the code is 8.
aside "rede gives" bash -c 'file=$1 got=$2 && shift 2; "$@" -o "$got"; [ $? -eq 8 ] && cmp "$file" "$got.part" && [ ! -e "$got" ] && echo "all bytes, in the .part"' - \
    "$place/ana/long.mp4" "$place/out/rede gives" "$cardume" get long.mp4 \
    --from "rede@127.0.0.2:$(wait_for "$place/output/provider-rede" 'ready ([0-9]+)')"
ufabc_json=$(wait_for "$place/output/provider-ufabc_json" 'ready ([0-9]+)')
ours "ufabc_json gives" "$place/theirs/theirs.mp4" --from "ufabc-json@127.0.0.1:$ufabc_json"
ours "found without being named" "$place/theirs/theirs.mp4"
finish

has() { # WHAT FILE PATTERN
    if grep -qP "$3" "$2"; then
        printf '%-28s %s\n' "$1" "$(grep -cP "$3" "$2") lines"
    else
        failed=$((failed + 1))
        printf '%-28s FAILED\n' "$1"
    fi
}
has "the operator's console" "$place/output/server" '^s> OPERATION FROM provider-2024$'
has "and that of 2025" "$place/output/server" '^s> OPERATION CONNECT FROM provider-2025$'
has "the operation log" "$place/output/log" '^provider-fixed\tPUBLISH long.mp4\t\d\d/\d\d/\d{4} \d\d:\d\d:\d\d$'
if grep -n 'panicked' "$place"/output/{server,peer,log}; then
    failed=$((failed + 1))
fi
for pid in "${pids[@]:0:3}"; do
    kill -0 "$pid" || failed=$((failed + 1)) # the log, the server and the peer still run
done
((failed == 0)) || {
    echo "$failed failed"
    exit 1
}
echo "the older systems work with this one"
