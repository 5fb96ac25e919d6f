"""The door: bytes of a bundle in, `Accepted` or `Rejected` out; one table of evidence kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from time import perf_counter
from typing import Any, Literal

from unmoved_check.bundle import Bundle, parse
from unmoved_check.claim import DEPLOYED, Claim, parse_claim
from unmoved_check.counts import check_counts
from unmoved_check.dual_tree import check_dual_tree
from unmoved_check.enumerated import check_enumerated
from unmoved_check.exact import ExactEngine
from unmoved_check.leaf import Engine
from unmoved_check.model.deployed import deployed
from unmoved_check.model.lowering import RULES, lower
from unmoved_check.model.profile import PROFILES
from unmoved_check.model.reader import Source, read_model
from unmoved_check.model.steps import Graph
from unmoved_check.outcome import Accepted, Rejected, Rejection
from unmoved_check.witness import check_witness

Mode = Literal["auto", "exact", "floating"]

OPERATORS = frozenset(RULES)
"""The ONNX operators whose proofs can be checked (some only on constants)."""


class Checker:
    """Checks certificates against one model, whose bytes are all that is trusted; work on the model is kept."""

    def __init__(self, model: bytes):
        self._model = model
        self._digest = sha256(model).hexdigest()
        self._deployed: dict[str, Graph] = {}
        self._engines: dict[tuple[bool, str | None], Engine] = {}
        self.constants: dict[tuple[str, int], Any] = {}

    def check(self, manifest: bytes, payload: bytes, mode: Mode = "auto") -> Accepted | Rejected:
        """Accepted only if the bundle's claim about this model follows from its evidence; never raises.

        `auto` is floating for dual trees; counts and witnesses are always checked exactly.
        """
        start = perf_counter()
        try:
            if mode not in ("auto", "exact", "floating"):
                raise Rejection(f"mode {mode!r} is not one of auto, exact, floating")
            bundle = parse(manifest, payload)
            claim = parse_claim(bundle.manifest, bundle.tensors)
            self._bind(bundle, claim)
            kind = claim.evidence.get("kind")
            entry = EVIDENCE.get(kind) if isinstance(kind, str) else None
            if entry is None:
                raise Rejection(f"manifest: unknown kind of evidence {str(kind)[:40]!r}")
            says = (claim.verdict, claim.function, claim.semantics, claim.guarantee)
            if says not in entry.says:
                allowed = " or ".join(map(str, entry.says))
                raise Rejection(f"manifest: {kind} evidence can only say {allowed}, the claim says {says}")
            used, margin = entry.run(self, bundle, claim, mode)
            return Accepted(str(kind), used, margin, perf_counter() - start)
        except Rejection as rejection:
            return Rejected(str(rejection), perf_counter() - start)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in here must not look like acceptance
            return Rejected(f"internal error: {type(error).__name__}: {error}", perf_counter() - start)

    def _bind(self, bundle: Bundle, claim: Claim) -> None:
        """The bundle speaks of this payload, this model, and its input and output."""
        if bundle.payload_digest != claim.payload:
            raise Rejection("the payload is not the one that the manifest names")
        if self._digest != claim.model.sha256:
            raise Rejection("the model is not the one that the manifest names")
        source = self.source
        if (claim.model.input, claim.model.output) != (source.input, source.output):
            raise Rejection("the model's input or output has another name")
        if claim.model.input_shape != source.input_shape:
            raise Rejection(f"the model's input has shape {list(source.input_shape)}")

    @cached_property
    def source(self) -> Source:
        """The model as read."""
        return read_model(self._model)

    @cached_property
    def graph(self) -> Graph:
        """The model as steps."""
        return lower(self.source)

    @cached_property
    def exact(self) -> ExactEngine:
        """The engine in integers."""
        return ExactEngine(self.graph)

    def deployed(self, profile: str) -> Graph:
        """The model as the executions of a profile compute it."""
        if profile not in self._deployed:
            self._deployed[profile] = deployed(self.source, PROFILES[profile])
        return self._deployed[profile]

    def engine(self, mode: Mode, profile: str | None) -> Engine:
        """The engine of `graph`, or of `deployed(profile)`; numpy is imported here: exact checks never need it."""
        exact = mode == "exact"
        if (exact, profile) not in self._engines:
            graph = self.graph if profile is None else self.deployed(profile)
            if exact:
                self._engines[exact, profile] = self.exact if profile is None else ExactEngine(graph)
            else:
                from unmoved_check.floating import FloatEngine

                self._engines[exact, profile] = FloatEngine(graph)
        return self._engines[exact, profile]


def _dual_tree(checker: Checker, bundle: Bundle, claim: Claim, mode: Mode) -> tuple[str, str]:
    engine = checker.engine(mode, claim.profile)
    used = "exact" if mode == "exact" else "floating"
    return used, check_dual_tree(claim, bundle.tensors, engine)


def _counts(checker: Checker, bundle: Bundle, claim: Claim, mode: Mode) -> tuple[str, str]:
    check = check_enumerated if claim.evidence["kind"] == "enumerated" else check_counts
    record = claim.evidence.get("classes")
    named = {record["tensor"]} if isinstance(record, dict) and isinstance(record.get("tensor"), str) else set()
    strange = set(bundle.tensors) - claim.names - named
    if strange:
        raise Rejection(f"payload: {sorted(strange)[0]} is not used")
    declared = checker.source.declared_outputs
    if declared not in (None, claim.property.outputs):
        raise Rejection(f"the property speaks of {claim.property.outputs} outputs, the model declares {declared}")
    return "exact", check(bundle.manifest, bundle.tensors, checker.source.input_shape)


def _witness(checker: Checker, bundle: Bundle, claim: Claim, mode: Mode) -> tuple[str, str]:
    return "exact", check_witness(claim, bundle.tensors, checker.exact)


def _lipschitz(checker: Checker, bundle: Bundle, claim: Claim, mode: Mode) -> tuple[str, str]:
    if mode == "exact":
        raise Rejection("lipschitz evidence cannot be checked in integers: norms are bounded in floating point")
    from unmoved_check.floating_lipschitz import check_lipschitz

    return "floating", check_lipschitz(claim, bundle.tensors, checker.exact, checker.constants)


@dataclass(frozen=True)
class Kind:
    """What evidence of a kind may say (verdict, function, semantics, guarantee), and who checks it."""

    says: tuple[tuple[str, str, str, str], ...]
    run: Callable[[Checker, Bundle, Claim, Mode], tuple[str, str]]


EVIDENCE: dict[str, Kind] = {
    "dual-tree": Kind(
        (("CERTIFIED", "f", "real", "deterministic"), ("CERTIFIED", "f", DEPLOYED, "deterministic")), _dual_tree
    ),
    "counts": Kind((("CERTIFIED", "g", "sampled", "probabilistic"),), _counts),
    "enumerated": Kind((("CERTIFIED", "g", "enumerated", "deterministic"),), _counts),
    "lipschitz": Kind((("CERTIFIED", "f", "real", "deterministic"),), _lipschitz),
    "witness": Kind((("FALSIFIED", "f", "real+onnxruntime", "deterministic"),), _witness),
}
