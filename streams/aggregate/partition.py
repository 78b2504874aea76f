"""One source partition: from records to cumulative partials, exactly, whatever is killed.

The rules that make totals exact (docs/architecture.md explains why each is needed):

1. Every event contributes to one bucket: its own, or, if that had closed in the log before it, as `late`
   to the newest bucket; a record that cannot be decoded contributes as `dead` to the newest bucket. All of
   this is a function of the log's prefix: batch boundaries, clocks and restarts do not affect it.
2. A flush sends all cells changed since the last acknowledged one, cumulative, with the offset they
   include. The last frame to each destination carries the watermark below which buckets are final. One
   flush is in flight at a time; what was not acknowledged stays dirty.
3. Once a flush is durable, the first offset that contributes to a bucket at or above its watermark is
   committed. Reading from there rebuilds the state with nothing else kept.

Nothing here knows Kafka, a clock or a task: `read`, `flush`, `acknowledge` and `abandon` are the steps of
the protocol, and the worker, the replay and the simulation drive the same ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.arrays import EpochMs, Mask, Rows
from streams.aggregate.decoding import Decoded, PartitionDecoder
from streams.aggregate.rollup_state import RollupState, select_columns
from streams.events.batch import Column, Dead, Decoder, EventBatch, Records, Strings
from streams.language.printable import printable
from streams.partials.cells import BUCKET_LIMIT, SERIES_LIMIT
from streams.partials.frame import ExemplarRow, Frame, encode_frame
from streams.partials.points import PointTable, Running, points_by_destination, split_points
from streams.partials.series import SeriesIndex, SeriesIndexes
from streams.partials.table import Table, split_by_destination, split_tables
from streams.plan.outcomes import outcomes_rollup
from streams.plan.plan import BUCKET_MS, NEVER, SourcePlan

EXEMPLARS_BESIDE_MAX = 100
"""Exemplars that may stand in one record with as many tables as a record holds."""

DETAIL_LENGTH_MAX = 500
"""Characters of a rejection's detail; what decoders quote of a record they cut to less."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record with an event that could not be counted in its own bucket, for the dead-letter topic.

    detail : a short sentence of printable characters
    """

    offset: int
    value: bytes | None
    reason: str
    detail: str


LETTERS_PER_RECORD_MAX = 20
"""Dead letters of one record: each has the whole of it, and half a million bad lines fit into 1 MB."""


def letters(rejected: Sequence[Rejected]) -> Iterator[Rejected]:
    """Those to be written as dead letters: of each record the first few; all have been counted."""
    written: Counter[int] = Counter()
    for entry in rejected:
        written[entry.offset] += 1
        if written[entry.offset] <= LETTERS_PER_RECORD_MAX:
            yield entry


@dataclass(frozen=True, slots=True)
class Flush:
    """A flush in flight.

    frames : (destination partition, value), to be sent in this order
    commit : source offset to commit once all frames are durable
    """

    frames: Sequence[tuple[int, bytes]]
    offset: int
    watermark: int
    commit: int


@dataclass(slots=True)
class _Deferred:
    """Dead records before the first event, which have no bucket yet."""

    offsets: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


class PartitionAggregate:
    """State of one source partition, from `start` on.

    decoder : makes the partition's decoder, see `PartitionDecoder`
    indexes : series names that never expire, shared by the partitions of a process
    """

    def __init__(
        self,
        plan: SourcePlan,
        partition: int,
        start: int,
        decoder: Callable[[], Decoder],
        indexes: SeriesIndexes | None = None,
    ) -> None:
        self.plan = plan
        self.partition = partition
        self.at = start
        self.newest_ms = NEVER
        self.in_flight: Flush | None = None
        self.dead_counts: Counter[str] = Counter()
        self._decoder = PartitionDecoder(plan, decoder)
        names = indexes or SeriesIndexes()
        outcomes = outcomes_rollup(plan.name)
        # reasons are few, and an outcome that folded could not be told any more
        self._outcomes = RollupState(outcomes, SERIES_LIMIT, names.of(outcomes.name, outcomes.by))
        self._rollups = [
            RollupState(
                rollup,
                rollup.series_count_max or plan.series_count_max,
                SeriesIndex(rollup.name, rollup.by) if rollup.forget_ms else names.of(rollup.name, rollup.by),
                plan.exemplar if rollup.kind == "requests" else None,
            )
            for rollup in plan.rollups
        ]
        self._first: dict[int, int] = {}
        self._deferred = _Deferred()
        self._sent_watermark: int | None = None

    @property
    def watermark(self) -> int:
        """Buckets below it are final: no event can contribute to them any more."""
        if self.newest_ms == NEVER:
            return NEVER
        return (self.newest_ms - self.plan.lateness_ms) // BUCKET_MS

    @property
    def fresh_row_count(self) -> int:
        return sum(state.fresh_row_count for state in self._rollups)

    @property
    def folded_counts(self) -> dict[str, int]:
        """Rows folded into `__other__` per rollup."""
        return {state.rollup.name: state.folded_count for state in self._rollups}

    @property
    def deferred_count(self) -> int:
        """Dead records that no event has followed yet."""
        return len(self._deferred.offsets)

    @property
    def decoder_error_count(self) -> int:
        """Records at which the decoder failed."""
        return self._decoder.error_count

    def read(self, records: Records, next_offset: int) -> list[Rejected]:
        """Count records; those below `at` were counted before and are skipped.

        records     : contiguous from at or before `at`
        next_offset : fetch position after them; `at` moves there
        """
        if len(records) and records.offsets[0] < self.at:
            records = records.since(int(np.searchsorted(records.offsets, self.at)))
        rejected: list[Rejected] = []
        if len(records):
            for part in self._decoder.decode(records):
                rejected += self._count(part)
        self.at = max(self.at, next_offset)
        return rejected

    def _count(self, decoded: Decoded) -> list[Rejected]:
        records, batch, running = decoded.records, decoded.batch, decoded.running
        offsets = records.offsets[batch.record]
        fit = _plausible(batch.time_ms, records.timestamps_ms[batch.record], self.plan.future_ms)
        newest = np.maximum.accumulate(np.where(fit, batch.time_ms, NEVER)) if len(batch) else batch.time_ms
        if self.newest_ms > NEVER:
            np.maximum(newest, self.newest_ms, out=newest)
        before = np.concatenate([[self.newest_ms], newest[:-1]]) if len(batch) else newest
        bucket = batch.time_ms // BUCKET_MS
        late = fit & ((bucket + 1) * BUCKET_MS <= before - self.plan.lateness_ms)
        on_time = fit & ~late

        dead = [*batch.dead, *_implausible(batch, fit, records)]
        self._count_outcomes(batch, bucket, before, on_time, late)
        self._count_dead(dead, batch, newest, records)
        if on_time.any():
            self._note_first(bucket[on_time], offsets[on_time])
            self._count_rollups(batch, on_time, running)
        if len(batch):
            self.newest_ms = max(self.newest_ms, int(newest[-1]))
        self._place_deferred(bucket, on_time)
        return self._rejected(batch, records, late, dead)

    def _count_rollups(self, batch: EventBatch, on_time: Mask, running: Running | None) -> None:
        columns, time_ms, weight = batch.columns, batch.time_ms, batch.weight
        if not on_time.all():
            columns, time_ms = select_columns(columns, on_time), time_ms[on_time]
            weight = None if weight is None else weight[on_time]
            running = None if running is None else running.select(on_time)
        for state in self._rollups:
            state.add(columns, time_ms, weight, running)

    def _count_outcomes(
        self, batch: EventBatch, bucket: Rows, before: EpochMs, on_time: Mask, late: Mask
    ) -> None:
        if batch.head is not None:
            on_time, late = on_time & batch.head, late & batch.head
        self._outcome("in", "", bucket[on_time])
        if late.any():
            self._outcome("late", "", before[late] // BUCKET_MS)

    def _count_dead(self, dead: Sequence[Dead], batch: EventBatch, newest: EpochMs, records: Records) -> None:
        """A dead record belongs to the newest bucket of the log up to and including its own events."""
        self.dead_counts.update(entry.reason for entry in dead)
        buckets: dict[str, list[int]] = {}
        for entry in dead:
            position = int(np.searchsorted(batch.record, entry.record, side="right"))
            at = int(newest[position - 1]) if position else self.newest_ms
            if at == NEVER:
                self._deferred.offsets.append(int(records.offsets[entry.record]))
                self._deferred.reasons.append(entry.reason)
            else:
                buckets.setdefault(entry.reason, []).append(at // BUCKET_MS)
        for reason, of_reason in buckets.items():
            self._outcome("dead", reason, np.array(of_reason))

    def _place_deferred(self, bucket: Rows, on_time: Mask) -> None:
        """Dead records from before the first event join its bucket, which they hold open for a restart."""
        if not self._deferred.offsets or self.newest_ms == NEVER:
            return
        first = int(bucket[int(np.argmax(on_time))])
        for reason in self._deferred.reasons:
            self._outcome("dead", reason, np.array([first]))
        self._first[first] = min(self._first[first], *self._deferred.offsets)
        self._deferred = _Deferred()

    def _outcome(self, outcome: str, reason: str, bucket: Rows) -> None:
        if len(bucket) == 0:
            return
        code = np.zeros(len(bucket), dtype=np.int32)
        columns: dict[str, Column] = {"outcome": Strings(code, [outcome]), "reason": Strings(code, [reason])}
        self._outcomes.add(columns, bucket * BUCKET_MS, None)

    def _note_first(self, bucket: Rows, offsets: Rows) -> None:
        low = int(bucket.min())
        span = int(bucket.max()) - low + 1
        if span <= 4096:
            first = np.full(span, -1, dtype=np.int64)
            first[(bucket - low)[::-1]] = offsets[::-1]  # of equal buckets the last written is the first
            present = np.flatnonzero(first >= 0)
            found, at = present + low, first[present]
        else:
            found, index = np.unique(bucket, return_index=True)
            at = offsets[index]
        for number, offset in zip(found.tolist(), at.tolist(), strict=True):
            self._first.setdefault(number, offset)

    def _rejected(
        self, batch: EventBatch, records: Records, late: Mask, dead: Sequence[Dead]
    ) -> list[Rejected]:
        found = [(entry.record, entry.reason, entry.detail) for entry in dead]
        if late.any():
            rows = np.flatnonzero(late)
            late_records, at = np.unique(batch.record[rows], return_index=True)
            for record, row in zip(late_records.tolist(), rows[at].tolist(), strict=True):
                detail = (
                    f"event time {int(batch.time_ms[row])} ms is more than {self.plan.lateness_ms} ms "
                    "behind the partition's newest"
                )
                found.append((record, "late", detail))
        return [
            Rejected(
                int(records.offsets[record]),
                records.values[record],
                reason,
                printable(detail[:DETAIL_LENGTH_MAX]),
            )
            for record, reason, detail in found
        ]

    def flush(self, destinations: int, *, idle: bool = False, announce: bool = False) -> Flush | None:
        """Frames with all that changed since the last acknowledged flush; None if there is nothing.

        destinations : partitions of the partials topic
        idle         : say that nothing needs to wait for this partition
        announce     : send the watermark even if it has not moved, for readers that have just started
        """
        assert self.in_flight is None, "one flush in flight at a time"
        watermark = self.watermark
        by_destination: list[list[Table | None]] = []
        for state in (self._outcomes, *self._rollups):
            dirty = state.dirty_table()
            if dirty is not None:
                destination = (dirty.hashes % np.uint64(destinations)).astype(np.int64)
                by_destination.append(split_by_destination(dirty, destination, destinations))
        points_to: list[list[PointTable | None]] = []
        for state in self._rollups:
            points = state.dirty_points()
            if points is not None:
                destination = (points.hashes % np.uint64(destinations)).astype(np.int64)
                points_to.append(points_by_destination(points, destination, destinations))
        if not (by_destination or points_to) and watermark == self._sent_watermark and not (idle or announce):
            return None
        exemplars = [row for state in self._rollups if state.exemplars for row in state.exemplars.drain()]
        frames = [
            (destination, value)
            for destination in range(destinations)
            for value in self._frames(
                [pieces[destination] for pieces in by_destination],
                [pieces[destination] for pieces in points_to],
                [row for row in exemplars if row.key % destinations == destination],
                watermark,
                idle=idle,
                always=announce or idle,
            )
        ]
        commit = min((o for b, o in self._first.items() if b >= watermark), default=self.at)
        if self._deferred.offsets:
            commit = min(commit, *self._deferred.offsets)
        self.in_flight = Flush(frames, self.at, watermark, commit)
        return self.in_flight

    def _frames(
        self,
        tables: Sequence[Table | None],
        points: Sequence[PointTable | None],
        exemplars: Sequence[ExemplarRow],
        watermark: int,
        *,
        idle: bool,
        always: bool,
    ) -> Iterator[bytes]:
        bodies: list[tuple[Sequence[Table], Sequence[PointTable]]] = [
            (group, ()) for group in split_tables([table for table in tables if table is not None])
        ]
        bodies += [((), (piece,)) for table in points if table is not None for piece in split_points(table)]
        if len(exemplars) > EXEMPLARS_BESIDE_MAX:
            bodies.append(((), ()))  # a frame of their own
        if not bodies:
            if not always and watermark == self._sent_watermark:
                return
            bodies = [((), ())]
        for number, (group, piece) in enumerate(bodies):
            last = number == len(bodies) - 1
            yield encode_frame(
                Frame(
                    source=self.plan.name,
                    partition=self.partition,
                    offset=self.at,
                    watermark=watermark if last else None,
                    newest=self.newest_ms // BUCKET_MS if self.newest_ms > NEVER else NEVER,
                    idle=idle,
                    tables=group,
                    exemplars=exemplars if last else (),
                    points=piece,
                )
            )

    def acknowledge(self) -> int:
        """All frames in flight are durable. Returns the source offset to commit."""
        assert self.in_flight is not None
        flushed, self.in_flight = self.in_flight, None
        self._sent_watermark = flushed.watermark
        if flushed.watermark > NEVER:
            for state in (self._outcomes, *self._rollups):
                state.acknowledge(flushed.watermark)
            self._first = {b: o for b, o in self._first.items() if b >= flushed.watermark}
        return flushed.commit

    def abandon(self) -> None:
        """The flush failed; its cells stay dirty and are sent with the next."""
        self.in_flight = None


def _plausible(time_ms: EpochMs, timestamp_ms: EpochMs, future_ms: int) -> Mask:
    """Times that can be counted: within the range of buckets and not far ahead of their own record."""
    fit: Mask = (time_ms >= 0) & (time_ms < BUCKET_LIMIT * BUCKET_MS)
    return fit & ~((timestamp_ms >= 0) & (time_ms > timestamp_ms + future_ms))


def _implausible(batch: EventBatch, fit: Mask, records: Records) -> Iterator[Dead]:
    heads = ~fit if batch.head is None else ~fit & batch.head
    for row in np.flatnonzero(heads).tolist():
        record, time = int(batch.record[row]), int(batch.time_ms[row])
        if 0 <= time < BUCKET_LIMIT * BUCKET_MS:
            ahead = time - int(records.timestamps_ms[record])
            yield Dead(record, "future", f"event time is {ahead} ms ahead of its record's own timestamp")
        else:
            yield Dead(record, "time_out_of_range", f"event time {time} ms since 1970 is out of range")
