"""Two day quotas and a pool in accelerated event time: alerts at the set share, and hours before the truth.

No Kafka: histories come from arrays as the worker would cut them from its rings, forecasts are made by the
planner's own cache, alerts by the book that the worker keeps. Nothing sees beyond the instant it judges.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from detectors.alerts.alert import Alert, Transition
from detectors.capacity.alerts import (
    CAPACITY_EXHAUSTION,
    QUOTA_WARNING,
    QUOTA_WILL_EXHAUST,
    CapacityAlerts,
)
from models.arrays import Numbers
from models.calendar.period import CalendarPeriod
from models.calendar.units import DAY_MS, HOUR_MS
from streams.capacity.model_cache import ModelCache
from streams.capacity.planner import CapacityPlanner
from streams.capacity.pool import Finished
from streams.capacity.task import ForecastTask
from streams.plan.resource import History, Present, Resource, SeriesKey

MINUTE_MS = 60_000
TICK_MS = 10 * MINUTE_MS
PER_HOUR, PER_DAY = HOUR_MS // TICK_MS, DAY_MS // TICK_MS
START_MS = 1_772_323_200_000
"""A Sunday, 00:00 UTC."""

DAYS = 18
JUDGED_FROM = 14
"""Two weeks are history; the last four days are judged: two ordinary ones, one that exhausts quotas, and one
more that is ordinary."""

BUSY = 16


class InlinePool:
    """Forecasts in this process, so that the simulation needs no clock."""

    def __init__(self) -> None:
        self.cache = ModelCache()
        self.tasks: deque[ForecastTask] = deque()

    @property
    def free(self) -> int:
        return 100

    def submit(self, task: ForecastTask) -> bool:
        self.tasks.append(task)
        return True

    def collect(self) -> list[Finished]:
        done = [Finished(task, "made", self.cache.run(task)) for task in self.tasks]
        self.tasks.clear()
        return done

    def close(self) -> None:
        self.tasks.clear()


def day_wave(peak_hour: float) -> Numbers:
    """Load of each tick of a day, about 1, with a night."""
    hours = np.arange(PER_DAY) / PER_HOUR
    return 1 + 0.6 * np.cos((hours - peak_hour) * 2 * np.pi / 24)


def usage(per_day: float, busy: float, seed: int, peak_hour: float) -> Numbers:
    """Amounts of each tick: `per_day` on ordinary days, from 06:00 on so much more on the busy one."""
    random = np.random.default_rng(seed)
    days = np.tile(day_wave(peak_hour), (DAYS, 1)) * per_day / PER_DAY
    days *= random.normal(1.0, 0.03, (DAYS, 1))
    days *= random.normal(1.0, 0.10, days.shape)
    days[BUSY, 6 * PER_HOUR :] *= busy
    return np.maximum(days, 0).reshape(-1).round()


def pool_gauge(seed: int) -> Numbers:
    """Connections checked out of 100: a day's wave, and from day 15 on a leak of one and a half an hour."""
    random = np.random.default_rng(seed)
    ticks = np.arange(DAYS * PER_DAY)
    level = 25 + 10 * np.tile(day_wave(14.0) - 1, DAYS) + random.normal(0, 1.5, len(ticks))
    leak = np.maximum(ticks - 15 * PER_DAY, 0) / PER_HOUR * 1.5
    return np.clip(level + leak, 0, 100).round()


@dataclass
class Run:
    """What happened to one resource.

    moved : transitions in their order
    """

    moved: list[Transition] = field(default_factory=list)

    def times(self, alertname: str, state: str) -> list[int]:
        return [
            one.at_ms for one in self.moved if (one.alert.alertname, one.alert.state) == (alertname, state)
        ]

    def first(self, alertname: str) -> Alert:
        return next(one.alert for one in self.moved if one.alert.alertname == alertname)


def simulate(resources: list[Resource], ticks: dict[str, Numbers], seed: int = 0) -> dict[str, Run]:
    planner = CapacityPlanner(resources, InlinePool(), seed=seed)
    alerts = CapacityAlerts()
    runs = {resource.name: Run() for resource in resources}
    keys = {resource.name: SeriesKey(resource.name) for resource in resources}
    hourly = {
        resource.name: ticks[resource.name].reshape(-1, PER_HOUR).sum(axis=1)
        if resource.kind == "quota"
        else ticks[resource.name].reshape(-1, PER_HOUR).max(axis=1)
        for resource in resources
    }
    for tick in range(JUDGED_FROM * PER_DAY, DAYS * PER_DAY):
        at_ms = START_MS + tick * TICK_MS
        for key in planner.due(at_ms, keys.values()):
            known = tick // PER_HOUR
            starts = START_MS + HOUR_MS * np.arange(known, dtype=np.int64)
            planner.submit(at_ms, key, History(starts, hourly[key.resource][:known]))
        planner.collect()
        presents = {}
        for resource in resources:
            values = ticks[resource.name]
            if resource.period is None:
                presents[keys[resource.name]] = Present(current=float(values[tick - 1]))
            else:
                first = (resource.period.bounds(at_ms)[0] - START_MS) // TICK_MS
                presents[keys[resource.name]] = Present(current=float(values[max(first, 0) : tick].sum()))
        for one in alerts.step(at_ms, planner.readings(at_ms, presents)):
            runs[one.alert.labels["resource"]].moved.append(one)
    return runs


