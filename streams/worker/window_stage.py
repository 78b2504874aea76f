"""Stage 2 of the worker: owns the assigned partitions of the partials, seals buckets, announces alerts.

Order of things for a sealed bucket: its alerts are acknowledged, then its blocks, then the partials offset
from which a restart has to read is committed. A failed write drops the state, which is then loaded again:
nothing that was not stored is ever taken for stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from detectors.alerts.alert import Alert, Transition
from detectors.alerts.anomaly_alert import wants_attention
from detectors.alerts.incident import Incident
from detectors.feedback.labels import Label
from models.registry.manifest import Role
from streams.judge.judged_source import JudgedSource
from streams.judge.sealing import seal_final
from streams.judge.slo_judge import SliReport
from streams.kafka.log import RECORD_BYTES_MAX, Log, Partition
from streams.kafka.topics import Topics
from streams.kafka.transport import Admission, Batch, Position
from streams.partials.frame import decode_frame
from streams.partials.table import fitting_bounds
from streams.plan.plan import BUCKET_MS, NEVER, Plan
from streams.window.blocks import Block, encode_block

if TYPE_CHECKING:
    from models.registry.registry import StoredModel

logger = logging.getLogger(__name__)

BUCKETS_IN_FLIGHT = 32
"""Sealed buckets whose blocks are on their way at once in a backlog."""

REPORT_SPARE_BYTES = 1_000
"""Of a report's record, what its key takes and the words around its groups."""

NO_SOURCE = ""
"""In place of a source's name in the block that holds alerts of no window."""


@dataclass(slots=True)
class _Owned:
    """A partition of the partials that this worker owns."""

    partition: int
    position: Position
    windows: dict[str, JudgedSource]
    heard_s: float
    commit: int | None = None
    frames: int = 0


