"""Signals of unlike units made comparable: how many usual spreads each lies from its middle.

The spread is robust: outliers in the history, which may be the very anomalies looked for, hardly widen it,
and a signal that never changed has one all the same, so that its first change shows but stays finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from models.arrays import Numbers

SPREADS_MAX = 100.0
"""Distances are cut here, so that no single signal, however far out, decides about all others for long."""

VALUES_MAX = 1e100
"""Values are cut here, far beyond any unit's use, so that their squares stay finite."""

QUANTILE = 0.01
"""The range between this quantile and its mirror is four spreads, about that of a normal distribution."""

DEVIATION_SHARE = 0.3
"""Least spread as a share of the standard deviation: quantiles miss what bursts now and then."""

RANGE_SHARE = 0.01
"""Least spread as a share of the range seen, or of a constant's size: below it lies rounding."""

ZERO_SPREAD = 0.05
"""Spread of a signal that was always 0: a count of one then stands out, and so does a ratio of a fifth."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Middle and spread of each signal.

    center : Numbers [F]
    spread : Numbers [F], above 0
    """

    center: Numbers
    spread: Numbers

    @classmethod
    def fit(cls, values: Numbers) -> Self:
        """Middle and spread of values : Numbers [T, F]; NaN is left out.

        A signal that was never seen is taken for one that was always 0.
        Raises ValueError where there is no row.
        """
        if values.ndim != 2 or not len(values):
            raise ValueError(f"rows of signals expected, got an array of shape {values.shape}")
        unseen = ~np.isfinite(values).any(axis=0)
        known = np.where(np.isfinite(values) | unseen, values, np.nan)
        known[:, unseen] = 0.0
        center = np.nanmedian(known, axis=0)
        low, high = np.nanquantile(known, [QUANTILE, 1.0 - QUANTILE], axis=0)
        reach = np.nanmax(known, axis=0) - np.nanmin(known, axis=0)
        least = RANGE_SHARE * np.where(reach > 0, reach, np.abs(center))
        least = np.where(least > 0, least, ZERO_SPREAD)
        spread = np.maximum((high - low) / 4.0, DEVIATION_SHARE * np.nanstd(known, axis=0))
        return cls(center, np.maximum(spread, least))


def usable(values: Numbers) -> Numbers:
    """The values with NaN for infinities, and cut at `VALUES_MAX`: Numbers of the same shape."""
    found: Numbers = np.where(np.isfinite(values), np.clip(values, -VALUES_MAX, VALUES_MAX), np.nan)
    return found


def in_spreads(values: Numbers, center: Numbers, spread: Numbers) -> Numbers:
    """Distance from the middle in spreads, signed and cut at `SPREADS_MAX`; NaN stays.

    values         : Numbers [..., F]
    center, spread : Numbers [..., F], of a `Scale` each
    """
    return np.clip((values - center) / spread, -SPREADS_MAX, SPREADS_MAX)


def follow_level(
    distances: Numbers, level: Numbers, *, steps: float, pull_max: float
) -> tuple[Numbers, Numbers]:
    """The level that was followed up to each step, and the one behind the last.

    The level moves towards each step by a part in `steps` of the distance, of which at most `pull_max`
    counts: a slow drift is followed, while a jump far beyond it stays visible for days.

    distances : Numbers [T, ..., F]; NaN is left out
    level     : Numbers [..., F] before the first step

    >>> levels, level = follow_level(np.array([[1.0], [1.0]]), np.zeros(1), steps=2.0, pull_max=9.0)
    >>> levels.tolist(), level.tolist()
    ([[0.0], [0.5]], [0.75])
    """
    levels = np.empty_like(distances)
    for step, row in enumerate(distances):
        levels[step] = level
        pull = np.clip(row - level, -pull_max, pull_max) / steps
        level = level + np.where(np.isfinite(pull), pull, 0.0)
    return levels, level
