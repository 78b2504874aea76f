"""Noise makes alarms of that series and kind rarer: bounded, fading, and undone with the label.

The alarm of a series and kind needs a tail `factor` times smaller than the threshold. With n labels of noise
less those of real, each counting half as much after every `half_life_ms`,

    factor = min(factor_max, growth ** max(0, n))

so one complaint triples the evidence that is needed, and no number of complaints asks for more than a
hundredfold. A label with an empty kind is about every kind of its series. Labels `expected` change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.api.detector import NONE, SeriesName, Verdicts
from detectors.feedback.labels import Label, current_labels
from models.arrays import Numbers
from models.calendar.units import DAY_MS

__all__ = ["Factors", "Recalibration", "factors_of", "recalibrated"]

Factors: TypeAlias = Mapping[tuple[SeriesName, str], float]
"""Series and kind to how many times stricter the threshold is, above 1. What is absent has 1."""


@dataclass(frozen=True, slots=True)
class Recalibration:
    """How labels change thresholds.

    growth       : factor of one label
    factor_max   : of any number of labels
    half_life_ms : after which a label counts half
    """

    growth: float = 3.0
    factor_max: float = 100.0
    half_life_ms: int = 90 * DAY_MS

    def __post_init__(self) -> None:
        if self.growth < 1 or self.factor_max < 1 or self.half_life_ms <= 0:
            raise ValueError("growth and factor_max are at least 1, half_life_ms is above 0")


def factors_of(
    labels: Iterable[Label], detector: str, *, now_ms: int, how: Recalibration | None = None
) -> Factors:
    """How much stricter a detector's thresholds are; a function of the set of labels and the time.

    now_ms : time of what is judged; a label said later counts in full
    """
    how = how or Recalibration()
    noise: dict[tuple[SeriesName, str], float] = {}
    for label in current_labels(labels):
        if label.detector != detector or label.verdict == "expected":
            continue
        weight = 0.5 ** (max(0, now_ms - label.at_ms) / how.half_life_ms)
        key = (label.series, label.kind)
        noise[key] = noise.get(key, 0.0) + (weight if label.verdict == "noise" else -weight)
    factors = {key: _factor(count, how) for key, count in noise.items()}
    return {key: factor for key, factor in factors.items() if factor > 1.0}


def _factor(noise: float, how: Recalibration) -> float:
    if noise <= 0.0 or how.growth == 1.0:
        return 1.0
    # The bound on the exponent, not on the power, which may overflow.
    exponent = min(noise, np.log(how.factor_max) / np.log(how.growth))
    return float(how.growth**exponent)


def recalibrated(
    verdicts: Verdicts, series: Sequence[SeriesName], factors: Factors, *, threshold: float | Numbers
) -> Verdicts:
    """Verdicts whose alarms keep to the stricter thresholds.

    series    : S names
    threshold : tail below which the detector raises alarms, one or broadcast to [T, S]
    Only series that have a factor are looked at.
    """
    alarm = verdicts.alarm.copy()
    places = {name: place for place, name in enumerate(series)} if factors else {}
    for name in {name for name, _ in factors}:
        place = places.get(name)
        if place is None:
            continue
        tail = verdicts.tail[:, place]
        allowed = np.broadcast_to(threshold, verdicts.tail.shape)[:, place]
        alarm[:, place] &= tail * _by_kind(verdicts.kind[:, place], name, factors) < allowed
    severity = np.where(verdicts.alarm & ~alarm, np.int8(NONE), verdicts.severity)
    return replace(verdicts, alarm=alarm, severity=severity)


def _by_kind(kinds: NDArray[Any], name: SeriesName, factors: Factors) -> Numbers:
    """The factor of each step of one series: Numbers [T]; of that kind and of all kinds the larger."""
    result = np.full(len(kinds), factors.get((name, ""), 1.0))
    for (other, kind), factor in factors.items():
        if other == name and kind:
            result[kinds == kind] = np.maximum(result[kinds == kind], factor)
    return result
