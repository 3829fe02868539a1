#!/bin/sh
# yaml 2.9.1 (npm): with `merge: true` the key `<<` of a map is a scalar whose value is a symbol and not the text "<<",
# so that String(key.value) gives "Symbol(<<)"; without `merge` (YAML 1.2, the default) it is the text.
# Code that walks the nodes of a compose file meets it: compose files use merge keys, and are read with `merge: true`.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init -y >/dev/null
npm install --no-audit --no-fund --silent yaml@2.9.1
cat >look.cjs <<'JS'
const { parseDocument } = require('yaml');
const text = 'base: &b { x: 1 }\none:\n  <<: *b\n  y: 2\n';
for (const merge of [true, false]) {
  const [, one] = parseDocument(text, { merge }).contents.items;
  const [first] = one.value.items;
  console.log(`merge ${merge}: ${typeof first.key.value} ${String(first.key.value)}`);
}
JS
seen=$(node look.cjs)
echo "$seen"
expected='merge true: symbol Symbol(<<)
merge false: string <<'
[ "$seen" = "$expected" ] || { echo 'this has changed' >&2; exit 1; }
