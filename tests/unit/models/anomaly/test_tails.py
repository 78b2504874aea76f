"""Tails of scores: probabilities that are right for scores like the known ones, and never fall."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from models.anomaly.tails import (
    KNOWN_MAX,
    Tail,
    exceedance_mean,
    exceedance_share,
    pareto_by_moments,
    pareto_log_tail,
    share_as_high,
)
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


@given(known=scores, asked=scores)
def test_the_share_as_high_is_counted(known: Numbers, asked: Numbers) -> None:
    naive = [(sum(value <= each for each in known) + 0.5) / (len(known) + 1) for value in asked]
    np.testing.assert_array_equal(share_as_high(np.sort(known), asked), naive)


@given(st.integers(0, 1000), st.floats(0.001, 0.5), st.floats(0.01, 100))
def test_a_prior_speaks_until_exceedances_are_seen(seen: int, share: float, mean: float) -> None:
    assert exceedance_share(0.0, 0.0, prior=10, share=share) == pytest.approx(share)
    assert exceedance_mean(0.0, 0.0, prior=10, mean=mean) == pytest.approx(mean)
    # what is as expected changes nothing
    exceeded = seen * share
    assert exceedance_share(exceeded, float(seen), prior=10, share=share) == pytest.approx(share)
    assert exceedance_mean(exceeded * mean, exceeded, prior=10, mean=mean) == pytest.approx(mean)


@pytest.mark.parametrize("shape", [0.0, 0.1, 0.2])
def test_moments_tell_a_pareto_tail(shape: float) -> None:
    left = 1 - np.random.default_rng(1).random(400_000)
    excess = -2.0 * np.log(left) if shape == 0 else 2.0 * (left**-shape - 1) / shape
    found, scale = pareto_by_moments(excess, np.ones(len(excess)), shape_max=0.3)
    assert found == pytest.approx(shape, abs=0.03)
    assert scale == pytest.approx(2.0, rel=0.05)
    for far in (1.0, 5.0, 15.0):
        assert pareto_log_tail(np.array(far), found, scale) == pytest.approx(
            np.log((excess > far).mean()), rel=0.05
        )


def test_equal_excesses_have_no_tail_with_an_end() -> None:
    assert pareto_by_moments(np.ones(5), np.ones(5), shape_max=0.3) == (0.0, 1.0)
