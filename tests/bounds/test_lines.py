"""The derived rule: for ANY slope the lines are sound, and touch f; our slopes are the best in the middle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unmoved.bounds.enclosure import Bounds
from unmoved.bounds.relaxation import lines, relax, undecided
from unmoved.ops.activations import Clip, Relu, Slanted
from unmoved.ops.curves import Sigmoid, Tanh

BASE = {"name": "f", "kind": "f", "inputs": ("x",), "output": "y"}
FUNCTIONS = {
    "relu": Relu(**BASE),
    "fused relu": Relu(**(BASE | {"kind": "Relu"})),
    "leaky": Slanted(**BASE, slopes=torch.tensor(0.1)),
    "negative leaky": Slanted(**BASE, slopes=torch.tensor(-0.5)),
    "clip": Clip(**BASE, low=-1.0, high=0.5),
    "sigmoid": Sigmoid(**BASE, steepest=0.25),
    "tanh": Tanh(**BASE, steepest=1.0),
}


def intervals(seed: int, count: int = 400) -> Bounds:
    rng = np.random.default_rng(seed)
    ends = rng.standard_normal((2, count, 1)) * rng.choice([0.01, 0.5, 3.0, 30.0], (1, count, 1))
    ends[:, :5] = ends[:1, :5]
    return Bounds(torch.as_tensor(ends.min(0)), torch.as_tensor(ends.max(0)))


def grid(value: Bounds, points: int = 2001) -> torch.Tensor:
    share = torch.linspace(0, 1, points, dtype=torch.float64)
    return torch.minimum(value.low + share * (value.high - value.low), value.high)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lines_of_random_slopes_hold_on_a_dense_grid_and_touch(name: str) -> None:
    op, value = FUNCTIONS[name], intervals(1)
    rng = np.random.default_rng(2)
    for scale in (0.1, 1.0, 10.0):
        lower, upper = (torch.as_tensor(rng.standard_normal(value.low.shape) * scale) for _ in range(2))
        made = lines(op, value, lower, upper)
        x = grid(value)
        size = 1 + (lower.abs() + upper.abs()) * x.abs()
        below = op.apply(x) - lower * x - made.lower_offset
        above = made.upper_offset + upper * x - op.apply(x)
        assert (below >= -1e-13 * size).all() and (above >= -1e-13 * size).all()
        # The grid's own coarseness: half a step along the steepest difference of slopes.
        coarse = (value.high - value.low) / 2000 * (1.5 + lower.abs() + upper.abs())
        assert (below.amin(1, keepdim=True) <= coarse + 1e-9).all() and (
            above.amin(1, keepdim=True) <= coarse + 1e-9
        ).all()


def envelope_at_middle(x: np.ndarray, y: np.ndarray) -> float:
    """The convex envelope of a polygon, at the middle, by its lowest chord over it: exhaustive."""
    middle = (x[0] + x[-1]) / 2
    left, right = x <= middle, x >= middle
    xa, ya, xb, yb = x[left][:, None], y[left][:, None], x[right][None], y[right][None]
    width = np.where(xb > xa, xb - xa, 1.0)
    heights = np.where(xb > xa, ya + (yb - ya) * (middle - xa) / width, np.maximum(ya, yb))
    return float(heights.min())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_chosen_slopes_reach_the_envelope_at_the_middle(name: str) -> None:
    op, value = FUNCTIONS[name], intervals(3, 60)
    made = relax(op, value)
    x, middle = grid(value, 401), value.center
    low = made.lower * middle + (0 if made.lower_offset is None else made.lower_offset)
    high = made.upper * middle + (0 if made.upper_offset is None else made.upper_offset)
    for i in range(len(middle)):
        points, heights = x[i].numpy(), op.apply(x[i]).numpy()
        step = (points[-1] - points[0]) / 400 * 2 + 1e-9
        assert envelope_at_middle(points, heights) - step <= low[i] <= envelope_at_middle(points, heights) + 1e-9
        assert -envelope_at_middle(points, -heights) - 1e-9 <= high[i] <= -envelope_at_middle(points, -heights) + step


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(FUNCTIONS)),
    st.floats(-1e6, 1e6),
    st.floats(0, 1e3),
    st.floats(-1e3, 1e3),
    st.floats(0, 1),
)
def test_lines_hold_anywhere(name: str, low: float, width: float, slope: float, share: float) -> None:
    op = FUNCTIONS[name]
    value = Bounds(torch.tensor([[low]], dtype=torch.float64), torch.tensor([[low + width]], dtype=torch.float64))
    made = lines(op, value, torch.full_like(value.low, slope), torch.full_like(value.low, slope))
    x = (value.low + share * width).clamp(max=value.high.item())
    size = 1e-14 * (2 + 4 * abs(slope) * (abs(low) + width) + abs(low) + width)
    assert made.lower_offset + slope * x - size <= op.apply(x) <= made.upper_offset + slope * x + size


def test_the_fused_relu_is_the_derived_rule() -> None:
    value = intervals(4)
    fused, derived = relax(FUNCTIONS["fused relu"], value), relax(FUNCTIONS["relu"], value)
    crossing = (value.low < 0) & (value.high > 0)
    torch.testing.assert_close(fused.lower[crossing], derived.lower[crossing], rtol=0, atol=1e-12)
    torch.testing.assert_close(fused.upper[crossing], derived.upper[crossing], rtol=0, atol=1e-12)
    torch.testing.assert_close(fused.upper_offset[crossing], derived.upper_offset[crossing], rtol=1e-12, atol=1e-12)


def test_the_default_slope_of_a_relu_is_the_formats() -> None:
    low = torch.tensor([[-1.0], [-1.0], [-2.0], [0.0], [-3.0], [0.5]], dtype=torch.float64)
    high = torch.tensor([[1.0], [2.0], [1.0], [1.0], [0.0], [0.6]], dtype=torch.float64)
    made = relax(FUNCTIONS["fused relu"], Bounds(low, high))
    assert made.lower.flatten().tolist() == [1, 1, 0, 1, 0, 1]
    assert made.upper.flatten().tolist() == pytest.approx([0.5, 2 / 3, 1 / 3, 1, 0, 1])


def test_what_is_undecided() -> None:
    low, high = torch.tensor([[-1.0, -1.0, 0.0, -2.0]]), torch.tensor([[1.0, 0.0, 2.0, -1.5]])
    value = Bounds(low, high)
    assert undecided(FUNCTIONS["relu"], value).tolist() == [[True, False, False, False]]
    assert undecided(FUNCTIONS["clip"], value).tolist() == [[True, False, True, False]]
    assert undecided(FUNCTIONS["tanh"], Bounds(low, low)).tolist() == [[False] * 4]
