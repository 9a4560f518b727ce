#!/usr/bin/env bash
# Does the wheel work for somebody who has nothing else? A fresh environment, an empty folder, the real commands.
#
#   scripts/check_wheel.sh dist/aptune-0.1.0-py3-none-any.whl [more "aptune sweep" arguments]
#
# PYTHON names the interpreter to build from (default python3).
set -euo pipefail

wheel=$(realpath "${1:?usage: scripts/check_wheel.sh WHEEL [SWEEP ARGUMENTS]}")
shift
root=$(realpath "$(dirname "$0")/..")
constraints=$root/constraints.txt
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

stage() {
  printf '[%4ss] %s\n' "$SECONDS" "$*"
}

stage "making a fresh environment"
"${PYTHON:-python3}" -m venv "$place/venv"
pip=("$place/venv/bin/python" -m pip --disable-pip-version-check -qq --no-input)
stage "installing $(basename "$wheel")"
"${pip[@]}" install "$(grep '^torch==' "$constraints")"
"${pip[@]}" install --constraint "$constraints" "$wheel"

mkdir "$place/empty"
cd "$place/empty"
unset PYTHONPATH
stage "where the packages come from"
"$place/venv/bin/python" - "$place" <<'PYTHON_CODE'
import sys
from importlib.util import find_spec

for name in ("apt_core", "orchestrator", "jobs"):
    origin = find_spec(name).origin
    assert origin.startswith(sys.argv[1]), f"{name} comes from {origin}, not from the wheel"
    print(f"  {name}: site-packages")
PYTHON_CODE
stage "aptune doctor"
"$place/venv/bin/aptune" doctor
stage "aptune sweep -c demo $*"
"$place/venv/bin/aptune" sweep -c demo "$@"
stage "the wheel works"
