"""What an evaluation leaves in its store, beside its runs: which run plays which part, and f's confidences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from unmoved.record.manifest import canonical
from unmoved.store import Entry, Store

KIND = "evaluation"
PROOF, ATTACK, ANSWERS, OUTSIDE, CORRUPTED = "proof", "attack", "answers", "outside", "corrupted"
"""Parts: proofs of the labels, attacks, proofs of f's own wrong answers, of answers outside the data, after damage."""

ASIDE = (ANSWERS, OUTSIDE, CORRUPTED)
"""Parts that are not about the data set and its labels: a report on the store has no chapter for them."""


@dataclass(frozen=True)
class Part:
    """A run and the part it plays; `family` and `severity` where its images were corrupted."""

    role: str
    run: str
    family: str | None = None
    severity: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """One model under one method: the parts, over the first `inputs` of the data, and confidences by input's sha256."""

    model: str
    model_name: str
    data: str
    function: str
    method: str
    inputs: int
    parts: tuple[Part, ...]
    confidences: Mapping[str, float] = field(default_factory=dict)

    def runs(self, *roles: str) -> set[str]:
        """Return the ids of the runs that play one of these parts."""
        return {part.run for part in self.parts if part.role in roles}

    def to_json(self) -> bytes:
        """Return the evaluation as canonical JSON; confidences, which are estimates, to seven digits."""
        told = asdict(self) | {"confidences": {key: f"{value:.7f}" for key, value in self.confidences.items()}}
        return canonical(told)

    @staticmethod
    def from_json(data: bytes) -> Evaluation:
        """Return the evaluation that `to_json` wrote."""
        told = json.loads(data)
        parts = tuple(Part(**part) for part in told.pop("parts"))
        confidences = {key: float(value) for key, value in told.pop("confidences").items()}
        return Evaluation(**told, parts=parts, confidences=confidences)


def write_evaluation(store: Store, evaluation: Evaluation) -> None:
    """Keep an evaluation."""
    store.write([Entry.of(KIND, evaluation.to_json())])


def evaluations(store: Store) -> list[Evaluation]:
    """Return one evaluation for each model, data set and method: of several, the one with most inputs and parts."""
    found: dict[tuple[str, ...], Evaluation] = {}
    for name in store.keys(KIND):
        each = Evaluation.from_json(store.read(KIND, name))
        key = (each.model, each.data, each.function, each.method)
        if key not in found or _size(each) > _size(found[key]):
            found[key] = each
    return list(found.values())


def asides(store: Store) -> set[str]:
    """Return the ids of runs that only an evaluation has a use for."""
    every = [Evaluation.from_json(store.read(KIND, name)) for name in store.keys(KIND)]
    main = {run for each in every for run in each.runs(PROOF, ATTACK)}
    return {run for each in every for run in each.runs(*ASIDE)} - main


def _size(evaluation: Evaluation) -> tuple[int, int]:
    return evaluation.inputs, len(evaluation.parts)
