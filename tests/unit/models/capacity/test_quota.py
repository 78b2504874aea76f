"""Quotas against sums written out step by step."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.calendar.period import CalendarPeriod
from models.capacity.quota import (
    quota_outlook,
    quota_outlooks,
    step_shares,
    steps_until,
    used_so_far,
)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@given(st.integers(0, 100), st.integers(1, 30), st.integers(0, 200), st.integers(1, 100))
def test_shares_of_steps_add_up_to_the_period(first: int, step: int, start: int, length: int) -> None:
    starts = first + step * np.arange(20, dtype=np.int64)
    shares = step_shares(starts, step, start, start + length)
    covered = max(min(start + length, first + 20 * step) - max(start, first), 0)
    assert shares.sum() * step == pytest.approx(covered)


@given(
    arrays(np.float64, (5, 30), elements=st.integers(-2, 20).map(float)),
    st.integers(0, 100),
    st.integers(1, 300),
    st.integers(1, 30),
    st.integers(0, 9),
)
def test_the_sum_and_the_time_are_those_of_a_loop(
    paths: np.ndarray, used: int, quota: int, steps: int, cut: int
) -> None:
    step_ms = 10
    end_ms = steps * step_ms - cut
    found = quota_outlook(
        paths, quota=float(quota), used=float(used), period=(-1000, end_ms), now_ms=0, step_ms=step_ms
    )
    for row, path in enumerate(paths.tolist()):
        total, passed = float(used), 0.0 if used > quota else float("inf")
        for step, amount in enumerate(path):
            inside = max(min((step + 1) * step_ms, end_ms) - step * step_ms, 0)
            add = max(amount, 0.0) * inside / step_ms
            if total <= quota < total + add * (1 - 1e-12) and passed == float("inf"):
                passed = (step * step_ms + inside * (quota - total) / add) / 1000
            total += add
        assert found.totals[row] == pytest.approx(total)
        if abs(total - quota) > 1e-6:
            assert found.exhaustion.seconds[row] == pytest.approx(passed)
    assert found.used_ratio == used / quota
    if np.abs(found.totals - quota).min() > 1e-6:
        assert found.probability == (found.totals > quota).mean()


@given(
    arrays(np.float64, (4, 30), elements=st.integers(0, 20).map(float)),
    st.integers(0, 99),
    st.integers(1, 200),
)
def test_paths_made_a_while_ago_count_from_now(paths: np.ndarray, age: int, quota: int) -> None:
    step_ms = 10
    found = quota_outlook(
        paths,
        quota=float(quota),
        used=0.0,
        period=(-500, 300),
        now_ms=age,
        step_ms=step_ms,
        paths_from_ms=0,
    )
    ticks = np.repeat(paths / step_ms, step_ms, axis=1)[:, age:].cumsum(axis=1)
    for row, sums in enumerate(ticks):
        assert found.totals[row] == pytest.approx(sums[-1])
        if abs(sums[-1] - quota) < 1e-6:
            continue
        passed = np.flatnonzero(sums > quota + 1e-9)
        seconds = found.exhaustion.seconds[row]
        if len(passed):
            assert passed[0] / 1000 - 1e-9 <= seconds <= (passed[0] + 1) / 1000 + 1e-9
        else:
            assert seconds == float("inf")


def test_exactly_the_quota_does_not_exceed_it() -> None:
    paths = np.full((3, 24), 0.1)
    found = quota_outlook(paths, quota=2.4, used=0.0, period=(0, DAY_MS), now_ms=0, step_ms=HOUR_MS)
    assert found.probability == 0.0
    assert found.forecast_ratio == pytest.approx(1.0)


def test_a_quota_that_is_passed_already_is_passed_now() -> None:
    found = quota_outlook(
        np.zeros((2, 24)), quota=5.0, used=6.0, period=(0, DAY_MS), now_ms=HOUR_MS, step_ms=HOUR_MS
    )
    assert (found.probability, found.exhaustion.expected_seconds) == (1.0, 0.0)


def test_later_periods_begin_with_nothing_used_and_last_as_long_as_the_clocks_say() -> None:
    berlin = CalendarPeriod("day", "Europe/Berlin")
    now = datetime(2026, 3, 28, 18, tzinfo=ZoneInfo("Europe/Berlin"))
    outlooks = quota_outlooks(
        np.ones((2, 76)),
        quota=23.5,
        used=18.0,
        period=berlin,
        now_ms=int(now.timestamp() * 1000),
        step_ms=HOUR_MS,
    )
    assert [one.total(0.5) for one in outlooks] == [24.0, 23.0, 24.0]
    assert [one.probability for one in outlooks] == [1.0, 0.0, 1.0]
    assert outlooks[2].exhaustion.expected_seconds / 3600 == pytest.approx(6 + 23 + 23.5)


def test_what_is_used_counts_from_the_periods_start_and_says_what_is_unknown() -> None:
    starts = np.arange(0, 10 * HOUR_MS, HOUR_MS, dtype=np.int64)
    values = np.arange(10, dtype=np.float64)
    values[8] = np.nan
    used, known = used_so_far(values, starts, step_ms=HOUR_MS, start_ms=5 * HOUR_MS + HOUR_MS // 2)
    assert used == pytest.approx(5 / 2 + 6 + 7 + 9)
    assert known == pytest.approx(3.5 / 4.5)
    assert used_so_far(values[:0], starts[:0], step_ms=HOUR_MS, start_ms=0) == (0.0, 0.0)


@given(st.integers(-50, 50), st.integers(0, 100), st.integers(1, 20))
def test_steps_until_reach_the_end_and_no_further(now: int, ahead: int, step: int) -> None:
    steps = steps_until(now + ahead, now_ms=now, step_ms=step)
    assert (steps - 1) * step < ahead <= steps * step or ahead == steps == 0
    assert steps_until(now - ahead, now_ms=now, step_ms=step) == 0


def test_paths_that_end_too_early_and_quotas_of_nothing_are_refused() -> None:
    period = (0, DAY_MS)
    with pytest.raises(ValueError, match="at least 24 steps"):
        quota_outlook(np.ones((2, 23)), quota=1.0, used=0.0, period=period, now_ms=0, step_ms=HOUR_MS)
    for quota in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="quota above zero"):
            quota_outlook(np.ones((2, 24)), quota=quota, used=0.0, period=period, now_ms=0, step_ms=HOUR_MS)
