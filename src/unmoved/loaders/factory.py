"""Modules made by a user's own code: "package.module:factory", and weights from a safetensors file."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from os import PathLike
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from unmoved.core.errors import LoadError, UsageError
from unmoved.loaders.runtime import first_line

_SPEC = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<factory>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)")
_EXPECTED = '"package.module:factory", a function without arguments that returns a torch.nn.Module'


def is_factory(text: str) -> bool:
    """Say whether a text has the form package.module:factory."""
    return _SPEC.fullmatch(text) is not None


def load_factory(spec: str, weights: str | PathLike[str] | None = None) -> nn.Module:
    """Return what the factory makes, in eval mode, with exactly the weights of the file (strictly: none more or less).

    The module is looked for in the current folder too. Raises UsageError for a name that leads nowhere or a missing
    file, LoadError when the user's code fails or the weights do not fit.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise UsageError("model", spec, _EXPECTED)
    with _current_folder():
        made = _called(spec, _imported(spec, match["module"]), match["factory"])
    if not isinstance(made, nn.Module):
        raise UsageError("model", spec, f"{_EXPECTED}; it returned {type(made).__name__}")
    if weights is not None:
        _fill(made, Path(weights))
    return made.eval()


@contextmanager
def _current_folder() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _imported(spec: str, name: str) -> object:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError("model", spec, f"a module that can be imported ({error})") from error
        raise LoadError(f"{spec}: importing {name} fails: {error}") from error
    except Exception as error:
        raise LoadError(f"{spec}: importing {name} fails: {type(error).__name__}: {first_line(error)}") from error


def _called(spec: str, module: object, path: str) -> object:
    found = module
    for part in path.split("."):
        if not hasattr(found, part):
            raise UsageError("model", spec, f"a name that {getattr(module, '__name__', 'the module')} has")
        found = getattr(found, part)
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise UsageError("model", spec, _EXPECTED)
    try:
        return found()
    except Exception as error:
        raise LoadError(f"{spec} fails: {type(error).__name__}: {first_line(error)}") from error


def _fill(module: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise UsageError("weights", str(path), "an existing .safetensors file")
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise LoadError(f"{path.name} is not a safetensors file: {first_line(error)}") from error
    wrong = _misfits(module.state_dict(), state)
    if wrong:
        raise LoadError(f"{path.name} does not fit the module: {'; '.join(wrong)}")
    module.load_state_dict(state, strict=True)


def _misfits(wanted: dict[str, Tensor], given: dict[str, Tensor]) -> list[str]:
    """Return what does not fit, one phrase a kind: names missing, names too many, shapes, numbers that are none."""
    both = wanted.keys() & given.keys()
    shapes = [n for n in both if given[n].shape != wanted[n].shape]
    kinds = {
        "missing": wanted.keys() - given.keys(),
        "not in the module": given.keys() - wanted.keys(),
        "of another shape": [f"{n} {tuple(given[n].shape)} for {tuple(wanted[n].shape)}" for n in shapes],
        "NaN or infinite": [n for n in both if given[n].is_floating_point() and not given[n].isfinite().all()],
    }
    return [f"{kind}: {_some(sorted(names))}" for kind, names in kinds.items() if names]


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
