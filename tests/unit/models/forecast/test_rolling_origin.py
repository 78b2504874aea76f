"""Backtests: no origin sees its future, and scores are those of formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.capacity.crossing_cases import crossing_cases
from models.forecast.paths import SampledForecast
from models.forecast.rolling_origin import backtest, place_origins, season_steps, seasonal_naive

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@pytest.mark.parametrize(
    ("step_ms", "steps"),
    [
        (60_000, 1440),
        (HOUR_MS, 24),
        (6 * HOUR_MS, 4),
        (DAY_MS, 7),
        (7 * DAY_MS, 52),
        (30 * DAY_MS, 12),
        (90 * DAY_MS, 1),
    ],
)
def test_the_season_is_that_of_the_calendar(step_ms: int, steps: int) -> None:
    assert season_steps(step_ms) == steps


@given(st.integers(1, 400), st.integers(1, 50), st.integers(1, 40), st.integers(1, 200))
def test_origins_leave_room_for_history_and_horizon(
    length: int, horizon: int, count: int, least: int
) -> None:
    if length - horizon < least:
        with pytest.raises(ValueError, match="shorter horizon"):
            place_origins(length, horizon=horizon, count=count, least=least)
        return
    origins = place_origins(length, horizon=horizon, count=count, least=least)
    assert 1 <= len(origins) <= count
    assert origins.min() >= least
    assert origins.max() == length - horizon
    assert (np.diff(origins) > 0).all()


def test_seasonal_naive_repeats_the_last_season_and_fills_gaps_from_the_one_before() -> None:
    history = np.array([1.0, 2, 3, 4, 5, 6, 7, np.nan, 9])
    assert seasonal_naive(history, 5, 3).tolist() == [7, 5, 9, 7, 5]
    assert seasonal_naive(history[:2], 3, 3).tolist() == [2, 2, 2]
    assert np.isnan(seasonal_naive(np.full(4, np.nan), 2, 2)).all()


def test_errors_are_scaled_by_the_histories_own_seasonal_differences() -> None:
    values = np.array([0.0, 1, 2, 1, 2, 3, np.nan, 9, 9])
    seen = []

    def guess(origin: int) -> SampledForecast:
        seen.append(origin)
        return SampledForecast(np.array([[4.0, 8.0], [6.0, 12.0]]), "guess")

    result = backtest(values, guess, origins=np.array([6, 7]), horizon=2, season=3)
    assert seen == [6, 7]
    assert result.errors[0, 1] == 1.0  # the median of 8 and 12, against 9
    assert np.isnan(result.errors[0, 0])
    assert result.scales.tolist() == [1.0, 1.0]
    assert result.mase == pytest.approx(np.mean([1.0, 4.0, 1.0]))
    assert result.naive_mase == pytest.approx(np.mean([9 - 2, 9 - 2, 9 - 3]))
    assert result.coverage(0.95) == pytest.approx(2 / 3)
    assert result.models == ("guess", "guess")


def test_a_series_that_never_changes_has_no_scale_and_no_score() -> None:
    flat = np.ones(20)
    made = SampledForecast(np.ones((2, 3)), "flat")
    result = backtest(flat, lambda _: made, origins=np.array([10]), horizon=3, season=2)
    assert np.isnan(result.mase)
    assert result.coverage(0.8) == 1.0


def test_cases_are_limits_that_are_not_reached_yet() -> None:
    values = np.array([1.0, 2, 3, 4, 9, 4])
    made = SampledForecast(np.array([[5.0, 5.0], [9.0, 9.0]]), "two")
    cases = list(crossing_cases(values, made, origin=4, horizon=2, limits=[3.0, 8.0, 20.0]))
    assert [(case.limit, case.happened) for case in cases] == [(8.0, True), (20.0, False)]
    assert cases[0].probability == 0.5
    assert cases[1].probability == 0.0
    low = list(crossing_cases(values, made, origin=4, horizon=2, limits=[4.5, 0.0], above=False))
    assert [(case.limit, case.happened) for case in low] == [(0.0, False)]
    gap = np.array([1.0, 2, np.nan, np.nan])
    assert list(crossing_cases(gap, made, origin=2, horizon=2, limits=[8.0])) == []
