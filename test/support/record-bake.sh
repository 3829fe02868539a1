#!/bin/bash
# Records anew what docker's buildx prints for the bake files of fixtures/bake: `DOCKER="docker" test/support/record-bake.sh [CASE...]`.
# A case has its files, `args` (one a line) and `env` (NAME=VALUE a line); what is printed goes to expected.json, and where
# buildx refuses the files, its error line to expected-error.
set -u
cd "$(dirname "$0")/../../fixtures/bake" || exit 1
[ $# -gt 0 ] || set -- *
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for case; do
  # What this version does not know has its answer by the documentation.
  [ ! -e "$case/README.md" ] || continue
  args=(); [ -e "$case/args" ] && mapfile -t args <"$case/args"
  env=(); [ -e "$case/env" ] && mapfile -t env <"$case/env"
  rm -rf "$work/case" "$case/expected.json" "$case/expected-error"
  cp -r "$case" "$work/case"
  if (cd "$work/case" && env "${env[@]}" ${DOCKER:-docker} buildx bake --print "${args[@]}" >"$work/out" 2>"$work/error"); then
    cp "$work/out" "$case/expected.json"
  else
    grep -m1 ERROR "$work/error" >"$case/expected-error"
  fi
done
