#!/bin/sh
# Builds a Debian package of a finished program, with man pages, completions, units and a user.
#
#   cargo build --release && contrib/debian/build.sh target/release/cardume
#
# The package stands below target/debian. Needs dpkg-deb, and a program that runs on this machine.
set -eu

program=${1:?'usage: contrib/debian/build.sh PROGRAM'}
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(cd "$here/.." && pwd)
version=$("$program" --version | cut -d' ' -f2)
machine=$(dpkg --print-architecture)
out=$root/target/debian
tree=$out/tree
rm -rf "$tree"
mkdir -p "$tree/DEBIAN"

export CARDUME_LANG=en CARDUME_CONFIG=none
install -D -m 755 "$program" "$tree/usr/bin/cardume"

# A man page of the program and of each command.
pages=$tree/usr/share/man/man1
mkdir -p "$pages"
"$program" man | gzip -9n > "$pages/cardume.1.gz"
"$program" completions fish | sed -n 's/.*-f -a "\([a-z-]*\)" -d .*/\1/p' | sort -u |
while read -r command; do
    if "$program" man "$command" > "$out/page" 2>/dev/null; then
        gzip -9n < "$out/page" > "$pages/cardume-$command.1.gz"
    fi
done
rm -f "$out/page"

mkdir -p "$tree/usr/share/bash-completion/completions" "$tree/usr/share/zsh/vendor-completions" \
    "$tree/usr/share/fish/vendor_completions.d"
"$program" completions bash > "$tree/usr/share/bash-completion/completions/cardume"
"$program" completions zsh > "$tree/usr/share/zsh/vendor-completions/_cardume"
"$program" completions fish > "$tree/usr/share/fish/vendor_completions.d/cardume.fish"

for unit in cardume.service cardume.socket cardume-peer@.service; do
    install -D -m 644 "$here/systemd/$unit" "$tree/usr/lib/systemd/system/$unit"
done
install -D -m 644 "$here/systemd/cardume.sysusers" "$tree/usr/lib/sysusers.d/cardume.conf"
install -D -m 644 "$here/cardume.toml" "$tree/etc/cardume/cardume.toml"
install -D -m 644 "$root/LICENSE" "$tree/usr/share/doc/cardume/copyright"
gzip -9n < "$root/CHANGELOG.md" > "$tree/usr/share/doc/cardume/changelog.gz"
for page in OPERATIONS.md JSON.md SECURITY.md; do
    install -D -m 644 "$root/docs/$page" "$tree/usr/share/doc/cardume/$page"
done
find "$tree/usr" -type d -exec chmod 755 {} +
find "$tree/usr/share" -type f -exec chmod 644 {} +

# A static program needs no library.
needs=
if ldd "$program" 2> /dev/null | grep -q 'libc\.so'; then
    # The program may use all that the library of the building machine has.
    needs="Depends: libc6 (>= $(dpkg-query -W -f '${Version}' libc6)), libgcc-s1"
fi
size=$(du -sk "$tree" | cut -f1)
{
    echo "Package: cardume"
    echo "Version: $version"
    echo "Architecture: $machine"
    echo "Maintainer: The cardume project <cardume@localhost>"
    echo "Installed-Size: $size"
    [ -z "$needs" ] || echo "$needs"
    echo "Section: net"
    echo "Priority: optional"
    echo "Description: share giant files peer to peer"
    echo " A small index server lists the providers of each file, and peers send giant"
    echo " files directly to each other, with each piece verified."
} > "$tree/DEBIAN/control"
echo /etc/cardume/cardume.toml > "$tree/DEBIAN/conffiles"

cat > "$tree/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    if ! getent passwd cardume > /dev/null; then
        if command -v systemd-sysusers > /dev/null; then
            systemd-sysusers cardume.conf
        else
            useradd --system --home-dir /var/lib/cardume --shell /usr/sbin/nologin cardume
        fi
    fi
    install -d -o cardume -g cardume -m 700 /var/lib/cardume
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        # An upgrade restarts a running server: peers reconnect within seconds.
        if [ -n "$2" ]; then systemctl try-restart cardume.service || true; fi
    fi
fi
END
cat > "$tree/DEBIAN/prerm" <<'END'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now cardume.service cardume.socket || true
fi
END
cat > "$tree/DEBIAN/postrm" <<'END'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
# Accounts and keys in /var/lib/cardume stay, also after a purge.
END
chmod 755 "$tree/DEBIAN/postinst" "$tree/DEBIAN/prerm" "$tree/DEBIAN/postrm"
dpkg-deb --root-owner-group --build "$tree" "$out/cardume_${version}_${machine}.deb"
