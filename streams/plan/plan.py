"""What a configuration comes down to: which rollups each source feeds, and what each of them counts.

Configuration and SLO files are compiled to these values once; aggregate, window, judge and publish
work from them alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from detectors.slo.slo import Slo
from models.arrays import EpochMs, Numbers
from models.calendar.period import CalendarPeriod
from models.calendar.units import DAY_MS, MINUTE_MS
from models.logs.reviews import Review
from streams.events.batch import Column, Layout, Strings
from streams.language.expression import Expression
from streams.plan.resource import CapacityPlan

BUCKET_MS = 10_000
"""Width of an event-time bucket, the finest resolution kept."""

WINDOW_MS_MAX = 366 * DAY_MS
"""The longest rolling window; its slots of an hour take 70 kB a series of two counters."""

NEVER = -(1 << 62)
"""Event time before any event."""

MICRO = 1_000_000
"""Sums are kept as whole micro-units, so that they are exact in any order."""


@dataclass(frozen=True, slots=True)
class Count:
    """Occurrences (the rows' weights) for which `where` holds; all of the rollup's without it."""

    name: str
    where: Expression | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """Sum of a number column, in micro-units, over the rows for which `where` holds.

    value : a number calculated from several columns, which then takes the place of `column`
    """

    name: str
    column: str
    where: Expression | None = None
    value: Expression | None = None

    def numbers(self, columns: Mapping[str, Column], length: int) -> Numbers:
        """What each row adds if it takes part : Numbers [E], NaN where missing."""
        if self.value is not None:
            return self.value.values(columns, length)
        column = columns.get(self.column)
        return np.full(length, np.nan) if column is None or isinstance(column, Strings) else column


Measure: TypeAlias = Count | Sum


class Derived(Protocol):
    """A column made from others before the rollups count."""

    @property
    def name(self) -> str:
        """What it is called among the columns."""

    def make(self, columns: Mapping[str, Column], time_ms: EpochMs) -> Column:
        """The column [E], a function of each event alone.

        columns : those of the source and the derived ones before this one
        time_ms : EpochMs [E], event times
        """


@dataclass(frozen=True, slots=True)
class Rollup:
    """One table of series that a source feeds.

    name     : unique over the whole plan; `requests` or `slo:checkout-availability`
    by       : label columns; each distinct combination is a series
    where    : rows that take part
    measures : what is counted, in this order along axis C
    sketch   : number column whose distribution is kept, in seconds or any unit; None for none
    distinct : string columns of which distinct values are counted
    windows_ms : rolling windows, ascending
    calendar : the period of a calendar SLO, summed beside the rolling windows
    slice_ms : length of the slices that a Timeslices SLO judges; 0 where none does
    histogram: upper bounds of the classic buckets to publish of `sketch`, ascending; empty for none
    series_count_max : takes the place of the source's; None for that one
    forget_ms : series that have been silent this long may be forgotten; 0 keeps them
    """

    name: str
    source: str
    by: tuple[str, ...] = ()
    where: Expression | None = None
    measures: tuple[Measure, ...] = ()
    sketch: str | None = None
    distinct: tuple[str, ...] = ()
    windows_ms: tuple[int, ...] = (300_000,)
    calendar: CalendarPeriod | None = None
    slice_ms: int = 0
    histogram: tuple[float, ...] = ()
    series_count_max: int | None = None
    forget_ms: int = 0


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One source: where its records are, how they decode, and the rollups they feed.

    lateness_ms : how long after a partition's newest event time an older event still counts
    future_ms   : how far an event's time may lie ahead of its record's own timestamp
    idle_ms     : a partition that is read to its end and silent this long holds nothing back
    series_count_max : series a bucket of a partition may hold per rollup before the rest folds
                       into `__other__`
    exemplar    : string column that holds trace ids; None where the events carry none
    derived     : columns to make from others before the rollups count, in this order
    """

    name: str
    topic: str
    format: str
    layout: Layout
    rollups: tuple[Rollup, ...]
    lateness_ms: int = MINUTE_MS
    future_ms: int = 300_000
    idle_ms: int = 30_000
    series_count_max: int = 100_000
    exemplar: str | None = None
    derived: tuple[Derived, ...] = ()


@dataclass(frozen=True, slots=True)
class MonitorPlan:
    """A detector that judges the series of one rollup, each partition of the partials on its own.

    name     : unique over the whole plan; `traffic:checkout`
    detector : its name in the registry of detectors
    settings : what it is made with
    step_ms  : length of a step of its panels, a multiple of the bucket
    features : `signals` (rate, error ratio, quantiles, distinct values) or the `measures` as they are
    kept_ms  : how long a series that has gone silent is still judged; 0 judges only those seen in the step
    service  : label column whose value names the service, or None
    alertname : what its alerts are called
    model    : name of the trained model that it goes on with, if there is one
    reviews  : what people have decided about log templates; no part of `settings`, so that what was learnt
               stays when a decision changes
    """

    name: str
    source: str
    rollup: str
    detector: str
    alertname: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    step_ms: int = MINUTE_MS
    features: Literal["signals", "measures"] = "signals"
    kept_ms: int = 0
    service: str | None = None
    model: str = ""
    reviews: tuple[Review, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the flow needs to know, for all sources."""

    app: str
    sources: Mapping[str, SourcePlan] = field(default_factory=dict)
    slos: tuple[Slo, ...] = ()
    monitors: tuple[MonitorPlan, ...] = ()
    capacity: tuple[CapacityPlan, ...] = ()
