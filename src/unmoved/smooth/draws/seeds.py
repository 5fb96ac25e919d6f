"""Seeds and streams: which random numbers belong to which input and which purpose.

Two inputs, models or parameter sets never share noise by accident (their seeds differ but for a SHA-256 collision), and
within one input selection, certification and prediction draw from disjoint counters of the same key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from unmoved.core.errors import UsageError
from unmoved.smooth.draws.philox import SAMPLER


class Purpose(IntEnum):
    """What a stream is for; the number is its stream word (see `smooth.draws.philox`)."""

    CERTIFICATION = 0
    SELECTION = 1
    PREDICTION = 2


@dataclass(frozen=True)
class Stream:
    """A sequence of noisy copies, numbered from 0: `seed` (32 bytes) and what it is for."""

    seed: bytes
    purpose: Purpose = Purpose.CERTIFICATION

    def __post_init__(self) -> None:
        if not isinstance(self.seed, bytes) or len(self.seed) != 32:
            raise UsageError("seed", self.seed, "32 bytes")

    @property
    def key(self) -> npt.NDArray[np.uint64]:
        """The two 32-bit key words, uint64 (2,): the first eight bytes of SHA-256(sampler id + seed), little-endian."""
        digest = hashlib.sha256(SAMPLER.encode("ascii") + self.seed).digest()
        return np.frombuffer(digest[:8], dtype="<u4").astype(np.uint64)


def input_seed(seed: int, model: str, *, x: npt.NDArray[np.float32], parameters: Mapping[str, object]) -> bytes:
    """Return the 32-byte seed for one input: SHA-256 over everything that identifies the question.

    `seed` is the user's integer, `model` the model's digest, `x` the input, `parameters` what was asked for (written as
    JSON with sorted keys; values that are not JSON are written by str). Every field is preceded by its length in bytes
    (8 bytes, little-endian), so that no two different questions give the same bytes.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UsageError("seed", seed, "an integer")
    fields = (
        b"unmoved/smooth/seed/1",
        str(seed).encode("ascii"),
        model.encode("utf-8"),
        json.dumps(list(x.shape)).encode("ascii"),
        np.ascontiguousarray(x, dtype="<f4").tobytes(),
        json.dumps(dict(parameters), sort_keys=True, separators=(",", ":"), default=str).encode("utf-8"),
    )
    digest = hashlib.sha256()
    for field in fields:
        digest.update(len(field).to_bytes(8, "little") + field)
    return digest.digest()
