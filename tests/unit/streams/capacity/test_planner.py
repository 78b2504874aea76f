"""The planner: what is due when, what stands in for a failed forecast, and readings between forecasts."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calendar.period import CalendarPeriod
from models.calendar.units import DAY_MS, HOUR_MS
from models.forecast.paths import SampledForecast
from streams.capacity.model_cache import ModelCache
from streams.capacity.planner import CapacityPlanner
from streams.capacity.pool import Finished, Outcome
from streams.capacity.readings import forecast_record, reading_of
from streams.capacity.task import PATHS, ForecastColumn, ForecastMade, ForecastTask
from streams.plan.resource import History, Present, Resource, SeriesKey

POOL = Resource("pool", "gauge", limit=20.0)
QUOTA = Resource("rows", "quota", limit=240.0, period=CalendarPeriod("day"), horizon_ms=DAY_MS)
BUDGET = Resource("budget", "error_budget", target=0.99, window_ms=7 * DAY_MS)
LAG = Resource("lag", "lag", limit=1000.0, step_ms=60_000, horizon_ms=6 * HOUR_MS)
KEY = SeriesKey("pool")


class InlinePool:
    """Makes forecasts at once, all alike, or fails as it is told."""

    def __init__(self, outcome: Outcome = "made", level: float = 5.0, waiting_max: int = 100) -> None:
        self.outcome: Outcome = outcome
        self.level, self.waiting_max = level, waiting_max
        self.tasks: deque[ForecastTask] = deque()

    @property
    def free(self) -> int:
        return self.waiting_max - len(self.tasks)

    def submit(self, task: ForecastTask) -> bool:
        if self.free <= 0:
            return False
        self.tasks.append(task)
        return True

    def collect(self) -> list[Finished]:
        done = [
            Finished(task, "made", made_of(task.key, task.origin_ms, self.level, task.horizon))
            if self.outcome == "made"
            else Finished(task, self.outcome, reason="because")
            for task in self.tasks
        ]
        self.tasks.clear()
        return done

    def close(self) -> None:
        self.tasks.clear()


def made_of(
    key: SeriesKey, origin_ms: int, level: float, horizon: int, columns: int = 1, step_ms: int = HOUR_MS
) -> ForecastMade:
    column = ForecastColumn.of(SampledForecast(np.full((3, horizon), level), "flat", 0.5, {0.8: 0.79}))
    return ForecastMade(key, origin_ms, step_ms, (column,) * columns, 0.25)


def history(hours: int = 48, level: float = 5.0) -> History:
    return History(np.arange(hours, dtype=np.int64) * HOUR_MS, np.full(hours, level))


def test_a_series_is_due_at_once_and_then_once_an_interval() -> None:
    planner = CapacityPlanner([POOL], InlinePool())
    at = 100 * HOUR_MS
    assert planner.due(at, [KEY]) == [KEY]
    assert planner.submit(at, KEY, history())
    assert planner.due(at + 2 * HOUR_MS, [KEY]) == [], "it is on its way"
    assert planner.collect() == [KEY]
    minutes = [minute for minute in range(180) if planner.due(at + minute * 60_000, [KEY])]
    assert minutes, "it falls due again"
    assert minutes == list(range(minutes[0], 180)), "and stays due until it is given"
    assert minutes[0] <= 60


def test_refreshes_are_spread_over_the_interval() -> None:
    pool = InlinePool(waiting_max=10_000)
    planner = CapacityPlanner([POOL], pool)
    keys = [SeriesKey("pool", (str(number),)) for number in range(600)]
    at = 1000 * HOUR_MS
    for key in planner.due(at, keys):
        planner.submit(at, key, history())
    planner.collect()
    counts = []
    for minute in range(1, 61):
        due = planner.due(at + minute * 60_000, keys)
        counts.append(len(due))
        for key in due:
            planner.submit(at + minute * 60_000, key, history())
        planner.collect()
    assert sum(counts) == 600, "each once an hour"
    assert max(counts) < 40, "10 a minute, give or take"


def test_the_pool_bounds_what_is_due_and_the_series_bound_what_is_forecast() -> None:
    pool = InlinePool(waiting_max=2)
    planner = CapacityPlanner([POOL], pool, series_max=3)
    keys = [SeriesKey("pool", (str(number),)) for number in range(5)]
    due = planner.due(0, keys)
    assert len(due) == 2
    assert planner.left_out == 2
    assert [planner.submit(0, key, history()) for key in keys[:3]] == [True, True, False]
    assert planner.due(0, keys) == []
    planner.collect()
    assert planner.due(0, keys) == [keys[2]], "what was turned away stays due"
    assert planner.expire(30 * HOUR_MS, {"disk"}) == [], "the time of another resource"
    assert set(planner.expire(30 * HOUR_MS, {"pool"})) == set(keys[:3])
    with pytest.raises(ValueError, match="two resources"):
        CapacityPlanner([POOL, POOL], pool)


@pytest.mark.parametrize("outcome", ["refused", "overdue", "crashed"])
def test_the_simple_forecast_stands_in_and_is_counted(outcome: Outcome) -> None:
    planner = CapacityPlanner([POOL], InlinePool(outcome))
    planner.submit(0, KEY, history(level=19.0))
    planner.collect()
    made = planner.made(KEY)
    assert made is not None
    assert made.refusal == "because"
    assert made.columns[0].paths.shape == (PATHS, POOL.steps)
    assert planner.outcomes[outcome] == 1
    reading = planner.readings(48 * HOUR_MS, {KEY: Present(current=19.0)})[0]
    assert reading.evidence["fallback"] == "because"
    assert (reading.used_ratio, reading.probability) == (0.95, 0.0)


def test_a_series_without_any_value_has_no_forecast_and_no_alarm() -> None:
    planner = CapacityPlanner([POOL], InlinePool("refused"))
    planner.submit(0, KEY, history(level=math.nan))
    assert planner.collect() == []
    assert planner.outcomes["failed"] == 1
    reading = planner.readings(0, {KEY: Present(current=5.0)})[0]
    assert reading.used_ratio == 0.25
    assert math.isnan(reading.probability)


def test_what_was_used_since_the_forecast_counts() -> None:
    made = made_of(SeriesKey("rows"), 0, 10.0, QUOTA.steps)
    noon = DAY_MS // 2
    calm = reading_of(QUOTA, made, Present(current=119.0), noon)
    assert (calm.probability, calm.forecast_ratio) == (0.0, pytest.approx(239 / 240))
    busy = reading_of(QUOTA, made, Present(current=200.0), noon + HOUR_MS // 2)
    assert busy.probability == 1.0
    assert busy.expected_seconds == pytest.approx(4 * 3600)
    assert busy.period == (0, DAY_MS)
    assert busy.used_ratio == pytest.approx(200 / 240)
    passed = reading_of(QUOTA, made, Present(current=241.0), noon)
    assert (passed.probability, passed.expected_seconds) == (1.0, 0.0)
    # A forecast from the day before that does not reach the end of today says nothing of it.
    old = reading_of(QUOTA, made, Present(current=1.0), 2 * DAY_MS)
    assert math.isnan(old.probability)
    assert old.used_ratio == pytest.approx(1 / 240)


def test_a_gauge_is_read_from_now_on() -> None:
    ramp = np.tile(np.arange(1.0, POOL.steps + 1), (3, 1))
    made = replace(
        made_of(KEY, 0, 0.0, POOL.steps), columns=(ForecastColumn.of(SampledForecast(ramp, "ramp")),)
    )
    at_start = reading_of(POOL, made, Present(current=0.0), 0)
    later = reading_of(POOL, made, Present(current=5.0), 5 * HOUR_MS)
    assert at_start.expected_seconds == 20 * 3600
    assert later.expected_seconds == 15 * 3600
    assert later.exhaustion_seconds[0.5] == 15 * 3600
    assert later.used_ratio == 0.25
    assert math.isnan(reading_of(POOL, made, Present(current=5.0), POOL.steps * HOUR_MS).probability)


def test_a_limit_that_is_a_series_is_forecast_too() -> None:
    disk = Resource("disk", "gauge")
    made = made_of(SeriesKey("disk"), 0, 7.0, disk.steps, columns=2)
    assert reading_of(disk, made, Present(current=6.0, limit=8.0), 0).probability == 1.0
    assert math.isnan(reading_of(disk, made, Present(current=6.0), 0).probability)


def test_an_error_budget_that_burns_twice_as_fast_lasts_half_as_long() -> None:
    week = 7 * 24
    past = History(np.arange(week, dtype=np.int64) * HOUR_MS, np.zeros(week), np.full(week, 1000.0))
    bad, total = (
        ForecastColumn.of(SampledForecast(np.full((3, BUDGET.steps), level), "flat"))
        for level in (20.0, 1000.0)
    )
    made = ForecastMade(SeriesKey("budget"), week * HOUR_MS, HOUR_MS, (bad, total), 0.0)
    reading = reading_of(BUDGET, made, Present(window=past), week * HOUR_MS)
    assert reading.probability == 1.0
    assert reading.expected_seconds == pytest.approx(week / 2 * 3600)
    assert reading.used_ratio == 0.0
    assert math.isnan(reading_of(BUDGET, None, Present(window=past), 0).probability)


@given(st.integers(0, 23), st.integers(1, 9))
def test_a_quarters_budget_is_read_to_its_end_at_any_hour(hour: int, day: int) -> None:
    quarter = CalendarPeriod("quarter", "Asia/Kolkata")
    budget = replace(BUDGET, window_ms=None, period=quarter, step_ms=DAY_MS)
    start_ms, end_ms = quarter.bounds(1_775_000_000_000)
    origin_ms = start_ms // DAY_MS * DAY_MS + day * DAY_MS
    at_ms = origin_ms + hour * HOUR_MS
    # every hour 100 events, 2 of which are bad: twice what the target allows
    bad, total = (
        ForecastColumn.of(SampledForecast(np.full((3, budget.steps), 24 * level), "flat"))
        for level in (2.0, 100.0)
    )
    hours = (at_ms - start_ms) / HOUR_MS
    past = History(np.array([start_ms]), np.array([2.0 * hours]), np.array([100.0 * hours]))
    made = ForecastMade(SeriesKey("budget"), origin_ms, DAY_MS, (bad, total), 0.0)
    reading = reading_of(budget, made, Present(window=past), at_ms)
    whole_hours = (end_ms - start_ms) / HOUR_MS
    assert reading.period == (start_ms, end_ms)
    assert reading.used_ratio == pytest.approx(2 * hours / whole_hours)
    assert reading.probability == 1.0
    # spent half-way through the quarter, told to the end of a day
    left_s = (whole_hours / 2 - hours) * 3600
    assert left_s - 1 <= reading.expected_seconds <= left_s + 24 * 3600 + 1


def test_a_lag_that_shrinks_says_when_it_has_caught_up() -> None:
    values = np.arange(900.0, 300.0, -10.0)
    window = History(np.arange(len(values), dtype=np.int64) * 60_000, values)
    reading = reading_of(LAG, None, Present(current=310.0, window=window), 0)
    assert reading.probability == 0.0
    assert reading.evidence["catch_up_probability"] == 1.0
    assert reading.evidence["catch_up_seconds"] == pytest.approx(31 * 60)
    endless = reading_of(
        replace(LAG, limit=None), None, Present(window=replace(window, values=values[::-1])), 0
    )
    assert endless.probability == 1.0


levels = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=40)
@given(st.lists(levels, min_size=1, max_size=30), levels, st.integers(0, 400))
def test_odd_series_give_readings_that_can_be_published(
    values: list[float], current: float, hours_later: int
) -> None:
    past = History(np.arange(len(values), dtype=np.int64) * HOUR_MS, np.array(values))
    for resource in (POOL, QUOTA, LAG):
        planner = CapacityPlanner([resource], InlinePool("refused"))
        key = SeriesKey(resource.name)
        planner.submit(0, key, past)
        planner.collect()
        at_ms = (len(values) + hours_later) * HOUR_MS
        reading = planner.readings(at_ms, {key: Present(current=current, window=past)})[0]
        assert math.isnan(reading.probability) or 0 <= reading.probability <= 1
        assert not math.isnan(reading.expected_seconds)
        assert not any(map(math.isnan, reading.exhaustion_seconds.values()))
        made = planner.made(key)
        if made is not None:
            record = forecast_record(made, reading, at_ms)
            assert all(value is not None for row in record["quantiles"].values() for value in row)


def test_models_stay_warm_until_they_are_due_and_repeat_themselves() -> None:
    random = np.random.default_rng(3)
    hours = np.arange(24 * 16)
    values = 50 + 20 * np.sin(hours * 2 * np.pi / 24) + random.normal(0, 2, len(hours))
    starts = hours.astype(np.int64) * HOUR_MS

    def story() -> list[ForecastMade]:
        cache = ModelCache()
        return [
            cache.run(ForecastTask(KEY, starts[:end], (values[:end],), HOUR_MS, 48, seed=7))
            for end in (360, 361, 362, 384)
        ]

    first, second = story(), story()
    assert [made.warm for made in first][:3] == [False, True, True]
    for one, other in zip(first, second, strict=True):
        assert (one.columns[0].paths == other.columns[0].paths).all()
    assert first[1].origin_ms == 361 * HOUR_MS
    truth = values[362:384]
    median = first[2].columns[0].quantiles[2][: len(truth)]
    assert np.abs(median - truth).mean() < 4
    # A model that would have to go back, or look further, is fitted anew.
    cache = ModelCache(models_max=1)
    tasks = [
        ForecastTask(KEY, starts[:end], (values[:end],), HOUR_MS, horizon, seed=7)
        for end, horizon in ((360, 48), (350, 48), (351, 24))
    ]
    assert [cache.run(task).warm for task in tasks] == [False, False, False]


def test_resources_that_cannot_be_are_named() -> None:
    with pytest.raises(ValueError, match="rows: a quota needs"):
        replace(QUOTA, limit=None)
    with pytest.raises(ValueError, match="budget: an error budget needs"):
        replace(BUDGET, window_ms=None)
    with pytest.raises(ValueError, match="above zero"):
        replace(POOL, step_ms=0)
    with pytest.raises(ValueError, match="ascend"):
        History(np.array([1, 1]), np.zeros(2))
    with pytest.raises(ValueError, match="one length"):
        History(np.array([1]), np.zeros(2))
