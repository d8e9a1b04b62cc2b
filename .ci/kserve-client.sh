#!/usr/bin/env bash
# What tests/gateway/behaviour/test_kserve_client.py needs: KServe's client in an environment of its own, as it pins older
# libraries than ours.
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
