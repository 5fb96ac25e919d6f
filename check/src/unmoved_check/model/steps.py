"""The lowered graph: ten kinds of step on flat vectors, at batch size 1, with exact constants.

Value 0 is the input; step i makes value i + 1. Everything is affine but `Relu`, `Maximum`, `Elementwise` and `Product`;
LeakyRelu is a composition of Relu, average pooling is a convolution with ones, and what only renames costs no step.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from unmoved_check.model.curve import Bracket, Curve


@dataclass(frozen=True)
class Dense:
    """y[r, n] = sum over k of weights[n * inner + k] * x[r, k], r < rows."""

    source: int
    rows: int
    inner: int
    outer: int
    weights: array[float]


@dataclass(frozen=True)
class Conv:
    """Grouped, dilated, strided cross-correlation of any number of spatial dimensions, zero padding, no bias.

    weights[o, c, taps...] flat, c < channels_in / groups. Padding behind the image is what `space_out` asks for.
    """

    source: int
    channels_in: int
    space_in: tuple[int, ...]
    channels_out: int
    space_out: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    groups: int
    weights: array[float]


@dataclass(frozen=True)
class Scale:
    """y[i] = s x[i] + t with (s, t) = pairs[which[i]]; each known to lie in its bracket."""

    source: int
    pairs: tuple[tuple[Bracket, Bracket], ...]
    which: Sequence[int]
    roundings: int = 1
    """How often a runtime may round to make s or t of what the file stores; 0: it rounds nothing at all here."""


@dataclass(frozen=True)
class Select:
    """y[i] = joined[which[i]] for the sources laid end to end, or fill[-1 - which[i]] when negative."""

    sources: tuple[int, ...]
    which: Sequence[int]
    fill: tuple[Fraction, ...]


@dataclass(frozen=True)
class Sum:
    """y = left + sign * right, sign 1 or -1."""

    left: int
    right: int
    sign: int


@dataclass(frozen=True)
class Relu:
    """y = max(x, 0)."""

    source: int


@dataclass(frozen=True)
class Maximum:
    """y[i] = the greatest x[j], j in windows[i] (never empty)."""

    source: int
    windows: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Elementwise:
    """y = f(x)."""

    source: int
    curve: Curve


@dataclass(frozen=True)
class Product:
    """y = left * right, element by element."""

    left: int
    right: int


@dataclass(frozen=True)
class Rounded:
    """y = x + e for any e with |e[i]| <= `factor` * m[i]: what a deployed execution makes of x (`model.deployed`).

    m is what `program` makes of the magnitudes of the values `starts`: steps with coefficients >= 0 on values of their
    own, of `sizes`, of which the first stand for the starts. `floor` is added to every one of them.
    """

    source: int
    starts: tuple[int, ...]
    program: tuple[Step, ...]
    sizes: tuple[int, ...]
    factor: Fraction
    floor: Fraction
    most: Fraction
    """Below it every magnitude must be, also for starts of 1."""


Step = Dense | Conv | Scale | Select | Sum | Relu | Maximum | Elementwise | Product | Rounded


def sources(step: Step) -> tuple[int, ...]:
    """The values that a step reads."""
    if isinstance(step, Select):
        return step.sources
    if isinstance(step, Sum | Product):
        return (step.left, step.right)
    return (step.source,)


def moved(step: Step, numbers: Mapping[int, int]) -> Step:
    """The step on the values that these numbers stand for."""
    if isinstance(step, Select):
        return replace(step, sources=tuple(numbers[v] for v in step.sources))
    if isinstance(step, Sum | Product):
        return replace(step, left=numbers[step.left], right=numbers[step.right])
    return replace(step, source=numbers[step.source])


@dataclass(frozen=True)
class Graph:
    """A model as steps.

    `relu_inputs` maps the tensor names that feed a Relu to values, `bent` the names of outputs of other non-linear
    operators (and inner tensors, `<output>#<role>`) to the values that Elementwise and Product steps make, `names` all
    tensors that depend on the input.
    """

    input_name: str
    input_shape: tuple[int, ...]
    output_name: str
    output: int
    steps: tuple[Step, ...]
    sizes: tuple[int, ...]
    relu_inputs: dict[str, int]
    bent: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """Number of output elements."""
        return self.sizes[self.output]
