"""What a detector is shown: the series of a rollup over the step that has just been sealed.

Only sealed buckets are read, and series come in the order of their keys. So a panel is a function of the
log, whatever order events, restarts and rebalances came in.
"""

from __future__ import annotations

import numpy as np

from detectors.api.detector import Panel
from models.arrays import Numbers, Rows
from streams.partials.sketch import quantiles_of
from streams.plan.plan import BUCKET_MS, SIGNALS, MonitorPlan
from streams.plan.rollup import MICRO, Rollup, Sum
from streams.window.rollup_window import RollupWindow
from streams.window.sketches import merged_sketch

RATE, ERROR_RATIO = "rate", "error_ratio"
GOOD_BEFORE = 20
"""Events without error that the error ratio counts in addition to those of the step: one failure of three is
not significant, and among hundreds of events the addition makes no difference."""

QUANTILES = {"p50": 0.5, "p99": 0.99}


def feature_names(rollup: Rollup, plan: MonitorPlan) -> tuple[str, ...]:
    """Names along the panel's axis F."""
    distinct = tuple(f"distinct {column}" for column in rollup.distinct)
    if plan.features == "measures":
        return (*rollup.measure_names, *distinct)
    quantiles = tuple(QUANTILES) if rollup.sketch is not None else ()
    return (RATE, ERROR_RATIO, *quantiles, *distinct)


def panel_of(window: RollupWindow, plan: MonitorPlan, end: int, series: Rows) -> Panel:
    """The step that ends before the bucket `end`, of some series.

    series : Rows [S], ascending by key
    """
    times, features = np.array([end * BUCKET_MS], dtype=np.int64), feature_names(window.rollup, plan)
    if not len(series):
        return Panel(times, (), features, np.zeros((1, 0, len(features))))
    counts = step_counts(window, plan, end)[series]
    columns = _measures(window, counts) if plan.features == "measures" else _signals(window, plan, counts)
    first = end - plan.step_ms // BUCKET_MS
    if plan.features == "signals" and window.rollup.sketch is not None:
        keys, bins = merged_sketch(window.sealed_sketch(first))
        quantiles = quantiles_of(keys, bins, window.series_count, list(QUANTILES.values()))
        columns += list(quantiles[series].T)
    for position in range(len(window.rollup.distinct)):
        columns.append(window.sealed_distinct(position, first)[series])
    return Panel(
        times=times,
        series=tuple(window.table.labels[number] for number in series.tolist()),
        features=features,
        values=np.stack(columns, axis=-1)[np.newaxis].astype(np.float64),
    )


def step_counts(window: RollupWindow, plan: MonitorPlan, end: int) -> Numbers:
    """Counts [S, C] of the step that ends before the bucket `end`, of all series."""
    found = window.rings.between(end - plan.step_ms // BUCKET_MS, end)
    counts = np.zeros((window.series_count, found.shape[1]))
    counts[: len(found)] = found
    return counts


def _measures(window: RollupWindow, counts: Numbers) -> list[Numbers]:
    return [
        counts[:, number] / (MICRO if isinstance(measure, Sum) else 1)
        for number, measure in enumerate(window.rollup.measures)
    ]


def _signals(window: RollupWindow, plan: MonitorPlan, counts: Numbers) -> list[Numbers]:
    total, errors = (counts[:, window.rollup.measure_index(name)] for name in SIGNALS)
    ratio = np.full(len(total), np.nan)
    np.divide(errors, total + GOOD_BEFORE, out=ratio, where=total > 0)
    return [total / (plan.step_ms / 1000.0), ratio]
