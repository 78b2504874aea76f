"""Level shifts, when values leave the whole range that was forecast: a doubled load mostly stays for hours.

A model that learns from weeks takes hours to believe that today is another day, and is sure of itself
meanwhile. So each new forecast is compared with one of a few steps ago: if the values since then lie outside
nearly all of its paths, the part of the departure that the new one has not taken up goes on for a while.

Axes: n paths, H steps ahead, K steps that have passed since the earlier forecast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.arrays import Numbers
from models.calendar.units import DAY_MS

STEPS_MIN = 3
"""Fewer steps are a spike."""

OUTSIDE = 0.01
"""Share of the earlier paths at either end beyond which the values are not due to chance."""

RATIO_MIN = 1.1
"""Smaller departures are not worth more than the model's own adaptation."""

RATIO_MAX = 4.0

PERSISTENCE = (0.4, 1.0)
"""How much of a departure goes on (as a power of its ratio), evenly spread over the paths."""

LIFETIME_MS = DAY_MS
"""Mean time until it is over, with the same chance at any time; so tomorrow is uncertain."""


def shift_ratio(earlier: Numbers, seen: Numbers, *, adapted: float = 1.0) -> float:
    """The ratio to what was forecast that is not taken up yet; 1 where the values were no surprise.

    earlier : Numbers [n, K], paths of the steps that have passed, not below zero
    seen    : Numbers [K], the values of those steps; NaN is left out
    adapted : ratio of the new forecast of the future to the earlier one: what is taken up

    >>> calm = np.full((100, 3), 10.0) + np.arange(100)[:, None] / 100
    >>> shift_ratio(calm, np.array([20.0, 21.0, 22.0]), adapted=1.5) > 1.3
    True
    >>> shift_ratio(calm, np.array([10.0, 11.0, 10.0]))
    1.0
    """
    known = np.isfinite(seen)
    if known.sum() < STEPS_MIN:
        return 1.0
    sums, came = earlier[:, known].sum(axis=1), float(seen[known].sum())
    below = float((sums < came).mean())
    usual = float(np.median(sums))
    if OUTSIDE <= below <= 1 - OUTSIDE or usual <= 0 or came <= 0 or not adapted > 0:
        return 1.0
    ratio = came / usual
    if max(ratio, 1 / ratio) < RATIO_MIN:
        return 1.0
    rest = ratio / adapted
    rest = max(rest, 1.0) if ratio > 1 else min(rest, 1.0)
    return float(np.clip(rest, 1 / RATIO_MAX, RATIO_MAX))


def shifted_paths(paths: Numbers, ratio: float, *, step_ms: int, seed: int = 0) -> Numbers:
    """Paths on the moved level: Numbers [n, H], each with its own share of the departure, and its own end."""
    if ratio == 1.0:
        return paths
    random = np.random.default_rng(seed)
    power = random.uniform(*PERSISTENCE, size=(len(paths), 1))
    ends = random.exponential(LIFETIME_MS / step_ms, size=(len(paths), 1))
    lasts = np.arange(paths.shape[1]) < ends
    moved: Numbers = np.where(lasts, paths * ratio**power, paths)
    return moved


def drift_rate(earlier: Numbers, seen: Numbers, *, adapted: float = 0.0) -> float:
    """How much faster a level rises (or falls) in each step than was forecast; 0 where that was no surprise.

    A leak departs more with each step; a jump departs once, which the next forecast begins from anyway.

    earlier : Numbers [n, K], paths of the steps that have passed
    seen    : Numbers [K], the values of those steps; NaN is left out
    adapted : the same rate of the new forecast against the earlier one, of the future: what is taken up

    >>> flat = np.full((100, 6), 10.0) + np.arange(100)[:, None] / 100
    >>> round(drift_rate(flat, 10.5 + 2.0 * np.arange(6)), 1)
    2.0
    """
    known = np.isfinite(seen)
    if known.sum() < STEPS_MIN:
        return 0.0
    below = float((earlier[:, known].sum(axis=1) < seen[known].sum()).mean())
    if OUTSIDE <= below <= 1 - OUTSIDE:
        return 0.0
    steps = np.flatnonzero(known)
    departed = seen[known] - np.median(earlier[:, known], axis=0)
    rate = slope(departed, steps)
    last = float(departed[-STEPS_MIN:].mean())
    if rate * last <= 0 or abs(rate) * (steps[-1] - steps[0]) < abs(last) / 2:
        return 0.0
    rest = rate - adapted
    return rest if rest * rate > 0 else 0.0


def drifting_paths(paths: Numbers, rate: float, *, step_ms: int, seed: int = 0) -> Numbers:
    """Paths that go on drifting: Numbers [n, H], each with its own share of the rate, and its own end."""
    if rate == 0.0:
        return paths
    random = np.random.default_rng(seed)
    share = random.uniform(*PERSISTENCE, size=(len(paths), 1))
    ends = random.exponential(LIFETIME_MS / step_ms, size=(len(paths), 1))
    moved: Numbers = paths + rate * share * np.minimum(np.arange(1, paths.shape[1] + 1), ends)
    return moved


def slope(values: Numbers, steps: Numbers | NDArray[np.int64]) -> float:
    """Least squares rise of values in a step; 0 for a single one."""
    centred = steps - steps.mean()
    spread = float(centred @ centred)
    return float(centred @ (values - values.mean())) / spread if spread > 0 else 0.0
