"""The live state as JSON, for the page and for scripts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from detectors.alerts.alert import Alert
from detectors.alerts.names import span_name
from detectors.slo.budget import burn_rate, error_budget_remaining, good_ratio
from streams.publish.metrics.snapshot import SloSnapshot, SourceSnapshot, WorkerSnapshot

GROUPS_MAX = 200
"""Groups of an SLO that are shown; the metrics have them all."""


def state_json(snapshot: WorkerSnapshot, alerts: Iterable[Alert]) -> dict[str, Any]:
    """SLOs, live alerts and sources of a worker."""
    return {
        "slos": [row for slo in snapshot.slos for row in _slo_rows(slo)],
        "alerts": [_alert_row(alert) for alert in alerts],
        "sources": [_source_row(source) for source in snapshot.sources],
    }


def _slo_rows(snapshot: SloSnapshot) -> Iterator[dict[str, Any]]:
    slo = snapshot.slo
    ratio = good_ratio(snapshot.good, snapshot.total)
    burn = burn_rate(snapshot.good, snapshot.total, slo.target)
    remaining = error_budget_remaining(snapshot.budget_good, snapshot.budget_total, slo.target)
    names = [span_name(window) for window in snapshot.windows_ms]
    for series, group in enumerate(snapshot.labels[:GROUPS_MAX]):
        title = slo.display_name or slo.name
        yield {
            "name": f"{title} ({', '.join(group)})" if group else title,
            "slo": slo.name,
            "service": slo.service,
            "group": dict(zip(slo.group_by, group, strict=True)),
            "target": slo.target,
            "sli": {name: _number(ratio[row, series]) for row, name in enumerate(names)},
            "burn": {name: _number(burn[row, series]) for row, name in enumerate(names)},
            "budget_remaining": _number(remaining[series]),
        }


def _alert_row(alert: Alert) -> dict[str, Any]:
    return {
        "fingerprint": alert.fingerprint,
        "state": alert.state,
        "labels": dict(alert.labels),
        "summary": alert.annotations.get("summary", alert.alertname),
        "description": alert.annotations.get("description", ""),
        "starts_at_ms": alert.starts_at_ms,
        "evidence": dict(alert.evidence),
    }


def _source_row(source: SourceSnapshot) -> dict[str, Any]:
    outcomes = {"in": 0, "late": 0, "dead": 0}
    for (outcome, _), count in source.outcomes.items():
        outcomes[outcome] += count
    return {
        "name": source.name,
        "events": outcomes["in"],
        "late": outcomes["late"],
        "dead": outcomes["dead"],
        "lag": sum(source.lag.values()) if source.lag else None,
        "watermark_ms": min(source.watermark_ms.values()) if source.watermark_ms else None,
    }


def _number(value: Any) -> float | None:
    number = float(value)
    return None if math.isnan(number) else number
