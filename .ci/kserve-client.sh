#!/usr/bin/env bash
# Installs KServe's client for tests/gateway/behaviour/test_kserve_client.py in its own environment, because it pins
# older libraries than this project.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=0.21.0
into=build/kserve-client
[ -e "$into/$VERSION" ] && exit
rm -rf "$into"
"${PYTHON:-python3}" -m venv "$into"
"$into/bin/python" -m pip --disable-pip-version-check install --quiet "kserve==$VERSION"
touch "$into/$VERSION"
echo "KServe's client: in $into"
