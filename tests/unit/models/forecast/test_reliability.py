"""Reliability tables and scores against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.forecast.reliability import EDGES, brier_score, brier_skill, climatology, reliability_table

cases = st.lists(st.tuples(st.integers(0, 20).map(lambda n: n / 20), st.booleans()), min_size=1, max_size=40)


@given(cases)
def test_each_case_is_in_one_row(rows: list[tuple[float, bool]]) -> None:
    probability, happened = (np.array(column) for column in zip(*rows, strict=True))
    table = reliability_table(probability, happened)
    assert sum(row.count for row in table) == len(rows)
    for row in table:
        mine = [hit for p, hit in rows if row.low <= p < row.high or (row.high == 1.0 and p == 1.0)]
        assert row.count == len(mine)
        if not mine:
            assert row.observed is None
            continue
        assert row.observed == pytest.approx(np.mean(mine))
        assert row.observed_low is not None
        assert row.observed_high is not None
        assert 0 <= row.observed_low <= row.observed <= row.observed_high <= 1
    assert [row.low for row in table] == list(EDGES[:-1])
    assert brier_score(probability, happened) == pytest.approx(np.mean([(p - hit) ** 2 for p, hit in rows]))


def test_skill_is_what_is_saved_of_the_reference() -> None:
    happened = np.array([True, False, True, True])
    half = np.full(4, 0.5)
    assert brier_skill(happened.astype(float), half, happened) == 1.0
    assert brier_skill(half, half, happened) == 0.0
    assert np.isnan(brier_skill(half, happened.astype(float), happened))
    assert np.isnan(brier_score(half[:0], happened[:0]))


def test_climatology_counts_stretches_of_the_past() -> None:
    history = np.zeros(24)
    history[[1, 23]] = 9.0
    assert climatology(history, 5.0, 6) == (2 + 0.5) / (4 + 1)
    assert climatology(history, -1.0, 6, above=False) == 0.5 / 5
    assert climatology(history[:3], 5.0, 6) == 0.5


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        brier_score(np.array([np.nan]), np.array([True]))
    with pytest.raises(ValueError, match="2 probabilities for 1"):
        reliability_table(np.zeros(2), np.zeros(1, np.bool_))
