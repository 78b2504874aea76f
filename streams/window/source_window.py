"""The windows of one source in one partition of the partials: accept, seal, store, restart.

The rules, as in docs/architecture.md:

5. For (source partition, series, bucket) a row replaces another if it includes a higher source offset;
   rows of buckets that are final, or below the watermark their source partition has announced, are ignored.
6. Buckets below S, the smallest watermark of the source partitions that are not idle, are final. They are
   sealed in ascending order: windows take them in, and their blocks must be durable before the partials
   offset is committed of the first row, or watermark, that still matters.
7. A restart loads the blocks and reads from that offset; every bucket up to the highest block is final.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from detectors.slo.slo import Slo
from streams.partials.frame import Frame
from streams.partials.points import PointTable
from streams.partials.table import Table
from streams.plan.outcomes import outcomes_rollup
from streams.plan.plan import BUCKET_MS, NEVER, SourcePlan
from streams.window.blocks import TOTALS_LEVEL, Block
from streams.window.counters import COUNTER_LOOKBACK_MS
from streams.window.rings import LEVEL_SLOT_MS
from streams.window.rollup_window import HOUR_BUCKETS, RollupWindow

PIN_BUCKETS = 30
"""Every so many buckets a block is stored even if it is empty, also in a silence: a restart then knows how
far buckets were final, and calendar periods end in time."""

COUNTER_BUCKETS = -(-COUNTER_LOOKBACK_MS // BUCKET_MS) + 1
"""Buckets whose points a counter may need to tell its next increase."""

_WIDTHS = tuple(slot_ms // BUCKET_MS for slot_ms in LEVEL_SLOT_MS)


@dataclass(frozen=True, slots=True)
class SealedRows:
    """What the windows took in with one sealed bucket, and the slots of coarser levels that ended with it."""

    bucket: int
    tables: Sequence[Table]
    points: Sequence[PointTable]
    ended: Sequence[Block]


class SourceWindow:
    """State of one source in one partition of the partials.

    slos       : those of this source; their rollups keep slices and calendar periods
    partitions : number of the source topic's partitions
    """

    def __init__(self, plan: SourcePlan, slos: Sequence[Slo], partitions: int) -> None:
        self.plan = plan
        self.partitions = partitions
        by_rollup = {slo.rollup: slo for slo in slos}
        rollups = (outcomes_rollup(plan.name), *plan.rollups)
        self.rollups = {
            rollup.name: RollupWindow(
                rollup,
                by_rollup.get(rollup.name),
                4 * (rollup.series_count_max or plan.series_count_max),
            )
            for rollup in rollups
        }
        self.sealed = NEVER
        """Buckets below it are final."""
        self.watermarks: dict[int, int] = {}
        self.newest: dict[int, int] = {}
        self.offsets: dict[int, int] = {}
        self.idle: set[int] = set()
        self.late_after_idle = 0
        """Rows of partitions that woke with buckets which had been sealed without them."""
        self._passed: set[int] = set()
        self._first: dict[int, int] = {}
        self._announced: dict[int, int] = {}
        """Where in the partials log each source partition's watermark was announced first."""
        self._stored = self._pinned = NEVER
        """Buckets below them are final to a restart: once their blocks are durable, and already."""
        self._last_bucket: int | None = None

    def accept(self, frame: Frame, offset: int) -> None:
        """Take in a frame, which lies at `offset` of the partials log."""
        partition = frame.partition
        known = self.watermarks.get(partition, NEVER)
        first = max(self.sealed, known)
        for table in frame.tables:
            window = self.rollups.get(table.rollup)
            if window is None or table.payload.counts.shape[1] != len(window.rollup.measures):
                continue  # counted under another configuration
            if partition in self._passed and known < self.sealed:
                self.late_after_idle += int(
                    np.count_nonzero(table.bucket[table.bucket >= known] < self.sealed)
                )
            for bucket in window.accept(partition, frame.offset, table, first):
                self._first.setdefault(bucket, offset)
        for points in frame.points:
            window = self.rollups.get(points.rollup)
            if window is None or points.measure_count != len(window.rollup.measures):
                continue  # counted under another configuration
            for bucket in window.accept_points(points, first):
                self._first.setdefault(bucket, offset)
        for row in frame.exemplars:
            if row.rollup in self.rollups:
                self.rollups[row.rollup].note_exemplar(row)
        if frame.watermark is not None:
            if frame.watermark > known:
                self._announced[partition] = offset
            self.watermarks[partition] = max(known, frame.watermark)
        self.newest[partition] = max(self.newest.get(partition, NEVER), frame.newest)
        self.offsets[partition] = max(self.offsets.get(partition, 0), frame.offset)
        if frame.idle:
            self.idle.add(partition)
        else:
            self.idle.discard(partition)

    def final_below(self) -> int:
        """S: buckets below it can be sealed."""
        waiting = [p for p in range(self.partitions) if p not in self.idle]
        if not waiting:
            return self.sealed
        return max(self.sealed, min(self.watermarks.get(p, NEVER) for p in waiting))

    def needed_from(self, below: int, at: int) -> int:
        """Partials offset of the first row that matters once buckets below `below` are sealed.

        So does a watermark above what the blocks tell: an aggregate that has restarted may report events of a
        bucket below it which were late, since it does not know what came before.
        """
        rows = (offset for bucket, offset in self._first.items() if bucket >= below)
        watermarks = (
            self._announced[partition]
            for partition, watermark in self.watermarks.items()
            if watermark > self._pinned
        )
        return min(chain(rows, watermarks), default=at)

    def confirm(self, below: int) -> None:
        """Buckets below `below` are durable."""
        self.sealed = max(self.sealed, below)
        self._pinned = self._stored
        self._passed = {p for p in self.idle if self.watermarks.get(p, NEVER) < below}
        self._first = {b: z for b, z in self._first.items() if b >= below}
        for window in self.rollups.values():
            window.drop_sealed(below)

    def load(self, blocks: Sequence[Block]) -> int | None:
        """Fill the state from stored blocks, given in ascending order of level and slot.

        Returns the newest bucket that is stored, None where none is.
        """
        latest = max((block.slot for block in blocks if block.level == 0), default=None)
        if latest is None:
            return None
        for block in blocks:
            for table in block.tables:
                window = self.rollups.get(table.rollup)
                if window is None or table.payload.counts.shape[1] != 3 * window.counter_count:
                    continue  # counted under another configuration
                if block.level == TOTALS_LEVEL:
                    window.load_totals(table, latest)
                else:
                    window.load(block.level, block.slot, table, latest)
            if block.level == 0 and block.slot > latest - COUNTER_BUCKETS:
                for name, tables in _by_rollup(block.points).items():
                    if name in self.rollups:
                        self.rollups[name].load_points(tables)
        for window in self.rollups.values():
            window.finish_load(latest)
        self.sealed = self._stored = self._pinned = latest + 1
        self._last_bucket = latest
        return latest

    def live_end(self) -> int | None:
        """Bucket after the newest one that any partition has reported; None before any event."""
        newest = max(self.newest.values(), default=NEVER)
        if self._last_bucket is not None:
            newest = max(newest, self._last_bucket)
        return None if newest == NEVER else newest + 1

    def buckets_to_seal(self, below: int, quiet_buckets: Callable[[], float]) -> Iterator[int]:
        """Filled buckets and those of silences between them, ascending.

        To be gone through while they are sealed, since judging them may change what is asked.

        quiet_buckets : of how much of a silence each bucket is wanted, as of now
        """
        opened = {b for window in self.rollups.values() for b in window.open_buckets()}
        filled = sorted(b for b in opened if self.sealed <= b < below)
        if self._last_bucket is not None:
            start = self._last_bucket + 1
        elif filled:
            start = filled[0]
        else:
            return
        for bucket in [*filled, below]:
            quiet = max(start, self.sealed)
            while quiet < bucket and quiet < start + quiet_buckets():
                yield quiet
                quiet += 1
            pinned = bucket // PIN_BUCKETS * PIN_BUCKETS - 1
            if pinned >= quiet:
                yield pinned  # of all that could be stored of a long silence the last tells as much
            if bucket < below:
                yield bucket
            start = bucket + 1

    def seal_bucket(self, bucket: int) -> SealedRows:
        """Take a final bucket into the windows."""
        ended = list(self._completed_slots(bucket))
        tables: list[Table] = []
        points: list[PointTable] = []
        for window in self.rollups.values():
            table, counter_points = window.seal(bucket)
            if table is not None:
                tables.append(table)
            if counter_points is not None:
                points.append(counter_points)
        self._last_bucket = bucket
        return SealedRows(bucket, tables, points, ended)

    def blocks_of(
        self, rows: SealedRows, judged: Sequence[Block], state: bytes, *, moved: bool
    ) -> list[Block]:
        """What to store of a sealed bucket, in this order: coarser slots, what detectors know, the bucket.

        state : alerts as they stand after the bucket
        moved : whether they have changed with it, so that even an empty bucket is stored
        """
        blocks = [*rows.ended, *judged]
        if rows.tables or rows.points or moved or judged or (rows.bucket + 1) % PIN_BUCKETS == 0:
            blocks.append(Block(self.plan.name, 0, rows.bucket, rows.tables, state, rows.points))
            self._stored = rows.bucket + 1
        return blocks

    def _completed_slots(self, bucket: int) -> Iterator[Block]:
        """Slots of coarser levels that end before `bucket`; stored before the block that follows them."""
        if self._last_bucket is None:
            return
        for level, width in enumerate(_WIDTHS):
            slot = self._last_bucket // width
            if level == 0 or slot == bucket // width:
                continue
            tables = [t for w in self.rollups.values() if (t := w.slot_table(level, slot)) is not None]
            if tables:
                yield Block(self.plan.name, level, slot, tables)
        if self._last_bucket // HOUR_BUCKETS != bucket // HOUR_BUCKETS:
            yield from self._changed_totals(self._last_bucket)

    def _changed_totals(self, latest: int) -> Iterator[Block]:
        """Shards of totals in which an hour has changed something, of all rollups together."""
        windows = self.rollups.values()
        shards = set().union(*(window.touched_shards() for window in windows))
        tables = [window.totals_tables(shards, latest) for window in windows]
        for shard in sorted(shards):
            mine = [by_shard[shard] for by_shard in tables if shard in by_shard]
            yield Block(self.plan.name, TOTALS_LEVEL, shard, mine)


def _by_rollup(points: Sequence[PointTable]) -> dict[str, list[PointTable]]:
    """A point of many rows may lie in two tables, and counts as a whole."""
    found: dict[str, list[PointTable]] = {}
    for table in points:
        found.setdefault(table.rollup, []).append(table)
    return found
