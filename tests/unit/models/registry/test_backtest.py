"""Alarms are counted in episodes, and labels are compared with the episodes that touch them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from models.calendar.units import WEEK_MS
from models.registry.backtest import Backtest, Interval, episode_starts, judge_backtest

MINUTE = 60_000


def alarms(*rows: str) -> np.ndarray:
    """One string a series, `#` where it alarms: Mask [T, S]."""
    return np.array([[letter == "#" for letter in row] for row in rows]).T


def test_alarms_close_together_are_one_episode() -> None:
    alarm = alarms("##..#....#", "..........", "#........#")
    starts = episode_starts(np.arange(10), alarm, keep_ms=3)
    assert np.argwhere(starts.T).tolist() == [[0, 0], [0, 9], [2, 0], [2, 9]]
    last = np.array([-2, 0, -4])
    starts = episode_starts(np.arange(10), alarm, keep_ms=3, last_ms=last)
    assert np.argwhere(starts.T).tolist() == [[0, 9], [2, 0], [2, 9]]


@given(arrays_of.arrays(np.bool_, st.tuples(st.integers(0, 30), st.integers(0, 4))), st.integers(0, 5))
def test_episodes_are_those_of_a_plain_loop(alarm: np.ndarray, keep: int) -> None:
    times = np.cumsum(np.ones(len(alarm), np.int64) * 2)
    expected = np.zeros_like(alarm)
    for series in range(alarm.shape[1]):
        last = None
        for step in range(len(alarm)):
            if alarm[step, series]:
                expected[step, series] = last is None or times[step] - last > keep
                last = times[step]
    assert (episode_starts(times, alarm, keep_ms=keep) == expected).all()


def test_volume_is_a_series_and_week() -> None:
    steps = WEEK_MS // MINUTE
    alarm = np.zeros((steps, 2), np.bool_)
    alarm[[100, 5000, 9000], [0, 0, 1]] = True
    tail = np.full(alarm.shape, 0.5)
    found = judge_backtest(np.arange(steps) * MINUTE, tail, alarm)
    assert found.series_weeks == pytest.approx(2.0)
    assert found.alarms_per_series_per_week == pytest.approx(1.5)
    assert (found.precision, found.recall, found.judged) == (None, None, 1.0)


def test_labels_make_precision_and_recall() -> None:
    alarm = alarms("..##......#...", "#.............", "..............")
    labels = [
        Interval(0, 3, 4, real=True),
        Interval(0, 9, 11, real=False),
        Interval(2, 0, 13, real=True),
        Interval(1, 5, 6, real=False),
    ]
    found = judge_backtest(np.arange(14), np.full(alarm.shape, 0.1), alarm, labels)
    assert (found.episodes, found.real_episodes, found.noise_episodes) == (3, 1, 1)
    assert (found.real_labels, found.real_found) == (2, 1)
    assert found.precision == 0.5
    assert found.recall == 0.5
    assert found.unexplained == 2


def test_one_long_alarm_explains_all_labels_it_touches_once() -> None:
    alarm = alarms("##########")
    labels = [Interval(0, 1, 2, real=True), Interval(0, 6, 7, real=True), Interval(0, 8, 8, real=False)]
    found = judge_backtest(np.arange(10), np.zeros(alarm.shape), alarm, labels)
    assert (found.episodes, found.real_episodes, found.noise_episodes) == (1, 1, 0)
    assert found.recall == 1.0


def test_what_was_not_judged_is_no_time_of_judging() -> None:
    tail = np.array([[0.1, np.nan], [0.1, np.nan], [np.nan, np.nan]])
    found = judge_backtest(np.arange(3) * WEEK_MS, tail, np.zeros((3, 2), np.bool_))
    assert found.series_weeks == pytest.approx(2.0)
    assert found.judged == pytest.approx(1 / 3)
    seen = np.array([[True, False], [True, False], [False, False]])
    assert judge_backtest(np.arange(3), tail, ~np.isfinite(tail) & False, seen=seen).judged == 1.0


def test_nothing_is_no_division() -> None:
    found = judge_backtest(np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros((0, 2), np.bool_))
    assert found.alarms_per_series_per_week == 0.0
    assert found.judged == 0.0


def test_metrics_bring_the_backtest_back() -> None:
    backtest = Backtest(7, 12.5, 0.9, 4, 3, 5, 1)
    assert Backtest.of_metrics(backtest.metrics()) == backtest
    assert Backtest.of_metrics({"episodes": 3.0}) is None
