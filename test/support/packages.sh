#!/bin/sh
# Installs the Debian packages that hold the given programs, where that is possible: `packages.sh program:package …`.
# Programs that are there are left alone; nothing is asked of the network when none is missing.
# What stays missing is named on standard output, one `skip:` line a program; the exit code is always 0.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

missing() {
  for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || printf '%s\n' "$pair"
  done
}

install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" </dev/null >"$log" 2>&1
}

wanted=$(missing "$@")
[ -n "$wanted" ] || exit 0
packages=$(printf '%s\n' "$wanted" | sed 's/.*://' | sort -u)
why='it is not installed'
if [ "$(id -u)" != 0 ]; then
  why='only root can install packages'
elif ! command -v apt-get >/dev/null 2>&1; then
  why='this system has no apt-get'
else
  log=$(mktemp)
  echo "installing Debian packages: $(echo $packages)"
  apt-get update -q </dev/null >"$log" 2>&1 || { echo 'apt-get update failed:'; tail -n 3 "$log"; }
  if ! install $packages; then
    for package in $packages; do
      install "$package" || { echo "installing $package failed:"; tail -n 3 "$log"; }
    done
  fi
  rm -f "$log"
  why='its package could not be installed'
fi
for pair in $(missing "$@"); do
  echo "skip: tests that need ${pair%%:*} (Debian package ${pair#*:}): $why"
done
exit 0
