#!/bin/sh
# Makes a Debian root file system of the machine's own release with mmdebstrap and prints the path of its tar.
# It carries the machine's apt configuration (sources, keys, proxies) and CA certificates, so that apt and npm work in it as they
# work here. Kept between runs in the cache folder and made anew when the configuration changes, and once a month.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
SOURCE_DATE_EPOCH=1700000000
LC_ALL=C.UTF-8
export SOURCE_DATE_EPOCH LC_ALL

cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/mbuild-test
mkdir -p "$cache" 2>/dev/null || cache=/var/tmp/mbuild-test
mkdir -p "$cache"
chmod 700 "$cache"

sources() { ls /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; }
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Of apt's settings only those that say how to reach the archive: the hooks of other packages would fail in a minimal system.
apt-config dump | grep -iE '^Acquire::(https?|ftp)?(::|Check-|Retries|Force|Allow|AllowInsecure)' >"$work/apt.conf" || true
key=$({ cat $(sources) "$work/apt.conf" /etc/ssl/certs/ca-certificates.crt "$0" 2>/dev/null; echo "$release"; date +%Y-%m; } | sha256sum | cut -c1-16)
base=$cache/debian-$release-$key.tar

if [ ! -f "$base" ]; then
  mkdir -p "$work/files/etc/apt/apt.conf.d" "$work/files/usr/local/share/ca-certificates"
  cp "$work/apt.conf" "$work/files/etc/apt/apt.conf.d/90host"
  cp -rL /usr/local/share/ca-certificates/. "$work/files/usr/local/share/ca-certificates/" 2>/dev/null || true
  for part in keyrings trusted.gpg.d auth.conf.d; do
    if [ -d "/etc/apt/$part" ]; then cp -rL "/etc/apt/$part" "$work/files/etc/apt/$part"; fi
  done
  find "$work/files" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  rm -f "$cache/debian-$release-"*.tar
  partial=$(mktemp "$cache/partial.XXXXXX")
  mmdebstrap --quiet --variant=minbase --include=ca-certificates,libstdc++6 --format=tar \
    --aptopt="$work/apt.conf" \
    --customize-hook="copy-in '$work/files/etc' '$work/files/usr' /" \
    --customize-hook="upload /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt" \
    --customize-hook='rm -f "$1/etc/resolv.conf" "$1/etc/hostname"' \
    "$release" - $(sources) >"$partial" || { rm -f "$partial"; exit 1; }
  mv "$partial" "$base"
fi
echo "$base"
