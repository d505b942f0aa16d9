# Sourced by the checks that start the real program: environment, signal handling, and waiting for output.
# The caller sets $place to a temporary folder, and starts programs in the background with their ids in $pids.

export HOME=$place/home XDG_STATE_HOME=$place/state XDG_CACHE_HOME=$place/cache CARDUME_CACHE=$place/cache CARDUME_KEY=$place/key
export CARDUME_LANG=en
unset CARDUME_SERVER CARDUME_USER
trap 'exit 130' INT
trap 'exit 143' TERM

# Waits until FILE has a line that matches PATTERN, and prints the group of the match.
wait_for() { # FILE PATTERN
    local line
    for _ in {1..400}; do
        line=$(sed -nE "s#.*$2.*#\\1#p" "$1" 2>/dev/null | head -n 1)
        if [[ -n $line ]]; then
            echo "$line"
            return
        fi
        sleep 0.05
    done
    echo "no line matches $2:" >&2
    cat "$1" >&2
    return 1
}

# Starts a program in the background, waits for its listen address, and puts the address into $at.
listening() { # NAME COMMAND...
    local output=$place/output/$1
    shift
    "$@" </dev/null >/dev/null 2>"$output" &
    pids+=("$!")
    at=$(wait_for "$output" 'listening on ([0-9.:]+)')
}

# Ends all programs, and removes the folder.
end_programs() {
    kill "${pids[@]}" 2>/dev/null || true
    wait
    rm -rf "$place"
}
