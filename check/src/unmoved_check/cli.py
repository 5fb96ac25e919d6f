# ruff: noqa: T201 - the command's output is its purpose
"""The command `unmoved-check`: 0 when every bundle is accepted, 1 when one is rejected, 2 on misuse."""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from unmoved_check.bundle import MANIFEST, MODEL, read
from unmoved_check.check import Checker, Mode
from unmoved_check.outcome import Accepted, Rejected, Rejection


class Misuse(Exception):  # noqa: N818 - what the user did, not a fault of the program
    """A path that is not there, or nothing to check."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="unmoved-check",
        description="Re-checks robustness certificates without trusting the program that made them.",
    )
    found.add_argument("paths", nargs="+", metavar="PATH", help="a bundle (zip or directory), or a directory of them")
    arithmetic = found.add_mutually_exclusive_group()
    arithmetic.add_argument("--exact", action="store_true", help="integers only (slow, assumes nothing)")
    arithmetic.add_argument("--float", action="store_true", help="float64 with proved rounding bounds (default)")
    found.add_argument("--model", metavar="FILE", help="the ONNX model, when the bundles don't carry it")
    found.add_argument("--json", action="store_true", help="one JSON object a line")
    return found


def bundles(path: Path) -> Iterator[Path]:
    """The bundles at a path, and in the directories below it, in the order of their names."""
    if not path.exists():
        raise Misuse(f"{path}: no such file or directory")
    if path.is_file() or (path / MANIFEST).is_file():
        yield path
        return
    found = list(_below(path))
    if not found:
        raise Misuse(f"{path}: no bundle in it (a zip, or a directory with {MANIFEST})")
    yield from found


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and (path / MANIFEST).is_file():
            yield path
        elif path.is_dir() and not path.is_symlink():
            yield from _below(path)
        # a damaged zip is still one that somebody means to have checked
        elif path.is_file() and (path.suffix == ".zip" or zipfile.is_zipfile(path)):
            yield path


class Models:
    """Finds the model of a bundle, and keeps one checker for each."""

    def __init__(self, given: Path | None):
        self._given = given
        self._checkers: dict[bytes, Checker] = {}

    def checker(self, path: Path, inside: bytes | None) -> Checker:
        """The checker for the model given, in the bundle, beside it, or one folder up."""
        data = self._bytes(path, inside)
        if data not in self._checkers:
            self._checkers[data] = Checker(data)
        return self._checkers[data]

    def _bytes(self, path: Path, inside: bytes | None) -> bytes:
        if self._given is not None:
            return self._given.read_bytes()
        if inside is not None:
            return inside
        here = path.resolve().parent
        for place in (here, here.parent):
            if (place / MODEL).is_file():
                return (place / MODEL).read_bytes()
        raise Rejection("no model: the bundle has none, and there is none beside it; give --model FILE")


def outcome(path: Path, models: Models, mode: Mode) -> Accepted | Rejected:
    """What the check of one bundle ends in."""
    try:
        files = read(path)
        return models.checker(path, files.model).check(files.manifest, files.payload, mode)
    except Rejection as rejection:
        return Rejected(str(rejection))


def show(path: Path, result: Accepted | Rejected, as_json: bool) -> None:
    """One line."""
    if as_json:
        print(json.dumps({"path": str(path), "accepted": result.accepted, **vars(result)}), flush=True)
    else:
        print(f"{path}: {result}", flush=True)


def check_paths(paths: Sequence[Path], *, mode: Mode, model: Path | None, as_json: bool) -> int:
    """Check the bundles at the paths and say so; the exit code."""
    models = Models(model)
    accepted = total = 0
    try:
        for path in [p for named in paths for p in bundles(named)]:
            result = outcome(path, models, mode)
            show(path, result, as_json)
            total += 1
            accepted += result.accepted
    except (Misuse, OSError) as error:
        print(f"unmoved-check: {error}", file=sys.stderr)
        return 2
    if as_json:
        print(json.dumps({"accepted": accepted, "checked": total}))
    else:
        print(f"{accepted} of {total} accepted")
    return 0 if accepted == total else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Check what the command line names; the exit code."""
    options = parser().parse_args(arguments)
    mode: Mode = "exact" if options.exact else "floating" if options.float else "auto"
    model = None if options.model is None else Path(options.model)
    return check_paths([Path(p) for p in options.paths], mode=mode, model=model, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
