#!/bin/sh
# Installs the node modules of this checkout when they are missing or older than the lock file. No package's install script is run:
# everything that mbuild uses comes prebuilt.
set -eu
cd "$(dirname "$0")/../.."
stamp=node_modules/.package-lock.json
if [ -f "$stamp" ] && [ ! package-lock.json -nt "$stamp" ]; then exit 0; fi
echo 'installing node modules'
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error || {
  echo 'npm ci failed; trying npm install'
  npm install --ignore-scripts --no-audit --no-fund --loglevel=error
}
touch "$stamp"
