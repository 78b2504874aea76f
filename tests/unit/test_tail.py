"""Tails from block maxima: the configured rate on normal scores, however many anomalies the history held."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.tail import BLOCKS_MIN, GumbelTail, score_at_rate, step_tail
from models.arrays import Numbers


def tail_of(tail: GumbelTail, scores: Numbers) -> Numbers:
    parts = np.array([tail.location]), np.array([tail.scale]), np.array([tail.block_steps])
    return step_tail(scores[:, None], *parts)[:, 0]


def threshold(tail: GumbelTail, alarms: float, steps: float) -> float:
    parts = np.array([tail.location]), np.array([tail.scale]), np.array([tail.block_steps])
    return float(score_at_rate(alarms, steps, *parts)[0])


def squared_exponentials(count: int, seed: int) -> Numbers:
    return np.random.default_rng(seed).exponential(size=count) ** 2


def test_new_scores_exceed_the_threshold_at_the_configured_rate() -> None:
    tail = GumbelTail.fit(squared_exponentials(60_000, 0))
    limit = threshold(tail, 20.0, 60_000)
    exceeded = (squared_exponentials(600_000, 1) > limit).sum()
    assert 100 < exceeded < 400


def test_anomalies_in_a_tenth_of_the_blocks_hardly_raise_the_threshold() -> None:
    scores = squared_exponentials(60_000, 2)
    clean = threshold(GumbelTail.fit(scores), 1.0, 60_000)
    scores[::600] = 1e6
    assert threshold(GumbelTail.fit(scores), 1.0, 60_000) < 1.5 * clean


def test_tails_of_normal_scores_are_their_shares() -> None:
    tails = tail_of(GumbelTail.fit(squared_exponentials(60_000, 3)), squared_exponentials(200_000, 4))
    for probability in (0.01, 0.001):
        assert (tails < probability).mean() == pytest.approx(probability, rel=0.35)


@given(
    st.lists(st.floats(0, 1e6), min_size=BLOCKS_MIN, max_size=40),
    st.lists(st.floats(0, 1e12), min_size=2, max_size=9),
)
def test_any_history_gives_tails_that_fall_with_the_score(history: list[float], scores: list[float]) -> None:
    tails = tail_of(GumbelTail.fit(np.array(history)), np.sort(np.array(scores)))
    assert ((tails >= 0) & (tails <= 1)).all()
    assert (np.diff(tails) <= 0).all()


@given(st.floats(1e-6, 1e3), st.floats(1.01, 10.0))
def test_fewer_alarms_need_a_higher_score(alarms: float, factor: float) -> None:
    tail = GumbelTail(1.0, 0.2, 60)
    assert threshold(tail, alarms, 10_080) <= threshold(tail, alarms / factor, 10_080)


def test_the_missing_stays_missing() -> None:
    assert np.isnan(tail_of(GumbelTail(1.0, 0.2, 60), np.array([np.nan]))).all()


@pytest.mark.parametrize(("history", "said"), [([1.0] * 3, "at least 8"), ([1.0] * 9 + [-1.0], "at least 0")])
def test_histories_that_cannot_be_learnt_from_are_named(history: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GumbelTail.fit(np.array(history))
