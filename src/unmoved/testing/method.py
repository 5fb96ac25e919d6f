"""What every method must keep: never contradict a problem whose answer is known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from unmoved.certifier import certify_all
from unmoved.core import Budget, Code, Finding, Method, Problem, Verdict, Witness
from unmoved.record import encode
from unmoved.testing.known import Known, known_problems

SEED = 11


@lru_cache(maxsize=1)
def _default() -> list[list[Known]]:
    return known_problems()


class MethodContract(ABC):
    """Inherit, name the class Test..., and give the hook; `groups` only where the method fits other problems."""

    singles = 4
    """How many problems of a group are asked alone."""

    @abstractmethod
    def method(self) -> Method:
        """Return the method, its settings small enough for tests."""

    def groups(self) -> Sequence[Sequence[Known]]:
        """Return problems with known answers, in groups of one model and one kind of threat."""
        return _default()

    def decide(self, problems: Sequence[Problem], *, seed: int = SEED) -> list[Finding]:
        """Ask the method, without a limit."""
        return self.method().decide(problems, Budget(), seed)

    def test_never_contradicts(self) -> None:
        """CERTIFIED only where the property holds; FALSIFIED only with a member of S(x) that breaks it, exactly."""
        for known, finding in self._answers():
            if not known.close:
                _agrees(known, finding.verdict, finding)

    def test_certificates_never_contradict(self) -> None:
        """Nor does what is left after the independent check, exact ties included."""
        for group in self.groups():
            made = certify_all([known.problem for known in group], self.method(), seed=SEED)
            for known, certificate in zip(group, made, strict=True):
                _agrees(known, certificate.verdict, certificate.finding)

    def test_decides_something(self) -> None:
        """A method that never answers would keep every other promise."""
        assert any(finding.verdict is not Verdict.UNKNOWN for _, finding in self._answers())

    def test_unknown_has_a_reason(self) -> None:
        """UNKNOWN says why; CERTIFIED and FALSIFIED carry evidence; a proof has the radius that the format asks for."""
        for known, finding in self._answers():
            size = known.problem.threat.size
            if finding.verdict is Verdict.UNKNOWN:
                assert finding.reason is not None
                continue
            assert finding.evidence is not None
            if finding.verdict is Verdict.CERTIFIED and finding.guarantee.of == "f":
                assert finding.radius == size
            elif finding.verdict is Verdict.CERTIFIED:
                assert finding.radius is not None and size is not None and finding.radius >= size

    def test_deterministic(self) -> None:
        """The same problems and seed give the same findings, evidence included."""
        for group in self.groups():
            problems = [known.problem for known in group]
            assert _texts(problems, self.decide(problems)) == _texts(problems, self.decide(problems))

    def test_batch_is_single(self) -> None:
        """A problem's answer does not depend on its company, and the answers come in order."""
        for group in self.groups():
            problems = [known.problem for known in group]
            together = [_brief(f) for f in self.decide(problems)]
            assert together == [_brief(f) for f in self.decide(problems[::-1])][::-1]
            for i in range(0, len(problems), -(-len(problems) // self.singles)):
                assert together[i] == _brief(self.decide([problems[i]])[0])

    def test_nothing_asked(self) -> None:
        """No problems, no findings."""
        assert self.decide([]) == []

    def test_spent_budget(self) -> None:
        """A budget of nothing is UNKNOWN(timeout), or an answer that was there at once and is right."""
        for group in self.groups():
            found = self.method().decide([known.problem for known in group], Budget(0), SEED)
            for known, finding in zip(group, found, strict=True):
                if finding.verdict is Verdict.UNKNOWN:
                    assert finding.reason is not None and finding.reason.code is Code.TIMEOUT
                elif not known.close:
                    _agrees(known, finding.verdict, finding)

    def test_settings_are_text(self) -> None:
        """Name and settings go into a run's identity: text, and the same each time."""
        method = self.method()
        settings = method.settings()
        assert method.name and all(isinstance(part, str) for item in settings.items() for part in item)
        assert settings == self.method().settings()

    def _answers(self) -> list[tuple[Known, Finding]]:
        answers: list[tuple[Known, Finding]] = []
        for group in self.groups():
            answers += zip(group, self.decide([known.problem for known in group]), strict=True)
        return answers


def _agrees(known: Known, verdict: Verdict, finding: Finding) -> None:
    problem = known.problem
    if verdict is Verdict.CERTIFIED:
        assert known.holds, f"CERTIFIED, but a counterexample exists: {problem.threat.name} at {problem.x}"
    if verdict is Verdict.FALSIFIED:
        assert not known.holds, f"FALSIFIED, but the property holds: {problem.threat.name} at {problem.x}"
        assert isinstance(finding.evidence, Witness)
        point = finding.evidence.point
        assert point.dtype == np.float32 and problem.threat.contains(problem.x, point)
        assert known.breaks(point), f"the witness {point} breaks nothing"


def _brief(finding: Finding) -> tuple[object, ...]:
    margin = None if finding.margin is None else float(f"{finding.margin:.6g}")
    return finding.verdict, finding.radius, finding.prediction, margin, finding.reason and finding.reason.code


def _texts(problems: Sequence[Problem], findings: Sequence[Finding]) -> list[object]:
    return [
        (str(f.verdict), str(f.reason), f.radius, f.prediction, f.margin, f.evidence and encode(p, f, {}))
        for p, f in zip(problems, findings, strict=True)
    ]
