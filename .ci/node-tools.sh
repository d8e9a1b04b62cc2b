#!/usr/bin/env bash
# Installs what tests/e2e/test_typescript_client.py needs: Debian's node and npm if they are missing, and the packages
# in its lock file.
set -euo pipefail
cd "$(dirname "$0")/../tests/e2e/typescript"

command -v npm >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null; }
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --loglevel=error
echo "node tools: in tests/e2e/typescript/node_modules"
