"""Spot checks of a smoothing certificate: draw some of its copies again, and compare with what was recorded.

A certificate's counts are the producer's word until somebody runs the model. An auditor need not run all of it: copies
are picked at random, by the auditor's own randomness, after the record was bound by its Merkle root; each is drawn
again from seed and number alone, bit for bit, and classified. What the comparison supports is in
`smooth.statistics.spot`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from unmoved.core.certificate import Classes, Counts
from unmoved.core.errors import UsageError
from unmoved.smooth.classifiers.session import alpha_left
from unmoved.smooth.draws.grid import GridPoint
from unmoved.smooth.draws.noise import Noise
from unmoved.smooth.draws.seeds import Stream
from unmoved.smooth.noises.noises import noise_of
from unmoved.smooth.radii.conversions import InNorm
from unmoved.smooth.statistics import bound_named, most_wrong, supported
from unmoved.smooth.voting import merkle
from unmoved.smooth.voting.ballots import unpack
from unmoved.smooth.voting.sampling import Classify, VoteCounter

DELTA = 0.01
"""The probability, over the auditor's choice of copies, that a spot check supports more than is true."""


@dataclass(frozen=True)
class SpotCheck:
    """`redrawn` copies out of `recorded`, of which `mismatches` got another class than recorded.

    With confidence 1 - DELTA at most `wrong` records are false; `radius` (rounded down, 0: none) is what the counts
    prove if so many are, at the certificate's own alpha. `claimed` is what the counts prove as they stand.
    """

    recorded: int
    redrawn: int
    mismatches: int
    wrong: int
    claimed: float
    radius: float


def spot_check(
    evidence: Counts,
    x: npt.NDArray[np.float32],
    classify: Classify,
    *,
    redraw: int,
    seed: int,
    norm: str | None = None,
    batch: int = 500,
) -> SpotCheck:
    """Return what drawing `redraw` copies again (all, if there are fewer) says of a certificate at `x`.

    `norm` is the certificate's threat's ("0" for l0; None: the noise's own); both radii are in it. `seed` picks the
    copies: it must be unknown to whoever made the certificate when they made it. `batch` should be the
    producer's: outputs may depend on it in the last bit. Raises UsageError when a recorded class is not under the root,
    when there is no record, or for a sampler that this machine does not have.
    """
    record = evidence.classes
    if record is None:
        raise UsageError("classes", None, "a certificate with a record of the classes")
    noise = noise_of(evidence)
    if norm is not None and norm != noise.norm:
        noise = InNorm(noise, norm, x.size)
    point = noise.place(x)
    number = min(redraw, evidence.samples)
    picked = np.sort(np.random.default_rng(seed).choice(evidence.samples, number, replace=False))
    counter = VoteCounter(classify, noise, len(evidence.counts), batch)
    stream = Stream(bytes.fromhex(evidence.seed))
    again = np.concatenate([counter.classes_of(point, part, stream=stream) for part in _chunks(picked, batch)])
    mismatches = int((again != recorded_classes(record, evidence.samples, picked)).sum())
    wrong = most_wrong(evidence.samples, number, mismatches=mismatches, delta=DELTA)
    worst = supported(evidence.counts, evidence.top, wrong)
    claimed, radius = (_radius(evidence, counts, noise, point) for counts in (evidence.counts, worst))
    return SpotCheck(evidence.samples, number, mismatches, wrong, claimed, radius)


def recorded_classes(record: Classes, samples: int, picked: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the recorded classes of the copies `picked`, each proved to be under the record's root."""
    width = record.bits // 8
    data = unpack(record, samples)
    leaves = merkle.leaves(data, width)
    tree, root = merkle.tree(leaves), bytes.fromhex(record.root)
    for index in np.unique(picked // merkle.BLOCK).tolist():
        if not merkle.proves(root, leaves[index], index, count=len(leaves), steps=tree.path(index)):
            raise UsageError("classes", f"leaf {index}", "classes under the certificate's Merkle root")
    return np.frombuffer(data, f"<u{width}")[picked].astype(np.int64)


def _radius(evidence: Counts, counts: tuple[int, ...], noise: Noise, point: GridPoint) -> float:
    """Return the radius that counts at the certificate's look prove around the input, rounded down; 0 for none."""
    most = evidence.sizes[-1] if evidence.sizes else evidence.samples
    share = evidence.shares[evidence.at] if evidence.shares else Fraction(1)
    level = alpha_left(evidence.alpha, most, noise, point) * share
    bounds = bound_named(evidence.bound)(counts, evidence.top, level)
    radius = noise.radius(bounds.p_low, bounds.p_high)
    return max(0.0, float(np.nextafter(radius - point.distance, -np.inf)) if point.distance else radius)


def _chunks(picked: npt.NDArray[np.int64], size: int) -> list[npt.NDArray[np.int64]]:
    return [picked[start : start + size] for start in range(0, len(picked), size)]
