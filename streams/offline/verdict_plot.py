"""A plot of what a detector saw, expected and flagged; needs matplotlib."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from detectors.api.detector import Panel, Verdicts


def verdict_figure(panel: Panel, verdicts: Verdicts, series: int = 0) -> Figure:
    """One panel a feature, with its expected value and the flagged steps, and the score below."""
    times = pd.to_datetime(panel.times, unit="ms", utc=True)
    rows = len(panel.features) + 1
    figure = Figure(figsize=(11, 1.2 + 1.9 * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, 1, sharex=True))
    flagged = verdicts.alarm[:, series]
    for at, name in enumerate(panel.features):
        seen = panel.values[:, series, at]
        axes[at].plot(times, seen, color="0.25", linewidth=0.8, label="seen")
        axes[at].plot(times, verdicts.expected[:, series, at], color="C0", linewidth=0.8, label="expected")
        axes[at].plot(times[flagged], seen[flagged], "o", color="C3", markersize=4, label="flagged")
        axes[at].set_ylabel(name, parse_math=False)
    axes[0].legend(loc="upper left", ncols=3, fontsize="small")
    axes[0].set_title(", ".join(panel.series[series]) or "value", parse_math=False)
    # as so many nines: a score of 0.999 is 3
    with np.errstate(divide="ignore"):
        odd = -np.log10(np.clip(verdicts.tail[:, series], 1e-12, 1.0))
    axes[-1].plot(times, odd, color="C3", linewidth=0.8)
    axes[-1].set_ylabel("nines of score")
    return figure


def plot_verdicts(panel: Panel, verdicts: Verdicts, path: Path, series: int = 0) -> None:
    """Write the figure, in the format of the name's ending. Raises OSError."""
    try:
        verdict_figure(panel, verdicts, series).savefig(path, dpi=120)
    except ValueError as error:  # an ending that matplotlib does not know
        raise OSError(22, str(error), str(path)) from error
