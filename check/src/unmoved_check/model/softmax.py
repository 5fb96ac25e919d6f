"""Softmax as y_i = 1 / sum_j exp(x_j - x_i): no product, and a shift of all x changes nothing."""

from __future__ import annotations

from array import array
from fractions import Fraction
from itertools import combinations
from math import prod

from unmoved_check.model import affine, curve
from unmoved_check.model.builder import Builder, Value, Variable
from unmoved_check.model.constant import Constant
from unmoved_check.model.functions import variable
from unmoved_check.model.movement import axis, transposed
from unmoved_check.model.reader import Node


def softmax(build: Builder, node: Node, inputs: list[Value | None]) -> Value:
    """ONNX Softmax and LogSoftmax; before opset 13 all axes from `axis` on are one."""
    x = variable(node, inputs[0])
    rank, old = len(x.shape), build.opset < 13
    at = axis(node.integer("axis", 1 if old else -1), rank)
    if old:
        moved = Variable(x.value, (prod(x.shape[:at]), prod(x.shape[at:])))
        return Variable(_last(build, node, moved, "" if at == rank - 1 else "value").value, x.shape)
    order = [*(a for a in range(rank) if a != at), at]
    if at == rank - 1:
        return _last(build, node, x, "")
    y = _last(build, node, build.moved([x], transposed(x.places(), order)), "value")
    return build.moved([y], transposed(y.places(), [order.index(a) for a in range(rank)]))


def _last(build: Builder, node: Node, x: Variable, role: str) -> Variable:
    """Over the last axis. Each difference is made once, and its negative and 0 are copies."""
    n, groups = x.shape[-1], prod(x.shape[:-1])
    wide = (*x.shape, n)
    if n == 1:
        differences = build.moved([x], Constant("int", wide, [-1] * groups), (Fraction(0),))
    else:
        pairs = list(combinations(range(n), 2))
        parts = [
            build.moved(
                [x], Constant("int", (groups, len(pairs)), [g * n + p[k] for g in range(groups) for p in pairs])
            )
            for k in (0, 1)
        ]
        ahead = build.added(parts[1], parts[0], -1)
        number = {pair: k for k, pair in enumerate(pairs)}
        which = [
            -1 if i == j else g * len(pairs) + number[min(i, j), max(i, j)]
            for g in range(groups)
            for i in range(n)
            for j in range(n)
        ]
        copies = build.moved([ahead], Constant("int", wide, which), (Fraction(0),))
        signs = [((Fraction(s), Fraction(s)), (Fraction(0), Fraction(0))) for s in (1, -1)]
        turned = Constant("int", (n, n), [int(j < i) for i in range(n) for j in range(n)])
        differences = build.scaled(copies, signs, turned)
    build.named(differences, "differences")
    raised = build.curved(differences, curve.EXP, "exp")
    total = affine.dense(build, raised, array("d", [1.0]) * n, 1)
    total = build.named(Variable(total.value, x.shape), "sum")
    if node.op == "Softmax":
        return build.curved(total, curve.power(Fraction(-1)), role)
    return build.stretched(build.curved(total, curve.LOG, "log"), Fraction(-1))
