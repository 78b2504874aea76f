"""What the answers about limits need of a forecast: possible futures as sample paths.

Crossings, quotas, budgets and queues are questions about whole paths (a sum, a first time), which quantiles
of single steps cannot answer. Anything that offers these members will do: the forecaster, the simple
forecast that stands in for it, or your own paths in a `SampledForecast`.

Axes: n paths, H steps ahead, Q quantiles. Step h (from 0) is h + 1 steps after the last observation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from models.arrays import Numbers

PATH_COUNT = 1_000
"""Paths that answers are taken from: a probability of 0.5 is then known within 0.03, 0.05 within 0.014."""


@runtime_checkable
class PathForecast(Protocol):
    """A forecast of one series. Paths and quantiles are the same whenever they are asked for."""

    @property
    def model_name(self) -> str:
        """What made it, for people."""

    @property
    def mase(self) -> float:
        """Mean absolute scaled error over its backtest; NaN where there was too little history for one."""

    @property
    def coverage(self) -> Mapping[float, float]:
        """Share of backtested values inside the intervals, by level ({0.8: 0.79}); may be empty."""

    def paths(self, count: int) -> Numbers:
        """Numbers [n, H], `count` possible futures."""

    def quantiles(self, probabilities: Numbers) -> Numbers:
        """Numbers [Q, H] of each step by itself."""


@dataclass(frozen=True, slots=True)
class SampledForecast:
    """A forecast that is nothing but its paths.

    sampled : Numbers [n, H], finite

    Raises ValueError where they are not.
    """

    sampled: Numbers
    model_name: str
    mase: float = float("nan")
    coverage: Mapping[float, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.sampled.ndim != 2 or 0 in self.sampled.shape:
            raise ValueError(f"paths of shape (count, steps) expected, got {self.sampled.shape}")
        if not np.isfinite(self.sampled).all():
            raise ValueError("paths hold values that are not finite; leave such paths out")

    @property
    def median(self) -> Numbers:
        """Numbers [H]."""
        result: Numbers = self.quantiles(np.array([0.5]))[0]
        return result

    def paths(self, count: int) -> Numbers:
        """Numbers [n, H]; the paths are used again, in order, when more are asked for than there are."""
        return self.sampled[np.arange(count) % len(self.sampled)]

    def quantiles(self, probabilities: Numbers) -> Numbers:
        """Numbers [Q, H]."""
        result: Numbers = np.quantile(self.sampled, probabilities, axis=0)
        return result
