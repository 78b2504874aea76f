"""A shadow judges the same, changes nothing, and its differences are told."""

from __future__ import annotations

import json
from typing import Any, Self

import numpy as np
import pytest

from detectors.api.detector import Panel, State, Verdicts
from detectors.feedback.shadow import Shadow
from models.calendar.units import WEEK_MS
from models.registry.shadow_report import Comparison

MINUTE = 60_000


class Above:
    """Alarms above a threshold."""

    name = "above"

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = threshold

    def fit(self, panel: Panel) -> Self:
        return self

    def update(self, panel: Panel) -> Verdicts:
        verdicts = Verdicts.empty(len(panel), len(panel.series), len(panel.features))
        verdicts.tail[:] = 10.0 ** -np.abs(panel.values[:, :, 0])
        verdicts.alarm[:] = panel.values[:, :, 0] > self.threshold
        return verdicts

    score = update

    def state(self) -> State:
        return {}

    def restore(self, state: State) -> None:
        pass


class Broken(Above):
    def update(self, panel: Panel) -> Verdicts:
        raise RuntimeError("no features")


class Misshapen(Above):
    def update(self, panel: Panel) -> Verdicts:
        return Verdicts.empty(1, 1, 1)


def panel(steps: int = 200, series: int = 3, seed: int = 1) -> Panel:
    values = np.abs(np.random.default_rng(seed).normal(size=(steps, series, 1)))
    return Panel(np.arange(1, steps + 1) * MINUTE, tuple((str(n),) for n in range(series)), ("x",), values)


def place(example: dict[str, Any]) -> tuple[Any, ...]:
    return example["who"], example["at_ms"], example["series"]


def reported(champion: Any, shadow: Any, data: Panel, step: int) -> dict[str, Any]:
    both = Shadow(champion, shadow, cpu_clock_s=iter(range(10_000)).__next__)
    for start in range(0, len(data), step):
        part = data.rows(start, start + step)
        assert (both.update(part).alarm == champion.update(part).alarm).all()
    report: dict[str, Any] = both.comparison.report()
    for side in ("champion", "shadow"):
        del report[side]["cpu_seconds"]
    return report


def test_the_report_does_not_depend_on_how_steps_arrive() -> None:
    data = panel()
    whole = reported(Above(1.5), Above(2.0), data, 200)
    for step in (2, 7, 50):
        part = reported(Above(1.5), Above(2.0), data, step)
        assert part.pop("score_correlation") == pytest.approx(whole["score_correlation"])
        for side in ("champion", "shadow"):
            # before the first two steps their distance is not known
            assert part[side].pop("alarms_per_series_per_week") == pytest.approx(
                whole[side]["alarms_per_series_per_week"]
            )
        assert sorted(part["examples"], key=place) == sorted(whole["examples"], key=place)
        assert part["alarm_steps"] == whole["alarm_steps"]


def test_differences_are_counted() -> None:
    data = panel()
    report = reported(Above(1.5), Above(2.0), data, 10)
    x = data.values[:, :, 0]
    assert report["alarm_steps"] == {
        "both": int((x > 2.0).sum()),
        "only_champion": int(((x > 1.5) & (x <= 2.0)).sum()),
        "only_shadow": 0,
    }
    assert report["score_correlation"] == pytest.approx(1.0)
    assert report["champion"]["episodes"] >= report["shadow"]["episodes"] > 0
    assert report["champion"]["judged_steps"] == x.size
    assert report["shadow"]["alarms_per_series_per_week"] == pytest.approx(
        report["shadow"]["episodes"] / (x.size * MINUTE / WEEK_MS), rel=0.02
    )
    assert {example["who"] for example in report["examples"]} == {"champion"}
    assert len(report["examples"]) <= 20
    json.dumps(report, allow_nan=False)


def test_cpu_is_told_of_each() -> None:
    ticks = iter([0.0, 1.0, 4.0])
    both = Shadow(Above(), Above(), cpu_clock_s=ticks.__next__)
    both.update(panel())
    assert (both.comparison.champion.cpu_seconds, both.comparison.shadow.cpu_seconds) == (1.0, 3.0)


@pytest.mark.parametrize(("shadow", "text"), [(Broken(), "no features"), (Misshapen(), "shape")])
def test_a_shadow_that_fails_stops_only_itself(shadow: Above, text: str) -> None:
    both, data = Shadow(Above(1.0), shadow), panel()
    for start in (0, 100):
        part = data.rows(start, start + 100)
        assert (both.update(part).alarm == Above(1.0).update(part).alarm).all()
    assert text in both.failure
    assert both.comparison.champion.judged_steps == 0


def test_series_come_and_go_and_tails_may_be_missing() -> None:
    comparison = Comparison()
    for step, names in enumerate(["ab", "b", "bca", ""], start=1):
        series = tuple((name,) for name in names)
        tail = np.full((1, len(names)), np.nan)
        alarm = np.ones((1, len(names)), np.bool_)
        comparison.add(np.array([step]), series, (tail, alarm), (tail, ~alarm))
    comparison.add(
        np.zeros(0, np.int64),
        (),
        (np.zeros((0, 0)), np.zeros((0, 0), np.bool_)),
        (np.zeros((0, 0)), np.zeros((0, 0), np.bool_)),
    )
    assert comparison.champion.episodes == 3
    assert comparison.both_alarm_steps == 0
    assert comparison.score_correlation is None
    assert comparison.report()["examples"][0]["champion_tail"] is None
