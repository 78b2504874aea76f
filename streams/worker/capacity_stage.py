"""Forecasts of limited resources off the stream's path: each worker forecasts the series that it owns.

Event time drives everything: what is due, how things stand, when alerts begin and end. Forecasts are made in
processes of their own and taken over when they are there; until then the last one holds.

Live alerts are stored with the sealed buckets of their partition, so that its next owner continues them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from detectors.alerts.alert import Alert, Transition
from detectors.capacity.alerts import CapacityAlerts
from detectors.capacity.reading import CapacityReading
from models.calendar.units import MINUTE_MS
from streams.capacity.histories import Histories
from streams.capacity.planner import CapacityPlanner
from streams.capacity.pool import ForecastPool
from streams.capacity.readings import forecast_record
from streams.judge.judged_source import JudgedSource
from streams.kafka.log import Log, Partition
from streams.kafka.topics import Topics
from streams.plan.plan import BUCKET_MS
from streams.plan.resource import CapacityPlan, SeriesKey
from streams.publish.metrics.forecast_families import series_name
from streams.publish.metrics.forecast_snapshot import ForecastSnapshot
from streams.window.blocks import Block
from streams.worker.live_forecasts import forecast_snapshot
from streams.worker.window_stage import WindowStage

logger = logging.getLogger(__name__)

CAPACITY = "~capacity"
"""In place of a source's name in the block of a partition's capacity alerts; no source is called so."""

RECORD_EVERY_MS = MINUTE_MS
"""Readings are judged and told at most once a minute of event time."""


@dataclass(slots=True)
class _Owned:
    """A partition whose series are looked after.

    judged_ms : by source, the event time of its last readings
    """

    alerts: CapacityAlerts
    revision: int
    judged_ms: dict[str, int] = field(default_factory=dict)
    readings: dict[str, list[CapacityReading]] = field(default_factory=dict)


class CapacityStage:
    """The forecasts and alerts of one worker's series.

    Until `open` is called no process is started.
    """

    def __init__(self, plans: Sequence[CapacityPlan], topics: Topics, log: Log, window: WindowStage) -> None:
        self._plans = plans
        self._topics = topics
        self._log = log
        self._window = window
        self._owned: dict[int, _Owned] = {}
        self._histories: dict[tuple[int, str], Histories] = {}
        self._planner: CapacityPlanner | None = None

    def clear(self) -> None:
        """The assignment is over."""
        self._owned.clear()
        self._histories.clear()

    def start(self, partition: int, blocks: Sequence[Block]) -> None:
        """Own a partition: go on with its live alerts."""
        alerts = CapacityAlerts({plan.resource.name: plan.rule for plan in self._plans})
        for block in blocks:
            if block.source == CAPACITY:
                try:
                    alerts.restore(msgspec.json.decode(block.state))
                except ValueError as error:
                    logger.error("Capacity alerts of partition %d start from scratch: %s", partition, error)
        self._owned[partition] = _Owned(alerts, alerts.revision)

    def active(self) -> list[Alert]:
        """The live alerts of all owned partitions."""
        return [alert for owned in self._owned.values() for alert in owned.alerts.active()]

    def open(self) -> None:
        """Start the processes that forecast."""
        resources = [plan.resource for plan in self._plans]
        self._planner = CapacityPlanner(resources, ForecastPool())

    def close(self) -> None:
        """End them."""
        if self._planner is not None:
            self._planner.close()

    async def step(self) -> None:
        """Take over forecasts, ask for those that are due, and judge what has moved on."""
        planner = self._planner
        if planner is None:
            return
        renewed = set(planner.collect())
        windows = self._window.owned()
        for partition, owned in list(self._owned.items()):
            moved: list[Transition] = []
            for source, window in windows.get(partition, {}).items():
                if any(plan.source == source for plan in self._plans):
                    moved += await self._look_after(planner, partition, owned, window, renewed)
            if self._owned.get(partition) is not owned:
                return
            await self._tell(partition, owned, moved)

    def snapshot(self) -> ForecastSnapshot:
        """What the metrics show."""
        if self._planner is None:
            return ForecastSnapshot()
        readings = [
            reading
            for owned in self._owned.values()
            for by_source in owned.readings.values()
            for reading in by_source
        ]
        at_ms = max((at for owned in self._owned.values() for at in owned.judged_ms.values()), default=0)
        return forecast_snapshot(self._planner, readings, at_ms)

    async def _look_after(
        self,
        planner: CapacityPlanner,
        partition: int,
        owned: _Owned,
        window: JudgedSource,
        renewed: set[SeriesKey],
    ) -> list[Transition]:
        source = window.plan.name
        at_ms = window.sealed * BUCKET_MS
        if window.live_end() is None or window.sealed < 0:
            return []
        series: dict[SeriesKey, tuple[Histories, int]] = {}
        for plan in self._plans:
            if plan.source != source:
                continue
            histories = self._of(partition, plan, window)
            numbers = histories.keys()
            series |= {key: (histories, number) for key, number in numbers.items()}
            for key in planner.due(at_ms, numbers):
                past = histories.history(numbers[key])
                if past is not None:
                    planner.submit(at_ms, key, past)
                await asyncio.sleep(0)  # a thousand histories must not hold the stream
        waited = at_ms - owned.judged_ms.get(source, 0) >= RECORD_EVERY_MS
        if waited:
            planner.expire(at_ms, {plan.resource.name for plan in self._plans if plan.source == source})
        if not series or not (waited or renewed & series.keys()):
            return []
        presents = {
            key: histories.present(number, window.sealed) for key, (histories, number) in series.items()
        }
        owned.judged_ms[source] = at_ms
        readings = planner.readings(at_ms, presents)
        owned.readings[source] = readings
        await self._record(planner, partition, dict(zip(presents, readings, strict=True)), renewed, at_ms)
        return owned.alerts.step(at_ms, readings)

    def _of(self, partition: int, plan: CapacityPlan, window: JudgedSource) -> Histories:
        place = partition, plan.resource.name
        if place not in self._histories:
            self._histories[place] = Histories(plan, window.rollups[plan.rollup])
        return self._histories[place]

    async def _record(
        self,
        planner: CapacityPlanner,
        partition: int,
        readings: Mapping[SeriesKey, CapacityReading],
        renewed: set[SeriesKey],
        at_ms: int,
    ) -> None:
        """New forecasts to their topic."""
        to = Partition(self._topics.forecasts, partition)
        for key, reading in readings.items():
            made = planner.made(key) if key in renewed else None
            if made is not None:
                name = series_name(key.resource, key.labels).encode()
                await self._log.inform(to, name, msgspec.json.encode(forecast_record(made, reading, at_ms)))

    async def _tell(self, partition: int, owned: _Owned, moved: Sequence[Transition]) -> None:
        if moved:
            await self._window.announce(partition, moved)
        if owned.alerts.revision != owned.revision:
            owned.revision = owned.alerts.revision
            state = msgspec.json.encode(owned.alerts.state())
            await self._window.store(partition, Block(CAPACITY, 0, 0, (), state))
