"""Methods by name, as the command line and `certify_dataset` take them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from unmoved.attack import Pgd, PgdMethod, SmoothedPgd
from unmoved.core import Method, Threat, UsageError, rational
from unmoved.refine import Cascade, IntervalMethod, LinearMethod
from unmoved.smooth import Gaussian
from unmoved.smooth.attack import SmoothedAttackMethod
from unmoved.smooth.holm import HolmMethod
from unmoved.smooth.method import SmoothingMethod
from unmoved.smooth.statistics import COHEN, Family, Plan
from unmoved.threats import L2

METHODS: dict[str, Callable[[], Method]] = {
    "auto": Cascade.default,
    "interval": IntervalMethod,
    "linear": LinearMethod,
}


@dataclass(frozen=True)
class Sampling:
    """How smoothing samples: sigma (in the units of the input), samples an input, failure probability alpha, grid.

    `samples` None: 10,000, and 100,000 with `cohen`, the published setting: one look, one-class bound. `mode`: see
    `unmoved.smooth.statistics.MODES`. `family` ("bonferroni", "holm"): alpha is that of a claim about all `inputs`.
    """

    sigma: object = None
    samples: int | None = None
    alpha: object = "0.001"
    grid: int = 255
    mode: str | None = None
    cohen: bool = False
    label_known: bool = False
    family: str | None = None
    inputs: int = 1


def certifying(name: str, threat: Threat, sampling: Sampling) -> tuple[Method, str]:
    """Return the method of this name and the function it speaks of, "f" or "g".

    "auto" is smoothing when a sigma is given, else the cascade interval, then linear. Raises UsageError for an unknown
    name, for smoothing without sigma or against another threat than L2, for a setting of smoothing that would not be
    used, and for an (alpha, samples) at which nothing could ever be certified.
    """
    if name == "smoothing" or (name == "auto" and sampling.sigma is not None):
        return _smoothing(threat, sampling), "g"
    if name not in METHODS:
        raise UsageError("method", name, "one of " + ", ".join([*METHODS, "smoothing"]))
    _alpha(sampling.alpha)
    for option in ("sigma", "samples", "mode", "cohen", "label_known", "family"):
        value = getattr(sampling, option)
        if value not in (None, False):
            without = "a sigma with it: " if name == "auto" else f"nothing with method {name}: "
            raise UsageError(option, value, without + "only smoothing uses it")
    return METHODS[name](), "f"


def _smoothing(threat: Threat, sampling: Sampling) -> Method:
    noise = _noise(threat, sampling)
    alpha = _alpha(sampling.alpha)
    family = None if sampling.family is None else Family(sampling.family, sampling.inputs, alpha)
    if sampling.cohen and sampling.mode not in (None, "fixed"):
        raise UsageError("mode", sampling.mode, "no mode with --cohen, which has a fixed number of samples")
    holm = family is not None and family.kind == "holm"
    mode = sampling.mode or ("fixed" if sampling.cohen else "target" if holm else "radius")
    usual = COHEN.samples if sampling.cohen else Plan.samples
    method = SmoothingMethod(
        noise,
        samples=usual if sampling.samples is None else sampling.samples,
        alpha=alpha,
        bound=COHEN.bound if sampling.cohen else Plan.bound,
        mode=mode,
        label_known=sampling.label_known,
        family=family,
    )
    assert threat.size is not None
    method.refuse_impossible(threat.size)
    return HolmMethod(method) if holm else method


def attacking(threat: Threat, sampling: Sampling, *, steps: int = 40, restarts: int = 3) -> tuple[Method, str]:
    """Return the attack on f, or on g when a sigma is given, and which function it is that it attacks."""
    for name, value in (("steps", steps), ("restarts", restarts)):
        if value < 1:
            raise UsageError(name, value, "a whole number >= 1")
    if sampling.sigma is None:
        return PgdMethod((Pgd(steps=1, restarts=1, targets=0, step=1.0), Pgd(steps=steps, restarts=restarts))), "f"
    noise = _noise(threat, sampling)
    descent = SmoothedPgd(float(noise.sigma), descent=Pgd(steps=steps, restarts=restarts, targets=0))
    return SmoothedAttackMethod(
        noise, samples=sampling.samples or 1000, alpha=_alpha(sampling.alpha), descent=descent
    ), "g"


def _noise(threat: Threat, sampling: Sampling) -> Gaussian:
    if sampling.sigma is None:
        raise UsageError("sigma", None, "the noise's standard deviation, such as --sigma 0.5: smoothing needs one")
    if not isinstance(threat, L2) or threat.clip is not None:
        raise UsageError(
            "threat", threat.name, "an l2 threat without a clip range, such as l2:0.5: smoothing proves L2"
        )
    return Gaussian(sampling.sigma if not isinstance(sampling.sigma, float) else repr(sampling.sigma), sampling.grid)


def _alpha(value: object) -> Fraction:
    exact = rational(repr(value) if isinstance(value, float) else value, "alpha")
    if not 0 < exact < 1:
        raise UsageError("alpha", value, "a number strictly between 0 and 1")
    return exact
