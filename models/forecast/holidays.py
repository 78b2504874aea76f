"""What holidays change: taken out of the history, learned, and put back into the forecast.

A holiday is too rare to be a season. Its steps are taken as missing where models learn, the usual day is
filled in, and the difference from it, averaged over past holidays by the time of day and shrunk towards none
by one holiday's worth of evidence, is added on coming ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import EpochMs, Mask, Numbers
from models.calendar.units import DAY_MS


@dataclass(frozen=True, slots=True)
class Holidays:
    """Days (wall clock, counted from 1970) and the difference they make, by places of `place_ms`."""

    days: EpochMs
    effect: Numbers
    place_ms: int

    def on(self, wall: EpochMs) -> Mask:
        """Return which wall-clock times [T] lie in a holiday."""
        return np.isin(wall // DAY_MS, self.days)

    def added(self, wall: EpochMs) -> Numbers:
        """Return what a forecast at wall-clock times [T] changes by; 0 on other days."""
        places = wall % DAY_MS // self.place_ms % len(self.effect)
        found: Numbers = np.where(self.on(wall), self.effect[places], 0.0)
        return found


def learn_effect(differences: Numbers, wall: EpochMs, place_ms: int) -> Numbers:
    """Return the mean difference by place in the day, from those [N] measured at wall-clock times [N]."""
    places = wall % DAY_MS // place_ms
    count = max(1, DAY_MS // place_ms)
    known = ~np.isnan(differences)
    total = np.bincount(places[known], weights=differences[known], minlength=count)
    found: Numbers = total / (np.bincount(places[known], minlength=count) + 1)
    return found
