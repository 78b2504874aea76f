"""First crossings against a loop over paths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.capacity.crossing import first_crossing, tied_paths

STEP_MS = 60_000

path_tables = st.tuples(st.integers(1, 6), st.integers(1, 8)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(-5, 5).map(float))
)


def slow_first(path: list[float], limit: list[float], above: bool) -> float:
    for step, (value, bound) in enumerate(zip(path, limit, strict=True)):
        if value >= bound if above else value <= bound:
            return (step + 1) * STEP_MS / 1000
    return float("inf")


@given(path_tables, st.integers(-5, 5), st.booleans())
def test_it_is_the_first_step_at_the_limit(paths: np.ndarray, limit: int, above: bool) -> None:
    found = first_crossing(paths, float(limit), step_ms=STEP_MS, above=above)
    bounds = [float(limit)] * paths.shape[1]
    expected = [slow_first(path.tolist(), bounds, above) for path in paths]
    assert found.seconds.tolist() == expected
    ends = (np.arange(paths.shape[1]) + 1) * STEP_MS / 1000
    assert found.by_step.tolist() == [np.mean([first <= end for first in expected]) for end in ends]
    assert found.probability == pytest.approx(found.by_step[-1])


@given(path_tables, st.data())
def test_the_limit_may_be_a_series_or_paths(paths: np.ndarray, data: st.DataObject) -> None:
    limits = data.draw(arrays(np.float64, paths.shape, elements=st.integers(-5, 5).map(float)))
    one = first_crossing(paths, limits[0], step_ms=STEP_MS)
    each = first_crossing(paths, limits, step_ms=STEP_MS)
    for row, path in enumerate(paths):
        assert one.seconds[row] == slow_first(path.tolist(), limits[0].tolist(), True)
        assert each.seconds[row] == slow_first(path.tolist(), limits[row].tolist(), True)


@given(path_tables, st.integers(-5, 5))
def test_quantiles_and_ranges_agree_with_the_probability(paths: np.ndarray, limit: int) -> None:
    found = first_crossing(paths, float(limit), step_ms=STEP_MS)
    for q in (0.05, 0.5, 0.95):
        at = found.quantile_seconds(q)
        assert np.isfinite(at) == (found.probability >= q - 1e-12)
        if np.isfinite(at):
            assert (found.seconds <= at).mean() >= q - 1e-12
    low, high = found.range_seconds()
    assert low <= found.expected_seconds <= high or low == pytest.approx(high)


def test_a_series_at_its_limit_has_crossed_now() -> None:
    paths = np.zeros((3, 2))
    assert first_crossing(paths, 5.0, step_ms=STEP_MS, current=4.9).probability == 0.0
    now = first_crossing(paths, 5.0, step_ms=STEP_MS, current=5.0)
    assert (now.probability, now.expected_seconds, now.by_step.tolist()) == (1.0, 0.0, [1.0, 1.0])
    below = first_crossing(
        paths + 9, np.array([1.0, 1.0]), step_ms=1, above=False, current=3, current_limit=3
    )
    assert below.probability == 1.0


def test_what_is_missing_reaches_nothing() -> None:
    paths = np.array([[np.nan, 7.0]])
    assert first_crossing(paths, 5.0, step_ms=1000).seconds.tolist() == [2.0]
    assert first_crossing(paths, np.array([5.0, np.nan]), step_ms=1000).probability == 0.0


@pytest.mark.parametrize(
    ("paths", "limit", "message"),
    [
        (np.zeros(3), 1.0, "shape"),
        (np.zeros((0, 3)), 1.0, "shape"),
        (np.zeros((2, 3)), np.zeros(2), "3 steps"),
    ],
)
def test_shapes_that_do_not_fit_are_named(paths: np.ndarray, limit: float | np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        first_crossing(paths, limit, step_ms=1)
    with pytest.raises(ValueError, match="current_limit"):
        first_crossing(np.zeros((1, 1)), np.zeros(1), step_ms=1, current=0.0)


@given(path_tables, st.floats(0, 1), st.integers(0, 5))
def test_tied_paths_hold_the_same_values_at_each_step(paths: np.ndarray, share: float, seed: int) -> None:
    tied = tied_paths(paths, share=share, seed=seed)
    assert (np.sort(tied, axis=0) == np.sort(paths, axis=0)).all()
    assert (tied == tied_paths(paths, share=share, seed=seed)).all()


def test_tying_leaves_paths_alone_at_0_and_ranks_them_all_alike_at_1() -> None:
    paths = np.random.default_rng(0).normal(size=(400, 50))
    assert (tied_paths(paths, share=0.0) == paths).all()
    whole = tied_paths(paths, share=1.0).argsort(axis=0)
    assert (whole == whole[:, :1]).all()
    highest = [tied_paths(paths, share=share).max(axis=1).mean() for share in (0.0, 0.3, 0.6, 0.9)]
    assert highest == sorted(highest, reverse=True)
    with pytest.raises(ValueError, match="between 0 and 1"):
        tied_paths(paths, share=1.5)
