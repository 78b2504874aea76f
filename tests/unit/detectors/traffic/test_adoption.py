"""The traffic detector goes on with what another has learnt."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.api.detector import Adopting, Calibrated, Panel
from detectors.traffic.detector import TrafficDetector
from detectors.traffic.oddness import WINDOW

START, MINUTE = 1_760_000_400_000, 60_000
NAMES = (("shop",), ("pay",), ("search",))


def panel(steps: int, *, first: int = 0, series: int = 3, seed: int = 0) -> Panel:
    random = np.random.default_rng(seed)
    values = np.array([100.0, 400.0, 30.0])[:, None] * (1 + 0.05 * random.normal(size=(steps, 3, 2)))
    times = START + (first + np.arange(steps)) * MINUTE
    return Panel(times, NAMES[:series], ("rate", "latency"), values[:, :series])


@pytest.fixture(scope="module")
def model() -> TrafficDetector:
    return TrafficDetector().fit(panel(400))


def test_it_tells_where_alarms_begin() -> None:
    judge = TrafficDetector()
    assert isinstance(judge, Calibrated)
    judge.update(panel(3))
    assert judge.alarm_tail == pytest.approx(0.1 / (7 * 1440))


def test_new_series_are_judged_at_once(model: TrafficDetector) -> None:
    judge = TrafficDetector()
    judge.update(panel(5, first=400, series=1))
    assert np.isnan(judge.score(panel(1, first=405)).tail).all()
    assert isinstance(judge, Adopting)
    judge.adopt(model.state())
    odd = panel(8, first=405, seed=2)
    odd.values[5, 1] = 2000.0
    verdicts = judge.update(odd)
    assert np.isfinite(verdicts.tail[:, 1:]).all()
    assert not verdicts.alarm[:5].any()
    assert verdicts.alarm[5].tolist() == [False, True, False]


def test_what_is_known_of_own_series_stays_and_survives_a_restart(model: TrafficDetector) -> None:
    judge = TrafficDetector()
    judge.update(panel(120, first=400, series=2, seed=3))
    before = judge.state()
    judge.adopt(model.state())
    after = judge.state()
    assert after["series"] == [["shop"], ["pay"], ["search"]]
    signals = 2 * 2
    for name, column in before["oddness"]["baseline"].items():
        np.testing.assert_array_equal(after["oddness"]["baseline"][name][:signals], column, err_msg=name)
    np.testing.assert_array_equal(after["oddness"]["ring"][:signals], before["oddness"]["ring"])
    assert not after["oddness"]["ring"][signals:].any()
    assert after["oddness"]["ring"].shape == (3 * 2, WINDOW)
    assert after["last_ms"] == before["last_ms"]
    other = TrafficDetector()
    other.restore(after)
    rest = panel(120, first=520, seed=4)
    np.testing.assert_array_equal(other.update(rest).tail, judge.update(rest).tail)


def test_foreign_models_are_refused(model: TrafficDetector) -> None:
    judge = TrafficDetector()
    judge.update(panel(3))
    with pytest.raises(ValueError, match="a state of traffic"):
        judge.adopt({**model.state(), "detector": "logs"})
    one = TrafficDetector().fit(Panel.of_series(START + np.arange(50) * MINUTE, np.arange(50.0)))
    with pytest.raises(ValueError, match="features rate, latency"):
        judge.adopt(one.state())
    assert len(judge.state()["series"]) == 3
