"""Smoothing evidence read back from a bundle's bytes, for those who draw copies again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

from unmoved.core.certificate import Classes, Counts


@dataclass(frozen=True)
class Voted:
    """Counts evidence, the input it is about (as stored), the model's sha256, the radius claimed and its norm.

    `engine`: how the producer says that the model was evaluated, in words ("" where nothing is said). Unchecked.
    """

    evidence: Counts
    center: npt.NDArray[Any]
    model: str
    radius: Fraction
    norm: str
    engine: str = ""


def read_votes(manifest: bytes, payload: bytes) -> Voted | None:
    """Return what `encode` wrote, None for evidence of another kind. For bundles that the checker has accepted."""
    told = json.loads(manifest)
    found = told["evidence"]
    if found["kind"] != "counts":
        return None
    tensors = load(payload)
    evidence = Counts(
        sigma=Fraction(found["sigma"]),
        grid=found["grid"],
        on_grid=found["on_grid"],
        bound=found["bound"],
        samples=found["samples"],
        selection_samples=found["selection_samples"],
        counts=tuple(found["counts"]),
        top=found["top"],
        alpha=Fraction(found["alpha"]),
        seed=found["seed"],
        sampler=found["sampler"],
        sizes=tuple(found["looks"]["sizes"]),
        shares=tuple(Fraction(share) for share in found["looks"]["shares"]),
        at=found["looks"]["at"],
        classes=_classes(found["classes"], tensors),
        number=found["number"],
        noise=found["noise"],
    )
    radius = Fraction(told["claim"]["radius"])
    norm = told["threat"].get("norm", "0")
    engine = str(told["provenance"].get("engine", ""))
    return Voted(evidence, tensors[told["input"]["tensor"]], told["model"]["sha256"], radius, norm, engine)


def _classes(told: dict[str, Any] | None, tensors: dict[str, npt.NDArray[np.uint8]]) -> Classes | None:
    if told is None:
        return None
    packed = None if told["tensor"] is None else tensors[told["tensor"]].tobytes()
    return Classes(told["root"], told["bits"], packed)
