"""What is counted: the tables of series that sources feed, and their measures by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np

from models.arrays import EpochMs, Numbers
from models.calendar.period import CalendarPeriod
from streams.events.batch import Column, Strings
from streams.language.expression import Expression

MICRO = 1_000_000
"""Sums are kept as whole micro-units, so that they are exact in any order."""


@dataclass(frozen=True, slots=True)
class Count:
    """Occurrences (the rows' weights) for which `where` holds; all rows of the rollup without it."""

    name: str
    where: Expression | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """Sum of a number column, in micro-units, over the rows for which `where` holds.

    value : a number calculated from several columns, used in place of `column`
    """

    name: str
    column: str
    where: Expression | None = None
    value: Expression | None = None

    def numbers(self, columns: Mapping[str, Column], length: int) -> Numbers:
        """What each row adds if it is counted : Numbers [E], NaN where missing."""
        if self.value is not None:
            return self.value.values(columns, length)
        column = columns.get(self.column)
        return np.full(length, np.nan) if column is None or isinstance(column, Strings) else column


Measure: TypeAlias = Count | Sum

RollupKind: TypeAlias = Literal["requests", "outcomes", "slo", "entity", "logs", "sigma", "capacity"]
"""Who counts: a source its own series and what became of its records, an SLO, detectors, a resource."""

MEASURES: Mapping[RollupKind, tuple[str, ...]] = {
    "requests": ("total", "errors"),
    "outcomes": ("total",),
    "slo": ("good", "total"),
    "entity": ("requests",),
    "logs": ("lines",),
    "sigma": (),
    "capacity": (),
}
"""What every rollup of a kind counts, beside what its configuration asks for."""

SECONDS = "seconds"
"""Sum of durations, where classic buckets are asked for."""


def within(bound: float) -> str:
    """Name of the measure that counts durations of at most a bucket's upper bound.

    >>> within(0.5)
    'le 0.5'
    """
    return f"le {bound}"


class Derived(Protocol):
    """A column made from others before the rollups count."""

    @property
    def name(self) -> str:
        """Its name as a column."""

    def make(self, columns: Mapping[str, Column], time_ms: EpochMs) -> Column:
        """The column [E], a function of each event alone.

        columns : those of the source and the derived ones before this one
        time_ms : EpochMs [E], event times
        """


@dataclass(frozen=True, slots=True)
class Rollup:
    """One table of series that a source feeds.

    name     : unique over the whole plan; `requests` or `slo:checkout-availability`
    kind     : who counts, and so which measures there are at least (`MEASURES`)
    by       : label columns; each distinct combination is a series
    where    : rows that are counted
    measures : what is counted, in this order along axis C
    sketch   : number column whose distribution is kept, in seconds or any unit; None for none
    distinct : string columns of which distinct values are counted
    windows_ms : rolling windows, ascending
    calendar : the period of a calendar SLO, summed in addition to the rolling windows
    slice_ms : length of the slices that a Timeslices SLO judges; 0 where none does
    histogram: upper bounds of the classic buckets to publish of `sketch`, ascending; empty for none
    series_count_max : overrides the source's; None for the source's
    forget_ms : series that have been silent this long may be forgotten; 0 keeps them

    Raises ValueError where two measures have one name, or one is lacking that the kind asks for.
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
    kind: RollupKind = field(kw_only=True)

    def __post_init__(self) -> None:
        if len(set(self.measure_names)) < len(self.measures):
            raise ValueError(f"rollup {self.name} counts {self._known()}: names that differ expected")
        for name in MEASURES[self.kind]:
            self.measure_index(name)

    @property
    def measure_names(self) -> tuple[str, ...]:
        """Names along axis C."""
        return tuple(measure.name for measure in self.measures)

    def measure_index(self, name: str) -> int:
        """Place of a measure along axis C.

        Raises ValueError for a name that is not counted.
        """
        for index, measure in enumerate(self.measures):
            if measure.name == name:
                return index
        raise ValueError(f"rollup {self.name} does not count {name!r}; it counts {self._known()}")

    def measure(self, name: str) -> Measure:
        """The measure of a name; raises ValueError as `measure_index` does."""
        return self.measures[self.measure_index(name)]

    def _known(self) -> str:
        return ", ".join(self.measure_names) or "nothing"
