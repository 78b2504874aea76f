"""Error ratios, budgets and bounds against the formulas written out for one series."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from detectors.slo.budget import burn_rate, error_budget_remaining, error_ratio, exhaustion_seconds
from detectors.slo.confidence import clopper_pearson_lower

DAY_MS = 86_400_000

counts = st.lists(
    st.integers(0, 10**9).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))),
    min_size=1,
    max_size=8,
)
targets = st.floats(0.5, 0.99999)


def columns(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    good, total = zip(*rows, strict=True)
    return np.array(good, np.int64), np.array(total, np.int64)


@given(counts, targets)
def test_ratio_burn_and_budget_are_the_formulas(rows: list[tuple[int, int]], target: float) -> None:
    good, total = columns(rows)
    ratio, burn = error_ratio(good, total), burn_rate(good, total, target)
    remaining = error_budget_remaining(good, total, target)
    for index, (g, t) in enumerate(rows):
        if t == 0:
            assert math.isnan(ratio[index])
            assert math.isnan(burn[index])
            assert math.isnan(remaining[index])
        else:
            bad = t - g
            assert ratio[index] == bad / t
            assert burn[index] == pytest.approx(bad / t / (1 - target))
            assert remaining[index] == pytest.approx(1 - bad / (t * (1 - target)), abs=1e-9)


def test_an_empty_set_of_series_gives_empty_columns() -> None:
    none = np.empty(0, np.int64)
    assert error_budget_remaining(none, none, 0.99).shape == (0,)
    assert exhaustion_seconds(np.empty(0), np.empty(0), window_ms=DAY_MS).shape == (0,)


@given(st.floats(-5, 1), st.just(0.0) | st.floats(1e-6, 1000), st.integers(1, 365), st.floats(0, 1))
def test_exhaustion_is_when_the_errors_to_come_use_up_what_is_left(
    remaining: float, burn: float, days: int, covered_share: float
) -> None:
    window_ms = days * DAY_MS
    covered_ms = int(covered_share * window_ms)
    (seconds,) = exhaustion_seconds(
        np.array([remaining]), np.array([burn]), window_ms=window_ms, covered_ms=covered_ms
    )
    # One event a second, so that the whole window's budget is (1 - target) * window seconds.
    allowed = 0.001
    budget = allowed * window_ms / 1000
    spent = (1 - remaining) * allowed * covered_ms / 1000
    if budget - spent <= 1e-9 * budget:
        assert seconds <= 1e-6 * window_ms / max(burn, 1e-9)
    elif burn == 0:
        assert seconds == math.inf
    else:
        assert spent + seconds * burn * allowed == pytest.approx(budget)


def test_exhaustion_needs_both_a_budget_and_a_burn() -> None:
    nan = math.nan
    seconds = exhaustion_seconds(
        np.array([nan, 0.5, 0.0, -1.0, 0.5, 0.5]),
        np.array([1.0, nan, 0.0, 3.0, -0.1, 6.0]),
        window_ms=30 * DAY_MS,
    )
    assert np.isnan(seconds[:2]).all()
    assert seconds[2:].tolist() == [0.0, 0.0, math.inf, 2.5 * 86_400]


events = st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
confidences = st.sampled_from([0.8, 0.9, 0.95, 0.99, 0.999])


@given(events, confidences)
def test_clopper_pearson_is_where_the_binomial_tail_has_the_chance_left(
    event: tuple[int, int], confidence: float
) -> None:
    bad, total = event
    (bound,) = clopper_pearson_lower(np.array([float(bad)]), np.array([float(total)]), confidence)
    if bad == 0:
        assert bound == 0
    else:
        assert binom.sf(bad - 1, total, bound) == pytest.approx(1 - confidence, rel=1e-6)


@given(events, st.floats(0, 0.9999))
def test_a_bound_lies_between_nothing_and_the_ratio_and_falls_with_confidence(
    event: tuple[int, int], confidence: float
) -> None:
    bad, total = np.array([float(event[0])]), np.array([float(event[1])])
    (low,) = clopper_pearson_lower(bad, total, confidence)
    (lower,) = clopper_pearson_lower(bad, total, (1 + confidence) / 2)
    (more,) = clopper_pearson_lower(np.minimum(bad + 1, total), total, confidence)
    assert 0 <= lower <= low <= bad[0] / total[0]
    assert low <= more or math.isclose(low, more)


def test_without_traffic_or_confidence_there_is_no_guard_and_no_evidence() -> None:
    bad, total = np.array([0.0, 1.0]), np.array([0.0, 4.0])
    assert clopper_pearson_lower(bad, total, 0.95)[0] == 0
    assert clopper_pearson_lower(bad, total, 0.0).tolist() == [0.0, 0.25]
