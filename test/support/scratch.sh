#!/bin/sh
# The name is short and in lower case, for podman takes no other paths.
name=$1-$$
# Makes a temporary directory that can hold a store and prints its path: `scratch.sh NAME`.
# Overlay cannot have its writable directories on another overlay, which is what / is in most containers.
for dir in "${TMPDIR:-/tmp}" /var/tmp "$(pwd)/node_modules"; do
  [ -d "$dir" ] && [ -w "$dir" ] || continue
  case $(stat -f -c %T "$dir") in overlay*) continue ;; esac
  mkdir -m 700 "$dir/$name" && echo "$dir/$name" && exit
done
mkdir -m 700 "${TMPDIR:-/tmp}/$name" && echo "${TMPDIR:-/tmp}/$name"
