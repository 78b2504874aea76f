"""Resources and alert rules from the configuration."""

from __future__ import annotations

from dataclasses import replace

from detectors.capacity.alerts import DEFAULT_RULE, CapacityRule
from detectors.slo.slo import Slo
from models.capacity.quota import QuotaPeriod
from streams.config.capacity import CapacityEntry
from streams.config.values import milliseconds
from streams.plan.resource import Resource


def resource_of(entry: CapacityEntry, slo: Slo | None = None) -> Resource:
    """The resource of an entry.

    slo : that of an error budget. One that is counted by the calendar has a budget for each period; only
          days, weeks and months are periods here, others are forecast as a rolling window of their length.

    Raises ValueError for an error budget without its SLO.
    """
    period = None if entry.period is None else QuotaPeriod(entry.period, entry.time_zone)
    resource = Resource(
        entry.resource,
        "gauge" if entry.kind == "error_budget" else entry.kind,
        entry.by,
        entry.limit if isinstance(entry.limit, float) else None,
        above=entry.direction == "above",
        period=period,
        horizon_ms=milliseconds(entry.horizon),
        step_ms=milliseconds(entry.step),
        refresh_ms=milliseconds(entry.refresh),
        caught_up=entry.caught_up,
    )
    if entry.kind != "error_budget":
        return resource
    if slo is None:
        raise ValueError(f"{entry.resource}: no SLO is called {entry.slo!r}")
    calendar = slo.calendar
    if calendar is not None and calendar.count == 1 and calendar.unit in ("day", "week", "month"):
        unit = calendar.unit
        budget_period = QuotaPeriod(unit, calendar.time_zone)
        return replace(
            resource, kind="error_budget", by=slo.group_by, target=slo.target, period=budget_period
        )
    return replace(resource, kind="error_budget", by=slo.group_by, target=slo.target, window_ms=slo.window_ms)


def rule_of(entry: CapacityEntry) -> CapacityRule:
    """When the alerts of an entry begin and end: the distances of the default rule below its bounds."""
    return replace(
        DEFAULT_RULE,
        warn=entry.warn,
        warn_clear=entry.warn * DEFAULT_RULE.warn_clear / DEFAULT_RULE.warn,
        probability=entry.probability,
        probability_clear=entry.probability * DEFAULT_RULE.probability_clear / DEFAULT_RULE.probability,
        severity=entry.severity,
    )
