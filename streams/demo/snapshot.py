"""What the worker publishes, read from its `/metrics` as any Prometheus would."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Snapshot", "parse_metrics"]


@dataclass(slots=True)
class Snapshot:
    """The figures that the demo shows; what has not been published yet is missing.

    ratio, burn : by SLO and window
    budget      : share of the error budget left, by SLO
    alerts      : severities that fire, by SLO's alert name; from the metric, not from the topic
    outcomes    : events by outcome (`good`, `late`, …), all sources together
    quantiles   : seconds by quantile, of the requests
    time_ms     : watermark, the slowest of the sources
    """

    ratio: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    burn: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    budget: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    quantiles: dict[str, float] = field(default_factory=dict)
    time_ms: float = math.nan


def parse_metrics(text: str) -> Snapshot:
    """The snapshot in a page of Prometheus' text format."""
    snapshot = Snapshot()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            _take(snapshot, sample.name, sample.labels, sample.value)
    return snapshot


def _take(snapshot: Snapshot, name: str, labels: Mapping[str, str], value: float) -> None:
    match name:
        case "streamgauge_sli_ratio":
            snapshot.ratio[labels["slo"]][labels["window"]] = value
        case "streamgauge_burn_rate":
            snapshot.burn[labels["slo"]][labels["window"]] = value
        case "streamgauge_error_budget_remaining_ratio":
            snapshot.budget[labels["slo"]] = value
        case "streamgauge_events_total":
            snapshot.outcomes[labels["outcome"]] += value
        case "streamgauge_watermark_seconds":
            snapshot.time_ms = min(value * 1_000, snapshot.time_ms) if snapshot.time_ms > 0 else value * 1_000
