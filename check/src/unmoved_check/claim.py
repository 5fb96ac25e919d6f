"""The manifest as typed objects: exact field sets, exact types, rationals as Fractions. Nothing is filled in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod

from unmoved_check.canonical import Json
from unmoved_check.model.profile import PROFILES
from unmoved_check.outcome import Rejection
from unmoved_check.region import Ball, Region
from unmoved_check.tensor import Tensor

SCHEMA = "unmoved/certificate/1"
DEPLOYED = "float32-any-order"
"""The semantics of claims about every execution that fits a profile, in floating point."""
_RATIONAL = re.compile(r"-?[0-9]{1,400}(/[0-9]{1,400}|\.[0-9]{1,400})?")
Tensors = Mapping[str, Tensor]


def fields(value: Json, where: str, names: str) -> dict[str, Json]:
    """The object `value`, which must have exactly these fields."""
    if not isinstance(value, dict) or set(value) != set(names.split()):
        raise Rejection(f"manifest: {where} must have exactly the fields {names}")
    return value


def text(value: Json, where: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise Rejection(f"manifest: {where} is not a text")
    return value


def integer(value: Json, where: str) -> int:
    """An integer (not a boolean)."""
    if type(value) is not int:
        raise Rejection(f"manifest: {where} is not an integer")
    return value


def rational(value: Json, where: str) -> Fraction:
    """A rational written as a string: "8/255", "0.1", "3"."""
    if not isinstance(value, str) or not _RATIONAL.fullmatch(value):
        raise Rejection(f"manifest: {where} is no rational")
    try:
        return Fraction(value)
    except ZeroDivisionError:
        raise Rejection(f"manifest: {where} divides by zero") from None


def one_of(value: Json, where: str, allowed: str) -> str:
    """One of some words."""
    if not isinstance(value, str) or value not in allowed.split():
        raise Rejection(f"manifest: {where} is not one of: {allowed}")
    return value


@dataclass(frozen=True)
class ModelClaim:
    """Which model: the sha256 of its bytes, its input's and output's names, its input's shape."""

    sha256: str
    input: str
    output: str
    input_shape: tuple[int, ...]


@dataclass(frozen=True)
class Conjunct:
    """a . y <= b, as {index: coefficient} and b."""

    row: dict[int, Fraction]
    bound: Fraction


@dataclass(frozen=True)
class Property:
    """Ways to be unsafe: y is unsafe when all conjuncts of some disjunct hold. `label` is None for `linear`."""

    kind: str
    outputs: int
    disjuncts: tuple[tuple[Conjunct, ...], ...]
    label: int | None


@dataclass(frozen=True)
class Sparse:
    """All x that differ from the centre in at most `size` elements, with low <= x_i <= high of `clip` (if any)."""

    center: tuple[float, ...]
    size: int
    clip: tuple[Fraction, Fraction] | None


@dataclass(frozen=True)
class Claim:
    """The whole manifest but the evidence's own fields; `region` is Region(), without bounds, for l0 and patch threats.

    Against these only g can be certified, and what evidence about g says of a threat it reads itself. `sparse` is an l0
    threat's set: of f a witness can lie in it, and no proof speaks of it.
    """

    model: ModelClaim
    payload: str
    region: Region
    property: Property
    verdict: str
    function: str
    semantics: str
    profile: str | None
    guarantee: str
    evidence: dict[str, Json]
    names: frozenset[str]
    sparse: Sparse | None = None


def parse_claim(manifest: dict[str, Json], tensors: Tensors) -> Claim:
    """The claim of a manifest, with the tensors that its threat and property name read and checked."""
    names = "schema model payload input threat property claim evidence provenance"
    top = fields(manifest, "the manifest", names)
    if top["schema"] != SCHEMA:
        raise Rejection(f"manifest: schema is not {SCHEMA}")
    if not isinstance(top["provenance"], dict):
        raise Rejection("manifest: provenance is no object")
    model = _model(top["model"])
    used: set[str] = set()
    region, eps, sparse = _region(top, tensors, model.input_shape, used)
    evidence = top["evidence"]
    if not isinstance(evidence, dict):
        raise Rejection("manifest: evidence is no object")
    head, profile = _head(top["claim"])
    verdict = one_of(head["verdict"], "claim.verdict", "CERTIFIED FALSIFIED")
    function = one_of(head["function"], "claim.function", "f g")
    _check_radius(head["radius"], verdict, function, eps)
    shown = verdict == "FALSIFIED" and function == "f" and evidence.get("kind") == "witness" and sparse is not None
    if region is None and function != "g" and not shown:
        raise Rejection("manifest: only a smoothed model can be certified against this kind of threat")
    if sparse is not None and sparse.clip is not None and not shown:
        raise Rejection("manifest: an l0 threat has a clip range only where a witness of f lies in it")
    return Claim(
        model,
        _digest(fields(top["payload"], "payload", "sha256")["sha256"], "payload.sha256"),
        region or Region(),
        _property(top["property"], tensors, used),
        verdict,
        function,
        text(head["semantics"], "claim.semantics"),
        profile,
        _guarantee(head["guarantee"]),
        evidence,
        frozenset(used),
        sparse,
    )


