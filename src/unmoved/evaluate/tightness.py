"""Certificate against attack: no attack may succeed inside a certificate, and how wide the gap between them is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from unmoved.evaluate.accuracy import attacked, broken, broken_at, proved, wrong
from unmoved.evaluate.results import Results, View, attacks_within
from unmoved.evaluate.share import Share
from unmoved.record import Row


@dataclass(frozen=True)
class Contradiction:
    """An input that is certified as far as `radius`, and yet broken by an attack of size `eps` (both None: a box)."""

    index: int
    radius: Fraction | None
    eps: Fraction | None


@dataclass(frozen=True)
class Agreement:
    """Of `tested` certificates that faced an attack inside them, those in `contradictions` fell: there must be none.

    For a smoothed classifier, whose certificates and predictions are sampled, each is possible with probability alpha;
    for f, none is.
    """

    tested: int
    contradictions: tuple[Contradiction, ...]

    @property
    def agreed(self) -> int:
        """Certificates that every attack inside them left standing."""
        return self.tested - len(self.contradictions)


@dataclass(frozen=True)
class Settled:
    """What became of the inputs at one size: each is counted once, and the counts add up to `total`.

    `proved`; `broken` within this size; `wrong` at x itself; `abstained` there; `open`: neither proved nor broken.
    """

    radius: Fraction | None
    proved: int
    open: int
    abstained: int
    broken: int
    wrong: int

    @property
    def total(self) -> int:
        """All inputs."""
        return self.proved + self.open + self.abstained + self.broken + self.wrong


def contradictions(proof: Results, attack: Results) -> tuple[Contradiction, ...]:
    """Return the inputs that the attack breaks although they are certified.

    Broken inside means that the attack was allowed no more than the certified radius, or that its witness lies closer
    (`distance` in the row's details). Empty when the two runs are not about the same question.
    """
    if not attacks_within(proof.run, attack.run):
        return ()
    found = []
    for row, other in _pairs(proof, attack):
        if not row.certified or not broken(other):
            continue
        radius = None if row.radius is None else Fraction(row.radius)
        distance = other.details.get("distance")
        closer = radius is not None and isinstance(distance, int | float) and Fraction(distance) < radius
        if proved(row, attack.eps) or closer or wrong(other):
            found.append(Contradiction(row.index, radius, attack.eps))
    return tuple(found)


def agreement(view: View) -> Agreement:
    """Return how the certificates of a view stand against all its attacks; each certificate counts once."""
    tested = 0
    found: list[Contradiction] = []
    for proof in view.certify:
        against: dict[int, Contradiction] = {}
        faced: set[int] = set()
        for attack in view.attacks:
            for each in contradictions(proof, attack):
                against.setdefault(each.index, each)
            faced |= {row.index for row, _ in _pairs(proof, attack) if proved(row, attack.eps)}
        tested += len(faced | set(against))
        found += against.values()
    return Agreement(tested, tuple(found))


def contradicted(every: Sequence[View]) -> int:
    """Return how many certificates about f fell to an attack inside them: each is a bug of ours, none of the model."""
    return sum(len(agreement(view).contradictions) for view in every if view.function == "f")


def _pairs(proof: Results, attack: Results) -> list[tuple[Row, Row]]:
    """Return the rows of both runs that are about the same input."""
    theirs = attack.by_index
    pairs = [(row, theirs[row.index]) for row in proof.rows if row.index in theirs]
    return [(row, other) for row, other in pairs if row.input == other.input]


def settled(view: View, radius: Fraction | None) -> Settled:
    """Return what became of every input of the view at one radius.

    For f the proofs are those of the runs at that eps, for g the radii of the smoothing run; breaks are those of every
    run of exactly this size. What is wrong at x counts as wrong; what is both proved and broken, as broken.
    """
    proofs = proofs_at(view, radius)
    attacks = view.attacks_at(radius)
    breaks = (*proofs, *attacks) if view.function == "f" else attacks
    fallen = {row.index for results in breaks for row in results.rows if broken_at(row, radius)}
    asked: dict[int, list[Row]] = {}
    for results in proofs or attacks:
        for row in results.rows:
            asked.setdefault(row.index, []).append(row)
    fates = Counter(_fate(view, rows, radius, rows[0].index in fallen) for rows in asked.values())
    return Settled(radius, **{fate: fates[fate] for fate in ("proved", "open", "abstained", "broken", "wrong")})


def _fate(view: View, rows: list[Row], radius: Fraction | None, fallen: bool) -> str:
    if any(wrong(row) for row in rows):
        return "wrong"
    if fallen:
        return "broken"
    if any(proved(row, radius) for row in rows):
        return "proved"
    return "abstained" if view.function == "g" and all(row.prediction is None for row in rows) else "open"


def proofs_at(view: View, radius: Fraction | None) -> tuple[Results, ...]:
    """Return the proofs that speak of this radius: the runs at that eps, or every run where inputs have their own."""
    if view.graded:
        return view.certify
    return tuple(results for results in view.certify if results.eps == radius)


def upper_bound(view: View, radius: Fraction | None) -> Share | None:
    """Return the share that all attacks of this size leave standing; None when there was none."""
    if view.function == "g":
        return attacked(view.attacks_at(radius))
    proofs = proofs_at(view, radius)
    # a search for the radius attacked every input itself
    return attacked((*view.attacks_at(radius), *(proofs if view.graded else ())), proofs, radius)
