"""An attack on the smoothed model g as a method: what it breaks bounds g's certified accuracy from above."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from unmoved.attack import ABSTAINED, SmoothedPgd, scores
from unmoved.core import Budget, Code, Finding, Guarantee, Method, Problem, Reason, SameClass, UsageError, Verdict
from unmoved.core.threat import AnyFloats
from unmoved.ir import Network
from unmoved.smooth.classifiers.smoothed import Smoothed
from unmoved.smooth.methods.method import classifier
from unmoved.smooth.noises.gaussian import Gaussian
from unmoved.smooth.voting.engine import Engine
from unmoved.threats import L2


@dataclass(frozen=True)
class SmoothedAttackMethod(Method):
    """Looks for a grid point of S(x) at which g answers another class than the label; it can only be UNKNOWN.

    That g answers otherwise is known with probability >= 1 - alpha only, so there is no FALSIFIED: the finding's
    details say `broken`, with the `distance` of the point found (in L2, rounded up) and g's answer there. An input
    that g gets wrong unmoved is broken at distance 0; one that g abstains on is not attacked.
    Threats: L2 without a clip range. `precision`: in which f is evaluated; gradients are float32's.
    """

    noise: Gaussian
    samples: int = 1000
    alpha: Fraction = Fraction(1, 1000)
    descent: SmoothedPgd | None = None
    batch: int = field(default=500)
    precision: str = "float32"
    chunk: ClassVar[int] = 16

    @property
    def name(self) -> str:
        """`smoothed-pgd`."""
        return "smoothed-pgd"

    def settings(self) -> dict[str, str]:
        """The noise, the samples a prediction, and the descent."""
        return {
            "sigma": str(self.noise.sigma),
            "grid": str(self.noise.grid),
            "samples": str(self.samples),
            "alpha": str(self.alpha),
            "descent": str(self._descent()),
            "engine": f"{self.precision}, batch norm folded",
        }

    def _f(self, network: Network) -> Engine:
        return classifier(network, self.precision)

    def _descent(self) -> SmoothedPgd:
        return self.descent or SmoothedPgd(float(self.noise.sigma))

    def decide(self, problems: Sequence[Problem], budget: Budget, seed: int) -> list[Finding]:
        """Return one finding a problem, in order, each UNKNOWN, its details saying whether g was broken and where."""
        if not problems:
            return []
        network = problems[0].model
        if not isinstance(network, Network):
            raise UsageError("model", type(network).__name__, "an ir.Network")
        begun = time.monotonic()
        x = np.stack([problem.x for problem in problems]).astype(np.float32)
        labels = np.array([_label(problem) for problem in problems], np.int64)
        smoothed = Smoothed(self._f(network), self.noise, network.outputs, batch=self.batch, model=network.digest)

        def predict(points: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
            answers = (smoothed.predict(point, self.samples, alpha=self.alpha, seed=seed).label for point in points)
            return np.array([ABSTAINED if answer is None else answer for answer in answers], np.int64)

        clean = predict(x)
        standing = np.flatnonzero(clean == labels)
        found = self._descent().search(
            scores(network),
            x[standing],
            labels[standing],
            [problems[i].threat for i in standing.tolist()],
            predict=lambda points: predict(self._inward(points, x[standing])),
            seed=seed,
            budget=budget,
        )
        seconds = (time.monotonic() - begun) / len(problems)
        findings = [self._finding(clean[i], 0.0, int(clean[i]), seconds) for i in range(len(problems))]
        for k, i in enumerate(standing):
            if found.broken[k]:
                move = self._inward(found.points[k : k + 1], x[i : i + 1])[0].astype(np.float64) - x[i]
                distance = float(np.nextafter(np.linalg.norm(move) * (1 + 1e-12), np.inf))
                findings[i] = self._finding(clean[i], distance, int(found.predictions[k]), seconds)
            else:
                findings[i] = self._finding(clean[i], None, None, seconds)
        return findings

    def _inward(self, points: AnyFloats, x: AnyFloats) -> npt.NDArray[np.float32]:
        """Return the grid points next to `points`, each coordinate moved towards x: never farther from x."""
        grid = self.noise.grid
        start = np.rint(x.astype(np.float64) * grid)
        return ((start + np.trunc(points.astype(np.float64) * grid - start)) / grid).astype(np.float32)

    def _finding(self, clean: int, distance: float | None, answer: int | None, seconds: float) -> Finding:
        broken = distance is not None and answer != ABSTAINED
        details: dict[str, Any] = {"broken": broken, "distance": distance, "answer": answer}
        if answer == ABSTAINED:
            reason = Reason(Code.ABSTAINED, f"g gives no answer at x itself after {self.samples} samples: no attack")
        elif distance is None:
            reason = Reason(Code.UNPROVED, "the attack found no point where g answers otherwise, which proves nothing")
        else:
            where = "at x itself" if distance == 0 else f"at L2 distance {distance:.3f}"
            reason = Reason(Code.UNPROVED, f"broken: g answers class {answer} {where}")
        prediction = None if clean == ABSTAINED else int(clean)
        guarantee = Guarantee("g", self.alpha)
        common: dict[str, Any] = {"guarantee": guarantee, "prediction": prediction, "seconds": seconds}
        return Finding(Verdict.UNKNOWN, self.name, reason=reason, details=details, **common)


def _label(problem: Problem) -> int:
    if not isinstance(problem.prop, SameClass):
        raise UsageError("property", problem.prop, "SameClass")
    if not isinstance(problem.threat, L2) or problem.threat.clip is not None:
        raise UsageError("threat", problem.threat.name, "an L2 threat without a clip range")
    return problem.prop.label
