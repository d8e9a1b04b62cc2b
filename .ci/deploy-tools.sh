#!/usr/bin/env bash
# Unpacks the tools with which tests/deploy checks the deployment files into build/deploy-tools (or $1): prometheus, alertmanager,
# promtool, kustomize, docker-compose and caddy. They come from Debian 13, over the mirror in this machine's apt sources, with
# a private apt configuration: no root is needed, and the system's packages do not change. The programs are static Go
# binaries and run on Debian 12 too.
set -euo pipefail

release=trixie
packages=(prometheus prometheus-alertmanager promtool kustomize docker-compose caddy)
programs=(prometheus prometheus-alertmanager amtool promtool kustomize docker-compose caddy)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

top=$(cd "$(dirname "$0")/.." && pwd)
into=${1:-$top/build/deploy-tools}
mkdir -p "$into"
into=$(cd "$into" && pwd)

all_there() {
    local program
    for program in "${programs[@]}" ../libexec/prometheus-alertmanager; do
        [ -x "$into/bin/$program" ] || return 1
    done
}

# The first Debian archive in the apt sources that is neither security nor backports.
mirror() {
    {
        sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' /etc/apt/sources.list.d/*.sources
        sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^[:space:]]*\).*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list
    } 2>/dev/null | grep -m1 -E '/debian/?$'
}

private_apt() {
    local root=$1
    mkdir -p "$root"/etc/apt/{preferences.d,apt.conf.d,sources.list.d} "$root"/var/lib/dpkg \
        "$root"/var/lib/apt/lists/partial "$root"/var/cache/apt/archives/partial
    : >"$root/var/lib/dpkg/status"
    echo "deb [signed-by=$keyring] $(mirror) $release main" >"$root/etc/apt/sources.list"
    printf 'Dir "%s";\nDir::State::status "%s/var/lib/dpkg/status";\nAPT::Sandbox::User "";\n' "$root" "$root" >"$root/apt.conf"
    export APT_CONFIG=$root/apt.conf
}

if all_there; then
    echo "deploy tools: in $into/bin"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
private_apt "$work/apt"
apt-get -qq update
(cd "$work" && apt-get -qq download "${packages[@]}")
for package in "$work"/*.deb; do
    dpkg-deb -x "$package" "$work/root"
done
mkdir -p "$into/bin"
for program in "${programs[@]}"; do
    found=$(find "$work"/root/usr/{bin,libexec} -type f -name "$program" -perm -u+x -print -quit)
    [ -n "$found" ] || { echo "deploy tools: no $program in $release" >&2; exit 1; }
    install -m 755 "$found" "$into/bin/$program"
done

# Debian's Alertmanager reads its templates from /usr/share: it gets a mount namespace that has only those there.
mkdir -p "$into/share/prometheus" "$into/libexec"
rm -rf "$into/share/prometheus/alertmanager"
cp -r "$work/root/usr/share/prometheus/alertmanager" "$into/share/prometheus/"
mv "$into/bin/prometheus-alertmanager" "$into/libexec/"
cat >"$into/bin/prometheus-alertmanager" <<'SCRIPT'
#!/bin/sh
top=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" = 0 ] && user= || user="--user --map-root-user"
exec unshare --mount $user sh -c 'mount --bind "$0/share" /usr/share && exec "$0/libexec/prometheus-alertmanager" "$@"' "$top" "$@"
SCRIPT
chmod 755 "$into/bin/prometheus-alertmanager"
echo "deploy tools: in $into/bin"
