#!/bin/sh
# A tour of mbuild on a fresh checkout: install, compile, make a base image, build, build again, change a file, look, run.
# Everything it makes is in one temporary directory, gone at the end.
set -eu
cd "$(dirname "$0")/../.."

say() { printf '\n== %s\n' "$*"; }
show() {
  printf '$ %s\n' "$*"
  "$@"
}

say 'Installing and compiling'
sh test/support/modules.sh
if ! command -v busybox >/dev/null 2>&1; then sh test/support/packages.sh busybox:busybox-static | grep -v '^skip:' || true; fi
npm run --silent build

tmp=$(sh test/support/scratch.sh mbuild-demo)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
MBUILD_ROOT=$tmp/store
PATH=$(pwd)/bin:$PATH
export MBUILD_ROOT PATH

if command -v busybox >/dev/null 2>&1; then from='a busybox'; else from="this machine's shell and a few tools"; fi
say "A base image out of $from"
sh test/support/small-base.sh "$tmp/small-base.tar"
show mbuild import "$tmp/small-base.tar" small-base

say 'The first build: two stages, RUN, COPY, ENV and COPY --from'
cp -r fixtures/hello "$tmp/hello"
cat "$tmp/hello/Dockerfile"
echo
show mbuild build --progress=plain --iidfile "$tmp/first" -t hello "$tmp/hello"

say 'The same build again: every step comes from the cache, and the image is the same'
show mbuild build --progress=plain --iidfile "$tmp/second" -t hello "$tmp/hello"
printf 'first  %s\nsecond %s\n' "$(cat "$tmp/first")" "$(cat "$tmp/second")"
[ "$(cat "$tmp/first")" = "$(cat "$tmp/second")" ] || { echo 'The two builds gave different images.'; exit 1; }

say 'greeting.txt changes: only what comes after it is built'
echo 'Good morning,' >"$tmp/hello/greeting.txt"
show mbuild build --progress=plain -t hello:morning "$tmp/hello"

say 'What the image is made of, and which images there are'
show mbuild history hello:morning
show mbuild images

say 'Running both'
show mbuild run --rm hello
show mbuild run --rm hello:morning
