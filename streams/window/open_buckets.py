"""What source partitions reported of buckets that are still open: replaced by offset, never added up twice.

Guarantee: for each (source partition, series, bucket) the row that includes the highest source offset
stands, however often and in whatever order rows arrive.
Cost: a row is kept as it came until its bucket is read; a bucket with many flushes is compacted then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.arrays import Counts, Offsets, Rows
from streams.partials.cells import Keys, max_parts, sum_parts
from streams.partials.payload import Payload

_PIECES_MAX = 8


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one bucket from one source partition, series by the window's own numbers.

    series : Rows [N]; offset : Offsets [N]; payload : of the N rows
    """

    series: Rows
    offset: Offsets
    payload: Payload

    def select(self, rows: Rows) -> Piece:
        """The given rows, in the given order."""
        return Piece(self.series[rows], self.offset[rows], self.payload.select(rows))

    def cut(self, bounds: Sequence[int]) -> Iterator[Piece]:
        """The rows between each bound and the next."""
        for (start, stop), payload in zip(pairwise(bounds), self.payload.cut(bounds), strict=True):
            yield Piece(self.series[start:stop], self.offset[start:stop], payload)

    def bins(self) -> tuple[Keys, Counts]:
        """Keys `series << BIN_BITS | bin`, in no order, and how many values each bin holds."""
        return self.payload.bins.keys(self.series), self.payload.bins.values

    def registers(self) -> tuple[Keys, NDArray[np.uint8]]:
        """The same of the registers of distinct counts."""
        return self.payload.registers.keys(self.series), self.payload.registers.values


@dataclass(frozen=True, slots=True)
class BucketTotal:
    """All of one bucket, over all source partitions.

    series    : Rows [N], ascending
    counts    : Counts [N, C]
    bins      : ascending keys `series << BIN_BITS | bin`, and how many values each holds
    registers : the same of the registers of distinct counts
    """

    series: Rows
    counts: Counts
    bins: tuple[Keys, Counts]
    registers: tuple[Keys, NDArray[np.uint8]]


class OpenBuckets:
    """Open buckets of one rollup."""

    def __init__(self, counter_count: int) -> None:
        self.counter_count = counter_count
        self._pieces: dict[int, dict[int, list[Piece]]] = {}

    def replace(self, partition: int, bucket: int, piece: Piece) -> None:
        """Rows from a source partition for a bucket; of rows for one series the highest offset stands."""
        pieces = self._pieces.setdefault(bucket, {}).setdefault(partition, [])
        pieces.append(piece)
        if len(pieces) > _PIECES_MAX:
            pieces[:] = [_latest(pieces)]

    def buckets(self) -> set[int]:
        return set(self._pieces)

    def series(self) -> Rows:
        """Series of which rows are held, some of them more than once."""
        pieces = [piece.series for piece in self._all_pieces()]
        return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)

    def renumber(self, numbers: Rows) -> None:
        """Series are called otherwise from now on; those that are held keep their order.

        numbers : Rows [S], the new number of each series
        """
        for by_partition in self._pieces.values():
            for pieces in by_partition.values():
                pieces[:] = [replace(piece, series=numbers[piece.series]) for piece in pieces]

    def counts_from(self, first: int, series_count: int) -> Counts:
        """Counts of all open buckets from `first` on : Counts [S, C]."""
        result = np.zeros((series_count, self.counter_count), dtype=np.int64)
        for piece in self._standing_from(first):
            result[piece.series] += piece.payload.counts
        return result

    def bins_from(self, first: int) -> list[tuple[Keys, Counts]]:
        """Sketch bins of all open buckets from `first` on, unmerged."""
        return [piece.bins() for piece in self._standing_from(first)]

    def registers_from(self, first: int) -> list[tuple[Keys, NDArray[np.uint8]]]:
        """Registers of all open buckets from `first` on, unmerged."""
        return [piece.registers() for piece in self._standing_from(first)]

    def drop_below(self, bucket: int) -> None:
        self._pieces = {number: pieces for number, pieces in self._pieces.items() if number >= bucket}

    def _all_pieces(self) -> Iterator[Piece]:
        for by_partition in self._pieces.values():
            for pieces in by_partition.values():
                yield from pieces

    def _standing_from(self, first: int) -> Iterator[Piece]:
        for bucket in self._pieces:
            if bucket >= first:
                yield from self._standing(bucket)

    def _standing(self, bucket: int) -> Iterator[Piece]:
        """What stands of each source partition for a bucket."""
        for pieces in self._pieces.get(bucket, {}).values():
            if len(pieces) > 1:
                pieces[:] = [_latest(pieces)]
            yield pieces[0]

    def total(self, bucket: int) -> BucketTotal:
        """Sum over source partitions of what stands for a bucket."""
        standing = list(self._standing(bucket))
        if not standing:
            none, counts = np.zeros(0, dtype=np.int64), np.zeros((0, self.counter_count), dtype=np.int64)
            return BucketTotal(none, counts, (none, none), (none, none.astype(np.uint8)))
        return BucketTotal(
            *sum_parts([(piece.series, piece.payload.counts) for piece in standing]),
            bins=sum_parts([piece.bins() for piece in standing]),
            registers=max_parts([piece.registers() for piece in standing]),
        )


def _latest(pieces: Sequence[Piece]) -> Piece:
    """Of the rows for one series the one with the highest offset; of equal ones the last to arrive."""
    joined = Piece(
        np.concatenate([piece.series for piece in pieces]),
        np.concatenate([piece.offset for piece in pieces]),
        Payload.concatenate([piece.payload for piece in pieces]),
    )
    order = np.lexsort((joined.offset, joined.series))  # stable: arrival breaks ties
    ordered = joined.series[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    return joined.select(np.sort(order[last]))
