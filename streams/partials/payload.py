"""What rows of series carry, on the wire, in open buckets and stored: counts, sketch bins and registers.

A row has as many counts as its rollup has measures, but any number of bins and registers, which lie one
row's after the other's. Whoever takes, cuts or joins rows does it here, and keeps beside it what identifies
its rows: series, bucket, source offset.

Guarantee: what belongs to a row stays with it, in its order, whatever is done to the rows.
Cost: a few passes over the rows and entries that are taken; cutting copies nothing.

Axes: N rows, C counters, M entries of all rows together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, starmap
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.arrays import Counts, Rows
from streams.partials.cells import Keys
from streams.partials.sketch import BIN_BITS, BIN_COUNT

_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Ragged(Generic[_Value]):
    """A number of entries for each row: bins of its sketch, or registers of its distinct counts.

    per_row : Rows [N], entries of each row
    slots   : Rows [M], which bin or register an entry is, 0 <= slot < BIN_COUNT
    values  : [M], how many values a bin holds, or a register's rank
    """

    per_row: Rows
    slots: Rows
    values: NDArray[_Value]

    @classmethod
    def of_keys(cls, rows: Keys, keys: Keys, values: NDArray[_Value]) -> Ragged[_Value]:
        """The entries of some rows out of a table in which entries are found by key.

        rows : ascending, each once
        keys : ascending keys `row << BIN_BITS | slot`; those of other rows are left out
        """
        owners = keys >> BIN_BITS
        starts = np.searchsorted(owners, rows)
        per_row = np.searchsorted(owners, rows, side="right") - starts
        if int(per_row.sum()) < len(keys):
            entries = _entries(starts, per_row)
            keys, values = keys[entries], values[entries]
        return cls(per_row, keys & (BIN_COUNT - 1), values)

    def keys(self, rows: Keys) -> Keys:
        """Key `row << BIN_BITS | slot` of each entry.

        rows : Keys [N], what identifies each row
        """
        return (np.repeat(rows, self.per_row) << BIN_BITS) | self.slots

    def select(self, rows: Rows) -> Ragged[_Value]:
        """The given rows, in the given order."""
        per_row = self.per_row[rows]
        if not len(self.slots):
            return Ragged(per_row, self.slots, self.values)
        entries = _entries((np.cumsum(self.per_row) - self.per_row)[rows], per_row)
        return Ragged(per_row, self.slots[entries], self.values[entries])

    def cut(self, bounds: Sequence[int]) -> Iterator[Ragged[_Value]]:
        """The rows between each bound and the next."""
        ends = np.concatenate([[0], np.cumsum(self.per_row)])[bounds].tolist()
        for rows, entries in zip(_slices(bounds), _slices(ends), strict=True):
            yield Ragged(self.per_row[rows], self.slots[entries], self.values[entries])

    @classmethod
    def concatenate(cls, parts: Sequence[Ragged[_Value]]) -> Ragged[_Value]:
        """The rows of all parts, one part after the other."""
        return cls(
            np.concatenate([part.per_row for part in parts]),
            np.concatenate([part.slots for part in parts]),
            np.concatenate([part.values for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class Payload:
    """What N rows carry.

    counts    : Counts [N, C]
    bins      : sketch bins, and how many values each holds
    registers : HyperLogLog registers of all distinct columns, and their ranks
    """

    counts: Counts
    bins: Ragged[np.int64]
    registers: Ragged[np.uint8]

    def __len__(self) -> int:
        return len(self.counts)

    @classmethod
    def of_counts(cls, counts: Counts) -> Payload:
        """Rows that have counts only."""
        zeros, none = np.zeros(len(counts), dtype=np.int64), np.zeros(0, dtype=np.int64)
        return cls(counts, Ragged(zeros, none, none), Ragged(zeros, none, none.astype(np.uint8)))

    def select(self, rows: Rows) -> Payload:
        """The given rows, in the given order."""
        return Payload(self.counts[rows], self.bins.select(rows), self.registers.select(rows))

    def cut(self, bounds: Sequence[int]) -> Iterator[Payload]:
        """The rows between each bound and the next, without copies."""
        counts = (self.counts[rows] for rows in _slices(bounds))
        yield from map(Payload, counts, self.bins.cut(bounds), self.registers.cut(bounds))

    @classmethod
    def concatenate(cls, parts: Sequence[Payload]) -> Payload:
        """The rows of all parts, of which there is one at least, one part after the other."""
        return cls(
            np.concatenate([part.counts for part in parts]),
            Ragged.concatenate([part.bins for part in parts]),
            Ragged.concatenate([part.registers for part in parts]),
        )

    def sizes(self) -> Counts:
        """Bytes [N] that each row takes before it is compressed, at most."""
        held = self.bins.values
        bin_bytes = 10 if len(held) and int(held.max()) > np.iinfo(np.uint32).max else 6
        fixed = 8 * int(self.counts.shape[1])
        return fixed + bin_bytes * self.bins.per_row + 3 * self.registers.per_row


def _entries(starts: Rows, per_row: Rows) -> Rows:
    """Places of the entries of rows that begin at `starts`, one row's after the other's."""
    ends = np.cumsum(per_row)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - per_row), per_row) + np.arange(total)


def _slices(bounds: Sequence[int]) -> Iterator[slice]:
    return starmap(slice, pairwise(bounds))
