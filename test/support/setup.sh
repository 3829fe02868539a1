#!/bin/sh
# Installs the system packages whose programs the tests use, and says so: `npm run setup`. Root's on Debian; elsewhere it
# names what is missing. With --check it installs nothing, and its exit code is 1 when something is missing.
set -u
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# program:package
programs='skopeo:skopeo umoci:umoci podman:podman docker-registry:docker-registry apache2:apache2-bin mmdebstrap:mmdebstrap
  busybox:busybox-static zstd:zstd xz:xz-utils bzip2:bzip2 python3:python3 git:git openssl:openssl unshare:util-linux
  setpriv:util-linux getcap:libcap2-bin crun:crun runc:runc proot:proot newuidmap:uidmap strace:strace
  fuse-overlayfs:fuse-overlayfs script:bsdutils ssh-keygen:openssh-client zsh:zsh fish:fish chromium:chromium'

if [ "${1-}" = --check ]; then
  for pair in $programs; do command -v "${pair%%:*}" >/dev/null 2>&1 || exit 1; done
  exit 0
fi
sh test/support/packages.sh $programs
sh "$0" --check && echo 'every program that the tests use is installed'
exit 0
