"""All the figures of one defence, computed once: for the page, for the terminal and for machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from unmoved.evaluate.comparison.board import Defence, Section, average_radius, held, worn_mean
from unmoved.evaluate.comparison.calibration import Calibration, calibration
from unmoved.evaluate.comparison.estimate import Estimate
from unmoved.evaluate.comparison.selective import Answered, answered, aurc
from unmoved.evaluate.comparison.separation import Separation, separation
from unmoved.evaluate.share import Share


@dataclass(frozen=True)
class At:
    """What is true of a defence at one size. `standing` and `gap` are None where no attack of this size was run."""

    size: Fraction
    certified: Share
    standing: Share | None
    gap: Share | None
    answered: Answered


@dataclass(frozen=True)
class Damage:
    """One family at one severity: the shares right, and certified at the section's corrupted size."""

    family: str
    severity: int | None
    right: Share
    certified: Share


@dataclass(frozen=True)
class Measures:
    """A defence in figures; see the files of this room for what each means and where its interval comes from.

    `damage_by_severity` are means over families. `contradicted` inputs were broken inside their certificate.
    """

    defence: Defence
    clean: Share
    abstained: Share
    sizes: tuple[At, ...]
    average_radius: Estimate | None
    aurc: Estimate | None
    calibration: Calibration | None
    separation: Separation | None
    damage: tuple[Damage, ...]
    damage_size: Fraction
    damage_by_severity: Mapping[int, Estimate]
    seconds: float
    contradicted: int

    def at(self, size: Fraction) -> At:
        """Return what is true at this size of the section."""
        return next(each for each in self.sizes if each.size == size)


def measure(section: Section, defence: Defence) -> Measures:
    """Return the figures of one of the section's defences."""
    part = defence.profile
    size = _damage_size(section, defence)
    severities = sorted({worn.severity for worn in defence.worn if worn.severity is not None})
    means = {s: worn_mean([w for w in defence.worn if w.severity == s], held(size)) for s in severities}
    return Measures(
        defence,
        part.clean(),
        part.abstained(),
        tuple(At(r, part.certified(r), part.standing(r), part.gap(r), answered(part, r)) for r in section.sizes),
        average_radius(part),
        aurc(part),
        calibration(part, section.main),
        None if defence.outside is None else separation(part, defence.outside, section.sizes),
        tuple(Damage(w.family, w.severity, w.profile.clean(), w.profile.certified(size)) for w in defence.worn),
        size,
        {s: mean for s, mean in means.items() if mean is not None},
        float(part.seconds.mean()),
        part.contradicted(),
    )


def _damage_size(section: Section, defence: Defence) -> Fraction:
    """Return the size at which corrupted images were certified: of f the one asked for, of g the section's."""
    asked = {size for worn in defence.worn for size in worn.profile.sizes}
    return min(asked) if asked else section.main


def to_json(section: Section, found: list[Measures]) -> dict[str, object]:
    """Return a section as data that `json` can write: counts and exact sizes, nothing rounded for show."""
    return {
        "norm": section.norm,
        "inputs": section.common,
        "main": str(section.main),
        "restricted": section.restricted,
        "defences": [_json(each, number) for each, number in zip(found, section.whole, strict=True)],
    }


def _json(each: Measures, number: int) -> dict[str, object]:
    run, said = each.defence.run, each.defence.checks
    told = each.calibration
    return {
        "model": run.model,
        "model_name": run.model_name,
        "source": each.defence.source,
        "function": run.function,
        "method": run.method,
        "settings": dict(run.settings),
        "data": run.data,
        "inputs": number,
        "clean": _share(each.clean),
        "abstained": _share(each.abstained),
        "sizes": [_at(at) for at in each.sizes],
        "average_radius": _estimate(each.average_radius),
        "aurc": _estimate(each.aurc),
        "ece": _estimate(told.ece if told else None),
        "ece_by_radius": _estimate(told.ece_by_radius if told else None),
        "rank_correlation": _estimate(told.rank if told else None),
        "out_of_distribution": _separation(each.separation),
        "corrupted": {
            "size": str(each.damage_size),
            "families": [
                {"family": d.family, "severity": d.severity, "right": _share(d.right), "certified": _share(d.certified)}
                for d in each.damage
            ],
            "mean_certified": {str(s): _estimate(mean) for s, mean in each.damage_by_severity.items()},
        },
        "seconds_an_input": each.seconds,
        "contradicted": each.contradicted,
        "checks": {"accepted": said.accepted, "total": said.total, "unchecked": said.unchecked},
    }


def _at(at: At) -> dict[str, object]:
    return {
        "size": str(at.size),
        "certified": _share(at.certified),
        "attacked": _share(at.standing),
        "gap": _share(at.gap),
        "coverage": _share(at.answered.coverage),
        "right_of_answered": _share(at.answered.right),
    }


def _separation(found: Separation | None) -> dict[str, object] | None:
    if found is None:
        return None
    return {
        "outside": found.outside,
        "auroc_radius": _estimate(found.radius),
        "auroc_confidence": _estimate(found.confidence),
        "certified": {str(size): _share(share) for size, share in found.certified},
    }


def _share(share: Share | None) -> dict[str, object] | None:
    if share is None:
        return None
    return {"count": share.count, "total": share.total, "low": share.low, "high": share.high}


def _estimate(found: Estimate | None) -> dict[str, object] | None:
    if found is None:
        return None
    return {"value": found.value, "low": found.low, "high": found.high, "how": found.how}
