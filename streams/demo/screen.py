"""The demo's table, drawn again and again on a terminal, or as plain lines where there is none."""

from __future__ import annotations

import math
import sys
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streams.demo.snapshot import Snapshot
from streams.demo.story import Story, clock

__all__ = ["Screen"]

WINDOWS = ("5m", "1h")
LINES_SHOWN = 8
PLAIN_EVERY_S = 5.0
"""Seconds between two lines of figures where there is no terminal; moments are told at once."""


class Screen:
    """Shows snapshots and moments; a context manager, so that the terminal is always given back."""

    def __init__(self, *, address: str, speed: float) -> None:
        self._address = address
        self._speed = speed
        self._console = Console()
        self._live: Live | None = None
        self._next_line_s = 0.0
        self._told = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def show(self, snapshot: Snapshot, story: Story, elapsed_s: float) -> None:
        """Draw the state `elapsed_s` after the traffic began."""
        if self._live is not None:
            self._live.update(Group(*self._page(snapshot, story, elapsed_s)), refresh=True)
            return
        for moment in story.moments[self._told :]:
            _print(f"{clock(moment.time_ms)}  {moment.text}")
        self._told = len(story.moments)
        if elapsed_s >= self._next_line_s:
            self._next_line_s = elapsed_s + PLAIN_EVERY_S
            _print(f"{clock(snapshot.time_ms) if snapshot.time_ms > 0 else '--:--:--'}  {_line(snapshot)}")

    def _page(self, snapshot: Snapshot, story: Story, elapsed_s: float) -> list[Table | Text]:
        firing = " ".join(story.firing())
        table = Table(title=f"Event time {_clock(snapshot)} UTC, {self._speed:g} times the clock's speed")
        table.add_column("SLO")
        for window in WINDOWS:
            table.add_column(f"SLI {window}", justify="right")
        for window in WINDOWS:
            table.add_column(f"burn {window}", justify="right")
        table.add_column("budget left", justify="right")
        table.add_column("alert")
        for slo in sorted(snapshot.ratio):
            fires = f"{slo} (" in firing
            table.add_row(
                slo,
                *(_percent(snapshot.ratio[slo].get(window)) for window in WINDOWS),
                *(_burn(snapshot.burn[slo].get(window)) for window in WINDOWS),
                _percent(snapshot.budget.get(slo), 1),
                Text("FIRING", "bold white on red") if fires else Text("ok", "green"),
            )
        moments = [
            Text(f"{clock(moment.time_ms)}  {moment.text}", _style(moment.text))
            for moment in story.moments[-LINES_SHOWN:]
        ]
        traffic = Text(f"{_traffic(snapshot)}   {elapsed_s:.0f} s   {self._address}", "dim")
        return [table, _routes(snapshot), traffic, *moments]


def _routes(snapshot: Snapshot) -> Table:
    """The routes, the busiest first."""
    table = Table("route", "requests/s", "p50", "p95", "p99")
    for column in table.columns[1:]:
        column.justify = "right"
    for route, rate in sorted(snapshot.rates.items(), key=lambda item: -item[1]):
        of_route = snapshot.quantiles[route]
        table.add_row(route, f"{rate:.2f}", *(_ms(of_route.get(q)) for q in ("0.5", "0.95", "0.99")))
    return table


def _line(snapshot: Snapshot) -> str:
    slos = (
        f"{slo} {_percent(snapshot.ratio[slo].get('5m'))} burn {_burn(snapshot.burn[slo].get('5m'))}"
        f"/{_burn(snapshot.burn[slo].get('1h'))}"
        for slo in sorted(snapshot.ratio)
    )
    return "  ".join([*slos, _traffic(snapshot)])


def _traffic(snapshot: Snapshot) -> str:
    counts = ", ".join(f"{value:,.0f} {name}" for name, value in sorted(snapshot.outcomes.items()))
    return f"events {counts or 'none yet'}"


def _clock(snapshot: Snapshot) -> str:
    return clock(snapshot.time_ms) if snapshot.time_ms > 0 else "--:--:--"


def _percent(value: float | None, places: int = 2) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.{places}f} %"


def _burn(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.1f}"


def _ms(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{1_000 * value:,.0f} ms"


def _style(text: str) -> str:
    if text.startswith("ALERT FIRING"):
        return "bold red"
    return "bold green" if text.startswith("ALERT RESOLVED") else ""


def _print(text: str) -> None:
    print(text)
    sys.stdout.flush()
