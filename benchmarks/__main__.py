"""`make bench`: run benchmarks by name, all in turn without one. `make bench ARGS="bounds --runs 1"` passes options on.

Each writes its results, with commit, machine and versions, under benchmarks/results/. Those that need data or a rival
take its folder as an argument, and are passed over here without it.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent
ALONE = ("sampler", "bounds", "training")
NEED_ARGUMENTS = {
    "attacks": "--models DIR --data DIR [--rival DIR]",
    "audit_logs": "LOGS_DIR",
    "certified_training": "DATA_DIR",
    "smoothing_bounds": "DATA.npz...",
    "smoothing_samples": "LOGS_DIR",
    "smoothing_speed": "[--cohen DIR] [--art DIR]",
    "training_speed": "[--lirpa DIR] [--ctbench DIR]",
    "verifier": "FOLDER [--rival COMMAND]",
}


def run(name: str, arguments: list[str]) -> None:
    script = HERE / f"{name}.py"
    if not script.is_file():
        sys.exit(f"no benchmark {name}: one of {', '.join((*ALONE, *NEED_ARGUMENTS))}")
    print(f"== {name} {' '.join(arguments)}", flush=True)
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    name, *rest = sys.argv[1:] or [""]
    if name:
        run(name, rest)
    else:
        for each in ALONE:
            run(each, [])
        for each, needed in NEED_ARGUMENTS.items():
            print(f'== {each}: make bench ARGS="{each} {needed}"')
