"""Objectives by the names that the command line gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from unmoved.core.errors import UsageError
from unmoved.train.adversarial import Adversarial, Trades
from unmoved.train.certified import CcIbp, CrownIbp, ExpIbp, Ibp, MtlIbp, Sabr, Staps
from unmoved.train.lipschitz import MarginLoss
from unmoved.train.objective import Objective
from unmoved.train.smoothing import Consistency, GaussianNoise, Macer, SmoothAdv, Stability


@dataclass(frozen=True)
class Wish:
    """What was asked for; None where nothing was. `weight` is the number that an objective trades with."""

    eps: float | None = None
    sigma: float | None = None
    clip: tuple[float, float] | None = None
    weight: float | None = None


@dataclass(frozen=True)
class Entry:
    """How an objective is made: from sizes that must be given (`needs`), and the name of its `weight`, if it has one.

    `boxes`: whether it wants Shi et al.'s initialisation.
    """

    make: Callable[..., Objective]
    needs: tuple[str, ...] = ()
    weight: str | None = None
    clipped: bool = False
    boxes: bool = False


def _box(make: Callable[..., Objective], weight: str | None = None) -> Entry:
    return Entry(make, ("eps",), weight, clipped=True, boxes=True)


CATALOGUE: Mapping[str, Entry] = {
    "plain": Entry(lambda: GaussianNoise(0.0)),
    "noise": Entry(GaussianNoise, ("sigma",)),
    "stability": Entry(Stability, ("sigma",), "weight"),
    "consistency": Entry(Consistency, ("sigma",), "weight"),
    "smoothadv": Entry(SmoothAdv, ("sigma", "eps")),
    "macer": Entry(Macer, ("sigma",), "weight"),
    "adversarial": Entry(Adversarial, ("eps",), clipped=True),
    "trades": Entry(Trades, ("eps",), "weight", clipped=True),
    "ibp": _box(Ibp),
    "crown-ibp": _box(CrownIbp, "last"),
    "sabr": _box(Sabr, "size"),
    "staps": _box(Staps, "size"),
    "mtl-ibp": _box(MtlIbp, "weight"),
    "cc-ibp": _box(CcIbp, "weight"),
    "exp-ibp": _box(ExpIbp, "weight"),
    "margin": Entry(lambda eps: MarginLoss(eps), ("eps",)),
}


def objective(name: str, wish: Wish) -> Objective:
    """Return the objective; UsageError for a name that is none, a size that it lacks, or one that it has no use for."""
    if name not in CATALOGUE:
        raise UsageError("objective", name, f"one of {', '.join(CATALOGUE)}")
    entry = CATALOGUE[name]
    given: dict[str, object] = {}
    for size in ("eps", "sigma"):
        value = getattr(wish, size)
        if (value is None) == (size in entry.needs):
            raise UsageError(size, value, f"a number: {name} needs it" if value is None else f"none: {name} has none")
        if value is not None:
            given[size] = value
    if wish.weight is not None:
        if entry.weight is None:
            raise UsageError("weight", wish.weight, f"none: {name} has none")
        given[entry.weight] = wish.weight
    if entry.clipped:
        given["clip"] = wish.clip
    return entry.make(**given)
