"""What a quota's period has used so far and will have used at its end, as a fan of sums.

It needs matplotlib, as `models.plots.fan` does, which also writes the figure to a file.

Axes: T steps of history, n paths, H steps ahead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.arrays import EpochMs, Numbers
from models.capacity.quota import QuotaOutlook, step_shares
from models.plots.fan import BANDS, INK, LIMIT, MEDIAN, SHADES, dates, finish_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def quota_figure(
    starts: EpochMs,
    values: Numbers,
    step_ms: int,
    paths: Numbers,
    outlook: QuotaOutlook,
    *,
    title: str = "",
    truth: Numbers | None = None,
) -> Figure:
    """The sum of the present period, and the probability that it has passed the quota.

    starts, values : [T], the history
    paths          : Numbers [n, H], amounts of the steps to come
    truth          : Numbers [H], actual values, to be drawn over the fan

    Raises PlotError without matplotlib.
    """
    figure, (axes, below) = new_figure(panels=2)
    known = step_shares(starts, step_ms, outlook.start_ms, outlook.end_ms)
    inside = known > 0
    used = np.cumsum(np.nan_to_num(values[inside]) * known[inside])
    ends = np.minimum(starts[inside] + step_ms, outlook.end_ms)
    now_ms = int(starts[-1]) + step_ms
    axes.plot(
        dates(np.append(outlook.start_ms, ends)), np.append(0.0, used), color=INK, linewidth=1.2, label="used"
    )
    ahead = now_ms + step_ms * np.arange(paths.shape[1], dtype=np.int64)
    shares = step_shares(ahead, step_ms, outlook.start_ms, outlook.end_ms)
    steps = int(np.count_nonzero(shares))
    times = dates(np.append(now_ms, np.minimum(ahead[:steps] + step_ms, outlook.end_ms)))

    def summed(amounts: Numbers) -> Numbers:
        added = (np.maximum(amounts[..., :steps], 0.0) * shares[:steps]).cumsum(axis=-1)
        whole: Numbers = outlook.used + np.concatenate([np.zeros((*added.shape[:-1], 1)), added], axis=-1)
        return whole

    sums = summed(paths)
    for (low, high), shade in zip(BANDS, SHADES, strict=True):
        lower, upper = np.quantile(sums, [low, high], axis=0)
        axes.fill_between(times, lower, upper, color=shade, linewidth=0, label=f"{high - low:.0%}")
    axes.plot(times, np.median(sums, axis=0), color=MEDIAN, linewidth=1.4, label="median")
    if truth is not None:
        axes.plot(times, summed(truth), color=INK, linewidth=0.9, linestyle=":", label="actual")
    axes.axhline(outlook.quota, color=LIMIT, linewidth=1.2, linestyle="--", label="quota")
    axes.axvline(dates(np.array([now_ms]))[0], color=INK, linewidth=0.6, alpha=0.5)
    passed: Any = np.append(float(outlook.used > outlook.quota), outlook.exhaustion.by_step[:steps])
    below.fill_between(times, passed, color=LIMIT, alpha=0.25, linewidth=0)
    below.plot(times, passed, color=LIMIT, linewidth=1.2)
    below.set_ylim(0, 1.02)
    below.set_ylabel("P(quota passed)", fontsize=8)
    finish_axes([axes, below], title)
    return figure
