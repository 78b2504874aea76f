"""A detector by name, trained and tested on a panel, as functions that a training process can call."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from detectors.api.detector import Detector, Discreet, Panel, SeriesName, State, Verdicts
from detectors.api.registry import DetectorError, make, names
from detectors.feedback.labels import Label, current_labels
from models.arrays import EpochMs, Mask, Numbers
from models.registry.backtest import Backtest, Interval, judge_backtest

__all__ = ["backtest_holdout", "intervals_of", "judged", "learn", "restored", "run_backtest"]

CHUNK_VALUES = 4_000_000
"""Values judged at once, for bounded memory and for progress."""


def learn(
    detector: str,
    settings: Mapping[str, Any],
    times: EpochMs,
    series: tuple[SeriesName, ...],
    features: tuple[str, ...],
    values: Numbers,
) -> State:
    """What the detector has learnt of the whole panel: the arguments are a Panel's, for a `Trainer`."""
    fitted = make(detector, **settings).fit(Panel(times, series, features, values))
    return fitted.trained() if isinstance(fitted, Discreet) else fitted.state()


def backtest_holdout(
    detector: str,
    settings: Mapping[str, Any],
    times: EpochMs,
    series: tuple[SeriesName, ...],
    features: tuple[str, ...],
    values: Numbers,
    split: int,
    labels: tuple[Label, ...] = (),
    name: str = "",
) -> dict[str, float | None]:
    """Metrics of a manifest: learnt from the first `split` steps, judged on the others as they come.

    labels : of the detector, or of the model called `name`
    """
    panel = Panel(times, series, features, values)
    fitted = make(detector, **settings).fit(panel.rows(0, split))
    return run_backtest(fitted, panel.rows(split, len(panel)), labels, names=(detector, name)).metrics()


def restored(
    detector: str, settings: Mapping[str, Any], state: State, *, trusted: Collection[str] = ()
) -> Detector:
    """A detector as it was stored.

    trusted : names of detectors in addition to those that are installed
    Raises ValueError if there is none, or it does not know the state.
    """
    # Making `module:Class` imports and calls what it names, and here a file of the registry names it.
    if detector not in (*names(), *trusted):
        raise DetectorError(
            f"the model is of detector {detector!r}, which is not installed; it is used only if you name it"
        )
    fresh = make(detector, **settings)
    fresh.restore(state)
    return fresh


def judged(detector: Detector, panel: Panel) -> Iterator[tuple[Panel, Verdicts]]:
    """Step after step as a stream would bring them, some at a time."""
    chunk = max(1, CHUNK_VALUES // max(1, panel.values[:1].size))
    for start in range(0, len(panel), chunk):
        rows = panel.rows(start, start + chunk)
        yield rows, detector.update(rows)


def run_backtest(
    detector: Detector, panel: Panel, labels: Sequence[Label] = (), *, names: Sequence[str] = ()
) -> Backtest:
    """Judge a panel as a stream, and count alarms against the labels.

    names : what the labels may call the detector
    """
    seen: Mask = np.asarray(np.isfinite(panel.values).any(axis=2))
    parts = [(verdicts.tail, verdicts.alarm) for _, verdicts in judged(detector, panel)]
    if not parts:
        return Backtest(episodes=0, series_weeks=0.0, judged=0.0)
    tail, alarm = (np.concatenate(column) for column in zip(*parts, strict=True))
    return judge_backtest(panel.times, tail, alarm, intervals_of(labels, panel, names), seen=seen)


def intervals_of(labels: Sequence[Label], panel: Panel, names: Sequence[str]) -> list[Interval]:
    """The labels that are about a detector and a time of the panel; those `expected` are left out."""
    places = {name: place for place, name in enumerate(panel.series)}
    if not len(panel):
        return []
    first, last = int(panel.times[0]), int(panel.times[-1])
    return [
        Interval(places[label.series], label.from_ms, label.to_ms, label.verdict == "real")
        for label in current_labels(labels)
        if label.detector in names
        and label.series in places
        and label.verdict != "expected"
        and label.to_ms >= first
        and label.from_ms <= last
    ]
