"""The complete verifier on a benchmark folder in the form of VNN-COMP, one thread, beside another tool.

    python benchmarks/verifier.py FOLDER [--rival COMMAND] [--only PART] [--out FILE]

FOLDER holds instances.csv (onnx,vnnlib,timeout) and, where it is known, expected.csv. Every instance is `unmoved
verify` in a process of its own (`unmoved bench`); CPU seconds are the whole process's, start-up included. With
`--rival`, COMMAND ONNX VNNLIB TIMEOUT FAMILY is run on each instance too, and prints `result,cpu seconds,wall seconds`;
without it the figures of expected.csv stand beside ours, as measured by whoever wrote them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from training import machine

RESULTS = Path(__file__).parent / "results" / "verifier.json"
DEFINITE = ("sat", "unsat")


def main() -> None:
    """Run the folder, the rival beside it where one is given, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rival")
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "bench.json"
        command = [sys.executable, "-c", "from unmoved.cli import main; main()", "bench", str(asked.folder)]
        subprocess.run([*command, "--only", asked.only, "--out", str(out)], check=False)
        told = json.loads(out.read_text(encoding="utf-8"))
    load = os.getloadavg()
    if asked.rival:
        for row in told["outcomes"]:
            row["beside"] = beside(asked.rival, asked.folder, row["instance"])
        both = [r for r in told["outcomes"] if r["answer"] in DEFINITE and r["beside"]["answer"] in DEFINITE]
        ratio = 1.0
        for row in both:
            ratio *= (row["cpu_seconds"] / row["beside"]["cpu_seconds"]) ** (1 / len(both))
        told["beside"] = f"{len(both)} solved by both, CPU time, geometric mean: {ratio:.2f} of the rival's in this run"
        print(told["beside"])
    asked.out.write_text(json.dumps({"machine": machine(), "load": load, **told}, indent=1) + "\n", encoding="utf-8")


def beside(command: str, folder: Path, instance: dict[str, object]) -> dict[str, object]:
    """Run the rival on one instance."""
    onnx, query = (folder / str(instance[name]) for name in ("onnx", "vnnlib"))
    words = [command, str(onnx), str(query), str(instance["timeout"]), onnx.parent.name]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip().splitlines()
    answer, cpu, _ = (said[-1] if said else "error,0,0").split(",")
    return {"answer": answer, "cpu_seconds": float(cpu)}


if __name__ == "__main__":
    main()
