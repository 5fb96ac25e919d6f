"""A certificate as bytes: the manifest and payload of docs/certificate-format.md."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from unmoved.core.certificate import AllVotes, Classes, Counts, DualTree, Finding, Lipschitz, Witness
from unmoved.core.errors import UsageError
from unmoved.core.problem import Problem
from unmoved.core.property import LinearProperty, Property, SameClass
from unmoved.core.threat import Threat
from unmoved.core.verdict import Guarantee
from unmoved.threats import L0, Box, Lp, Patch

SCHEMA = "unmoved/certificate/1"
CHOICES = ("slopes/", "lines/", "planes/", "multipliers/", "weights/", "rows/", "units/", "ends/", "hidden/", "scope/")
"""What the names of a proof's own tensors start with."""

Tensors = dict[str, npt.NDArray[Any]]
Json = dict[str, Any]


def canonical(value: object) -> bytes:
    """Return canonical JSON (RFC 8785 for the values we use: ASCII keys). TypeError for a float: it has no one text."""
    _refuse_floats(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(data: bytes) -> str:
    """Return the sha256 of `data` in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def encode(problem: Problem, finding: Finding, provenance: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Return the manifest's and the payload's bytes for a finding with evidence.

    The same problem, finding and provenance give the same bytes. Raises UsageError for a threat, property or evidence
    that the format has no words for.
    """
    tensors: Tensors = {"center": np.ascontiguousarray(problem.x)}
    manifest: Json = {
        "schema": SCHEMA,
        "model": _model(problem),
        "input": {"tensor": "center"},
        "threat": _threat(problem.threat, tensors),
        "property": _property(problem.prop, problem.model.outputs, tensors),
        "claim": _claim(problem, finding),
        "evidence": _evidence(finding, tensors),
        "provenance": dict(provenance),
    }
    payload = save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)})
    manifest["payload"] = {"sha256": digest(payload)}
    return canonical(manifest), payload


def _model(problem: Problem) -> Json:
    model = problem.model
    return {
        "format": "onnx",
        "sha256": model.digest,
        "input": model.input,
        "output": model.output,
        "input_shape": list(model.input_shape),
    }


def _threat(threat: Threat, tensors: Tensors) -> Json:
    match threat:
        case Lp(eps=eps, clip=clip):
            ends = None if clip is None else [str(clip[0]), str(clip[1])]
            return {"kind": "lp", "norm": threat.norm, "eps": str(eps), "clip": ends}
        case Box(low=low, high=high):
            tensors |= {"low": low, "high": high}
            return {"kind": "box", "low": "low", "high": "high"}
        case L0(number=number, clip=clip):
            within = {} if clip is None else {"clip": [str(clip[0]), str(clip[1])]}
            return {"kind": "l0", "size": number, **within}
        case Patch(number=number, clip=None):
            return {"kind": "patch", "side": number}
    known = "linf, l2, l1, l0, a box, or patch without a clip range"
    raise UsageError("threat", threat.name, f"a threat that certificates can express: {known}")


def _property(prop: Property, outputs: int, tensors: Tensors) -> Json:
    match prop:
        case SameClass(label=label):
            return {"kind": "same_class", "label": int(label), "classes": outputs}
        case LinearProperty(unsafe=unsafe):
            disjuncts = []
            for d, part in enumerate(unsafe):
                names = {"rows": f"property/{d}/rows", "bounds": f"property/{d}/bounds"}
                tensors[names["rows"]] = np.asarray(part.rows, np.float64)
                tensors[names["bounds"]] = np.asarray(part.bounds, np.float64)
                disjuncts.append(names)
            return {"kind": "linear", "disjuncts": disjuncts}
    raise UsageError("property", prop, "SameClass or LinearProperty")


def _claim(problem: Problem, finding: Finding) -> Json:
    semantics = {
        Counts: "sampled",
        AllVotes: "enumerated",
        Witness: "real+onnxruntime",
        DualTree: "real",
        Lipschitz: "real",
    }
    claim = {
        "verdict": str(finding.verdict),
        "function": finding.guarantee.of,
        "semantics": semantics[type(finding.evidence)] if finding.evidence is not None else "",
        "guarantee": _guarantee(finding.guarantee),
        "radius": _rational(finding.radius),
    }
    if isinstance(finding.evidence, DualTree) and problem.semantics.deployed:
        claim |= {"semantics": problem.semantics.name, "profile": problem.semantics.profile}
    return claim


