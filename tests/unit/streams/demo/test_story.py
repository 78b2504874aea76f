"""What the demo makes of alerts and metrics."""

from __future__ import annotations

import math
from typing import Any

from streams.demo.snapshot import parse_metrics
from streams.demo.story import Story


def alert(state: str, at_ms: int, slo: str = "availability", starts_at_ms: int = 60_000) -> dict[str, Any]:
    return {
        "fingerprint": slo,
        "state": state,
        "starts_at_ms": starts_at_ms,
        "at_ms": at_ms,
        "labels": {"alertname": "ErrorBudgetBurn", "slo": slo, "severity": "page"},
        "annotations": {"summary": "burns too fast"},
    }


def test_an_alert_that_fires_and_resolves_is_told_once() -> None:
    story = Story()
    for state, at_ms in (
        ("firing", 61_000),
        ("firing", 61_000),
        ("resolved", 3_661_000),
    ):
        story.hear_alert(alert(state, at_ms))
    assert [moment.text for moment in story.moments] == [
        "ALERT FIRING: availability (page) burns too fast",
        "ALERT RESOLVED: availability (page)",
    ]
    assert story.firing() == []
    assert story.summary() == "Alert availability (page): fired at 00:01:01, resolved at 01:01:01."


def test_an_alert_that_has_not_resolved_is_still_firing() -> None:
    story = Story()
    story.hear_alert(alert("firing", 61_000))
    assert story.firing() == ["availability (page)"]
    assert story.summary() == "Alert availability (page): fired at 00:01:01, still firing."


def test_an_alert_that_fires_again_is_firing() -> None:
    story = Story()
    for state, at_ms, start in (("firing", 1, 1), ("resolved", 2, 1), ("firing", 3, 3)):
        story.hear_alert(alert(state, at_ms, starts_at_ms=start))
    assert story.firing() == ["availability (page)"]


def test_without_an_alert_the_summary_says_so() -> None:
    assert Story().summary() == "No alert fired."


PAGE = """\
# TYPE streamgauge_sli_ratio gauge
streamgauge_sli_ratio{service="shop-api",slo="availability",window="5m"} 0.995
streamgauge_sli_ratio{service="shop-api",slo="availability",window="1h"} NaN
# TYPE streamgauge_burn_rate gauge
streamgauge_burn_rate{service="shop-api",slo="availability",window="5m"} 5.0
# TYPE streamgauge_error_budget_remaining_ratio gauge
streamgauge_error_budget_remaining_ratio{service="shop-api",slo="availability"} 0.25
# TYPE streamgauge_events_total counter
streamgauge_events_total{source="requests",outcome="in"} 10
streamgauge_events_total{source="queries",outcome="in"} 20
streamgauge_events_total{source="queries",outcome="late"} 1
# TYPE streamgauge_watermark_seconds gauge
streamgauge_watermark_seconds{source="requests",partition="0"} 120
streamgauge_watermark_seconds{source="requests",partition="1"} 100
streamgauge_watermark_seconds{source="queries",partition="0"} 50
# TYPE streamgauge_request_rate gauge
streamgauge_request_rate{source="requests",route="/api/cart",window="5m"} 2.5
streamgauge_request_rate{source="requests",route="/api/cart",window="1h"} 9.5
# TYPE streamgauge_request_duration_seconds summary
streamgauge_request_duration_seconds{source="requests",route="/api/cart",window="5m",quantile="0.95"} 0.2
"""


def test_metrics_are_read_as_prometheus_writes_them() -> None:
    snapshot = parse_metrics(PAGE)
    assert snapshot.ratio["availability"]["5m"] == 0.995
    assert math.isnan(snapshot.ratio["availability"]["1h"])
    assert snapshot.burn["availability"] == {"5m": 5.0}
    assert snapshot.budget == {"availability": 0.25}
    assert snapshot.outcomes == {"in": 30, "late": 1}
    assert snapshot.time_ms == 100_000
    assert snapshot.rates == {"/api/cart": 2.5}
    assert snapshot.quantiles == {"/api/cart": {"0.95": 0.2}}


def test_an_empty_page_is_a_snapshot_without_figures() -> None:
    snapshot = parse_metrics("")
    assert (snapshot.ratio, snapshot.outcomes) == ({}, {})
    assert math.isnan(snapshot.time_ms)
