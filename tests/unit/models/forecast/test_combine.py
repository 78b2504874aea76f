"""Weights, backtest origins and intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.forecast.combine import combine, honest_weights, place_origins, soft_weights
from models.forecast.intervals import (
    error_correlation,
    independent_count,
    leave_one_out_coverage,
    measure_sizes,
    score_quantiles,
)
from models.forecast.result import GRID


@given(st.integers(2, 4000), st.integers(1, 500), st.integers(2, 600))
def test_origins_rise_and_end_with_the_history(length, horizon, need):
    origins = place_origins(length, horizon, need)
    assert origins[-1] == length
    assert (np.diff(origins) > 0).all()
    assert origins[0] >= 1
    if need + horizon + 4 < length and length // 3 + horizon + 4 < length:
        assert origins[0] >= need
        assert (origins[:-1] + horizon <= length).all()


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8))
def test_weights_sum_to_one_and_fall_with_the_error(loss):
    weights = soft_weights(np.array(loss), 3.0)
    assert weights.sum() == pytest.approx(1.0)
    assert (np.diff(weights[np.argsort(loss, kind="stable")]) <= 1e-12).all()


def test_an_origin_is_not_judged_by_its_own_error():
    loss = np.ones((2, 12))
    loss[0, 5] = 1000.0
    _, judged = honest_weights(loss, 10 * np.arange(12), 10, 3.0)
    assert judged[5] == pytest.approx([0.5, 0.5])
    assert judged[0, 0] < 0.01


def test_the_better_member_carries_the_average():
    actual = np.random.default_rng(0).normal(size=(10, 6))
    forecasts = np.stack([actual + 0.1, actual + 5.0])
    weights, averaged = combine(forecasts, actual, 6 * np.arange(10))
    assert weights[0] > 0.99
    np.testing.assert_allclose(averaged, actual + 0.1, atol=0.05)


def test_sizes_follow_distance_and_place():
    random = np.random.default_rng(0)
    origins = np.arange(40) * 5
    steps = origins[:, None] + np.arange(12)
    errors = random.normal(size=(40, 12)) * np.where(steps % 6 == 0, 9.0, 1.0) * np.linspace(1, 3, 12)
    sizes = measure_sizes(errors, origins, 6, 1, np.ones(12), 1.0)
    assert sizes.distance[-1] > 1.5 * sizes.distance[0]
    assert sizes.place[0] == sizes.place.max()
    assert sizes.at(0)[0] > 2 * sizes.at(0)[3]


def test_sizes_without_any_truth_fall_back():
    sizes = measure_sizes(np.full((3, 4), np.nan), np.arange(3), 2, 1, np.sqrt([1.0, 2, 3, 4]), 5.0)
    np.testing.assert_allclose(sizes.at(0), 5.0 * np.sqrt([1, 2, 3, 4]))


def test_quantiles_of_normal_scores_are_near_the_normal_ones():
    scores = np.random.default_rng(0).normal(size=4000)
    found = np.interp([0.025, 0.5, 0.975], GRID, score_quantiles(scores, 4000.0))
    assert found == pytest.approx([-1.96, 0.0, 1.96], abs=0.12)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=50), st.floats(1, 100))
def test_quantiles_rise_through_zero(scores, independent):
    found = score_quantiles(np.array(scores), independent)
    assert (np.diff(found) >= 0).all()
    assert found[len(GRID) // 2] == 0


def test_few_scores_give_wider_tails_than_many():
    scores = np.random.default_rng(0).normal(size=400)
    assert score_quantiles(scores, 3.0)[-1] > score_quantiles(scores, 300.0)[-1]


def test_correlation_of_walks_is_high_and_of_noise_low():
    random = np.random.default_rng(0)
    walks = random.normal(size=(40, 24)).cumsum(axis=1)
    assert error_correlation(walks)[1] > 0.8
    noise = error_correlation(random.normal(size=(400, 24)))
    assert noise[0] == 1.0
    assert np.abs(noise[1:]).max() < 0.1
    assert independent_count(walks, error_correlation(walks), 480) < 100


def test_coverage_of_one_kind_of_error_is_what_was_asked():
    scores = np.random.default_rng(0).normal(size=(30, 40))
    found = leave_one_out_coverage(scores, (0.8, 0.95), 1200.0)
    assert found[0.8] == pytest.approx(0.8, abs=0.05)
    assert found[0.95] == pytest.approx(0.95, abs=0.02)
