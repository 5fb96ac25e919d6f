"""Runs of one or many stores as defences, side by side on the inputs that all of them answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from unmoved.core import UsageError
from unmoved.evaluate.accuracy import Checks, checks
from unmoved.evaluate.comparison.estimate import Estimate, bootstrap
from unmoved.evaluate.comparison.evaluation import (
    ANSWERS,
    CORRUPTED,
    OUTSIDE,
    PROOF,
    Evaluation,
    Part,
    asides,
    evaluations,
)
from unmoved.evaluate.comparison.profile import Key, Profile, profile
from unmoved.evaluate.results import Results, attacks_within, read_results
from unmoved.record import Run
from unmoved.store import Store

Group = tuple[Results, ...]


@dataclass(frozen=True)
class Worn:
    """A defence on images that one family has corrupted at one severity (None: the data set has only one)."""

    family: str
    severity: int | None
    profile: Profile


@dataclass(frozen=True)
class Defence:
    """A model and a method that certifies it, in one norm.

    `source` names the store; `outside` is its profile on foreign inputs, `worn` those on corrupted images. `runs` are
    all runs that it rests on, `checks` what the independent checker said of their claims.
    """

    source: str
    run: Run
    profile: Profile
    outside: Profile | None
    worn: tuple[Worn, ...]
    runs: tuple[Run, ...]
    checks: Checks

    @property
    def question(self) -> str | None:
        """The norm of its radii."""
        return self.run.norm


@dataclass(frozen=True)
class Section:
    """Defences in one norm, all restricted to the same inputs.

    `whole` are the numbers of inputs that each was run on, in order; `common` how many all have. `sizes` are where
    accuracy is read off, `main` the one by which the defences are ranked.
    """

    norm: str
    defences: tuple[Defence, ...]
    whole: tuple[int, ...]
    common: int
    sizes: tuple[Fraction, ...]
    main: Fraction

    @property
    def restricted(self) -> bool:
        """Whether some defence was run on more inputs than are compared."""
        return any(number != self.common for number in self.whole)


STANDARD = (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(3, 2), Fraction(2), Fraction(3))
"""Where radii of smoothing are read off, if no size was asked for."""


def defences(store: Store, source: str) -> list[Defence]:
    """Return what a store holds: its evaluations, and certifying runs that belong to none."""
    results = {each.run.id: each for each in read_results(store)}
    attacks = [each for each in results.values() if each.run.kind == "attack"]
    found: list[Defence] = []
    covered = asides(store)
    for evaluation in evaluations(store):
        covered |= evaluation.runs(PROOF)
        found += _evaluated(evaluation, results, attacks, source)
    left = [each for each in results.values() if each.run.kind == "certify" and each.run.id not in covered]
    for group in _groups(left):
        found.append(_defence(source, group, _attacks(group, attacks)))
    return [defence for defence in found if defence.profile.keys]


def sections(found: Sequence[Defence]) -> list[Section]:
    """Return the defences by norm, on common inputs; UsageError where two of one norm have no input in common."""
    norms = dict.fromkeys(defence.run.norm for defence in found if defence.run.norm is not None)
    if not norms:
        raise UsageError("run", "runs without a certificate in any norm", "runs of `unmoved evaluate` or `certify`")
    return [_section(norm, [each for each in found if each.run.norm == norm]) for norm in norms]


def average_radius(part: Profile) -> Estimate | None:
    """Return the mean over all inputs of the certified radius, 0 where nothing or a wrong label is certified.

    Of f the radius is the largest size that was asked for and proved: a lower bound. See `curves.ACR_CAVEAT`.
    """
    radii = np.where(part.right, np.nan_to_num(part.lengths, nan=0.0), 0.0)
    return bootstrap(lambda rows: float(radii[rows].mean()), len(radii))


def worn_mean(parts: Sequence[Worn], good: Callable[[Profile], np.ndarray]) -> Estimate | None:
    """Return the mean over families of a share of inputs, its interval over inputs: they are the same in all families.

    `good` says of a profile's inputs, in order, which count.
    """
    counts = {len(part.profile.keys) for part in parts}
    if len(counts) != 1:
        return None
    table = np.stack([good(part.profile) for part in parts]).astype(np.float64).mean(0)
    return bootstrap(lambda rows: float(table[rows].mean()), len(table))


def held(radius: Fraction) -> Callable[[Profile], np.ndarray]:
    """Return what says which inputs are certified as far as `radius`, with the right label."""
    return lambda part: part.right & np.array([r is not None and r >= radius for r in part.radii])


def _section(norm: str, found: list[Defence]) -> Section:
    names = ", ".join(f"{each.run.model_name} ({each.source})" for each in found)
    keys = [set(each.profile.keys) for each in found]
    common = set.intersection(*keys)
    if not common:
        raise UsageError("run", names, "runs that have inputs (with labels) in common: these have none")
    order: list[Key] = [key for key in found[0].profile.keys if key in common]
    same = [replace(each, profile=each.profile.only(order)) for each in found]
    sizes = _sizes([each.profile for each in same])
    main = _main([each.profile for each in same], sizes)
    ranked = sorted(same, key=lambda each: (-each.profile.certified(main).count, -each.profile.clean().count))
    lengths = {id(each): len(full.profile.keys) for each, full in zip(same, found, strict=True)}
    return Section(norm, tuple(ranked), tuple(lengths[id(each)] for each in ranked), len(order), sizes, main)


def _sizes(profiles: Iterable[Profile]) -> tuple[Fraction, ...]:
    every = list(profiles)
    asked = {size for part in every for size in (*part.sizes, *part.attacked) if size > 0}
    most = max((r for part in every for r in part.radii if r is not None), default=Fraction(0))
    usual = {size for size in STANDARD if size <= most} if not any(part.sizes for part in every) else set()
    return tuple(sorted(asked | usual)) or (most or Fraction(1, 4),)


def _main(profiles: Sequence[Profile], sizes: Sequence[Fraction]) -> Fraction:
    """Return the largest size at which the best defence still certifies half of the inputs; else the smallest."""
    best = {size: max(part.certified(size).value for part in profiles) for size in sizes}
    return max((size for size, share in best.items() if share >= Fraction(1, 2)), default=min(sizes))


def _evaluated(
    evaluation: Evaluation, results: dict[str, Results], attacks: Sequence[Results], source: str
) -> list[Defence]:
    """Return one defence a norm. One run may play two parts: some corruption leaves images as they were."""
    every = [(part, _cut(results[part.run], part.role, evaluation)) for part in evaluation.parts if part.run in results]
    found = []
    for group in _groups([each for part, each in every if part.role == PROOF]):
        mine = [(part, each) for part, each in every if each.run.norm == group[0].run.norm]
        answers, foreign = (tuple(e for part, e in mine if part.role == role) for role in (ANSWERS, OUTSIDE))
        beside = _attacks(group, attacks)
        defence = _defence(source, group, beside, answers, evaluation.confidences)
        found.append(
            replace(
                defence,
                outside=profile(foreign, confidences=evaluation.confidences) if foreign else None,
                worn=_worn([(part, each) for part, each in mine if part.role == CORRUPTED]),
                runs=_runs((*group, *beside, *(each for _, each in mine))),
                checks=checks([row for _, each in mine for row in each.rows]),
            )
        )
    return found


def _worn(parts: Sequence[tuple[Part, Results]]) -> tuple[Worn, ...]:
    kinds = dict.fromkeys((part.family or "", part.severity) for part, _ in parts)
    return tuple(
        Worn(*kind, profile([each for part, each in parts if (part.family or "", part.severity) == kind]))
        for kind in kinds
    )


def _runs(results: Iterable[Results]) -> tuple[Run, ...]:
    return tuple({each.run.id: each.run for each in results}.values())


def _cut(results: Results, role: str, evaluation: Evaluation) -> Results:
    """Return the rows that the evaluation is about: an evaluation of fewer inputs may have gone before a larger run."""
    if role != PROOF:
        return results
    return replace(results, rows=tuple(row for row in results.rows if row.index < evaluation.inputs))


def _defence(
    source: str,
    group: Group,
    attacks: Group,
    answers: Group = (),
    confidences: Mapping[str, float] | None = None,
) -> Defence:
    part = profile(group, attacks, answers, confidences)
    said = checks([row for each in group for row in each.rows])
    return Defence(source, group[0].run, part, None, (), _runs((*group, *attacks, *answers)), said)


def _attacks(group: Group, attacks: Iterable[Results]) -> Group:
    return tuple(each for each in attacks if attacks_within(group[0].run, each.run))


def _groups(results: Iterable[Results]) -> list[Group]:
    """Return runs that differ in size only, together; each run of g alone, for it has all radii."""
    found: dict[object, list[Results]] = {}
    for each in results:
        run = each.run
        alone = run.id if run.function == "g" else ""
        settings = tuple(sorted(run.settings.items()))
        key = (run.model, run.data, run.function, run.norm, run.clip, run.method, settings, run.seed, alone)
        found.setdefault(key, []).append(each)
    return [tuple(group) for group in found.values()]
