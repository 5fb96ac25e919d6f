#!/usr/bin/env bash
# VNN-COMP: answer one instance. Arguments: v1 CATEGORY MODEL.onnx QUERY.vnnlib RESULTS TIMEOUT.
# RESULTS gets sat (with the counterexample), unsat, unknown, timeout or error.
set -uo pipefail
[ "${1:-}" = "v1" ] || { echo "run_instance.sh: expected version v1, got ${1:-nothing}" >&2; exit 1; }
[ $# -eq 6 ] || { echo "run_instance.sh: expected v1 CATEGORY MODEL.onnx QUERY.vnnlib RESULTS TIMEOUT" >&2; exit 1; }
model=$3 query=$4 results=$5 timeout=$6
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
unmoved=${UNMOVED:-${UNMOVED_VENV:-$root/.venv}/bin/unmoved}
partial=$results.partial
if "$unmoved" verify "$query" --network "$model" --timeout "$timeout" >"$partial"; then
  sed '1s/^timed-out$/timeout/' "$partial" >"$results"
else
  echo error >"$results"
fi
rm -f "$partial"
