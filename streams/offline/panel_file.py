"""A table in a file as a panel that detectors take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detectors.api.detector import Panel
from streams.offline.table_file import (
    TableFileError,
    known_column,
    number_columns,
    read_numbers,
    read_table,
    read_times,
    time_column,
)

__all__ = ["read_panel"]


def read_panel(
    path: Path,
    *,
    time: str | None = None,
    by: Sequence[str] = (),
    columns: Sequence[str] = (),
    notes: list[str] | None = None,
) -> Panel:
    """The observations in a file, CSV or Parquet.

    time    : column of the time; found by its name or its values if None
    by      : columns that name the series
    columns : the features; all number columns if empty
    notes   : is told what a person should know of how the file was read, such as rows that were left out

    Raises TableFileError.
    """
    import pandas as pd

    table, told = read_table(path), [] if notes is None else notes
    try:
        chosen = [known_column(table, name) for name in (*by, *columns)]
        time = time_column(table, other_than=chosen) if time is None else known_column(table, time)
        if time is None:
            names = ", ".join(map(str, table.columns))
            raise TableFileError(f"no column of times was found; name it with --time, there are {names}")
        times, readable = read_times(table, time, told)
        features = columns or number_columns(table, other_than={time, *by})
        observed = pd.DataFrame(
            {
                **{name: table[name] for name in by},
                **{name: read_numbers(table, name, told) for name in features},
                time: pd.to_datetime(times, unit="ms", utc=True),
            }
        )
        return Panel.from_table(observed[readable], by=by, time=time)
    except ValueError as error:
        raise TableFileError(f"{path}: {error}") from error
