"""Upper bounds of spectral norms that are proved: of the stored numbers, in exact arithmetic.

||A||_2^2 = ||A' A||_2, so norms of iterated Gram matrices, which are nearly of one direction, bound ||A||_2 from above
as tightly as one likes (Delattre et al. 2023). Sums are done in float64; what rounding may have lost in each Gram
matrix, at most gamma_k |A|' |A| for sums of k terms (Higham 2002, section 3.5), is added on the way back.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError

Floats = npt.NDArray[np.float64]

UNIT = 2.0**-53
TINY = 1e-290
"""More than underflow can take away from any sum here, once the largest entry is near 1."""


ITERATIONS = 1000
"""Of the power iteration that finds good weights for Schur's test; any weights would do."""


def up(value: float) -> float:
    """Return a float64 above the exact result of the one operation that gave `value`."""
    return math.nextafter(value, math.inf)


def lost(terms: int) -> float:
    """Return an upper bound of gamma_terms: relative to the sum of absolute values, what a sum may have lost."""
    if terms > 2**40:
        raise UsageError("terms", terms, "sums of at most 2^40 terms")
    return up(up((terms + 2) * UNIT) * (1 + 1e-3))


def length(values: Floats) -> float:
    """Return an upper bound of the Euclidean norm of all the numbers."""
    scale = _scale(values)
    total = float(np.square(values.ravel() / scale).sum())
    return up(up(math.sqrt(up(up(total * (1 + lost(values.size))) + TINY))) * scale)


def matrix_norm(matrix: npt.ArrayLike, squarings: int = 16) -> float:
    """Return an upper bound of ||A||_2, A (m, n): at most n^(1 / 2^(squarings + 1)) times too large, and rounding."""
    a = _finite(matrix)
    if a.ndim != 2:
        raise UsageError("matrix", a.shape, "two axes")
    return _matrix(a if a.shape[0] >= a.shape[1] else a.T, squarings)


def _matrix(a: Floats, squarings: int) -> float:
    scale = _scale(a)
    a = a / scale
    if squarings == 0:
        # of one direction: the root of the sum of squares is the norm; of many alike: Schur's test is
        return up(min(length(a), _absolute_norm(a[:, :, None, None])) * scale)
    error = up(up(lost(len(a)) * up(length(a) ** 2)) + TINY)
    return up(up(math.sqrt(up(_matrix(a.T @ a, squarings - 1) + error))) * scale)


def kernel_norm(kernel: npt.ArrayLike, squarings: int = 2) -> float:
    """Return an upper bound of the norm of convolution by K (out, in, h, w), whatever the image, stride and dilation.

    With zero padding (any) the map is the convolution on the whole plane between an embedding and a projection. There
    K' K is a convolution again, by the Gram kernel, and ||K||^2 = ||K' K||.
    """
    k = _finite(kernel)
    if k.ndim != 4:
        raise UsageError("kernel", k.shape, "four axes: out, in, height, width")
    adjoint = k.transpose(1, 0, 2, 3)[..., ::-1, ::-1]
    # the Gram matrix of fewer channels is cheaper; of as many, either may give the better bound
    ways = [k] * (k.shape[0] >= k.shape[1]) + [adjoint] * (k.shape[0] <= k.shape[1])
    return min(_kernel(way, squarings) for way in ways)


def _kernel(k: Floats, squarings: int) -> float:
    scale = _scale(k)
    k = k / scale
    whole = _absolute_norm(k)
    if squarings == 0:
        return up(whole * scale)
    gram, terms = gram_kernel(k)
    error = up(up(lost(terms) * up(whole * whole)) + TINY)
    return up(up(math.sqrt(up(_kernel(gram, squarings - 1) + error))) * scale)


def _absolute_norm(k: Floats) -> float:
    """Return an upper bound of the norm of convolution by |K|, hence of that by K.

    Schur's test: M[o, c] = sum_t |K[o, c, t]| has ||M||^2 <= max_o (M q)_o / r_o * max_c (M' r)_c / q_c for any
    positive q and r; those of a power iteration come close.
    """
    m = np.abs(k).sum((2, 3)) * (1 + 2 * lost(k[0, 0].size)) + TINY
    q, best = np.ones(m.shape[1]), math.inf
    for _ in range(ITERATIONS):
        r = m @ q
        r = r / r.max() + 1e-9
        q = m.T @ r
        q = q / q.max() + 1e-9
        ends = float((m @ q / r).max()), float((m.T @ r / q).max())
        before, best = best, min(best, up(ends[0] * ends[1]))
        if best > before * (1 - 1e-7):
            break
    return up(math.sqrt(up(best * (1 + 4 * lost(max(m.shape) + 2)))))


def gram_kernel(k: Floats) -> tuple[Floats, int]:
    """Return G (in, in, 2h - 1, 2w - 1), G[c, d, s] = sum_{o, t} K[o, c, t] K[o, d, t + s], and how many terms."""
    out, channels, height, width = k.shape
    gram = np.zeros((channels, channels, 2 * height - 1, 2 * width - 1))
    for i in range(-height + 1, height):
        for j in range(-width + 1, width):
            here = k[:, :, max(0, -i) : height - max(0, i), max(0, -j) : width - max(0, j)]
            there = k[:, :, max(0, i) : height + min(0, i), max(0, j) : width + min(0, j)]
            left = here.transpose(1, 0, 2, 3).reshape(channels, -1)
            right = there.transpose(1, 0, 2, 3).reshape(channels, -1)
            gram[:, :, i + height - 1, j + width - 1] = left @ right.T
    return gram, out * height * width


def gram_sums(weight: npt.ArrayLike, q: npt.ArrayLike | None = None) -> Floats:
    """Return upper bounds (out,) of sum_{j, shift} |(W W')[i, j, shift]| q_j / q_i; W (out, in) or a kernel.

    The diagonal matrix of these sums is no less than W W', for any q > 0 (Gershgorin; q 1 unless given): what AOL and
    SLL layers live on. On an image with zero padding W W' is no larger than on the whole plane.
    """
    w = _finite(weight)
    if w.ndim == 2:
        w = w[:, :, None, None]
    scale = _scale(w)
    # the Gram kernel of the adjoint: channels swapped, spatially flipped
    adjoint = (w / scale).transpose(1, 0, 2, 3)[..., ::-1, ::-1]
    gram, terms = gram_kernel(adjoint)
    magnitude, _ = gram_kernel(np.abs(adjoint))
    entries = np.abs(gram) + 2 * lost(terms) * magnitude + TINY
    factors = np.ones(len(gram)) if q is None else _finite(q)
    if factors.shape != (len(gram),) or not (factors > 0).all():
        raise UsageError("q", factors.shape, f"{len(gram)} positive numbers")
    sums: Floats = (entries * factors[None, :, None, None]).sum((1, 2, 3)) / factors * scale * scale
    return sums * (1 + 2 * lost(gram[0].size + 4))


def _scale(values: Floats) -> float:
    """Return the power of two at or above the largest entry: division by it is exact, but for underflow."""
    largest = float(np.abs(values).max(initial=0.0))
    return 2.0 ** math.frexp(largest)[1] if largest > 0 else 1.0


def _finite(values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, np.float64)
    if not array.size or not np.isfinite(array).all():
        raise UsageError("weights", "none, or NaN or infinity among them", "finite numbers")
    return array
