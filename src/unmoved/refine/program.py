"""One domain as a linear program, solved by HiGHS: where nothing is left to split, its duals are the best choices.

Minimise t over x in the box and h between the lines, with every conjunct <= t and the splits as constraints. The duals
of the conjuncts are weights, those of the splits multipliers; a lower line's slope is lambda / (lambda + mu), with
lambda the dual of h >= z and mu that of h >= 0 (Salman et al. 2019, on LP duals and slopes). They are only proposals:
what they prove is computed as for any other choices. Splits may be violated at a price: a domain without a point then
has a bound as well, one as large as the price, and the duals say why it is empty.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmoved.refine.dual import Choices, Goals
from unmoved.refine.reduced import Reduced

Floats = npt.NDArray[np.float64]


PRICE = 1e5
"""Of a unit of violation, in units of the largest coefficient asked about."""


def solved(reduced: Reduced, goals: Goals, row: int) -> tuple[Choices, Tensor] | None:
    """Return the choices (1, ...) that the duals of a row's program propose, and its minimiser (1, inputs).

    None where the solver gives up, or a line is missing.
    """
    # half a second of imports, which most proofs do without
    from scipy.optimize import linprog

    between, inputs, offset = (_array(getattr(reduced.functions, n)) for n in ("units", "inputs", "offset"))
    units, width = inputs.shape
    real = _array(goals.real[goals.which[row]]).astype(bool)
    ask = [_array(getattr(goals.functions, n)[goals.which[row]])[real] for n in ("units", "inputs", "offset")]
    signs, free = _array(goals.signs[row]), _array(reduced.free).astype(bool)
    lines = reduced.lines
    assert lines.lower_offset is not None
    assert lines.upper_offset is not None
    low, low_off, up, up_off = (_array(e) for e in (lines.lower, lines.lower_offset, lines.upper, lines.upper_offset))
    low, low_off = np.where(free, 1.0, low), np.where(free, 0.0, low_off)
    on, off, whole = (np.flatnonzero(signs == s) for s in (1, -1, 0))
    z, h = np.hstack([inputs, between]), np.hstack([np.zeros((units, width)), np.eye(units)])
    column, one = np.zeros((units, 2)), np.tile([[0.0, 1.0]], (units, 1))
    # variables x, h, t and the violation; conjuncts <= t; splits; lower lines; upper lines
    blocks = [
        (np.hstack([ask[1], ask[0], np.tile([[-1.0, 0.0]], (len(ask[2]), 1))]), -ask[2]),
        (np.hstack([-signs[:, None] * z, -one])[signs != 0], (signs * offset)[signs != 0]),
        (np.hstack([low[:, None] * z - h, column])[whole], -(low * offset + low_off)[whole]),
        (np.hstack([h - up[:, None] * z, column])[whole], (up * offset + up_off)[whole]),
    ]
    equal = np.vstack([np.hstack([h - z, column])[on], np.hstack([h, column])[off]])
    right = np.concatenate([offset[on], np.zeros(len(off))])
    box = reduced.enclosure.box
    ends: list[tuple[float | None, float | None]] = [
        *zip(_array(box.low).ravel(), _array(box.high).ravel(), strict=True)
    ]
    ends += [(0.0 if f else None, None) for f in free & (signs == 0)] + [(None, None), (0.0, None)]
    cost = np.zeros(width + units + 2)
    cost[-2:] = 1.0, PRICE * max(1e-30, *(np.abs(a).max(initial=0.0) for a in ask))
    rows, bounds = np.vstack([a for a, _ in blocks]), np.concatenate([b for _, b in blocks])
    if not (np.isfinite(rows).all() and np.isfinite(bounds).all()):
        return None  # a function that is not defined on all of its interval has no lines
    found = linprog(cost, rows, bounds, equal if len(equal) else None, right if len(equal) else None, ends)
    if found.x is None or found.status != 0:
        return None
    duals = np.split(-found.ineqlin.marginals, np.cumsum([len(b) for _, b in blocks])[:-1])
    slopes, multipliers, weights = np.zeros(units), np.zeros(units), np.zeros(len(real))
    multipliers[signs != 0] = duals[1]
    above, floor = duals[2], found.lower.marginals[width : width + units][whole]
    total = above + floor
    slopes[whole] = np.where(total > 1e-12, above / np.maximum(total, 1e-12), 0.0)
    weights[np.flatnonzero(real)] = duals[0]
    like = reduced.bounds.low
    tensors = [torch.as_tensor(a[None].clip(0)).to(like) for a in (slopes.clip(0, 1), multipliers, weights)]
    return Choices(*tensors), torch.as_tensor(found.x[None, :width]).to(like)


def _array(tensor: Tensor) -> Floats:
    return tensor.detach().cpu().numpy().astype(np.float64)
