"""Sketch bins against the values themselves: accuracy, order, sign, extremes, merging."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.partials.cells import count_keys, sum_by_key
from streams.partials.sketch import BIN_COUNT, RELATIVE_ACCURACY, bins_of, quantiles_of, values_of

ROUNDING = 1 + 1e-9
"""A logarithm is exact to some units in the last place, no more."""

covered = st.one_of(
    st.just(0.0),
    st.floats(1e-12, 1e12),
    st.floats(-1e12, -1e-12),
    st.floats(-100, 100).filter(lambda x: abs(x) > 1e-12),
)
anything = st.one_of(
    covered, st.floats(allow_nan=False), st.sampled_from([math.inf, -math.inf, 5e-324, -0.0])
)


@settings(max_examples=300)
@given(st.lists(covered, min_size=1, max_size=50))
def test_the_value_of_a_bin_is_within_one_percent(values):
    array = np.array(values)
    error = np.abs(values_of(bins_of(array)) - array)
    assert (error <= RELATIVE_ACCURACY * np.abs(array) * ROUNDING).all()


@settings(max_examples=300)
@given(st.lists(anything, min_size=2, max_size=50))
def test_bins_run_with_the_values_and_keep_their_sign(values):
    array = np.sort(np.array(values))
    bins = bins_of(array)
    assert (np.diff(bins) >= 0).all()
    assert ((bins >= 0) & (bins < BIN_COUNT)).all()
    found = values_of(bins)
    assert np.array_equal(np.sign(found), np.where(np.abs(array) < 6e-13, 0, np.sign(array)))


def test_magnitudes_beyond_the_range_are_zero_or_the_last_bin():
    tiny, huge = values_of(bins_of(np.array([1e-13, 5e-324, -1e-300]))), bins_of(np.array([1e13, math.inf]))
    assert tiny.tolist() == [0.0, 0.0, 0.0]
    assert huge[0] == huge[1]
    assert values_of(huge)[0] > 1.3e12
    assert values_of(bins_of(np.array([-math.inf])))[0] == -values_of(huge)[0]


def test_values_of_every_bin_return_to_it():
    bins = np.unique(
        bins_of(np.concatenate([-np.geomspace(1e-12, 1e12, 9999), [0], np.geomspace(1e-12, 1e12, 9999)]))
    )
    assert np.array_equal(bins_of(values_of(bins)), bins)


@settings(max_examples=200)
@given(
    st.lists(st.lists(covered, max_size=40), min_size=1, max_size=4),
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
)
def test_quantiles_are_within_one_percent_of_the_value_at_their_rank(series, shares):
    keys = np.concatenate([s * BIN_COUNT + bins_of(np.array(v, dtype=float)) for s, v in enumerate(series)])
    found = quantiles_of(*count_keys(keys.astype(np.int64)), len(series), shares)
    assert found.shape == (len(series), len(shares))
    for row, values in zip(found, series, strict=True):
        for quantile, share in zip(row, shares, strict=True):
            if not values:
                assert math.isnan(quantile)
                continue
            true = sorted(values)[math.floor(share * (len(values) - 1))]
            assert abs(quantile - true) <= RELATIVE_ACCURACY * abs(true) * ROUNDING


@settings(max_examples=100)
@given(st.lists(st.lists(covered, max_size=20), min_size=2, max_size=5))
def test_sketches_merge_by_addition(parts):
    sketches = [count_keys(bins_of(np.array(part, dtype=float))) for part in parts]
    merged = sum_by_key(
        np.concatenate([keys for keys, _ in sketches]), np.concatenate([counts for _, counts in sketches])
    )
    whole = Counter(bins_of(np.array([x for part in parts for x in part], dtype=float)).tolist())
    assert dict(zip(*map(np.ndarray.tolist, merged), strict=True)) == whole


@pytest.mark.parametrize("q", [0.0, 0.5, 0.99, 1.0])
def test_nothing_has_no_quantile(q):
    none = np.zeros(0, dtype=np.int64)
    assert np.isnan(quantiles_of(none, none, 3, [q])).all()
    assert quantiles_of(none, none, 0, [q]).shape == (0, 1)
    assert bins_of(np.zeros(0)).tolist() == []


def test_weights_count_like_repeated_values():
    keys = bins_of(np.array([1.0, 10.0, 100.0]))
    found = quantiles_of(keys, np.array([98, 1, 1]), 1, [0.5, 0.98, 0.999, 1.0])[0]
    assert found == pytest.approx([1, 1, 10, 100], rel=0.011)
