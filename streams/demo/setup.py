"""What the demo's worker is told: a configuration and three SLOs, written into the demo's folder.

They are files like a user's own, and stay readable: `streamgauge demo --keep FOLDER` leaves them there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from streams.demo.traffic import TOPICS

__all__ = ["APP", "PARTITIONS", "write_setup"]

APP = "demo"

PARTITIONS = 4
"""Partitions of each topic: enough to show several, few enough for one worker to start at once."""

_SLOS = (
    ("availability", "99.9 % of requests are answered", "shop-api", "requests", "status < 500", 0.999),
    ("latency", "95 % of requests take less than 500 ms", "shop-api", "requests", "duration < 0.5", 0.95),
    ("queries", "99 % of queries take less than 1 s", "shop-db", "queries", "duration < 1", 0.99),
)


def write_setup(folder: Path, *, bootstrap: str, port: int, span_ms: int) -> Path:
    """Write `streamgauge.yaml` and `slos.yaml` to `folder`; return the configuration's path.

    port    : of the worker's pages, on loopback
    span_ms : event time that the demo covers; it begins that long ago
    """
    (folder / "slos.yaml").write_text(yaml.safe_dump_all([_slo(*one) for one in _SLOS], sort_keys=False))
    path = folder / "streamgauge.yaml"
    path.write_text(yaml.safe_dump(_configuration(bootstrap, port, span_ms), sort_keys=False))
    return path


def _configuration(bootstrap: str, port: int, span_ms: int) -> dict[str, Any]:
    assert TOPICS == ("requests", "queries", "llm_calls")
    return {
        "app": APP,
        "broker": {
            "bootstrap": [bootstrap],
            # The embedded broker lets a member wait half of this before it joins.
            "session_timeout": "6s",
            "heartbeat_interval": "1s",
            "partitions": PARTITIONS,
            "idempotence": False,
        },
        "sources": {
            "requests": _source(
                "requests",
                where='route != "/health"',
                series=["route"],
                error="status >= 500",
                distinct=["client"],
            ),
            "queries": _source("queries", series=["operation", "table"]),
            "llm_calls": _source("llm_calls", series=["provider", "model"], error="status >= 400"),
        },
        "slos": ["slos.yaml"],
        "alerting": {
            # Event time begins in the past and catches up with the clock when the demo ends.
            "missing_after": f"{span_ms // 1_000 + 3_600}s",
            # The slower pairs of windows look at 6 hours to 3 days, longer than the demo's story.
            "tiers": [{"severity": "page", "long": "1h", "short": "5m", "factor": 14.4}],
        },
        "web": {"host": "127.0.0.1", "port": port},
    }


def _source(topic: str, **more: Any) -> dict[str, Any]:
    return {
        "topic": topic,
        "format": "json",
        "time": "ts",
        "fields": {"duration": {"path": "duration_ms", "unit": "ms"}},
        "duration": "duration",
        "windows": ["5m", "1h"],
        "lateness": "10s",
        "trace_id": "trace_id",
        **more,
    }


def _slo(name: str, text: str, service: str, source: str, good: str, target: float) -> dict[str, Any]:
    def metric(**spec: str) -> dict[str, Any]:
        return {"metricSource": {"type": "streamgauge", "spec": {"source": source, **spec}}}

    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": {"name": name, "displayName": text},
        "spec": {
            "description": text,
            "service": service,
            "indicator": {
                "metadata": {"name": name},
                "spec": {"ratioMetric": {"good": metric(where=good), "total": metric()}},
            },
            "timeWindow": [{"duration": "30d", "isRolling": True}],
            "budgetingMethod": "Occurrences",
            "objectives": [{"displayName": text, "target": target}],
        },
    }
