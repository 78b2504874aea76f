"""Services that are learnt while they stream: few false alarms from the first day on, seasons, and bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.api.detector import Adopting, Calibrated, Panel, Verdicts
from detectors.multivariate.detector import MultivariateDetector
from models.anomaly.day_level import DayLevel
from models.arrays import Mask, Numbers, Rows

MINUTE, DAY = 60_000, 1440
SIGNALS = ("rate", "error_ratio", "p50", "p99")
RATES = {("shop",): 400.0, ("pay",): 150.0, ("search",): 900.0, ("mail",): 40.0}
NAMES = tuple(RATES)
BURST, DROP = 3 * DAY + 200, 4 * DAY + 900
"""Steps at which errors of `shop` rise to 30 %, and half of the requests of `search` stop, for 15 minutes."""


def service(rate: float, phase: float, steps: int, seed: int, burst: int = -1, drop: int = -1) -> Numbers:
    """Poisson counts with a daily course, binomial errors, and quantiles that stray as those of a sample."""
    random = np.random.default_rng(seed)
    mean = rate * (1.0 + 0.5 * np.sin(2 * np.pi * (np.arange(steps) / DAY + phase)))
    share = np.full(steps, 0.01)
    if burst >= 0:
        share[burst : burst + 15] = 0.3
    if drop >= 0:
        mean[drop : drop + 15] *= 0.5
    counts = np.maximum(random.poisson(mean), 1)
    errors = random.binomial(counts, share) / counts
    half = np.exp(-2.0 + 0.5 * random.normal(size=steps) / np.sqrt(counts))
    high = np.exp(-1.0 + 1.5 * random.normal(size=steps) / np.sqrt(counts))
    return np.stack([counts / 60.0, errors, half, high], axis=1)


def panel(steps: int, *, seed: int, anomalies: bool = False) -> Panel:
    columns = []
    for place, (name, rate) in enumerate(RATES.items()):
        burst = BURST if anomalies and name == ("shop",) else -1
        drop = DROP if anomalies and name == ("search",) else -1
        columns.append(service(rate, place / 4.0, steps, 100 * seed + place, burst, drop))
    return Panel((np.arange(steps) + 1) * MINUTE, NAMES, SIGNALS, np.stack(columns, axis=1))


@pytest.fixture(scope="module")
def week() -> tuple[MultivariateDetector, Panel, Verdicts]:
    stream = panel(7 * DAY, seed=1, anomalies=True)
    judge = MultivariateDetector()
    return judge, stream, judge.update(stream)


def beginnings(alarms: Mask) -> Rows:
    """Steps of one service at which an alarm begins that none of the hour before was."""
    found = np.flatnonzero(alarms)
    return found[np.diff(found, prepend=-DAY) > 60]


def test_alarms_of_a_normal_week_are_about_as_many_as_configured(
    week: tuple[MultivariateDetector, Panel, Verdicts],
) -> None:
    alarms = week[2].alarm.copy()
    for start, name in ((BURST, ("shop",)), (DROP, ("search",))):
        alarms[start : start + 200, NAMES.index(name)] = False
    begun = np.concatenate([beginnings(column) for column in alarms.T])
    accepted = 0.1 * len(NAMES) * len(SIGNALS) * 6 / 7
    assert (begun < DAY).sum() <= 2
    assert (begun >= DAY).sum() <= 2 * accepted


@pytest.mark.parametrize(
    ("start", "name", "signal", "direction"),
    [(BURST, ("shop",), "error_ratio", 1), (DROP, ("search",), "rate", -1)],
)
def test_what_was_injected_is_flagged_within_three_steps(
    week: tuple[MultivariateDetector, Panel, Verdicts],
    start: int,
    name: tuple[str],
    signal: str,
    direction: int,
) -> None:
    verdicts, column = week[2], NAMES.index(name)
    found = np.flatnonzero(verdicts.alarm[start : start + 3, column])
    assert len(found)
    step = start + int(found[0])
    assert verdicts.direction[step, column] == direction
    assert np.abs(verdicts.contributions[step, column]).argmax() == SIGNALS.index(signal)


def test_an_alarm_is_a_tail_below_that_of_alarms(week: tuple[MultivariateDetector, Panel, Verdicts]) -> None:
    judge, _, verdicts = week
    assert isinstance(judge, Calibrated)
    assert judge.alarm_tail == pytest.approx(0.1 * len(SIGNALS) / (7 * DAY))
    assert verdicts.alarm.any()
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(verdicts.alarm, verdicts.tail < judge.alarm_tail)


def test_what_is_expected_follows_the_day_from_the_second_on(
    week: tuple[MultivariateDetector, Panel, Verdicts],
) -> None:
    _, stream, verdicts = week
    known = slice(2 * DAY, 3 * DAY)
    off = verdicts.expected[known, :, 0] - stream.values[known, :, 0]
    # Poisson counts stray by their root; nothing can be told better than that.
    noise = np.sqrt(np.mean(stream.values[known, :, 0], axis=0) / 60.0)
    assert (np.sqrt((off**2).mean(axis=0)) < 1.2 * noise).all()


def test_what_is_kept_does_not_grow(week: tuple[MultivariateDetector, Panel, Verdicts]) -> None:
    judge, stream, _ = week
    young = MultivariateDetector()
    young.update(stream.rows(0, 300))

    def size(detector: MultivariateDetector) -> int:
        state = detector.state()
        assert not state["young"]
        return sum(column.nbytes for column in state["bank"].values())

    assert size(judge) == size(young)


@pytest.mark.parametrize("cut", [301, 1500])
def test_a_cut_and_a_restart_change_nothing(cut: int) -> None:
    stream = panel(1700, seed=3)
    values = stream.values.copy()
    values[100:150, 1] = np.nan  # so that blocks of services end at different steps
    stream = replace(stream, values=values)
    whole, first, second = (MultivariateDetector() for _ in range(3))
    expected = whole.update(stream)
    parts = [first.update(stream.rows(0, cut))]
    second.restore(first.state())
    parts.append(second.update(stream.rows(cut, 1700)))
    found = Verdicts.joined(parts)
    np.testing.assert_allclose(found.tail, expected.tail, rtol=1e-9)
    np.testing.assert_array_equal(found.alarm, expected.alarm)


def trained() -> tuple[MultivariateDetector, Panel]:
    """A detector of all services, and the next steps of them."""
    stream = panel(1200, seed=4)
    return MultivariateDetector().fit(stream.rows(0, 1000)), stream.rows(1000, 1200)


def test_a_model_brings_what_is_not_known() -> None:
    model, stream = trained()
    judge = MultivariateDetector()
    own = replace(stream, series=NAMES[:1], values=stream.values[:, :1])
    judge.update(own.rows(0, 60))
    assert isinstance(judge, Adopting)
    judge.adopt(model.state())
    assert np.isfinite(judge.update(stream.rows(60, 200)).tail).all()


def test_what_was_learnt_of_own_services_stays_and_survives_a_restart() -> None:
    model, stream = trained()
    judge = MultivariateDetector(learn_steps=64)
    own = replace(stream, series=NAMES[:2], values=stream.values[:, :2])
    judge.update(own.rows(0, 100))
    before = judge.state()
    judge.adopt(model.state())
    after = judge.state()
    assert after["series"][:2] == before["series"]
    assert len(after["series"]) == len(NAMES)
    for name, column in before["bank"].items():
        np.testing.assert_array_equal(after["bank"][name][:2], column, err_msg=name)
    other = MultivariateDetector(learn_steps=64)
    other.restore(after)
    rest = stream.rows(100, 200)
    np.testing.assert_array_equal(other.update(rest).tail, judge.update(rest).tail)


def test_a_foreign_model_is_refused() -> None:
    model, stream = trained()
    judge = MultivariateDetector()
    judge.update(stream.rows(0, 10))
    with pytest.raises(ValueError, match="version 2 expected"):
        judge.adopt({**model.state(), "detector": "traffic"})
    others = replace(stream, features=("a", "b", "c", "d"))
    with pytest.raises(ValueError, match="signals rate, error_ratio"):
        judge.adopt(MultivariateDetector().fit(others).state())
    assert judge.state()["series"] == []


def test_a_level_follows_at_first_the_last_half_hour_and_then_the_day() -> None:
    times = (np.arange(2 * DAY) + 1) * MINUTE
    course = 3.0 * np.sin(2 * np.pi * np.arange(2 * DAY) / DAY)
    usual, stray, known = DayLevel.blank(times[:1], 1).follow(times, course[:, None, None])
    off = np.abs(usual[:, 0, 0] - course)
    assert off[60:DAY].max() < 0.5
    assert off[DAY + 30 :].max() < 0.1
    assert (stray > 0).all()
    # The next day's anomaly is cut, and the noise of its half hour is not taken for noise of others.
    odd = np.full((29, 1, 1), 50.0)
    later, _, after = known.follow(times[-1] + (np.arange(29) + 1) * MINUTE, odd)
    assert np.abs(after.profile).max() < 5.0
    np.testing.assert_array_equal(np.delete(after.noises, 0, axis=1), np.delete(known.noises, 0, axis=1))
    assert np.isfinite(later).all()
