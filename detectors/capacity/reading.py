"""What is known of one limited resource at an instant, as its alerts read it.

A reading is made wherever the forecast is (the worker's planner, a replay, a notebook). NaN stands for
what is not known: a resource without a forecast yet still warns of the share that is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

Kind: TypeAlias = Literal["gauge", "quota", "lag", "error_budget"]

KINDS: tuple[Kind, ...] = get_args(Kind)

EXHAUSTION_QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True, slots=True)
class CapacityReading:
    """One resource, or one series of a resource that has several, at an instant.

    resource           : its name in the configuration
    labels             : what tells its series apart; empty where there is one
    used_ratio         : share of the limit or quota that is used; NaN if unknown or meaningless (a lag)
    forecast_ratio     : share that will be used at the period's end, in the median; NaN for other kinds
    probability        : of reaching the limit within the horizon, or the quota within the period
    expected_seconds   : time until then, if it happens; +Inf where it does not
    range_seconds      : its 5 and 95 % quantiles, if it happens
    exhaustion_seconds : by quantile, the time by which it has happened; +Inf where that is beyond the horizon
    horizon_ms         : how far the forecast looks
    period             : (start, end) in ms of the quota's present period; None for other kinds
    model, mase, coverage : what made the forecast, and how good it was on the past
    evidence           : what else the caller knows: last value, limit, source; JSON-able
    """

    resource: str
    kind: Kind
    labels: Mapping[str, str] = field(default_factory=dict)
    used_ratio: float = math.nan
    forecast_ratio: float = math.nan
    probability: float = math.nan
    expected_seconds: float = math.inf
    range_seconds: tuple[float, float] = (math.inf, math.inf)
    exhaustion_seconds: Mapping[float, float] = field(default_factory=dict)
    horizon_ms: int = 0
    period: tuple[int, int] | None = None
    model: str = ""
    mase: float = math.nan
    coverage: Mapping[float, float] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Tells readings of one step apart."""
        return self.resource, tuple(sorted(self.labels.items()))


def finite(value: float) -> float | None:
    """The number, or None where JSON has none for it."""
    return float(value) if math.isfinite(value) else None
