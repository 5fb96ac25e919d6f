#!/usr/bin/env bash
# VNN-COMP: install the tool. Arguments: v1. Run once, from anywhere; needs Python 3.11 or newer and pip.
set -euo pipefail
[ "${1:-v1}" = "v1" ] || { echo "install_tool.sh: expected version v1, got $1" >&2; exit 1; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
venv=${UNMOVED_VENV:-$root/.venv}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --disable-pip-version-check -c "$root/constraints.txt" "$root/check" "$root[vnnlib]"
"$venv/bin/unmoved" --version
