"""What a model is made of, which methods apply to it, and what to change where one does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from unmoved import ops
from unmoved.core.errors import UnsupportedError
from unmoved.ir import Network
from unmoved_check.check import OPERATORS as CHECKED
from unmoved_check.model.deployed import COVERED
from unmoved_check.onnx_reader import read_graph
from unmoved_check.outcome import Rejection

PIECES = ("Relu", "MaxPool", "ReduceMax", "GlobalMaxPool", "MatMul", "Mul")
"""What is piecewise linear (a product with a constant is affine)."""


@dataclass(frozen=True)
class Operator:
    """An ONNX operator: how often it occurs, its family of bounds (None: no rule), whether proofs can be checked.

    `deployed`: also those about float32 in any order. `methods` are those that can bound it.
    """

    name: str
    count: int
    family: str | None
    checked: bool
    deployed: bool
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Applicability:
    """Whether a method applies to the model, and why."""

    name: str
    applies: bool
    why: str


@dataclass(frozen=True)
class Diagnosis:
    """The findings of `diagnose`."""

    digest: str
    input_shape: tuple[int, ...]
    outputs: int
    parameters: int
    operators: tuple[Operator, ...]
    methods: tuple[Applicability, ...]
    advice: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as JSON-ready data."""
        return asdict(self)


def diagnose(network: Network) -> Diagnosis:
    """Return what `unmoved` can do with this model today."""
    counts, refusal = Counter(node.op for node in network.nodes), _refusal(network)
    operators = tuple(_operator(name, count, refusal) for name, count in counts.items())
    problem = _unbound(network)
    unchecked = [operator.name for operator in operators if not operator.checked]
    return Diagnosis(
        digest=network.digest,
        input_shape=network.input_shape,
        outputs=network.outputs,
        parameters=sum(value.size for value in network.constants.values() if value.dtype.kind == "f"),
        operators=operators,
        methods=_methods(problem, unchecked, network.outputs, counts, products=_products(network)),
        advice=tuple(_advice(problem, unchecked, refusal) + _about_outputs(network.outputs)),
    )


def _operator(name: str, count: int, refusal: str | None) -> Operator:
    family = ops.family(name)
    checked = name in CHECKED and not f"{refusal} ".startswith(f"unchecked operator {name} ")
    return Operator(name, count, family, checked, checked and name in COVERED, _bounding(family))


def _refusal(network: Network) -> str | None:
    """Return what the checker says of this very model when it cannot read it; None when it can."""
    try:
        read_graph(network.source)
    except Rejection as error:
        return str(error)
    return None


def _bounding(family: str | None) -> tuple[str, ...]:
    """Return the methods that can bound an operator of this family."""
    return () if family is None else ("interval", "zonotope", "intersection", "linear", "optimised", "branch")


def _products(network: Network) -> bool:
    """Say whether two variables are multiplied somewhere, also within a composite."""
    try:
        return any(isinstance(op, ops.Product) for op in ops.primitives(ops.bind(network)))
    except UnsupportedError:
        return False


def _unbound(network: Network) -> str | None:
    try:
        ops.bind(network)
    except UnsupportedError as error:
        return error.operator
    return None


def _methods(
    problem: str | None, unchecked: list[str], outputs: int, counts: Mapping[str, int], *, products: bool
) -> tuple[Applicability, ...]:
    if problem is not None:
        bound = (False, f"no rule for {problem}")
    elif unchecked:
        bound = (True, f"but the checker refuses {', '.join(unchecked)} here: verdicts are UNKNOWN(unchecked)")
    else:
        bound = (True, "every operator has a rule, and the checker knows them all")
    smooth = outputs >= 2
    return (
        *(Applicability(name, *bound) for name in ("interval", "zonotope", "intersection", "linear", "optimised")),
        Applicability("branch", bound[0], f"{bound[1]}; products of variables are not split" if products else bound[1]),
        *_special(counts, problem, bound),
        Applicability("pgd", problem is None, "every operator is differentiable" if problem is None else bound[1]),
        Applicability(
            "smoothing",
            smooth,
            "whatever the operators; it speaks of the smoothed model g (L2)"
            if smooth
            else "the model has a single output: not a classifier",
        ),
    )


def _special(counts: Mapping[str, int], problem: str | None, bound: tuple[bool, str]) -> list[Applicability]:
    """Return which of the methods apply that know only some operators, or need more than the package."""
    if problem is not None:
        return [Applicability(name, *bound) for name in ("lipschitz", "milp", "smt", "sdp")]
    bent = sorted(name for name in counts if ops.family(name) != "Affine" and name not in PIECES)
    searched = f"{', '.join(bent)} are relaxed" if bent else "every operator is linear in pieces"
    only = "no Lipschitz rule for " + ", ".join(bent)
    made = [Applicability("lipschitz", not bent, only if bent else "margins against the product of norms")]
    for name, extra in (("milp", "scipy"), ("smt", "z3"), ("sdp", "cvxpy")):
        here = find_spec(extra) is not None
        why = f"small nets; {searched}" if here else f"pip install 'unmoved[{name}]'"
        made.append(Applicability(name, here, why))
    return made


def _advice(problem: str | None, unchecked: list[str], refusal: str | None) -> list[str]:
    advice = []
    if problem in ("ArgMax", "ArgMin", "Hardmax"):
        advice.append(f"export the model without {problem}: bounds and margins speak of the scores before it")
    elif problem is not None:
        advice.append(
            f"replace {problem} by operators that have a rule ({', '.join(sorted(ops.supported())[:40])}), "
            "or use --method smoothing, which needs none"
        )
    if problem is None and (unchecked or refusal is not None):
        advice.append(
            f"bounds exist, but the independent checker refuses the model ({refusal}): write it otherwise, pass "
            "--unchecked to see marked verdicts, or use --method smoothing"
        )
    return advice


def _about_outputs(outputs: int) -> list[str]:
    if outputs >= 2:
        return []
    return [
        "one output has no classes to tell apart, so certifying a data set needs at least two. From Python, "
        "LinearProperty says what a single output must keep"
    ]
