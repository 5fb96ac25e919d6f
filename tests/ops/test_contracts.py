"""Every operator keeps its family's contract, as shipped."""

from __future__ import annotations

import pytest
import torch
from operator_cases import AFFINE, COMPOSED, OTHER, PRODUCTS, Case, bound, one, right, title

from unmoved.ops import Elementwise, Op
from unmoved.testing.operator import (
    AffineContract,
    CompositeContract,
    ElementwiseContract,
    OperatorContract,
    ProductContract,
)

torch.set_num_threads(1)
POSITIVE = [
    one("Log", (2, 3)),
    one("Sqrt", (2, 3)),
    one("Reciprocal", (2, 3)),
    *(right("Pow", (2, 3), torch.tensor(p).numpy()) for p in (-0.5, 0.3, 1.5, -2.0, -1.0, 2.0, 3.0)),
]
"""On numbers above 0, where all of them are defined."""


class OfCase(OperatorContract):
    @pytest.fixture(autouse=True)
    def take(self, case: Case) -> None:
        self.case = case

    def op(self) -> Op:
        return bound(self.case)

    def in_shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(self.case.variables[name] for name in self.op().inputs)

    def domain(self) -> tuple[float, float]:
        if self.case in POSITIVE:
            return 0.05, 8.0
        return (0.5, 4.0) if self.case.op == "Div" else (-6.0, 6.0)


@pytest.mark.parametrize("case", [c for c in AFFINE if len(set(bound(c).inputs)) == len(bound(c).inputs)], ids=title)
class TestAffine(OfCase, AffineContract):
    pass


@pytest.mark.parametrize("case", [c for c in OTHER if isinstance(bound(c), Elementwise)] + POSITIVE, ids=title)
class TestElementwise(OfCase, ElementwiseContract):
    pass


@pytest.mark.parametrize("case", [c for c in PRODUCTS if len(c.variables) == 2], ids=title)
class TestProduct(OfCase, ProductContract):
    pass


@pytest.mark.parametrize("case", COMPOSED, ids=title)
class TestComposite(OfCase, CompositeContract):
    pass
