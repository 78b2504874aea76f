"""What was forecast a few refreshes ago, so that a level that has moved is seen before the models believe it.

For quotas: their sums are asked about within the day, and an alert is worth hours.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from models.arrays import Numbers
from models.level_shift import STEPS_MIN, shift_ratio, shifted_paths
from streams.forecasting.task import QUANTILES, ForecastMade, ForecastTask

STEPS_MAX = 6
"""Forecasts that are older say less of now."""

_MEDIAN = QUANTILES.index(0.5)


@dataclass(frozen=True, slots=True)
class _Said:
    """The beginning of an earlier forecast's paths, and its medians."""

    origin_ms: int
    begin: NDArray[np.float32]
    medians: Numbers


@dataclass(slots=True)
class LevelMemory:
    """Earlier forecasts of one series, a few kilobytes."""

    said: deque[_Said] = field(default_factory=lambda: deque(maxlen=STEPS_MAX + 1))

    def moved(self, task: ForecastTask, made: ForecastMade) -> ForecastMade:
        """The forecast on the level where the series is now; itself where that is no surprise."""
        column = made.columns[0]
        medians = column.quantiles[_MEDIAN]
        ratio = self._ratio(task, made.origin_ms, medians)
        self.said.append(_Said(made.origin_ms, column.paths[:, :STEPS_MAX].copy(), medians))
        if ratio == 1.0:
            return made
        paths = shifted_paths(column.paths.astype(np.float64), ratio, step_ms=task.step_ms, seed=task.seed)
        lifted = replace(
            column,
            paths=paths.astype(np.float32),
            quantiles=np.quantile(paths, QUANTILES, axis=0),
            model=f"{column.model}, level moved by {ratio - 1:+.0%}",
        )
        return replace(made, columns=(lifted, *made.columns[1:]))

    def _ratio(self, task: ForecastTask, origin_ms: int, medians: Numbers) -> float:
        """By the newest forecast that is old enough."""
        for said in reversed(self.said):
            passed = (origin_ms - said.origin_ms) // task.step_ms
            if passed < STEPS_MIN:
                continue
            if passed > STEPS_MAX or passed > len(task.columns[0]):
                return 1.0
            common = min(len(said.medians) - passed, len(medians))
            before = float(said.medians[passed : passed + common].sum())
            adapted = float(medians[:common].sum()) / before if before > 0 else 1.0
            seen = task.columns[0][-passed:]
            return shift_ratio(said.begin[:, :passed].astype(np.float64), seen, adapted=adapted)
        return 1.0
