"""What one rollup of one source partition holds: the cells of its open buckets, cumulative.

`add` appends what a batch counted; `dirty_table` folds it in and gives the cells that changed since the
last acknowledged flush. Cells stay until their bucket is final and acknowledged. A rollup that forgets has an
index of its own, from which series are dropped, now and then, that no cell needs any more: since tables carry
names, that shows nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.arrays import Counts, EpochMs, Mask, Numbers, Rows
from streams.aggregate.exemplars import Exemplars
from streams.events.batch import Column, Strings
from streams.partials.cells import (
    SERIES_BITS,
    SERIES_LIMIT,
    Keys,
    cell_keys,
    count_keys,
    max_by_key,
    max_parts,
    split_cells,
    sum_marked,
    sum_parts,
    sum_rows,
)
from streams.partials.distinct import REGISTER_BITS, registers_of, value_hashes
from streams.partials.payload import Payload, Ragged
from streams.partials.points import PointRows, PointTable, Running, described
from streams.partials.series import SeriesIndex
from streams.partials.sketch import BIN_BITS, BIN_COUNT, bins_of
from streams.partials.table import Table
from streams.plan.plan import BUCKET_MS
from streams.plan.rollup import MICRO, Count, Rollup

_Value = TypeVar("_Value", bound=np.generic)
_Rest = TypeVar("_Rest")

DISTINCT_COLUMNS_MAX = BIN_COUNT >> REGISTER_BITS
"""Distinct columns a rollup may have; their registers share the bits that sketches use for bins."""

INDEX_MIN = 10_000
"""An index of so many series is not worth to be made smaller."""

_NO_KEYS: Keys = np.zeros(0, dtype=np.int64)
_NO_RANKS: NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)


class RollupState:
    """Cells, sketch bins and distinct registers of one rollup."""

    def __init__(
        self, rollup: Rollup, series_count_max: int, index: SeriesIndex, trace_id: str | None = None
    ) -> None:
        assert len(rollup.distinct) <= DISTINCT_COLUMNS_MAX
        self.rollup = rollup
        self.series_count_max = series_count_max
        self.folded_count = 0
        self.index = index
        self.exemplars = None if trace_id is None else Exemplars(index, trace_id, rollup.sketch)
        self._cells: tuple[Keys, Counts] = (_NO_KEYS, np.zeros((0, len(rollup.measures)), dtype=np.int64))
        self._fresh_cells: list[tuple[Keys, Counts]] = []
        self._bins: tuple[Keys, Counts] = (_NO_KEYS, _NO_KEYS)
        self._fresh_bins: list[tuple[Keys, Counts | None]] = []
        self._registers: tuple[Keys, NDArray[np.uint8]] = (_NO_KEYS, _NO_RANKS)
        self._fresh_registers: list[tuple[Keys, NDArray[np.uint8]]] = []
        self._dirty: Mask = np.zeros(0, dtype=np.bool_)
        self._fresh_points: list[PointRows] = []
        self._flying_points: list[PointRows] = []
        self._enough = INDEX_MIN

    def add(
        self,
        columns: Mapping[str, Column],
        time_ms: EpochMs,
        weight: Counts | None,
        running: Running | None = None,
    ) -> None:
        """Count rows that are on time.

        columns : of these rows
        time_ms : EpochMs [E], event time of each row
        weight  : Counts [E] or None for one each
        running : which rows are running totals, not counts; None if none are
        """
        if self.rollup.where is not None:
            keep = self.rollup.where.mask(columns, len(time_ms))
            if not keep.all():
                columns, time_ms = select_columns(columns, keep), time_ms[keep]
                weight = None if weight is None else weight[keep]
                running = None if running is None else running.select(keep)
        if len(time_ms) == 0:
            return
        bucket = time_ms // BUCKET_MS
        series = self.index.numbers(columns, len(bucket))
        if len(self.index) > self.series_count_max:
            series = self._fold(bucket, series)
        for position, name in enumerate(self.rollup.distinct):
            self._mark_distinct(columns.get(name), position, bucket, series)
        if running is not None:
            counted = running.rows["identity"] == 0
            self._note_points(
                select_columns(columns, ~counted),
                bucket[~counted],
                series[~counted],
                running.select(~counted),
            )
            if not counted.any():
                return
            columns, bucket, series = select_columns(columns, counted), bucket[counted], series[counted]
            time_ms, weight = time_ms[counted], None if weight is None else weight[counted]
        self._count(columns, bucket, series, weight)
        if self.rollup.sketch is not None:
            self._sketch(columns.get(self.rollup.sketch), bucket, series, weight)
        if self.exemplars is not None:
            errors = self.rollup.measure("errors").where
            bad = np.zeros(len(bucket), np.bool_) if errors is None else errors.mask(columns, len(bucket))
            self.exemplars.note(columns, time_ms, series, bad)

    def _note_points(
        self, columns: Mapping[str, Column], bucket: Rows, series: Rows, running: Running
    ) -> None:
        running.rows["series"] = series
        self._fresh_points.append(described(running, columns, self.rollup.measures, self.rollup.sketch))
        # a cell that counts nothing as yet, for what is told of cells: their number, and distinct values
        cells = np.unique(cell_keys(bucket, series))
        nothing = np.zeros((len(cells), len(self.rollup.measures)), dtype=np.int64)
        self._fresh_cells.append((cells, nothing))

    def dirty_points(self) -> PointTable | None:
        """Points since the last acknowledged flush; None if there are none."""
        self._flying_points += self._fresh_points
        self._fresh_points.clear()
        if not self._flying_points:
            return None
        rows = np.concatenate(self._flying_points)
        return PointTable(self.rollup.name, self.index.hashes, self.index.names, rows).select(rows)

    def _count(
        self, columns: Mapping[str, Column], bucket: Rows, series: Rows, weight: Counts | None
    ) -> None:
        measures: list[Counts | None] = []
        for measure in self.rollup.measures:
            mask = None if measure.where is None else measure.where.mask(columns, len(bucket))
            if isinstance(measure, Count):
                if mask is None:
                    measures.append(weight)
                else:
                    measures.append(mask.astype(np.int64) if weight is None else np.where(mask, weight, 0))
            else:
                measures.append(_micros(measure.numbers(columns, len(bucket)), mask))
        low = int(bucket.min())
        width = len(self.index)
        near, counts = sum_rows((bucket - low) * width + series, measures)
        self._fresh_cells.append((cell_keys(near // width + low, near % width), counts))

    def _sketch(self, column: Column | None, bucket: Rows, series: Rows, weight: Counts | None) -> None:
        if column is None or isinstance(column, Strings):
            return
        keep = ~np.isnan(column)
        if weight is not None:
            keep &= weight > 0
        if not keep.all():
            bucket, series, column = bucket[keep], series[keep], column[keep]
            weight = None if weight is None else weight[keep]
        keys = (cell_keys(bucket, series) << BIN_BITS) | bins_of(column)
        self._fresh_bins.append((keys, weight))

    def _mark_distinct(self, column: Column | None, position: int, bucket: Rows, series: Rows) -> None:
        if not isinstance(column, Strings):
            return
        present = column.codes >= 0
        register, rank = registers_of(value_hashes(column.values))
        codes = column.codes[present]
        # the column's position rides above the register, so that one table serves all distinct columns
        slot = (position << REGISTER_BITS) | register[codes]
        keys = (cell_keys(bucket[present], series[present]) << BIN_BITS) | slot
        self._fresh_registers.append(max_by_key(keys, rank[codes]))

    def _fold(self, bucket: Rows, series: Rows) -> Rows:
        """Send series beyond the first `series_count_max` of a bucket to `__other__`.

        Which series come first is told by the log alone, so that a replay folds alike.
        """
        other = self.index.other()
        keys = cell_keys(bucket, series)
        held = np.concatenate([self._cells[0], *(fresh for fresh, _ in self._fresh_cells)])
        distinct, at = np.unique(keys, return_index=True)
        new = distinct[~np.isin(distinct, held)]
        order = np.argsort(at[~np.isin(distinct, held)])
        rejected: list[int] = []
        for number in np.unique(new >> SERIES_BITS):
            mine = np.unique(held[(held >> SERIES_BITS) == number] & (SERIES_LIMIT - 1))
            room = max(0, self.series_count_max - int(np.count_nonzero(mine != other)))
            candidates = new[order][(new[order] >> SERIES_BITS) == number]
            candidates = candidates[(candidates & (SERIES_LIMIT - 1)) != other]
            rejected.extend(candidates[room:].tolist())
        if not rejected:
            return series
        folded = np.isin(keys, np.array(rejected, dtype=np.int64))
        self.folded_count += int(np.count_nonzero(folded))
        return np.where(folded, other, series)

    def dirty_table(self) -> Table | None:
        """Cells changed since the last acknowledged flush, cumulative; None if there are none.

        They stay dirty until `acknowledge`.
        """
        if self._fresh_cells:
            self._merge_cells()
            self._merge_bins()
            self._merge_registers()
        if not self._dirty.any():
            return None
        keys, counts = self._cells
        if not self._dirty.all():
            keys, counts = keys[self._dirty], counts[self._dirty]
        bucket, series = split_cells(keys)
        bins, registers = Ragged.of_keys(keys, *self._bins), Ragged.of_keys(keys, *self._registers)
        payload = Payload(counts, bins, registers)
        index = self.index
        return Table(self.rollup.name, index.hashes, index.names, series, bucket, payload).trimmed()

    def acknowledge(self, watermark: int) -> None:
        """What `dirty_table` gave is durable; buckets below `watermark` are final and may go."""
        self._flying_points.clear()
        first = watermark << SERIES_BITS
        self._cells = _from_key(self._cells, first)
        self._dirty = np.zeros(len(self._cells[0]), dtype=np.bool_)
        self._bins = _from_key(self._bins, first << BIN_BITS)
        self._registers = _from_key(self._registers, first << BIN_BITS)
        if self.rollup.forget_ms and len(self.index) > self._enough:
            self._let_go()

    def _let_go(self) -> None:
        """Drop series that nothing open refers to, if they are most of the index, and number the others anew.

        Their order stays, and so does that of the keys.
        """
        # bins and registers belong to cells
        cells = [self._cells[0], *(keys for keys, _ in self._fresh_cells)]
        used = np.unique(
            np.concatenate(
                [*(keys & (SERIES_LIMIT - 1) for keys in cells), *(p["series"] for p in self._fresh_points)]
            )
        )
        self._enough = max(INDEX_MIN, 2 * len(used))
        if len(self.index) <= self._enough:
            return
        numbers = np.full(len(self.index), -1, dtype=np.int64)
        numbers[used] = np.arange(len(used))
        self.index.keep(used)
        self._cells = _renamed(self._cells, numbers)
        self._fresh_cells = [_renamed(fresh, numbers) for fresh in self._fresh_cells]
        self._bins = _renamed(self._bins, numbers, BIN_BITS)
        self._fresh_bins = [_renamed(fresh, numbers, BIN_BITS) for fresh in self._fresh_bins]
        self._registers = _renamed(self._registers, numbers, BIN_BITS)
        self._fresh_registers = [_renamed(fresh, numbers, BIN_BITS) for fresh in self._fresh_registers]
        for rows in self._fresh_points:
            rows["series"] = numbers[rows["series"]]

    @property
    def fresh_row_count(self) -> int:
        """Rows added since the last flush, which bounds what the next one has to sort."""
        cells, bins = (sum(len(keys) for keys, _ in fresh) for fresh in (self._fresh_cells, self._fresh_bins))
        return cells + bins + sum(map(len, self._fresh_points))

    def _merge_cells(self) -> None:
        held, counts = self._cells
        fresh = np.concatenate([keys for keys, _ in self._fresh_cells])
        parts = [counts, *(counts for _, counts in self._fresh_cells)]
        self._fresh_cells.clear()
        marks = np.concatenate([self._dirty, np.ones(len(fresh), dtype=np.bool_)])
        keys, sums, self._dirty = sum_marked(np.concatenate([held, fresh]), np.concatenate(parts), marks)
        self._cells = (keys, sums)

    def _merge_bins(self) -> None:
        if not self._fresh_bins:
            return
        parts = [self._bins, *((keys, weight) for keys, weight in self._fresh_bins if weight is not None)]
        plain = [keys for keys, weight in self._fresh_bins if weight is None]
        if plain:
            parts.append(count_keys(np.concatenate(plain)))
        self._fresh_bins.clear()
        self._bins = sum_parts(parts)

    def _merge_registers(self) -> None:
        if self._fresh_registers:
            self._registers = max_parts([self._registers, *self._fresh_registers])
            self._fresh_registers.clear()


def _from_key(table: tuple[Keys, NDArray[_Value]], first: int) -> tuple[Keys, NDArray[_Value]]:
    """The part of a table whose keys are `first` or higher."""
    at = int(np.searchsorted(table[0], first))
    return table[0][at:], table[1][at:]


def _renamed(table: tuple[Keys, _Rest], numbers: Rows, low_bits: int = 0) -> tuple[Keys, _Rest]:
    """A table of cells, or a finer one with so many bits below them, whose series are called otherwise."""
    keys, rest = table
    bucket, series = split_cells(keys >> low_bits)
    return (cell_keys(bucket, numbers[series]) << low_bits) | (keys & ((1 << low_bits) - 1)), rest


def select_columns(columns: Mapping[str, Column], keep: Mask) -> dict[str, Column]:
    """The rows of `keep` of each column; dictionaries are shared."""
    return {
        name: Strings(column.codes[keep], column.values) if isinstance(column, Strings) else column[keep]
        for name, column in columns.items()
    }


def _micros(column: Numbers, mask: Mask | None) -> Counts:
    """Numbers in whole micro-units; missing values and masked rows are 0."""
    keep = np.isfinite(column)
    if mask is not None:
        keep &= mask
    limit = 2.0**62
    micros: Counts = np.rint(np.clip(np.where(keep, column, 0.0) * MICRO, -limit, limit)).astype(np.int64)
    return micros
