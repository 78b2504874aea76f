"""The window stage of one source in one partition of the partials: accept, seal, judge, store, restart.

The rules, as in docs/architecture.md:

5. For (source partition, series, bucket) a row replaces another if it includes a higher source offset;
   rows of buckets that are final, or below the watermark their source partition has announced, are ignored.
6. Buckets below S, the smallest watermark of the source partitions that are not idle, are final. They are
   sealed in ascending order: windows take them in, SLOs are judged at their end, and their blocks must be
   durable before the partials offset is committed of the first row, or watermark, that still matters.
7. A restart loads the blocks and reads from that offset; every bucket up to the highest block is final.

SLOs are judged at the end of each sealed bucket, in event time, so that alerts are a function of the data:
no restart, lag or repeat shows in them. In a long silence only some buckets are sealed, as soon as no alert
is live and no window can change a verdict any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from detectors.alerts.alert import Alert, Transition
from detectors.alerts.alert_state import AlertBook
from detectors.api.detector import SeriesName
from detectors.slo.burn_rate import judge
from detectors.slo.slo import Slo
from models.arrays import Counts
from streams.judge.monitors import Monitors
from streams.partials.frame import Frame
from streams.partials.points import PointTable
from streams.partials.series import encode_labels, series_hash
from streams.partials.table import Table
from streams.plan.outcomes import outcomes_rollup
from streams.plan.plan import BUCKET_MS, NEVER, MonitorPlan, SourcePlan
from streams.plan.rollup import MICRO, Rollup, Sum
from streams.window.blocks import TOTALS_LEVEL, Block
from streams.window.counters import COUNTER_LOOKBACK_MS
from streams.window.maintenance import period_counts, without_maintenance
from streams.window.rings import LEVEL_SLOT_MS
from streams.window.rollup_window import HOUR_BUCKETS, RollupWindow

QUIET_BUCKETS = 360
"""An hour: all buckets of a silence are sealed for so long, or for the longest of the windows that tiers call
short and of the slices, if that is longer. After it no tier has traffic to judge."""

PIN_BUCKETS = 30
"""Every so many buckets a block is stored even if it is empty, also in a silence: a restart then knows how
far buckets were final, and calendar periods end in time."""

COUNTER_BUCKETS = -(-COUNTER_LOOKBACK_MS // BUCKET_MS) + 1
"""Buckets whose points a counter may need to tell its next increase."""

SLI_EVERY_BUCKETS = 6
"""SLIs are reported once a minute of event time."""

_WIDTHS = tuple(slot_ms // BUCKET_MS for slot_ms in LEVEL_SLOT_MS)


@dataclass(frozen=True, slots=True)
class SliReport:
    """Windows and budget of one SLO at the end of a sealed bucket.

    labels      : S tuples, the values of `slo.group_by`
    good, total : Counts [W, S] in the order of `windows_ms`, maintenance left out
    budget_good, budget_total : Counts [S] of the SLO's window or calendar period
    """

    at_ms: int
    slo: Slo
    labels: Sequence[tuple[str, ...]]
    windows_ms: tuple[int, ...]
    good: Counts
    total: Counts
    budget_good: Counts
    budget_total: Counts


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one sealed bucket gives: alerts and anomalies to announce, blocks to store, SLIs to report."""

    bucket: int
    transitions: Sequence[Transition]
    anomalies: Sequence[Transition]
    blocks: Sequence[Block]
    slis: Sequence[SliReport]


