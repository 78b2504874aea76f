"""Joint distances: scales that outliers hardly move, levels that are followed, contributions that add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.anomaly.joint import Joint, along_directions, breaks_apart, mean_distance, signal_shares
from models.anomaly.joint_scale import SPREADS_MAX, ZERO_SPREAD, Scale, follow_level, in_spreads
from models.arrays import Numbers

FINITE = st.floats(-1e9, 1e9, allow_subnormal=False)


def correlated(rows: int, seed: int = 0) -> Numbers:
    """Three signals that move together, and one of its own."""
    random = np.random.default_rng(seed)
    common = random.normal(size=(rows, 1))
    return np.hstack([common + 0.1 * random.normal(size=(rows, 3)), random.normal(size=(rows, 1))])


def judged(joint: Joint, row: list[float]) -> tuple[Numbers, Numbers, Numbers]:
    offsets = (np.array([[row]]) - joint.mean).astype(np.float64)
    return offsets, along_directions(offsets, joint.directions[None]), joint.directions[None]


@given(
    arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=FINITE | st.just(np.nan))
)
def test_any_history_has_a_scale_and_any_value_a_finite_distance(values: Numbers) -> None:
    scale = Scale.fit(values)
    assert (scale.spread > 0).all()
    assert np.isfinite(scale.center).all()
    distances = in_spreads(values, scale.center, scale.spread)
    assert (np.isnan(distances) == np.isnan(values)).all()
    assert (np.abs(distances[np.isfinite(distances)]) <= SPREADS_MAX).all()


@given(st.integers(0, 1000), st.floats(1e-3, 1e6), st.floats(-1e3, 1e3))
def test_distances_do_not_depend_on_the_unit(seed: int, factor: float, shift: float) -> None:
    values = np.random.default_rng(seed).normal(size=(200, 2))
    one, other = Scale.fit(values), Scale.fit(values * factor + shift)
    distances = in_spreads(values * factor + shift, other.center, other.spread)
    np.testing.assert_allclose(distances, in_spreads(values, one.center, one.spread), rtol=1e-3, atol=1e-4)


def test_a_few_outliers_hardly_widen_the_spread() -> None:
    values = np.random.default_rng(0).normal(size=(1000, 1))
    spread = Scale.fit(values).spread[0]
    values[:5] = 50.0
    assert Scale.fit(values).spread[0] < 1.5 * spread


def test_what_was_always_zero_has_a_spread_of_its_own() -> None:
    assert Scale.fit(np.zeros((9, 1))).spread.tolist() == [ZERO_SPREAD]
    assert Scale.fit(np.full((9, 1), np.nan)).center.tolist() == [0.0]
    assert Scale.fit(np.full((9, 1), 200.0)).spread.tolist() == [2.0]


def test_no_history_has_no_scale() -> None:
    with pytest.raises(ValueError, match="rows of signals expected"):
        Scale.fit(np.zeros((0, 3)))


@given(arrays(np.float64, (12, 2), elements=st.floats(-50, 50) | st.just(np.nan)), st.integers(0, 12))
def test_following_a_level_in_parts_is_following_it_whole(distances: Numbers, cut: int) -> None:
    whole, level = follow_level(distances, np.zeros(2), steps=7.0, pull_max=2.0)
    first, between = follow_level(distances[:cut], np.zeros(2), steps=7.0, pull_max=2.0)
    second, last = follow_level(distances[cut:], between, steps=7.0, pull_max=2.0)
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)
    np.testing.assert_array_equal(last, level)


def test_a_level_moves_by_a_bounded_part_of_each_step() -> None:
    _, level = follow_level(np.full((10, 1), 1e6), np.zeros(1), steps=100.0, pull_max=2.0)
    assert level[0] == pytest.approx(10 * 2.0 / 100.0)
    levels, _ = follow_level(np.full((2000, 1), 1.5), np.zeros(1), steps=100.0, pull_max=2.0)
    assert levels[-1, 0] == pytest.approx(1.5)


@settings(max_examples=50)
@given(arrays(np.float64, (5, 4), elements=st.floats(-100, 100)))
def test_shares_of_the_signals_sum_to_the_oddness(rows: Numbers) -> None:
    joint = Joint.fit(correlated(300))
    offsets = (rows - joint.mean)[:, None]
    along = along_directions(offsets, joint.directions[None])
    shares = signal_shares(offsets, along, joint.directions[None])
    np.testing.assert_allclose(shares.sum(axis=-1), mean_distance(along), atol=1e-9)


def test_signals_that_part_are_odder_than_signals_that_move_together() -> None:
    joint = Joint.fit(correlated(2000))
    together, parted = judged(joint, [2.0, 2.0, 2.0, 0.0]), judged(joint, [2.0, 2.0, -2.0, 0.0])
    assert mean_distance(parted[1])[0, 0] > 2 * mean_distance(together[1])[0, 0]
    leading = np.array([joint.leading])
    assert breaks_apart(parted[1], leading)[0, 0] > 1.0 > breaks_apart(together[1], leading)[0, 0]
    assert np.argmax(signal_shares(*parted)[0, 0]) == 2


def test_usual_rows_lie_at_about_the_mean_absolute_value_of_a_normal_number() -> None:
    rows = np.random.default_rng(1).normal(size=(5000, 4))
    joint = Joint.fit(rows)
    along = along_directions((rows - joint.mean)[:, None], joint.directions[None])
    assert mean_distance(along).mean() == pytest.approx(np.sqrt(2 / np.pi / 1.1), rel=0.03)


def test_history_without_movement_gives_finite_distances() -> None:
    joint = Joint.fit(np.zeros((5, 3)))
    along = judged(joint, [1.0, 0.0, 0.0])[1]
    assert np.isfinite(along).all()
    assert breaks_apart(along, np.array([joint.leading]))[0, 0] > 0
    with pytest.raises(ValueError, match="at least 2 rows"):
        Joint.fit(np.zeros((1, 3)))
