"""What a store holds, arranged for reading: runs with their rows, and runs that may be compared side by side."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from unmoved.record import Row, Run
from unmoved.store import Store, rows, runs


@dataclass(frozen=True)
class Results:
    """One run and its rows, by index."""

    run: Run
    rows: tuple[Row, ...]

    @property
    def eps(self) -> Fraction | None:
        """The size of the threat, exactly; None where it has none (a box)."""
        return None if self.run.eps is None else Fraction(self.run.eps)

    @property
    def by_index(self) -> dict[int, Row]:
        """The rows by the number of their input."""
        return {row.index: row for row in self.rows}


@dataclass(frozen=True)
class View:
    """The runs that ask the same of the same: one model, data set, function, norm and clip range.

    `sort` is what else makes it one question: the noise of g, the name of a box, the arithmetic of a proof where it is
    not real; that it is a search for the radius; None where nothing does.

    `certify` are proofs, one run an eps (`graded`, as smoothing is: one run for all radii); `attacks` only those whose
    threat lies inside what the proofs are about, so that a break is an upper bound of what can be proved. Both by eps.
    """

    model: str
    data: str
    function: str
    norm: str | None
    clip: tuple[str, str] | None
    sort: str | None
    certify: tuple[Results, ...]
    attacks: tuple[Results, ...]

    @property
    def semantics(self) -> str:
        """The arithmetic that proofs about f speak of."""
        return self.first.settings.get("semantics", "real")

    @property
    def graded(self) -> bool:
        """Whether each input has a radius of its own: smoothing, and searches for the radius."""
        return self.first.graded

    @property
    def first(self) -> Run:
        """A run that stands for all in what they share."""
        return self.all[0].run

    @property
    def all(self) -> tuple[Results, ...]:
        """Proofs, then attacks."""
        return (*self.certify, *self.attacks)

    def attacks_at(self, eps: Fraction | None) -> tuple[Results, ...]:
        """Return the attacks of exactly this size."""
        return tuple(results for results in self.attacks if results.eps == eps)


def read_results(store: Store, *, only: Collection[str] | None = None) -> list[Results]:
    """Return the runs that have rows (with `only`: those with these ids), ordered by model, question and eps."""
    found = [Results(run, tuple(rows(store, run))) for run in runs(store) if only is None or run.id in only]
    return sorted((results for results in found if results.rows), key=_order)


def views(results: Iterable[Results]) -> list[View]:
    """Return one view for each question that was asked, attacks put beside the proofs that they bear on."""
    every = sorted(results, key=_order)
    proofs = [r for r in every if r.run.kind != "attack"]
    attacks = [r for r in every if r.run.kind == "attack"]
    found = []
    for key in dict.fromkeys(_key(r.run) for r in proofs):
        mine = tuple(r for r in proofs if _key(r.run) == key)
        beside = tuple(r for r in attacks if attacks_within(mine[0].run, r.run))
        found.append(View(*key, certify=mine, attacks=beside))
    alone = [r for r in attacks if not any(attacks_within(proof.run, r.run) for proof in proofs)]
    keys = dict.fromkeys(_key(r.run) for r in alone)
    found += [View(*key, certify=(), attacks=tuple(r for r in alone if _key(r.run) == key)) for key in keys]
    return sorted(found, key=lambda view: (view.first.model_name, view.model, view.function, view.norm or ""))


def one_per_eps(results: Iterable[Results]) -> dict[Fraction, Results]:
    """Return one run for every eps, smallest first; of two runs of one eps, the one with more rows."""
    largest: dict[Fraction, Results] = {}
    for each in results:
        if each.eps is not None and len(each.rows) > len(largest[each.eps].rows if each.eps in largest else ()):
            largest[each.eps] = each
    return dict(sorted(largest.items()))


def attacks_within(proof: Run, attack: Run) -> bool:
    """Say whether an attack's threats, size aside, are ones that the proof's threat contains.

    Same model, data, function (g: with the same noise) and norm (or the same box); the attack keeps to the proof's clip
    range, or the proof has none.
    """
    # a witness breaks proofs of every semantics: it was confirmed in real arithmetic and in float32
    settings = {k: v for k, v in proof.settings.items() if k != "semantics"}
    same = _key(replace(proof, kind=attack.kind, clip=None, settings=settings)) == _key(replace(attack, clip=None))
    return same and _clip_inside(proof.clip, attack.clip)


def _clip_inside(outer: tuple[str, str] | None, inner: tuple[str, str] | None) -> bool:
    if outer is None:
        return True
    if inner is None:
        return False
    return Fraction(outer[0]) <= Fraction(inner[0]) and Fraction(inner[1]) <= Fraction(outer[1])


def _key(run: Run) -> tuple[str, str, str, str | None, tuple[str, str] | None, str | None]:
    sort = run.threat if run.norm is None else None
    if "semantics" in run.settings:
        sort = f"{run.settings['semantics']} {sort or ''}".strip()
    if run.kind == "radius":
        sort = f"radius {sort or ''}".strip()
    if run.function == "g":
        sort = f"{run.settings.get('sigma')}/{run.settings.get('grid')}"
    return (run.model, run.data, run.function, run.norm, run.clip, sort)


def _order(results: Results) -> tuple[str, str, str, str, str, Fraction, Sequence[str]]:
    run = results.run
    size = results.eps if results.eps is not None else Fraction(-1)
    return (run.model_name, run.model, run.data, run.function, run.norm or "", size, (run.kind, run.method, run.id))
