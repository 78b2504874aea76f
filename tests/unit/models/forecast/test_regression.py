"""Regressions recover what made the series, and know only the past at each origin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.forecast.regression import (
    fit_regression,
    momentum_features,
    momentum_layout,
    seasonal_features,
    seasonal_layout,
)

LEARNING = {"ridge": 0.03, "fall": 0.3, "half_life": 250.0}


def fit(history, origins, horizon, layout, features):
    measured = np.ones(len(history), dtype=bool)
    return fit_regression(history, measured, np.array(origins), horizon, layout, features, **LEARNING)


def test_a_profile_that_grows_steadily_goes_on_growing():
    steps = np.arange(600)
    series = np.sin(steps * 2 * np.pi / 24) * (1 + steps / 300) + steps / 50
    layout = seasonal_layout(552, 48, 24, 168)
    _, forecasts = fit(series[:552], [552], 48, layout, seasonal_features)
    naive = series[528:552][np.arange(48) % 24]
    error, naive_error = (np.abs(found - series[552:]).mean() for found in (forecasts[0], naive))
    assert error < 0.3 * naive_error


def test_momentum_follows_a_line():
    series = 3.0 * np.arange(200) + 7
    layout = momentum_layout(200, 10, ())
    _, forecasts = fit(series, [200], 10, layout, momentum_features)
    np.testing.assert_allclose(forecasts[0], 3.0 * np.arange(200, 210) + 7, atol=12)


@pytest.mark.parametrize("kind", ["seasonal", "momentum"])
@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_what_comes_after_an_origin_does_not_change_its_forecast(kind, seed):
    random = np.random.default_rng(seed)
    history = random.normal(size=400)
    other = history.copy()
    other[300:] += random.normal(size=100)
    if kind == "seasonal":
        layout, features = seasonal_layout(400, 12, 24, None), seasonal_features
    else:
        layout, features = momentum_layout(400, 12, ()), momentum_features
    first, second = (fit(series, [300, 400], 12, layout, features)[1][0] for series in (history, other))
    np.testing.assert_allclose(first, second, atol=1e-9)


def test_the_last_backtest_row_is_what_ahead_says():
    history = np.random.default_rng(0).normal(size=500).cumsum()
    layout = seasonal_layout(500, 30, 24, 168)
    model, forecasts = fit(history, [450, 500], 30, layout, seasonal_features)
    np.testing.assert_allclose(model.ahead(history, 30), forecasts[-1])


def test_too_short_a_history_has_no_layout():
    assert seasonal_layout(40, 24, 24, 168) is None
    assert momentum_layout(20, 1, ()) is None


def test_filled_in_targets_do_not_teach():
    history = np.tile(np.sin(np.arange(24) * 2 * np.pi / 24), 20)
    broken = history.copy()
    broken[100:110] += 50.0
    measured = np.ones(480, dtype=bool)
    layout = seasonal_layout(480, 24, 24, None)
    kept, dropped = (
        fit_regression(broken, mask, np.array([480]), 24, layout, seasonal_features, **LEARNING)[1][0]
        for mask in (measured, np.where(np.arange(480) // 10 == 10, False, measured))
    )
    assert np.abs(dropped - history[:24]).max() <= np.abs(kept - history[:24]).max()
