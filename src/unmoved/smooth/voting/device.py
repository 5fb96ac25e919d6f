"""The sampler `philox4x32-10/grid/1` in torch's integers: noise is drawn where the network runs, the same bits as ever.

`smooth.draws.philox` says what is drawn, and draws it on the CPU; this is the same procedure on any torch device.
Copies are equal bit for bit for every seed, stream and slice, so that counts, certificates and `resample` know nothing
of the device. Gaussian, Laplace and uniform noise are drawn here, whatever norm they are stated in; other noises
(splitting, replacing, flips, subsets of elements) are drawn on the CPU, and their copies moved.

Checked on torch's CPU device alone: no GPU was at hand. Another device must have int64 and IEEE float64 tensors, as
CUDA has. What makes it exact there:

* Torch has no unsigned 64-bit arithmetic. A product of 32-bit words is put together from 32 by 16 bit ones, below 2^48
  each; a 64-bit number u is held as u - 2^63, which keeps the order. Nothing leaves int64.
* z is the float64 quotient a/q, a = m + E, rounded to float32. That is the float32 quotient, even where torch divides
  by multiplying with 1/q: let M 2^e be a midpoint of two float32 numbers, M odd and above 2^24, e < 0 (those are all
  the ones below 2^24). The integers a 2^-e and q M differ, else M would divide a, which is at most 2^24 in size (and
  a = 0 is exact). So |a/q - M 2^e| >= 2^e/q, at least 2^-49 of M 2^e; the float64 error is below 2^-51 of it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from unmoved.core.errors import UsageError
from unmoved.smooth.draws.grid import GridPoint, Thresholds
from unmoved.smooth.draws.inversion import blocks
from unmoved.smooth.draws.noise import Copies
from unmoved.smooth.draws.philox import SAMPLER
from unmoved.smooth.draws.seeds import Stream
from unmoved.smooth.radii.conversions import InNorm

_WORD, _HALF = 0xFFFFFFFF, 0xFFFF
_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_PART_1 = 256
_AT_ONCE = 2**22
"""Elements of a slice: 32 MiB a word, some ten of them at a time, and enough to keep a GPU busy."""

Words = tuple[Tensor, Tensor, Tensor, Tensor]


@runtime_checkable
class Gridded(Copies, Protocol):
    """A noise whose copies are (m + E)/`grid`, E of the law `law`, drawn by the sampler of this page."""

    @property
    def law(self) -> Thresholds:
        """The law of E."""

    @property
    def grid(self) -> int:
        """The grid q."""

    @property
    def sampler(self) -> str:
        """The name of the sampler."""


class Tables(NamedTuple):
    """`Thresholds` on a device: `last` int64 (2 K + 1,) is T_k - 1 - 2^63; `guide` (65536,), least number: open."""

    reach: int
    last: Tensor
    guide: Tensor


@lru_cache(maxsize=8)
def tables(law: Thresholds, device: torch.device) -> Tables:
    """Return a law's tables on a device; the last eight are kept."""
    last = (law.last ^ np.uint64(2**63)).view(np.int64)
    return Tables(law.reach, torch.from_numpy(last).to(device), torch.from_numpy(law.guide).to(device))


def gridded(noise: Copies) -> Gridded | None:
    """Return the noise that `write` can draw for `noise`; None if only the CPU can."""
    drawn = noise.noise if isinstance(noise, InNorm) else noise
    return drawn if isinstance(drawn, Gridded) and drawn.sampler == SAMPLER else None


def write(noise: Gridded, point: GridPoint, out: Tensor, *, stream: Stream, first: int) -> None:
    """Write the noisy copies `first`, `first` + 1, ... of `point` into `out`, on its device; as `noise.sample` does.

    Raises UsageError unless `out` is float32 (rows, *point.shape) and 0 <= `first` <= 2^63.
    """
    if out.dtype != torch.float32 or out.shape[1:] != point.shape:
        raise UsageError("out", f"{out.dtype} {tuple(out.shape)}", f"float32 (rows, *{point.shape})")
    if not 0 <= first <= 2**63:
        raise UsageError("first", first, "an integer >= 0")
    base = torch.from_numpy(point.integers).to(out.device)
    law, size = tables(noise.law, out.device), len(base)
    for part in blocks(len(out), size, _AT_ONCE):
        copies = range(first + part.start, first + part.stop)
        whole = numbers(law, size, copies, stream=stream) + base
        out[part] = (whole.to(torch.float64) / noise.grid).to(torch.float32).reshape(-1, *point.shape)


def numbers(law: Tables, elements: int, copies: range, *, stream: Stream) -> Tensor:
    """Return the noise numbers E of the copies (step 1), int64 (len(copies), elements)."""
    device, purpose = law.last.device, int(stream.purpose)
    key = int(stream.key[0]), int(stream.key[1])
    # a copy's number may have 64 bits, so its words are added up apart
    sums = torch.arange(len(copies), device=device)[:, None] + (copies.start & _WORD)
    low, high = sums & _WORD, (sums >> 32) + (copies.start >> 32)
    block = torch.arange(-(-elements // 8), device=device)[None]
    words = philox((block, torch.full_like(block, purpose), low, high), key)
    halves = [half for word in words for half in (word & _HALF, word >> 16)]
    pieces = torch.stack(halves, dim=-1).reshape(len(copies), -1)[:, :elements]
    found = law.guide[pieces].to(torch.int64)
    row, element = (found == torch.iinfo(law.guide.dtype).min).nonzero(as_tuple=True)
    counter = (element, torch.full_like(element, purpose | _PART_1), low[row, 0], high[row, 0])
    r0, r1, _, _ = philox(counter, key)
    found[row, element] = invert(law, pieces[row, element], ((r1 & _HALF) << 32) | r0)
    return found


def invert(law: Tables, piece: Tensor, rest: Tensor) -> Tensor:
    """Return E = min{k : u < T_k} for u = 2^48 `piece` + `rest`, int64 of 16 and 48 bits."""
    u = (piece - 2**15) * 2**48 + rest
    return torch.searchsorted(law.last, u) - law.reach


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Return the four words of Philox4x32-10, int64 tensors of 32-bit numbers, for counters that broadcast."""
    (a, b, c, d), (k0, k1) = counter, key
    for _ in range(10):
        (p_high, p_low), (q_high, q_low) = _product(a, _M0), _product(c, _M1)
        a, b, c, d = q_high ^ b ^ k0, q_low, p_high ^ d ^ k1, p_low
        k0, k1 = (k0 + _W0) & _WORD, (k1 + _W1) & _WORD
    return a, b, c, d


def _product(word: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Return the high and the low 32 bits of a product of 32-bit numbers."""
    lower = word * (factor & _HALF)
    upper = word * (factor >> 16) + (lower >> 16)
    return upper >> 16, (upper & _HALF) << 16 | (lower & _HALF)
