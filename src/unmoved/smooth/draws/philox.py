"""Noise numbers that depend on (seed, stream, sample, element) alone, bit for bit, on any platform.

This is the sampler `philox4x32-10/grid/1`. Everything an independent implementation needs is on this page.

**Generator.** Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011):
a bijection of four 32-bit counter words (c0, c1, c2, c3) under two 32-bit key words (k0, k1), giving r0, r1, r2, r3.
Each of ten rounds takes the 64-bit products p = 0xD2511F53 * c0 and q = 0xCD9E8D57 * c2 and sets

    (c0, c1, c2, c3) = (high(q) ^ c1 ^ k0, low(q), high(p) ^ c3 ^ k1, low(p)),

then adds 0x9E3779B9 to k0 and 0xBB67AE85 to k1, modulo 2^32.

**Key.** k0 and k1 are the first and second little-endian 32-bit words of SHA-256(ascii("philox4x32-10/grid/1") + seed),
seed being the 32 bytes whose hexadecimal form a certificate records (`smooth.draws.seeds.Stream.key`).

**Counter.** The words are (index, stream + 256 * part, s mod 2^32, s div 2^32). `stream` is 0 for certification, 1 for
selection, 2 for prediction; s is the index of the noisy copy, from 0. No two uses share a counter.

* part 0, index = b, the block number: eight 16-bit pieces, for the elements 8 b ... 8 b + 7 of the flattened input (C
  order). Element 8 b + 2 i + h (i = 0..3, h = 0..1) gets the piece t = (r_i >> 16 h) mod 2^16.
* part 1, index = j, the element number: 48 further bits for element j, w = r0 + 2^32 (r1 mod 2^16); r2, r3 are unused.

**Inversion.** u = 2^48 t + w is uniform on the integers [0, 2^64). E_j = min{k : u < T_k}, -K <= k <= K, with the
thresholds T_k of `smooth.draws.grid`. Where every u with the leading piece t leads to the same k (some 98 % of all
pieces), part 1 is not evaluated; this changes no result, for the value of w does not matter there.

**Output.** z_j = float32(m_j + E_j) / float32(q), m_j the integer nearest to q x_j: both operands are integers of at
most 2^24 in size, hence exact in float32, and the quotient is the IEEE 754 one (round to nearest, ties to even). So z
is a function of the integers m + E alone, whatever float32 can or cannot represent near x.

Speed: rounds are written on 64-bit lanes whose upper halves are rubbish between the products, so that LLVM emits one
vector multiplication (vpmuludq) for each; the pieces are kept planar (r_i of all blocks side by side), for stores with
stride 4 made the generator 2.4 times slower. A chunk of 128 blocks stays within the first-level cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

SAMPLER = "philox4x32-10/grid/1"
AMBIGUOUS = np.iinfo(np.int32).min
"""The mark for a leading piece that does not determine E; no threshold index is so small. `guide_of` may shorten it."""

_SHORT_MARK = np.iinfo(np.int16).min
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_WORD, _HALF = np.uint64(0xFFFFFFFF), np.uint64(0xFFFF)
_32, _48 = np.uint64(32), np.uint64(48)
_PART_1 = np.uint64(256)
_HALF_32, _16_32 = np.uint32(0xFFFF), np.uint32(16)
_BLOCKS = 128


def _compiled(function: Callable[..., Any]) -> Any:
    """Compile to a function that holds no lock (nogil), with IEEE arithmetic and, where the disc allows it, cached.

    All compiled code is in this one file, because numba's cache notices changes only in the file of the function
    itself; its index holds the processor's name and features, so a shared folder is safe.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "inline": "always"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no folder that it may write to
        return njit(**options)(function)


@_compiled
def _rounds(a, b, c, d, k0, k1):  # type: ignore[no-untyped-def]
    for _ in range(10):
        p = (a & _WORD) * _M0
        q = (c & _WORD) * _M1
        a, b, c, d = (q >> _32) ^ b ^ k0, q, (p >> _32) ^ d ^ k1, p
        k0 = (k0 + _W0) & _WORD
        k1 = (k1 + _W1) & _WORD
    return a & _WORD, b & _WORD, c & _WORD, d & _WORD


