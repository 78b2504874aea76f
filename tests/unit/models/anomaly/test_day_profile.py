"""Profiles of the day: what repeats is usual, what does not is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.anomaly.day_profile import DAYS_MIN, SLOTS, fit_profile, usual_at
from models.arrays import Numbers
from models.calendar.units import DAY_MS

STEP_MS = 600_000
DAY_STEPS = DAY_MS // STEP_MS


def history(days: int) -> tuple[np.ndarray, Numbers]:
    """A signal with a daily course, and one of noise: times and [T, 2]."""
    times = np.arange(days * DAY_STEPS) * STEP_MS
    noise = np.random.default_rng(0).normal(size=(len(times), 2))
    course = 5 * np.sin(2 * np.pi * times / DAY_MS)
    return times, np.stack([course + 0.1 * noise[:, 0], noise[:, 1]], axis=1)


def test_the_daily_course_is_learnt_and_noise_is_not() -> None:
    times, distances = history(14)
    profile = fit_profile(times, distances)
    left = distances - usual_at(times, profile[None])[:, 0]
    assert left[:, 0].std() < 0.1 * distances[:, 0].std()
    assert np.abs(profile[:, 1]).max() < 0.05
    assert left[:, 1].std() == pytest.approx(distances[:, 1].std(), rel=0.02)


def test_an_anomaly_of_one_day_is_in_no_profile() -> None:
    times, distances = history(7)
    odd = distances.copy()
    odd[2 * DAY_STEPS : 2 * DAY_STEPS + 12] += 50.0
    np.testing.assert_allclose(fit_profile(times, odd)[:, 0], fit_profile(times, distances)[:, 0], atol=1.5)


def test_a_short_history_has_no_profile() -> None:
    times, distances = history(DAYS_MIN)
    assert fit_profile(times, distances).any()
    assert not fit_profile(times[: 2 * DAY_STEPS], distances[: 2 * DAY_STEPS]).any()
    assert fit_profile(times[:0], distances[:0]).shape == (SLOTS, 2)


@given(arrays(np.float64, (40, 2), elements=st.floats(-100, 100)), st.integers(1, 3 * DAY_MS // 40 + DAY_MS))
def test_any_history_has_a_finite_profile_within_its_range(distances: Numbers, step_ms: int) -> None:
    profile = fit_profile(np.arange(40) * step_ms, distances)
    assert np.isfinite(profile).all()
    assert (np.abs(profile) <= np.abs(distances).max(axis=0) + 1e-9).all()
