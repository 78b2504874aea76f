"""Tails: what they promise on numbers whose distribution is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.calibration import SURPRISE_MAX, IncidentRate, PooledTail, tail_of_rate
from detectors.traffic_incident import REST_STEPS, Incidents, onsets
from models.arrays import Numbers


def learnt(values: Numbers) -> PooledTail:
    """A tail that has seen values [T, S]."""
    tail = PooledTail(values.shape[1])
    for step, row in enumerate(values):
        tail.learn(row, np.arange(len(row)))
        if step % 50 == 49:
            tail.refresh()
    return tail


def test_surprise_of_exponential_numbers_is_their_own_tail() -> None:
    tail = learnt(np.random.default_rng(0).exponential(1.0, (2000, 4)))
    odd = np.array([0.7, 2.3, 4.6, 6.9])
    found = tail.surprise(np.tile(odd[:, None], (1, 4)))
    assert np.abs(found - odd[:, None] / np.log(10)).max() < 0.35


def test_a_series_with_a_heavier_tail_is_less_surprised() -> None:
    values = np.random.default_rng(1).exponential(1.0, (3000, 5))
    values[:, 0] *= 2
    found = learnt(values).surprise(np.full((1, 5), 8.0))[0]
    assert found[0] < found[1:].min() - 0.5


def test_one_anomaly_does_not_hide_the_next() -> None:
    values = np.random.default_rng(2).exponential(1.0, (2000, 1))
    before = learnt(values).surprise(np.full((1, 1), 9.0))[0, 0]
    values[1500] = 1e6
    after = learnt(values).surprise(np.full((1, 1), 1e3))[0, 0]
    assert before > 3
    assert after > 1


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=30))
def test_surprise_rises_with_oddness(odd: list[float]) -> None:
    tail = learnt(np.random.default_rng(3).exponential(1.0, (400, 2)))
    ascending = np.sort(odd)
    found = tail.surprise(np.tile(ascending[:, None], (1, 2)))
    assert (np.diff(found, axis=0) >= -1e-9).all()
    assert ((found >= 0) & (found <= SURPRISE_MAX)).all()


def test_nothing_is_told_before_there_is_a_pool() -> None:
    assert np.isnan(PooledTail(2).surprise(np.ones((3, 2)))).all()
    assert np.isnan(learnt(np.ones((100, 1))).surprise(np.full((1, 1), np.nan))).all()


def test_the_rate_of_incidents_is_the_one_asked_for() -> None:
    random = np.random.default_rng(4)
    rate = IncidentRate(50)
    for _ in range(100):
        rate.learn(random.exponential(0.3, 1000))
        rate.refresh()
    grid = np.linspace(0, 4, 4001)
    tail = rate.tail(grid)
    limit = 0.001 / 50  # one run of a thousand
    threshold = grid[np.argmax(tail < limit)]
    exact = -0.3 * np.log(0.001)
    assert threshold == pytest.approx(exact, rel=0.1)


@given(st.lists(st.floats(0, 12), max_size=200))
def test_tails_fall_and_are_probabilities(peaks: list[float]) -> None:
    rate = IncidentRate(50)
    rate.learn(np.array(peaks))
    rate.refresh()
    tail = rate.tail(np.linspace(0, 12, 500))
    assert (np.diff(tail) <= 1e-12).all()
    assert ((tail > 0) & (tail <= 1)).all()


def test_a_rate_is_a_tail_a_step() -> None:
    assert tail_of_rate(0.1, 60_000) == pytest.approx(0.1 / 10_080)
    assert tail_of_rate(1e9, 60_000) == 1.0


def test_a_relapse_belongs_to_its_incident() -> None:
    incidents = Incidents.empty(1)
    beyond = {5: 2, 5 + REST_STEPS - 1: 3, 300: 2}
    worst = [int(incidents.step(step, np.array([beyond.get(step, 0)], np.int8))[0]) for step in range(400)]
    assert worst[4:7] == [0, 2, 2]
    assert worst[5 + REST_STEPS - 1] == 3
    assert worst[5 + 2 * REST_STEPS - 1] == 0
    assert worst[299:301] == [0, 2]


@given(st.lists(st.sampled_from([0.0, 0.6, 0.9]), max_size=60), st.integers(1, 10))
def test_onsets_are_at_least_the_rest_apart(scores: list[float], rest: int) -> None:
    found = np.flatnonzero(onsets(np.array(scores), 0.5, rest))
    beyond = [row for row, score in enumerate(scores) if score >= 0.5]
    naive = [row for number, row in enumerate(beyond) if number == 0 or row - beyond[number - 1] >= rest]
    assert found.tolist() == naive
