"""Methods by name, as the command line and `certify_dataset` take them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import cast

from unmoved.attack import FGSM, Pgd, PgdMethod, SmoothedPgd, suite
from unmoved.core import Method, Threat, UsageError, rational
from unmoved.evaluate.noises import FINITE, OPTIONS, Options, noise_named
from unmoved.ops.device import reachable
from unmoved.refine import (
    BranchMethod,
    Cascade,
    IntersectionMethod,
    IntervalMethod,
    LinearMethod,
    LipschitzMethod,
    MilpMethod,
    OptimisedMethod,
    SdpMethod,
    SmtMethod,
    ZonotopeMethod,
)
from unmoved.refine.methods import BoundMethod
from unmoved.smooth import Blocks, Columns, DerandomizedSplitting, FiniteNoise, Gaussian, Noise
from unmoved.smooth.methods.attack import SmoothedAttackMethod
from unmoved.smooth.methods.certain import EnumerationMethod
from unmoved.smooth.methods.holm import HolmMethod
from unmoved.smooth.methods.method import SmoothingMethod
from unmoved.smooth.statistics import COHEN, Family, Plan
from unmoved.smooth.voting.engine import Setup
from unmoved.threats import L0, L1, L2, Changes, Lp, Patch

METHODS: dict[str, Callable[[], Method]] = {
    "auto": Cascade.default,
    "interval": IntervalMethod,
    "zonotope": ZonotopeMethod,
    "intersection": IntersectionMethod,
    "linear": LinearMethod,
    "optimised": OptimisedMethod,
    "branch": BranchMethod,
    "lipschitz": LipschitzMethod,
    "milp": MilpMethod,
    "smt": SmtMethod,
    "sdp": SdpMethod,
}

_SAMPLED = ("samples", "mode", "cohen", "label_known", "family", "precision", "jobs")
"""Settings of smoothing by chance."""


@dataclass(frozen=True)
class Sampling:
    """How smoothing samples: sigma (in the units of the input), samples an input, failure probability alpha, grid.

    `noise`, and `keep`, `band`, `flip` in place of `sigma`: see `unmoved.evaluate.noises`; None is Gaussian. `shape` is
    an input's, where it is known: some noises need it. `samples` None: 10,000, and 100,000 with `cohen`, the published
    setting: one look, one-class bound. `mode`: see `smooth.statistics.MODES`. `family` ("bonferroni", "holm"):
    alpha is that of a claim about all `inputs`. `precision`: in which the model is evaluated, float32 or bfloat16
    (`smooth.voting.engine.Setup`); what is certified is the model so evaluated. `jobs`: worker processes.
    `device`: where the network runs, for every method that can run elsewhere than on the CPU.
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
    noise: str | None = None
    keep: object = None
    band: object = None
    flip: object = None
    shape: tuple[int, ...] = ()
    precision: str | None = None
    jobs: int | None = None
    device: str = "cpu"

    @property
    def wanted(self) -> bool:
        """Whether a noise was asked for."""
        return any(getattr(self, option) is not None for option in ("noise", *OPTIONS))


def certifying(name: str, threat: Threat, sampling: Sampling, *, timed: bool = False) -> tuple[Method, str]:
    """Return the method of this name and the function it speaks of, "f" or "g".

    "auto" is smoothing when a noise is asked for, else the cascade interval, linear, optimised; with a time to spend
    (`timed`) attack and branch and bound too. Raises UsageError for an
    unknown name, for smoothing without what its noise needs or against a threat that the noise says nothing about, for
    a setting that would not be used, for l0 and patch without smoothing, and for an (alpha, samples) at which nothing
    could ever be certified.
    """
    if name == "smoothing" or (name == "auto" and sampling.wanted):
        return _smoothing(threat, sampling), "g"
    if name not in METHODS:
        raise UsageError("method", name, "one of " + ", ".join([*METHODS, "smoothing"]))
    _alpha(sampling.alpha)
    for option in ("noise", *OPTIONS, *_SAMPLED):
        value = getattr(sampling, option)
        if value not in (None, False):
            without = "a --sigma or --noise with it: " if name == "auto" else f"nothing with method {name}: "
            raise UsageError(option, value, without + "only smoothing uses it")
    _require_bounded(threat)
    method = Cascade.complete() if name == "auto" and timed else METHODS[name]()
    return _placed(method, reachable(sampling.device)), "f"


def _placed(method: Method, device: str) -> Method:
    """Return the method on this device; UsageError where it runs on the CPU only."""
    if device == "cpu":
        return method
    if isinstance(method, Cascade):
        return replace(method, methods=tuple(_placed(each, device) for each in method.methods))
    if isinstance(method, BoundMethod | OptimisedMethod | BranchMethod | PgdMethod):
        return replace(method, device=device)
    raise UsageError("device", device, f"cpu with method {method.name}: it runs nowhere else")


def _require_bounded(threat: Threat) -> None:
    if isinstance(threat, Changes):
        raise UsageError("threat", threat.name, f"smoothing with it (--noise): nothing else knows {threat.word}")


def _attacked(threat: Threat) -> str | None:
    """Return the norm of the sets that an attack on f would search, as `attack.suite` calls it."""
    if not isinstance(threat, L0):
        _require_bounded(threat)
        return threat.norm if isinstance(threat, Lp) and threat.norm != "inf" else None
    if threat.clip is None:
        raise UsageError("clip", None, f"a range with {threat.name}, such as 0,1: no attack can choose from everything")
    return threat.norm


