"""Levels that moved: what is a surprise, how much of it goes on, and what the planner makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.calendar.units import HOUR_MS
from models.forecast.level_shift import (
    OUTSIDE,
    RATIO_MAX,
    drift_rate,
    drifting_paths,
    shift_ratio,
    shifted_paths,
)
from models.forecast.paths import SampledForecast
from streams.capacity.level_memory import STEPS_MAX, LevelMemory
from streams.capacity.task import ForecastColumn, ForecastMade, ForecastTask
from streams.plan.resource import SeriesKey

DRAWN = np.random.default_rng(0).normal(100, 5, size=(400, 6))


@given(st.floats(0.01, 100), st.integers(3, 6))
def test_only_what_lies_outside_nearly_all_paths_moves_the_level(factor: float, steps: int) -> None:
    seen = np.full(steps, 100 * factor)
    ratio = shift_ratio(DRAWN[:, :steps], seen)
    below = (DRAWN[:, :steps].sum(axis=1) < seen.sum()).mean()
    if OUTSIDE <= below <= 1 - OUTSIDE:
        assert ratio == 1.0
    elif factor > 1.2 or factor < 0.8:
        assert ratio == pytest.approx(np.clip(factor, 1 / RATIO_MAX, RATIO_MAX), rel=0.02)


def test_what_is_taken_up_already_is_not_added_again() -> None:
    doubled = np.full(3, 200.0)
    assert shift_ratio(DRAWN[:, :3], doubled) == pytest.approx(2, rel=0.02)
    assert shift_ratio(DRAWN[:, :3], doubled, adapted=1.6) == pytest.approx(1.25, rel=0.02)
    assert shift_ratio(DRAWN[:, :3], doubled, adapted=2.5) == 1.0
    assert shift_ratio(DRAWN[:, :3], doubled / 4, adapted=0.4) == 1.0


@pytest.mark.parametrize(
    "seen", [np.full(2, 900.0), np.full(3, np.nan), np.zeros(3), np.array([np.nan, 900.0, 900.0])]
)
def test_too_little_or_nothing_is_no_surprise(seen: np.ndarray) -> None:
    assert shift_ratio(DRAWN[:, : len(seen)], seen) == 1.0
    assert shift_ratio(np.zeros((5, len(seen))), seen) == 1.0


def test_a_departure_goes_on_in_part_and_ends_some_time() -> None:
    moved = shifted_paths(np.ones((2000, 96)), 2.0, step_ms=HOUR_MS)
    assert moved.min() == 1.0
    assert moved[:, 0].min() > 1.3
    assert moved[:, 0].max() <= 2.0
    lasting = (moved > 1).mean(axis=0)
    assert lasting[24] == pytest.approx(np.exp(-1), abs=0.05)
    assert (np.diff(lasting) <= 0).all()
    calm = np.ones((3, 4))
    assert shifted_paths(calm, 1.0, step_ms=HOUR_MS) is calm


def test_a_planner_sees_a_doubled_load_after_three_hours() -> None:
    memory = LevelMemory()
    told = []
    for hour in range(48, 48 + 2 * STEPS_MAX):
        values = np.where(np.arange(hour) < 50, 100.0, 200.0)
        task = ForecastTask(
            SeriesKey("rows"), np.arange(hour, dtype=np.int64) * HOUR_MS, (values,), HOUR_MS, 24, seed=1
        )
        column = ForecastColumn.of(SampledForecast(np.tile(DRAWN, (1, 4)), "stubborn"))
        made = memory.moved(task, ForecastMade(task.key, task.origin_ms, HOUR_MS, (column,), 0.0))
        told.append(float(np.median(made.columns[0].paths[:, 0])))
        assert ("level moved" in made.columns[0].model) == (told[-1] > 110)
    assert told[:3] == pytest.approx([100.0] * 3, abs=2)
    assert min(told[5:]) > 130


@pytest.mark.parametrize("rate", [3.0, -3.0])
def test_a_leak_drifts_and_a_jump_does_not(rate: float) -> None:
    leak = 100 + rate * np.arange(1, 7)
    assert drift_rate(DRAWN, leak) == pytest.approx(rate, rel=0.2)
    assert drift_rate(DRAWN, leak, adapted=rate / 2) == pytest.approx(rate / 2, rel=0.4)
    assert drift_rate(DRAWN, leak, adapted=2 * rate) == 0.0
    assert drift_rate(DRAWN, np.full(6, 100 + 20 * rate)) == 0.0
    assert drift_rate(DRAWN, np.full(6, 100.0)) == 0.0
    assert drift_rate(DRAWN, np.full(6, np.nan)) == 0.0
    assert drift_rate(DRAWN[:, :2], leak[:2]) == 0.0


def test_a_drift_goes_on_in_part_and_ends_some_time() -> None:
    moved = drifting_paths(np.zeros((2000, 96)), 1.0, step_ms=HOUR_MS)
    assert (np.diff(moved, axis=1) >= 0).all()
    assert (np.diff(moved, axis=1) <= 1.0).all()
    still = np.diff(moved, axis=1) > 0
    assert still[:, 24].mean() == pytest.approx(np.exp(-1), abs=0.05)
    calm = np.zeros((3, 4))
    assert drifting_paths(calm, 0.0, step_ms=HOUR_MS) is calm


def test_a_planner_sees_a_leak_within_hours() -> None:
    memory = LevelMemory()
    ahead = []
    for hour in range(48, 60):
        values = 100.0 + np.maximum(np.arange(hour) - 49, 0) * 8.0
        task = ForecastTask(
            SeriesKey("pool"), np.arange(hour, dtype=np.int64) * HOUR_MS, (values,), HOUR_MS, 24, seed=1
        )
        column = ForecastColumn.of(SampledForecast(np.tile(DRAWN, (1, 4)) - 100 + values[-1], "flat"))
        made = memory.moved(
            task, ForecastMade(task.key, task.origin_ms, HOUR_MS, (column,), 0.0), drifts=True
        )
        rise = made.columns[0].quantiles[2][5] - values[-1]
        ahead.append(float(rise))
        assert ("drifting" in made.columns[0].model) == (rise > 6)
    assert max(ahead[:3]) < 6
    assert min(ahead[6:]) > 15
