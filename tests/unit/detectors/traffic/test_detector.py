"""The traffic detector: what it says of generated traffic, and what holds for any input."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.api.detector import Detector, Panel, Verdicts
from detectors.api.registry import make
from detectors.traffic.detector import TrafficDetector
from models.arrays import Numbers

START = 1_760_000_400_000
MINUTE = 60_000


def panel(values: Numbers, *, step_ms: int = MINUTE, start: int = START) -> Panel:
    """A panel of values [T], [T, S] or [T, S, F]."""
    values = np.asarray(values, np.float64)
    values = values.reshape(*values.shape, *(1,) * (3 - values.ndim))
    steps, series, features = values.shape
    return Panel(
        start + step_ms * np.arange(steps, dtype=np.int64),
        tuple((f"s{number}",) for number in range(series)),
        tuple(f"f{number}" for number in range(features)),
        values,
    )


def noise(steps: int, series: int = 1, features: int = 1, *, seed: int = 0, level: float = 100.0) -> Numbers:
    random = np.random.default_rng(seed)
    return level + level * 0.05 * random.normal(size=(steps, series, features))


def same(one: Verdicts, other: Verdicts) -> None:
    np.testing.assert_allclose(one.tail, other.tail, rtol=1e-3)
    np.testing.assert_array_equal(one.alarm, other.alarm)
    np.testing.assert_allclose(one.expected, other.expected, rtol=1e-9)


def test_it_is_a_registered_detector() -> None:
    made = make("traffic", min_effect=0.2)
    assert isinstance(made, Detector)
    assert made.name == "traffic"


def test_a_score_does_not_change_when_later_data_change() -> None:
    values = noise(400, series=2, seed=1)
    values[250, 0] = 300.0
    later = values.copy()
    later[300:] = 7.0
    one = TrafficDetector().update(panel(values))
    other = TrafficDetector().update(panel(later))
    for part in (slice(0, 300),):
        np.testing.assert_array_equal(one.tail[part], other.tail[part])
        np.testing.assert_array_equal(one.alarm[part], other.alarm[part])
        np.testing.assert_array_equal(one.expected[part], other.expected[part])
    assert (one.tail[301:] != other.tail[301:]).any()


def test_batches_make_no_difference() -> None:
    whole = panel(noise(330, series=3, features=2, seed=2))
    at_once = TrafficDetector().update(whole)
    detector = TrafficDetector()
    cuts = [0, 1, 2, 5, 61, 150, 151, 260, 330]
    parts = [detector.update(whole.rows(a, b)) for a, b in pairwise(cuts)]
    same(Verdicts.joined(parts), at_once)


def test_score_keeps_nothing_and_equals_update() -> None:
    whole = panel(noise(300, seed=3))
    detector = TrafficDetector().fit(whole.rows(0, 200))
    first = detector.score(whole.rows(200, 300))
    same(detector.score(whole.rows(200, 300)), first)
    same(detector.update(whole.rows(200, 300)), first)


def test_a_restored_detector_goes_on_alike() -> None:
    whole = panel(noise(400, series=2, seed=4))
    detector = TrafficDetector().fit(whole.rows(0, 230))
    other = TrafficDetector()
    other.restore(detector.state())
    one, two = detector.update(whole.rows(230, 400)), other.update(whole.rows(230, 400))
    np.testing.assert_array_equal(one.tail, two.tail)
    np.testing.assert_array_equal(one.contributions, two.contributions)


def test_an_error_burst_is_seen_within_two_steps_and_once() -> None:
    values = noise(700, level=100.0, seed=5)
    errors = np.abs(noise(700, level=0.01, seed=6))
    both = np.concatenate([values, errors], axis=2)
    both[600:620, 0, 1] = 0.2
    verdicts = TrafficDetector().update(panel(both))
    assert not verdicts.alarm[:600].any()
    assert verdicts.alarm[600:602].any()
    assert np.diff(verdicts.alarm[:, 0].astype(int)).clip(0).sum() == 1
    assert verdicts.direction[601, 0] == 1
    assert verdicts.contributions[601, 0, 1] > max(0.0, verdicts.contributions[601, 0, 0])
    assert verdicts.expected[601, 0, 1] == pytest.approx(0.01, rel=0.2)
    assert verdicts.kind[601, 0] == "spike"
    assert verdicts.kind[610, 0] == "level shift"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda x: np.where(np.arange(len(x)) == 0, 3.0, 1.0) * x, "spike"),
        (lambda x: x * 0.4, "drop"),
        (lambda x: x * 0.0, "silence"),
    ],
)
def test_a_change_is_named_at_its_first_steps(change, kind) -> None:  # type: ignore[no-untyped-def]
    values = noise(700, seed=7)
    values[600:] = change(values[600:, 0, 0])[:, None, None]
    verdicts = TrafficDetector().update(panel(values))
    assert verdicts.alarm[600:602].any()
    first = int(np.argmax(verdicts.alarm[:, 0]))
    assert verdicts.kind[first, 0] == kind
    assert verdicts.direction[first, 0] == (1 if kind == "spike" else -1)


def test_direction_effect_and_quiet_hold_alarms_back() -> None:
    values = noise(700, seed=8)
    values[600:605] = 300.0
    feed = panel(values)
    quiet = (int(feed.times[590]), int(feed.times[620]))
    assert TrafficDetector(direction="up").update(feed).alarm[600:605].any()
    assert not TrafficDetector(direction="down").update(feed).alarm[600].any()
    assert not TrafficDetector(min_effect=5.0).update(feed).alarm.any()
    held = TrafficDetector(quiet=[quiet]).update(feed)
    assert not held.alarm[590:605].any()
    assert held.tail[600, 0] < 1e-4


def test_a_new_series_is_judged_by_what_the_others_do() -> None:
    values = noise(520, series=5, seed=9)
    detector = TrafficDetector().fit(panel(values[:500, :4]))
    fresh = panel(values[500:], start=START + 500 * MINUTE)
    verdicts = detector.update(fresh)
    assert np.isnan(verdicts.tail[:12, 4]).all()
    assert np.isfinite(verdicts.tail[13:, 4]).all()


def test_cold_start() -> None:
    values = noise(200, seed=10)
    values[90] = 400.0
    verdicts = TrafficDetector().update(panel(values))
    assert np.isnan(verdicts.tail[:40]).all()  # five minutes: nothing is judged
    assert verdicts.alarm[90:92].any()  # an hour and a half: a spike is
    assert not verdicts.alarm[:90].any()


def test_the_baseline_is_not_poisoned() -> None:
    values = noise(800, seed=11)
    values[600:640] = 1000.0
    verdicts = TrafficDetector().update(panel(values))
    assert verdicts.expected[640, 0, 0] == pytest.approx(100.0, rel=0.05)


def test_settings_out_of_bounds_say_so() -> None:
    for wrong, word in (
        ({"false_alarms_per_series_per_week": 0}, "false_alarms"),
        ({"direction": "left"}, "direction"),
        ({"time_zone": "Mars/Olympus"}, "time zone"),
        ({"holidays": "XX"}, "holidays"),
        ({"min_effect": -1}, "min_effect"),
        ({"quiet": ["noon"]}, "quiet"),
        ({"step_ms": 0}, "step_ms"),
    ):
        with pytest.raises(ValueError, match=word):
            TrafficDetector(**wrong)  # type: ignore[arg-type]


def test_a_state_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="traffic"):
        TrafficDetector().restore({"detector": "security", "version": 1})
    with pytest.raises(ValueError, match="incomplete"):
        TrafficDetector().restore({"detector": "traffic", "version": 1})


def test_time_must_go_on() -> None:
    detector = TrafficDetector().fit(panel(noise(60)))
    with pytest.raises(ValueError, match="not after"):
        detector.update(panel(noise(10)))
    with pytest.raises(ValueError, match="features"):
        detector.update(panel(noise(10, features=2), start=START + 60 * MINUTE))


@settings(max_examples=15)
@given(
    st.lists(st.sampled_from([0.0, 1.0, -5.0, 1e12, -1e12, 1e-12, np.nan, np.inf]), min_size=1, max_size=160),
    st.integers(1, 3),
)
def test_any_input_gives_defined_verdicts(column: list[float], series: int) -> None:
    values = np.tile(np.array(column)[:, None, None], (1, series, 2))
    verdicts = TrafficDetector().update(panel(values))
    told = verdicts.tail[~np.isnan(verdicts.tail)]
    assert ((told > 0) & (told <= 1)).all()
    assert np.isfinite(verdicts.contributions).all()
    assert not np.isinf(verdicts.expected).any()
