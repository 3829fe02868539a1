#!/bin/sh
# Writes a small root file system as a tar: `small-base.sh OUT.tar`.
# A busybox with its applets if the machine has one, else the machine's own shell and a few tools; either with the libraries
# that it loads. Users: root, daemon (1), app (1000, also in the groups staff and video). The same machine gives the same bytes.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
out=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
umask 022
mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/home/app" "$root/proc" "$root/root" "$root/sys" "$root/tmp" "$root/usr/bin" "$root/var/tmp"
chmod 0755 "$root"

# Copies a program to /bin together with the libraries that ldd names; a static program has none.
install_program() {
  cp -L "$1" "$root/bin/${1##*/}"
  ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root${library%/*}"
    [ -e "$root$library" ] || cp -L "$library" "$root$library"
  done
}

if busybox=$(command -v busybox); then
  install_program "$busybox"
  for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
  done
else
  for tool in sh cat cp mv rm ln ls mkdir rmdir chmod chown touch stat sleep echo printf env id uname date test true false \
    head tail tr wc sort uniq cut sed grep find dd sha256sum seq tee mkfifo mknod readlink basename dirname ps kill; do
    program=$(command -v "$tool") || continue
    case $program in /*) install_program "$program" ;; esac
  done
fi

cat >"$root/etc/passwd" <<'END'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
app:x:1000:1000:app:/home/app:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
END
cat >"$root/etc/group" <<'END'
root:x:0:
daemon:x:1:
video:x:44:app
staff:x:50:app
app:x:1000:
nogroup:x:65534:
END
chmod 0700 "$root/root"
chmod 1777 "$root/tmp" "$root/var/tmp"
owner=
if [ "$(id -u)" = 0 ]; then chown 1000:1000 "$root/home/app"; else owner="--owner=0 --group=0"; fi
tar --create --file "$out" --directory "$root" --sort=name --mtime=@1700000000 --numeric-owner --format=gnu $owner .
