"""VNN-LIB 2.0, parsed and type-checked by the package `vnnlib` (an extra): its typed tree as a Query.

What we have no words for (products of variables, hidden nodes, outputs after the first) becomes a `Loose` atom.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from unmoved.core.errors import LoadError
from unmoved.loaders.formula import Both, Either, Formula, Loose, Name, Sum, comparison
from unmoved.loaders.query import Declared, Query, normal_form

_SIGNS = {
    "GreaterThan": ">",
    "LessThan": "<",
    "GreaterEqual": ">=",
    "LessEqual": "<=",
    "Equal": "==",
    "NotEqual": "!=",
}


class _Unread(Exception):  # noqa: N818 - a way out of a deep expression, caught in this file
    """An expression that we have no words for."""


def read_second(text: str) -> Query:
    """Return a text of version 2.0 as a Query.

    Raises LoadError where the package is not installed, refuses the text, or the query has two networks or inputs.
    """
    try:
        import vnnlib
    except ImportError as error:
        raise LoadError('VNN-LIB 2.0 needs the package vnnlib: pip install "unmoved[vnnlib]"') from error
    try:
        tree = vnnlib.parse_query_string(text)
    except vnnlib.VNNLibException as error:
        raise LoadError(f"not VNN-LIB 2.0: {' '.join(str(error).split())[:200]}") from error
    if len(tree.networks) != 1 or len(tree.networks[0].inputs) != 1:
        raise LoadError("the query has more than one network or more than one input: we answer those with one each")
    (network,) = tree.networks
    (given,) = network.inputs
    outputs = tuple(_declared(output) for output in network.outputs)
    names = {given.name: "x", outputs[0].name: "y"}
    formulas = [_formula(assertion.expr, names) for assertion in tree.assertions]
    x = _declared(given)
    version = text.split("vnnlib-version", 1)[1].split("<", 1)[1].split(">", 1)[0]
    return Query(version, network.name, x, outputs, normal_form(formulas, x.size, f"element {{}} of {x.name}"))


def _declared(definition: Any) -> Declared:
    kind = definition.dtype.name
    long = re.sub("^F", "float", re.sub("^I", "int", re.sub("^U", "uint", kind))).lower()
    return Declared(definition.name, long, tuple(int(n) for n in definition.shape))


def _formula(tree: Any, names: Mapping[str, str]) -> Formula:
    kind = type(tree).__name__
    if kind in ("And", "Or"):
        parts = tuple(_formula(part, names) for part in tree.args)
        return Both(parts) if kind == "And" else Either(parts)
    if kind not in _SIGNS:
        raise LoadError(f"{kind} is a condition that we do not know")
    try:
        return comparison(_SIGNS[kind], _sum(tree.lhs, names), _sum(tree.rhs, names))
    except _Unread as reason:
        return Loose(str(reason))


def _sum(tree: Any, names: Mapping[str, str]) -> Sum:
    """Return a linear expression of inputs and first outputs; _Unread for any other."""
    match type(tree).__name__:
        case "Var":
            return Sum({_name(tree, names): Fraction(1)})
        case "Float" | "Int" | "IntExpr" | "Literal":
            return Sum({}, Fraction(tree.lexeme))
        case "Negate":
            return _sum(tree.expr, names).scaled(Fraction(-1))
        case "Plus":
            first, *rest = (_sum(part, names) for part in tree.args)
            for part in rest:
                first = first.plus(part)
            return first
        case "Minus":
            first = _sum(tree.head, names)
            for part in tree.rest:
                first = first.plus(_sum(part, names), -1)
            return first
        case "Multiply":
            return _product([_sum(part, names) for part in tree.args])
        case kind:
            raise _Unread(f"an expression of kind {kind}")


def _product(parts: list[Sum]) -> Sum:
    first, *rest = parts
    for part in rest:
        if first.factors and part.factors:
            raise _Unread("a product of variables")
        first = first.scaled(part.constant) if first.factors else part.scaled(first.constant)
    return first


def _name(variable: Any, names: Mapping[str, str]) -> Name:
    if variable.name not in names:
        raise _Unread(f"{variable.name} is not the input or the first output")
    index = 0
    for at, size in zip(variable.indices, variable.shape, strict=True):
        index = index * int(size) + int(at)
    if not 0 <= index < max(math.prod(variable.shape), 1):
        raise LoadError(f"{variable.name} has no element {list(variable.indices)}")
    return names[variable.name], index
