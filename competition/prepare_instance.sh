#!/usr/bin/env bash
# VNN-COMP: prepare one instance. Arguments: v1 CATEGORY MODEL.onnx QUERY.vnnlib. Nothing is computed here, by the rules.
set -euo pipefail
[ "${1:-}" = "v1" ] || { echo "prepare_instance.sh: expected version v1, got ${1:-nothing}" >&2; exit 1; }
[ $# -eq 4 ] || { echo "prepare_instance.sh: expected v1 CATEGORY MODEL.onnx QUERY.vnnlib" >&2; exit 1; }
for file in "$3" "$4"; do
  [ -r "$file" ] || { echo "prepare_instance.sh: $file cannot be read" >&2; exit 1; }
done
