"""When the votes are looked at, and how much of alpha each look may spend: fixed before the first copy is drawn.

**Why any stopping rule is valid.** Look k bounds the probabilities from the first n_k copies, wrongly with probability
<= s_k alpha, where the shares s_k add up to 1. So all bounds of all looks hold together with probability >= 1 - alpha,
and whatever is read off any of them, at whatever moment one stops and for whatever reason (a deadline, futility,
success), is right. It takes nothing but that sizes and shares are fixed beforehand. (Bonferroni over looks: alpha
spending; Lan and DeMets, Biometrika 1983.) Naive repetition of the bound at full alpha is wrong up to four times as
often as it says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from unmoved.core.errors import UsageError

FIRST = 50
"""Copies at the first look."""

RATIO = Fraction(3, 2)
"""Copies at one look over those at the look before."""


@dataclass(frozen=True)
class Looks:
    """Look k is at the first `sizes[k]` copies (growing) and spends `shares[k]` of alpha (together 1)."""

    sizes: tuple[int, ...]
    shares: tuple[Fraction, ...]

    @property
    def last(self) -> int:
        """The number of copies at the last look."""
        return self.sizes[-1]


def geometric(samples: int) -> Looks:
    """Return the looks floor(50 (3/2)^k) below `samples`, and `samples`, which spends half of alpha, the others alike.

    Up to 50 samples there is one look, with all of alpha. Raises UsageError unless `samples` is an integer >= 1.
    """
    _check(samples)
    sizes = []
    size = Fraction(FIRST)
    while size.numerator // size.denominator < samples:
        sizes.append(size.numerator // size.denominator)
        size *= RATIO
    if not sizes:
        return single(samples)
    return Looks((*sizes, samples), (*[Fraction(1, 2 * len(sizes))] * len(sizes), Fraction(1, 2)))


def single(samples: int) -> Looks:
    """Return one look at all copies, with all of alpha (Cohen, Rosenfeld and Kolter 2019)."""
    _check(samples)
    return Looks((samples,), (Fraction(1),))


def _check(samples: object) -> None:
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise UsageError("samples", samples, "an integer >= 1")


LOOKS: dict[str, Callable[[int], Looks]] = {"geometric": geometric, "single": single}
"""The schedules by name."""
