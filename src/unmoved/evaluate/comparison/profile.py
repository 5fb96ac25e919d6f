"""One defence on one set of inputs, in one norm: its answers, how far they are certified, and when they broke.

Everything that is compared is derived from these columns, so that all defences are measured by the same code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from unmoved.core import Verdict, float_down
from unmoved.evaluate.accuracy import broken, proved, wrong
from unmoved.evaluate.results import Results
from unmoved.evaluate.share import Share
from unmoved.record import Row

Key = tuple[str, int]
"""An input (sha256 of its .npy bytes) with its label: what makes two rows be about the same."""

ABSTAINED = -1


@dataclass(frozen=True)
class Profile:
    """Columns, one entry an input, in the order of `keys`.

    `answers`: the class at x (ABSTAINED: none). `radii`: how far the *answer*, right or wrong, is certified (0: not at
    all; None: it is wrong, and nobody asked how far it holds). `breaks`: the smallest size at which an attack succeeds
    (0: wrong at x; None: none did). `confidences`: in [0, 1], NaN where unknown. `seconds`: time of all proofs.
    `sizes` are the sizes that proofs were asked for (empty: the radii themselves were), `attacked` those of attacks.
    """

    keys: tuple[Key, ...]
    answers: npt.NDArray[np.int64]
    radii: tuple[Fraction | None, ...]
    breaks: tuple[Fraction | None, ...]
    confidences: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]
    sizes: tuple[Fraction, ...]
    attacked: tuple[Fraction, ...]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Which inputs are answered with their label."""
        return np.asarray(self.answers == np.array([label for _, label in self.keys], np.int64))

    @property
    def lengths(self) -> npt.NDArray[np.float64]:
        """The radii as floats, rounded down; NaN where unknown."""
        return np.array([np.nan if r is None else float_down(r) for r in self.radii])

    def only(self, keys: Iterable[Key]) -> Profile:
        """Return the profile of these inputs, in this order; KeyError for one that is not there."""
        places = {key: place for place, key in enumerate(self.keys)}
        rows = [places[key] for key in keys]
        return Profile(
            tuple(self.keys[k] for k in rows),
            self.answers[rows],
            tuple(self.radii[k] for k in rows),
            tuple(self.breaks[k] for k in rows),
            self.confidences[rows],
            self.seconds[rows],
            self.sizes,
            self.attacked,
        )

    def clean(self) -> Share:
        """Return the share answered with the label at x itself."""
        return Share(int(self.right.sum()), len(self.keys))

    def abstained(self) -> Share:
        """Return the share without an answer at x itself."""
        return Share(int((self.answers == ABSTAINED).sum()), len(self.keys))

    def certified(self, radius: Fraction) -> Share:
        """Return the share answered with the label, and certified as far as `radius`."""
        good = [r is not None and r >= radius for r in self.radii]
        return Share(int((self.right & np.array(good)).sum()), len(self.keys))

    def standing(self, size: Fraction) -> Share | None:
        """Return the share that attacks up to this size leave standing; None where none of this size was tried."""
        if size not in self.attacked:
            return None
        stands = [broke is None or broke > size for broke in self.breaks]
        return Share(int((self.right & np.array(stands)).sum()), len(self.keys))

    def gap(self, size: Fraction) -> Share | None:
        """Return the share that stands under attack and is not certified: what nobody knows; None without an attack."""
        if size not in self.attacked:
            return None
        pairs = zip(self.radii, self.breaks, self.right, strict=True)
        unsure = [good and (r is None or r < size) and (b is None or b > size) for r, b, good in pairs]
        return Share(sum(bool(each) for each in unsure), len(self.keys))

    def contradicted(self) -> int:
        """Return how many inputs an attack broke inside their certificate: of f none may be."""
        pairs = zip(self.radii, self.breaks, self.right, strict=True)
        return sum(bool(good and r is not None and b is not None and b <= r and r > 0) for r, b, good in pairs)


def profile(
    proofs: Sequence[Results],
    attacks: Sequence[Results] = (),
    answers: Sequence[Results] = (),
    confidences: Mapping[str, float] | None = None,
) -> Profile:
    """Return the profile of the inputs that all `proofs` are about.

    `proofs` ask about the labels: of f one run a size, of g one for all radii. `answers` ask, by the same method, how
    far wrong answers hold. `confidences` are by input; where a smoothing run has counts, theirs are used.
    """
    columns = [{_key(row): row for row in results.rows} for results in proofs]
    keys = tuple(key for key in columns[0] if all(key in column for column in columns))
    own = _by_input(answers)
    hits = [({_key(row): row for row in results.rows}, results.eps) for results in (*attacks, *proofs)]
    rows = {key: [column[key] for column in columns] for key in keys}
    known = confidences or {}
    exact = [results.eps for results in proofs if results.run.function == "f" and results.eps]
    return Profile(
        keys,
        np.array([_answer(rows[key]) for key in keys], np.int64),
        tuple(_radius(rows[key], own.get(key[0], ()), key[1]) for key in keys),
        tuple(_broken(key, hits) for key in keys),
        np.array([_confidence(rows[key], known.get(key[0])) for key in keys], np.float64),
        np.array([sum(row.seconds for row in rows[key]) for key in keys], np.float64),
        tuple(sorted(set(exact))),
        tuple(sorted({each.eps for each in attacks if each.eps is not None})),
    )


def _key(row: Row) -> Key:
    return row.input, row.label


def _by_input(results: Iterable[Results]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for each in results:
        for row in each.rows:
            found.setdefault(row.input, []).append(row)
    return found


def _answer(rows: Sequence[Row]) -> int:
    return next((row.prediction for row in rows if row.prediction is not None), ABSTAINED)


def _radius(rows: Sequence[Row], own: Sequence[Row], label: int) -> Fraction | None:
    """Return how far the answer is certified; of smoothing, what the samples support about it, right or wrong."""
    answer = _answer(rows)
    if answer == ABSTAINED:
        return Fraction(0)
    if answer == label:
        return _largest(row for row in rows if proved(row, None))
    if own:
        return _largest(row for row in own if row.label == answer and proved(row, None))
    sampled = [row.details["sample_radius"] for row in rows if "sample_radius" in row.details]
    if sampled:
        return Fraction(max(value if isinstance(value, int | float) and value > 0 else 0 for value in sampled))
    held = [row for row in rows if row.verdict == Verdict.CERTIFIED and wrong(row)]
    return _largest(held) if held else None


def _largest(rows: Iterable[Row]) -> Fraction:
    return max((Fraction(row.radius) for row in rows if row.radius is not None), default=Fraction(0))


def _broken(key: Key, hits: Sequence[tuple[Mapping[Key, Row], Fraction | None]]) -> Fraction | None:
    found = []
    for rows, eps in hits:
        row = rows.get(key)
        if row is None or not broken(row):
            continue
        found.append(Fraction(0) if wrong(row) else eps)
    return min((size for size in found if size is not None), default=None)


def _confidence(rows: Sequence[Row], known: float | None) -> float:
    """Return the share of votes for the answer where there are votes, else what is known, else NaN."""
    for row in rows:
        counts, top = row.details.get("counts"), row.details.get("top")
        if counts and isinstance(top, int) and 0 <= top < len(counts) and sum(counts):
            return float(counts[top] / sum(counts))
    return float("nan") if known is None else known