def _guarantee(guarantee: Guarantee) -> Json:
    if guarantee.alpha is None:
        return {"kind": "deterministic"}
    return {"kind": "probabilistic", "alpha": str(guarantee.alpha)}


def _rational(value: Fraction | None) -> str | None:
    return None if value is None else str(value)


def _evidence(finding: Finding, tensors: Tensors) -> Json:
    match finding.evidence:
        case DualTree() as proof:
            tensors |= _choices(proof)
            return {"kind": "dual-tree", "intermediate": proof.intermediate, "trees": _listed(proof.trees)}
        case Lipschitz() as proof:
            tensors |= _choices(proof)
            return {"kind": "lipschitz", "norm": proof.norm, "squarings": proof.squarings}
        case Counts() as votes:
            return {
                "kind": "counts",
                "noise": votes.noise,
                "sigma": str(votes.sigma),
                "grid": votes.grid,
                "offset": "0",
                "on_grid": votes.on_grid,
                "bound": votes.bound,
                "looks": _looks(votes),
                "samples": votes.samples,
                "selection_samples": votes.selection_samples,
                "counts": list(votes.counts),
                "top": votes.top,
                "alpha": str(votes.alpha),
                "seed": votes.seed,
                "number": None if votes.number is None else int(votes.number),
                "sampler": votes.sampler,
                "classes": _classes(votes.classes, tensors),
            }
        case AllVotes() as votes:
            return {
                "kind": "enumerated",
                "noise": votes.noise,
                "lam": None if votes.lam is None else str(votes.lam),
                "grid": votes.grid,
                "offsets": None if votes.offsets is None else str(votes.offsets),
                "on_grid": votes.on_grid,
                "copies": votes.copies,
                "counts": list(votes.counts),
                "invalid": votes.invalid,
                "top": votes.top,
                "classes": _classes(votes.classes, tensors),
            }
        case Witness() as witness:
            tensors |= {"witness": witness.point, "witness_output": witness.runtime_output}
            runtime = {"name": "onnxruntime", "version": witness.runtime_version, "output": "witness_output"}
            return {"kind": "witness", "tensor": "witness", "runtime": runtime}
        case None:
            raise UsageError("finding", finding.verdict, "a finding with evidence")


def _looks(votes: Counts) -> Json:
    sizes, shares = votes.sizes or (votes.samples,), votes.shares or (Fraction(1),)
    return {"sizes": list(sizes), "shares": [str(share) for share in shares], "at": votes.at}


def _classes(record: Classes | None, tensors: Tensors) -> Json | None:
    if record is None:
        return None
    named = None
    if record.packed is not None:
        named = "classes"
        tensors[named] = np.frombuffer(record.packed, np.uint8)
    return {"root": record.root, "bits": record.bits, "tensor": named}


def _choices(proof: DualTree | Lipschitz) -> Tensors:
    # any other name could stand in for the problem's own tensors: a proof of another question
    wrong = [name for name in proof.choices if not name.startswith(CHOICES)]
    if wrong:
        raise UsageError("choices", wrong[0], "names that start with " + ", ".join(CHOICES))
    for name, value in proof.choices.items():
        if not isinstance(value, np.ndarray) or value.dtype not in (np.uint8, np.float32, np.float64):
            raise UsageError(
                name, getattr(value, "dtype", type(value).__name__), "an array of uint8, float32 or float64"
            )
    return dict(proof.choices)


def _listed(tree: object) -> object:
    if isinstance(tree, tuple | list):
        return [_listed(part) for part in tree]
    if isinstance(tree, Fraction | str):
        return str(tree)
    if not isinstance(tree, int | np.integer):
        raise UsageError("trees", tree, "tuples of words, integers and rationals")
    return int(tree)


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        raise TypeError(f"{value!r} is a float, which canonical JSON here never holds")
    inner: Iterable[object] = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, tuple | list):
        inner = value
    for part in inner:
        _refuse_floats(part)
