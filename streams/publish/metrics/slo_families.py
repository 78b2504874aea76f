"""Metrics of SLOs: ratios, burn rates, budgets, and what recording rules need to know of each SLO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from detectors.alerts.names import label_names, span_name
from detectors.slo.budget import burn_rate, error_budget_remaining, exhaustion_seconds, good_ratio
from detectors.slo.slo import Slo
from models.arrays import Numbers
from models.calendar.units import HOUR_MS
from streams.publish.metrics.family import Block, Family, LabelRows
from streams.publish.metrics.snapshot import SloSnapshot

STEADY_WINDOW_MS = HOUR_MS
"""The present burn, for the time to exhaustion, is that of the longest window up to an hour."""

_OWN_LABELS = ("service", "slo", "objective", "window", "budgeting", "display_name", "description")


def slo_families(snapshots: Sequence[SloSnapshot]) -> Iterator[Family]:
    """The families of all SLOs."""
    tables = [(snapshot, _labels(snapshot)) for snapshot in snapshots]
    yield Family(
        "streamgauge_sli_ratio", "gauge", "Share of good events over a rolling window.", list(_sli(tables))
    )
    yield Family(
        "streamgauge_burn_rate",
        "gauge",
        "How many times faster than the objective allows the error budget is spent, over a rolling window.",
        list(_burn(tables)),
    )
    yield Family(
        "streamgauge_error_budget_remaining_ratio",
        "gauge",
        "Share of the error budget that is left; negative when overspent.",
        [Block(labels, _remaining(snapshot)) for snapshot, labels in tables],
    )
    yield Family(
        "streamgauge_error_budget_exhaustion_seconds",
        "gauge",
        "Time until the error budget is spent if errors go on as in the last hour.",
        [Block(labels, _exhaustion(snapshot)) for snapshot, labels in tables],
    )
    # An SLO may be in several snapshots, one for each partition.
    slos = list({(slo.name, slo.objective): slo for slo in (each.slo for each in snapshots)}.values())
    yield Family(
        "streamgauge_slo_objective_ratio",
        "gauge",
        "Share of good events that the SLO promises.",
        [Block(_identity(slo), _one(slo.target)) for slo in slos],
    )
    yield Family(
        "streamgauge_slo_window_seconds",
        "gauge",
        "Length of the SLO's window; of a calendar period its nominal length.",
        [Block(_identity(slo), _one(slo.window_ms / 1000.0)) for slo in slos],
    )
    yield Family(
        "streamgauge_slo",
        "info",
        "What an SLO is called and how it is budgeted.",
        [
            Block(
                _identity(slo),
                _one(1.0),
                "_info",
                extra=[("budgeting", slo.budgeting), ("display_name", slo.display_name)],
            )
            for slo in slos
        ],
    )


def _common(slo: Slo) -> list[tuple[str, str]]:
    objective = [("objective", slo.objective)] if slo.objective else []
    return [("service", slo.service), ("slo", slo.name), *objective]


def _labels(snapshot: SloSnapshot) -> LabelRows:
    names = label_names(snapshot.slo.group_by, _OWN_LABELS)
    return LabelRows(names, snapshot.labels, _common(snapshot.slo))


def _identity(slo: Slo) -> LabelRows:
    return LabelRows((), [()], _common(slo))


def _sli(tables: Sequence[tuple[SloSnapshot, LabelRows]]) -> Iterator[Block]:
    for snapshot, labels in tables:
        ratios = good_ratio(snapshot.good, snapshot.total)
        for row, window_ms in enumerate(snapshot.windows_ms):
            yield Block(labels, ratios[row], extra=[("window", span_name(window_ms))])


def _burn(tables: Sequence[tuple[SloSnapshot, LabelRows]]) -> Iterator[Block]:
    for snapshot, labels in tables:
        rates = burn_rate(snapshot.good, snapshot.total, snapshot.slo.target)
        for row, window_ms in enumerate(snapshot.windows_ms):
            yield Block(labels, rates[row], extra=[("window", span_name(window_ms))])


def _remaining(snapshot: SloSnapshot) -> Numbers:
    return error_budget_remaining(snapshot.budget_good, snapshot.budget_total, snapshot.slo.target)


def _exhaustion(snapshot: SloSnapshot) -> Numbers:
    slo, windows_ms = snapshot.slo, snapshot.windows_ms
    if not windows_ms:
        return np.full(len(snapshot.labels), np.nan)
    steady = max((window for window in windows_ms if window <= STEADY_WINDOW_MS), default=min(windows_ms))
    row = windows_ms.index(steady)
    burn = burn_rate(snapshot.good[row], snapshot.total[row], slo.target)
    return exhaustion_seconds(
        _remaining(snapshot), burn, window_ms=slo.window_ms, covered_ms=snapshot.covered_ms
    )


def _one(value: float) -> Numbers:
    return np.array([value])
