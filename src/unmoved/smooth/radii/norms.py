"""Which threats a noise speaks of, and in which norm its radii are then stated."""

from __future__ import annotations

from unmoved.core.errors import UsageError
from unmoved.core.threat import Threat
from unmoved.smooth.draws.noise import Noise
from unmoved.smooth.radii.conversions import InNorm
from unmoved.threats import L0, Lp

_THREATS = {"2": ("2", "1", "inf"), "1": ("1",), "inf": ("inf",)}
_WORDS = {"2": "l2, or l1 and linf by norm inequality", "1": "l1", "inf": "linf", "0": "l0"}


def stated(noise: Noise, threat: Threat, elements: int) -> Noise:
    """Return the noise with its radii in the threat's norm, for inputs of `elements` numbers.

    Noise for L2 also serves L1 and L_inf by norm inequality (`smooth.radii.conversions`); every other noise its own
    norm alone. UsageError for other threats, and for a clip range: a radius is about the whole ball.
    """
    clip = getattr(threat, "clip", None)
    if clip is None and isinstance(threat, L0) and noise.norm == "0":
        return noise
    if clip is None and isinstance(threat, Lp) and threat.norm in _THREATS.get(noise.norm, ()):
        return noise if threat.norm == noise.norm else InNorm(noise, threat.norm, elements)
    kinds = _WORDS.get(noise.norm, noise.norm)
    raise UsageError("threat", threat.name, f"{kinds}, without a clip range: all that {noise.kind} noise proves")


def loss(noise: Noise) -> str | None:
    """Return what it costs that the radii are stated in another norm, in words; None when they are not."""
    return noise.conversion.loss if isinstance(noise, InNorm) else None
