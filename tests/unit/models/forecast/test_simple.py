"""The forecast that never fails: seasons, gaps, and every odd series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.forecast.paths import PathForecast, SampledForecast
from models.forecast.simple import simple_forecast

HOUR_MS = 3_600_000


def test_it_repeats_the_day_where_the_day_repeats() -> None:
    day = np.arange(24.0)
    found = simple_forecast(np.tile(day, 10), step_ms=HOUR_MS, horizon=30, count=5)
    assert found.paths(5) == pytest.approx(np.tile(np.tile(day, 2)[:30], (5, 1)))
    assert "24" in found.model_name
    assert isinstance(found, PathForecast)


def test_it_repeats_the_week_where_weekends_differ_and_fills_gaps() -> None:
    week = np.concatenate([np.tile(np.arange(24.0), 5), np.full(48, 3.0)])
    values = np.tile(week, 4)
    values[-30:-20] = np.nan
    found = simple_forecast(values, step_ms=HOUR_MS, horizon=168, count=3)
    assert found.paths(3) == pytest.approx(np.tile(week, (3, 1)))


def test_each_phase_errs_as_that_phase_did() -> None:
    random = np.random.default_rng(0)
    noise = np.tile(np.where(np.arange(24) < 12, 0.0, 5.0), 60) * random.standard_normal(24 * 60)
    values = (100 + 20 * np.sin(np.arange(24 * 60) * 2 * np.pi / 24) + noise)[7:]
    spread = simple_forecast(values, step_ms=HOUR_MS, horizon=24).paths(1000).std(axis=0)
    assert spread[:12].max() < 1.0 < spread[12:].min()


@settings(max_examples=150)
@given(
    arrays(np.float64, st.integers(1, 60), elements=st.floats(allow_nan=True, allow_infinity=True)),
    st.sampled_from([60_000, HOUR_MS, 86_400_000, 30 * 86_400_000]),
    st.integers(1, 40),
)
def test_any_series_gives_finite_paths_or_says_why(values: np.ndarray, step_ms: int, horizon: int) -> None:
    if not np.isfinite(values).any():
        with pytest.raises(ValueError, match="no value at all"):
            simple_forecast(values, step_ms=step_ms, horizon=horizon, count=7)
        return
    found = simple_forecast(values, step_ms=step_ms, horizon=horizon, count=7)
    again = simple_forecast(values, step_ms=step_ms, horizon=horizon, count=7)
    assert found.paths(7).shape == (7, horizon)
    assert np.isfinite(found.paths(7)).all()
    assert (found.paths(7) == again.paths(7)).all()
    if np.nanmin(np.where(np.isfinite(values), values, np.nan)) >= 0:
        assert found.paths(7).min() >= 0


def test_one_value_is_no_certainty_and_more_are_more() -> None:
    spreads = [
        simple_forecast(np.full(count, 100.0), step_ms=HOUR_MS, horizon=3).paths(1000).std()
        for count in (1, 2, 4, 8, 12)
    ]
    assert spreads == sorted(spreads, reverse=True)
    assert 40 < spreads[0] < 60
    assert spreads[-1] == 0.0


def test_sampled_forecasts_hold_paths_only() -> None:
    with pytest.raises(ValueError, match="not finite"):
        SampledForecast(np.array([[np.nan]]), "x")
    with pytest.raises(ValueError, match="shape"):
        SampledForecast(np.zeros(3), "x")
    assert SampledForecast(np.array([[1.0], [2.0]]), "x").paths(3).tolist() == [[1.0], [2.0], [1.0]]
    assert SampledForecast(np.array([[1.0], [3.0]]), "x").median.tolist() == [2.0]
    with pytest.raises(ValueError, match="horizon"):
        simple_forecast(np.ones(3), step_ms=1, horizon=0)
