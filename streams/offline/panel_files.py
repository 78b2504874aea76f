"""A table in a file, CSV or parquet, as a panel that detectors take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detectors.api.detector import Panel

if TYPE_CHECKING:
    import pandas as pd

TIME_COLUMNS = ("timestamp", "time", "at", "at_ms", "date", "datetime", "ts", "ds")
"""Columns that are taken for the time where none is named, the first that is there."""


class TableFileError(ValueError):
    """A file that cannot be read as a table of observations; says which, and the way out."""


def read_panel(
    path: Path, *, time: str | None = None, by: Sequence[str] = (), columns: Sequence[str] = ()
) -> Panel:
    """The observations in a file.

    time    : column of the time, found by its name if None; numbers are ms (or s) since 1970
    by      : columns that name the series
    columns : the features; all number columns if empty

    Raises TableFileError.
    """
    table = _table(path)
    time = time or next((name for name in TIME_COLUMNS if name in table.columns), None)
    if time is None:
        raise TableFileError(
            f"{path}: no column is called {', '.join(TIME_COLUMNS[:-1])} or {TIME_COLUMNS[-1]}; "
            f"name the column of the time, there are {_listed(table.columns)}"
        )
    for name in (time, *by, *columns):
        if name not in table.columns:
            raise TableFileError(f"{path}: no column {name!r}; there are {_listed(table.columns)}")
    if columns:
        table = table[[time, *by, *columns]]
    try:
        return Panel.from_table(table.assign(**{time: _instants(table[time])}), by=by, time=time)
    except ValueError as error:
        raise TableFileError(f"{path}: {error}") from error


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    try:
        if path.suffix in (".parquet", ".pq"):
            return pd.read_parquet(path)
        return pd.read_csv(path)
    except OSError as error:
        raise TableFileError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, pa.ArrowException) as error:
        raise TableFileError(f"{path}: neither CSV nor parquet: {error}") from error


def _instants(column: pd.Series[object]) -> pd.Series[object]:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        largest = float(column.abs().max()) if len(column) else 0.0
        return pd.to_datetime(column, unit="ms" if largest > 1e11 else "s", utc=True)
    return pd.to_datetime(column, utc=True, format="mixed")


def _listed(names: Sequence[object]) -> str:
    return ", ".join(map(str, names))
