"""A column of a CSV or Parquet file as an evenly spaced series.

Guarantee: what comes out is evenly spaced, ascending and float64, with NaN where the file has nothing; what
was changed on the way (rows left out, times that occur twice) is told in `notes`. Files are told apart by
their name: `.parquet`, else CSV, plain or compressed (`.gz`, `.zst`, `.bz2`, `.xz`, `.zip`).

Times are starts of steps. Times without a zone are UTC.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from models.arrays import EpochMs, Mask, Numbers, Rows
from models.calendar.units import DAY_MS, HOUR_MS, MINUTE_MS
from streams.decode.times import parse_times
from streams.language.duration import format_duration
from streams.language.problems import nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AGGREGATES", "Aggregate", "Series", "SeriesError", "coarsened", "read_series", "read_table"]

Aggregate: TypeAlias = Literal["mean", "sum", "max", "min", "last", "count"]

AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)

STEPS_MAX = 5_000_000
"""A longer grid is a wrong time somewhere (a 1970 among today's), not a series."""

REGULAR_SHARE = 0.9
"""Share of times that must lie on the grid for the step to be believed; the rest are moved to it."""

_UNITS_MS = {"second": 1_000, "minute": MINUTE_MS, "hour": HOUR_MS, "day": DAY_MS}
_TIME_NAMES = ("time", "timestamp", "ts", "ds", "date", "datetime", "epoch", "day", "month", "t")
MONTH_MS = round(365.2425 / 12 * DAY_MS)
"""The step of a series by months: its mean length."""


class SeriesError(ValueError):
    """A file or column that is no series; the text says what is wrong and the way out."""


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


def read_table(path: Path) -> pd.DataFrame:
    """The file as a table.

    Raises SeriesError where it cannot be read.
    """
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
        return pd.read_csv(path, skipinitialspace=True)
    except OSError as error:
        raise SeriesError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # parsers raise types of their own, by library and version
        raise SeriesError(
            f"{path}: is neither CSV with a head line nor Parquet ({str(error).splitlines()[0]})"
        ) from error


def read_series(
    frame: pd.DataFrame,
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

    Raises SeriesError where the column, its times or its step cannot be told.
    """
    name = _value_column(frame, column, time, aggregate)
    notes: list[str] = []
    values = np.zeros(len(frame)) if aggregate == "count" else _numbers(frame, name, notes)
    limits = None if limit_column is None else _numbers(frame, _known(frame, limit_column), notes)
    if not len(frame):
        raise SeriesError("the file has no rows")
    found = _times(frame, name, time, notes)
    if found is None:
        if step_ms is None:
            raise SeriesError(
                "no column of times was found; name it with --time, or, if rows are evenly spaced, give "
                "--step such as 1h"
            )
        times, readable = np.arange(len(frame), dtype=np.int64) * step_ms, np.ones(len(frame), np.bool_)
    else:
        times, readable = found
    if not readable.all():
        notes.append(f"{int((~readable).sum()):,} rows without a readable time were left out")
        times, values = times[readable], values[readable]
        limits = None if limits is None else limits[readable]
    if not len(times):
        raise SeriesError("no row has a readable time; name the column of times with --time")
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    limits = None if limits is None else limits[order]
    own_ms = _own_step(times)
    if own_ms is None and step_ms is None:
        raise SeriesError(
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
        raise SeriesError(
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

    Raises SeriesError where nothing is left.
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
        raise SeriesError(
            f"the series is shorter than one step of {format_duration(series.step_ms)}; give a smaller --step"
        )
    limits = None if series.limits is None else series.limits[inside]
    return Series(
        series.name, series.starts[inside], series.values[inside], series.step_ms, limits, series.notes
    )


def _value_column(frame: pd.DataFrame, column: str | None, time: str | None, aggregate: Aggregate) -> str:
    if column is not None:
        return _known(frame, column)
    if aggregate == "count":
        return "rows"
    numbers = [
        str(name)
        for name in frame.columns
        if name != time and not _is_time_name(str(name)) and _mostly_numbers(frame[name])
    ]
    if len(numbers) != 1:
        raise SeriesError(
            f"choose the column with --column; columns of numbers: {', '.join(numbers) or 'none'}"
        )
    return numbers[0]


def _is_time_name(name: str) -> bool:
    return name.lower() in _TIME_NAMES or name.lower().removesuffix("s") in _UNITS_MS


def _mostly_numbers(column: pd.Series[Any]) -> bool:
    """Whether a column can be meant as numbers, a broken one among them or not."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return True
    if pd.api.types.is_datetime64_any_dtype(column):
        return False
    given = column.notna().sum()
    read = pd.to_numeric(column, errors="coerce").notna().sum()
    return bool(given and read >= REGULAR_SHARE * given)


def _known(frame: pd.DataFrame, column: str) -> str:
    names = [str(name) for name in frame.columns]
    if column not in names:
        hint = nearest(column, names)
        raise SeriesError(
            f"no column is called {column!r}; the file has {', '.join(names)}" + (f"; {hint}" if hint else "")
        )
    return column


def _numbers(frame: pd.DataFrame, name: str, notes: list[str]) -> Numbers:
    import pandas as pd

    read = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    values: Numbers = np.where(np.isfinite(read), read, np.nan)
    lost = int((~np.isfinite(values)).sum() - frame[name].isna().sum())
    if lost and not np.isfinite(values).any():
        found = next(iter(frame[name].dropna()), None)
        raise SeriesError(f"column {name!r} holds no numbers, but such as {str(found)[:40]!r}")
    if lost:
        notes.append(f"{lost:,} values of {name} are no finite numbers and count as missing")
    return values


def _times(
    frame: pd.DataFrame, value: str, time: str | None, notes: list[str]
) -> tuple[EpochMs, Mask] | None:
    """Times of the rows and which are readable; None where no column has any."""
    if time is not None:
        return _read_times(frame, _known(frame, time))
    ranked = sorted(
        (str(name) for name in frame.columns if str(name) != value),
        key=lambda name: not _is_time_name(name),
    )
    for name in ranked:
        if not _may_be_time(frame, name):
            continue
        times, readable = _read_times(frame, name)
        if readable.mean() >= REGULAR_SHARE:
            return times, readable
    return None


def _may_be_time(frame: pd.DataFrame, name: str) -> bool:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(frame[name]):
        return _is_time_name(name)
    return True


def _read_times(frame: pd.DataFrame, name: str) -> tuple[EpochMs, Mask]:
    import pandas as pd

    column = frame[name]
    if isinstance(column.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_any_dtype(column):
        stamps = pd.DatetimeIndex(pd.to_datetime(column, utc=True)).as_unit("ms")
        return stamps.asi8.astype(np.int64), np.asarray(~stamps.isna())
    unit_ms = _UNITS_MS.get(name.lower().removesuffix("s"))
    if unit_ms is not None and pd.api.types.is_numeric_dtype(column):
        numbers = column.to_numpy(np.float64)
        if np.nanmax(np.abs(numbers)) < 1e8:  # counted from wherever the file begins; epochs are larger
            readable = np.isfinite(numbers)
            return (np.where(readable, numbers, 0) * unit_ms).astype(np.int64), readable
    times, readable = parse_times(column.astype(object).where(column.notna(), None).tolist())
    if readable.mean() < REGULAR_SHARE and _is_time_name(name):
        # Spreadsheets write times in ways of their own ("3/14/2026 1:05 PM").
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = pd.DatetimeIndex(pd.to_datetime(column, errors="coerce", utc=True)).as_unit("ms")
        if found.notna().mean() > readable.mean():
            return np.where(found.isna(), 0, found.asi8).astype(np.int64), np.asarray(found.notna())
    return times, readable


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
