"""Queues against Lindley's recursion written as a loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.capacity.queue_lag import catching_up, lag_forecast, reflected
from models.forecast.paths import SampledForecast

MINUTE_MS = 60_000


@given(
    st.integers(0, 20).map(float),
    arrays(
        np.float64, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=st.integers(-9, 9).map(float)
    ),
)
def test_a_queue_cannot_fall_below_zero(start: float, changes: np.ndarray) -> None:
    levels = reflected(start, changes)
    for row, path in enumerate(changes.tolist()):
        level = start
        for step, change in enumerate(path):
            level = max(level + change, 0.0)
            assert levels[row, step] == pytest.approx(level)


def test_inflow_below_capacity_catches_up_when_the_arithmetic_says() -> None:
    flow = np.full((5, 60), -30.0)
    when = catching_up(SampledForecast(reflected(300.0, flow), "queue"), lag=300.0, step_ms=MINUTE_MS)
    assert (when.probability, when.expected_seconds) == (1.0, 600.0)
    growing = SampledForecast(reflected(300.0, np.full((5, 60), 20.0)), "queue")
    never = catching_up(growing, lag=300.0, step_ms=MINUTE_MS)
    assert (never.probability, never.expected_seconds) == (0.0, float("inf"))


def test_a_lag_that_shrinks_goes_on_shrinking_and_one_that_grows_on_growing() -> None:
    random = np.random.default_rng(1)
    steps = np.arange(60.0)
    noise = random.normal(0, 20, 60)
    shrinking, growing = 6000 - 50 * steps + noise, 1000 + 50 * steps + noise
    shrinks = lag_forecast(shrinking, horizon=180)
    when = catching_up(shrinks, lag=shrinking[-1], step_ms=MINUTE_MS)
    low, high = when.range_seconds()
    assert when.probability > 0.95
    assert low < shrinking[-1] / 50 * 60 < high
    assert (
        catching_up(lag_forecast(growing, horizon=180), lag=growing[-1], step_ms=MINUTE_MS).probability < 0.05
    )


@given(
    arrays(np.float64, st.integers(1, 30), elements=st.floats(allow_nan=True, allow_infinity=True)),
    st.integers(1, 20),
)
def test_any_lag_gives_finite_futures_or_says_why(values: np.ndarray, horizon: int) -> None:
    if not np.isfinite(values).any():
        with pytest.raises(ValueError, match="no value at all"):
            lag_forecast(values, horizon=horizon, count=3)
        return
    paths = lag_forecast(values, horizon=horizon, count=3).paths(3)
    assert paths.shape == (3, horizon)
    assert np.isfinite(paths).all()
    assert (paths >= 0).all()


def test_nothing_waiting_is_caught_up() -> None:
    assert catching_up(lag_forecast(np.zeros(5), horizon=3), lag=0.0, step_ms=1).probability == 1.0
    with pytest.raises(ValueError, match="horizon"):
        lag_forecast(np.zeros(5), horizon=0)
