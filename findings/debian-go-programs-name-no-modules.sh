#!/bin/sh
# skopeo 1.9.3 of Debian 12 (apt): a Go program whose build info has the version of Go and an empty list of modules. Debian builds
# Go programs from its own source packages, without modules, so a tool that reads build info (an SBOM of the image) finds
# the standard library and none of the libraries that are linked in. Needs Debian 12's package lists (apt-get update).
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
version=$(apt-cache policy skopeo | sed -n 's/ *Candidate: //p')
case $version in 1.9.3*) ;; *) echo "skopeo is $version here, and not 1.9.3" >&2; exit 1 ;; esac
apt-get download -qq "skopeo=$version" 2>/dev/null
dpkg-deb -x ./*.deb root
seen=$(node - root/usr/bin/skopeo <<'JS'
const bytes = require('fs').readFileSync(process.argv[2]);
const at = bytes.indexOf(Buffer.from('\xff Go buildinf:', 'latin1'));
let position = at + 32;
const text = () => {
  let length = 0;
  for (let shift = 1; ; shift *= 128) {
    const byte = bytes[position++];
    length += (byte & 127) * shift;
    if (byte < 128) break;
  }
  position += length;
  return bytes.toString('latin1', position - length, position);
};
const go = text();
const modules = text();
console.log(`go1.x: ${/^go1\.\d+/.test(go)}, lines about modules: ${modules.split('\n').filter((line) => /^(mod|dep)\t/.test(line)).length}`);
JS
)
echo "skopeo $version: $seen"
[ "$seen" = 'go1.x: true, lines about modules: 0' ] || { echo 'this has changed' >&2; exit 1; }
