"""What an SLO is, once its file has been read: a target over a window, and when to alert on it.

These values say nothing of where the counts come from. `bad / total` is always the error ratio, with
`total - good` bad events; a Timeslices SLO counts slices instead of events, and a RatioTimeslices SLO
counts each slice as a million parts, of which its ratio is good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from models.calendar.period import CalendarPeriod
from models.calendar.units import MINUTE_MS

Budgeting: TypeAlias = Literal["Occurrences", "Timeslices", "RatioTimeslices"]


@dataclass(frozen=True, slots=True)
class Tier:
    """One pair of windows of a multi-window multi-burn-rate alert (SRE Workbook, chapter 5).

    factor   : burn rate that both windows must exceed
    severity : `page` or `ticket`, or any label value
    """

    severity: str
    long_ms: int
    short_ms: int
    factor: float


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A planned interval whose events are left out of the budget; it may lie in the past."""

    start_ms: int
    end_ms: int
    services: tuple[str, ...] = ()
    """Services it holds for; empty means all."""


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective.

    name      : unique with `objective`; the value of the label `slo`
    target    : share of good events (or slices) wanted, 0 < target < 1
    rollup    : name of the rollup whose first two measures are `good` and `total`
    window_ms : rolling window of the budget; for a calendar period its nominal length
    group_by  : label columns; each combination has a budget of its own
    confidence: a tier fires only when the burn exceeds its factor with this confidence; 0 turns the
                guard off
    """

    name: str
    service: str
    target: float
    source: str
    rollup: str
    window_ms: int
    objective: str = ""
    calendar: CalendarPeriod | None = None
    budgeting: Budgeting = "Occurrences"
    slice_ms: int = MINUTE_MS
    slice_target: float = 0.0
    tiers: tuple[Tier, ...] = ()
    confidence: float = 0.95
    group_by: tuple[str, ...] = ()
    display_name: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    maintenance: tuple[Maintenance, ...] = ()
