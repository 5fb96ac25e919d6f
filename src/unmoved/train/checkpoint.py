"""A run on disk: weights and the optimiser's numbers as safetensors, everything else as JSON.

`state.json` names the file of tensors and its digest. The tensors are written first and the state last, each by a
rename, so that a run that is killed at any moment finds its last whole epoch again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from unmoved.core.errors import IntegrityError, LoadError, UsageError

VERSION = 1


@dataclass(frozen=True, eq=False)
class Saved:
    """What a run needs to go on: tensors by name, and numbers and text as JSON holds them."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoints:
    """Keeps the last whole epoch of one run in a folder."""

    folder: Path

    @property
    def state(self) -> Path:
        """The file that counts."""
        return self.folder / "state.json"

    def write(self, run: str, epoch: int, saved: Saved) -> None:
        """Replace what is kept; `run` identifies the question that the run answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # copies: a parameter that two layers share is two tensors in the file
        data = save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in saved.tensors.items()})
        name = f"epoch-{epoch:06d}.safetensors"
        replace_file(self.folder / name, data)
        state = {
            "version": VERSION,
            "run": run,
            "epoch": epoch,
            "tensors": name,
            "sha256": hashlib.sha256(data).hexdigest(),
            "facts": saved.facts,
        }
        replace_file(self.state, json.dumps(state, indent=1).encode())
        for old in self.folder.glob("epoch-*.safetensors"):
            if old.name != name:
                old.unlink(missing_ok=True)

    def read(self, run: str) -> Saved | None:
        """Return what was kept; None where there is nothing.

        UsageError when the folder holds another run, IntegrityError when its tensors are not those that were written.
        """
        if not self.state.is_file():
            return None
        try:
            state = json.loads(self.state.read_bytes())
            data = (self.folder / state["tensors"]).read_bytes()
            version, kept, digest, facts = (state[key] for key in ("version", "run", "sha256", "facts"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LoadError(f"{self.state}: this checkpoint cannot be read ({error})") from error
        if version != VERSION or kept != run:
            raise UsageError(
                "checkpoints",
                str(self.folder),
                "an empty folder, or one of the same run (model, data, objective, plan)",
            )
        if hashlib.sha256(data).hexdigest() != digest:
            raise IntegrityError(f"{self.folder / state['tensors']} is not what was written")
        return Saved(load(data), facts)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever happens meanwhile."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
