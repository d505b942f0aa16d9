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
mkdir "$place"/{home,root,data,music,theirmusic,napster,ana,ana/Sub,theirs,out,output}
. scripts/checking.sh
export RUST_LOG=info PYTHONDONTWRITEBYTECODE=1
compat=scripts/compat
profiles=(2020 2020-int 2024 2024-plain 2025 fixed)
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
head -c 1M /dev/urandom >"$place/music/m1"
head -c 120M /dev/urandom >"$place/ana/long.mp4"
cp "$place/ana/a.mp4" "$place/theirs/theirs.mp4"
cp "$place/ana/a.mp4" "$place/napster/napster.mp4"
head -c 1M /dev/urandom >"$place/theirmusic/song.mp3"
# Sparse: as long as a real video, without using disk space.
truncate -s 1200M "$place/ana/giant.mp4"
printf 'not only zeros' | dd of="$place/ana/giant.mp4" bs=1 seek=1100000000 conv=notrunc status=none

wires=$(printf ' --uc3m 0:%s' "${profiles[@]}")
start log "$cardume" rpc-log --listen 127.0.0.1:0
log=$(wait_for "$place/output/log" 'listening on ([0-9.:]+)')
start server "$cardume" server --listen 127.0.0.1:0 --data "$place/data" --ufabc-json-root "$place/root" --napster --music 0 --rede 0 --soap 0 --soap 0 \
    --rpc-log "$log" $wires
rede=$(wait_for "$place/output/server" 'rede ([0-9.:]+)')
# The ports are reported in the order of the command line.
mapfile -t usual < <(sed -nE 's/.*cardume: listening on ([0-9.:]+).*/\1/p' "$place/output/server")
mapfile -t uc3m < <(sed -nE 's/^s> init server ([0-9.:]+)$/\1/p' "$place/output/server")
server=${usual[0]} soap=${usual[1]}
music=$(wait_for "$place/output/server" 'music-udp ([0-9.:]+)')
start peer "$cardume" peer --server "$server" --listen 127.0.0.1:0 --folder "$place/ana" --recursive --user ana --ufabc-json --napster \
    --rede 0 $wires
start music "$cardume" peer --server "$server" --listen 127.0.0.1:0 --folder "$place/music" --open --music-udp 0
udp=$(wait_for "$place/output/music" 'music-udp ([0-9.:]+)')
peer=$(wait_for "$place/output/peer" 'Sou peer [0-9.]+:([0-9]+) ')
wait_for "$place/output/peer" '(connected as ana)' >"$place/connected"
peer_rede=$(wait_for "$place/output/peer" 'rede ([0-9.:]+)')
export CARDUME_SERVER=$server

for n in "${!profiles[@]}"; do
    profile=${profiles[n]}
    aside "uc3m $profile" python3 "$compat/uc3m.py" check --server "${uc3m[n]}" --profile "$profile" --peer-get \
        --peer ana --file Sub/b.mp4 --expect "$place/ana/Sub/b.mp4"
done
aside ufabc_json python3 "$compat/ufabc_json.py" check --server "$server" --root "$place/root" --peer "$peer" --file a.mp4 --expect "$place/ana/a.mp4"
aside rede python3 "$compat/rede.py" check --server "$rede" --peer "$peer_rede" --file a.mp4 --expect "$place/ana/a.mp4"
aside music python3 "$compat/music.py" check --server "$music"
aside "music by udp" python3 "$compat/music.py" get --from "$udp" --file m1 --out "$place/out/m1" --expect "$place/music/m1"
aside napster python3 "$compat/napster.py" check --server "$server" --peer "127.0.0.1:$peer" --file a.mp4 --expect "$place/ana/a.mp4"
aside soap python3 "$compat/soap.py" "$soap"
aside "soap on a second port" python3 "$compat/soap.py" "${usual[2]}"
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
aside "music peer" python3 "$compat/music.py" check --server "$music" --peer "$udp" --file m1 --expect "$place/music/m1"
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
# Each family of napster-ufabc gives a file in its own way, one of them found by the index.
for form in download greeting name line object http; do
    at_index=()
    [[ $form == download ]] && at_index=(--server "$server")
    start "provider-napster-$form" python3 "$compat/napster.py" serve --form "$form" --folder "$place/napster" "${at_index[@]}"
done
for form in download greeting name line object http; do
    port=$(wait_for "$place/output/provider-napster-$form" 'ready ([0-9]+)')
    ours "napster $form gives" "$place/napster/napster.mp4" --from "napster-ufabc@127.0.0.1:$port"
    aside "napster $form lacks it" bash -c '"$1" get none.mp4 --from "$2" --folder "$3"; code=$?; [ $code -ne 0 ] && [ ! -e "$3/none.mp4" ] && echo "exit code $code"' - \
        "$cardume" "napster-ufabc@127.0.0.1:$port" "$place/out"
done
ours "napster found" "$place/napster/napster.mp4"
# A node of music-udp gives a file; a lost datagram is a failure.
start provider-music python3 "$compat/music.py" serve --folder "$place/theirmusic" --server "$music"
start provider-lossy python3 "$compat/music.py" serve --folder "$place/theirmusic" --lose 7
wait_for "$place/output/provider-music" 'ready ([0-9]+)' >"$place/music-port"
ours "music gives" "$place/theirmusic/song.mp3" --from "music-udp@127.0.0.1:$(cat "$place/music-port")"
ours "music found" "$place/theirmusic/song.mp3"
aside "music loses a datagram" bash -c '"$1" get song.mp3 --from "$2" -o "$3"; [ $? -eq 8 ] && [ ! -e "$3" ] && echo "exit code 8"' - \
    "$cardume" "music-udp@127.0.0.1:$(wait_for "$place/output/provider-lossy" 'ready ([0-9]+)')" "$place/out/lossy"
# The index has asked the rede peer for its names.
aside "rede names in the index" bash -c 'for _ in {1..100}; do "$1" search giant.mp4 | grep "$2" && exit; sleep 0.2; done; exit 1' - "$cardume" 127.0.0.2:
# Files by their paths, and files that a rede peer answers with silence.
mkdir "$place/rede"
: >"$place/rede/empty.txt"
cp "$place/theirs/theirs.mp4" "$place/rede/"
start provider-silent python3 "$compat/rede.py" serve --server "$rede" --folder "$place/rede" --bind 127.0.0.4
silent=rede@127.0.0.4:$(wait_for "$place/output/provider-silent" 'ready ([0-9]+)')
ours "rede gives an empty file" "$place/rede/empty.txt" --from "$silent"
aside "rede gives no such file" bash -c '"$1" get none.txt --from "$2" --folder "$3"; [ $? -eq 3 ] && echo "exit code 3"' - \
    "$cardume" "$silent" "$place/out"
aside "uc3m 2025 gives by path" bash -c 'cd "$1" && "$2" get "$3" --from "$4" && cmp "$3" "${3##*/}" && echo "the same"' - \
    "$place/output" "$cardume" "$place/ana/long.mp4" "uc3m-2025@127.0.0.1:$(wait_for "$place/output/provider-2025" 'ready ([0-9]+)')"
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
