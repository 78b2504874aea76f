"""The last week of what a detector was shown, of a sample of series, to train its next model on.

Guarantee: memory never exceeds `bytes_max`; where a week of `series_max` series would, there are fewer. They
are those whose keys have the smallest hashes of all that were seen within the week: a function of the series,
not of the worker or of who came first.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.api.detector import Panel, SeriesName
from models.arrays import EpochMs, Mask, Numbers, Rows
from models.calendar.units import DAY_MS
from streams.partials.series import encode_labels, series_hash

SPAN_DAYS = 7
"""A week, so that each day of it has been seen."""

DAYS_SEEN_MIN = 6
"""Days with steps that make a week; a shop may be closed on one."""

SERIES_MAX = 256

BYTES_MAX = 64 << 20
"""A week of minutes of 256 series and 5 features takes 59 MB."""


@dataclass(frozen=True, slots=True)
class _Day:
    """What was seen on one day, in UTC.

    seen   : Mask [D], steps that there were
    values : float32 [D, N, F], NaN where nothing was seen
    """

    seen: Mask
    values: NDArray[np.float32]


class PanelSample:
    """Steps of one plan, whose panels have their series in the order of their hashes.

    rollup : the plan's, part of a series' key
    """

    def __init__(
        self,
        rollup: str,
        step_ms: int,
        features: tuple[str, ...],
        *,
        series_max: int = SERIES_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        self._rollup = rollup
        self._step_ms = step_ms
        self._features = features
        self._day_steps = -(-DAY_MS // step_ms)
        week_bytes = (SPAN_DAYS + 1) * self._day_steps * len(features) * np.dtype(np.float32).itemsize
        self.series_max = max(1, min(series_max, bytes_max // week_bytes))
        self._days: dict[int, _Day] = {}
        self._hashes: dict[SeriesName, int] = {}
        self._columns: dict[SeriesName, int] = {}
        self._last_seen: dict[SeriesName, int] = {}
        self.last_ms = 0

    @property
    def series(self) -> tuple[SeriesName, ...]:
        """The sampled series, in the order of their hashes."""
        return tuple(sorted(self._hashes, key=self._hashes.__getitem__))

    @property
    def is_full(self) -> bool:
        """Whether a week lies between the first step and the last."""
        if len(self._days) < DAYS_SEEN_MIN:
            return False
        first_ms = int(self._times(min(self._days))[0])
        return first_ms <= self.last_ms - SPAN_DAYS * DAY_MS + self._step_ms

    def add(self, panel: Panel) -> None:
        """Take in a panel of one step; one that is not after the last is a repeat."""
        at_ms = int(panel.times[0])
        if at_ms <= self.last_ms:
            return
        self.last_ms = at_ms
        number, step = at_ms // DAY_MS, at_ms % DAY_MS // self._step_ms
        if number not in self._days:
            self._turn_to(number)
        # Whatever belongs to the sample is among the first ones: all before it would belong to it too.
        foremost = panel.series[: self.series_max]
        for name in foremost:
            if name not in self._columns:
                self._admit(name)
        rows = [row for row, name in enumerate(foremost) if name in self._columns]
        columns = [self._columns[foremost[row]] for row in rows]
        self._last_seen |= {foremost[row]: number for row in rows}
        day = self._days[number]
        day.seen[step] = True
        day.values[step, columns] = panel.values[0, rows]

    def copied(self) -> PanelSample:
        """The same as it is now, for another thread; plain copies of arrays, some 30 ms for 60 MB."""
        other = copy.copy(self)
        other._days = {number: _Day(day.seen.copy(), day.values.copy()) for number, day in self._days.items()}
        other._hashes, other._columns = self._hashes.copy(), self._columns.copy()
        other._last_seen = self._last_seen.copy()
        return other

    def panel(self) -> Panel:
        """The steps of the last week."""
        series = self.series
        columns = [self._columns[name] for name in series]
        after_ms = self.last_ms - SPAN_DAYS * DAY_MS
        times: list[EpochMs] = [np.zeros(0, np.int64)]
        values: list[Numbers] = [np.zeros((0, len(series), len(self._features)))]
        for number in sorted(self._days):
            at_ms = self._times(number)
            kept = at_ms > after_ms
            times.append(at_ms[kept])
            day = self._days[number].values[self._steps(number)[kept]]
            values.append(day[:, columns].astype(np.float64))
        return Panel(np.concatenate(times), series, self._features, np.concatenate(values))

    def _steps(self, number: int) -> Rows:
        return np.flatnonzero(self._days[number].seen)

    def _times(self, number: int) -> EpochMs:
        return number * DAY_MS + self._steps(number) * self._step_ms

    def _turn_to(self, number: int) -> None:
        """Begin a day; days and series of more than a week ago give way."""
        first = number - SPAN_DAYS
        self._days = {day: kept for day, kept in self._days.items() if day >= first}
        for name in [name for name, last in self._last_seen.items() if last < first]:
            self._drop(name)
        shape = (self._day_steps, self.series_max, len(self._features))
        self._days[number] = _Day(np.zeros(self._day_steps, np.bool_), np.full(shape, np.nan, np.float32))

    def _admit(self, name: SeriesName) -> None:
        """Make it part of the sample if its hash is small enough."""
        key = series_hash(self._rollup, encode_labels(name))
        if len(self._columns) >= self.series_max:
            largest = max(self._hashes, key=self._hashes.__getitem__)
            if key >= self._hashes[largest]:
                return
            self._drop(largest)
        free = set(range(self.series_max)).difference(self._columns.values())
        self._hashes[name] = key
        self._columns[name] = min(free)

    def _drop(self, name: SeriesName) -> None:
        column = self._columns.pop(name)
        del self._hashes[name]
        self._last_seen.pop(name, None)
        for day in self._days.values():
            day.values[:, column] = np.nan
