"""NAB's scoring: values worked out by hand from its rules, and the sweep against trying every threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.nab_scoring import (
    NEVER,
    PROFILES,
    Judged,
    best_threshold,
    counted_windows,
    file_score,
    normalised,
    probation_rows,
    row_worth,
)

STANDARD = PROFILES["standard"]


def one_file(hits: dict[int, float], *, rows: int = 1000, windows: list[list[int]]) -> Judged:
    scores = np.zeros(rows)
    for row, score in hits.items():
        scores[row] = score
    return Judged(scores, np.array(windows, np.int64).reshape(-1, 2))


def sigmoid(x: float) -> float:
    return 2 / (1 + math.exp(5 * x)) - 1


def test_the_first_row_of_a_window_is_worth_all_and_later_ones_less() -> None:
    worth, window = row_worth(1000, np.array([[400, 499]]))
    assert worth[400] == pytest.approx(1.0)
    assert worth[450] == pytest.approx(sigmoid(-0.5) / sigmoid(-1.0))
    assert (np.diff(worth[400:500]) < 0).all()
    assert (window[400:500] == 0).all()
    assert (window != -1).sum() == 100


def test_a_false_alarm_costs_less_just_after_a_window_than_before_it() -> None:
    worth, _ = row_worth(1000, np.array([[400, 499]]))
    assert worth[399] == -1.0
    assert worth[500] == pytest.approx(sigmoid(1 / 99))
    assert worth[999] == -1.0


def test_saying_nothing_is_0_and_perfection_100() -> None:
    windows = [[400, 499], [700, 799]]
    silent = one_file({}, windows=windows)
    threshold, total = best_threshold([silent], STANDARD)
    assert (threshold, normalised(total, 2, STANDARD)) == (NEVER, 0.0)
    perfect = one_file({400: 0.9, 700: 0.8}, windows=windows)
    threshold, total = best_threshold([perfect], STANDARD)
    assert threshold == 0.8
    assert normalised(total, 2, STANDARD) == pytest.approx(100.0)


def test_a_false_alarm_takes_its_weight() -> None:
    judged = one_file({300: 0.9, 400: 0.9}, windows=[[400, 499]])
    for name, cost in (("standard", 0.11), ("reward_low_FP", 0.22), ("reward_low_FN", 0.11)):
        assert file_score(judged, 0.9, PROFILES[name]) == pytest.approx(1 - cost), name


def test_rows_for_learning_count_for_nothing() -> None:
    assert probation_rows(1000) == 150
    judged = one_file({10: 1.0, 149: 1.0}, windows=[[400, 499]])
    assert file_score(judged, 0.5, STANDARD) == -1.0
    assert counted_windows([one_file({}, windows=[[10, 100], [400, 499]])]) == 1


@given(
    st.lists(st.integers(0, 5), min_size=200, max_size=200),
    st.sampled_from([[], [[50, 69]], [[40, 59], [120, 139]], [[35, 35], [180, 199]]]),
    st.sampled_from(sorted(PROFILES)),
)
def test_the_sweep_finds_what_trying_every_threshold_finds(
    levels: list[int], windows: list[list[int]], profile: str
) -> None:
    files = [
        Judged(np.array(levels) / 5, np.array(windows, np.int64).reshape(-1, 2)),
        one_file({60: 0.4, 150: 0.6}, rows=200, windows=[[55, 75]]),
    ]
    tried = [
        sum(file_score(judged, threshold, PROFILES[profile]) for judged in files)
        for threshold in (NEVER, 1.0, 0.8, 0.6, 0.4, 0.2, 0.0)
    ]
    threshold, total = best_threshold(files, PROFILES[profile])
    assert total == pytest.approx(max(tried))
    assert sum(file_score(judged, threshold, PROFILES[profile]) for judged in files) == pytest.approx(total)
