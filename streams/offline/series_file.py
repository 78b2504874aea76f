"""A column of a table in a file as an evenly spaced series.

Guarantee: what comes out is evenly spaced, ascending and float64, with NaN where the file has nothing; what
was changed on the way (rows left out, times that occur twice) is told in `notes`. Times are starts of steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from models.arrays import EpochMs, Numbers, Rows
from models.calendar.units import DAY_MS
from streams.language.duration import format_duration
from streams.offline.table_file import (
    TableFileError,
    known_column,
    number_columns,
    read_numbers,
    read_times,
    time_column,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AGGREGATES", "Aggregate", "Series", "coarsened", "read_series"]

Aggregate: TypeAlias = Literal["mean", "sum", "max", "min", "last", "count"]

AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)

STEPS_MAX = 5_000_000
"""A longer grid is a wrong time somewhere (a 1970 among today's), not a series."""

REGULAR_SHARE = 0.9
"""Share of times that must lie on the grid for the step to be believed; the rest are moved to it."""

MONTH_MS = round(365.2425 / 12 * DAY_MS)
"""The step of a series by months: its mean length."""


@dataclass(frozen=True, slots=True)
class Series:
    """One evenly spaced series.

    starts : EpochMs [T], starts of steps; of a series by months the firsts of months
    values : Numbers [T], NaN where nothing is known
    limits : Numbers [T], of a column that is the limit; None without one
    notes  : what a person should know of how it was read
    """

    name: str
    starts: EpochMs
    values: Numbers
    step_ms: int
    limits: Numbers | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def end_ms(self) -> int:
        """End of the last step, the present of a forecast."""
        return int(self.starts[-1]) + self.step_ms

    @property
    def even_starts(self) -> EpochMs:
        """EpochMs [T], `starts` as models want them: months taken for equally long."""
        before = np.arange(len(self) - 1, -1, -1, dtype=np.int64)
        starts: EpochMs = self.starts[-1] - self.step_ms * before
        return starts

    def ahead(self, steps: int) -> EpochMs:
        """EpochMs [H], starts of the steps to come."""
        later = np.arange(1, steps + 1, dtype=np.int64)
        if self.step_ms == MONTH_MS:
            return _month_starts(int(self.starts[-1]), later)
        starts: EpochMs = self.starts[-1] + self.step_ms * later
        return starts


def read_series(
    table: pd.DataFrame,
    column: str | None = None,
    *,
    time: str | None = None,
    step_ms: int | None = None,
    aggregate: Aggregate = "mean",
    limit_column: str | None = None,
) -> Series:
    """One column of a table as a series.

    column       : the only column of numbers if None
    time         : column of times; found by its name and values if None; without any, rows are steps
    step_ms      : steps wanted; the file's own if None
    aggregate    : how rows within one step become one value
    limit_column : column that is the limit of the values

    Raises TableFileError where the column, its times or its step cannot be told.
    """
    name = _value_column(table, column, time, aggregate)
    notes: list[str] = []
    values = np.zeros(len(table)) if aggregate == "count" else read_numbers(table, name, notes)
    limits = None if limit_column is None else read_numbers(table, known_column(table, limit_column), notes)
    if not len(table):
        raise TableFileError("the file has no rows")
    time = time_column(table, other_than={name}) if time is None else known_column(table, time)
    if time is not None:
        times, readable = read_times(table, time, notes)
        times, values = times[readable], values[readable]
        limits = None if limits is None else limits[readable]
    elif step_ms is not None:
        times = np.arange(len(table), dtype=np.int64) * step_ms
    else:
        raise TableFileError(
            "no column of times was found; name it with --time, or, if rows are evenly spaced, give "
            "--step such as 1h"
        )
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    limits = None if limits is None else limits[order]
    own_ms = _own_step(times)
    if own_ms is None and step_ms is None:
        raise TableFileError(
            "the times are not evenly spaced; give --step such as 1h, and --aggregate sum for amounts, mean "
            "for levels, or count for the number of rows"
        )
    step = step_ms or own_ms or 1
    if step != own_ms:
        slots = times // step
        first = int(slots[0]) * step
    else:
        slots = _months(times) if step == MONTH_MS else np.rint((times - times[0]) / step).astype(np.int64)
        first = int(times[0])
    slots = slots - slots[0]
    count = int(slots[-1]) + 1
    if count > STEPS_MAX:
        raise TableFileError(
            f"{count:,} steps of {format_duration(step)} lie between the first and the last time; is a time "
            "wrong? Else give a larger --step"
        )
    repeated = len(slots) - len(np.unique(slots))
    if repeated and step == own_ms:
        notes.append(f"{repeated:,} times occur again; their values were joined ({aggregate})")
    empty = 0.0 if own_ms is None and aggregate in ("sum", "count") else np.nan
    gridded = _aggregated(values, slots, count, aggregate, empty)
    limited = None if limits is None else _forward(_aggregated(limits, slots, count, "last", np.nan))
    starts = first + step * np.arange(count, dtype=np.int64)
    if step == MONTH_MS:
        starts = _month_starts(times[0], np.arange(count))
    series = Series(name, starts, gridded, step, limited, tuple(notes))
    if own_ms is not None and step > own_ms:
        series = _without_partial(series, int(times[0]), int(times[-1]) + own_ms)
    return series


def coarsened(series: Series, step_ms: int, aggregate: Aggregate) -> Series:
    """The series in larger steps; parts of a step at either end are left out.

    Raises TableFileError where nothing is left.
    """
    slots = series.starts // step_ms
    first = int(slots[0])
    slots = slots - first
    values = _aggregated(series.values, slots, int(slots[-1]) + 1, aggregate, np.nan)
    limits = series.limits
    if limits is not None:
        limits = _aggregated(limits, slots, int(slots[-1]) + 1, "last", np.nan)
    starts = (first + np.arange(len(values), dtype=np.int64)) * step_ms
    whole = Series(series.name, starts, values, step_ms, limits, series.notes)
    return _without_partial(whole, int(series.starts[0]), series.end_ms)


def _without_partial(series: Series, start_ms: int, end_ms: int) -> Series:
    inside = (series.starts >= start_ms) & (series.starts + series.step_ms <= end_ms)
    if not inside.any():
        raise TableFileError(
            f"the series is shorter than one step of {format_duration(series.step_ms)}; give a smaller --step"
        )
    limits = None if series.limits is None else series.limits[inside]
    return Series(
        series.name, series.starts[inside], series.values[inside], series.step_ms, limits, series.notes
    )


def _value_column(table: pd.DataFrame, column: str | None, time: str | None, aggregate: Aggregate) -> str:
    if column is not None:
        return known_column(table, column)
    if aggregate == "count":
        return "rows"
    numbers = number_columns(table, other_than={time})
    if len(numbers) != 1:
        raise TableFileError(
            f"choose the column with --column; columns of numbers: {', '.join(numbers) or 'none'}"
        )
    return numbers[0]


def _own_step(times: EpochMs) -> int | None:
    """The step on whose grid the times lie; None where there is none."""
    distances = np.diff(np.unique(times))
    if not len(distances):
        return None
    lengths, counts = np.unique(distances, return_counts=True)
    step = int(lengths[counts.argmax()])
    on_grid = (times - times[0]) % step
    off_grid = np.minimum(on_grid, step - on_grid) > step // 100
    if off_grid.mean() <= 1 - REGULAR_SHARE and counts.max() * 2 >= len(distances):
        return step
    months = np.maximum(np.rint(distances / MONTH_MS), 1.0)
    if (np.abs(months * MONTH_MS - distances) <= 3 * DAY_MS).mean() >= REGULAR_SHARE:
        return MONTH_MS
    return None


def _months(times: EpochMs) -> Rows:
    months = times.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    since_first: Rows = months - months[0]
    return since_first


def _month_starts(time_ms: int, later: Rows) -> EpochMs:
    """Firsts of the months that lie so many months after that of `time_ms`."""
    month = np.datetime64(int(time_ms), "ms").astype("datetime64[M]")
    starts: EpochMs = (month + later).astype("datetime64[ms]").astype(np.int64)
    return starts


def _aggregated(values: Numbers, slots: Rows, count: int, aggregate: Aggregate, empty: float) -> Numbers:
    """Rows of each slot as one value: Numbers [count], `empty` where there is none. Slots ascend."""
    if aggregate == "count":
        return np.bincount(slots, minlength=count).astype(np.float64)
    known = np.isfinite(values)
    values, slots = values[known], slots[known]
    result = np.full(count, empty)
    if not len(values):
        return result
    starts = np.flatnonzero(np.diff(slots, prepend=-1))
    there = slots[starts]
    match aggregate:
        case "mean":
            result[there] = np.add.reduceat(values, starts) / np.diff(starts, append=len(values))
        case "sum":
            result[there] = np.add.reduceat(values, starts)
        case "max":
            result[there] = np.maximum.reduceat(values, starts)
        case "min":
            result[there] = np.minimum.reduceat(values, starts)
        case "last":
            result[there] = values[np.append(starts[1:], len(values)) - 1]
    return result


def _forward(values: Numbers) -> Numbers:
    """Gaps take the value before them; a gap at the start the first value."""
    known = np.isfinite(values)
    if not known.any():
        return values
    place = np.where(known, np.arange(len(values)), -1)
    np.maximum.accumulate(place, out=place)
    return values[np.where(place < 0, known.argmax(), place)]
