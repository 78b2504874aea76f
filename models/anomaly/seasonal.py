"""What each of many signals should be now: level, trend by drift of the level, and hour of the day.

Each signal has two daily profiles, of working days and of days off, straight between the hours' middles. A
profile is believed as far as it has proved to predict better than the level alone, so that a signal without
a season is not given one. Everything is learnt step by step from values that are cut at a few spreads from
what was expected: an anomaly moves the baseline little, however large it is, and a new level is followed.

Cost: 48 numbers for the profiles and 9 more a signal, in 32 bits: 228 bytes.

Axes: T steps, N signals, H = 48 hours of the two profiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.arrays import Mask, Numbers
from models.calendar.units import DAY_MS, HOUR_MS

HOURS = 24

MEMORY_STEPS = 2000
"""Steps over which the level forgets; until then it is a plain mean."""

SPREAD_STEPS = 500
"""As `MEMORY_STEPS`, for the spread: a profile that is found out leaves less of it."""

MEMORY_DAYS = 10
"""Days of its kind over which a profile forgets."""

WEEK_DAYS = 7
"""Days after which each kind of day was seen; for so many more the level still settles."""

SETTLED_STEPS = 30
"""Steps after which values are cut; before, the spread is not known."""

CUT_LEVEL = 3.0
"""Spreads beyond which a value moves the level no further (Huber 1964)."""

CUT_SPREAD = 3.0

SKILL_NONE, SKILL_FULL = 0.85, 0.55
"""Ratio of the profile's mean absolute error to the level's, from which
the profile is not or fully believed."""

SPREAD_SHARE_MIN = 1e-3
"""Least spread as a share of the level, so that a constant signal has one."""


@dataclass(slots=True)
class SeasonalBaseline:
    """Baselines of N signals; made by `empty`.

    seen    : steps with a value
    level   : slow mean
    spread2 : mean square of the distance from what was expected
    profile : [N, H], hours of working days, then of days off, as distance from the level
    days    : [N, 2], working days and days off that were learnt from
    error   : [N, 2], mean absolute error of the level alone and with the profile
    """

    seen: NDArray[np.float32]
    level: Numbers
    spread2: NDArray[np.float32]
    profile: NDArray[np.float32]
    days: NDArray[np.float32]
    error: NDArray[np.float32]

    @classmethod
    def empty(cls, signals: int) -> Self:
        """Baselines that know nothing."""
        return cls(
            seen=np.zeros(signals, np.float32),
            level=np.zeros(signals),
            spread2=np.zeros(signals, np.float32),
            profile=np.zeros((signals, 2 * HOURS), np.float32),
            days=np.zeros((signals, 2), np.float32),
            error=np.zeros((signals, 2), np.float32),
        )

    def __len__(self) -> int:
        return len(self.seen)

    def extend(self, signals: int) -> None:
        """Append so many signals that nothing is known of."""
        fresh = SeasonalBaseline.empty(signals)
        for field in fields(self):
            setattr(self, field.name, np.concatenate([getattr(self, field.name), getattr(fresh, field.name)]))

    def append(self, other: SeasonalBaseline, rows: NDArray[np.int64]) -> None:
        """Append what another knows of some of its signals."""
        for field in fields(self):
            column = np.concatenate([getattr(self, field.name), getattr(other, field.name)[rows]])
            setattr(self, field.name, column)

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Keep only these signals, in this order."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[rows])

    def follow(
        self, values: Numbers, hours: Numbers, days_off: Mask, step_ms: int
    ) -> tuple[Numbers, Numbers]:
        """Judge each step by what was known before it, then learn from it.

        values   : Numbers [T, N]; NaN where nothing was seen, of which nothing is learnt
        hours    : Numbers [T], local hour in [0, 24)
        days_off : Mask [T]

        Returns what was expected, Numbers [T, N], and the distance from it in spreads, Numbers [T, N]; both
        are NaN at a signal's first value, the distance also where there is none.
        """
        expected = np.full(values.shape, np.nan)
        distance = np.full(values.shape, np.nan)
        for row in range(len(values)):
            expected[row], distance[row] = self._step(
                values[row], float(hours[row]), bool(days_off[row]), step_ms
            )
        return expected, distance

    def _step(self, value: Numbers, hour: float, day_off: bool, step_ms: int) -> tuple[Numbers, Numbers]:
        there = np.isfinite(value)
        x = np.where(there, value, self.level)
        new = there & (self.seen == 0)
        if new.any():
            self.level[new] = x[new]
        first, second, share = _hour_slots(hour, day_off)
        season = self._season(hour, day_off, first, second, share)
        belief = np.clip(
            (SKILL_NONE - self.error[:, 1] / np.maximum(self.error[:, 0], 1e-30)) / (SKILL_NONE - SKILL_FULL),
            0.0,
            1.0,
        )
        belief = np.where(self.days.sum(axis=1) >= 2, belief, 0.0)
        expected = self.level + belief * season
        # Counts spread as the root of their mean: where a season is believed, the spread follows it.
        swing = np.clip(np.abs(expected) / np.maximum(np.abs(self.level), 1e-30), 0.25, 4.0)
        widening = np.sqrt(np.where(belief > 0, swing, 1.0))
        spread = np.sqrt(self.spread2) * widening
        floor = SPREAD_SHARE_MIN * np.abs(self.level) + 1e-9
        off = x - expected
        distance = off / np.maximum(spread, floor)
        before = self.level.copy()
        self._learn(there, x, off, season, np.maximum(spread, floor), widening)
        self._keep_other_days(self.level - before, day_off)
        self._learn_profile(there, x, first, second, share, int(day_off), step_ms, spread)
        known = self.seen > 1
        return np.where(known, expected, np.nan), np.where(known & there, distance, np.nan)

    def _season(self, hour: float, day_off: bool, first: int, second: int, share: float) -> Numbers:
        """What the profile adds to the level; that of the other kind of day until a day of this one was
        seen."""
        own = self.profile[:, first] * (1 - share) + self.profile[:, second] * share
        kind = int(day_off)
        lacking = (self.days[:, kind] < 1) & (self.days[:, 1 - kind] >= 1)
        if lacking.any():
            first, second, share = _hour_slots(hour, not day_off)
            other = self.profile[:, first] * (1 - share) + self.profile[:, second] * share
            return np.where(lacking, other, own).astype(np.float64)
        return own.astype(np.float64)

    def _learn(
        self, there: Mask, x: Numbers, off: Numbers, season: Numbers, spread: Numbers, widening: Numbers
    ) -> None:
        self.seen += there
        rate = there / np.clip(self.seen, 1, MEMORY_STEPS)
        settled = self.seen > SETTLED_STEPS
        cut = np.where(settled, CUT_LEVEL * spread, np.inf)
        alone = x - self.level
        self.error[:, 0] += rate * (np.minimum(np.abs(alone), 4 * cut) - self.error[:, 0])
        self.error[:, 1] += rate * (np.minimum(np.abs(alone - season), 4 * cut) - self.error[:, 1])
        self.level += rate * np.clip(off, -cut, cut)
        square = np.minimum(np.square(off), np.where(settled, np.square(CUT_SPREAD * spread), np.inf))
        self.spread2 += (
            there / np.clip(self.seen / 3, 1, SPREAD_STEPS) * (square / np.square(widening) - self.spread2)
        )

    def _keep_other_days(self, moved: Numbers, day_off: bool) -> None:
        """Let the other kind of day stay where it was seen while the level moves, moved : Numbers [N].

        In the first week the level moves to the mean of working days and days off, which is no news of the
        days of the other kind; from the third on, what moves it does so on all days.
        """
        share = np.clip(2 - self.days.sum(axis=1) / WEEK_DAYS, 0.0, 1.0)
        other = slice(0, HOURS) if day_off else slice(HOURS, None)
        seen = self.days[:, 0 if day_off else 1] > 0
        if (seen & (share > 0)).any():
            self.profile[:, other] -= (seen * share * moved)[:, None]

    def _learn_profile(
        self,
        there: Mask,
        x: Numbers,
        first: int,
        second: int,
        share: float,
        kind: int,
        step_ms: int,
        spread: Numbers,
    ) -> None:
        steps_an_hour = max(HOUR_MS / step_ms, 1.0)
        rate = there / (steps_an_hour * np.clip(self.days[:, kind], 1, MEMORY_DAYS))
        cut = np.where(self.days.sum(axis=1) >= 2, CUT_LEVEL * np.maximum(spread, 1e-30), np.inf)
        for slot, weight in ((first, 1 - share), (second, share)):
            wrong = np.clip(x - self.level - self.profile[:, slot], -cut, cut)
            self.profile[:, slot] += np.minimum(rate * weight * 1.5, 1.0) * wrong
        self.days[:, kind] += there * (step_ms / DAY_MS)

    def state(self) -> dict[str, Any]:
        """Copies of all arrays by name, for `restored`."""
        return {field.name: getattr(self, field.name).copy() for field in fields(self)}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """The baselines that `state` was taken of. Raises ValueError or KeyError if it cannot be."""
        count = len(np.asarray(state["seen"]))
        made = cls.empty(count)
        for field in fields(made):
            want = getattr(made, field.name)
            got = np.array(state[field.name], dtype=want.dtype)
            if got.shape != want.shape:
                raise ValueError(f"{field.name!r} of shape {want.shape} expected, got {got.shape}")
            setattr(made, field.name, got)
        return made


def _hour_slots(hour: float, day_off: bool) -> tuple[int, int, float]:
    """The two hours of a profile whose middles lie about an instant, and the second's share."""
    place = hour - 0.5
    base = int(np.floor(place))
    start = HOURS if day_off else 0
    return start + base % HOURS, start + (base + 1) % HOURS, place - base
