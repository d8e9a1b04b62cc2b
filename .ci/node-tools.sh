#!/usr/bin/env bash
# Installs what the tests of the clients and of the playground need: Debian's node and npm if they are missing,
# and the packages in the lock file.
set -euo pipefail
cd "$(dirname "$0")/../tests/e2e/typescript"

command -v npm >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null; }
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --loglevel=error
echo "node tools: in tests/e2e/typescript/node_modules"
