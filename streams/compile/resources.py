"""Resources and alert rules from the configuration."""

from __future__ import annotations

from dataclasses import replace

from detectors.capacity.alerts import DEFAULT_RULE, CapacityRule
from detectors.slo.slo import Slo
from models.calendar.period import CalendarPeriod
from models.calendar.units import DAY_MS
from streams.config.capacity import CapacityEntry
from streams.config.values import milliseconds
from streams.plan.resource import Resource

HOURLY_MS_MAX = 32 * DAY_MS
"""Longer periods of an error budget are forecast by days: hours to the end of a quarter take too long."""


def resource_of(entry: CapacityEntry, slo: Slo | None = None) -> Resource:
    """The resource of an entry.

    slo : that of an error budget. One that is counted by the calendar has a budget for each period, which is
          forecast to its end: by days where that is more than `HOURLY_MS_MAX` away.

    Raises ValueError for an error budget without its SLO.
    """
    period = None if entry.period is None else CalendarPeriod(entry.period, entry.time_zone)
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
    far = slo.calendar is not None and slo.calendar.longest_ms > HOURLY_MS_MAX
    return replace(
        resource,
        kind="error_budget",
        by=slo.group_by,
        target=slo.target,
        period=slo.calendar,
        window_ms=slo.window_ms if slo.calendar is None else None,
        step_ms=max(resource.step_ms, DAY_MS) if far else resource.step_ms,
    )


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
