#!/usr/bin/env bash
# Shows what the program does: a server, three peers with folders of their own, and a video of more than 1 GB that goes
# from one peer to the two others, piece by piece and checked, and then from all three to somebody whose computer fails on
# the way. Everything happens on this machine, in a temporary folder that is removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARDUME_LANG=en
place=$(mktemp -d)
export CARDUME_CACHE=$place/.cache XDG_STATE_HOME=$place/.state
limit=300 # what each peer gives, in MB a second: so one sees what several together can do
declare -A pid in out address

clean_up() {
    local who
    for who in "${!pid[@]}"; do kill "${pid[$who]}" 2>/dev/null || true; done
    for who in "${!pid[@]}"; do wait "${pid[$who]}" 2>/dev/null || true; done
    rm -rf "$place"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

title() { printf '\n== %s\n' "$*"; }
now() { date +%s%N; }

# speed BYTES NANOSECONDS
speed() { awk -v bytes="$1" -v ns="$2" 'BEGIN { printf "%.2f GB in %.1f s, %.0f MB/s", bytes / 1e9, ns / 1e9, bytes * 1e3 / ns }'; }

# Prints what a program says, line by line, up to the line that holds a text.
hear() { # WHO TEXT
    local line
    while IFS= read -r -t 60 -u "${out[$1]}" line; do
        printf '%7s | %s\n' "$1" "${line//$place\//}"
        if [[ $line == *"$2"* ]]; then
            heard=$line
            return
        fi
    done
    echo "$1 never said: $2" >&2
    return 1
}

# Starts a program whose output can be heard and, for a peer, to which one can speak.
start() { # WHO ARGUMENTS...
    local who=$1 fd
    shift
    mkfifo "$place/$who.in"
    exec {fd}<>"$place/$who.in"
    in[$who]=$fd
    exec {fd}< <(exec "$cardume" "$@" <"$place/$who.in" 2>&1)
    out[$who]=$fd
    pid[$who]=$!
}

tell() { # WHO COMMAND
    printf '%7s > %s\n' "$1" "$2"
    echo "$2" >&"${in[$1]}"
}

# Shows a command as it is typed, runs it, and shows what it says.
run() { # ARGUMENTS OF cardume...
    printf '%7s $ cardume %s\n' you "$*"
    "$cardume" "$@" | tee "$place/said" | sed "s|$place/||g; s/^/    you | /"
}

stop() { # WHO
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

title "A server, and three peers: Ana has the video, Bia and Caio have nothing. Each gives at most $limit MB a second"
start server server --listen 127.0.0.1:0
hear server "listening on "
address[server]=${heard##* }
for who in ana bia caio; do
    start "$who" peer --server "${address[server]}" --listen 127.0.0.1:0 --folder "$place/$who" --upload-limit "${limit}MB"
    hear "$who" "Sou peer "
    heard=${heard#Sou peer }
    address[$who]=${heard%% *}
    hear server "adicionado"
done

export CARDUME_SERVER=${address[server]}

title "Ana's peer has joined at once and hashes her video meanwhile. Its root is what any BLAKE3 program prints"
(cd "$place/ana" && run hash aula1.avi)
root=$(cut -c 1-64 "$place/said")
until "$cardume" ls "${address[ana]}" | grep -q hashed; do sleep 0.1; done
run ls "${address[ana]}"
run search aula1.avi --json
grep -q "$root" "$place/said"
hear server "solicitou arquivo aula1.avi"

title "Bia searches for a video that nobody has, and for the one of Ana"
tell bia "SEARCH aula9.avi"
hear server "solicitou arquivo aula9.avi"
hear bia "peers com arquivo solicitado:"
tell bia "SEARCH aula1.avi"
hear server "solicitou arquivo aula1.avi"
hear bia "peers com arquivo solicitado: ${address[ana]}"

title "Bia and Caio download it at the same time: from Ana, and from each other what either has already"
began=$(now)
tell bia "GET aula1.avi"
tell caio "GET aula1.avi"
hear bia "baixado com sucesso"
hear caio "baixado com sucesso"
took=$(($(now) - began))
echo "together: $(speed $((2 * size)) "$took"), each piece checked, written to the disk and synced"

title "Are they the same, byte for byte?"
for who in bia caio; do
    cmp "$place/ana/aula1.avi" "$place/$who/aula1.avi"
    echo "ana/aula1.avi = $who/aula1.avi, $size bytes"
done

title "Now three peers have it"
run search aula1.avi
for who in ana bia caio; do grep -q "${address[$who]}" "$place/said"; done

title "Dora downloads it from all three, and in the middle her computer fails (SIGKILL)"
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
wait "${pid[dora]}" 2>/dev/null || echo "   dora was killed; in her folder: $(ls "$place/dora" | tr '\n' ' ')"
unset "pid[dora]"
exec {progress}<&-

title "The same command again goes on where it stopped"
began=$(now)
"$cardume" get "b3:$root" -o "$place/dora/aula1.avi" --json >"$place/said"
took=$(($(now) - began))
grep -v progress "$place/said" | sed "s|$place/||g; s/^/    you | /"
held=$(sed -n 's/.*"event":"begun".*"held":\([0-9]*\).*/\1/p' "$place/said")
((held > 0))
grep -q "\"event\":\"saved\".*$root" "$place/said"
cmp "$place/ana/aula1.avi" "$place/dora/aula1.avi"
echo "the rest from three: $(speed $((size - held)) "$took"); the root is Ana's, and so is every byte"

if command -v curl >/dev/null; then
    title "Every peer speaks HTTP too: a player can jump to any place"
    url=http://${address[caio]}/files/aula1.avi
    printf '%7s $ curl -r 1000000000-1000065535 %s\n' you "$url"
    curl -sS -r 1000000000-1000065535 "$url" -o "$place/range"
    cmp --ignore-initial 1000000000:0 --bytes 65536 "$place/ana/aula1.avi" "$place/range"
    [[ $(stat -c %s "$place/range") == 65536 ]]
    echo "65536 bytes from the middle, the right ones"
fi

title "Everybody leaves"
for who in ana bia caio; do
    tell "$who" QUIT
    stop "$who"
done
kill -TERM "${pid[server]}"
stop server
