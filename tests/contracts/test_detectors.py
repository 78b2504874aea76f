"""What every detector keeps, as `docs/detectors.md` promises. A new one is tested by being registered.

The panels are counts of series that come and go, with steps that nobody saw, and two things that no detector
should miss: a burst of everything, and then a silence.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.api.detector import SEVERITIES, Adopting, Detector, Panel, Verdicts, check_verdicts
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

SAMPLING = ("security", "traffic")
"""Detectors that keep a sample of what they see to learn from, chosen by position: in another order of series
tails far out are others, and so may be the kind. A worker's panels have series in the order of their keys,
whatever order events came in."""

FIT_ONLY = (zscore.NAME,)
"""Detectors that learn nothing from `update`."""

MINUTE_MS = 60_000
START_MS = 1_767_225_600_000
FEATURES = ("requests", "lines", "errors", "distinct path", "probes")
"""What one or another detector asks for, all of them counts."""

SERIES = (
    ("shop", "connection from <ip> refused"),
    ("shop", "cart <id> saved"),
    ("pay", "paid <num> EUR"),
    ("pay", "retry <num> of <num>"),
    ("search", "query took <num> ms"),
)
STEPS, LATE = 300, 140
"""The last series begins late."""

BURST, SILENCE = slice(220, 226), slice(250, 260)


def panel(seed: int = 0) -> Panel:
    random = np.random.default_rng(seed)
    load = 40 + 10 * np.sin(np.arange(STEPS) / 60)[:, None, None] + 5 * np.arange(len(SERIES))[:, None]
    values = random.poisson(load * np.array([1.0, 1.0, 0.05, 0.2, 0.0])).astype(float)
    values[BURST, 1] = values[BURST, 1] * 20 + 200
    values[SILENCE, 2] = 0.0
    values[:LATE, -1] = np.nan
    values[random.random(values.shape[:2]) < 0.02] = np.nan  # nobody saw the series
    values[random.random(values.shape) < 0.01] = np.nan  # nobody told the feature
    values[BURST.start, 1] = values[BURST.start + 1, 1] = 1000.0
    times = START_MS + MINUTE_MS * np.arange(1, STEPS + 1)
    return Panel(times, SERIES, FEATURES, values)


def fresh(name: str) -> Detector:
    return make(name, **SETTINGS.get(name, {}))


def taught(name: str) -> Detector:
    return fresh(name).fit(panel().rows(0, LATE))


@cache
def told(name: str) -> Verdicts:
    """What a detector that begins with the panel says of it."""
    return fresh(name).update(panel())


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
def test_tails_are_probabilities(name: str) -> None:
    verdicts = told(name)
    tail = verdicts.tail[~np.isnan(verdicts.tail)]
    assert len(tail) or name in FIT_ONLY
    assert ((tail >= 0) & (tail <= 1)).all()
    assert not np.isnan(verdicts.contributions).any()
    assert np.isin(verdicts.direction, (-1, 0, 1)).all()
    assert np.isin(verdicts.severity, range(len(SEVERITIES))).all()


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_order_of_series_does_not_matter(name: str) -> None:
    order, whole = [3, 0, 4, 2, 1], panel()
    values = np.ascontiguousarray(whole.values[:, order])
    turned = replace(whole, series=tuple(SERIES[each] for each in order), values=values)
    first = columns(told(name), order)
    second = fresh(name).update(turned)
    if name in SAMPLING:
        np.testing.assert_array_equal(first.alarm, second.alarm)
        np.testing.assert_array_equal(first.severity, second.severity)
    else:
        same(first, second)


@pytest.mark.parametrize("name", SUBJECTS)
@settings(max_examples=3)
@given(cuts=st.lists(st.integers(0, STEPS), min_size=1, max_size=3, unique=True).map(sorted))
def test_cuts_and_restarts_between_them_change_nothing(name: str, cuts: list[int]) -> None:
    whole, detector, parts = panel(), fresh(name), []
    for start, stop in zip([0, *cuts], [*cuts, STEPS], strict=True):
        parts.append(detector.update(whole.rows(start, stop)))
        detector = again(name, detector)
    same(Verdicts.joined(parts), told(name))


@pytest.mark.parametrize("name", SUBJECTS)
@settings(max_examples=3)
@given(known=st.integers(1, STEPS - 1))
def test_nothing_depends_on_later_data(name: str, known: int) -> None:
    values = panel().values.copy()
    values[known:] = np.random.default_rng(known).integers(0, 5_000, values[known:].shape)
    other = fresh(name).update(replace(panel(), values=values))
    same(steps_of(told(name), slice(0, known)), steps_of(other, slice(0, known)))


@pytest.mark.parametrize("name", SUBJECTS)
def test_score_says_what_update_says_and_keeps_nothing(name: str) -> None:
    detector, rest = taught(name), panel().rows(LATE, STEPS)
    before = encode_state(detector.state())
    scored = detector.score(rest)
    assert encode_state(detector.state()) == before
    same(scored, detector.update(rest))


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_panel_of_nobody_or_of_no_step_is_taken_at_any_time(name: str) -> None:
    def nobody(at_ms: int) -> Panel:
        return Panel(np.array([at_ms]), (), FEATURES, np.zeros((1, 0, len(FEATURES))))

    whole, detector = panel(), fresh(name)
    for shown in (
        nobody(START_MS),
        whole.rows(0, 0),
        whole.rows(0, LATE),
        nobody(int(whole.times[LATE])),
        whole.rows(LATE, LATE),
        whole.rows(LATE + 1, STEPS),
    ):
        verdicts = detector.update(shown)
        check_verdicts(verdicts, shown)
        detector = again(name, detector)
    assert verdicts.alarm.any() or name in FIT_ONLY


@pytest.mark.parametrize("name", SUBJECTS)
def test_what_nobody_saw_is_not_judged(name: str) -> None:
    unseen = panel().rows(LATE, LATE + 3)
    verdicts = taught(name).update(replace(unseen, values=np.full(unseen.values.shape, np.nan)))
    assert np.isnan(verdicts.tail).all()
    assert not verdicts.alarm.any()


@pytest.mark.parametrize("name", SUBJECTS)
def test_states_of_others_and_parts_of_states_are_refused(name: str) -> None:
    whole = stored(taught(name))
    parts = [{key: value for key, value in whole.items() if key != lacking} for lacking in whole]
    for state in ({}, {"detector": "nobody", "version": 1}, *parts):
        with pytest.raises(ValueError, match=r"\bstate of"):
            fresh(name).restore(state)


@pytest.mark.parametrize("name", [name for name in SUBJECTS if isinstance(fresh(name), Adopting)])
def test_a_model_teaches_what_it_has_learnt(name: str) -> None:
    beginner, rest = fresh(name), panel().rows(LATE, STEPS)
    assert isinstance(beginner, Adopting)
    beginner.adopt(stored(taught(name)))
    check_verdicts(beginner.update(rest), rest)
    with pytest.raises(ValueError, match=r"\bstate of"):
        beginner.adopt({"detector": "nobody", "version": 1})


def digests() -> list[str]:
    """What each detector says, as a hash."""
    return [
        hashlib.sha256(
            repr([getattr(told(name), field).tolist() for field in Verdicts.__slots__]).encode()
        ).hexdigest()
        for name in SUBJECTS
    ]


def test_another_process_says_the_same() -> None:
    """With one seed, and whatever order sets have there."""
    run = subprocess.run(
        [sys.executable, "-c", "from tests.contracts.test_detectors import digests; print(*digests())"],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == digests()
