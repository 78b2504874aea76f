"""What is usual now, followed step by step without a history: the last half hour, and later the time of day.

On the first day only the level of the last half hour or so tells what is usual, since the day's course is not
known. From the second day on it is the mean of that time of the day, of about a week, between half hours
drawn straight, and a slow level on top of it. Noise is learnt alike: few requests of a night make ratios
stray that are steady by day. What is far out is cut before it is learnt.

Axes: T steps, S series, F signals, D half hours of the day.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from models.anomaly.day_profile import SLOTS, slot_of_day
from models.arrays import EpochMs, Numbers
from models.calendar.units import DAY_MS

RECENT_STEPS = 30.0
"""The level of the first day follows a part in so many steps."""

RECENT_PULL_MAX = 10.0
"""As `PULL_MAX`, for the last half hour: a shop that opens in the morning is open within the hour."""

LEVEL_STEPS = 1440.0
"""The slow level follows a part in so many steps: of minutes, a day's worth."""

PULL_MAX = 2.0
"""A distance from what was usual counts up to this when it is learnt."""

WEEK_OF_SLOT = 210.0
"""Steps that the mean of a half hour remembers, a week of minutes."""


NOISE_STEPS = 10.0
"""Steps for which the day's noise speaks at one time of the day."""

NOISE_CUT = 3.0
"""What is farther out than so many times the usual counts as that when noise is learnt."""

NOISE_MIN = 0.05
"""Least mean square of what is not usual, for signals that never move."""


class DayLevel(NamedTuple):
    """What was seen so far, in the unit of the distances.

    since_ms : EpochMs [S], the first step
    recent   : Numbers [S, F], level of the last half hour
    level    : Numbers [S, F], slow level on top of the day's course
    profile  : Numbers [S, D, F], means by time of day
    weights  : Numbers [S, D], steps in each of them, up to `WEEK_OF_SLOT`
    noise    : Numbers [S, F], mean square of what was not usual, of about a day
    noises   : Numbers [S, D, F], the same by time of day
    """

    since_ms: EpochMs
    recent: Numbers
    level: Numbers
    profile: Numbers
    weights: Numbers
    noise: Numbers
    noises: Numbers

    @classmethod
    def blank(cls, since_ms: EpochMs, signals: int) -> Self:
        """Of series that begin at EpochMs [S]."""
        flat = np.zeros((len(since_ms), signals))
        weights = np.zeros((len(since_ms), SLOTS))
        daily = np.zeros((len(since_ms), SLOTS, signals))
        return cls(since_ms, flat, flat, daily, weights, flat + 1.0, daily)

    def follow(self, times: EpochMs, distances: Numbers) -> tuple[Numbers, Numbers, Self]:
        """What is usual at each step, and how far steps usually stray from it, told before the step.

        distances : Numbers [T, S, F]; NaN is left out
        Returns two Numbers [T, S, F], the second above 0, and what is known behind the last step.
        """
        recent, level, noise = self.recent, self.level, self.noise
        profile, weights, noises = self.profile.copy(), self.weights.copy(), self.noises.copy()
        place = times % DAY_MS / DAY_MS * SLOTS - 0.5
        before = np.floor(place).astype(np.int64)
        share, slots = place - before, slot_of_day(times)
        usual, stray = np.empty_like(distances), np.empty_like(distances)
        for step, row in enumerate(distances):
            low, high, slot = before[step] % SLOTS, (before[step] + 1) % SLOTS, slots[step]
            # A step belongs to the time up to its end, hence the tolerance of a slot.
            known = times[step] - self.since_ms >= DAY_MS - DAY_MS // SLOTS
            known = (known & (weights[:, low] > 0) & (weights[:, high] > 0))[:, None]
            daily = profile[:, low] * (1.0 - share[step]) + profile[:, high] * share[step]
            usual[step] = np.where(known, daily + level, recent)
            steps = (weights[:, low] * (1.0 - share[step]) + weights[:, high] * share[step])[:, None]
            square = noises[:, low] * (1.0 - share[step]) + noises[:, high] * share[step]
            square = np.where(known, (steps * square + NOISE_STEPS * noise) / (steps + NOISE_STEPS), noise)
            stray[step] = np.sqrt(np.maximum(square, NOISE_MIN))
            seen = np.isfinite(row)
            near = np.clip(row, usual[step] - PULL_MAX, usual[step] + PULL_MAX)
            pull = np.clip(row - recent, -RECENT_PULL_MAX, RECENT_PULL_MAX)
            recent = recent + np.where(seen, pull, 0.0) / RECENT_STEPS
            level = level + np.where(known & seen, near - daily - level, 0.0) / LEVEL_STEPS
            weights[:, slot] = np.minimum(weights[:, slot] + seen.any(axis=-1), WEEK_OF_SLOT)
            part = np.where(seen, 1.0 / np.maximum(weights[:, slot], 1.0)[:, None], 0.0)
            off = np.where(seen, np.minimum(np.abs(row - usual[step]), NOISE_CUT * stray[step]), 0.0) ** 2
            profile[:, slot] += np.where(seen, near - profile[:, slot], 0.0) * part
            noises[:, slot] += (off - noises[:, slot]) * part
            noise = noise + np.where(seen, off - noise, 0.0) / LEVEL_STEPS
        found = self._replace(
            recent=recent, level=level, profile=profile, weights=weights, noise=noise, noises=noises
        )
        return usual, stray, found
