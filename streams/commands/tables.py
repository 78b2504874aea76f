"""Tables that people read at the terminal, with one way to write numbers, shares, times and lengths of time.

Guarantee: nothing is cut, at any width. Columns stand side by side as far as they fit; the rest of a row is
written below it, by name, and only broken between words.
"""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import typer
from rich.cells import cell_len

from models.calendar.units import DAY_MS, HOUR_MS, MINUTE_MS
from streams.language.duration import format_duration
from streams.language.printable import printable

__all__ = ["UNKNOWN", "moment", "number", "print_table", "share", "span"]

UNKNOWN = "–"
"""Stands for what is not known."""

GAP = "  "

LAST_WIDTH_MIN = 24
"""The last column is wrapped in its place where it has so much room; its text reads well no narrower."""


def print_table(names: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """A line for each row on standard output, and more where it does not fit into the terminal's width.

    names : of the columns; the first ones stay side by side where not all can
    right : names of the columns that are aligned to the right, as numbers are
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    for line in _lines(names, cells, right, shutil.get_terminal_size().columns):
        typer.echo(line)


def number(value: float | None, digits: int = 4) -> str:
    """A number to so many significant digits, whole numbers and thousands in full."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if abs(value) < 1e15 and (abs(value) >= 10 ** (digits - 1) or float(value).is_integer()):
        return f"{value:,.0f}"
    return f"{value:,.{digits}g}"


def share(value: float | None, decimals: int = 0) -> str:
    """A share in percent. What is neither none nor all is never rounded to that: `<1 %`, `>99.9 %`."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    least = 10.0**-decimals
    if 0 < value < 1:
        if round(100 * value, decimals) == 0:
            return f"<{least:.{decimals}f} %"
        if round(100 * value, decimals) == 100:
            return f">{100 - least:.{decimals}f} %"
    return f"{100 * value:.{decimals}f} %"


def moment(at_ms: int | None) -> str:
    """A time in ms since 1970 as ISO 8601 in UTC, to the second."""
    return UNKNOWN if at_ms is None else f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def span(seconds: float) -> str:
    """A length of time as people say it: to the minute above an hour, to the hour above a day."""
    milliseconds = round(seconds * 1000)
    for unit, least in ((1_000, MINUTE_MS), (MINUTE_MS, HOUR_MS), (HOUR_MS, DAY_MS)):
        if milliseconds >= least:
            milliseconds = round(milliseconds / unit) * unit
    return format_duration(milliseconds)


def _lines(names: Sequence[str], rows: list[list[str]], right: Sequence[str], room: int) -> Iterable[str]:
    widths = [max(map(cell_len, column)) for column in zip(names, *rows, strict=True)]
    fitting = _fitting(widths, room)
    before = sum(widths[: fitting - 1]) + len(GAP) * (fitting - 1)
    wrapped = fitting == len(names) and before + widths[-1] > room
    if wrapped:
        widths[-1] = room - before
    aligned = [name in right for name in names]
    yield _line(names[:fitting], widths, aligned)
    yield GAP.join("─" * width for width in widths[:fitting])
    for row in rows:
        if wrapped:
            first, *more = _wrapped(row[-1], widths[-1]) or [""]
            yield _line([*row[:-1], first], widths, aligned)
            yield from (" " * before + line for line in more)
            continue
        yield _line(row[:fitting], widths, aligned)
        rest = [f"{name} {cell}" for name, cell in zip(names[fitting:], row[fitting:], strict=True)]
        yield from (GAP + line for line in _wrapped("; ".join(rest), room - len(GAP)))


def _fitting(widths: Sequence[int], room: int) -> int:
    """How many of the first columns stand side by side, at least one."""
    ends = [sum(widths[:count]) + len(GAP) * (count - 1) for count in range(1, len(widths) + 1)]
    if len(widths) > 1 and ends[-2] + len(GAP) + LAST_WIDTH_MIN <= room:
        return len(widths)
    return max(sum(end <= room for end in ends), 1)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _line(cells: Sequence[str], widths: Sequence[int], aligned: Sequence[bool]) -> str:
    padded = []
    for cell, width, is_right in zip(cells, widths, aligned, strict=False):
        padding = " " * (width - cell_len(cell))
        padded.append(padding + cell if is_right else cell + padding)
    return GAP.join(padded).rstrip()
