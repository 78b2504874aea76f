"""What is asked of a process that forecasts, and what comes back: arrays, small enough to be sent.

Axes: T steps of history, n paths, H steps ahead, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import EpochMs, Numbers
from models.capacity.crossing import tied_paths
from models.forecast.paths import PathForecast
from models.forecast.simple import simple_forecast
from streams.plan.resource import SeriesKey

PATHS = 300
"""Paths that are kept of each series: 300 of 170 steps take 0.2 MB. A probability of 0.8 is then known within
0.05, and the seed is fixed, so that it does not waver from one refresh to the next."""

QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)
"""Those that are published."""


@dataclass(frozen=True, slots=True)
class ForecastTask:
    """A series to forecast.

    columns : Numbers [T] each, forecast one by one
    tied    : whether paths are asked for first crossings, not for sums; see `tied_paths`
    """

    key: SeriesKey
    starts: EpochMs
    columns: tuple[Numbers, ...]
    step_ms: int
    horizon: int
    seed: int
    budget_s: float = 0.5
    time_zone: str | None = None
    tied: bool = False

    @property
    def origin_ms(self) -> int:
        """End of the last known step: where the forecast begins."""
        return int(self.starts[-1]) + self.step_ms


@dataclass(frozen=True, slots=True)
class ForecastColumn:
    """The forecast of one column.

    paths     : float32 [n, H]
    quantiles : Numbers [Q, H] at `QUANTILES`
    refusal   : why the full models gave none, so that the simple one stands in; empty if they did
    """

    paths: NDArray[np.float32]
    quantiles: Numbers
    model: str
    mase: float
    coverage: Mapping[float, float]
    refusal: str = ""

    @classmethod
    def of(cls, made: PathForecast, refusal: str = "", *, tied_by: int | None = None) -> ForecastColumn:
        """What is kept of a forecast. Enormous values are kept within float32.

        tied_by : seed by which paths are tied; None leaves them as they are
        """
        largest = float(np.finfo(np.float32).max)
        paths = np.clip(made.paths(PATHS), -largest, largest)
        if tied_by is not None:
            paths = tied_paths(paths, seed=tied_by)
        return cls(
            paths.astype(np.float32),
            made.quantiles(np.array(QUANTILES)),
            made.model_name,
            float(made.mase),
            dict(made.coverage),
            refusal,
        )


@dataclass(frozen=True, slots=True)
class ForecastMade:
    """Forecasts of a task's columns, from `origin_ms` on."""

    key: SeriesKey
    origin_ms: int
    step_ms: int
    columns: tuple[ForecastColumn, ...]
    seconds: float
    warm: bool = False

    @property
    def refusal(self) -> str:
        """Why the full models gave none, of the first column that says so."""
        return next((column.refusal for column in self.columns if column.refusal), "")


def fallback(task: ForecastTask, values: Numbers) -> PathForecast:
    """The simple forecast of a column. Raises ValueError where it has no value at all."""
    return simple_forecast(values, step_ms=task.step_ms, horizon=task.horizon, seed=task.seed, count=PATHS)
