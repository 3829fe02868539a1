#!/bin/sh
# The tests that need no machine: they start no program and no registry, so they answer in seconds. `npm run test:unit`.
set -eu
cd "$(dirname "$0")/../.."
sh test/support/modules.sh
files=$(grep -rLE "support/(mbuild|registry|command|web-server|dav-server)'|node:child_process|node:http'|node:net'" test --include='*.test.ts')
exec node node_modules/jest/bin/jest.js --maxWorkers=2 "$@" --runTestsByPath $files
