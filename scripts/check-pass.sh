#!/usr/bin/env bash
# Checks passes with another implementation of PASETO, the package pyseto of PyPI: each side verifies the passes of
# the other, and refuses those for another purpose, by another key, or with a footer.
# Usage: scripts/check-pass.sh; pyseto is put below the build folder unless it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
if ! python3 -c 'import pyseto' 2>/dev/null; then
    export PYTHONPATH=$target/check-pass
    if ! python3 -c 'import pyseto' 2>/dev/null; then
        python3 -m pip install --quiet --root-user-action ignore --upgrade --target "$PYTHONPATH" pyseto
    fi
fi
cargo build --locked --quiet --example pass_voice

python3 - "$target/debug/examples/pass_voice" <<'EOF'
import json
import subprocess
import sys

import pyseto
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PURPOSE = b"cardume pass"
failed = False


def check(name, expected, actual):
    global failed
    failed |= expected != actual
    print(f"ok   {name}" if expected == actual else f"FAIL {name}: expected {expected!r}, got {actual!r}")


def voice(*args, text):
    """The output of our side, or its error."""
    run = subprocess.run([sys.argv[1], *args], input=text + "\n", capture_output=True, text=True, timeout=30)
    return run.stdout.rstrip("\n") if run.returncode == 0 else run.stderr.strip()


def key_pair(byte):
    seed = bytes([byte]) * 32
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    secret_key = pyseto.Key.from_asymmetric_key_params(4, d=seed)
    return seed.hex(), public.hex(), secret_key, pyseto.Key.from_asymmetric_key_params(4, x=public)


def read(key, token, purpose=PURPOSE):
    try:
        return pyseto.decode(key, token, implicit_assertion=purpose).payload
    except pyseto.VerifyError:
        return "refused"


seed, public, secret_key, public_key = key_pair(7)
_, _, other_secret_key, other_public_key = key_pair(8)
claims = {
    "v": 1, "k": public, "n": 'ana "a\u00e7a\u00ed"', "r": "share", "g": ["fleet", "turma-a"], "i": 1000, "x": 1900,
}

ours = voice("sign", text=seed)
check("pyseto reads our pass", claims, json.loads(read(public_key, ours)))
check("pyseto refuses our pass for another purpose", "refused", read(public_key, ours, b"cardume link"))
check("pyseto refuses our pass without a purpose", "refused", read(public_key, ours, b""))
check("pyseto refuses our pass by another key", "refused", read(other_public_key, ours))


def theirs(key=secret_key, purpose=PURPOSE, footer=b"", payload=None):
    payload = json.dumps(payload or claims).encode()
    return pyseto.encode(key, payload, footer=footer, implicit_assertion=purpose).decode()


told = f'{public} share fleet,turma-a 1000 1900 {claims["n"]}'
unsigned = "the pass is not signed by the server"
for name, token, expected in [
    ("its pass", theirs(), told),
    ("its pass with a later claim", theirs(payload={**claims, "later": [1]}), told),
    ("its pass for another purpose", theirs(purpose=b"cardume link"), unsigned),
    ("its pass without a purpose", theirs(purpose=b""), unsigned),
    ("its pass by another key", theirs(other_secret_key), unsigned),
    ("its pass with a footer", theirs(footer=b"{}"), "the pass is damaged"),
    ("its pass of version 2", theirs(payload={**claims, "v": 2}), "a claim of the pass is invalid"),
]:
    actual = voice("verify", public, text=token)
    if expected == told:
        check(f"we read {name}", told, actual)
    else:
        check(f"we refuse {name}", True, expected in actual)

same = pyseto.encode(secret_key, json.dumps(claims, separators=(",", ":"), ensure_ascii=False).encode(),
                     implicit_assertion=PURPOSE).decode()
check("both sides write the same text", ours, same)
sys.exit(failed)
EOF
