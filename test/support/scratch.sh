#!/bin/sh
# Makes a temporary directory that can hold a store and prints its path: `scratch.sh NAME`.
# Overlay cannot have its writable directories on another overlay, which is what / is in most containers.
for dir in "${TMPDIR:-/tmp}" /var/tmp "$(pwd)/node_modules"; do
  [ -d "$dir" ] && [ -w "$dir" ] || continue
  case $(stat -f -c %T "$dir") in overlay*) continue ;; esac
  exec mktemp -d "$dir/$1.XXXXXX"
done
exec mktemp -d "${TMPDIR:-/tmp}/$1.XXXXXX"
