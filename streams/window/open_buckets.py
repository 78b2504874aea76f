"""What source partitions reported of buckets that are still open: replaced by offset, never added up twice.

Guarantee: for each (source partition, series, bucket) the row that includes the highest source offset
stands, however often and in whatever order rows arrive.
Cost: a row is kept as it came until its bucket is read; a bucket with many flushes is compacted then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, starmap

import numpy as np
from numpy.typing import NDArray

from models.arrays import Counts, Offsets, Rows
from streams.partials.cells import Keys, max_by_key, sum_by_key
from streams.partials.sketch import BIN_BITS

_PIECES_MAX = 8


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one bucket from one source partition, series by the window's own numbers.

    series : Rows [N]; offset : Offsets [N]; counts : Counts [N, C]; the rest as in `Table`
    """

    series: Rows
    offset: Offsets
    counts: Counts
    bins_per_row: Rows
    bins: Rows
    bin_counts: Counts
    registers_per_row: Rows
    registers: Rows
    ranks: NDArray[np.uint8]

    def take(self, rows: Rows) -> Piece:
        """The given ascending rows."""
        keep = np.zeros(len(self.series), dtype=np.bool_)
        keep[rows] = True
        bins, registers = np.repeat(keep, self.bins_per_row), np.repeat(keep, self.registers_per_row)
        return Piece(
            self.series[rows],
            self.offset[rows],
            self.counts[rows],
            self.bins_per_row[rows],
            self.bins[bins],
            self.bin_counts[bins],
            self.registers_per_row[rows],
            self.registers[registers],
            self.ranks[registers],
        )

    def cut(self, bounds: Rows) -> Iterator[Piece]:
        """The rows between each bound and the next."""
        bins_at = np.concatenate([[0], np.cumsum(self.bins_per_row)])[bounds].tolist()
        registers_at = np.concatenate([[0], np.cumsum(self.registers_per_row)])[bounds].tolist()
        for rows, bins, registers in zip(
            starmap(slice, pairwise(bounds.tolist())),
            starmap(slice, pairwise(bins_at)),
            starmap(slice, pairwise(registers_at)),
            strict=True,
        ):
            yield Piece(
                self.series[rows],
                self.offset[rows],
                self.counts[rows],
                self.bins_per_row[rows],
                self.bins[bins],
                self.bin_counts[bins],
                self.registers_per_row[rows],
                self.registers[registers],
                self.ranks[registers],
            )


@dataclass(frozen=True, slots=True)
class BucketTotal:
    """All of one bucket, over all source partitions.

    series : Rows [N], ascending
    counts : Counts [N, C]
    bins, bin_counts : ascending keys `series << BIN_BITS | bin`, and how many values each holds
    registers, ranks : the same for the registers of distinct counts
    """

    series: Rows
    counts: Counts
    bins: Keys
    bin_counts: Counts
    registers: Keys
    ranks: NDArray[np.uint8]


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
            result[piece.series] += piece.counts
        return result

    def bins_from(self, first: int) -> list[tuple[Keys, Counts]]:
        """Sketch bins of all open buckets from `first` on, unmerged."""
        return [_bins_of(piece) for piece in self._standing_from(first)]

    def registers_from(self, first: int) -> list[tuple[Keys, NDArray[np.uint8]]]:
        """Registers of all open buckets from `first` on, unmerged."""
        return [_registers_of(piece) for piece in self._standing_from(first)]

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
            none = np.zeros(0, dtype=np.int64)
            return BucketTotal(
                none,
                np.zeros((0, self.counter_count), dtype=np.int64),
                none,
                none,
                none,
                np.zeros(0, dtype=np.uint8),
            )
        series, counts = sum_by_key(
            np.concatenate([piece.series for piece in standing]),
            np.concatenate([piece.counts for piece in standing]),
        )
        bins, bin_counts = merge_bins([_bins_of(piece) for piece in standing])
        registers, ranks = merge_registers([_registers_of(piece) for piece in standing])
        return BucketTotal(series, counts, bins, bin_counts, registers, ranks)


def merge_bins(parts: Sequence[tuple[Keys, Counts]]) -> tuple[Keys, Counts]:
    """Sketches merged by addition."""
    return sum_by_key(
        np.concatenate([keys for keys, _ in parts]), np.concatenate([counts for _, counts in parts])
    )


def merge_registers(
    parts: Sequence[tuple[Keys, NDArray[np.uint8]]],
) -> tuple[Keys, NDArray[np.uint8]]:
    """Distinct counts merged by maximum."""
    return max_by_key(
        np.concatenate([keys for keys, _ in parts]), np.concatenate([ranks for _, ranks in parts])
    )


def _bins_of(piece: Piece) -> tuple[Keys, Counts]:
    return (np.repeat(piece.series, piece.bins_per_row) << BIN_BITS) | piece.bins, piece.bin_counts


def _registers_of(piece: Piece) -> tuple[Keys, NDArray[np.uint8]]:
    return (np.repeat(piece.series, piece.registers_per_row) << BIN_BITS) | piece.registers, piece.ranks


def _latest(pieces: Sequence[Piece]) -> Piece:
    """Of the rows for one series the one with the highest offset; of equal ones the last to arrive."""
    joined = Piece(
        series=np.concatenate([p.series for p in pieces]),
        offset=np.concatenate([p.offset for p in pieces]),
        counts=np.concatenate([p.counts for p in pieces]),
        bins_per_row=np.concatenate([p.bins_per_row for p in pieces]),
        bins=np.concatenate([p.bins for p in pieces]),
        bin_counts=np.concatenate([p.bin_counts for p in pieces]),
        registers_per_row=np.concatenate([p.registers_per_row for p in pieces]),
        registers=np.concatenate([p.registers for p in pieces]),
        ranks=np.concatenate([p.ranks for p in pieces]),
    )
    order = np.lexsort((joined.offset, joined.series))  # stable: arrival breaks ties
    ordered = joined.series[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    return joined.take(np.sort(order[last]))
