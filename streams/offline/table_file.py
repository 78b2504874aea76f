"""Tables in files, CSV or Parquet: which column is the time, and what its times and numbers are.

Guarantee: times are read as decoders read them (`streams/decode/times.py`), and only where that fails in the
ways of spreadsheets; what cannot be read is left out and told in `notes`, never guessed.

Files are told apart by their name: `.parquet` or `.pq`, else CSV, plain or compressed (`.gz`, `.zst`, `.bz2`,
`.xz`, `.zip`). Times without a zone are UTC.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.arrays import EpochMs, Mask, Numbers
from models.calendar.units import DAY_MS, HOUR_MS, MINUTE_MS
from streams.decode.times import parse_times
from streams.language.problems import nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "TableFileError",
    "known_column",
    "number_columns",
    "read_numbers",
    "read_table",
    "read_times",
    "time_column",
]

READABLE_SHARE = 0.9
"""Share of a column's values that must be readable as times, or as numbers, for it to be meant so."""

TIME_NAMES = (
    *("timestamp", "datetime", "time", "at", "at_ms", "ts", "ds", "epoch"),
    *("date", "day", "month", "t"),
)
"""Columns that are taken for the time where none is named, the first that holds times."""

_UNITS_MS = {"second": 1_000, "minute": MINUTE_MS, "hour": HOUR_MS, "day": DAY_MS}
"""Columns that count from wherever the file begins."""

_COUNTED_MAX = 1e8
"""Counts are smaller, times since 1970 larger."""

_CLOCK_TIME = r"\s*\d{1,2}:\d\d"
"""Begins a time of no day, which pandas would put on today's date."""


class TableFileError(ValueError):
    """A file, or a column of it, that cannot be read as is asked; says what is wrong and how to fix it."""


def read_table(path: Path) -> pd.DataFrame:
    """The file as a table.

    Raises TableFileError where it cannot be read.
    """
    import pandas as pd

    try:
        if path.suffix in (".parquet", ".pq"):
            table = pd.read_parquet(path)
            is_column = isinstance(table.index, pd.DatetimeIndex) or any(table.index.names)
            return table.reset_index(drop=not is_column)  # row numbers are no column
        return pd.read_csv(path, skipinitialspace=True)
    except OSError as error:
        raise TableFileError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # parsers raise types of their own, by library and version
        raise TableFileError(
            f"{path}: is neither CSV with a head line nor Parquet ({str(error).splitlines()[0]})"
        ) from error


def known_column(table: pd.DataFrame, column: str) -> str:
    """The column's name.

    Raises TableFileError where there is no such column.
    """
    names = [str(name) for name in table.columns]
    if column not in names:
        hint = nearest(column, names)
        raise TableFileError(
            f"no column is called {column!r}; the file has {', '.join(names)}" + (f"; {hint}" if hint else "")
        )
    return column


def number_columns(table: pd.DataFrame, *, other_than: Collection[str | None] = ()) -> list[str]:
    """Columns that are meant as numbers, a broken value among them or not; those named like times are not."""
    return [
        str(name)
        for name in table.columns
        if name not in other_than and not _is_time_name(str(name)) and _mostly_numbers(table[name])
    ]


def read_numbers(table: pd.DataFrame, column: str, notes: list[str]) -> Numbers:
    """Numbers [N] of a column, NaN where there is no finite one; `notes` are told how many were lost.

    Raises TableFileError where there are values but no numbers.
    """
    import pandas as pd

    found = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    values: Numbers = np.where(np.isfinite(found), found, np.nan)
    lost = int((~np.isfinite(values)).sum() - table[column].isna().sum())
    if lost and not np.isfinite(values).any():
        example = next(iter(table[column].dropna()), None)
        raise TableFileError(f"column {column!r} holds no numbers, but such as {str(example)[:40]!r}")
    if lost:
        notes.append(f"{lost:,} values of {column} are no finite numbers and count as missing")
    return values


def time_column(table: pd.DataFrame, *, other_than: Collection[str] = ()) -> str | None:
    """The column that holds times: one that is named so, else any that reads so; None where there is none."""
    import pandas as pd

    names = [str(name) for name in table.columns if name not in other_than]
    for name in sorted(names, key=_rank):
        column = table[name]
        if _is_time_name(name):
            _, readable = _any_times(column, name)
        elif pd.api.types.is_numeric_dtype(column):
            continue  # any number could be a time
        else:
            _, readable = _decoded(column, name)
        if len(readable) and readable.mean() >= READABLE_SHARE:
            return name
    return None


def read_times(table: pd.DataFrame, column: str, notes: list[str]) -> tuple[EpochMs, Mask]:
    """Times of the rows: EpochMs [N], and Mask [N] of the readable ones; `notes` are told of the others.

    Raises TableFileError where none is readable.
    """
    times, readable = _any_times(table[column], column)
    if not readable.any():
        raise TableFileError("no row has a readable time; name the column of times with --time")
    if not readable.all():
        notes.append(f"{int((~readable).sum()):,} rows without a readable time were left out")
    return times, readable


def _rank(name: str) -> int:
    """Columns to look at first have the lowest; those of no time's name come last, as the file has them."""
    lower = name.lower()
    if lower in TIME_NAMES:
        return TIME_NAMES.index(lower)
    return len(TIME_NAMES) + (not _is_time_name(name))


def _is_time_name(name: str) -> bool:
    return name.lower() in TIME_NAMES or name.lower().removesuffix("s") in _UNITS_MS


def _mostly_numbers(column: pd.Series[Any]) -> bool:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return True
    if pd.api.types.is_datetime64_any_dtype(column):
        return False
    given = column.notna().sum()
    read = pd.to_numeric(column, errors="coerce").notna().sum()
    return bool(given and read >= READABLE_SHARE * given)


def _any_times(column: pd.Series[Any], name: str) -> tuple[EpochMs, Mask]:
    """As decoders read them, or as spreadsheets write them ("3/14/2026 1:05 PM")."""
    import pandas as pd

    times, readable = _decoded(column, name)
    if not len(readable) or readable.mean() >= READABLE_SHARE:
        return times, readable
    if column.astype(str).str.match(_CLOCK_TIME).any():
        return times, readable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = pd.DatetimeIndex(pd.to_datetime(column, errors="coerce", utc=True)).as_unit("ms")
    if found.notna().mean() <= readable.mean():
        return times, readable
    return np.where(found.isna(), 0, found.asi8).astype(np.int64), np.asarray(found.notna())


def _decoded(column: pd.Series[Any], name: str) -> tuple[EpochMs, Mask]:
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        stamps = pd.DatetimeIndex(pd.to_datetime(column, utc=True)).as_unit("ms")
        return stamps.asi8.astype(np.int64), np.asarray(~stamps.isna())
    unit_ms = _UNITS_MS.get(name.lower().removesuffix("s"))
    if unit_ms is not None and pd.api.types.is_numeric_dtype(column):
        counts = column.to_numpy(np.float64)
        known = np.isfinite(counts)
        if known.any() and np.abs(counts[known]).max() < _COUNTED_MAX:
            return (np.where(known, counts, 0) * unit_ms).astype(np.int64), known
    return parse_times(column.astype(object).where(column.notna(), None).tolist())
