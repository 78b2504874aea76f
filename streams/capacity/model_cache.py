"""Forecasts one series after another and keeps their models warm, so that most refreshes are no fits.

This is what a process of the pool runs. It knows no Kafka and no configuration: arrays come in, paths go out.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, replace

from models.arrays import Numbers
from models.calendar.units import HOUR_MS
from models.forecast.forecaster import Forecaster, ForecastError
from streams.capacity.task import ForecastColumn, ForecastMade, ForecastTask, fallback
from streams.plan.resource import SeriesKey

FIT_AGAIN_MS = 6 * HOUR_MS
FIT_AGAIN_STEPS = 6
"""A model is moved on for so long at most. A leak that began after its fit is no trend to it: in a simulation
it saw a pool fill up an hour before it was full, and half a day before when fitted again every six hours. A
thousand series take a minute an hour for it."""

MODELS_MAX = 2_000
"""Models kept warm in a process; beyond, the least recently used one is refitted next time."""


class ModelCache:
    """Models by series. `run` raises ValueError where a column has no value at all."""

    def __init__(self, *, models_max: int = MODELS_MAX) -> None:
        self._models_max = models_max
        self._models: OrderedDict[tuple[SeriesKey, int], _Warm] = OrderedDict()

    def run(self, task: ForecastTask) -> ForecastMade:
        """Forecast a task's columns: by moving a model on where there is a young one, else by a fit."""
        started = time.perf_counter()
        warm = True
        columns = []
        for number, values in enumerate(task.columns):
            place = task.key, number
            model = self._models.get(place)
            if model is None or not model.can_go_on(task):
                warm = False
                model = None
            try:
                model = _Warm.fitted(task, values) if model is None else model.moved_on(task, values)
            except ForecastError as error:
                self._models.pop(place, None)
                columns.append(ForecastColumn.of(fallback(task, values), str(error)))
                continue
            self._models[place] = model
            self._models.move_to_end(place)
            seed = task.seed + number if task.tied else None
            columns.append(ForecastColumn.of(model.forecaster.forecast(), tied_by=seed))
        while len(self._models) > self._models_max:
            self._models.popitem(last=False)
        seconds = time.perf_counter() - started
        return ForecastMade(task.key, task.origin_ms, task.step_ms, tuple(columns), seconds, warm)


@dataclass(frozen=True, slots=True)
class _Warm:
    """A model, where it was fitted and how far it knows its series."""

    forecaster: Forecaster
    step_ms: int
    horizon: int
    time_zone: str | None
    fitted_ms: int
    end_ms: int

    @classmethod
    def fitted(cls, task: ForecastTask, values: Numbers) -> _Warm:
        forecaster = Forecaster(
            step_ms=task.step_ms,
            horizon=task.horizon,
            seed=task.seed,
            budget_s=task.budget_s,
            time_zone=task.time_zone,
        ).fit(values, task.starts)
        end_ms = int(task.starts[-1])
        return cls(forecaster, task.step_ms, task.horizon, task.time_zone, end_ms, end_ms)

    def can_go_on(self, task: ForecastTask) -> bool:
        """Whether the model is young enough, and the task continues what it knows."""
        same = (self.step_ms, self.horizon, self.time_zone) == (task.step_ms, task.horizon, task.time_zone)
        continues = task.starts[0] <= self.end_ms <= task.starts[-1]
        on_grid = (int(task.starts[-1]) - self.end_ms) % task.step_ms == 0
        old = int(task.starts[-1]) - self.fitted_ms >= max(FIT_AGAIN_MS, FIT_AGAIN_STEPS * task.step_ms)
        return bool(same and continues and on_grid and not old and not self.forecaster.due)

    def moved_on(self, task: ForecastTask, values: Numbers) -> _Warm:
        new = task.starts > self.end_ms
        if new.any():
            self.forecaster.update(values[new], task.starts[new])
        return replace(self, end_ms=int(task.starts[-1]))
