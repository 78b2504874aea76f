"""Input of the planner: resources with limits, the histories of their series, and their current values.

Axes: T steps of history.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from detectors.capacity.alerts import CapacityRule
from detectors.capacity.reading import Kind
from models.arrays import EpochMs, Numbers
from models.calendar.period import CalendarPeriod
from models.calendar.units import DAY_MS, HOUR_MS


class SeriesKey(NamedTuple):
    """One series of a resource: the values of the columns that tell its series apart."""

    resource: str
    labels: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """31 bits that are the same in every process, to spread series evenly."""
        name = "\x00".join((self.resource, *self.labels)).encode("utf-8", "replace")
        return zlib.crc32(name) >> 1


@dataclass(frozen=True, slots=True)
class Resource:
    """A limited thing whose series are forecast.

    by         : columns that tell its series apart
    limit      : a number; None where it is a series, or for a lag that only has to catch up
    above      : whether the limit is reached from below; for gauges
    period     : of a quota, or of an error budget that is counted by the calendar
    target     : of an error budget
    window_ms  : of an error budget's rolling window
    horizon_ms : how far ahead; quotas look to the end of their longest period at least
    step_ms    : of the history
    refresh_ms : how often the forecast is refreshed
    caught_up  : a lag at most this large is none
    """

    name: str
    kind: Kind
    by: tuple[str, ...] = ()
    limit: float | None = None
    above: bool = True
    period: CalendarPeriod | None = None
    target: float | None = None
    window_ms: int | None = None
    horizon_ms: int = 7 * DAY_MS
    step_ms: int = HOUR_MS
    refresh_ms: int = HOUR_MS
    caught_up: float = 0.0

    def __post_init__(self) -> None:
        if self.kind == "quota" and (self.period is None or not (self.limit or 0) > 0):
            raise ValueError(f"{self.name}: a quota needs a period and a limit above zero")
        if self.kind == "error_budget" and (
            self.target is None or (self.window_ms is None) == (self.period is None)
        ):
            raise ValueError(f"{self.name}: an error budget needs a target, and a window or a period")
        if min(self.horizon_ms, self.step_ms, self.refresh_ms) <= 0:
            raise ValueError(f"{self.name}: horizon, step and refresh must be above zero")

    @property
    def steps(self) -> int:
        """Steps of each forecast: the horizon, and the time until the next forecast is ready."""
        ahead_ms = self.horizon_ms
        if self.kind in ("quota", "error_budget") and self.period is not None:
            ahead_ms = max(ahead_ms, self.period.longest_ms)
        return -(-(ahead_ms + 2 * self.refresh_ms) // self.step_ms)

    @property
    def time_zone(self) -> str | None:
        """Whose clock the series follows, where it is known."""
        return None if self.period is None else self.period.time_zone


@dataclass(frozen=True, slots=True)
class History:
    """The past of one series, evenly spaced.

    starts : EpochMs [T], of steps
    values : Numbers [T]: levels of a gauge or lag, amounts of a quota, bad events of an error budget
    other  : Numbers [T]: the limit of a gauge where it is a series, all events of an error budget
    """

    starts: EpochMs
    values: Numbers
    other: Numbers | None = None

    def __post_init__(self) -> None:
        shapes = {self.starts.shape, self.values.shape, *([] if self.other is None else [self.other.shape])}
        if len(shapes) != 1 or self.values.ndim != 1 or not len(self.values):
            raise ValueError(f"columns of one length above 0 expected, got shapes {sorted(shapes)}")
        if (np.diff(self.starts) <= 0).any():
            raise ValueError("starts must ascend without repeats; sort them and drop duplicates first")

    def columns(self) -> tuple[Numbers, ...]:
        """The series to be forecast."""
        return (self.values,) if self.other is None else (self.values, self.other)


@dataclass(frozen=True, slots=True)
class Present:
    """Current values of a series, between forecasts.

    current : newest level of a gauge or lag; amount used in the period, of a quota
    limit   : newest limit where that is a series
    window  : of an error budget: its window, or period so far
    """

    current: float = float("nan")
    limit: float | None = None
    window: History | None = None
    labels: dict[str, str] = field(default_factory=dict)


USED, LEVEL, LIMIT = "used", "level", "limit"
"""Measures of a resource: sums of a quota's amounts, of levels, and of limits where these are a series."""


def seen_name(measure: str) -> str:
    """Name of the measure that counts how many levels, or limits, a sum is made of."""
    return f"{measure} seen"


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """One resource, and where its numbers are.

    rollup : that counts `measures` of it; the SLO's own rollup for an error budget
    level  : of the rings, whose slots make its steps
    scale  : what a level is divided by before it is summed
    """

    resource: Resource
    rule: CapacityRule
    source: str
    rollup: str
    level: int
    scale: float = 1.0

    @property
    def measures(self) -> tuple[str, ...]:
        """What its rollup must count."""
        match self.resource.kind:
            case "quota":
                return (USED,)
            case "error_budget":
                return ("good", "total")
        return (LEVEL, seen_name(LEVEL))