def _head(value: Json) -> tuple[dict[str, Json], str | None]:
    """The claim's own fields, and the profile that a claim about deployed executions names, and no other claim."""
    names = "verdict function semantics guarantee radius"
    if isinstance(value, dict) and value.get("semantics") == DEPLOYED:
        head = fields(value, "claim", f"{names} profile")
        return head, one_of(head["profile"], "claim.profile", " ".join(PROFILES))
    return fields(value, "claim", names), None


def _digest(value: Json, where: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise Rejection(f"manifest: {where} is no sha256")
    return value


def _model(value: Json) -> ModelClaim:
    entry = fields(value, "model", "format sha256 input output input_shape")
    one_of(entry["format"], "model.format", "onnx")
    shape = entry["input_shape"]
    if not isinstance(shape, list):
        raise Rejection("manifest: model.input_shape is no list")
    dims = tuple(integer(d, "model.input_shape") for d in shape)
    if any(d < 1 for d in dims) or prod(dims) > 1 << 26:
        raise Rejection("manifest: model.input_shape is out of range")
    digest = _digest(entry["sha256"], "model.sha256")
    return ModelClaim(digest, text(entry["input"], "model.input"), text(entry["output"], "model.output"), dims)


def tensor(tensors: Tensors, name: Json, where: str, types: str) -> Tensor:
    """The tensor that the manifest names, of one of these types."""
    if not isinstance(name, str) or name not in tensors:
        raise Rejection(f"manifest: {where} names no tensor of the payload")
    found = tensors[name]
    if found.dtype not in types.split():
        raise Rejection(f"payload: {name} is {found.dtype}, expected {types}")
    return found


def _shaped(tensors: Tensors, name: Json, where: str, types: str, shape: tuple[int, ...]) -> tuple[float, ...]:
    found = tensor(tensors, name, where, types)
    if found.shape != shape:
        raise Rejection(f"payload: {name} has shape {list(found.shape)}, expected {list(shape)}")
    return tuple(float(v) for v in found.numbers)


def _region(
    top: Mapping[str, Json], tensors: Tensors, shape: tuple[int, ...], used: set[str]
) -> tuple[Region | None, Fraction | None, Sparse | None]:
    """The threat's set (None: not one that rows can be bounded over), its eps (None for a box), and an l0 threat's."""
    threat = top["threat"]
    kind = threat.get("kind") if isinstance(threat, dict) else None
    center: tuple[float, ...] | None = None
    if top["input"] is not None:
        name = fields(top["input"], "input", "tensor")["tensor"]
        center = _shaped(tensors, name, "input.tensor", "F32 F64", shape)
        used.add(text(name, "input.tensor"))
    if kind == "lp":
        entry = fields(threat, "threat", "kind norm eps clip")
        norm = one_of(entry["norm"], "threat.norm", "inf 2 1")
        eps = rational(entry["eps"], "threat.eps")
        if eps < 0 or center is None:
            raise Rejection("manifest: an lp threat needs eps >= 0 and a centre")
        clip = _clip(entry["clip"], center)
        return Region(ball=Ball(center, norm, eps), clip=clip), eps, None
    if kind == "box":
        entry = fields(threat, "threat", "kind low high")
        low = _shaped(tensors, entry["low"], "threat.low", "F64", shape)
        high = _shaped(tensors, entry["high"], "threat.high", "F64", shape)
        used.update((text(entry["low"], "threat.low"), text(entry["high"], "threat.high")))
        if any(a > b for a, b in zip(low, high, strict=True)):
            raise Rejection("payload: the box is empty")
        return Region(box=(low, high)), None, None
    if kind in ("l0", "patch"):
        name = "size" if kind == "l0" else "side"
        clipped = kind == "l0" and isinstance(threat, dict) and "clip" in threat
        entry = fields(threat, "threat", f"kind {name} clip" if clipped else f"kind {name}")
        size = integer(entry[name], f"threat.{name}")
        if size < 0 or center is None:
            raise Rejection(f"manifest: a threat of kind {kind} needs a {name} >= 0 and a centre")
        clip = _clip(entry["clip"], center) if clipped else None
        return None, Fraction(size), Sparse(center, size, clip) if kind == "l0" else None
    raise Rejection("manifest: unknown kind of threat")


def _clip(value: Json, center: tuple[float, ...]) -> tuple[Fraction, Fraction] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise Rejection("manifest: threat.clip is no pair")
    low, high = rational(value[0], "threat.clip"), rational(value[1], "threat.clip")
    if low > high:
        raise Rejection("manifest: threat.clip is empty")
    if any(not low <= Fraction(v) <= high for v in {min(center), max(center)}):
        raise Rejection("manifest: the centre is not within the clip range")
    return low, high


def _property(value: Json, tensors: Tensors, used: set[str]) -> Property:
    kind = value.get("kind") if isinstance(value, dict) else None
    table: dict[str, Callable[[Json, Tensors, set[str]], Property]] = {
        "same_class": _same_class,
        "linear": _linear,
    }
    if not isinstance(kind, str) or kind not in table:
        raise Rejection("manifest: unknown kind of property")
    return table[kind](value, tensors, used)


def _same_class(value: Json, tensors: Tensors, used: set[str]) -> Property:
    entry = fields(value, "property", "kind label classes")
    label, classes = integer(entry["label"], "property.label"), integer(entry["classes"], "property.classes")
    if not 0 <= label < classes or classes < 2:
        raise Rejection("manifest: property.label is not one of the classes")
    zero, one = Fraction(0), Fraction(1)
    disjuncts = tuple((Conjunct({label: one, j: -one}, zero),) for j in range(classes) if j != label)
    return Property("same_class", classes, disjuncts, label)


def _linear(value: Json, tensors: Tensors, used: set[str]) -> Property:
    entry = fields(value, "property", "kind disjuncts")
    if not isinstance(entry["disjuncts"], list) or not entry["disjuncts"]:
        raise Rejection("manifest: property.disjuncts is no list, or empty")
    disjuncts, widths = [], set()
    for item in entry["disjuncts"]:
        names = fields(item, "a disjunct", "rows bounds")
        rows, bounds = (tensor(tensors, names[k], f"disjunct.{k}", "F64") for k in ("rows", "bounds"))
        if len(rows.shape) != 2 or not rows.size or bounds.shape != rows.shape[:1]:
            raise Rejection("payload: rows and bounds of a disjunct don't fit")
        used.update(text(names[k], "disjunct") for k in ("rows", "bounds"))
        widths.add(rows.shape[1])
        numbers, n = rows.fractions(), rows.shape[1]
        disjuncts.append(
            tuple(
                Conjunct({j: v for j, v in enumerate(numbers[i * n : (i + 1) * n]) if v}, bound)
                for i, bound in enumerate(bounds.fractions())
            )
        )
    if len(widths) != 1:
        raise Rejection("payload: disjuncts speak of outputs of several sizes")
    return Property("linear", widths.pop(), tuple(disjuncts), None)


def _guarantee(value: Json) -> str:
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind == "deterministic":
        fields(value, "claim.guarantee", "kind")
        return "deterministic"
    entry = fields(value, "claim.guarantee", "kind alpha")
    one_of(entry["kind"], "claim.guarantee.kind", "probabilistic")
    if not 0 < rational(entry["alpha"], "claim.guarantee.alpha") < 1:
        raise Rejection("manifest: claim.guarantee.alpha is not within (0, 1)")
    return "probabilistic"


def _check_radius(value: Json, verdict: str, function: str, eps: Fraction | None) -> None:
    if eps is None or verdict == "FALSIFIED":
        if value is not None:
            raise Rejection("manifest: claim.radius must be null for a box or a witness")
        return
    radius = rational(value, "claim.radius")
    if radius < eps or (function == "f" and radius != eps):
        raise Rejection("manifest: claim.radius does not fit threat.eps")
