"""What was forecast a few refreshes ago, so that a level that has moved is seen before the models believe it.

A quota's load may have doubled, a gauge may leak; both are worth an alert hours before the models are sure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from models.arrays import Numbers
from models.forecast.level_shift import (
    STEPS_MIN,
    drift_rate,
    drifting_paths,
    shift_ratio,
    shifted_paths,
    slope,
)
from streams.capacity.task import QUANTILES, ForecastMade, ForecastTask

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

    def moved(self, task: ForecastTask, made: ForecastMade, *, drifts: bool = False) -> ForecastMade:
        """The forecast on the level where the series is now; itself where that is no surprise.

        drifts : a level (of a gauge) may go on drifting; else an amount (of a quota) may have moved
        """
        column = made.columns[0]
        medians = column.quantiles[_MEDIAN]
        paths = column.paths.astype(np.float64)
        lifted, words = (self._drifting if drifts else self._shifted)(task, made.origin_ms, paths, medians)
        self.said.append(_Said(made.origin_ms, column.paths[:, :STEPS_MAX].copy(), medians))
        if lifted is paths:
            return made
        changed = replace(
            column,
            paths=lifted.astype(np.float32),
            quantiles=np.quantile(lifted, QUANTILES, axis=0),
            model=f"{column.model}, {words}",
        )
        return replace(made, columns=(changed, *made.columns[1:]))

    def _shifted(
        self, task: ForecastTask, origin_ms: int, paths: Numbers, medians: Numbers
    ) -> tuple[Numbers, str]:
        """Amounts by the newest forecast that is old enough: a load that doubled is seen soonest so."""
        said, passed = self._said(task, origin_ms, reversed(self.said))
        if said is None:
            return paths, ""
        common = min(len(said.medians) - passed, len(medians))
        before = float(said.medians[passed : passed + common].sum())
        adapted = float(medians[:common].sum()) / before if before > 0 else 1.0
        begin = said.begin[:, :passed].astype(np.float64)
        ratio = shift_ratio(begin, task.columns[0][-passed:], adapted=adapted)
        moved = shifted_paths(paths, ratio, step_ms=task.step_ms, seed=task.seed)
        return moved, f"level moved by {ratio - 1:+.0%}"

    def _drifting(
        self, task: ForecastTask, origin_ms: int, paths: Numbers, medians: Numbers
    ) -> tuple[Numbers, str]:
        """Levels by the oldest forecast there is: a slope needs steps."""
        said, passed = self._said(task, origin_ms, iter(self.said))
        if said is None:
            return paths, ""
        common = min(len(said.medians) - passed, len(medians), STEPS_MAX)
        change = medians[:common] - said.medians[passed : passed + common]
        adapted = slope(change, np.arange(common)) if common > 1 else 0.0
        begin = said.begin[:, :passed].astype(np.float64)
        rate = drift_rate(begin, task.columns[0][-passed:], adapted=adapted)
        return drifting_paths(
            paths, rate, step_ms=task.step_ms, seed=task.seed
        ), f"drifting by {rate:+.3g} a step"

    def _said(self, task: ForecastTask, origin_ms: int, order: Iterator[_Said]) -> tuple[_Said | None, int]:
        """The first forecast in this order that is neither too new nor too old, and the steps since."""
        for said in order:
            passed = (origin_ms - said.origin_ms) // task.step_ms
            if STEPS_MIN <= passed <= min(STEPS_MAX, len(task.columns[0])):
                return said, passed
        return None, 0
