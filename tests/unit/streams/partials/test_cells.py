"""Sparse tables against dictionaries, on dense and on sparse keys alike."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.partials import cells as tables
from streams.partials.cells import (
    BUCKET_LIMIT,
    SERIES_LIMIT,
    cell_keys,
    count_keys,
    distinct,
    max_by_key,
    member_mask,
    renumber,
    split_cells,
    sum_by_key,
    sum_marked,
    sum_rows,
)

near = st.integers(0, 30)
far = st.integers(0, 2**62)
keys = st.one_of(st.lists(near, max_size=60), st.lists(st.one_of(near, far), max_size=60))
amounts = st.integers(-(2**50), 2**50)


def array(values, dtype=np.int64) -> np.ndarray:
    return np.array(list(values), dtype=dtype)


@settings(max_examples=150)
@given(keys, st.data())
def test_sums_counts_and_maxima_by_key_equal_dictionaries(some, data):
    counts = data.draw(st.lists(st.tuples(amounts, amounts), min_size=len(some), max_size=len(some)))
    marks = data.draw(st.lists(st.booleans(), min_size=len(some), max_size=len(some)))
    ranks = data.draw(st.lists(st.integers(0, 255), min_size=len(some), max_size=len(some)))
    ordered = sorted(set(some))
    columns = array(counts).reshape(len(some), 2)
    expected = [
        [sum(c[i] for k, c in zip(some, counts, strict=True) if k == key) for i in (0, 1)] for key in ordered
    ]

    found, sums = sum_by_key(array(some), columns)
    assert (found.tolist(), sums.tolist()) == (ordered, expected)
    found, single = sum_by_key(array(some), columns[:, 0])
    assert (found.tolist(), single.tolist()) == (ordered, [row[0] for row in expected])
    found, sums, marked = sum_marked(array(some), columns, array(marks, np.bool_))
    assert (found.tolist(), sums.tolist()) == (ordered, expected)
    assert marked.tolist() == [
        any(m for k, m in zip(some, marks, strict=True) if k == key) for key in ordered
    ]
    found, often = count_keys(array(some))
    assert dict(zip(found.tolist(), often.tolist(), strict=True)) == Counter(some)
    assert found.tolist() == ordered
    found, highest = max_by_key(array(some), array(ranks, np.uint8))
    assert found.tolist() == ordered
    assert highest.tolist() == [
        max(r for k, r in zip(some, ranks, strict=True) if k == key) for key in ordered
    ]


@pytest.mark.parametrize("dense_cells_max", [0, tables._DENSE_CELLS_MAX])
@settings(max_examples=100)
@given(some=keys, data=st.data())
def test_rows_are_summed_alike_with_and_without_a_sort(dense_cells_max, some, data):
    measure = data.draw(st.lists(amounts, min_size=len(some), max_size=len(some)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_DENSE_CELLS_MAX", dense_cells_max)
        found, counts = sum_rows(array(some), [None, array(measure), None])
    ordered = sorted(set(some))
    assert found.tolist() == ordered
    assert counts.shape == (len(ordered), 3)
    for key, row in zip(ordered, counts.tolist(), strict=True):
        often = some.count(key)
        assert row == [often, sum(m for k, m in zip(some, measure, strict=True) if k == key), often]


def test_rows_without_measures_still_tell_their_keys():
    found, counts = sum_rows(array([5, 3, 5]), [])
    assert found.tolist() == [3, 5]
    assert counts.shape == (2, 0)


@settings(max_examples=150)
@given(keys, keys)
def test_distinct_members_and_numbers_equal_sets_and_lists(some, others):
    ordered = sorted(set(some))
    assert distinct(array(some)).tolist() == ordered
    assert member_mask(array(others), array(ordered)).tolist() == [key in ordered for key in others]
    small = [key % 50 for key in some]
    used, place = renumber(array(small), 50)
    assert used.tolist() == sorted(set(small))
    assert used[place].tolist() == small


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, BUCKET_LIMIT - 1), st.integers(0, SERIES_LIMIT - 1)), min_size=1, max_size=20
    )
)
def test_cell_keys_sort_by_bucket_then_series_and_come_apart_again(cells):
    bucket, series = (array(column) for column in zip(*cells, strict=True))
    packed = cell_keys(bucket, series)
    assert [cells[i] for i in np.argsort(packed, kind="stable")] == sorted(cells)
    assert [part.tolist() for part in split_cells(packed)] == [bucket.tolist(), series.tolist()]
