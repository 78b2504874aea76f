"""One way to the plan of a monitor. What distinguishes the detectors that ship is a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from models.calendar.units import DAY_MS, MINUTE_MS, WEEK_MS
from models.logs.reviews import Review
from streams.plan.plan import BUCKET_MS, MonitorPlan


@dataclass(frozen=True, slots=True)
class Judging:
    """How monitors of one detector judge.

    alertname : what their alerts are called
    features  : as in `MonitorPlan`
    step_ms, kept_ms : as in `MonitorPlan`, where an entry has no `step` and `keep` of its own
    """

    alertname: str
    features: Literal["signals", "measures"] = "signals"
    step_ms: int = MINUTE_MS
    kept_ms: int = DAY_MS


SHIPPED: Mapping[str, Judging] = MappingProxyType(
    {
        "traffic": Judging("TrafficAnomaly"),
        "multivariate": Judging("SignalAnomaly"),
        # at each bucket's end, so that no entity waits for a minute's end; an anomaly lasts through pauses no
        # longer than `kept_ms`, so that a slow attack is one
        "security": Judging("SecurityAnomaly", "measures", BUCKET_MS, 2 * MINUTE_MS),
        "sigma": Judging("SigmaRule", "measures", BUCKET_MS, 2 * MINUTE_MS),
        # a template that is silent is still awaited for a week
        "logs": Judging("LogAnomaly", "measures", MINUTE_MS, WEEK_MS),
    }
)

OTHERS = Judging("CustomAnomaly")
"""Detectors that do not ship judge the series of a source as traffic does."""


def monitor_plan(
    detector: str,
    name: str,
    source: str,
    rollup: str,
    settings: Mapping[str, Any],
    *,
    step_ms: int | None = None,
    kept_ms: int | None = None,
    service: str | None = None,
    model: str = "",
    reviews: tuple[Review, ...] = (),
) -> MonitorPlan:
    """The plan of one monitor: arguments are fields of `MonitorPlan`, None where those of `SHIPPED` hold."""
    judging = SHIPPED.get(detector, OTHERS)
    return MonitorPlan(
        name=name,
        source=source,
        rollup=rollup,
        detector=detector,
        alertname=judging.alertname,
        settings=settings,
        step_ms=judging.step_ms if step_ms is None else step_ms,
        features=judging.features,
        kept_ms=judging.kept_ms if kept_ms is None else kept_ms,
        service=service,
        model=model,
        reviews=reviews,
    )
