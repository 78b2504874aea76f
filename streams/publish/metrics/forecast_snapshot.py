"""What a worker knows of its limited resources, copied for the writer of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from detectors.capacity.reading import CapacityReading
from models.arrays import Numbers


@dataclass(frozen=True, slots=True)
class PublishedForecast:
    """The newest forecast of one series.

    series    : its name, such as `pool` or `pool/db-1`
    quantiles : Numbers [Q, H] at `levels`, of the steps from now on
    coverage  : by level of the interval
    """

    series: str
    step_ms: int
    levels: tuple[float, ...]
    quantiles: Numbers
    mase: float
    coverage: Mapping[float, float]


@dataclass(frozen=True, slots=True)
class ForecastSnapshot:
    """What a worker knows of its limited resources.

    outcomes : forecasts made so far, by what became of them (`CapacityPlanner.outcomes`)
    seconds  : of computing, all together
    left_out : series beyond the limit of series
    """

    readings: Sequence[CapacityReading] = ()
    forecasts: Sequence[PublishedForecast] = ()
    outcomes: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    left_out: int = 0
