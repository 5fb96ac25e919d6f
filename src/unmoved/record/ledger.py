"""A run and its rows: what was asked of a whole data set, and one line for each input's answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

from unmoved.core.rounding import float_down
from unmoved.record.manifest import canonical, digest


@dataclass(frozen=True)
class Run:
    """One question to a whole data set. Two runs with the same fields are the same run, and resume each other.

    `kind` is "certify", "attack" or "radius" (the largest eps that is proved, up to the threat's). `function` is "f" or
    "g". `settings` are the method's, as text. `data` and `model` are sha256 digests; the names are for people. `tool`
    is the version that ran: another version is another run.
    """

    kind: str
    model: str
    model_name: str
    data: str
    data_name: str
    threat: str
    eps: str | None
    norm: str | None
    clip: tuple[str, str] | None
    function: str
    method: str
    settings: Mapping[str, str]
    seed: int
    tool: str
    unchecked: bool = False

    @property
    def id(self) -> str:
        """The run's identity: sha256 over everything but the names for people."""
        parts = asdict(self) | {"settings": dict(self.settings)}
        return digest(canonical({k: v for k, v in parts.items() if k not in ("model_name", "data_name")}))

    @property
    def graded(self) -> bool:
        """Whether its proofs have radii of their own, one an input, rather than all the threat's size."""
        return self.kind == "radius" or self.function == "g"

    def to_json(self) -> bytes:
        """Return the run as canonical JSON."""
        return canonical(asdict(self) | {"settings": dict(self.settings)})

    @staticmethod
    def from_json(data: bytes) -> Run:
        """Return the run that `to_json` wrote."""
        parts = json.loads(data)
        clip = parts.pop("clip")
        return Run(**parts, clip=None if clip is None else (clip[0], clip[1]))


@dataclass(frozen=True)
class Row:
    """One input's answer: a line of the ledger.

    `radius` is the exact rational that is proved ("1/10"), None without proof. `prediction` is the class at x itself
    (None: abstained). `seconds` is the time of the proof (an equal share of its batch), `check_seconds` that of the
    check. `certificate` is the id of the bundle, `input` the sha256 of the input's .npy bytes.
    """

    index: int
    label: int
    prediction: int | None
    verdict: str
    reason: str | None
    radius: str | None
    margin: float | None
    method: str
    seconds: float
    check: str | None
    check_mode: str | None
    check_seconds: float | None
    certificate: str | None
    payload: str | None
    input: str
    unchecked: bool = False
    at: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def certified(self) -> bool:
        """Whether the input is answered with a proof, and with the right label."""
        return self.verdict == "CERTIFIED" and self.prediction == self.label

    @property
    def bundles(self) -> tuple[tuple[str, str], ...]:
        """The names of (manifest, payload) of the certificate, and of those of other sizes beside it."""
        others = [self.details.get(name) for name in ("broken", "smaller")]
        beside = [(each["certificate"], each["payload"]) for each in others if isinstance(each, Mapping)]
        pairs = [(self.certificate, self.payload), *beside]
        return tuple(dict.fromkeys((c, p) for c, p in pairs if c is not None and p is not None))

    @property
    def broken_from(self) -> Fraction | None:
        """The least size at which a checked witness breaks the input, where the run looked for it (kind "radius")."""
        beside = self.details.get("broken")
        return Fraction(beside["eps"]) if isinstance(beside, Mapping) else None

    @property
    def smaller(self) -> Fraction | None:
        """The largest size below the threat's that was proved after a timeout, None where none was."""
        beside = self.details.get("smaller")
        return Fraction(beside["eps"]) if isinstance(beside, Mapping) else None

    @property
    def radius_float(self) -> float | None:
        """The proved radius as a float64, rounded down."""
        return None if self.radius is None else float_down(Fraction(self.radius))

    def to_json(self) -> bytes:
        """Return the row as one line of JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False, ensure_ascii=False).encode()

    @staticmethod
    def from_json(data: bytes) -> Row:
        """Return the row that `to_json` wrote."""
        return Row(**json.loads(data))
