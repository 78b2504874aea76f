"""Exhaustion of error budgets against windows added up anew at each step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.capacity.budget_exhaustion import period_budget, rolling_budget

STEP_MS = 1000
whole = st.integers(0, 50).map(float)


@st.composite
def histories(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    width, steps = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    total = draw(arrays(np.float64, width, elements=whole))
    total_paths = draw(arrays(np.float64, (3, steps), elements=whole))
    bad = np.floor(total * draw(st.floats(0, 1)))
    bad_paths = np.floor(total_paths * draw(st.floats(0, 1)))
    return bad, total, bad_paths, total_paths


@given(histories(), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_rolling_window_forgets_what_leaves_it(history: tuple[np.ndarray, ...], target: float) -> None:
    bad, total, bad_paths, total_paths = history
    found = rolling_budget(bad, total, bad_paths, total_paths, target=target, step_ms=STEP_MS)
    width = len(bad)
    for row in range(3):
        all_bad, all_total = (
            np.concatenate(pair) for pair in ((bad, bad_paths[row]), (total, total_paths[row]))
        )
        left = []
        for end in range(width, len(all_bad) + 1):
            sums = all_bad[end - width : end].sum(), all_total[end - width : end].sum()
            left.append(1 - sums[0] / (sums[1] * (1 - target)) if sums[1] else 1.0)
        assert found.remaining == pytest.approx(left[0])
        assert found.at_end[row] == pytest.approx(left[-1])
        if min(abs(one) for one in left) < 1e-9:
            continue  # rounding decides
        spent = [step for step, one in enumerate(left) if one <= 0]
        assert found.exhaustion.seconds[row] == (spent[0] if spent else float("inf"))


@given(histories(), st.sampled_from([0.5, 0.9]))
def test_a_period_adds_up_to_its_end(history: tuple[np.ndarray, ...], target: float) -> None:
    bad, total, bad_paths, total_paths = history
    found = period_budget(bad, total, bad_paths, total_paths, target=target, step_ms=STEP_MS)
    for row in range(3):
        sums = bad.sum() + bad_paths[row].sum(), total.sum() + total_paths[row].sum()
        assert found.at_end[row] == pytest.approx(1 - sums[0] / (sums[1] * (1 - target)) if sums[1] else 1.0)


def test_no_errors_last_for_ever_and_steady_ones_as_long_as_the_arithmetic_says() -> None:
    calm = np.zeros(28), np.full(28, 1000.0)
    futures = np.zeros((4, 40)), np.full((4, 40), 1000.0)
    found = rolling_budget(*calm, *futures, target=0.99, step_ms=86_400_000)
    assert (found.remaining, found.exhaustion.probability) == (1.0, 0.0)
    # Twice the allowed errors from now on: a budget of 28 days' traffic lasts 14.
    burning = np.full((4, 40), 20.0), np.full((4, 40), 1000.0)
    found = rolling_budget(*calm, *burning, target=0.99, step_ms=86_400_000)
    assert found.exhaustion.expected_seconds == pytest.approx(14 * 86_400)


def test_more_bad_than_total_and_missing_counts_do_no_harm() -> None:
    found = rolling_budget(
        np.array([np.nan, 9.0]),
        np.array([5.0, np.nan]),
        np.array([[7.0, -1.0]]),
        np.array([[5.0, np.nan]]),
        target=0.9,
        step_ms=STEP_MS,
    )
    assert np.isfinite(found.at_end).all()
    with pytest.raises(ValueError, match="target"):
        rolling_budget(np.ones(1), np.ones(1), np.ones((1, 1)), np.ones((1, 1)), target=1.0, step_ms=1)
    with pytest.raises(ValueError, match="one shape"):
        rolling_budget(np.ones(1), np.ones(2), np.ones((1, 1)), np.ones((1, 1)), target=0.9, step_ms=1)
