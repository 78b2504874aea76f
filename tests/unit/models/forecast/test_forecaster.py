"""Forecasts: right where the answer is known, refused where there is none, the same for the same seed."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.forecast.forecaster import Forecaster, ForecastError, forecast, forecast_table

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS


def daily(length: int, noise: float = 0.1, seed: int = 0) -> np.ndarray:
    """Return hours of a day that repeats, with noise."""
    shape = 10 + 3 * np.sin(np.arange(length) * 2 * np.pi / 24)
    return shape + np.random.default_rng(seed).normal(0, noise, length)


def test_repeats_a_day_that_repeats():
    values = daily(24 * 30 + 48, noise=0.0)
    ahead = forecast(values[:-48], None, HOUR_MS, 48)
    np.testing.assert_allclose(ahead.median, values[-48:], atol=0.05)


def test_intervals_of_noise_hold_what_they_promise():
    inside = []
    for seed in range(8):
        values = daily(24 * 30 + 48, noise=0.5, seed=seed)
        ahead = forecast(values[:-48], None, HOUR_MS, 48)
        inside.append(((values[-48:] >= ahead.lower) & (values[-48:] <= ahead.upper)).mean(axis=1))
    share = np.mean(inside, axis=0)
    assert share == pytest.approx([0.8, 0.95], abs=0.07)


def test_the_same_values_and_seed_give_the_same_forecast_and_paths():
    values = daily(500)
    first, second = (forecast(values, None, HOUR_MS, 24, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.grid_values, second.grid_values)
    np.testing.assert_array_equal(first.paths(50), second.paths(50))
    assert not np.array_equal(first.paths(50), forecast(values, None, HOUR_MS, 24, seed=4).paths(50))


def test_paths_have_the_calibrated_marginals():
    ahead = forecast(daily(24 * 21, noise=0.5), None, HOUR_MS, 36)
    drawn = np.quantile(ahead.paths(4000), [0.1, 0.5, 0.9], axis=0)
    width = ahead.upper[0] - ahead.lower[0]
    assert (np.abs(drawn - ahead.quantiles(np.array([0.1, 0.5, 0.9]))) < 0.12 * width).all()


def test_paths_of_a_random_walk_hang_together():
    walk = np.cumsum(np.random.default_rng(1).normal(size=900))
    paths = forecast(walk, None, 60_000, 30, seasons=[]).paths(2000)
    assert np.corrcoef(paths[:, 19], paths[:, 20])[0, 1] > 0.7


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "no value was measured"),
        ([np.nan] * 40, "no value was measured"),
        ([np.inf, np.nan], "no value was measured"),
        ([1.0], "one value"),
        ([1.0, 1e200], "larger unit"),
        ([[1.0, 2.0]], "one series"),
    ],
)
def test_refuses_what_it_cannot_forecast(values, words):
    with pytest.raises(ForecastError, match=words):
        forecast(np.array(values, dtype=float), None, HOUR_MS, 5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"horizon": 0}, "horizon"),
        ({"levels": (95,)}, "between 0 and 1"),
        ({"time_zone": "Mars/Base"}, "Europe/Berlin"),
        ({"step_ms": 0}, "step_ms"),
    ],
)
def test_refuses_options_that_cannot_be(options, words):
    values = daily(100)
    times = START_MS + HOUR_MS * np.arange(100)
    with pytest.raises(ForecastError, match=words):
        forecast(values, times, **{"step_ms": HOUR_MS, "horizon": 5, **options})


def test_refuses_times_that_are_not_milliseconds():
    with pytest.raises(ForecastError, match="milliseconds"):
        forecast(np.arange(4.0), np.array([0, 1, 2, 10**18]), 1, 5)


@pytest.mark.parametrize(
    "values",
    [
        np.full(300, 7.0),
        np.zeros(300),
        np.array([1.0, 2.0]),
        np.exp(np.arange(400) / 4),
        -daily(400),
        np.r_[np.zeros(300), np.full(300, 100.0)],
        np.where(np.random.default_rng(0).random(500) < 0.9, np.nan, 1.0),
        np.r_[daily(300), np.full(200, np.nan)],
        np.r_[daily(300), np.full(900, np.nan), daily(300)],
        np.random.default_rng(0).poisson(0.05, 600).astype(float),
        np.r_[np.full(600, 5.0), 1e90],
        np.full(300, 5e-324),
    ],
    ids=lambda values: f"{len(values)}",
)
@pytest.mark.parametrize("horizon", [1, 60])
@pytest.mark.filterwarnings("error")
def test_answers_weird_series_with_finite_numbers(values, horizon):
    ahead = forecast(values, None, HOUR_MS, horizon)
    for found in (ahead.mean, ahead.grid_values, ahead.paths(5), ahead.correlation, [ahead.mase]):
        assert np.isfinite(found).all()
    assert (np.diff(ahead.grid_values, axis=0) >= 0).all()
    assert sum(ahead.model.values()) == pytest.approx(1.0)


@settings(max_examples=40)
@given(
    st.lists(st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.integers(-5, 5)), max_size=60),
    st.integers(1, 30),
)
def test_any_numbers_give_an_answer_or_a_refusal(values, horizon):
    try:
        ahead = forecast(np.array(values, dtype=float), None, HOUR_MS, horizon)
    except ForecastError:
        return
    assert np.isfinite(ahead.grid_values).all()


def test_a_constant_is_certain():
    ahead = forecast(np.full(200, 7.0), None, HOUR_MS, 10)
    assert (ahead.lower == 7.0).all()
    assert (ahead.upper == 7.0).all()


def test_counts_are_never_forecast_below_zero_unless_told():
    counts = np.random.default_rng(0).poisson(0.5, 500).astype(float)
    assert forecast(counts, None, HOUR_MS, 24).grid_values.min() >= 0
    assert forecast(counts, None, HOUR_MS, 24, non_negative=False).grid_values.min() < 0


def test_order_and_duplicates_of_times_do_not_matter():
    values, times = daily(400), START_MS + HOUR_MS * np.arange(400)
    order = np.random.default_rng(0).permutation(400)
    twice = np.r_[order, order[:20]]
    mixed = forecast(values[twice], times[twice], HOUR_MS, 24)
    plain = forecast(values, times, HOUR_MS, 24)
    np.testing.assert_allclose(mixed.grid_values, plain.grid_values)
    assert mixed.times[0] == times[-1] + HOUR_MS


def test_the_unit_of_a_series_does_not_matter():
    plain = forecast(daily(400), None, HOUR_MS, 24)
    scaled = forecast(1e6 * daily(400), None, HOUR_MS, 24)
    np.testing.assert_allclose(scaled.grid_values, 1e6 * plain.grid_values, rtol=1e-6)


def test_a_gap_and_a_lone_spike_change_little():
    values = daily(24 * 28)
    broken = values.copy()
    broken[400:430] = np.nan
    broken[500] = 1e4
    ahead = forecast(broken, None, HOUR_MS, 24)
    np.testing.assert_allclose(ahead.median, forecast(values, None, HOUR_MS, 24).median, atol=0.3)


def test_update_follows_new_values_like_a_fit_does():
    values = daily(24 * 30)
    model = Forecaster(step_ms=HOUR_MS, horizon=24).fit(values[:-24])
    for value in values[-24:]:
        model.update(np.array([value]))
    assert model.due
    refitted = forecast(values, None, HOUR_MS, 24)
    np.testing.assert_allclose(model.forecast().median, refitted.median, atol=0.15)


def test_update_bridges_gaps_and_leaves_out_what_is_late():
    values, times = daily(24 * 21), START_MS + HOUR_MS * np.arange(24 * 21)
    model = Forecaster(step_ms=HOUR_MS, horizon=24).fit(values[:-12], times[:-12])
    model.update(values[-3:], times[-3:]).update(np.array([1e6]), times[:1])
    ahead = model.forecast()
    assert ahead.times[0] == times[-1] + HOUR_MS
    np.testing.assert_allclose(ahead.median, forecast(values, times, HOUR_MS, 24).median, atol=0.4)


def test_update_in_pieces_is_update_at_once():
    shape = 10 + np.sin(np.arange(1440 * 8 + 50) * 2 * np.pi / 1440)
    at_once, pieces = (Forecaster(step_ms=60_000, horizon=90).fit(shape[:-50]) for _ in range(2))
    at_once.update(shape[-50:])
    for part in np.split(shape[-50:], [7, 20, 49]):
        pieces.update(part)
    np.testing.assert_allclose(pieces.forecast().grid_values, at_once.forecast().grid_values)
    np.testing.assert_allclose(at_once.forecast().median[0], shape[-1], atol=0.05)


def test_a_forecast_needs_a_fit_and_its_horizon():
    model = Forecaster(step_ms=HOUR_MS, horizon=24)
    with pytest.raises(ForecastError, match="fit"):
        model.forecast()
    with pytest.raises(ForecastError, match="1 to 24"):
        model.fit(daily(100)).forecast(25)
    assert model.forecast(3).horizon == 3


def test_the_rush_hour_stays_at_its_wall_clock_hour_after_a_clock_change():
    stamps = pd.date_range("2023-09-25", "2023-10-30 12:00", freq="h", tz="Europe/Berlin")
    values = np.where(stamps.hour == 8, 100.0, 10.0) + np.random.default_rng(0).normal(0, 1, len(stamps))
    times = stamps.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
    before = times < pd.Timestamp("2023-10-28 12:00", tz="Europe/Berlin").value // 10**6
    ahead = forecast(values[before], times[before], HOUR_MS, 48, time_zone="Europe/Berlin")
    peak = pd.to_datetime(ahead.times[np.argsort(-ahead.median)[:2]], unit="ms", utc=True)
    assert set(peak.tz_convert("Europe/Berlin").hour) == {8}


def test_a_table_in_and_a_table_out():
    table = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=400, freq="h"), "y": daily(400)})
    ahead = forecast_table(table, 24, levels=(0.5, 0.9))
    assert list(ahead) == ["ds", "mean", "median", "lower_50", "upper_50", "lower_90", "upper_90"]
    assert ahead["ds"].iloc[0] == pd.Timestamp("2024-01-17 16:00", tz="UTC")
    assert (ahead["lower_90"] <= ahead["median"]).all()


def test_months_of_a_frame_are_months():
    months = pd.date_range("2015-01-01", periods=72, freq="MS")
    shape = np.tile(np.arange(12.0), 6) * 10 + 50
    ahead = forecast_table(pd.DataFrame({"ds": months, "y": shape}), 12)
    assert ahead["ds"].dt.strftime("%Y-%m-%d").tolist()[:2] == ["2021-01-01", "2021-02-01"]
    np.testing.assert_allclose(ahead["median"], shape[:12], atol=5)


def test_a_coming_holiday_looks_like_those_of_the_past():
    hours = np.arange(24 * 60)
    times = START_MS // 86_400_000 * 86_400_000 + HOUR_MS * hours
    holidays = times[[24 * 20 + 5, 24 * 40 + 9, 24 * 58 + 12]]
    values = daily(24 * 60, noise=0.05)
    on_holiday = np.isin(times // 86_400_000, holidays // 86_400_000)
    values[on_holiday] -= 6.0
    past = hours < 24 * 57
    plain = forecast(values[past], times[past], HOUR_MS, 72)
    ahead = forecast(values[past], times[past], HOUR_MS, 72, holidays=holidays)
    lowered = plain.median - ahead.median
    assert lowered[24:48].mean() == pytest.approx(4.0, abs=0.8)
    assert np.abs(lowered[:24]).max() < 0.5
    assert np.abs(lowered[48:]).max() < 0.5


def test_a_small_budget_cuts_history_and_a_long_silence_asks_for_a_fit():
    values = np.r_[np.full(3000, 50.0), daily(600)]
    assert forecast(values, None, HOUR_MS, 24, budget_s=0.01).upper.max() < 30
    times = START_MS + HOUR_MS * np.arange(100)
    model = Forecaster(step_ms=HOUR_MS, horizon=24).fit(daily(100), times)
    with pytest.raises(ForecastError, match="fit again"):
        model.update(np.array([1.0]), times[-1:] + 5000 * HOUR_MS)
