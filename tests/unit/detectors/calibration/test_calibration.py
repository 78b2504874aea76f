"""Tails: what they promise on numbers whose distribution is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.calibration.calibration import (
    CORRECTION_MAX,
    MEMORY,
    SURPRISE_MAX,
    IncidentRate,
    PooledTail,
    run_memory,
    tail_of_rate,
)
from detectors.traffic.incident_length import REST_STEPS, Incidents, onsets
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


def test_incidents_that_begin_too_often_raise_the_tail_until_the_rate_holds() -> None:
    random = np.random.default_rng(5)
    rate = IncidentRate(50)
    limit, series = 0.005 / 50, 1000
    begun = []
    for block in range(120):
        # What is odd grows by half; the fit, which remembers 80 blocks, lags behind.
        peaks = random.exponential(0.3 if block < 60 else 0.45, series)
        begun.append(int((rate.tail(peaks) < limit).sum()))
        rate.learn(peaks)
        rate.correct(begun[-1], 0.005 * series, weekly=100.0)
        rate.refresh()
    alone = IncidentRate(50)
    for _ in range(60):
        alone.learn(random.exponential(0.3, series))
        alone.refresh()
    lagging = (alone.tail(random.exponential(0.45, 20 * series)) < limit).sum() / 20
    assert lagging > 3 * 5
    assert np.mean(begun[80:]) == pytest.approx(5, rel=0.2)


@given(st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 500), st.floats(0, 1e5)), max_size=60))
def test_a_correction_is_bounded_and_kept_with_the_state(counts: list[tuple[int, float, float]]) -> None:
    rate, plain = IncidentRate(50), IncidentRate(50)
    for begun, expected, weekly in counts:
        rate.correct(begun, expected, weekly)
    grid = np.linspace(0, 12, 100)
    moved = np.log(rate.tail(grid) / plain.tail(grid))
    assert np.abs(moved).max() <= CORRECTION_MAX + 1e-9
    assert (rate.tail(grid) <= 1).all()
    plain.load(rate.state())
    np.testing.assert_array_equal(plain.tail(grid), rate.tail(grid))


def test_the_few_incidents_of_one_series_correct_nothing() -> None:
    rate = IncidentRate(50)
    before = rate.tail(np.array([3.0]))[0]
    for _ in range(50):
        rate.correct(1, 0.0005, weekly=0.1)
    assert rate.tail(np.array([3.0]))[0] == pytest.approx(before, rel=1e-3)


def test_many_series_remember_a_week_of_runs_and_one_as_many_as_it_can() -> None:
    assert run_memory(1000, 15 * 60_000 * 50) == pytest.approx(13.44)
    assert run_memory(1, 5 * 60_000 * 50) == MEMORY
    assert run_memory(10**6, 14 * 86_400_000) == 2.0


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


def test_a_run_tells_whether_an_incident_began_in_it() -> None:
    incidents = Incidents.empty(2)
    told = []
    for step in range(200):
        beyond = np.array([2 if step in (10, 55, 149) else 0, 0], np.int8)
        incidents.step(step, beyond)
        if step % 50 == 49:
            told.append(incidents.finish_runs()[1].tolist())
    assert told == [[True, False], [False, False], [True, False], [False, False]]


@given(st.lists(st.sampled_from([0.0, 0.6, 0.9]), max_size=60), st.integers(1, 10))
def test_onsets_are_at_least_the_rest_apart(scores: list[float], rest: int) -> None:
    found = np.flatnonzero(onsets(np.array(scores), 0.5, rest))
    beyond = [row for row, score in enumerate(scores) if score >= 0.5]
    naive = [row for number, row in enumerate(beyond) if number == 0 or row - beyond[number - 1] >= rest]
    assert found.tolist() == naive