class SourceWindow:
    """State of one source in one partition of the partials.

    partitions : number of the source topic's partitions
    evidence   : what every alert carries beside its counts (hash of the configuration)
    monitors    : detectors, of which those of this source are taken
    """

    def __init__(
        self,
        plan: SourcePlan,
        slos: Sequence[Slo],
        partitions: int,
        evidence: Mapping[str, str],
        monitors: Sequence[MonitorPlan] = (),
    ) -> None:
        self.plan = plan
        self.partitions = partitions
        self.slos = [slo for slo in slos if slo.source == plan.name]
        by_rollup = {slo.rollup: slo for slo in self.slos}
        rollups = (outcomes_rollup(plan.name), *plan.rollups)
        self.rollups = {
            rollup.name: RollupWindow(
                rollup,
                by_rollup.get(rollup.name),
                4 * (rollup.series_count_max or plan.series_count_max),
            )
            for rollup in rollups
        }
        self.book = AlertBook()
        mine = [monitor for monitor in monitors if monitor.source == plan.name]
        self.monitors = Monitors(plan.name, mine, self.rollups, self._evidence_of)
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
        lengths_ms = [ms for slo in self.slos for ms in (slo.slice_ms, *(t.short_ms for t in slo.tiers))]
        self._quiet = max(QUIET_BUCKETS, max(lengths_ms, default=0) // BUCKET_MS)
        self._last_bucket: int | None = None
        self._alerts = b"[]"
        self._revision = self.book.revision
        self._retired: list[Transition] = []
        self._evidence = dict(evidence)

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

    def seal(self, below: int) -> Iterator[Sealed]:
        """Seal all buckets below `below`, one at a time; call `confirm` once their blocks are durable."""
        for bucket in self._buckets_to_seal(below):
            yield self._seal_one(bucket)

    def confirm(self, below: int) -> None:
        """Buckets below `below` are durable."""
        self.sealed = max(self.sealed, below)
        self._pinned = self._stored
        self._passed = {p for p in self.idle if self.watermarks.get(p, NEVER) < below}
        self._first = {b: z for b, z in self._first.items() if b >= below}
        for window in self.rollups.values():
            window.drop_sealed(below)

    def load(self, blocks: Sequence[Block]) -> None:
        """Fill the state from stored blocks, given in ascending order of level and slot."""
        latest = max((block.slot for block in blocks if block.level == 0), default=None)
        if latest is None:
            return
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
            if block.level == 0 and block.slot == latest:
                self._alerts = block.state
                self.book = AlertBook.load(msgspec.json.decode(block.state))
                self._revision = self.book.revision
                # alerts of SLOs that the configuration no longer has end with the next sealed bucket
                self._retired = self.book.retire((latest + 1) * BUCKET_MS, self.slos)
        for window in self.rollups.values():
            window.finish_load(latest)
        self.monitors.load(blocks, latest)
        self.sealed = self._stored = self._pinned = latest + 1
        self._last_bucket = latest

    def live_end(self) -> int | None:
        """Bucket after the newest one that any partition has reported; None before any event."""
        newest = max(self.newest.values(), default=NEVER)
        if self._last_bucket is not None:
            newest = max(newest, self._last_bucket)
        return None if newest == NEVER else newest + 1

    def _buckets_to_seal(self, below: int) -> Iterator[int]:
        """Filled buckets and those of silences between them, ascending.

        To be gone through while they are sealed, since alerts that are live leave no bucket out.
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
            while quiet < bucket and (quiet < start + self._quiet or self.book.live_count):
                yield quiet
                quiet += 1
            pinned = bucket // PIN_BUCKETS * PIN_BUCKETS - 1
            if pinned >= quiet:
                yield pinned  # of all that could be stored of a long silence the last tells as much
            if bucket < below:
                yield bucket
            start = bucket + 1

    def _seal_one(self, bucket: int) -> Sealed:
        blocks = list(self._completed_slots(bucket))
        tables: list[Table] = []
        points: list[PointTable] = []
        for window in self.rollups.values():
            table, counter_points = window.seal(bucket)
            if table is not None:
                tables.append(table)
            if counter_points is not None:
                points.append(counter_points)
        at_ms = (bucket + 1) * BUCKET_MS
        anomalies, judged = self.monitors.step(bucket)
        transitions = [*self._retired, *self._judge(at_ms)]
        self._retired = []
        blocks += judged
        changed = self.book.revision != self._revision
        if changed:
            self._alerts = msgspec.json.encode(self.book.state())
            self._revision = self.book.revision
        if tables or points or changed or judged or (bucket + 1) % PIN_BUCKETS == 0:
            blocks.append(Block(self.plan.name, 0, bucket, tables, self._alerts, points))
            self._stored = bucket + 1
        self._last_bucket = bucket
        slis = self.reports(at_ms) if (bucket + 1) % SLI_EVERY_BUCKETS == 0 else []
        return Sealed(bucket, transitions, anomalies, blocks, slis)

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

    def active_alerts(self) -> list[Alert]:
        """The live alerts of SLOs and detectors."""
        return [*self.book.active(), *self.monitors.active()]

    def _evidence_of(self, monitor: MonitorPlan, series: SeriesName) -> dict[str, Any]:
        """Where the events of a series are, and one of them, if any was traced."""
        window = self.rollups[monitor.rollup]
        evidence = {**self._evidence, "offsets": self._offsets()}
        number = window.table.number(series_hash(monitor.rollup, encode_labels(series)))
        exemplar = None if number is None else window.exemplars.get(number)
        if exemplar is not None:
            evidence["trace_ids"] = [exemplar.trace_id]
        return evidence

    def _offsets(self) -> dict[str, int]:
        return {str(partition): offset for partition, offset in sorted(self.offsets.items())}

    def _judge(self, at_ms: int) -> list[Transition]:
        moved: list[Transition] = []
        live = self.book.live_count > 0
        offsets = self._offsets()
        for slo in self.slos:
            window = self.rollups[slo.rollup]
            if not slo.tiers or window.series_count == 0:
                continue
            good, total = self._counts(window, slo, at_ms)
            if not live and not (total > good).any():
                continue  # nothing bad in any window, and no alert to end
            verdicts = judge(
                slo,
                {w: (good[i], total[i]) for i, w in enumerate(window.rollup.windows_ms)},
                unit=_unit(window.rollup, slo),
            )
            moved += self.book.step(
                at_ms,
                slo,
                window.table.labels.__getitem__,
                verdicts,
                lambda _series: {**self._evidence, "offsets": offsets},
            )
        return moved

    def reports(self, at_ms: int) -> list[SliReport]:
        """Windows and budgets of all SLOs at the sealed instant `at_ms`."""
        reports = []
        for slo in self.slos:
            window = self.rollups[slo.rollup]
            if window.series_count == 0:
                continue
            # the rings go on; a report stays what it was
            good, total = (counts.copy() for counts in self._counts(window, slo, at_ms))
            budget_good, budget_total = self.budget(window, slo, at_ms, good, total)
            reports.append(
                SliReport(
                    at_ms,
                    slo,
                    window.table.labels[: good.shape[1]],
                    window.rollup.windows_ms,
                    good,
                    total,
                    budget_good,
                    budget_total,
                )
            )
        return reports

    def _counts(self, window: RollupWindow, slo: Slo, at_ms: int) -> tuple[Counts, Counts]:
        """(good, total) : Counts [W, S] each, of the sealed windows, without maintenance."""
        sums = window.rings.sums()
        columns = window.budget_columns
        good, total = sums[:, :, columns[0]], sums[:, :, columns[1]]
        return without_maintenance(window, slo, at_ms, good, total)

    def budget(
        self, window: RollupWindow, slo: Slo, at_ms: int, good: Counts, total: Counts
    ) -> tuple[Counts, Counts]:
        """(good, total) : Counts [S] each, of the SLO's rolling window or its calendar period so far."""
        if slo.calendar is None:
            row = window.rollup.windows_ms.index(slo.window_ms)
            return good[row], total[row]
        return period_counts(window, slo, at_ms)


def _by_rollup(points: Sequence[PointTable]) -> dict[str, list[PointTable]]:
    """A point of many rows may lie in two tables, and counts as a whole."""
    found: dict[str, list[PointTable]] = {}
    for table in points:
        found.setdefault(table.rollup, []).append(table)
    return found


def _unit(rollup: Rollup, slo: Slo) -> int | None:
    """How much one event counts in the SLO's counters, where the budgeting alone does not tell."""
    summed = any(isinstance(measure, Sum) for measure in rollup.measures)
    return MICRO if summed and slo.budgeting == "Occurrences" else None
