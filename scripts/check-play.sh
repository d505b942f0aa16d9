#!/usr/bin/env bash
# Plays films and a sound during their download with the installed players: ffprobe, ffmpeg, mpv, VLC. The index of the MP4 is at its end,
# and the owner sends a few megabytes a second, so that each download is still running. Prints one line for each check.
# Usage: scripts/check-play.sh [PROGRAM]        default: the path printed by scripts/program.sh
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
command -v ffmpeg >/dev/null || { echo "skipped: ffmpeg makes the films, and is not installed"; exit 0; }

place=$(mktemp -d)
mkdir "$place"/{home,films,output,mpv}
. scripts/checking.sh
export MPV_HOME=$place/mpv
printf 'vo=null\nao=null\nstart=20\nlength=2\n' >"$place/mpv/mpv.conf"
pids=()
trap end_programs EXIT
failed=0

share() { # NAME RATE
    "$cardume" peer --server "$server" --listen 127.0.0.1:0 --folder "$place/films" --upload-limit "$2" </dev/null >"$place/output/$1" 2>&1 &
    pids+=("$!")
    sharer=$!
    wait_for "$place/output/$1" '(Sou peer)' >/dev/null
}

# Starts a new download of a file and sets $url.
number=0
begin() { # FILE
    number=$((number + 1))
    into=$place/into-$number
    mkdir "$into"
    "$cardume" play "$1" --player none --server "$server" --folder "$into" </dev/null >"$place/output/play-$number" 2>"$place/output/notes-$number" &
    playing=$!
    pids+=("$playing")
    url=$(wait_for "$place/output/play-$number" '(http://[^ ]*)')
}

end() {
    # SIGTERM: background jobs of a script ignore SIGINT, and so do their children.
    kill -TERM "$playing" 2>/dev/null || true
    wait "$playing" 2>/dev/null || true
    rm -rf "$into"
}

check() { # WHAT COMMAND...
    local what=$1 began=$EPOCHREALTIME took state=ok
    shift
    if ! timeout 60 "$@" >"$place/output/check" 2>&1; then
        state=FAILED
        failed=1
    fi
    took=$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }')
    # A check on a complete file proves nothing about downloads.
    if [[ -n ${into:-} && $state == ok && -n $(find "$into" -type f ! -name '*.part*') ]]; then
        took+=", the download was complete"
    fi
    echo "$state: $what ($took)"
    [[ $state == ok ]] || sed 's/^/    /' "$place/output/check"
}

skip() { echo "skipped: $1 is not installed"; }

echo "makes the films ..."
picture=(-f lavfi -i "testsrc2=size=640x360:rate=25,noise=alls=60:allf=t" -f lavfi -i "sine=frequency=440")
ffmpeg -nostdin -loglevel error "${picture[@]}" -t 50 -c:v mpeg4 -b:v 6M -g 25 -c:a aac "$place/films/film.mp4"
ffmpeg -nostdin -loglevel error -i "$place/films/film.mp4" -c copy "$place/films/film.mkv"
ffmpeg -nostdin -loglevel error -f lavfi -i "anoisesrc=d=100:r=48000" -ac 2 "$place/films/noise.wav"
moov=$(grep -abo moov "$place/films/film.mp4" | tail -n 1 | cut -d: -f1)
size=$(stat -c %s "$place/films/film.mp4")
((moov > size / 2)) || { echo "the index of film.mp4 does not stand at its end"; exit 1; }

"$cardume" server --listen 127.0.0.1:0 </dev/null >"$place/output/server" 2>&1 &
pids+=("$!")
server=$(wait_for "$place/output/server" 'listening on (127[^ ]*)')
share owner 4MB
for film in film.mp4 film.mkv noise.wav; do
    for _ in {1..200}; do
        "$cardume" search "$film" --server "$server" --json 2>/dev/null | grep -q '"root":"' && break
        sleep 0.05
    done
done

seconds() { # FILE: how long it lasts
    ffprobe -v error -show_entries format=duration -of csv=p=0 "$1"
}
if command -v ffprobe >/dev/null; then
    for film in film.mp4 film.mkv noise.wav; do
        begin "$film"
        lasts=$(seconds "$place/films/$film")
        check "ffprobe says how long $film lasts" bash -c "[[ \$(ffprobe -v error -show_entries format=duration -of csv=p=0 '$url') == '$lasts' ]]"
        end
    done
else
    skip ffprobe
fi
if command -v mpv >/dev/null; then
    for film in film.mp4 film.mkv; do
        for start in 0 45 25; do
            begin "$film"
            check "mpv plays $film from second $start" mpv --no-config --vo=null --ao=null --ytdl=no --msg-level=all=warn --start=$start --length=1 -- "$url"
            end
        done
        begin "$film"
        cat >"$place/seeks.lua" <<'LUA'
local places, reached = { 40, 5, 30 }, 0
mp.register_event("playback-restart", function()
    local place = places[reached]
    if place and math.abs(mp.get_property_number("time-pos", -99) - place) > 2 then mp.command("quit 9") end
    reached = reached + 1
    if places[reached] then mp.commandv("seek", places[reached], "absolute+exact") else mp.command("quit 0") end
end)
LUA
        check "mpv seeks in $film, forth and back" mpv --no-config --vo=null --ao=null --ytdl=no --msg-level=all=warn --script="$place/seeks.lua" -- "$url"
        end
    done
    into=$place/kept
    mkdir "$into"
    kept=$into into=
    check "cardume play starts mpv, which ends long before the file is here, and keeps the file" \
        bash -c '"$@" 2>&1 | tee /dev/stderr | grep -q "mpv has ended; the download goes on"' play "$cardume" play film.mkv --player mpv --server "$server" --folder "$kept"
    check "the file that was kept is the film" cmp "$place/films/film.mkv" "$kept/film.mkv"
else
    skip mpv
fi
if command -v cvlc >/dev/null; then
    vlc=(cvlc --no-media-library --intf dummy --vout dummy --aout dummy --no-video-title-show --play-and-exit --start-time=30 --run-time=2)
    # VLC does not run as root.
    ((EUID)) || vlc=(runuser -u nobody -- env HOME="$place/nobody" "${vlc[@]}")
    ((EUID)) || install -d -o nobody "$place/nobody"
    chmod a+x "$place"
    if ! timeout 60 "${vlc[@]}" "$place/films/film.mkv" >/dev/null 2>&1; then
        # A VLC package without plugins plays no file at all.
        echo "skipped: the VLC that is installed does not even play a file of this disk"
        vlc=()
    fi
    for film in film.mp4 film.mkv; do
        ((${#vlc[@]})) || break
        begin "$film"
        check "VLC plays $film from second 30" bash -c 'set -o pipefail; "$@" 2>&1 | tee /dev/stderr | { ! grep -Ei "could not (open|connect|read)|unable to open|cannot"; }' vlc "${vlc[@]}" "$url"
        end
    done
else
    skip cvlc
fi
# Every frame, while the source is killed and another source takes over.
sum() { ffmpeg -nostdin -loglevel error -i "$1" -map 0 -f md5 -; }
export -f sum
right=$(sum "$place/films/film.mkv")
[[ $right == MD5=* ]]
begin film.mkv
first=$sharer
(
    sleep 2
    kill -KILL "$first"
    sleep 1
    exec "$cardume" peer --server "$server" --listen 127.0.0.1:0 --folder "$place/films" --upload-limit 8MB <<<"" >/dev/null 2>&1
) &
pids+=("$!")
check "every frame of film.mkv is right although its source dies and another takes over" bash -c "[[ \$(sum '$url') == '$right' ]]"
end
exit $failed
