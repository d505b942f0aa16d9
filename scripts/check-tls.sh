#!/usr/bin/env bash
# Checks TLS on the ports of a server and a peer with programs of others: gnutls-cli with raw keys on both sides,
# curl with the pinned key, Python with a client certificate, openssl with an old version.
# Usage: scripts/check-tls.sh; the program is the path printed by scripts/program.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

cardume=$(realpath "$(scripts/program.sh)")
for program in gnutls-cli curl openssl python3; do
    command -v "$program" >/dev/null || { echo "check-tls needs $program" >&2; exit 2; }
done
place=$(mktemp -d)
mkdir "$place"/{home,output}
. scripts/checking.sh
pids=()
trap end_programs EXIT

mkdir "$place/files"
head -c 3M /dev/urandom > "$place/files/middle.bin"

listening server "$cardume" server --listen 127.0.0.1:0 --data "$place/data"
server=$at
listening peer "$cardume" peer --server "$server" --listen 127.0.0.1:0 --folder "$place/files"
peer=$at

failed=0
check() { # NAME EXPECTED ACTUAL
    if [[ $3 == *"$2"* ]]; then
        echo "ok   $1"
    else
        echo "FAIL $1: expected $2 in: $3"
        failed=1
    fi
}

openssl genpkey -algorithm ed25519 -out "$place/key.pem" 2>/dev/null
openssl pkey -in "$place/key.pem" -pubout -out "$place/public.pem"
openssl req -new -x509 -key "$place/key.pem" -subj /CN=client -out "$place/certificate.pem"

for at in "$server" "$peer"; do
    said=$( (printf '{"cardume":1}\n{"id":1,"method":"PING"}\n'; sleep 0.5) |
        timeout 10 gnutls-cli --insecure --rawpkkeyfile "$place/key.pem" --rawpkfile "$place/public.pem" --alpn cardume/1 \
            --priority 'NORMAL:-VERS-ALL:+VERS-TLS1.3:-CTYPE-ALL:+CTYPE-SRV-RAWPK:+CTYPE-CLI-RAWPK' \
            -p "${at#*:}" "${at%:*}" 2>&1 || true)
    check "gnutls-cli, raw keys on both sides: shown ($at)" "Successfully sent 1 certificate" "$said"
    check "gnutls-cli, raw keys on both sides: answered ($at)" '"status":"PONG"' "$said"
done

pin=$(openssl s_client -connect "$peer" </dev/null 2>/dev/null | openssl x509 -pubkey -noout |
    openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64)
curl -sk --pinnedpubkey "sha256//$pin" -o "$place/got.bin" "https://$peer/files/middle.bin" || true
check "curl with the pinned key gets the same bytes" "same" "$(cmp "$place/got.bin" "$place/files/middle.bin" 2>&1 && echo same)"
code=0
curl -sk --pinnedpubkey "sha256//$(head -c 32 /dev/zero | base64)" -o /dev/null "https://$peer/" || code=$?
check "curl with another pin gets nothing" 90 "$code"

# The hello of the oldest versions has no signature algorithms, which is the first fault.
while read -r version alert; do
    said=$(openssl s_client "$version" -cipher 'ALL:@SECLEVEL=0' -connect "$server" </dev/null 2>&1 || true)
    check "openssl $version is refused with alert $alert" "alert number $alert" "$said"
done <<'VERSIONS'
-tls1 40
-tls1_1 40
-tls1_2 70
VERSIONS
said=$(openssl s_client -alpn h2 -connect "$server" </dev/null 2>&1 || true)
check "openssl with h2 alone is refused with alert 120" "alert number 120" "$said"

said=$(python3 - "$peer" "$place" <<'PYTHON'
import json, socket, ssl, sys

host, port = sys.argv[1].rsplit(":", 1)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["cardume/1"])
context.load_cert_chain(f"{sys.argv[2]}/certificate.pem", f"{sys.argv[2]}/key.pem")
with context.wrap_socket(socket.create_connection((host, int(port)), timeout=10)) as link:
    # Requests in single bytes, as a slow program sends them.
    for byte in b'{"cardume":1}\n{"id":7,"method":"PING"}\n':
        link.sendall(bytes([byte]))
    received = b""
    while b"PONG" not in received:
        data = link.recv(4096)
        if not data:
            break
        received += data
    print(link.version(), link.selected_alpn_protocol(), json.loads(received.splitlines()[-1]))
PYTHON
)
check "Python with a client certificate" "TLSv1.3 cardume/1 {'id': 7, 'status': 'PONG'}" "$said"

before=$(openssl s_client -connect "$server" </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256)
kill "${pids[0]}" && wait "${pids[0]}" 2>/dev/null || true
listening again "$cardume" server --listen "$server" --data "$place/data"
server=$at
after=$(openssl s_client -connect "$server" </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256)
check "a restarted server has the same key" "$before" "$after"

exit "$failed"
