"""A table in a file, as commands are given it: the file, and which of its columns are what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.commands.console import fail, tell

if TYPE_CHECKING:
    from detectors.api.detector import Panel

__all__ = ["TableColumns", "TableFile", "TimeColumn"]

TableFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A table, CSV or parquet: a row for each step.")
]

TimeColumn = Annotated[
    str | None,
    typer.Option("--time", metavar="COLUMN", help="The column of the time; found by itself if left out."),
]


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Which columns of a table are time, series and features."""

    time: TimeColumn = None
    by: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Column that names the series; repeatable.")
    ] = None
    column: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="A feature; all numbers if left out.")
    ] = None

    def panel(self, file: Path) -> Panel:
        """The observations in a file, with a line on standard error for what was left out."""
        from streams.offline.panel_file import read_panel
        from streams.offline.table_file import TableFileError

        notes: list[str] = []
        try:
            panel = read_panel(file, time=self.time, by=self.by or (), columns=self.column or (), notes=notes)
        except TableFileError as error:
            fail(str(error))
        for note in notes:
            tell(f"note: {note}")
        return panel
