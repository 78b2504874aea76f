"""Which series are forecast when, what is known of each, and what alerts and metrics read of it.

Guarantees:
- Nothing here waits for a forecast: tasks go to a pool of processes with bounds, and what is done is
  collected when the caller has time. Until then the last forecast holds, moved on to the present.
- Refreshes are spread evenly over their interval, by the series' name, so that ten thousand series do not all
  fall due at the hour. A series without a forecast is due at once.
- A series whose full forecast is refused, overdue or crashed gets the simple one in its place, and a counter
  says so. So there is always an answer, and it says what made it.
- For one seed and the same histories the forecasts are the same, whatever else runs, as long as no
  deadline strikes.

It knows no Kafka and no clock: instants are arguments. A series takes `PATHS` · steps · 4 bytes, 0.2 MB for a
week of hours; `series_max` bounds them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from detectors.capacity.reading import CapacityReading
from streams.capacity.level_memory import LevelMemory
from streams.capacity.pool import Finished
from streams.capacity.readings import reading_of
from streams.capacity.task import ForecastColumn, ForecastMade, ForecastTask, fallback
from streams.plan.resource import History, Present, Resource, SeriesKey

SERIES_MAX = 1_000
"""Limited resources with more series than that are better added up first; they take 0.2 GB."""

EXPIRY_REFRESHES = 24
"""A series that was not seen for so many refreshes is forgotten."""


class Pool(Protocol):
    """What the planner needs of `ForecastPool`."""

    @property
    def free(self) -> int:
        """Tasks that may be given now."""

    def submit(self, task: ForecastTask) -> bool:
        """Give a task; False if too many wait."""

    def collect(self) -> list[Finished]:
        """What has become of tasks since the last call."""

    def close(self) -> None:
        """End what runs."""


@dataclass(slots=True)
class _Entry:
    """What is known of one series.

    asked_ms : when it was last given to the pool
    seen_ms  : when the caller last named it
    level    : of quotas and gauges, what was forecast before
    """

    made: ForecastMade | None = None
    asked_ms: int | None = None
    seen_ms: int = 0
    pending: bool = False
    level: LevelMemory = field(default_factory=LevelMemory)


class CapacityPlanner:
    """Forecasts of the series of some resources.

    resources : with distinct names
    pool      : where forecasts are made
    seed      : of all forecasts; each series gets its own from it
    budget_s  : seconds that a fit may take
    series_max : series that are forecast at most; further ones are left out, and counted

    Raises ValueError where a name occurs twice.
    """

    def __init__(
        self,
        resources: Sequence[Resource],
        pool: Pool,
        *,
        seed: int = 0,
        budget_s: float = 0.5,
        series_max: int = SERIES_MAX,
    ) -> None:
        self.resources = {resource.name: resource for resource in resources}
        if len(self.resources) < len(resources):
            raise ValueError("two resources have one name; give each its own")
        self._pool, self._seed, self._budget_s, self._series_max = pool, seed, budget_s, series_max
        self._entries: dict[SeriesKey, _Entry] = {}
        self.outcomes: Counter[str] = Counter(
            {"fit": 0, "update": 0, "refused": 0, "overdue": 0, "crashed": 0, "failed": 0}
        )
        """Forecasts by what became of them; all but the first two are answered by the simple model, and those
        that failed by none, since their series has no value at all."""
        self.left_out = 0
        """Series that the last call of `due` found too many."""
        self.seconds = 0.0
        """Seconds of computing, of all forecasts together."""

    def due(self, at_ms: int, keys: Iterable[SeriesKey]) -> list[SeriesKey]:
        """Those of the series there are whose histories are wanted now, at most as many as the pool may take.

        Those that have no forecast come first, then those that have waited longest.
        """
        wanted: list[tuple[int, SeriesKey]] = []
        self.left_out = 0
        for key in keys:
            if key not in self._entries and len(self._entries) >= self._series_max:
                self.left_out += 1
                continue
            entry = self._entries.setdefault(key, _Entry())
            entry.seen_ms = at_ms
            resource = self.resources[key.resource]
            if entry.pending or resource.kind == "lag":  # a lag's futures are made with each reading
                continue
            if entry.asked_ms is None:
                wanted.append((-1, key))
            elif _slot(key, at_ms, resource.refresh_ms) > _slot(key, entry.asked_ms, resource.refresh_ms):
                wanted.append((entry.asked_ms, key))
        wanted.sort()
        return [key for _, key in wanted[: max(self._pool.free, 0)]]

    def submit(self, at_ms: int, key: SeriesKey, history: History) -> bool:
        """Have a series forecast; False if too many wait, so that it stays due."""
        resource = self.resources[key.resource]
        task = ForecastTask(
            key,
            history.starts,
            history.columns(),
            resource.step_ms,
            resource.steps,
            seed=(self._seed + key.number) % (1 << 31),
            budget_s=self._budget_s,
            time_zone=resource.time_zone,
            tied=resource.kind == "gauge",
        )
        if not self._pool.submit(task):
            return False
        entry = self._entries.setdefault(key, _Entry())
        entry.asked_ms, entry.seen_ms, entry.pending = at_ms, at_ms, True
        return True

    def collect(self) -> list[SeriesKey]:
        """Take over what is done; the series that have a new forecast."""
        renewed = []
        for finished in self._pool.collect():
            entry = self._entries.get(finished.task.key)
            if entry is None:  # forgotten meanwhile
                continue
            entry.pending = False
            made = self._made(finished)
            if made is not None:
                kind = self.resources[made.key.resource].kind
                if kind in ("quota", "gauge"):
                    made = entry.level.moved(finished.task, made, drifts=kind == "gauge")
                entry.made = made
                renewed.append(finished.task.key)
        return renewed

    def _made(self, finished: Finished) -> ForecastMade | None:
        """The forecast, or the simple one in its place; None where the series has no value at all."""
        if finished.made is not None:
            made = finished.made
            self.outcomes["refused" if made.refusal else "update" if made.warm else "fit"] += 1
            self.seconds += made.seconds
            return made
        task = finished.task
        try:
            columns = tuple(
                ForecastColumn.of(fallback(task, values), finished.reason) for values in task.columns
            )
        except ValueError:
            self.outcomes["failed"] += 1
            return None
        self.outcomes[finished.outcome] += 1
        return ForecastMade(task.key, task.origin_ms, task.step_ms, columns, seconds=0.0)

    def readings(self, at_ms: int, presents: Mapping[SeriesKey, Present]) -> list[CapacityReading]:
        """What is known of these series at `at_ms`, in their order."""
        return [
            reading_of(self.resources[key.resource], self.made(key), present, at_ms)
            for key, present in presents.items()
        ]

    def made(self, key: SeriesKey) -> ForecastMade | None:
        """The newest forecast of a series."""
        entry = self._entries.get(key)
        return None if entry is None else entry.made

    def forecasts(self) -> dict[SeriesKey, ForecastMade]:
        """The newest forecasts of all series."""
        return {key: entry.made for key, entry in self._entries.items() if entry.made is not None}

    def expire(self, at_ms: int, resources: Collection[str]) -> list[SeriesKey]:
        """Drop series that `due` was not asked about for a day of refreshes, and return them.

        resources : names of those that `at_ms` is the time of; sources lag apart
        """
        gone = [
            key
            for key, entry in self._entries.items()
            if key.resource in resources
            and at_ms - entry.seen_ms > EXPIRY_REFRESHES * self.resources[key.resource].refresh_ms
        ]
        for key in gone:
            del self._entries[key]
        return gone

    def close(self) -> None:
        """End the pool's processes."""
        self._pool.close()


def _slot(key: SeriesKey, at_ms: int, refresh_ms: int) -> int:
    """Number of the refresh interval, whose borders differ from series to series."""
    return (at_ms + key.number % refresh_ms) // refresh_ms
