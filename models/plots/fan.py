"""A forecast as a fan: history, median, intervals that widen, the limit, and the probability of reaching it.

It needs matplotlib, which the extra `notebooks` brings. Figures are made without pyplot, so nothing is shown,
no display is needed and no setting of a notebook is touched. The same input gives the same SVG, byte by byte.

Axes: T steps of history, H steps ahead.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.arrays import EpochMs, Numbers
from models.capacity.crossing import Crossing
from models.forecast.paths import PathForecast

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")

BANDS = ((0.025, 0.975), (0.1, 0.9), (0.25, 0.75))
"""Intervals of 95, 80 and 50 %, from the outside in."""

HISTORY_SHARE = 3
"""The history shown is so many times as long as the horizon; more of it would press the fan flat."""

SHADES = ("#dbe9f6", "#b5d2ec", "#8fbbe1")
INK, MEDIAN, LIMIT = "#333333", "#1f5f9e", "#c0392b"


_LACKING = "plots need matplotlib: pip install 'streamgauge[notebooks]'"


class PlotError(RuntimeError):
    """A plot that cannot be made; the text says why and how to fix it."""


def fan_figure(
    times: EpochMs,
    values: Numbers,
    step_ms: int,
    forecast: PathForecast,
    *,
    title: str = "",
    limit: float | Numbers | None = None,
    crossing: Crossing | None = None,
    truth: Numbers | None = None,
) -> Figure:
    """The figure, for a notebook; `save_fan_plot` writes it to a file.

    times    : EpochMs [T], of the history
    values   : Numbers [T], NaN where missing
    limit    : a number or Numbers [H]
    crossing : adds a panel with the probability that the limit has been reached
    truth    : Numbers [H], what became of it, to be drawn over the fan

    Raises PlotError without matplotlib.
    """
    figure, panels = new_figure(panels=1 if crossing is None else 2)
    axes = panels[0]
    levels = sorted({edge for band in BANDS for edge in band} | {0.5})
    table = forecast.quantiles(np.array(levels))
    quantile = dict(zip(levels, table, strict=True))
    steps = table.shape[1]
    ahead = dates(times[-1] + step_ms * np.arange(1, steps + 1, dtype=np.int64))
    shown = min(len(values), max(HISTORY_SHARE * steps, 10))

    for (low, high), shade in zip(BANDS, SHADES, strict=True):
        axes.fill_between(
            ahead, quantile[low], quantile[high], color=shade, linewidth=0, label=f"{high - low:.0%}"
        )
    axes.plot(dates(times[-shown:]), values[-shown:], color=INK, linewidth=0.9, label="observed")
    axes.plot(ahead, quantile[0.5], color=MEDIAN, linewidth=1.4, label="median")
    if truth is not None:
        axes.plot(ahead, truth, color=INK, linewidth=0.9, linestyle=":", label="actual")
    if limit is not None:
        bound = np.broadcast_to(np.asarray(limit, np.float64), (steps,))
        axes.plot(ahead, bound, color=LIMIT, linewidth=1.2, linestyle="--", label="limit")
    axes.axvline(dates(times[-1:])[0], color=INK, linewidth=0.6, alpha=0.5)
    if crossing is not None:
        below = panels[1]
        below.fill_between(ahead, crossing.by_step, color=LIMIT, alpha=0.25, linewidth=0)
        below.plot(ahead, crossing.by_step, color=LIMIT, linewidth=1.2)
        below.set_ylim(0, 1.02)
        below.set_ylabel("P(limit reached)", fontsize=8)
    finish_axes(panels, title)
    return figure


def new_figure(*, panels: int) -> tuple[Figure, list[Any]]:
    """A figure with a tall panel, and a low one below it if there are two.

    Raises PlotError without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotError(_LACKING) from error
    figure = Figure(figsize=(9, 5.2 if panels == 2 else 4), layout="constrained")
    rows = figure.subplots(panels, 1, sharex=True, squeeze=False, height_ratios=[3.2, 1][:panels])
    return figure, list(rows[:, 0])


def finish_axes(panels: list[Any], title: str) -> None:
    """Title, legend, grid and dates, alike in all figures."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    panels[0].set_title(title, loc="left", fontsize=11, parse_math=False)
    panels[0].legend(loc="upper left", ncols=7, fontsize=8, frameon=False)
    panels[0].margins(x=0.01, y=0.12)
    for each in panels:
        each.grid(alpha=0.25, linewidth=0.5)
        each.tick_params(labelsize=8)
        for side in ("top", "right"):
            each.spines[side].set_visible(False)
    locator = AutoDateLocator()
    panels[-1].xaxis.set_major_locator(locator)
    panels[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))


def check_plot_path(path: Path) -> None:
    """Raise PlotError where `save_fan_plot` would fail, before anything is computed for it."""
    if path.suffix.lower() not in FORMATS:
        raise PlotError(f"{path}: expected a name that ends in {', '.join(FORMATS)}")
    if not path.absolute().parent.is_dir():
        raise PlotError(f"{path}: there is no folder {path.absolute().parent}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise PlotError(_LACKING) from error


def save_fan_plot(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, SVG or PDF, by the name's ending.

    Raises PlotError for another ending and where the file cannot be written.
    """
    check_plot_path(path)
    from matplotlib import rc_context

    kind = path.suffix.lower()
    # Without these an SVG holds the time and random ids.
    metadata = {"Date": None} if kind == ".svg" else {"CreationDate": None} if kind == ".pdf" else {}
    try:
        with rc_context({"svg.hashsalt": "streamgauge", "svg.fonttype": "none"}):
            figure.savefig(path, dpi=120, metadata=metadata)
    except OSError as error:
        raise PlotError(f"{path}: cannot be written ({error.strerror or error})") from error


def dates(times: EpochMs) -> Any:
    """Times as matplotlib takes them."""
    return times.astype("datetime64[ms]")
