#!/bin/sh
# The whole test suite on a machine that may have nothing but Node and npm: installs what the tests need (as far as it may),
# builds, checks types, lints, runs every test, takes away what they left. Arguments go to jest.
# The last line is `N passed, N failed, N skipped`; the exit code is 0 only when nothing failed.
set -u
cd "$(dirname "$0")/../.."
here=$(pwd)
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

sh test/support/modules.sh || { echo '0 passed, 1 failed, 0 skipped'; exit 1; }
sh test/support/setup.sh --check || sh test/support/setup.sh

tmp=$(sh test/support/scratch.sh mbuild)

# Ends what tests left running (known by its TMPDIR), unmounts what they left mounted, and deletes their files.
left_processes() {
  for environ in /proc/[0-9]*/environ; do
    grep -zqsx "TMPDIR=$tmp" "$environ" || continue
    pid=${environ#/proc/}
    echo "${pid%/environ}"
  done
}
clean_up() {
  for pid in $(left_processes); do
    echo "left running: $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
    kill -KILL "$pid" 2>/dev/null
  done
  awk -v dir="$tmp/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while IFS= read -r mount; do
    echo "left mounted: $mount"
    umount -l "$(printf '%b' "$mount")"
  done
  rm -rf --one-file-system "$tmp"
}
trap 'clean_up; exit 130' INT TERM HUP

checks=
check() {
  name=$1
  shift
  echo "== $name"
  if "$@"; then checks="$checks $name:ok"; else checks="$checks $name:failed"; fi
}
check build npm run --silent build
check types node_modules/.bin/tsc
check lint node_modules/.bin/oxlint --quiet src test
check format node_modules/.bin/prettier --log-level warn --check .

echo '== tests'
summary=$tmp/summary
TMPDIR=$tmp MBUILD_TEST_SUMMARY=$summary MBUILD_TEST_CHECKS=$checks \
  node node_modules/jest/bin/jest.js "$@" --maxWorkers=2 --reporters=default --reporters="$here/test/support/reporter.cjs"
code=$?
line=$(cat "$summary" 2>/dev/null || echo '0 passed, 1 failed, 0 skipped')
clean_up
case $checks in *failed*) code=1 ;; esac
echo "$line"
exit $code
