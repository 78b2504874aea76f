"""The multivariate detector: no look-ahead, exact restarts, and the signals that drove an alarm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors.api.detector import Detector, Panel, Verdicts
from detectors.multivariate.detector import EXPIRY_MS, QUIET_STEPS, MultivariateDetector
from models.arrays import Numbers

MINUTE = 60_000
SIGNALS = ("requests", "cpu", "latency", "errors")
NAMES = (("shop",), ("search",))


def signals(steps: int, seed: int, first: int = 0) -> Numbers:
    """Requests and CPU that go together, latency, and errors that are mostly none: [T, F]."""
    random = np.random.default_rng(seed)
    load = 100 + 20 * np.sin((np.arange(steps) + first) / 50.0) + 3 * random.normal(size=steps)
    cpu = 0.5 * load + random.normal(size=steps)
    return np.stack(
        [load, cpu, random.lognormal(size=steps), random.binomial(1, 0.02, size=steps).astype(float)], axis=1
    )


def panel(steps: int, *, first: int = 0, seed: int = 0, names: tuple[tuple[str, ...], ...] = NAMES) -> Panel:
    values = np.stack([signals(steps, seed + 17 * place, first) for place in range(len(names))], axis=1)
    return Panel((np.arange(steps) + first) * MINUTE, names, SIGNALS, values)


def changed(source: Panel, step: slice, series: int, **to: float) -> Panel:
    values = source.values.copy()
    for name, value in to.items():
        values[step, series, SIGNALS.index(name)] = value
    return replace(source, values=values)


def assert_same(one: Verdicts, other: Verdicts) -> None:
    for field in fields(Verdicts):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if left.dtype == np.object_ or left.dtype.kind in "bi":
            np.testing.assert_array_equal(left, right, err_msg=field.name)
        else:
            np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12, err_msg=field.name)


def part_of(verdicts: Verdicts, steps: slice) -> Verdicts:
    return Verdicts(*(getattr(verdicts, field.name)[steps] for field in fields(Verdicts)))


@pytest.fixture(scope="module")
def fitted() -> Mapping[str, Any]:
    return MultivariateDetector().fit(panel(3000)).state()


def detector(state: Mapping[str, Any]) -> MultivariateDetector:
    found = MultivariateDetector()
    found.restore(state)
    return found


def test_it_is_a_detector() -> None:
    assert isinstance(MultivariateDetector(), Detector)


@pytest.mark.parametrize("cut", [1, 77, 299])
def test_a_verdict_does_not_change_when_later_data_change(fitted: Mapping[str, Any], cut: int) -> None:
    stream = panel(300, first=3000, seed=5)
    other = changed(stream, slice(cut, None), 0, requests=9e5, cpu=np.nan)
    one, two = detector(fitted).update(stream), detector(fitted).update(other)
    assert_same(part_of(one, slice(0, cut)), part_of(two, slice(0, cut)))
    assert (one.tail[cut:, 0] != two.tail[cut:, 0]).all()


@pytest.mark.parametrize("cuts", [(1,), (100, 101), (250,)])
def test_a_split_stream_and_a_restart_change_nothing(
    fitted: Mapping[str, Any], cuts: tuple[int, ...]
) -> None:
    stream = changed(panel(300, first=3000, seed=6), slice(90, 110), 1, latency=900.0)
    running = detector(fitted)
    parts = []
    for start, stop in zip((0, *cuts), (*cuts, 300), strict=True):
        running = detector(running.state())
        parts.append(running.update(stream.rows(start, stop)))
    assert_same(Verdicts.joined(parts), detector(fitted).update(stream))


@pytest.mark.parametrize("cut", [10, 64, 65, 200])
def test_learning_while_streaming_does_not_depend_on_how_the_stream_is_cut(cut: int) -> None:
    stream = panel(300, seed=7)
    stream = changed(stream, slice(20, 40), 1, **dict.fromkeys(SIGNALS, np.nan))
    whole, parts = MultivariateDetector(learn_steps=64), MultivariateDetector(learn_steps=64)
    expected = whole.update(stream)
    found = Verdicts.joined([parts.update(stream.rows(0, cut)), parts.update(stream.rows(cut, 300))])
    assert_same(found, expected)
    assert np.isnan(expected.tail[:64]).all()
    assert np.isfinite(expected.tail[64:, 0]).all()
    # The second service was away for 20 steps, and is judged so much later.
    assert np.isnan(expected.tail[64:84, 1]).all()
    assert np.isfinite(expected.tail[84:, 1]).all()


def test_score_says_what_update_says_and_keeps_nothing(fitted: Mapping[str, Any]) -> None:
    stream = panel(50, first=3000, seed=8)
    judge = detector(fitted)
    assert_same(judge.score(stream), judge.score(stream))
    assert_same(judge.score(stream), judge.update(stream))


def test_the_order_of_series_is_irrelevant(fitted: Mapping[str, Any]) -> None:
    stream = changed(panel(60, first=3000, seed=9), slice(30, 40), 0, cpu=500.0)
    turned = replace(stream, series=stream.series[::-1], values=stream.values[:, ::-1])
    one, two = detector(fitted).update(stream), detector(fitted).update(turned)
    turned_back = Verdicts(*(getattr(two, field.name)[:, ::-1] for field in fields(Verdicts)))
    assert_same(one, turned_back)


def test_normal_traffic_is_quiet_and_a_burst_of_errors_is_not(fitted: Mapping[str, Any]) -> None:
    stream = changed(panel(900, first=3000, seed=10), slice(400, 420), 0, errors=40.0)
    verdicts = detector(fitted).update(stream)
    assert not verdicts.alarm[:400].any()
    assert not verdicts.alarm[:, 1].any()
    # Two steps after its start at the latest.
    assert verdicts.alarm[401:420, 0].all()
    assert (verdicts.contributions[401:420, 0].argmax(axis=1) == SIGNALS.index("errors")).all()
    assert (verdicts.direction[401:420, 0] == 1).all()
    assert not verdicts.alarm[-QUIET_STEPS:].any()


def test_load_without_its_cpu_is_a_broken_correlation(fitted: Mapping[str, Any]) -> None:
    stream = panel(200, first=3000, seed=11)
    cpu = stream.values[:, 0, 1].copy()
    values = stream.values.copy()
    values[100:130, 0, 1] = cpu[100:130] - 25.0
    verdicts = detector(fitted).update(replace(stream, values=values))
    found = slice(105, 130)
    assert verdicts.alarm[found, 0].all()
    assert set(verdicts.kind[found, 0]) == {"correlation break"}
    assert (verdicts.contributions[found, 0, SIGNALS.index("cpu")] < 0).all()


def test_only_what_is_odd_is_explained(fitted: Mapping[str, Any]) -> None:
    verdicts = detector(fitted).update(panel(300, first=3000, seed=12))
    usual = verdicts.tail > 0.01
    assert usual.any()
    assert not verdicts.contributions[usual].any()
    assert set(verdicts.kind[usual]) == {""}
    assert np.isfinite(verdicts.expected).all()


def test_what_was_not_seen_is_not_judged(fitted: Mapping[str, Any]) -> None:
    stream = panel(30, first=3000, seed=13)
    gap = changed(stream, slice(10, 20), 0, **dict.fromkeys(SIGNALS, np.nan))
    verdicts = detector(fitted).update(gap)
    assert np.isnan(verdicts.tail[10:20, 0]).all()
    assert np.isfinite(verdicts.tail[20:]).all()
    half = changed(stream, slice(10, 20), 0, latency=np.nan)
    assert np.isfinite(detector(fitted).update(half).tail).all()


def test_a_new_series_is_learnt_and_one_long_gone_is_forgotten() -> None:
    judge = MultivariateDetector(learn_steps=64).fit(panel(200, names=(("old",),)))
    late = EXPIRY_MS // MINUTE + 300
    judge.update(panel(70, first=late, seed=1, names=(("new",),)))
    assert [entry["series"] for entry in judge.state()["seen"]] == [["new"]]
    assert judge.state()["series"] == [["new"]]
    verdicts = judge.update(panel(5, first=late + 70, seed=2, names=(("old",), ("new",))))
    assert np.isnan(verdicts.tail[:, 0]).all()
    assert np.isfinite(verdicts.tail[:, 1]).all()


@pytest.mark.parametrize("value", [0.0, 1e300, -1e300, 5.0])
def test_constant_and_enormous_signals_give_finite_tails(value: float) -> None:
    names = (("one",),)
    flat = Panel(np.arange(400) * MINUTE, names, ("a", "b"), np.full((400, 1, 2), value))
    judge = MultivariateDetector().fit(flat)
    odd = flat.values[:3].copy()
    odd[1] = 1e200
    verdicts = judge.update(Panel((np.arange(3) + 400) * MINUTE, names, ("a", "b"), odd))
    assert np.isfinite(verdicts.tail).all()
    assert np.isfinite(verdicts.contributions).all()
    assert not verdicts.alarm[0].any()
    assert verdicts.alarm[1].all() == (value != 1e300)


def test_an_empty_panel_is_judged_empty() -> None:
    nothing = Panel(np.zeros(0, np.int64), NAMES, SIGNALS, np.zeros((0, 2, 4)))
    assert MultivariateDetector().fit(nothing).update(nothing).tail.shape == (0, 2)


def test_the_seed_repeats_the_verdicts() -> None:
    history, stream = panel(300, seed=3), panel(50, first=300, seed=4)
    one, two = (MultivariateDetector(seed=5).fit(history).update(stream) for _ in range(2))
    assert_same(one, two)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"false_alarms_per_series_per_week": 0.0}, "rate above 0"),
        ({"learn_steps": 2}, "at least 8"),
        ({"severity": "loud"}, "one of info, ticket, page"),
    ],
)
def test_settings_out_of_bounds_are_named(settings: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MultivariateDetector(**settings)


def test_other_signals_and_states_are_refused(fitted: Mapping[str, Any]) -> None:
    judge = detector(fitted)
    with pytest.raises(ValueError, match="signals requests, cpu"):
        judge.update(Panel(np.array([1]), (("shop",),), ("a",), np.zeros((1, 1, 1))))
    with pytest.raises(ValueError, match="version 2 expected"):
        judge.restore({**fitted, "version": 99})
    with pytest.raises(ValueError, match="no column 'level'"):
        judge.restore({**fitted, "bank": {k: v for k, v in fitted["bank"].items() if k != "level"}})


def test_a_real_server_is_ranked_better_than_by_its_largest_distance(data_dir: Path) -> None:
    from sklearn.metrics import average_precision_score

    found = sorted((data_dir / "asd").glob("*.npz"))
    if not found:
        pytest.skip("the data folder has no asd/*.npz")
    with np.load(found[0]) as stored:
        train, test, label = stored["train"], stored["test"], stored["label"]
    names = tuple(map(str, range(train.shape[1])))
    times = np.arange(len(train) + len(test)) * 5 * MINUTE
    history = Panel(times[: len(train)], ((),), names, train[:, None].astype(float))
    stream = Panel(times[len(train) :], ((),), names, test[:, None].astype(float))
    tail = MultivariateDetector().fit(history).update(stream).tail[:, 0]
    spread = train.std(axis=0) + 1e-3
    plain = (np.abs(test - train.mean(axis=0)) / spread).max(axis=1)
    assert average_precision_score(label, -np.log(tail)) > average_precision_score(label, plain)


def test_what_is_usual_by_day_is_odd_by_night() -> None:
    quarter = 15 * MINUTE
    steps, day = 20 * 96, 96
    random = np.random.default_rng(0)
    load = 100 + 50 * np.sin(2 * np.pi * np.arange(steps + day) / day)[:, None] + random.normal(size=(1, 1))
    values = (load * [1.0, 0.5] + random.normal(size=(steps + day, 2)))[:, None]
    times = np.arange(steps + day) * quarter
    history = Panel(times[:steps], (("shop",),), ("requests", "cpu"), values[:steps])
    stream = values[steps:].copy()
    # The load of noon in the deepest night: all signals as ever together, and each within its range.
    stream[70:76] = values[22:28]
    verdicts = (
        MultivariateDetector().fit(history).update(replace(history, times=times[steps:], values=stream))
    )
    assert not verdicts.alarm[:70].any()
    assert verdicts.alarm[71:76, 0].all()
    assert (verdicts.expected[70:76, 0, 0] < 70).all()
    assert set(verdicts.kind[71:76, 0]) == {"joint rise"}
