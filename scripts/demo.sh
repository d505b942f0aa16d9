#!/usr/bin/env bash
# Demonstrates the program: a server and three peers, and a video of more than 1 GB. The video goes from one peer to the
# other two, piece by piece and verified, then from all three to a client that is killed during the download.
# Everything runs on this machine, in a temporary folder that is removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARDUME_LANG=en
place=$(mktemp -d)
export CARDUME_CACHE=$place/.cache XDG_STATE_HOME=$place/.state
limit=300 # MB a second of each peer, so that several sources show their sum
declare -A pid in out address

clean_up() {
    local name
    for name in "${!pid[@]}"; do kill "${pid[$name]}" 2>/dev/null || true; done
    for name in "${!pid[@]}"; do wait "${pid[$name]}" 2>/dev/null || true; done
    rm -rf "$place"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

title() { printf '\n== %s\n' "$*"; }
now() { date +%s%N; }

# speed BYTES NANOSECONDS
speed() { awk -v bytes="$1" -v ns="$2" 'BEGIN { printf "%.2f GB in %.1f s, %.0f MB/s", bytes / 1e9, ns / 1e9, bytes * 1e3 / ns }'; }

# Prints the output of a program up to the line that contains TEXT.
wait_for() { # NAME TEXT
    local line
    while IFS= read -r -t 60 -u "${out[$1]}" line; do
        printf '%7s | %s\n' "$1" "${line//$place\//}"
        if [[ $line == *"$2"* ]]; then
            found=$line
            return
        fi
    done
    echo "$1 never printed: $2" >&2
    return 1
}

# Starts a program with pipes for its commands and its output.
start() { # NAME ARGUMENTS...
    local name=$1 fd
    shift
    mkfifo "$place/$name.in"
    exec {fd}<>"$place/$name.in"
    in[$name]=$fd
    exec {fd}< <(exec "$cardume" "$@" <"$place/$name.in" 2>&1)
    out[$name]=$fd
    pid[$name]=$!
}

type_line() { # NAME COMMAND
    printf '%7s > %s\n' "$1" "$2"
    echo "$2" >&"${in[$1]}"
}

# Prints a command, runs it, and prints its output.
run() { # ARGUMENTS OF cardume...
    printf '%7s $ cardume %s\n' you "$*"
    "$cardume" "$@" | tee "$place/output" | sed "s|$place/||g; s/^/    you | /"
}

wait_exit() { # NAME
    wait "${pid[$1]}" && printf '%7s ended with exit code 0\n' "$1"
    unset "pid[$1]"
}

title "Building"
cargo build --locked --release
cardume=$(realpath "${CARGO_TARGET_DIR:-target}/release/cardume")
"$cardume" --version

title "Making a video of more than 1 GB"
mkdir "$place/ana" "$place/bia" "$place/caio" "$place/dora"
python3 scripts/make-video.py "$place/ana/aula1.avi"
size=$(stat -c %s "$place/ana/aula1.avi")
if command -v ffprobe >/dev/null; then
    ffprobe -v error -show_entries stream=codec_name,width,height,duration -of default=noprint_wrappers=1 "$place/ana/aula1.avi"
fi

title "A server, and three peers: Ana has the video, Bia and Caio have nothing. Each sends at most $limit MB a second"
start server server --listen 127.0.0.1:0
wait_for server "listening on "
address[server]=${found##* }
for name in ana bia caio; do
    start "$name" peer --server "${address[server]}" --listen 127.0.0.1:0 --folder "$place/$name" --upload-limit "${limit}MB"
    wait_for "$name" "Sou peer "
    found=${found#Sou peer }
    address[$name]=${found%% *}
    wait_for server "adicionado"
done

export CARDUME_SERVER=${address[server]}

title "Ana's peer joins at once and hashes the video meanwhile. Any BLAKE3 program prints the same root"
(cd "$place/ana" && run hash aula1.avi)
root=$(cut -c 1-64 "$place/output")
until "$cardume" ls "${address[ana]}" | grep -q hashed; do sleep 0.1; done
run ls "${address[ana]}"
run search aula1.avi --json
grep -q "$root" "$place/output"
wait_for server "solicitou arquivo aula1.avi"

title "Bia searches for a missing video, and for the video of Ana"
type_line bia "SEARCH aula9.avi"
wait_for server "solicitou arquivo aula9.avi"
wait_for bia "peers com arquivo solicitado:"
type_line bia "SEARCH aula1.avi"
wait_for server "solicitou arquivo aula1.avi"
wait_for bia "peers com arquivo solicitado: ${address[ana]}"

title "Bia and Caio download the video at the same time: from Ana, and from each other"
began=$(now)
type_line bia "GET aula1.avi"
type_line caio "GET aula1.avi"
wait_for bia "baixado com sucesso"
wait_for caio "baixado com sucesso"
took=$(($(now) - began))
echo "together: $(speed $((2 * size)) "$took"), each piece checked, written to the disk and synced"

title "Compare the copies byte for byte"
for name in bia caio; do
    cmp "$place/ana/aula1.avi" "$place/$name/aula1.avi"
    echo "ana/aula1.avi = $name/aula1.avi, $size bytes"
done

title "Now three peers have the video"
run search aula1.avi
for name in ana bia caio; do grep -q "${address[$name]}" "$place/output"; done

title "Dora downloads the video from all three, and the process is killed on the way (SIGKILL)"
printf '%7s $ cardume get b3:%s -o dora/aula1.avi\n' you "$root"
exec {progress}< <(exec "$cardume" get "b3:$root" -o "$place/dora/aula1.avi" --json 2>&1)
pid[dora]=$!
while IFS= read -r -t 60 -u "$progress" line; do
    if [[ $line =~ '"event":"progress","held":'([0-9]+) ]] && ((BASH_REMATCH[1] > size / 3)); then
        kill -KILL "${pid[dora]}"
        echo "    you | $line"
        break
    fi
done
wait "${pid[dora]}" 2>/dev/null || echo "   dora was killed; in the folder: $(ls "$place/dora" | tr '\n' ' ')"
unset "pid[dora]"
exec {progress}<&-

title "The same command resumes the download"
began=$(now)
"$cardume" get "b3:$root" -o "$place/dora/aula1.avi" --json >"$place/output"
took=$(($(now) - began))
grep -v progress "$place/output" | sed "s|$place/||g; s/^/    you | /"
held=$(sed -n 's/.*"event":"begun".*"held":\([0-9]*\).*/\1/p' "$place/output")
((held > 0))
grep -q "\"event\":\"saved\".*$root" "$place/output"
cmp "$place/ana/aula1.avi" "$place/dora/aula1.avi"
echo "the rest from three: $(speed $((size - held)) "$took"); root and bytes equal those of Ana"

if command -v curl >/dev/null; then
    title "Every peer serves HTTP: a player can seek to any position"
    url=http://${address[caio]}/files/aula1.avi
    printf '%7s $ curl -r 1000000000-1000065535 %s\n' you "$url"
    curl -sS -r 1000000000-1000065535 "$url" -o "$place/range"
    cmp --ignore-initial 1000000000:0 --bytes 65536 "$place/ana/aula1.avi" "$place/range"
    [[ $(stat -c %s "$place/range") == 65536 ]]
    echo "65536 bytes from the middle, verified"
fi

title "All peers leave"
for name in ana bia caio; do
    type_line "$name" QUIT
    wait_exit "$name"
done
kill -TERM "${pid[server]}"
wait_exit server
