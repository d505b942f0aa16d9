#!/usr/bin/env bash
# Measures cardume side by side with nginx, curl, aria2c, b3sum and Redis, in one run, alternating. Prints one line for each metric.
# Usage: scripts/bench/run.sh [--quick] [--only] [--json FILE] [--size SIZE] [SECTION...]   a section is a letter or a name; default: all
#   a memory    one file from memory to /dev/null          g sources   four owners of 100 MB/s each, and a fifth of 1 MB/s
#   b crowd     64 such downloads at once                  h swarm     8 and 16 takers at once, beside libtorrent and rqbit
#   c disk      verified to tmpfs and to a disk, beside    i restart   100 GiB of holes, 90 % held: time to the first new byte
#               curl and aria2c with sync or b3sum         j hashing   answers while the owner hashes 10 GiB
#   d slow      answers while uploads wait for a disk      k turns     times of loop iterations; alone: in e, g and h
#   e verified  the cost of verification                   l lasting   durable PUBLISH and REGISTER of 64 links against one
#   m start     a server with a million publications       n log       400,000 PUBLISHes in a row
#   o play      `cardume play`: first byte, and seeks       p stalls    a film at 25 Mbit/s beside 64 downloads
#   q quic      one file by QUIC, by TLS and by plain TCP   r page      bytes of the page, and typing to result
#   s search    an index of five million names              t asking    SEARCH by exact name beside Redis and Valkey
#   u joining   JOINs of a thousand files each              v idle      ten thousand quiet peers: memory, answers
#   w far       a long lossy link, by QUIC                  x video     a video played over one
#   y tls       TLS beside nginx and plain TCP             z storm     handshakes beside nginx; 2,000 reconnects; a flood
#   A rekey     300 GiB of holes on one TLS connection, or --size SIZE: above 256 GiB its keys change
#   B wires     1.2 GB by each legacy protocol beside HTTP; 1 MB by UDP
#   C engine    one index of several servers on Redis and Valkey, beside the embedded index and the engine itself
#   D folder    10,000 small files as one folder, beside an rsync daemon
#   E trips     round trips of a search, and to the first bytes of a download, over 50 ms
#   F share     memory of a peer with 100,000 and with 1,000,000 small files
# --json FILE: replaces the sections in that file, with the machine, versions and command; graph.py and report.py read it.
# --quick: three runs instead of five, and smaller files. Needs about 12 GB below $TMPDIR, or /tmp.
set -euo pipefail
# Measured servers keep their accounts apart from those of the user.
XDG_STATE_HOME=$(mktemp -d)
export XDG_STATE_HOME
trap 'rm -rf "$XDG_STATE_HOME"' EXIT
cd "$(dirname "$0")/../.."
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,26s/^# //p' "$0"
    exit
fi

export PATH=$PATH:/usr/sbin:$HOME/.cargo/bin
missing=()
needs() { command -v "$1" >/dev/null || missing+=("$2"); }
needs nginx nginx-light
needs curl curl
needs aria2c aria2
needs b3sum b3sum
needs redis-server redis-server
needs openssl openssl
needs strace strace
needs ip iproute2
needs nft nftables
needs rsync rsync
if ((${#missing[@]})); then
    if ((EUID != 0)); then
        echo "please install ${missing[*]} (Debian's names; b3sum also by: cargo install b3sum), or run this as root" >&2
        exit 1
    fi
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
fi

cargo build --locked --release --quiet
if [[ -e examples/forge_part.rs ]]; then
    cargo build --locked --release --quiet --example forge_part
fi
cargo build --locked --release --quiet --example accounts_load --example delay_line --example handshake_rate --example index_size
export PYTHONDONTWRITEBYTECODE=1
exec python3 scripts/bench/bench.py "${CARGO_TARGET_DIR:-target}/release/cardume" "$@"
