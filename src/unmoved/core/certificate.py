"""A finding (what a method says), and a certificate (what is left of it after the independent check)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from unmoved.core.problem import Problem
from unmoved.core.verdict import Guarantee, Reason, Verdict

Tree: TypeAlias = tuple[Any, ...]
"""A split tree in the nested form of docs/certificate-format.md; `("leaf", 0)` is a proof without splits."""


@dataclass(frozen=True)
class DualTree:
    """Evidence of a linear-bound proof: one split tree a disjunct, and the untrusted choices of its leaves.

    `intermediate` is "interval" or "linear": how a checker re-derives the bounds of the hidden layers.
    `choices` are the optional payload tensors `slopes/...`, `multipliers/...`, `weights/...`.
    """

    intermediate: str
    trees: tuple[Tree, ...]
    choices: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Lipschitz:
    """Evidence that the margin at x is more than any move in S(x) can take: constants in `norm` ("inf", "2" or "1").

    A checker bounds them itself, squaring Gram matrices `squarings` times. `choices`: `weights/<disjunct>`.
    """

    norm: str
    squarings: int
    choices: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Classes:
    """The class of every copy that was counted, bound by `root` (hex; `smooth.voting.merkle`), `bits` each, 8 or 16.

    `packed`: the classes in order, little-endian, as a zlib stream; None where only the root is kept.
    """

    root: str
    bits: int
    packed: bytes | None


@dataclass(frozen=True)
class Counts:
    """Evidence of a smoothing certificate: the vote counts and everything needed to recompute the radius.

    `counts` are of the first `samples` copies: those of look `at` of a schedule that was fixed beforehand, look k being
    at `sizes[k]` copies and spending `shares[k]` of alpha. No sizes: one look, at `samples`, with all of alpha.
    `noise` is the kind of the noise, `sigma` its scale. `number` is the user's seed, from which `seed` was derived
    together with what was asked (None: not said).
    """

    sigma: Fraction
    grid: int
    on_grid: bool
    bound: str
    samples: int
    selection_samples: int
    counts: tuple[int, ...]
    top: int
    alpha: Fraction
    seed: str
    sampler: str
    sizes: tuple[int, ...] = ()
    shares: tuple[Fraction, ...] = ()
    at: int = 0
    classes: Classes | None = None
    number: int | None = None
    noise: str = "gaussian-grid"


@dataclass(frozen=True)
class AllVotes:
    """Evidence of a certificate without chance: the exact votes of all `copies` copies of a finite noise.

    `lam`, `offsets` (the public choice of thresholds) and `grid` > 0 are of derandomised splitting, else None and 0.
    `invalid` copies gave a NaN. `classes` is the record of all copies, in which `len(counts)` stands for such a one.
    """

    noise: str
    lam: Fraction | None
    grid: int
    offsets: int | None
    on_grid: bool
    copies: int
    counts: tuple[int, ...]
    invalid: int
    top: int
    classes: Classes | None = None


@dataclass(frozen=True)
class Witness:
    """Evidence of a violation: a float32 input inside S(x), and the outputs that onnxruntime gave for it."""

    point: npt.NDArray[np.float32]
    runtime_version: str
    runtime_output: npt.NDArray[np.float32]


Evidence: TypeAlias = DualTree | Lipschitz | Counts | AllVotes | Witness


@dataclass(frozen=True)
class Finding:
    """What a method says of one problem, before anybody has checked it.

    `margin` is the proved lower bound of the property (or the attack's best), for people only. `radius` is what is
    proved (rounded down), None where there is no proof. `prediction` is the class at x itself (None: abstained).
    """

    verdict: Verdict
    method: str
    evidence: Evidence | None = None
    reason: Reason | None = None
    guarantee: Guarantee = field(default_factory=Guarantee)
    radius: Fraction | None = None
    margin: float | None = None
    prediction: int | None = None
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """What the independent checker said: accepted or not, in which mode, its text, and the seconds it took."""

    accepted: bool
    mode: str
    text: str
    seconds: float


@dataclass(frozen=True)
class Certificate:
    """A problem, the verdict that survived the check, and the evidence, ready to be written as a bundle.

    `manifest` and `payload` are the bundle's bytes (see docs/certificate-format.md) when there is evidence, else None.
    `check` is None when nothing was there to be checked (UNKNOWN), or when the user asked for `--unchecked`: then
    `unchecked` is True and every output says so.
    """

    problem: Problem
    finding: Finding
    verdict: Verdict
    reason: Reason | None
    check: Check | None
    manifest: bytes | None = None
    payload: bytes | None = None
    unchecked: bool = False

    @property
    def radius(self) -> Fraction | None:
        """The proved radius; None unless CERTIFIED."""
        return self.finding.radius if self.verdict is Verdict.CERTIFIED else None
