"""Tails of scores: probabilities that are right for scores like the known ones, and never fall."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from models.anomaly.tail import KNOWN_MAX, Tail
from models.arrays import Numbers

scores = numpy_arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6))


@given(known=scores, asked=scores)
def test_a_surprise_is_never_negative_and_never_falls(known: Numbers, asked: Numbers) -> None:
    found = Tail.fit(known).surprise(np.sort(asked))
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (np.diff(found) >= -1e-9).all()


def test_tail_probabilities_of_scores_alike_are_uniform() -> None:
    random = np.random.default_rng(0)
    tail = Tail.fit(random.exponential(size=20_000))
    found = np.exp(-tail.surprise(random.exponential(size=20_000)))
    for share in (0.5, 0.1, 0.02, 0.005):
        assert (found <= share).mean() == pytest.approx(share, rel=0.2)


def test_beyond_the_known_scores_the_tail_goes_on() -> None:
    tail = Tail.fit(np.random.default_rng(0).exponential(size=1000))
    high, higher = tail.surprise(np.array([20.0, 40.0]))
    # An exponential score of mean 1 is its own surprise.
    assert high == pytest.approx(20, rel=0.4)
    assert higher > 1.5 * high


def test_scores_that_are_all_the_same_have_no_tail() -> None:
    found = Tail.fit(np.ones(99)).surprise(np.array([0.0, 1.0, 2.0, 3.0]))
    assert found[:2] == pytest.approx([0, 0], abs=0.01)
    assert found[2] == found[3] == pytest.approx(np.log(200))


def test_few_scores_are_kept_of_many() -> None:
    many = np.random.default_rng(0).normal(size=3 * KNOWN_MAX)
    tail = Tail.fit(many)
    assert len(tail.known) == KNOWN_MAX
    assert tail.known[0] == many.min()
    assert tail.known[-1] == many.max()


@pytest.mark.parametrize("known", [np.zeros(0), np.array([1.0, np.nan]), np.array([np.inf])])
def test_no_score_to_learn_from_is_refused(known: Numbers) -> None:
    with pytest.raises(ValueError, match="finite score"):
        Tail.fit(known)


@pytest.mark.parametrize(
    "changed",
    [
        {"known": np.zeros(0)},
        {"known": np.array([2.0, 1.0])},
        {"known": np.array([np.nan])},
        {"known": np.array(["1"])},
        {"known": np.zeros((1, 1))},
        {"known": np.zeros(KNOWN_MAX + 1)},
        {"excess": np.array(-1.0)},
        {"excess": np.array([1.0])},
        {"more": np.array(1.0)},
    ],
)
def test_damaged_arrays_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="tail"):
        Tail.from_arrays({**Tail.fit(np.arange(9.0)).arrays(), **changed})
