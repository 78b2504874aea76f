"""Stage 1 of the worker: owns the assigned source partitions, flushes about once a second, commits.

Order of things, which the exactness rests on: dead letters and frames are sent, all are acknowledged,
then the offset is committed. A flush whose last frame carries the watermark sends it only after the frames
before it are acknowledged, so that no reader learns of a watermark before the rows below it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from streams.aggregate.partition import Flush, PartitionAggregate, Rejected, letters
from streams.decode.registry import make_decoder
from streams.kafka.log import RECORD_BYTES_MAX, Log, Partition
from streams.kafka.topics import Topics
from streams.kafka.transport import Admission, Batch, Position
from streams.partials.series import SeriesIndexes
from streams.plan.plan import Plan, SourcePlan

logger = logging.getLogger(__name__)

ANNOUNCE_S = 5.0
"""A watermark that does not move is repeated this often, for window stages that have just started."""

BACKLOG_RECORDS = 5_000
"""A partition that was this far behind is flushed as soon as it has caught up."""

FRESH_ROWS_MAX = 400_000
"""Rows that may wait for a flush; beyond it reading waits, which bounds memory in a backlog."""

HEADER_BYTES_MAX = 16 << 10
"""Bytes that key and headers of a dead letter have at most, by the bounds of names and of a detail."""


@dataclass(slots=True)
class _Owned:
    """A source partition that this worker owns."""

    at: Partition
    aggregate: PartitionAggregate
    position: Position
    silent_since_s: float
    announced_s: float
    heard_s: float
    read: int
    """Below it all was read before this assignment, or is durable by now."""
    behind: bool = False
    rejected: list[Awaitable[Any]] = field(default_factory=list)


class AggregateStage:
    """State of all source partitions of this worker.

    clock : seconds, monotonic
    """

    def __init__(self, plan: Plan, topics: Topics, log: Log, clock: Callable[[], float]) -> None:
        self._sources: Mapping[str, SourcePlan] = {source.topic: source for source in plan.sources.values()}
        self._topics = topics
        self._log = log
        self._clock = clock
        self._owned: dict[Partition, _Owned] = {}
        self._indexes = SeriesIndexes()
        self.caught_up = asyncio.Event()
        """Set when a partition has come to the end of a backlog, whose counts need not wait longer."""
        self.counts: Counter[tuple[str, str]] = Counter()
        """Batches that were repeats or left gaps, and records lost to retention: (source, what)."""

    @property
    def destinations(self) -> int:
        """Partitions of the partials topic; 0 while the broker has not said."""
        return self._log.partition_count(self._topics.partials)

    @property
    def source_topics(self) -> list[str]:
        return list(self._sources)

    def clear(self) -> None:
        """The assignment is over: everything not committed is somebody else's to read again."""
        self._owned.clear()
        self._indexes = SeriesIndexes()

    def start(self, at: Partition, offset: int, read: int | None = None) -> None:
        """Own a partition from `offset` on.

        read : below it all was read before; `offset` if not given
        """
        source = self._sources[at.topic]
        decoder = partial(make_decoder, source.format, source.layout)
        aggregate = PartitionAggregate(source, at.partition, offset, decoder, self._indexes)
        now = self._clock()
        read = offset if read is None else read
        self._owned[at] = _Owned(at, aggregate, Position(offset), now, now, now, read)

    def owned(self) -> list[PartitionAggregate]:
        return [owned.aggregate for owned in self._owned.values()]

    async def on_batch(self, batch: Batch) -> None:
        """Count a batch, if it continues what this partition has."""
        owned = self._owned.get(Partition(batch.topic, batch.partition))
        if owned is None:
            return  # of an earlier assignment, or before the first seek
        admission = owned.position.admit(batch.start, batch.next_offset)
        source = owned.aggregate.plan.name
        if admission is not Admission.COUNT:
            self.counts[source, admission.value] += 1
            if admission is Admission.GAP and owned.position.may_ask(self._clock()):
                await self._seek_back(owned)
            return
        rejected = owned.aggregate.read(batch.records, batch.next_offset)
        owned.position.at = owned.aggregate.at
        owned.silent_since_s = owned.heard_s = self._clock()
        self._note_backlog(owned)
        if rejected:
            await self._send_dead_letters(owned, rejected)
        while owned.aggregate.fresh_row_count > FRESH_ROWS_MAX and self._is_ours(owned):
            commit = await self._flush(owned)
            if commit is not None and self._is_ours(owned):
                await self._commit([(owned, commit)])
            else:
                await asyncio.sleep(0.05)  # a flush is on its way

    async def heal_stalls(self) -> None:
        """Read again what was fetched and never came, see `Position.is_stalled`."""
        for owned in list(self._owned.values()):
            now, fetched_to = self._clock(), self._log.fetch_position(owned.at)
            if owned.position.is_stalled(fetched_to, now, owned.heard_s) and self._is_ours(owned):
                owned.heard_s = now
                self.counts[owned.aggregate.plan.name, "stall"] += 1
                await self._seek_back(owned)

    def _note_backlog(self, owned: _Owned) -> None:
        end = self._log.end_offset(owned.at)
        if end is None:
            return
        if owned.behind and owned.position.at >= end:
            owned.behind = False
            self.caught_up.set()
        elif end - owned.position.at > BACKLOG_RECORDS:
            owned.behind = True

    async def _seek_back(self, owned: _Owned) -> None:
        first = await self._log.seek_back(owned.at, owned.position.at)
        if first is None or not self._is_ours(owned):
            return
        # A restart reads again from the committed offset, what was counted before among it.
        from_offset = max(owned.position.at, owned.read)
        lost = first - from_offset
        owned.aggregate.at = owned.position.at = first
        if lost <= 0:
            return
        self.counts[owned.aggregate.plan.name, "lost"] += lost
        logger.error(
            "%d records of %s[%d] were deleted before they were read (offsets %d to %d): retention is "
            "shorter than the lag",
            lost,
            owned.at.topic,
            owned.at.partition,
            from_offset,
            first - 1,
        )

    async def _send_dead_letters(self, owned: _Owned, rejected: list[Rejected]) -> None:
        count = max(1, self._log.partition_count(self._topics.dead_letters))
        for entry in letters(rejected):
            to = Partition(self._topics.dead_letters, entry.offset % count)
            key, value, headers = dead_letter(owned.at, owned.aggregate.plan.name, entry)
            owned.rejected.append(await self._log.send(to, key, value, headers))

    async def flush_all(self) -> None:
        """Flush every partition and commit what became durable."""
        owners = list(self._owned.values())
        flushes: list[asyncio.Task[int | None]] = []
        for owned in owners:
            flushes.append(asyncio.create_task(self._flush(owned)))
            await asyncio.sleep(0)  # each has its own turn of the loop, so that none waits for all of them
        commits = await asyncio.gather(*flushes)
        await self._commit(
            [(o, at) for o, at in zip(owners, commits, strict=True) if at is not None and self._is_ours(o)]
        )

    async def _commit(self, commits: Sequence[tuple[_Owned, int]]) -> None:
        if commits:
            await self._log.commit(
                {owned.at: offset for owned, offset in commits},
                {owned.at: owned.read for owned, _ in commits},
            )

    def _is_ours(self, owned: _Owned) -> bool:
        return self._owned.get(owned.at) is owned

    async def _flush(self, owned: _Owned) -> int | None:
        """Send what changed; the offset to commit once it is durable, or None."""
        destinations = self._log.partition_count(self._topics.partials)
        if owned.aggregate.in_flight is not None or destinations == 0:
            return None
        now = self._clock()
        announce = now - owned.announced_s >= ANNOUNCE_S
        idle = announce and self._is_idle(owned, now)
        flushed = owned.aggregate.flush(destinations, idle=idle, announce=announce)
        if flushed is None:
            return None
        if announce:
            owned.announced_s = now
        rejected, owned.rejected = owned.rejected, []
        try:
            await asyncio.gather(*rejected, self._send(flushed))
        except Exception as error:
            # whatever became of it, its cells are still dirty and go with the next flush
            owned.aggregate.abandon()
            logger.warning("Flush of %s failed, its content is sent with the next: %r", owned.at, error)
            return None
        owned.read = max(owned.read, flushed.offset)
        return owned.aggregate.acknowledge()

    async def _send(self, flushed: Flush) -> None:
        by_destination: dict[int, list[bytes]] = {}
        for destination, value in flushed.frames:
            by_destination.setdefault(destination, []).append(value)
        await asyncio.gather(*(self._send_in_order(q, values) for q, values in by_destination.items()))

    async def _send_in_order(self, destination: int, values: list[bytes]) -> None:
        to = Partition(self._topics.partials, destination)
        earlier = [await self._log.send(to, None, value) for value in values[:-1]]
        await asyncio.gather(*earlier)
        await (await self._log.send(to, None, values[-1]))

    def _is_idle(self, owned: _Owned, now: float) -> bool:
        end = self._log.end_offset(owned.at)
        read_to_end = end is not None and owned.position.at >= end
        return read_to_end and (now - owned.silent_since_s) * 1000 >= owned.aggregate.plan.idle_ms

    def lag(self, aggregate: PartitionAggregate) -> int | None:
        """Records of a partition that are still to be read; None if the broker has not said."""
        end = self._log.end_offset(Partition(aggregate.plan.topic, aggregate.partition))
        return None if end is None else max(0, end - aggregate.at)


def dead_letter(
    at: Partition, source: str, rejected: Rejected
) -> tuple[bytes, bytes | None, list[tuple[str, bytes]]]:
    """Key, value and headers; of a value too large for a record the beginning, and its size in a header."""
    key = f"{at.topic}/{at.partition}/{rejected.offset}".encode()
    value = rejected.value
    headers = [
        ("topic", at.topic.encode()),
        ("partition", str(at.partition).encode()),
        ("offset", str(rejected.offset).encode()),
        ("source", source.encode()),
        ("reason", rejected.reason.encode()),
        ("detail", rejected.detail.encode()),
    ]
    room = RECORD_BYTES_MAX - HEADER_BYTES_MAX
    if value is not None and len(value) > room:
        headers.append(("truncated", str(len(value)).encode()))
        value = value[:room]
    return key, value, headers
