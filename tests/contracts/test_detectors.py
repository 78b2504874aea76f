"""What every detector keeps, as `docs/detectors.md` promises. A new one is tested by being registered.

The panels are counts of series that come and go, with steps that nobody saw, and two things that no detector
should miss: a burst of everything, and then a silence.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.api.detector import Adopting, Detector, Panel, Verdicts, check_verdicts
from detectors.api.registry import make, names
from streams.judge.state_codec import decode_state, encode_state
from tests.unit import levels, zscore

SUBJECTS = (*names(), levels.NAME, zscore.NAME)

SETTINGS: dict[str, dict[str, Any]] = {
    "logs": {"warm_up_hours": 1.0},
    "multivariate": {"learn_steps": 40},
    "sigma": {"rule": "event_count", "count": 300.0},
}
"""So that all judge within the panel; others begin soon enough by themselves."""

MINUTE_MS = 60_000
START_MS = 1_767_225_600_000
FEATURES = ("requests", "lines", "errors", "distinct path")
"""What one or another detector asks for, all of them counts."""

SERIES = (
    ("shop", "connection from <ip> refused"),
    ("shop", "cart <id> saved"),
    ("pay", "paid <num> EUR"),
    ("pay", "retry <num> of <num>"),
    ("search", "query took <num> ms"),
)
STEPS = 420
BURST = slice(300, 306)
LATE = 200
"""The step with which the last series begins."""


def panel(seed: int = 0, steps: int = STEPS) -> Panel:
    random = np.random.default_rng(seed)
    load = 40 + 10 * np.sin(np.arange(STEPS) / 60)[:, None, None] + 5 * np.arange(len(SERIES))[:, None]
    values = random.poisson(load * np.array([1.0, 1.0, 0.05, 0.2])).astype(float)
    values[BURST, 1] = values[BURST, 1] * 20 + 200
    values[350:360, 2] = 0.0
    values[:LATE, -1] = np.nan
    values[random.random(values.shape[:2]) < 0.02] = np.nan  # nobody saw the series
    values[random.random(values.shape) < 0.01] = np.nan  # nobody told the feature
    times = START_MS + MINUTE_MS * np.arange(1, STEPS + 1)
    return Panel(times, SERIES, FEATURES, values).rows(0, steps)


def fresh(name: str) -> Detector:
    return make(name, **SETTINGS.get(name, {}))


def taught(name: str, steps: int = LATE) -> Detector:
    """A detector with experience; some learn from `fit` alone."""
    return fresh(name).fit(panel().rows(0, steps))


def stored(detector: Detector) -> dict[str, Any]:
    """A state as a worker reads it back."""
    return decode_state(encode_state(detector.state()))


def again(name: str, detector: Detector) -> Detector:
    other = fresh(name)
    other.restore(stored(detector))
    return other


def same(one: Verdicts, other: Verdicts) -> None:
    for field in Verdicts.__slots__:
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), err_msg=field)


def columns(verdicts: Verdicts, order: Sequence[int]) -> Verdicts:
    return Verdicts(*(getattr(verdicts, field)[:, order] for field in Verdicts.__slots__))


def steps_of(verdicts: Verdicts, steps: slice) -> Verdicts:
    return Verdicts(*(getattr(verdicts, field)[steps] for field in Verdicts.__slots__))


def test_samples_and_all_that_ship_are_here() -> None:
    assert {"logs", "multivariate", "security", "sigma", "traffic"} <= set(SUBJECTS)


@pytest.mark.parametrize("name", SUBJECTS)
def test_it_finds_what_nobody_should_miss(name: str) -> None:
    rest = panel().rows(LATE, STEPS)
    verdicts = taught(name).update(rest)
    check_verdicts(verdicts, rest)
    assert verdicts.alarm[BURST.start - LATE : BURST.stop - LATE, 1].any()
    flagged = verdicts.alarm
    assert (verdicts.severity[flagged] > 0).all()
    assert all(verdicts.kind[flagged])


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_tails_are_probabilities(name: str, seed: int) -> None:
    verdicts = fresh(name).update(panel(seed))
    tail = verdicts.tail[~np.isnan(verdicts.tail)]
    assert len(tail) or name == zscore.NAME  # which learns from `fit` alone
    assert ((tail >= 0) & (tail <= 1)).all()
    assert not np.isnan(verdicts.contributions).any()
    assert np.isin(verdicts.direction, (-1, 0, 1)).all()
    assert np.isin(verdicts.severity, range(4)).all()


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize("steps", [0, LATE])
def test_the_order_of_series_does_not_matter(name: str, steps: int) -> None:
    order = [3, 0, 4, 2, 1]
    turned = replace(panel(), series=tuple(SERIES[each] for each in order), values=panel().values[:, order])
    one, other = fresh(name), fresh(name)
    if steps:
        one.fit(panel().rows(0, steps))
        other.fit(turned.rows(0, steps))
    first = one.update(panel().rows(steps, STEPS))
    second = other.update(turned.rows(steps, STEPS))
    same(columns(first, order), second)


@pytest.mark.parametrize("name", SUBJECTS)
@settings(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(0, STEPS), max_size=4, unique=True).map(sorted))
def test_cuts_and_restarts_between_them_change_nothing(name: str, cuts: list[int]) -> None:
    whole = panel()
    detector = fresh(name)
    expected = detector.update(whole)
    running, parts = fresh(name), []
    for start, stop in zip([0, *cuts], [*cuts, STEPS], strict=True):
        parts.append(running.update(whole.rows(start, stop)))
        running = again(name, running)
    same(Verdicts.joined(parts), expected)
    assert encode_state(running.state()) == encode_state(again(name, detector).state())


@pytest.mark.parametrize("name", SUBJECTS)
@settings(max_examples=5, deadline=None)
@given(known=st.integers(1, STEPS - 1))
def test_nothing_depends_on_later_data(name: str, known: int) -> None:
    whole = panel()
    values = whole.values.copy()
    values[known:] = np.random.default_rng(known).integers(0, 5_000, values[known:].shape)
    same(
        steps_of(fresh(name).update(whole), slice(0, known)),
        steps_of(fresh(name).update(replace(whole, values=values)), slice(0, known)),
    )


@pytest.mark.parametrize("name", SUBJECTS)
def test_score_says_what_update_says_and_keeps_nothing(name: str) -> None:
    detector, rest = taught(name), panel().rows(LATE, STEPS)
    before = encode_state(detector.state())
    scored = detector.score(rest)
    assert encode_state(detector.state()) == before
    same(scored, detector.update(rest))


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_step_of_nobody_is_taken_at_any_time(name: str) -> None:
    nobody = Panel(np.array([START_MS]), (), FEATURES, np.zeros((1, 0, len(FEATURES))))
    detector = fresh(name)
    check_verdicts(detector.update(nobody), nobody)
    detector = again(name, detector)
    detector.update(panel().rows(0, LATE))
    none = panel().rows(LATE, LATE)
    check_verdicts(detector.update(none), none)
    between = replace(nobody, times=panel().times[LATE : LATE + 1])
    check_verdicts(detector.update(between), between)
    assert detector.update(panel().rows(LATE + 1, STEPS)).alarm.any() or name == zscore.NAME


@pytest.mark.parametrize("name", SUBJECTS)
def test_what_nobody_saw_is_not_judged(name: str) -> None:
    detector, unseen = taught(name), panel().rows(LATE, LATE + 3)
    verdicts = detector.update(replace(unseen, values=np.full(unseen.values.shape, np.nan)))
    assert np.isnan(verdicts.tail).all()
    assert not verdicts.alarm.any()


@pytest.mark.parametrize("name", SUBJECTS)
def test_states_of_others_are_refused(name: str) -> None:
    for state in ({}, {"detector": "nobody", "version": 1}):
        with pytest.raises(ValueError, match="."):
            fresh(name).restore(state)
    state = stored(taught(name))
    for key in state:
        lacking = {other: value for other, value in state.items() if other != key}
        with pytest.raises(ValueError, match="."):
            fresh(name).restore(lacking)


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_model_teaches_what_it_has_learnt(name: str) -> None:
    beginner = fresh(name)
    if not isinstance(beginner, Adopting):
        pytest.skip(f"{name} does not go on with trained models")
    beginner.adopt(stored(taught(name)))
    rest = panel().rows(LATE, STEPS)
    check_verdicts(beginner.update(rest), rest)
    with pytest.raises(ValueError, match="."):
        fresh(name).adopt({"detector": "nobody", "version": 1})


def digests() -> list[str]:
    """What each detector says, as a hash; run by a process of its own too."""
    import hashlib

    found = []
    for name in SUBJECTS:
        verdicts = taught(name).update(panel().rows(LATE, STEPS))
        told = [repr(getattr(verdicts, field).tolist()) for field in Verdicts.__slots__]
        found.append(hashlib.sha256("".join(told).encode()).hexdigest())
    return found


def test_another_process_says_the_same() -> None:
    code = "from tests.contracts.test_detectors import digests; print(*digests())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == digests()