class WindowStage:
    """State of all partials partitions of this worker.

    on_transition : told of every alert that changes its state, once it is in the alerts topic
    evidence      : what every alert carries besides its counts
    """

    def __init__(
        self,
        plan: Plan,
        topics: Topics,
        log: Log,
        clock: Callable[[], float],
        *,
        on_transition: Callable[[Transition], None],
        on_active: Callable[[Sequence[Alert]], None],
        evidence: Mapping[str, str],
    ) -> None:
        self._plan = plan
        self._topics = topics
        self._log = log
        self._clock = clock
        self._on_transition = on_transition
        self._on_active = on_active
        self._evidence = evidence
        self._owned: dict[int, _Owned] = {}
        self._labels: Sequence[Label] = ()
        self._models: dict[tuple[str, Role], StoredModel] = {}
        self.counts: Counter[str] = Counter()
        """Batches that were repeats or left gaps, and frames that could not be read."""

    def clear(self) -> None:
        """The assignment is over."""
        self._owned.clear()

    def start(self, partition: int, offset: int, blocks: Sequence[Block]) -> None:
        """Own a partition: what its blocks tell, then its log from `offset` on."""
        windows = {}
        for name, source in self._plan.sources.items():
            count = max(1, self._log.partition_count(source.topic))
            window = JudgedSource(source, self._plan.slos, count, self._evidence, self._plan.monitors)
            window.load([block for block in blocks if block.source == name])
            window.monitors.labels = self._labels
            for (model_name, role), model in self._models.items():
                window.monitors.adopt(model_name, role, model)
            windows[name] = window
            self._on_active(window.active_alerts())
        self._owned[partition] = _Owned(partition, Position(offset), windows, self._clock())

    def owned(self) -> dict[int, dict[str, JudgedSource]]:
        """Windows by partition and source."""
        return {owned.partition: owned.windows for owned in self._owned.values()}

    def use_labels(self, labels: Sequence[Label]) -> None:
        """From the next step on, judge by what people have said of anomalies."""
        self._labels = labels
        for owned in self._owned.values():
            for window in owned.windows.values():
                window.monitors.labels = labels

    def use_model(self, name: str, role: Role, model: StoredModel | None) -> None:
        """From the next step on, let detectors go on with a trained model.

        Raises ValueError if they cannot.
        """
        for owned in self._owned.values():
            for window in owned.windows.values():
                window.monitors.adopt(name, role, model)
        if model is None:
            self._models.pop((name, role), None)
        else:
            self._models[name, role] = model

    def event_time_ms(self) -> int:
        """The newest end of a sealed bucket of all windows; 0 before any."""
        sealed = (window.sealed for owned in self._owned.values() for window in owned.windows.values())
        return max((bucket * BUCKET_MS for bucket in sealed if bucket != NEVER), default=0)

    async def on_batch(self, batch: Batch) -> None:
        """Take in frames, if they continue what this partition has, and seal what has become final."""
        owned = self._owned.get(batch.partition)
        if owned is None:
            return  # of an earlier assignment, or before the first seek
        admission = owned.position.admit(batch.start, batch.next_offset)
        if admission is not Admission.COUNT:
            self.counts[admission.value] += 1
            if admission is Admission.GAP and owned.position.may_ask(self._clock()):
                await self._seek_back(owned)
            return
        records = batch.records
        for offset, value in zip(records.offsets.tolist(), records.values, strict=True):
            if offset >= owned.position.at and value is not None:
                self._accept(owned, offset, value)
                owned.frames += 1
                if owned.frames % 8 == 0:
                    await asyncio.sleep(0)  # a backlog of frames must not hold heartbeats and web
        owned.position.at = batch.next_offset
        owned.heard_s = self._clock()
        for window in owned.windows.values():
            if self.is_owned(owned):
                await self._seal(owned, window)

    def _accept(self, owned: _Owned, offset: int, value: bytes) -> None:
        try:
            frame = decode_frame(value)
        except ValueError as error:
            self.counts["unreadable"] += 1
            logger.error(
                "%s[%d] offset %d: %s. Another program writes to this topic, or another version did.",
                self._topics.partials,
                owned.partition,
                offset,
                error,
            )
            return
        window = owned.windows.get(frame.source)
        if window is not None:
            window.partitions = max(window.partitions, self._log.partition_count(window.plan.topic))
            window.accept(frame, offset)

    async def _seal(self, owned: _Owned, window: JudgedSource) -> None:
        if await seal_final(window, window.final_below(), _Announcer(self, owned)):
            owned.commit = min(w.needed_from(w.sealed, owned.position.at) for w in owned.windows.values())

    async def begin_to_store(self, partition: int, block: Block) -> list[Awaitable[Any]]:
        """Send a block; what is returned is done once it is durable."""
        to = Partition(self._topics.blocks, partition)
        return [await self._log.send(to, key, value) for key, value in encode_block(block)]

    async def report(self, partition: int, report: SliReport) -> None:
        """Write to the SLIs topic, by SLO."""
        to = Partition(self._topics.slis, partition)
        for value in encode_report(report):
            await self._log.inform(to, report.slo.name.encode(), value)

    def is_owned(self, owned: _Owned) -> bool:
        """Whether a partition is still this worker's, by the same assignment."""
        return self._owned.get(owned.partition) is owned

    async def announce(self, partition: int, transitions: Sequence[Transition]) -> None:
        """Write to the alerts topic, and tell the sinks once that is durable."""
        await self._send_all(Partition(self._topics.alerts, partition), map(_record, transitions))
        for moved in transitions:
            self._on_transition(moved)

    async def announce_anomalies(self, partition: int, anomalies: Sequence[Transition]) -> None:
        """Write to the anomalies topic; those that want somebody's attention are alerts too."""
        await self._send_all(Partition(self._topics.anomalies, partition), map(_record, anomalies))
        urgent = [moved for moved in anomalies if wants_attention(moved.alert)]
        if urgent:
            await self.announce(partition, urgent)

    async def announce_incidents(self, partition: int, incidents: Sequence[Incident]) -> None:
        """Write to the incidents topic, by incident."""
        records = [(each.id.encode(), msgspec.json.encode(each.to_dict())) for each in incidents]
        await self._send_all(Partition(self._topics.incidents, partition), records)

    async def store_alerts(self, partition: int, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Store alerts that belong to no source's window with the blocks, in a block of no source."""
        await self.store(partition, Block(NO_SOURCE, 0, 0, (), msgspec.json.encode(alerts)))

    async def store(self, partition: int, block: Block) -> None:
        """Keep a block, and return once it is durable."""
        await asyncio.gather(*await self.begin_to_store(partition, block))

    async def _send_all(self, to: Partition, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Send (key, value) pairs, and return once all are durable."""
        await asyncio.gather(*[await self._log.inform(to, key, value) for key, value in records])

    @staticmethod
    def stored_alerts(blocks: Sequence[Block]) -> list[dict[str, Any]]:
        """What `store_alerts` has kept last."""
        stored: list[dict[str, Any]] = []
        for block in blocks:
            if block.source == NO_SOURCE:
                stored = msgspec.json.decode(block.state)
        return stored

    async def commit_all(self) -> None:
        """Commit for each partition the first frame that still matters."""
        offsets = {}
        for owned in self._owned.values():
            if owned.commit is not None:
                offsets[Partition(self._topics.partials, owned.partition)] = owned.commit
                owned.commit = None
        if offsets:
            await self._log.commit(offsets)

    async def heal_stalls(self) -> None:
        """Read again what was fetched and never came, see `Position.is_stalled`."""
        for owned in list(self._owned.values()):
            at = Partition(self._topics.partials, owned.partition)
            now, fetched_to = self._clock(), self._log.fetch_position(at)
            if owned.position.is_stalled(fetched_to, now, owned.heard_s):
                owned.heard_s = now
                self.counts["stall"] += 1
                await self._seek_back(owned)

    async def _seek_back(self, owned: _Owned) -> None:
        at = Partition(self._topics.partials, owned.partition)
        first = await self._log.seek_back(at, owned.position.at)
        if first is not None and self.is_owned(owned):
            self.counts["lost"] += first - owned.position.at
            logger.error(
                "%d frames of %s[%d] were deleted before they were read: retention is shorter than the lag",
                first - owned.position.at,
                at.topic,
                at.partition,
            )
            owned.position.at = first


class _Announcer:
    """Sealed buckets of one partition on their way to the topics, blocks many at once; see `Receiver`."""

    def __init__(self, stage: WindowStage, owned: _Owned) -> None:
        self._stage = stage
        self._owned = owned
        self._waiting: list[Awaitable[Any]] = []

    async def announce(self, transitions: Sequence[Transition]) -> None:
        await self._stage.announce(self._owned.partition, transitions)

    async def announce_anomalies(self, anomalies: Sequence[Transition]) -> None:
        await self._stage.announce_anomalies(self._owned.partition, anomalies)

    async def report(self, report: SliReport) -> None:
        await self._stage.report(self._owned.partition, report)

    async def store(self, blocks: Sequence[Block]) -> bool:
        for block in blocks:
            self._waiting += await self._stage.begin_to_store(self._owned.partition, block)
        if len(self._waiting) >= BUCKETS_IN_FLIGHT:
            await self.stored()
        await asyncio.sleep(0)
        return self._stage.is_owned(self._owned)

    async def stored(self) -> None:
        await asyncio.gather(*self._waiting)
        self._waiting.clear()


def _record(moved: Transition) -> tuple[bytes, bytes]:
    """Key and value of a transition, by its natural key."""
    return "/".join(map(str, moved.key)).encode(), msgspec.json.encode(moved.to_dict())


def encode_report(report: SliReport, bytes_max: int = RECORD_BYTES_MAX) -> list[bytes]:
    """One SLI report as JSON, a row for each group; in several parts where it is too large for one record."""
    good, total = np.asarray(report.good), np.asarray(report.total)
    groups = [
        msgspec.Raw(
            msgspec.json.encode(
                {
                    "labels": list(report.labels[series]),
                    "good": good[:, series].tolist(),
                    "total": total[:, series].tolist(),
                    "budget_good": int(report.budget_good[series]),
                    "budget_total": int(report.budget_total[series]),
                }
            )
        )
        for series in range(good.shape[1])
    ]
    head = {
        "at_ms": report.at_ms,
        "service": report.slo.service,
        "slo": report.slo.name,
        "objective": report.slo.objective,
        "target": report.slo.target,
        "group_by": list(report.slo.group_by),
        "windows_ms": list(report.windows_ms),
    }
    room = bytes_max - len(msgspec.json.encode(head)) - REPORT_SPARE_BYTES
    bounds = fitting_bounds(np.array([len(bytes(group)) + 1 for group in groups], dtype=np.int64), room)
    parts = [groups[start:stop] for start, stop in pairwise(bounds)] or [groups]
    if len(parts) == 1:
        return [msgspec.json.encode({**head, "groups": groups})]
    return [
        msgspec.json.encode({**head, "part": number, "parts": len(parts), "groups": part})
        for number, part in enumerate(parts)
    ]
