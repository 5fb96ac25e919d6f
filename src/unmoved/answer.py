"""Answer a VNN-LIB query: `unsat` by proofs that were all re-checked, `sat` by a witness that was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import prod

import numpy as np
import numpy.typing as npt

from unmoved.attack import FGSM, Apgd, Pgd, PgdMethod
from unmoved.certifier import examine, refusal
from unmoved.core import (
    FLOAT32,
    REAL,
    Budget,
    Certificate,
    Code,
    Finding,
    LoadError,
    Method,
    Problem,
    Semantics,
    Verdict,
)
from unmoved.core.certificate import Witness
from unmoved.ir import Network
from unmoved.loaders.query import Case, Query
from unmoved.loaders.runtime import Runtime
from unmoved.refine import Cascade

QUICK = PgdMethod((FGSM, Apgd("margin", steps=60, restarts=4, together=True)))
THOROUGH = PgdMethod((Pgd(steps=60, restarts=6, targets=6),))
SMALL = 1000
"""Elements of all tensors together up to which the thorough attack costs less than the proofs it may save."""


class Word(StrEnum):
    """What can be said of a query."""

    SAT = "sat"
    UNSAT = "unsat"
    UNKNOWN = "unknown"
    TIMED_OUT = "timed-out"


@dataclass(frozen=True)
class Answer:
    """The answer and what it rests on: certificates of every case (unsat), or one with its witness (sat).

    `why` says, for people, what decided or what is missing. `point` and `output` are a satisfying assignment in
    float32: the input, and what onnxruntime gives for it. `unchecked`: the checker does not know some operator.
    """

    word: Word
    why: str
    certificates: tuple[Certificate, ...] = ()
    point: npt.NDArray[np.float32] | None = None
    output: npt.NDArray[np.float32] | None = None
    unchecked: bool = False


@dataclass(frozen=True)
class Terms:
    """How to answer. `method` makes the proofs; None: all that there are, cheap to dear.

    `unchecked` lets claims through whose only fault is an operator that the checker does not know. `real` takes
    declared element types as real numbers, as VNN-LIB asks a user to consent to. Without it a query that declares
    float32 is answered by proofs about every float32 execution, and by no others. `semantics`: what proofs are about,
    where the query's types do not say.
    """

    method: Method | None = None
    seed: int = 0
    unchecked: bool = False
    real: bool = False
    semantics: Semantics = REAL


def answer(query: Query, network: Network, budget: Budget | None = None, terms: Terms | None = None) -> Answer:
    """Return the answer to a query about a network.

    `sat` only with a float32 input that lies between the query's exact rational bounds and whose outputs, replayed in
    exact arithmetic by the checker and in onnxruntime, satisfy it; `unsat` only if a certificate of every case was
    accepted by the checker. Raises LoadError where the query's shapes or element types are not the model's.
    """
    terms, budget = terms or Terms(), budget or Budget()
    _same_kinds(query, network)
    cases = query.cases(network.input_shape, network.outputs)
    if not cases:
        return Answer(Word.UNSAT, "no input meets the query's own conditions on the inputs: nothing is to be proved")
    blind = refusal(network.source)
    if blind is not None and not terms.unchecked:
        return Answer(Word.UNKNOWN, f"the checker cannot follow the model ({blind}), so no answer could be checked")
    return _Search(query, network, cases, budget, terms, _semantics(query, network, terms)).run()


def _semantics(query: Query, network: Network, terms: Terms) -> Semantics:
    """Return what the proofs are to be about: float32 where the query says so and the checker can follow."""
    if _types(query) != {"float32"} or terms.real or terms.semantics.deployed:
        return terms.semantics
    return FLOAT32 if refusal(network.source, FLOAT32) is None else REAL


def _types(query: Query) -> set[str]:
    """Return the element types that a query declares, but `real`."""
    return {declared.type for declared in (query.input, *query.outputs)} - {"real"}


def _same_kinds(query: Query, network: Network) -> None:
    has = str(np.dtype(Runtime(network.source).dtype))
    for declared in (query.input, query.outputs[0]):
        if not declared.type.startswith(("real", "float")):
            raise LoadError(
                f"{declared.name} is declared as {declared.type}: we answer queries about real and float types"
            )
        if declared.type not in ("real", has):
            raise LoadError(f"the query declares {declared.name} as {declared.type}, and the model has {has}")
    if query.version.startswith("1."):
        return
    # of the same size is not enough: elements are named by their place in the shape
    shapes = (network.input_shape, network.shapes[network.output])
    for declared, shape in zip((query.input, query.outputs[0]), shapes, strict=True):
        if [n for n in declared.shape if n != 1] != [n for n in shape if n != 1]:
            expected = f"and the model has {list(shape)}"
            raise LoadError(f"the query declares {declared.name} of shape {list(declared.shape)}, {expected}")


@dataclass
class _Search:
    """The cases of one query, and what has been found of each so far."""

    query: Query
    network: Network
    cases: Sequence[Case]
    budget: Budget
    terms: Terms
    semantics: Semantics
    proofs: dict[int, Certificate] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    def run(self) -> Answer:
        """Go through the stages until the query is decided or nothing is left to try."""
        for stage in self._stages():
            if self.budget.spent:
                break
            found = stage()
            if found is not None:
                return found
            if len(self.proofs) == len(self.cases):
                return self._unsat()
        open_ = [i for i in range(len(self.cases)) if i not in self.proofs]
        why = f"{len(open_)} of {len(self.cases)} cases are open: {self.reasons.get(open_[0], 'nothing was tried')}"
        return Answer(Word.TIMED_OUT if self.budget.spent else Word.UNKNOWN, why)

    def _stages(self) -> Iterator[_Stage]:
        proofs = _Stage(self, self.terms.method or Cascade.complete(), False)
        thorough = _Stage(self, THOROUGH, True)
        small = sum(prod(shape) for shape in self.network.shapes.values()) <= SMALL
        yield _Stage(self, QUICK, True)
        yield from (thorough, proofs) if small else (proofs, thorough)

    def _unsat(self) -> Answer:
        proofs = tuple(self.proofs[i] for i in range(len(self.cases)))
        unchecked = any(proof.unchecked for proof in proofs)
        types = _types(self.query)
        if types and not self.terms.real and not (types == {"float32"} and self.semantics.deployed):
            why = f"proved in real arithmetic, which is no proof for the declared {', '.join(sorted(types))}"
            return Answer(Word.UNKNOWN, f"{why}: declare the variables as real, or allow it with --real", proofs)
        why = f"every case has an accepted certificate ({len(proofs)}, {self.semantics})"
        return Answer(Word.UNSAT, why, proofs, None, None, unchecked)


@dataclass(frozen=True)
class _Stage:
    """One method on the cases that are still open: attacks on their inner problems, proofs on their outer ones."""

    search: _Search
    method: Method
    attack: bool

    def __call__(self) -> Answer | None:
        """Run the method, keep what is proved, and return an answer once a witness was accepted."""
        search = self.search
        open_ = [
            i for i, case in enumerate(search.cases) if i not in search.proofs and (not self.attack or case.inner_box)
        ]
        for k in range(0, len(open_), self.method.chunk):
            part = open_[k : k + self.method.chunk]
            if search.budget.spent:
                return None
            problems = [self._problem(search.cases[i]) for i in part]
            for i, finding in zip(part, self.method.decide(problems, search.budget, search.terms.seed), strict=True):
                found = self._take(i, problems[part.index(i)], finding)
                if found is not None:
                    return found
        return None

    def _problem(self, case: Case) -> Problem:
        if self.attack:
            assert case.inner_box is not None
            return Problem(self.search.network, case.start, case.inner_box, case.inner_prop)
        return Problem(self.search.network, case.start, case.box, case.prop, self.search.semantics)

    def _take(self, i: int, problem: Problem, finding: Finding) -> Answer | None:
        """Have a finding checked; a witness is checked on the inner problem, whatever problem it was found on."""
        search, case = self.search, self.search.cases[i]
        if finding.verdict is Verdict.FALSIFIED and isinstance(finding.evidence, Witness):
            return self._witness(i, case, finding, finding.evidence)
        certificate = examine(problem, finding, unchecked=search.terms.unchecked)
        if certificate.verdict is Verdict.CERTIFIED:
            search.proofs[i] = certificate
        elif certificate.reason is not None and not (self.attack and i in search.reasons):
            reason = certificate.reason
            search.reasons[i] = reason.detail or str(reason) if reason.code is Code.UNPROVED else str(reason)
        return None

    def _witness(self, i: int, case: Case, finding: Finding, witness: Witness) -> Answer | None:
        search = self.search
        unread = f"it has a condition that is not read: {case.loose[0].why}" if case.loose else ""
        search.reasons[i] = unread or "an input satisfies the rounded query, but not the exact one"
        if case.inner_box is None or not case.admits(witness.point):
            return None
        problem = Problem(search.network, case.start, case.inner_box, case.inner_prop)
        certificate = examine(problem, finding, unchecked=search.terms.unchecked)
        if certificate.verdict is not Verdict.FALSIFIED:
            search.reasons[i] = str(certificate.reason)
            return None
        if not search.query.satisfied(witness.point, witness.runtime_output):
            return None
        where = "by onnxruntime alone" if certificate.unchecked else "by the checker and by onnxruntime"
        why = f"{finding.method} found an input that satisfies the query, replayed {where}"
        return Answer(Word.SAT, why, (certificate,), witness.point, witness.runtime_output, certificate.unchecked)
