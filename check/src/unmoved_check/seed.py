"""That a seed follows from the question: noise and plan then cannot be chosen after the votes were seen."""

from __future__ import annotations

import json
from fractions import Fraction
from hashlib import sha256
from struct import pack
from typing import Any

from unmoved_check.outcome import Rejection
from unmoved_check.schedule import geometric, single
from unmoved_check.tensor import Tensor

__all__ = ["check_seed"]


def check_seed(manifest: dict[str, Any], center: Tensor, input_shape: tuple[int, ...]) -> None:
    """Raise Rejection unless `evidence.number` is null, or the seed is derived from it as the format page says.

    The evidence's other fields have been read and found well formed.
    """
    evidence = manifest["evidence"]
    number = evidence["number"]
    if number is None:
        return
    if not isinstance(number, int) or isinstance(number, bool):
        raise Rejection("evidence.number is not an integer")
    model = manifest.get("model")
    if not (isinstance(model, dict) and isinstance(model.get("sha256"), str)):
        raise Rejection("model.sha256 is not a text")
    try:
        point = b"".join(pack("<f", value) for value in center.numbers)
    except OverflowError:
        raise Rejection("the centre is beyond float32") from None
    shape = "[" + ", ".join(map(str, input_shape)) + "]"
    head = ("unmoved/smooth/seed/1", str(number), model["sha256"], shape)
    fixed = [*(part.encode() for part in head), point]
    if not any(_digest([*fixed, asked.encode()]) == evidence["seed"] for asked in _asked(evidence)):
        raise Rejection("evidence.seed is not derived from evidence.number and what was asked")


def _asked(evidence: dict[str, Any]) -> list[str]:
    """Return what was asked as JSON, in one way for each schedule that has these looks."""
    sizes = tuple(evidence["looks"]["sizes"])
    common = {name: evidence[name] for name in ("bound", "grid", "sampler")}
    common |= {"kind": evidence["noise"], "scale": str(Fraction(evidence["sigma"])), "task": "certify"}
    common |= {"classes": len(evidence["counts"]), "samples": sizes[-1], "selection": evidence["selection_samples"]}
    ways = (("single", single), ("geometric", geometric))
    texts = [common | {"looks": name} for name, schedule in ways if schedule(sizes[-1])[0] == sizes]
    return [json.dumps(text, sort_keys=True, separators=(",", ":")) for text in texts]


def _digest(parts: list[bytes]) -> str:
    found = sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()
