"""VNN-LIB files: version 1.0 by a reader of our own, 2.0 by the package `vnnlib`.

The decimals of a file are read as the rationals they are; what becomes of them is in `query.py`.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

from unmoved.core.errors import LoadError, UsageError
from unmoved.core.rounding import rational
from unmoved.loaders.formula import Atom, Both, Either, Formula, Name, Sum, comparison
from unmoved.loaders.query import Declared, Query, normal_form

_COMMENT = re.compile(r";[^\n]*")
_TOKEN = re.compile(r"[()]|[^\s()]+")
_VARIABLE = re.compile(r"([XY])_([0-9]{1,9})")
_PLAIN = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{0,60})?")
_SECOND = re.compile(r"\(\s*vnnlib-version\s")
_IDLE = frozenset({"set-logic", "set-info", "set-option", "check-sat", "get-model", "exit"})
_ONE = Fraction(1)
_DEEPEST = 200

Tree = str | list[Any]


def load_vnnlib(path: str | PathLike[str]) -> Query:
    """Return a VNN-LIB file (also .gz) as a Query; the file's version decides how it is read.

    Raises UsageError for a missing file, LoadError for what is not VNN-LIB, for an input without both bounds, and for
    what we cannot answer (two networks, two inputs).
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError("query", str(file), "an existing .vnnlib file")
    try:
        data = file.read_bytes()
        text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise LoadError(f"{file.name} is not a readable text file") from error
    try:
        return read_vnnlib(text)
    except LoadError as error:
        raise LoadError(f"{file.name}: {error}") from error


def read_vnnlib(text: str) -> Query:
    """Return the text of a VNN-LIB file as a Query; LoadError as `load_vnnlib` says."""
    bare = _COMMENT.sub("", text)
    if _SECOND.search(bare):
        from unmoved.loaders.vnnlib2 import read_second

        return read_second(text)
    return _first(bare)


def _first(text: str) -> Query:
    """Read version 1.0: constants X_i and Y_j, declared one by one, and assertions."""
    declared: dict[str, set[int]] = {"X": set(), "Y": set()}
    formulas: list[Formula] = []
    reader = _Reader(declared)
    for statement in _trees(text):
        match statement:
            case ["declare-const", str(name), "Real"]:
                found = _VARIABLE.fullmatch(name)
                if found is None or int(found[2]) in declared[found[1]]:
                    raise LoadError(f"{name} is declared twice, or is not X_i or Y_j")
                declared[found[1]].add(int(found[2]))
            case ["assert", body]:
                formulas.append(reader.formula(body))
            case [str(word), *_] if word in _IDLE:
                continue
            case _:
                raise LoadError(f"{_shown(statement)} is neither a declaration nor an assertion")
    for letter, numbers in declared.items():
        if not numbers or max(numbers) + 1 != len(numbers):
            raise LoadError(f"the constants {letter}_0, {letter}_1, ... are not declared without a gap")
    inputs, outputs = len(declared["X"]), len(declared["Y"])
    clauses = normal_form(formulas, inputs)
    return Query("1.0", "", Declared("X", "real", (inputs,)), (Declared("Y", "real", (outputs,)),), clauses)


def _trees(text: str) -> Iterator[Tree]:
    """Yield the parenthesised expressions of a text as nested lists of words."""
    stack: list[list[Any]] = []
    for token in _TOKEN.findall(text):
        if token == "(":
            stack.append([])
            if len(stack) > _DEEPEST:
                raise LoadError(f"expressions lie more than {_DEEPEST} deep in one another")
        elif not stack:
            raise LoadError(f"{token[:40]!r} stands outside of all parentheses")
        elif token == ")":
            done = stack.pop()
            if stack:
                stack[-1].append(done)
            else:
                yield done
        else:
            stack[-1].append(token)
    if stack:
        raise LoadError("a parenthesis is never closed: is the file whole?")


def _shown(tree: Tree) -> str:
    text = tree if isinstance(tree, str) else "(" + " ".join(map(_shown, tree)) + ")"
    return text if len(text) <= 60 else text[:57] + "..."


class _Reader:
    """Trees to formulas, over the constants declared so far."""

    def __init__(self, declared: dict[str, set[int]]) -> None:
        self._declared = declared
        self._names: dict[str, Name] = {}

    def formula(self, tree: Tree) -> Formula:
        """Return a boolean expression."""
        match tree:
            case [("<=" | ">=") as sign, str(left), str(right)]:
                return self._short(sign, left, right)
            case [("and" | "or") as word, first, *rest]:
                parts = tuple(self.formula(part) for part in (first, *rest))
                return Both(parts) if word == "and" else Either(parts)
            case [("<=" | ">=" | "<" | ">" | "=" | "==" | "!=") as sign, left, right]:
                return comparison("==" if sign == "=" else sign, self._sum(left), self._sum(right))
        raise LoadError(f"{_shown(tree)} is not a condition")

    def _short(self, sign: str, left: str, right: str) -> Formula:
        """Return a comparison of two words, which is nearly all that files hold."""
        if sign == ">=":
            left, right = right, left
        a, b = self._word(left), self._word(right)
        if isinstance(a, tuple):
            return Atom(((a, _ONE),), b) if isinstance(b, Fraction) else _apart(a, b)
        if isinstance(b, tuple):
            return Atom(((b, -_ONE),), -a)
        return comparison("<=", Sum({}, a), Sum({}, b))

    def _word(self, word: str) -> Name | Fraction:
        """Return a declared constant, or a number."""
        known = self._names.get(word)
        if known is not None:
            return known
        found = _VARIABLE.fullmatch(word)
        if found is None:
            return number(word)
        if int(found[2]) not in self._declared[found[1]]:
            raise LoadError(f"{word} is not declared")
        name = self._names[word] = ("x" if found[1] == "X" else "y", int(found[2]))
        return name

    def _sum(self, tree: Tree) -> Sum:
        if isinstance(tree, str):
            value = self._word(tree)
            return Sum({value: _ONE}) if isinstance(value, tuple) else Sum({}, value)
        match tree:
            case ["+" | "-" | "*" as sign, first, *rest]:
                return arithmetic(sign, [self._sum(part) for part in (first, *rest)], lambda: _shown(tree))
        raise LoadError(f"{_shown(tree)} is not a linear expression")


def _apart(a: Name, b: Name) -> Formula:
    """Return a <= b."""
    return Atom(((a, _ONE), (b, -_ONE)), Fraction(0)) if a != b else Both(())


def number(word: str) -> Fraction:
    """Return the rational that a decimal is; LoadError for a word that is none."""
    if _PLAIN.fullmatch(word):
        return Fraction(word)
    if "/" in word or "_" in word:
        raise LoadError(f"{word[:40]!r} is neither a constant nor a decimal number")
    try:
        return rational(word)
    except UsageError as error:
        raise LoadError(f"{word[:40]!r} is neither a constant nor a decimal number") from error


def arithmetic(sign: str, parts: list[Sum], shown: Callable[[], str]) -> Sum:
    """Return the sum, difference (of one: the negative) or product of linear expressions; LoadError if not linear."""
    first, rest = parts[0], parts[1:]
    if sign == "-" and not rest:
        return first.scaled(Fraction(-1))
    for part in rest:
        if sign != "*":
            first = first.plus(part, 1 if sign == "+" else -1)
        elif not part.factors:
            first = first.scaled(part.constant)
        elif not first.factors:
            first = part.scaled(first.constant)
        else:
            raise LoadError(f"{shown()} is a product of variables, expected a linear expression")
    return first
