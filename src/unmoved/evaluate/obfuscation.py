"""Signs that an attack fails because gradients mislead it, not because the model is robust.

In the spirit of Athalye, Carlini & Wagner 2018 (section 3.1) and of the checklist of Carlini et al. 2019: each sign
is a measured share of inputs with a threshold. A sign says that attacked accuracy may be far too high; no sign says
that it is right. Only a certificate says that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unmoved.attack import FGSM, Apgd, Pgd, Search, Square, scores
from unmoved.attack.ball import Ball, keys
from unmoved.attack.losses import LOSSES
from unmoved.attack.margins import margins
from unmoved.core import SameClass, UsageError
from unmoved.core.threat import AnyFloats
from unmoved.evaluate.run import Dataset
from unmoved.ir import Network
from unmoved.record import Run
from unmoved.store import Entry, Store
from unmoved.threats import Lp

Flags = npt.NDArray[np.bool_]

FEW = 0.02
"""Share of inputs that may behave oddly by chance; and never fewer than 2 inputs."""
DEAD = 0.05
"""Share of inputs whose gradient may be nothing at all."""
FLAT = 1e-6
"""A step to the end of the set that by its gradient changes less than this share of the margin: no direction at all."""


@dataclass(frozen=True)
class Sign:
    """One check: `value` is the share of inputs that behave as an honest gradient would not let them.

    `warns` where it is more than `threshold`. `text` says in one sentence what was measured.
    """

    kind: str
    value: float
    threshold: float
    text: str

    @property
    def warns(self) -> bool:
        """Whether the share is above its threshold."""
        return self.value > self.threshold


@dataclass(frozen=True)
class Obfuscation:
    """All signs of one model against one threat, over `inputs` inputs that it answers with their label."""

    threat: str
    inputs: int
    signs: tuple[Sign, ...]

    @property
    def warnings(self) -> tuple[Sign, ...]:
        """The signs that warn."""
        return tuple(sign for sign in self.signs if sign.warns)

    def to_json(self) -> dict[str, Any]:
        """Return everything as data that `json` can write."""
        signs = [asdict(sign) | {"warns": sign.warns} for sign in self.signs]
        return {"threat": self.threat, "inputs": self.inputs, "signs": signs}

    @staticmethod
    def from_json(told: dict[str, Any]) -> Obfuscation:
        """Return what `to_json` wrote."""
        signs = [Sign(s["kind"], s["value"], s["threshold"], s["text"]) for s in told["signs"]]
        return Obfuscation(told["threat"], told["inputs"], tuple(signs))


def obfuscation(
    network: Network, data: Dataset, threat: Lp, *, inputs: int = 50, seed: int = 0, device: str = "cpu"
) -> Obfuscation:
    """Return the signs over the first `inputs` inputs that the model answers with their label.

    Needs a clip range: what an unbounded attack may do is to choose anything in it. UsageError without one, for a size
    of zero, when no input is answered rightly. UnsupportedError when the model has an operator without facts.
    """
    if not isinstance(threat, Lp) or threat.clip is None or threat.eps == 0:
        expected = "linf, l2 or l1 of a size > 0, with a clip range (--clip 0,1): else nothing is unbounded"
        raise UsageError("threat", threat.name, expected)
    if inputs < 1:
        raise UsageError("inputs", inputs, "a whole number >= 1")
    function = scores(network, device=device)
    with torch.no_grad():
        classes = [
            function(torch.as_tensor(data.x[i : i + 1], device=device)).flatten(1).argmax(1).item()
            for i in range(min(len(data.x), 4 * inputs))
        ]
    rows = [i for i, c in enumerate(classes) if c == data.y[i]][:inputs]
    if not rows:
        raise UsageError("data", data.name, "at least one input that the model answers with its label")
    trial = Trial(function, data.x[rows], [SameClass(int(data.y[i])) for i in rows], threat, seed, device)
    return Obfuscation(threat.name, len(rows), trial.signs())


@dataclass(frozen=True)
class Trial:
    """One model on some inputs that it answers rightly: each `_sign` method measures one thing."""

    scores: Callable[[torch.Tensor], torch.Tensor]
    x: AnyFloats
    props: Sequence[SameClass]
    threat: Lp
    seed: int
    device: str

    def signs(self) -> tuple[Sign, ...]:
        """Return every sign."""
        steps = {k: self.broken(Pgd(steps=k, restarts=1, targets=0)) for k in (10, 20, 100)}
        white = steps[10] | steps[20] | steps[100] | self.broken(Apgd("ce", steps=50))
        dead, flat = self.gradients()
        return (
            self.sign("vanishing", dead, "have a gradient that is zero at the input", DEAD),
            self.sign("saturated", flat, "have a gradient too small to say where to go", DEAD),
            self.sign("one-step", self.broken(FGSM) & ~steps[20], "fall to one step and not to twenty"),
            self.sign("more-steps", steps[10] & ~steps[100], "fall to 10 steps and not to 100"),
            self.sign("random", self.noise() & ~steps[20], "fall to random noise and not to gradient steps"),
            *self.black_box(white),
            self.sign("size", self.growth(white), "fall at this size and not at twice the size"),
            self.sign("unbounded", self.unbounded(), "stand when any input within the clip range is allowed"),
        )

    def sign(self, kind: str, odd: Flags, text: str, threshold: float = FEW) -> Sign:
        """Return a sign for the inputs where `odd`: chance explains 2 of them, or the threshold's share."""
        share = float(odd.mean())
        few = max(threshold, 2 / len(odd))
        return Sign(kind, share, few, f"{share:.1%} of inputs {text} (up to {few:.1%} is nothing)")

    @property
    def _rows(self) -> torch.Tensor:
        return torch.arange(len(self.x), device=self.device)

    def broken(self, attack: Search, threat: Lp | None = None) -> Flags:
        """Return which inputs an attack breaks."""
        threats = [threat or self.threat] * len(self.x)
        found = attack.search(self.scores, self.x, threats, self.props, seed=self.seed, device=self.device)
        return np.asarray(found.margins <= 0)

    def gradients(self) -> tuple[Flags, Flags]:
        """Return where the margin's gradient at the input is zero, and where it is not but might as well be."""
        ball = Ball.of([self.threat] * len(self.x), self.x, self.device)
        points = ball.center.clone().requires_grad_(True)
        outputs = self.scores(points).flatten(1)
        ways = margins(self.props, outputs.shape[1], self.device).of(outputs, self._rows)
        margin = LOSSES["margin"](ways, None)
        (gradient,) = torch.autograd.grad(margin.sum(), points)
        size = gradient.detach().abs().flatten(1)
        zero = (size.amax(1) == 0) | ~torch.isfinite(size).all(1)
        reach = (size * ball.width.flatten(1)).sum(1)
        flat = ~zero & (reach < FLAT * margin.detach().abs())
        return zero.cpu().numpy(), flat.cpu().numpy()

    def noise(self, draws: int = 50) -> Flags:
        """Return which inputs one of some random points of the set breaks: inside it and on its surface in turn."""
        ball = Ball.of([self.threat] * len(self.x), self.x, self.device)
        names = keys(self.seed, self.x)
        fallen = np.zeros(len(self.x), bool)
        with torch.no_grad():
            for run in range(1, draws + 1):
                outputs = self.scores(ball.start(names, run)).flatten(1)
                ways = margins(self.props, outputs.shape[1], self.device).of(outputs, self._rows)
                fallen |= (ways.amin(1) <= 0).cpu().numpy()
        return fallen

    def black_box(self, white: Flags) -> tuple[Sign, ...]:
        """Return whether an attack without gradients breaks what those with them do not; L1 has no such attack here."""
        if self.threat.norm == "1":
            return ()
        odd = self.broken(Square(queries=500)) & ~white
        return (self.sign("black-box", odd, "fall to an attack without gradients (Square) and not to gradients"),)

    def growth(self, white: Flags) -> Flags:
        """Return which inputs fall at this size, and to the same attacks not at twice the size."""
        double = type(self.threat)(2 * self.threat.eps, self.threat.clip)
        return white & ~(self.broken(Pgd(steps=100, restarts=1, targets=2), double))

    def unbounded(self) -> Flags:
        """Return which inputs stand when the whole clip range is allowed."""
        assert self.threat.clip is not None
        low, high = self.threat.clip
        size = {"inf": 1, "2": self.x[0].size, "1": self.x[0].size}[self.threat.norm] * (high - low)
        return ~self.broken(Pgd(steps=100, restarts=2, targets=3), type(self.threat)(size, self.threat.clip))


def keep(store: Store, run: Run, found: Obfuscation) -> None:
    """Keep the signs beside an attack's run."""
    data = json.dumps(found.to_json(), sort_keys=True).encode()
    store.write([Entry.of("obfuscation", data, run.id)])


def kept(store: Store, runs: Iterable[Run]) -> list[Obfuscation]:
    """Return the signs that were kept beside these runs."""
    names = [name for run in runs for name in store.keys("obfuscation", f"{run.id}/")]
    return [Obfuscation.from_json(json.loads(store.read("obfuscation", name))) for name in names]
