"""Distributions as DDSketch bins: any quantile within 1 % of the true value, merged by addition.

Guarantee: for every finite value x with 1e-12 < |x| < 1e12, the value that stands for its bin differs
from x by at most `RELATIVE_ACCURACY` of x; smaller magnitudes count as zero, larger ones as the last bin.
Cost: one logarithm a value, and 12 bytes for each bin that is not empty.

Source: Masson, Rim, Lee: DDSketch, PVLDB 12(12), 2019; the bins' numbering runs with the values, so
that sorted keys are sorted values, negative ones and zero included.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.arrays import Counts, Numbers, Rows

RELATIVE_ACCURACY = 0.01
GAMMA = (1 + RELATIVE_ACCURACY) / (1 - RELATIVE_ACCURACY)
BIN_BITS = 13
BIN_COUNT = 1 << BIN_BITS
"""Bins a series may have (K); the key of a bin in a table of series is `series * BIN_COUNT + bin`."""

_LOG_GAMMA = float(np.log(GAMMA))
_INDEX_MAX = 1400  # gamma ** 1400 is 1.4e12
_ZERO = BIN_COUNT // 2
_SHIFT = _INDEX_MAX + 2  # leaves a gap on both sides of zero

assert _ZERO + _SHIFT + _INDEX_MAX < BIN_COUNT


def bins_of(values: Numbers) -> NDArray[np.int64]:
    """Bin of each value, ascending with it.

    values : Numbers [E], no NaN
    returns: int64 [E], 0 <= bin < BIN_COUNT

    >>> bins_of(np.array([0.0, 1.0, -1.0])).tolist()
    [4096, 5498, 2694]
    """
    magnitude = np.abs(values)
    with np.errstate(divide="ignore", over="ignore"):
        index = np.ceil(np.log(magnitude) / _LOG_GAMMA)
    tiny = index < -_INDEX_MAX
    np.clip(index, -_INDEX_MAX, _INDEX_MAX, out=index)
    shifted = index.astype(np.int64) + _SHIFT
    np.negative(shifted, out=shifted, where=values < 0)
    shifted[tiny] = 0
    shifted += _ZERO
    return shifted


def values_of(bins: NDArray[np.integer]) -> Numbers:
    """The value that stands for each bin: within `RELATIVE_ACCURACY` of all that fell into it."""
    offset = np.asarray(bins, dtype=np.int64) - _ZERO
    index = np.abs(offset) - _SHIFT
    value = 2.0 * np.power(GAMMA, index.astype(np.float64)) / (GAMMA + 1.0)
    result: Numbers = np.where(offset == 0, 0.0, np.copysign(value, offset))
    return result


def quantiles_of(keys: Rows, counts: Counts, series_count: int, q: Sequence[float]) -> Numbers:
    """Quantiles of each series from its bins; NaN where a series has none.

    keys   : ascending, `series * BIN_COUNT + bin`
    counts : Counts, how many values each bin holds, > 0
    q      : between 0 and 1; the value at rank floor(q * (n - 1)) is taken, as in the paper
    returns: Numbers [S, len(q)]

    >>> quantiles_of(np.array([5498, 5567]), np.array([1, 3]), 1, [0.0, 1.0]).round(3).tolist()
    [[0.99, 3.935]]
    """
    result = np.full((series_count, len(q)), np.nan)
    if len(keys) == 0:
        return result
    bounds = np.searchsorted(keys, np.arange(series_count + 1, dtype=np.int64) * BIN_COUNT)
    cumulative = np.concatenate([[0], np.cumsum(counts)])
    before = cumulative[bounds[:-1]]
    size = cumulative[bounds[1:]] - before
    filled = size > 0
    values = values_of(keys & (BIN_COUNT - 1))
    for column, share in enumerate(q):
        rank = before + np.floor(share * np.maximum(size - 1, 0)).astype(np.int64) + 1
        position = np.searchsorted(cumulative[1:], rank[filled], side="left")
        result[filled, column] = values[position]
    return result
