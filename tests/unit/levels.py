"""A small detector with a state of every sort, for tests of what surrounds detectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from detectors.api.detector import PAGE, TICKET, Panel, State, Verdicts
from detectors.api.stateful import Stateful

NAME = "tests.unit.levels:Levels"


class Levels(Stateful):
    """Flags steps whose first feature is `times` the mean of all before, and pages for `page` times."""

    name = "levels"

    def __init__(
        self, times: float = 3.0, page: float = 10.0, false_alarms_per_series_per_week: float = 1.0
    ) -> None:
        self._times = times
        self._page = page
        self.sums: dict[tuple[str, ...], np.ndarray] = {}

    def fit(self, panel: Panel) -> Self:
        self.sums = {}
        self.update(panel)
        return self

    def score(self, panel: Panel) -> Verdicts:
        copy = type(self)(self._times, self._page)
        copy.restore(self.state())
        return copy.update(panel)

    def update(self, panel: Panel) -> Verdicts:
        verdicts = Verdicts.empty(len(panel), len(panel.series), len(panel.features))
        for column, series in enumerate(panel.series):
            for step in range(len(panel)):
                seen = panel.values[step, column, 0]
                count, total = self.sums.get(series, np.zeros(2))
                if np.isnan(seen):
                    continue
                if seen < 0:
                    raise ArithmeticError("a negative level")
                verdicts.tail[step, column] = 1.0
                if count:
                    mean = total / count
                    verdicts.expected[step, column, 0] = mean
                    odd = seen > self._times * mean
                    verdicts.alarm[step, column] = odd
                    if odd:
                        verdicts.tail[step, column] = 1e-6
                        verdicts.severity[step, column] = PAGE if seen > self._page * mean else TICKET
                        verdicts.direction[step, column] = 1
                        verdicts.kind[step, column] = "spike"
                        verdicts.contributions[step, column, 0] = 1.0
                        continue
                self.sums[series] = np.array([count + 1, total + seen])
        return verdicts

    def _learnt(self) -> Mapping[str, Any]:
        return {"series": [list(name) for name in self.sums], "sums": np.array(list(self.sums.values()))}

    def _load(self, state: State) -> None:
        self.sums = {
            tuple(name): row.copy() for name, row in zip(state["series"], state["sums"], strict=True)
        }

    def adopt(self, state: State) -> None:
        other = type(self)()
        other.restore(state)
        self.sums = {**other.sums, **self.sums}
