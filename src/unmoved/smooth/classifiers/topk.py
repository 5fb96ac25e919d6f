"""Top-k: how far a label stays among the k most probable classes (Jia, Cao, Wang, Gong 2020, arXiv 1912.09899).

If label l is not among the top k at x', then k other classes have at least its probability there. Let p_1 >= p_2 >= ...
bound the other classes' probabilities at x, and S_t be the t last of the first k: p_{k-t+1}, ..., p_k. Among any k
other classes there are t whose probabilities at x add up to at most p(S_t), and the smallest of them at x' is at most
the mean of the t. So l stays in the top k while, for one t <= k, W(p_l, r) > (1 - W(1 - p(S_t), r))/t, W the noise's
worst case: for Gaussian noise Phi(Phi^-1 p_l - R/s) > Phi(Phi^-1 p(S_t) + R/s)/t. Any noise of this room will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from unmoved.core.errors import UsageError
from unmoved.core.rounding import float_down, float_up
from unmoved.smooth.draws.noise import Noise
from unmoved.smooth.radii.search import WHOLE_NORMS, largest_size, largest_whole, one_minus_down
from unmoved.smooth.statistics import clopper_pearson_high, clopper_pearson_low


def top_k_radius(p_low: float, others: Sequence[float], k: int, noise: Noise) -> float:
    """Return r, rounded down: a label of probability >= p_low stays in the top k at any distance <= r; -1 if nothing
    holds.

    `others` are upper bounds of the probabilities of all other classes, in any order, valid together with p_low.
    Raises UsageError unless 1 <= k <= the number of other classes.
    """
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= len(others):
        raise UsageError("k", k, f"an integer from 1 to {len(others)}, the number of other classes")
    if not (0 <= p_low <= 1 and all(0 <= p <= 1 for p in others)):
        raise UsageError("p_low, others", (p_low, *others), "probabilities")
    first = sorted((Fraction(p) for p in others), reverse=True)[:k]
    rest = 1 - Fraction(p_low)
    sums = [float_up(min(rest, sum(first[k - t :], Fraction(0)))) for t in range(1, k + 1)]

    def stays(r: float) -> bool:
        ours = Fraction(noise.worst_case(p_low, r))
        theirs = (1 - Fraction(noise.worst_case(one_minus_down(total), r)) for total in sums)
        return any(t * ours > bound for t, bound in enumerate(theirs, 1))

    if noise.norm in WHOLE_NORMS:
        return float(largest_whole(stays, 10_000))
    return largest_size(stays, float(noise.scale))


def top_k_from_counts(counts: Sequence[int], label: int, k: int, *, noise: Noise, alpha: Fraction) -> float:
    """Return the radius as in `top_k_radius`, with probability >= 1 - alpha over the counts.

    `counts` are of independent copies, the label chosen beforehand; the c Clopper-Pearson bounds, each at alpha/c, hold
    together (Bonferroni). Copies without a class (NaN) belong in as one more count. `alpha`: after the noise's
    deviation.
    """
    if not 0 <= label < len(counts):
        raise UsageError("label", label, f"a class from 0 to {len(counts) - 1}")
    share, total = float_down(alpha / len(counts)), sum(counts)
    low = clopper_pearson_low(counts[label], total, share)
    others = [clopper_pearson_high(n, total, share) for c, n in enumerate(counts) if c != label]
    return top_k_radius(low, others, k, noise)
