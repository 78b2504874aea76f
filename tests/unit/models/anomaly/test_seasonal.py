"""The seasonal baseline: what it learns, and that anomalies do not teach it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.anomaly.seasonal import SeasonalBaseline
from models.arrays import Mask, Numbers

STEP_MS = 900_000
DAY = 96


def calendar(steps: int) -> tuple[Numbers, Mask]:
    step = np.arange(steps)
    return (step % DAY) / 4 + 0.125, (step // DAY) % 7 >= 5


def follow(values: Numbers) -> tuple[Numbers, Numbers, SeasonalBaseline]:
    hours, off = calendar(len(values))
    baseline = SeasonalBaseline.empty(values.shape[1])
    expected, distance = baseline.follow(values, hours, off, STEP_MS)
    return expected, distance, baseline


def seasonal(steps: int, seed: int = 0) -> tuple[Numbers, Numbers]:
    """Values and their means, [T, 1]: a daily wave of half the level, days off at half of it."""
    hours, off = calendar(steps)
    mean = 100 * (1 + 0.5 * np.sin(hours / 24 * 2 * np.pi)) * np.where(off, 0.5, 1.0)
    noise = np.random.default_rng(seed).normal(0, 2, steps)
    return (mean + noise)[:, None], mean[:, None]


def test_it_learns_hours_and_days_off() -> None:
    values, mean = seasonal(28 * DAY)
    expected, _, _ = follow(values)
    last = slice(21 * DAY, None)
    assert np.abs(expected[last] - mean[last]).mean() < 4
    assert np.abs(mean[last] - mean[last].mean()).mean() > 25


def test_days_off_are_expected_where_the_last_were_though_the_level_has_risen_since() -> None:
    values, mean = seasonal(14 * DAY)
    # The first two days off come first, so that the level starts at theirs.
    values, mean = values[5 * DAY :], mean[5 * DAY :]
    hours, off = calendar(14 * DAY)
    baseline = SeasonalBaseline.empty(1)
    expected, _ = baseline.follow(values, hours[5 * DAY :], off[5 * DAY :], STEP_MS)
    second = slice(7 * DAY, 9 * DAY)
    assert np.abs(expected[second] - mean[second]).mean() < 8


def test_a_signal_without_a_season_is_given_none() -> None:
    values = np.random.default_rng(1).normal(100, 10, (14 * DAY, 1))
    expected, distance, _ = follow(values)
    last = slice(7 * DAY, None)
    assert np.abs(expected[last] - 100).mean() < 2
    assert distance[last].std() == pytest.approx(1.0, abs=0.15)


def test_a_huge_anomaly_moves_the_baseline_little() -> None:
    values, mean = seasonal(21 * DAY)
    values[15 * DAY : 15 * DAY + 8] = 1e6
    expected, _, _ = follow(values)
    after = slice(15 * DAY + 8, 16 * DAY + 8)
    assert np.abs(expected[after] - mean[after]).mean() < 8


def test_a_new_level_is_followed() -> None:
    values = np.random.default_rng(2).normal(100, 2, (3000, 1))
    values[1000:] += 50
    expected, _, _ = follow(values)
    assert expected[-1, 0] == pytest.approx(150, abs=3)


def test_missing_values_teach_nothing_and_get_no_distance() -> None:
    values, _ = seasonal(5 * DAY)
    gap = values.copy()
    gap[300:310] = np.nan
    expected, distance, _ = follow(gap)
    assert np.isnan(distance[300:310]).all()
    assert np.isfinite(expected[300:310]).all()
    nothing, none, _ = follow(np.full((50, 1), np.nan))
    assert np.isnan(nothing).all()
    assert np.isnan(none).all()


def test_signals_do_not_know_of_each_other() -> None:
    one, _ = seasonal(4 * DAY, seed=3)
    two, _ = seasonal(4 * DAY, seed=4)
    together, _, _ = follow(np.hstack([one, two]))
    np.testing.assert_array_equal(together[:, :1], follow(one)[0])
    np.testing.assert_array_equal(together[:, 1:], follow(two)[0])


def test_it_is_restored_and_refuses_what_it_is_not() -> None:
    values, _ = seasonal(4 * DAY)
    hours, off = calendar(4 * DAY)
    whole, _, _ = follow(values)
    _, _, baseline = follow(values[:200])
    again = SeasonalBaseline.restored(baseline.state())
    rest, _ = again.follow(values[200:], hours[200:], off[200:], STEP_MS)
    np.testing.assert_array_equal(rest, whole[200:])
    broken = {**baseline.state(), "profile": np.zeros((1, 3))}
    with pytest.raises(ValueError, match="profile"):
        SeasonalBaseline.restored(broken)


@settings(max_examples=40)
@given(st.lists(st.sampled_from([0.0, -1.0, 1e15, -1e15, 1e-15, np.nan, np.inf]), min_size=1, max_size=120))
def test_any_input_gives_numbers_or_nan(column: list[float]) -> None:
    expected, distance, _ = follow(np.array(column)[:, None])
    assert not np.isinf(expected).any()
    assert not np.isinf(distance).any()