def philox4x32_10(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the four 32-bit words of Philox4x32-10 for one counter and one key (32-bit words each)."""
    words = _rounds(*(np.uint64(word) for word in (*counter, *key)))
    return int(words[0]), int(words[1]), int(words[2]), int(words[3])


@_compiled
def _pieces(words, guide, open_mark, noise, doubtful, blocks):  # type: ignore[no-untyped-def]
    """Look every 16-bit piece up; list the elements whose piece does not determine E, and return their number.

    Few blocks have one (some 6 %): a block's least entry tells, and listing as one goes cost a fifth of the time.
    """
    count = 0
    for i in range(blocks):
        least = guide[words[0, i] & _HALF_32]
        for h in range(4):
            word = words[h, i]
            low, high = guide[word & _HALF_32], guide[word >> _16_32]
            noise[8 * i + 2 * h], noise[8 * i + 2 * h + 1] = low, high
            least = min(least, min(low, high))
        if least == open_mark:
            for j in range(8 * i, 8 * i + 8):
                doubtful[count] = j
                count += noise[j] == open_mark
    return count


@_compiled
def _settle(words, further, noise, doubtful, count, first, last, reach):  # type: ignore[no-untyped-def]
    """Decide the listed elements by all 64 bits; the last threshold is 2^64, so that the search ends."""
    for i in range(count):
        j = doubtful[i]
        word = words[(j >> 1) & 3, j >> 3]
        piece = (word >> _16_32) if j & 1 else (word & _HALF_32)
        u = (np.uint64(piece) << _48) | ((np.uint64(further[1, i]) & _HALF) << _32) | np.uint64(further[0, i])
        m = first[piece]
        while last[m] < u:
            m += 1
        noise[j] = m - reach


def guide_of(entries: npt.NDArray[np.int64]) -> npt.NDArray[np.int16] | npt.NDArray[np.int32]:
    """Return a guide table, as narrow as its entries (numbers, or AMBIGUOUS) allow: caches hold more of a short one.

    The mark is the smallest number of its type.
    """
    known = entries != AMBIGUOUS
    if np.abs(entries[known]).max(initial=0) <= np.iinfo(np.int16).max:
        return np.where(known, entries, np.iinfo(np.int16).min).astype(np.int16)
    return entries.astype(np.int32)


@_compiled
def fill(out, base, guide, first, last, q, key, stream, first_sample):  # type: ignore[no-untyped-def]
    """Write noisy copies `first_sample`, `first_sample` + 1, ... of a grid point into the rows of `out`.

    `out` float32 (rows, d); `base` int32 (d,), the integers m; `guide` (65536,) as `guide_of` gives it, E or the mark
    for each leading piece; `first` int32 (65536,), the first candidate for each; `last` uint64 (2 K + 1,), T_k - 1; `q`
    float32; `key` uint64 (2,), two 32-bit words; `stream` and `first_sample` uint64. Holds no lock; allocates 20 KiB.
    """
    rows, d = out.shape
    reach = (last.size - 1) // 2
    words = np.empty((4, _BLOCKS), np.uint32)
    noise = np.empty(8 * _BLOCKS, guide.dtype)
    open_mark = AMBIGUOUS if guide.itemsize == 4 else _SHORT_MARK
    doubtful = np.empty(8 * _BLOCKS + 1, np.int32)
    further = np.empty((2, 8 * _BLOCKS), np.uint32)
    for row in range(rows):
        sample = first_sample + np.uint64(row)
        c2, c3 = sample & _WORD, sample >> _32
        for start in range(0, (d + 7) // 8, _BLOCKS):
            blocks = min(_BLOCKS, (d + 7) // 8 - start)
            for i in range(blocks):
                r0, r1, r2, r3 = _rounds(np.uint64(start + i), stream, c2, c3, key[0], key[1])
                words[0, i], words[1, i], words[2, i], words[3, i] = r0, r1, r2, r3
            count = _pieces(words, guide, open_mark, noise, doubtful, blocks)
            for i in range(count):
                element = np.uint64(8 * start + doubtful[i])
                r0, r1, r2, r3 = _rounds(element, stream | _PART_1, c2, c3, key[0], key[1])
                further[0, i], further[1, i] = r0, r1
            _settle(words, further, noise, doubtful, count, first, last, reach)
            for j in range(min(8 * blocks, d - 8 * start)):
                out[row, 8 * start + j] = np.float32(base[8 * start + j] + np.int32(noise[j])) / q
