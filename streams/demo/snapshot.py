"""What the worker publishes, read from its `/metrics` as any Prometheus would."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Snapshot", "parse_metrics"]


SOURCE = "requests"
"""The source whose time and routes are shown."""

WINDOW = "5m"


@dataclass(slots=True)
class Snapshot:
    """The figures that the demo shows; what has not been published yet is missing.

    ratio, burn : by SLO and window
    budget      : share of the error budget left, by SLO
    outcomes    : events by outcome, all sources together
    rates       : requests a second by route, over `WINDOW`
    quantiles   : seconds by route and quantile, over `WINDOW`
    time_ms     : event time up to which all partitions of the requests are complete; NaN before
    """

    ratio: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    burn: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    budget: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    rates: dict[str, float] = field(default_factory=dict)
    quantiles: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    time_ms: float = math.nan


def parse_metrics(text: str) -> Snapshot:
    """The snapshot in a page of Prometheus' text format."""
    snapshot = Snapshot()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            _read(snapshot, sample.name, sample.labels, sample.value)
    return snapshot


def _read(snapshot: Snapshot, name: str, labels: Mapping[str, str], value: float) -> None:
    match name:
        case "streamgauge_sli_ratio":
            snapshot.ratio[labels["slo"]][labels["window"]] = value
        case "streamgauge_burn_rate":
            snapshot.burn[labels["slo"]][labels["window"]] = value
        case "streamgauge_error_budget_remaining_ratio":
            snapshot.budget[labels["slo"]] = value
        case "streamgauge_events_total":
            snapshot.outcomes[labels["outcome"]] += value
        case "streamgauge_watermark_seconds" if labels["source"] == SOURCE:
            snapshot.time_ms = float(np.fmin(snapshot.time_ms, value * 1_000))
        case "streamgauge_request_rate" if _is_shown(labels):
            snapshot.rates[labels["route"]] = value
        case "streamgauge_request_duration_seconds" if _is_shown(labels):
            snapshot.quantiles[labels["route"]][labels["quantile"]] = value


def _is_shown(labels: Mapping[str, str]) -> bool:
    return labels["source"] == SOURCE and labels["window"] == WINDOW