def quota_truth(resource: Resource, values: Numbers, day_ms: int) -> tuple[int, int | None]:
    """(when the warning's share was reached, when the quota was passed) in the period that holds `day_ms`."""
    assert resource.period is not None
    assert resource.limit is not None
    start_ms, end_ms = resource.period.bounds(day_ms)
    first, last = (start_ms - START_MS) // TICK_MS, (end_ms - START_MS) // TICK_MS
    sums = values[first:last].cumsum()
    warned = int(np.flatnonzero(sums >= 0.8 * resource.limit)[0]) + 1
    passed = np.flatnonzero(sums > resource.limit)
    return start_ms + warned * TICK_MS, start_ms + (int(passed[0]) + 1) * TICK_MS if len(passed) else None


def test_quotas_and_a_pool_alert_hours_before_the_truth() -> None:
    rows = Resource("turso-rows-read", "quota", limit=1e6, period=CalendarPeriod("day"), horizon_ms=DAY_MS)
    requests = Resource(
        "workers-requests",
        "quota",
        limit=1e5,
        period=CalendarPeriod("day", "Europe/Berlin"),
        horizon_ms=DAY_MS,
    )
    pool = Resource("db-pool", "gauge", limit=100.0, horizon_ms=2 * DAY_MS)
    ticks = {
        rows.name: usage(700_000, 1.9, seed=1, peak_hour=14.0),
        requests.name: usage(68_000, 2.0, seed=2, peak_hour=13.0),
        pool.name: pool_gauge(seed=3),
    }
    runs = simulate([rows, requests, pool], ticks)

    for resource in (rows, requests):
        run, values = runs[resource.name], ticks[resource.name]
        start_ms, end_ms = resource.period.bounds(START_MS + BUSY * DAY_MS + DAY_MS // 2)  # type: ignore[union-attr]
        warned, passed = quota_truth(resource, values, start_ms)
        assert passed is not None
        assert len(run.times(QUOTA_WARNING, "firing")) == 1, "ordinary days are quiet"
        # After a day that doubled, the next one is unsure for its first hours.
        again = run.times(QUOTA_WILL_EXHAUST, "firing")[1:]
        assert len(again) <= 1
        assert all(end_ms <= at_ms < end_ms + 6 * HOUR_MS for at_ms in again)
        for name in (QUOTA_WARNING, QUOTA_WILL_EXHAUST):
            assert run.times(name, "resolved")[0] == end_ms, "it ends with its period, not before"
        assert run.first(QUOTA_WARNING).starts_at_ms == warned, "at the set share, to the step"
        told = run.first(QUOTA_WILL_EXHAUST)
        assert start_ms < told.starts_at_ms <= passed - 5 * HOUR_MS, "hours before"
        assert told.evidence["model"]
        assert told.evidence["mase"] > 0
        assert told.evidence["coverage"]["0.8"] > 0.5
        low, high = (told.starts_at_ms + 1000 * seconds for seconds in told.evidence["range_seconds"])
        assert low - 2 * HOUR_MS <= passed <= high + 2 * HOUR_MS

    run = runs[pool.name]
    saturated = START_MS + int(np.flatnonzero(ticks[pool.name] >= 100)[0] + 1) * TICK_MS
    begun = run.times(CAPACITY_EXHAUSTION, "firing")
    assert len(begun) == 1
    assert START_MS + 15 * DAY_MS < begun[0] <= saturated - 3 * HOUR_MS
    assert run.times(CAPACITY_EXHAUSTION, "resolved") == []


def test_the_same_seed_tells_the_same_story() -> None:
    rows = Resource("turso-rows-read", "quota", limit=1e6, period=CalendarPeriod("day"), horizon_ms=DAY_MS)
    ticks = {rows.name: usage(700_000, 1.9, seed=4, peak_hour=14.0)}
    first, second = (
        [one.to_dict() for one in simulate([rows], ticks, seed=9)[rows.name].moved] for _ in range(2)
    )
    assert first == second
    assert len(first) >= 4
    assert all(one["at_ms"] <= other["at_ms"] for one, other in pairwise(first))
