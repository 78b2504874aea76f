"""Counts of an SLO less those of planned maintenance, as far as the rings still tell them apart.

Maintenance may be planned or reported at any time, also for the past: counts are taken out where they are
judged and shown, never where they are kept.
"""

from __future__ import annotations

import numpy as np

from detectors.slo.slo import Slo
from models.arrays import Counts
from streams.plan.plan import BUCKET_MS
from streams.window.rings import window_start
from streams.window.rollup_window import RollupWindow


def period_counts(window: RollupWindow, slo: Slo, at_ms: int) -> tuple[Counts, Counts]:
    """(good, total) : Counts [S] each, of the calendar period so far, sealed buckets, without maintenance."""
    assert slo.calendar is not None
    first, second = window.budget_columns
    period = np.zeros((window.series_count, window.counter_count), dtype=np.int64)
    counted = window.totals.period_at(at_ms // BUCKET_MS - 1)
    period[: len(counted)] = counted
    start = slo.calendar.bounds(at_ms - 1)[0] // BUCKET_MS
    for begin, until in _maintenance(slo, start, at_ms // BUCKET_MS):
        left_out = window.rings.between(begin, until)
        period[: len(left_out)] -= left_out
    # an hour long past counts as a whole, and may begin before the period does
    np.maximum(period, 0, out=period)
    return period[:, first], period[:, second]


def _maintenance(slo: Slo, start: int, end: int) -> list[tuple[int, int]]:
    """Buckets [begin, until) of planned maintenance of the SLO's service within [start, end), disjoint."""
    wanted = sorted(
        (max(-(-interval.start_ms // BUCKET_MS), start), min(-(-interval.end_ms // BUCKET_MS), end))
        for interval in slo.maintenance
        if not interval.services or slo.service in interval.services
    )
    joined: list[tuple[int, int]] = []
    for begin, until in wanted:
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], until))
        elif begin < until:
            joined.append((begin, until))
    return joined


def without_maintenance(
    window: RollupWindow, slo: Slo, at_ms: int, good: Counts, total: Counts
) -> tuple[Counts, Counts]:
    """Counts less those of planned maintenance.

    good, total : Counts [W, S] of the windows that end at `at_ms`
    A slot counts as maintenance if its middle lies in it: 10 s exact in the last hour, 5 min in the last
    three days, an hour beyond.
    """
    end = at_ms // BUCKET_MS
    first, second = window.budget_columns
    for row, window_ms in enumerate(window.rollup.windows_ms):
        for begin, until in _maintenance(slo, window_start(window_ms, end), end):
            left_out = window.rings.between(begin, until)
            good, total = good.copy(), total.copy()
            good[row, : len(left_out)] -= left_out[:, first]
            total[row, : len(left_out)] -= left_out[:, second]
    return good, total
