"""The plan that a configuration compiles to: which rollups each source feeds, and what each of them counts.

Configuration and SLO files are compiled to these values once; aggregate, window, judge and publish read
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from detectors.slo.slo import Slo
from models.calendar.units import DAY_MS, MINUTE_MS
from models.logs.reviews import Review
from streams.events.batch import Layout
from streams.plan.resource import CapacityPlan
from streams.plan.rollup import Derived, Rollup

BUCKET_MS = 10_000
"""Width of an event-time bucket, the finest resolution kept."""

WINDOW_MS_MAX = 366 * DAY_MS
"""The longest rolling window; its slots of an hour take 70 kB a series of two counters."""

SIGNALS = ("total", "errors")
"""Measures that a monitor's signals are made of."""

NEVER = -(1 << 62)
"""Event time before any event."""


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One source: where its records are, how they decode, and the rollups they feed.

    lateness_ms : how long after a partition's newest event time an older event still counts
    future_ms   : how far an event's time may lie ahead of its record's own timestamp
    idle_ms     : a partition that is read to its end and silent this long holds nothing back
    series_count_max : series a bucket of a partition may hold per rollup before the rest folds
                       into `__other__`
    exemplar    : string column that holds trace ids; None where the events carry none
    derived     : columns to make from others before the rollups count, in this order
    """

    name: str
    topic: str
    format: str
    layout: Layout
    rollups: tuple[Rollup, ...]
    lateness_ms: int = MINUTE_MS
    future_ms: int = 300_000
    idle_ms: int = 30_000
    series_count_max: int = 100_000
    exemplar: str | None = None
    derived: tuple[Derived, ...] = ()


@dataclass(frozen=True, slots=True)
class MonitorPlan:
    """A detector that judges the series of one rollup, separately in each partition of the partials.

    name     : unique over the whole plan; `traffic:checkout`
    detector : its name in the registry of detectors
    settings : its constructor's arguments
    step_ms  : length of a step of its panels, a multiple of the bucket
    features : `signals` (rate, error ratio, quantiles, distinct values) or the `measures` as they are
    kept_ms  : how long a series that has gone silent is still judged; 0 judges only those seen in the step
    service  : label column whose value names the service, or None
    alertname : what its alerts are called
    model    : name of the trained model that it uses, if there is one
    reviews  : decisions about log templates; not part of `settings`, so that learnt state is kept when a
               decision changes
    """

    name: str
    source: str
    rollup: str
    detector: str
    alertname: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    step_ms: int = MINUTE_MS
    features: Literal["signals", "measures"] = "signals"
    kept_ms: int = 0
    service: str | None = None
    model: str = ""
    reviews: tuple[Review, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the flow needs to know, for all sources.

    Raises ValueError where an SLO, a monitor or a resource refers to what no rollup of its source counts.
    """

    app: str
    sources: Mapping[str, SourcePlan] = field(default_factory=dict)
    slos: tuple[Slo, ...] = ()
    monitors: tuple[MonitorPlan, ...] = ()
    capacity: tuple[CapacityPlan, ...] = ()

    def __post_init__(self) -> None:
        for slo in self.slos:
            self._expect(slo.source, slo.rollup, ("good", "total"))
        for monitor in self.monitors:
            self._expect(monitor.source, monitor.rollup, SIGNALS if monitor.features == "signals" else ())
        for resource in self.capacity:
            self._expect(resource.source, resource.rollup, resource.measures)

    def _expect(self, source: str, name: str, measures: Sequence[str]) -> None:
        if source not in self.sources:
            return  # a replay may choose some of the sources
        rollups = {rollup.name: rollup for rollup in self.sources[source].rollups}
        if name not in rollups:
            raise ValueError(f"source {source} has no rollup {name!r}; it has {', '.join(rollups) or 'none'}")
        for measure in measures:
            rollups[name].measure_index(measure)