def _smoothing(threat: Threat, sampling: Sampling) -> Method:
    noise = _noise(sampling)
    alpha = _alpha(sampling.alpha)
    if isinstance(noise, FINITE):
        if reachable(sampling.device) != "cpu":
            raise UsageError("device", sampling.device, f"cpu with {noise.kind} noise: its copies are counted there")
        return _enumeration(noise, threat, sampling)
    if reachable(sampling.device) != "cpu" and (sampling.jobs or 1) > 1:
        raise UsageError("jobs", sampling.jobs, f"1 with device {sampling.device}: worker processes are for the CPU")
    family = None if sampling.family is None else Family(sampling.family, sampling.inputs, alpha)
    if sampling.cohen and sampling.mode not in (None, "fixed"):
        raise UsageError("mode", sampling.mode, "no mode with --cohen, which has a fixed number of samples")
    holm = family is not None and family.kind == "holm"
    mode = sampling.mode or ("fixed" if sampling.cohen else "target" if holm else "radius")
    usual = COHEN.samples if sampling.cohen else Plan.samples
    method = SmoothingMethod(
        cast(Noise, noise),
        samples=usual if sampling.samples is None else sampling.samples,
        alpha=alpha,
        bound=COHEN.bound if sampling.cohen else Plan.bound,
        mode=mode,
        label_known=sampling.label_known,
        family=family,
        precision=Setup(sampling.precision or Setup.precision).precision,
        device=sampling.device,
        jobs=_jobs(sampling.jobs),
    )
    method.refuse_impossible(threat, max(1, prod(sampling.shape)))
    return HolmMethod(method) if holm else method


def attacking(
    threat: Threat,
    sampling: Sampling,
    *,
    effort: str | None = None,
    steps: int | None = None,
    restarts: int | None = None,
) -> tuple[Method, str]:
    """Return the attack on f, or on g when a sigma is given, and which function it is that it attacks.

    `effort` names a suite of attacks on f ("standard" if None); with steps or restarts it is one descent (PGD) instead,
    as it always is for g.
    """
    plain = steps is not None or restarts is not None
    for name, value in (("steps", steps), ("restarts", restarts)):
        if value is not None and value < 1:
            raise UsageError(name, value, "a whole number >= 1")
    if effort is not None and (plain or sampling.sigma is not None):
        raise UsageError("suite", effort, "nothing with steps, restarts or sigma: these mean one plain descent")
    steps, restarts = steps or 40, restarts or 3
    if sampling.sigma is None:
        if sampling.precision is not None:
            raise UsageError("precision", sampling.precision, "nothing without --sigma: only smoothing uses it")
        norm = _attacked(threat)
        descent = PgdMethod((FGSM, Pgd(steps=steps, restarts=restarts)))
        return _placed(descent if plain else suite(effort or "standard", norm), reachable(sampling.device)), "f"
    if reachable(sampling.device) != "cpu":
        raise UsageError("device", sampling.device, "cpu with --sigma: the smoothed model is attacked there")
    _require_bounded(threat)
    if not isinstance(threat, L2) or threat.clip is not None:
        expected = "an l2 threat without a clip range, such as l2:0.5: smoothed models are attacked in L2"
        raise UsageError("threat", threat.name, expected)
    noise = _noise(sampling)
    assert isinstance(noise, Gaussian)
    smoothed = SmoothedPgd(float(noise.sigma), descent=Pgd(steps=steps, restarts=restarts, targets=0))
    return SmoothedAttackMethod(
        noise,
        samples=sampling.samples or 1000,
        alpha=_alpha(sampling.alpha),
        descent=smoothed,
        precision=Setup(sampling.precision or Setup.precision).precision,
    ), "g"


def _noise(sampling: Sampling) -> Noise | FiniteNoise:
    given = {name: getattr(sampling, name) for name in OPTIONS}
    plain = {name: repr(value) if isinstance(value, float) else value for name, value in given.items()}
    return noise_named(sampling.noise or "gaussian", Options(**plain, grid=sampling.grid, shape=sampling.shape))


def _enumeration(noise: DerandomizedSplitting | Columns | Blocks, threat: Threat, sampling: Sampling) -> Method:
    for option in _SAMPLED:
        value = getattr(sampling, option)
        if value not in (None, False):
            raise UsageError(option, value, f"nothing with {sampling.noise} noise: no chance enters")
    wanted = L1 if isinstance(noise, DerandomizedSplitting) else Patch
    if not isinstance(threat, wanted) or threat.clip is not None:
        expected = f"{wanted.word}, without a clip range: all that {sampling.noise} noise proves"
        raise UsageError("threat", threat.name, expected)
    return EnumerationMethod(noise)


def _jobs(value: int | None) -> int:
    if value is not None and value < 1:
        raise UsageError("jobs", value, "a whole number of processes >= 1")
    return value or 1


def _alpha(value: object) -> Fraction:
    exact = rational(repr(value) if isinstance(value, float) else value, "alpha")
    if not 0 < exact < 1:
        raise UsageError("alpha", value, "a number strictly between 0 and 1")
    return exact
