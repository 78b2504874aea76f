"""Sparse tables: sorted unique keys with a row of counts each, joined by addition or by maximum.

A table of a partition's open buckets holds what is there and nothing for what is not, so that a
thousand buckets of three series cost as little as three buckets of a thousand.

A key packs bucket and series (and, for sketches, the bin), so that one sort orders all of them:
bucket in the high bits, then series, then bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.arrays import Counts, Mask, Rows

SERIES_BITS = 21
"""A rollup may hold two million series per partition."""

BUCKET_BITS = 29
"""Bucket numbers of 10 s up to the year 2140."""

SERIES_LIMIT = 1 << SERIES_BITS
BUCKET_LIMIT = 1 << BUCKET_BITS

Keys: TypeAlias = NDArray[np.int64]

_DENSE_CELLS_MAX = 1 << 20


def cell_keys(bucket: Rows, series: Rows) -> Keys:
    """Key of each (bucket, series); ascending in both."""
    return (bucket << SERIES_BITS) | series


def split_cells(keys: Keys) -> tuple[Rows, Rows]:
    """(bucket, series) of each key of `cell_keys`."""
    return keys >> SERIES_BITS, keys & (SERIES_LIMIT - 1)


def sum_by_key(keys: Keys, counts: Counts) -> tuple[Keys, Counts]:
    """Rows with equal keys added up.

    keys   : Keys [N], in any order
    counts : Counts [N] or [N, C]
    returns: ascending unique keys [M], their sums [M] or [M, C]

    >>> sum_by_key(np.array([7, 3, 7]), np.array([1, 2, 3]))
    (array([3, 7]), array([2, 4]))
    """
    order, unique, starts = _runs(keys)
    return unique, np.add.reduceat(counts[order], starts, axis=0)


def sum_marked(keys: Keys, counts: Counts, marks: Mask) -> tuple[Keys, Counts, Mask]:
    """`sum_by_key`, and whether any row of a key is marked."""
    order, unique, starts = _runs(keys)
    sums = np.add.reduceat(counts[order], starts, axis=0)
    return unique, sums, np.logical_or.reduceat(marks[order], starts)


def count_keys(keys: Keys) -> tuple[Keys, Counts]:
    """How often each key occurs; a plain sort, cheaper than `sum_by_key` of ones.

    >>> count_keys(np.array([7, 3, 7]))
    (array([3, 7]), array([1, 2]))
    """
    ordered = np.sort(keys)
    starts = _starts(ordered)
    return ordered[starts], np.diff(starts, append=len(ordered))


def max_by_key(keys: Keys, ranks: NDArray[np.uint8]) -> tuple[Keys, NDArray[np.uint8]]:
    """The largest rank of each key."""
    order, unique, starts = _runs(keys)
    return unique, np.maximum.reduceat(ranks[order], starts)


def sum_parts(parts: Sequence[tuple[Keys, Counts]]) -> tuple[Keys, Counts]:
    """`sum_by_key` of several tables, at least one, together."""
    keys, counts = zip(*parts, strict=True)
    return sum_by_key(np.concatenate(keys), np.concatenate(counts))


def max_parts(parts: Sequence[tuple[Keys, NDArray[np.uint8]]]) -> tuple[Keys, NDArray[np.uint8]]:
    """`max_by_key` of several tables, at least one, together."""
    keys, ranks = zip(*parts, strict=True)
    return max_by_key(np.concatenate(keys), np.concatenate(ranks))


def sum_rows(keys: Keys, measures: Sequence[Counts | None]) -> tuple[Keys, Counts]:
    """Sum several measures of rows by key; None measures one a row.

    keys     : Keys [N], in any order; where they lie close together no sort is needed
    measures : C arrays Counts [N], or None
    returns  : ascending unique keys [M], Counts [M, C]
    """
    if len(keys) == 0:
        return keys, np.zeros((0, len(measures)), dtype=np.int64)
    low = int(keys.min())
    span = int(keys.max()) - low + 1
    if span <= min(_DENSE_CELLS_MAX, 4 * len(keys) + 4096):
        near = keys - low
        present = np.bincount(near, minlength=span)
        filled = np.flatnonzero(present)
        counts = np.zeros((len(filled), len(measures)), dtype=np.int64)
        for column, measure in enumerate(measures):
            if measure is None:
                counts[:, column] = present[filled]
            else:
                sums = np.zeros(span, dtype=np.int64)
                np.add.at(sums, near, measure)
                counts[:, column] = sums[filled]
        return filled + low, counts
    order, unique, starts = _runs(keys)
    counts = np.empty((len(starts), len(measures)), dtype=np.int64)
    for column, measure in enumerate(measures):
        if measure is None:
            counts[:, column] = np.diff(starts, append=len(keys))
        else:
            counts[:, column] = np.add.reduceat(measure[order], starts)
    return unique, counts


def distinct(values: Rows) -> Rows:
    """Distinct values, ascending; without a sort where they lie close together.

    >>> distinct(np.array([7, 3, 7])).tolist()
    [3, 7]
    """
    if len(values) == 0:
        return values
    low = int(values.min())
    span = int(values.max()) - low + 1
    if span > 4 * len(values) + 4096:
        return np.unique(values)
    present = np.zeros(span, dtype=np.bool_)
    present[values - low] = True
    return np.flatnonzero(present) + low


def renumber(values: Rows, limit: int) -> tuple[Rows, Rows]:
    """(distinct values, position of each value in them), for values in [0, limit).

    >>> renumber(np.array([7, 3, 7]), 8)
    (array([3, 7]), array([1, 0, 1]))
    """
    present = np.zeros(limit, dtype=np.bool_)
    present[values] = True
    used = np.flatnonzero(present)
    place = np.cumsum(present) - 1
    return used, place[values]


def member_mask(keys: Keys, of: Keys) -> NDArray[np.bool_]:
    """Which `keys` occur in the ascending array `of`."""
    if len(of) == 0:
        return np.zeros(len(keys), dtype=np.bool_)
    position = np.searchsorted(of, keys)
    position[position == len(of)] = 0
    result: NDArray[np.bool_] = of[position] == keys
    return result


def _runs(keys: Keys) -> tuple[Rows, Keys, Rows]:
    """(order that sorts the keys, ascending unique keys, where the run of each begins in that order)."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = _starts(ordered)
    return order, ordered[starts], starts


def _starts(ordered: Keys) -> NDArray[np.int64]:
    """First row of each run of equal keys."""
    change = np.empty(len(ordered), dtype=np.bool_)
    change[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=change[1:])
    return np.flatnonzero(change)
