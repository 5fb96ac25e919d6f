"""What a spot check supports: some of the recorded classes are drawn again by an auditor, at random.

Of n recorded classes w are wrong (the producer's record and the model differ), w unknown and fixed when the auditor
draws k of them without replacement, each set of k as likely as any other. The number of mismatches is then
hypergeometric, and w is too large to be believed when P(mismatches <= m | w) <= delta. `most_wrong` is the largest w
that is not: w <= most_wrong with confidence 1 - delta over the auditor's choice. At worst every wrong record took a
vote from the runner-up and gave it to the top class. So the true counts are at least n_top - w and at most n_rival + w,
and the radius of those is supported, with probability >= 1 - alpha - delta in all. Without a mismatch, P(0 | w) is
about (1 - k/n)^w: redrawing a fifth of n at 99 % leaves room for 20 wrong records, whatever n.
"""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import hypergeom

from unmoved.core.errors import UsageError


def most_wrong(recorded: int, redrawn: int, *, mismatches: int = 0, delta: float = 0.01) -> int:
    """Return the largest number of wrong records that `mismatches` among `redrawn` of `recorded` leave credible.

    It is an upper bound with probability >= 1 - delta over the draw: the exact hypergeometric one (tables' errors are
    covered by a relative margin of 1e-9 on delta). Raises UsageError for impossible numbers.
    """
    if not 0 <= mismatches <= redrawn <= recorded or recorded < 1:
        raise UsageError("redrawn", redrawn, f"a number from {mismatches} to {recorded}")
    if not 0 < delta < 1:
        raise UsageError("delta", delta, "a number strictly between 0 and 1")
    level = delta * (1 - 1e-9)
    # credible(w) falls with w: bisect between a credible and an incredible number
    low, high = mismatches, recorded - redrawn + mismatches + 1
    while high - low > 1:
        middle = (low + high) // 2
        credible = float(hypergeom.cdf(mismatches, recorded, middle, redrawn)) > level
        low, high = (middle, high) if credible else (low, middle)
    return low


def supported(counts: Sequence[int], top: int, wrong: int) -> tuple[int, ...]:
    """Return the worst counts if up to `wrong` records lie: all taken from the runner-up, given to the top class.

    The other classes' counts stay; they do not enter a bound. With fewer votes for the top than `wrong`, it has none.
    """
    moved = min(wrong, counts[top])
    worst = list(counts)
    worst[top] -= moved
    rival = max((label for label in range(len(counts)) if label != top), key=lambda label: counts[label])
    worst[rival] += moved
    return tuple(worst)
