"""Distinct counts as HyperLogLog registers: merged by maximum, 3.3 % standard error.

Cost: at most 1,024 registers a series and bucket, of which only those that were hit are kept.
Source: Flajolet, Fusy, Gandouet, Meunier: HyperLogLog, AofA 2007, with linear counting for small
counts as in Heule, Nunkesser, Hall: HyperLogLog in Practice, EDBT 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from models.arrays import Hashes, Numbers, Rows

REGISTER_BITS = 10
REGISTER_COUNT = 1 << REGISTER_BITS
_ALPHA = 0.7213 / (1 + 1.079 / REGISTER_COUNT)


def value_hashes(values: Sequence[str]) -> Hashes:
    """64-bit hashes of strings, the same on every machine; one per distinct value, not per event."""
    return np.fromiter(
        (int.from_bytes(blake2b(v.encode(), digest_size=8).digest(), "little") for v in values),
        np.uint64,
        len(values),
    )


def registers_of(hashes: Hashes) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Register and rank (1 + number of leading zeros of the rest) of each hash."""
    register = (hashes >> np.uint64(64 - REGISTER_BITS)).astype(np.int64)
    rest = (hashes << np.uint64(REGISTER_BITS)) >> np.uint64(REGISTER_BITS)
    # frexp of a float64 gives the bit length exactly below 2**53, and the top 53 of these 54 bits decide
    length = np.frexp((rest >> np.uint64(1)).astype(np.float64))[1] + 1
    length[rest == 0] = 0
    length[rest == 1] = 1
    return register, (64 - REGISTER_BITS - length + 1).astype(np.uint8)


def estimates_of(keys: Rows, ranks: NDArray[np.uint8], series_count: int) -> Numbers:
    """Estimated number of distinct values of each series.

    keys   : ascending unique, `series * REGISTER_COUNT + register`
    ranks  : largest rank of each register
    returns: Numbers [S], 0 where a series has no register
    """
    series = keys >> REGISTER_BITS
    used = np.bincount(series, minlength=series_count).astype(np.float64)
    inverse = np.bincount(series, weights=np.exp2(-ranks.astype(np.float64)), minlength=series_count)
    empty = REGISTER_COUNT - used
    raw = _ALPHA * REGISTER_COUNT**2 / (inverse + empty)
    with np.errstate(divide="ignore"):
        linear = REGISTER_COUNT * np.log(REGISTER_COUNT / np.maximum(empty, 1))
    small = (raw <= 2.5 * REGISTER_COUNT) & (empty > 0)
    result: Numbers = np.where(used == 0, 0.0, np.where(small, linear, raw))
    return result
