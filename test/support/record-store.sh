#!/bin/sh
# Keeps a store as a version of mbuild makes it, for test/e2e/store-formats.test.ts: run it before a store's format changes, as root.
# Usage: MBUILD=path/of/that/bin/mbuild sh test/support/record-store.sh FORMAT
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
work=$(TMPDIR=/tmp mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/context"
echo hello >"$work/context/hello.txt"
printf 'FROM scratch\nCOPY hello.txt /hello.txt\nLABEL made=before\n' >"$work/context/Dockerfile"
mbuild() { "${MBUILD:-$here/bin/mbuild}" --root "$work/store" "$@"; }
mbuild -q -t app:1 -t app:2 "$work/context"
mbuild tag app:1 example.com/app:3
# Who used it, and what it knows of the context's files, is of this machine alone.
rm -rf "$work/store/present" "$work/store/cache/stat"
mkdir -p "$here/fixtures/stores"
tar -C "$work/store" --sort=name --numeric-owner --owner=0 --group=0 -czf "$here/fixtures/stores/format-$1.tar.gz" .
