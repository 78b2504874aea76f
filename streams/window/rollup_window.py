"""One rollup of one partition of the partials: open buckets, rings, sketches and running totals.

`accept` takes rows of open buckets, `seal` closes a bucket and moves the windows over it. What `seal`
returns is what a restart needs to come back to the same state.

A rollup that forgets is one of names that come and go: a series that has been silent for longer than
`silence` buckets starts over when it returns. So nothing tells when the silent ones are let go, which happens
now and then, and series are numbered anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence, Set
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detectors.slo.slo import Slo
from models.arrays import Counts, Hashes, Numbers, Rows
from models.calendar.units import HOUR_MS
from streams.partials.cells import Keys, max_by_key, max_parts, sum_by_key, sum_parts
from streams.partials.distinct import REGISTER_BITS, REGISTER_COUNT, estimates_of
from streams.partials.frame import ExemplarRow
from streams.partials.payload import Payload, Ragged
from streams.partials.points import PointRows, PointTable, contributions
from streams.partials.sketch import BIN_BITS, BIN_COUNT
from streams.partials.table import Table
from streams.plan.plan import BUCKET_MS
from streams.plan.rollup import Rollup
from streams.window.open_buckets import BucketTotal, OpenBuckets, Piece
from streams.window.open_points import OpenPoints
from streams.window.rings import LEVEL_SLOT_MS, Rings, window_start
from streams.window.series_table import SeriesTable
from streams.window.sketches import narrow, renamed
from streams.window.slices import judge_slices
from streams.window.totals import KEPT_BUCKETS, Totals, shards_of

SKETCH_WINDOW_MS_MAX = HOUR_MS
"""Quantiles and distinct counts are kept for windows up to an hour; longer ones have exact counts only."""

SILENT_MIN = 1_000
"""So many silent series are not worth to be let go."""

HOUR_BUCKETS = LEVEL_SLOT_MS[2] // BUCKET_MS


class RollupWindow:
    """State of one rollup.

    Counters along C: the rollup's measures, then good and total slices where its SLO is judged by slices.
    """

    def __init__(self, rollup: Rollup, slo: Slo | None, series_count_max: int) -> None:
        self.rollup = rollup
        self.slo = slo
        self.sliced = slo is not None and slo.budgeting != "Occurrences"
        self.counter_count = len(rollup.measures) + (2 if self.sliced else 0)
        self.table = SeriesTable(series_count_max)
        self.rings = Rings(rollup.windows_ms, self.counter_count)
        self.open = OpenBuckets(len(rollup.measures))
        self.points = OpenPoints(len(rollup.measures))
        self.totals = Totals(self.counter_count, rollup.calendar)
        self.newest = -1
        """The last sealed bucket with counts, or the end of a stored slot with some; -1 for none."""
        self.exemplars: dict[int, ExemplarRow] = {}
        """Latest exemplar of a series, by its number; not stored."""
        self._slice: Counts = np.zeros((0, 2), dtype=np.int64)
        self._judged = [rollup.measure_index(name) for name in ("good", "total")] if self.sliced else []
        self._sketch_windows = [w for w in rollup.windows_ms if w <= SKETCH_WINDOW_MS_MAX]
        self._kept = max(self._sketch_windows, default=0) // BUCKET_MS
        self._sketches: deque[tuple[int, Keys, Counts]] = deque()
        self._registers: deque[tuple[int, Keys, NDArray[np.uint8]]] = deque()
        self.silence: int | None = None
        """Buckets for which a series may be silent before it is forgotten; None for ever."""
        if rollup.forget_ms and slo is None:
            # what windows and the stored totals of an hour still tell is never forgotten
            slot_ms = LEVEL_SLOT_MS[len(self.rings.levels) - 1]
            self.silence = HOUR_BUCKETS
            self.retain_silent(max(rollup.forget_ms, max(rollup.windows_ms) + slot_ms) // BUCKET_MS)

    @property
    def series_count(self) -> int:
        return len(self.table)

    @property
    def _sealed_end(self) -> int:
        """Buckets below it are sealed; 0 where none is."""
        return self.rings.end if self.rings.end is not None else 0

    @property
    def budget_columns(self) -> tuple[int, int]:
        """Which counters are (good, total) of the SLO's budget."""
        if self.sliced:
            return self.counter_count - 2, self.counter_count - 1
        return self.rollup.measure_index("good"), self.rollup.measure_index("total")

    def accept(self, partition: int, offset: int, table: Table, first: int) -> list[int]:
        """Take the rows of a frame whose buckets are `first` or later; returns these buckets."""
        numbers = self._numbers(table.hashes, table.names)[table.series]
        rows = Piece(numbers, np.full(len(table), offset, dtype=np.int64), table.payload)
        bucket = table.bucket
        keep = (bucket >= first) & (numbers >= 0)
        if not keep.all():
            rows, bucket = rows.select(np.flatnonzero(keep)), bucket[keep]
        # a flush has its rows in ascending order of buckets, so that few pieces hold them
        starts = np.flatnonzero(np.diff(bucket, prepend=-1))
        buckets: list[int] = bucket[starts].tolist()
        for number, piece in zip(buckets, rows.cut([*starts.tolist(), len(bucket)]), strict=True):
            self.open.replace(partition, number, piece)
        return buckets

    def accept_points(self, table: PointTable, first: int) -> list[int]:
        """Take the points of a frame whose buckets are `first` or later; returns these buckets."""
        rows = table.rows.copy()
        rows["series"] = self._numbers(table.hashes, table.names)[rows["series"]]
        keep = (rows["series"] >= 0) & (rows["time_ms"] >= first * BUCKET_MS)
        return self.points.add(rows[keep])

    def open_buckets(self) -> set[int]:
        """Buckets of which something is held."""
        return self.open.buckets() | self.points.buckets()

    def note_exemplar(self, row: ExemplarRow) -> None:
        """Keep the latest exemplar of a series that is known."""
        number = self.table.number(row.key)
        if number is not None:
            self.exemplars[number] = row

    def seal(self, bucket: int) -> tuple[Table | None, PointTable | None]:
        """Close a bucket: windows, totals and slices take it in. Returns its stored form, None where empty.

        Buckets come in ascending order; those without rows may be left out, except that slices are only
        judged where `seal` is called for the bucket that ends them.
        """
        rows, increase = self.points.close(bucket)
        total = self._with_points(self.open.total(bucket), rows, increase)
        series, counts = self._with_slices(bucket, total)
        self.rings.push(bucket, series, counts)
        self.totals.make_room(self.series_count)
        if self.silence is not None:
            self.totals.begin_anew(series[self.totals.last_bucket[series] < bucket - self.silence])
        self.totals.add(bucket, series, counts)
        if len(series):
            self.newest = bucket
        self._note_distributions(bucket, total.bins, total.registers)
        self._expire(bucket + 1)
        table = self._stored(bucket, series, counts, total) if len(series) else None
        points = None
        if len(rows):
            points = PointTable(self.rollup.name, self.table.hashes, self.table.names, rows).select(rows)
        self._let_go(max(SILENT_MIN, (self.series_count + 1) // 2))
        return table, points

    def drop_sealed(self, end: int) -> None:
        """Buckets below `end` are durable and need not be held any longer."""
        self.open.drop_below(end)
        self.points.drop_below(end)

    def load_points(self, tables: Sequence[PointTable]) -> None:
        """Let counters go on from the stored points of a bucket; buckets come in ascending order."""
        self.points.load(np.concatenate([table.rows for table in tables]))

    def slot_table(self, level: int, slot: int) -> Table | None:
        """Stored form of a complete slot of a coarser level, or None if it is empty or not kept."""
        if level >= len(self.rings.levels):
            return None
        series, counts = self.rings.slot_rows(level, slot)
        return self._stored(slot, series, counts, None) if len(series) else None

    def load(self, level: int, slot: int, table: Table, latest: int) -> None:
        """Put back a stored slot; `latest` is the highest stored bucket.

        Slots are loaded in ascending order within a level; `finish_load` completes the state.
        """
        width = LEVEL_SLOT_MS[level] // BUCKET_MS
        last_bucket = (slot + 1) * width - 1
        in_ring = level < len(self.rings.levels) and self._reaches(level, slot, latest)
        if not in_ring and last_bucket < self._oldest(latest):
            return
        numbers = self.table.numbers(table.hashes, table.names)[table.series]
        known = numbers >= 0
        payload = table.payload
        if not known.all():
            numbers, payload = numbers[known], payload.select(np.flatnonzero(known))
        counts, totals = payload.counts[:, : self.counter_count], payload.counts[:, self.counter_count :]
        self.totals.make_room(self.series_count)
        if level == 0 or self.silence is None:
            # a coarser slot does not tell the bucket of the last counts, but the totals stored apart do
            self.totals.load(numbers, totals, np.full(len(numbers), last_bucket), latest)
        self.newest = max(self.newest, last_bucket)
        if in_ring and (level == 0 or slot < latest // width):
            self.rings.load(level, slot, numbers, counts)
        if self.sliced and level == 0 and slot >= max(self._slice_start(latest), latest + 1 - HOUR_BUCKETS):
            self._make_slice_room()
            self._slice[numbers] += counts[:, self._judged]
        if level == 0:
            # a bucket also fills the open slots of coarser levels, which are stored once complete
            for coarser, spec in enumerate(self.rings.levels[1:], 1):
                if slot // spec.width == latest // spec.width:
                    self.rings.load(coarser, slot // spec.width, numbers, counts)
        if level == 0:
            bins, registers = payload.bins, payload.registers
            self._note_distributions(
                slot,
                sum_by_key(bins.keys(numbers), bins.values),
                max_by_key(registers.keys(numbers), registers.values),
            )

    def _note_distributions(
        self, bucket: int, bins: tuple[Keys, Counts], registers: tuple[Keys, NDArray[np.uint8]]
    ) -> None:
        if len(bins[0]):
            self._sketches.append((bucket, *narrow(*bins)))
        if len(registers[0]):
            self._registers.append((bucket, *registers))

    def totals_tables(self, shards: Set[int], latest: int) -> dict[int, Table]:
        """Totals of all series of some shards once the bucket `latest` is sealed, to be stored apart."""
        shard = shards_of(self.table.hashes[: len(self.totals.ever)])
        oldest = 0 if self.silence is None else max(self._oldest(latest), 0)
        tables = {}
        for number in shards:
            series = np.flatnonzero((shard == number) & (self.totals.last_bucket >= oldest))
            if len(series):
                none = np.zeros((len(series), self.counter_count), dtype=np.int64)
                tables[number] = self._stored(self.totals.last_bucket[series], series, none, None)
        self.totals.settle(latest)
        return tables

    def touched_shards(self) -> set[int]:
        """Shards of totals that have changed since they were stored."""
        return set(shards_of(self.table.hashes[self.totals.touched()]).tolist())

    def load_totals(self, table: Table, latest: int) -> None:
        """Put back what `totals_tables` gave."""
        recent = table.select(np.flatnonzero(table.bucket >= self._oldest(latest)))
        numbers = self.table.numbers(recent.hashes, recent.names)[recent.series]
        known = numbers >= 0
        self.totals.make_room(self.series_count)
        totals = recent.payload.counts[known, self.counter_count :]
        self.totals.load(numbers[known], totals, recent.bucket[known], latest)

    def _oldest(self, latest: int) -> int:
        """The bucket before which a series' last counts must not lie, lest it be forgotten."""
        return latest - (KEPT_BUCKETS if self.silence is None else self.silence)

    def _reaches(self, level: int, slot: int, latest: int) -> bool:
        """Whether a ring that ends after the bucket `latest` holds a slot."""
        spec = self.rings.levels[level]
        return latest // spec.width - spec.slot_count < slot

    def finish_load(self, latest: int) -> None:
        """All stored slots are loaded; windows end after the bucket `latest`."""
        self.rings.rebuild(latest + 1)
        self._expire(latest + 1)
        self.totals.make_room(self.series_count)
        self.totals.settle(latest // HOUR_BUCKETS * HOUR_BUCKETS - 1)
        if self.sliced:
            # buckets of the last hour have been added as they were loaded
            self._make_slice_room()
            older = self.rings.between(self._slice_start(latest), latest + 1 - HOUR_BUCKETS)
            self._slice[: len(older)] += older[:, self._judged]

    def _slice_start(self, latest: int) -> int:
        """First bucket of the slice that is open once the bucket `latest` is sealed."""
        assert self.slo is not None
        width = self.slo.slice_ms // BUCKET_MS
        return (latest + 1) // width * width

    def _make_slice_room(self) -> None:
        missing = self.series_count - len(self._slice)
        if missing > 0:
            self._slice = np.pad(self._slice, ((0, missing), (0, 0)))

    def live_sums(self, end: int) -> Counts:
        """Sums of the windows that end before `end`, open buckets included : Counts [W, S, C]."""
        oldest = max(self._sealed_end, min(self.open.buckets(), default=end))
        starts = [max(oldest, window_start(window, end)) for window in self.rollup.windows_ms]
        # where a source partition lags, open buckets may reach back beyond the shorter windows
        counts = {first: self.open.counts_from(first, self.series_count) for first in set(starts)}
        open_counts = np.zeros((len(starts), self.series_count, self.counter_count), dtype=np.int64)
        for index, first in enumerate(starts):
            open_counts[index, :, : self.open.counter_count] = counts[first]
        return self.rings.sums_at(end, open_counts)

    def live_totals(self) -> Counts:
        """Counts since ever, open buckets included : Counts [S, C]."""
        result = np.zeros((self.series_count, self.counter_count), dtype=np.int64)
        result[: len(self.totals.ever)] = self.totals.ever
        result[:, : self.open.counter_count] += self.open.counts_from(self._sealed_end, self.series_count)
        return result

    def sketch_parts(self, window_ms: int, end: int) -> list[tuple[Keys, Counts]]:
        """Sketches of the buckets in a window, open ones included, to be merged elsewhere."""
        start = window_start(window_ms, end)
        return self.sealed_sketch(start) + self.open.bins_from(max(self._sealed_end, start))

    def distinct_counts(self, position: int, window_ms: int, end: int) -> Numbers:
        """Estimated distinct values of the rollup's distinct column : Numbers [S]."""
        start = window_start(window_ms, end)
        opened = self.open.registers_from(max(self._sealed_end, start))
        return self._distinct(position, self._sealed_registers(start) + opened)

    def sealed_sketch(self, start: int) -> list[tuple[Keys, Counts]]:
        """Sketches of the sealed buckets from `start` on, to be merged elsewhere."""
        return [(keys, counts) for bucket, keys, counts in self._sketches if bucket >= start]

    def sealed_distinct(self, position: int, start: int) -> Numbers:
        """`distinct_counts` of the sealed buckets from `start` on : Numbers [S]."""
        return self._distinct(position, self._sealed_registers(start))

    def _sealed_registers(self, start: int) -> list[tuple[Keys, NDArray[np.uint8]]]:
        return [(keys, ranks) for bucket, keys, ranks in self._registers if bucket >= start]

    def retain_buckets(self, buckets: int) -> None:
        """Keep sketches and distinct values of at least so many sealed buckets."""
        self._kept = max(self._kept, buckets)
        self.retain_silent(buckets)

    def retain_silent(self, buckets: int) -> None:
        """Forget no series that has been silent for only so many buckets."""
        if self.silence is not None:
            self.silence = max(self.silence, buckets)

    def _distinct(self, position: int, parts: Sequence[tuple[Keys, NDArray[np.uint8]]]) -> Numbers:
        if not parts:
            return np.zeros(self.series_count)
        keys, ranks = max_parts(parts)
        series, slot = keys >> BIN_BITS, keys & (BIN_COUNT - 1)
        mine = slot >> REGISTER_BITS == position
        merged = (series[mine] << REGISTER_BITS) | (slot[mine] & (REGISTER_COUNT - 1))
        return estimates_of(merged, ranks[mine], self.series_count)

    def _with_points(self, total: BucketTotal, rows: PointRows, increase: Numbers) -> BucketTotal:
        """The bucket with the increases of its counters."""
        if len(rows) == 0:
            return total
        counts, bins, bin_counts = contributions(rows, increase, self.rollup.measures)
        series, sums = sum_parts([(total.series, total.counts), (rows["series"], counts)])
        merged = sum_parts([total.bins, (bins, bin_counts)])
        return BucketTotal(series, sums, merged, total.registers)

    def _with_slices(self, bucket: int, total: BucketTotal) -> tuple[Rows, Counts]:
        if not self.sliced:
            return total.series, total.counts
        assert self.slo is not None
        self._make_slice_room()
        self._slice[total.series] += total.counts[:, self._judged]
        counts = np.zeros((self.series_count, self.counter_count), dtype=np.int64)
        counts[total.series, : len(self.rollup.measures)] = total.counts
        if (bucket + 1) * BUCKET_MS % self.slo.slice_ms == 0:
            good, whole = self.budget_columns
            counts[:, good], counts[:, whole] = judge_slices(self._slice, self.slo)
            self._slice[:] = 0
        series = np.flatnonzero(counts.any(axis=1))
        return series, counts[series]

    def _stored(self, slot: int | Rows, series: Rows, counts: Counts, total: BucketTotal | None) -> Table:
        payload = Payload.of_counts(np.concatenate([counts, self.totals.stored(series)], axis=1))
        if total is not None:
            bins, registers = Ragged.of_keys(series, *total.bins), Ragged.of_keys(series, *total.registers)
            payload = replace(payload, bins=bins, registers=registers)
        return Table(
            rollup=self.rollup.name,
            hashes=self.table.hashes[series],
            names=[self.table.names[i] for i in series.tolist()],
            series=np.arange(len(series)),
            bucket=np.full(len(series), slot, dtype=np.int64),
            payload=payload,
        )

    def _numbers(self, hashes: Hashes, names: Sequence[bytes]) -> Rows:
        """Numbers of reported series, for which the silent make room."""
        if self.table.room < len(hashes):
            self._let_go(1)
        return self.table.numbers(hashes, names)

    def _let_go(self, least: int) -> None:
        """Drop the series that are forgotten, if there are at least so many, and number the others anew."""
        if self.silence is None or self.rings.end is None:
            return
        silent = self.totals.last_bucket < self.rings.end - 1 - self.silence
        if np.count_nonzero(silent) < least:
            return
        keep = np.ones(self.series_count, dtype=np.bool_)
        keep[: len(silent)] = ~silent
        keep[self.open.series()] = True
        keep[self.points.series()] = True
        kept = np.flatnonzero(keep)
        if self.series_count - len(kept) < least:
            return
        numbers = np.where(keep, np.cumsum(keep) - 1, -1)
        self.table.keep(kept)
        self.rings.keep(kept)
        self.totals.keep(kept[kept < len(silent)])
        self.open.renumber(numbers)
        self.points.renumber(numbers)
        self.exemplars = {int(numbers[old]): row for old, row in self.exemplars.items() if keep[old]}
        self._sketches = deque((at, renamed(keys, numbers), counts) for at, keys, counts in self._sketches)
        self._registers = deque((at, renamed(keys, numbers), ranks) for at, keys, ranks in self._registers)

    def _expire(self, end: int) -> None:
        for kept in (self._sketches, self._registers):
            while kept and kept[0][0] < end - self._kept:
                kept.popleft()
