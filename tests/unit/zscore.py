"""A small real detector for tests of everything around detectors: distance from what was learnt."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Self

import numpy as np
from scipy.stats import norm

from detectors.api.detector import PAGE, Panel, State, Verdicts

NAME = "tests.unit.zscore:ZScore"


class ZScore:
    """Mean and spread of each series; the tail is that of the normal distribution."""

    name = "zscore"

    def __init__(
        self,
        *,
        false_alarms_per_series_per_week: float = 0.1,
        threshold: float = 1e-6,
        deaf: bool = False,
        fail: str = "",
    ) -> None:
        if threshold <= 0:
            raise ValueError(f"threshold must be above 0, not {threshold}")
        self.threshold = threshold
        self.deaf = deaf
        self.fail = fail
        self.moments: dict[str, tuple[float, float]] = {}

    def fit(self, panel: Panel) -> Self:
        if self.fail == "crash":
            os._exit(3)
        if self.fail:
            raise ValueError(self.fail)
        seen = np.isfinite(panel.values[:, :, 0])
        values = np.where(seen, panel.values[:, :, 0], 0.0)
        count = np.maximum(seen.sum(axis=0), 1)
        mean = values.sum(axis=0) / count
        spread = np.sqrt((np.where(seen, values - mean, 0.0) ** 2).sum(axis=0) / count)
        self.moments = {
            "/".join(name): (float(m), float(max(s, 1e-9)))
            for name, m, s in zip(panel.series, mean, spread, strict=True)
        }
        return self

    def score(self, panel: Panel) -> Verdicts:
        verdicts = Verdicts.empty(len(panel), len(panel.series), len(panel.features))
        learnt = np.array([self.moments.get("/".join(name), (np.nan, 1.0)) for name in panel.series])
        learnt = learnt.reshape(-1, 2)
        distance = (panel.values[:, :, 0] - learnt[:, 0]) / learnt[:, 1]
        tail = 2 * norm.sf(np.abs(distance))
        alarm = (tail < self.threshold) & (not self.deaf)
        return replace(
            verdicts,
            tail=tail,
            alarm=alarm,
            severity=np.where(alarm, np.int8(PAGE), np.int8(0)),
            kind=np.where(alarm, "spike", "").astype(object),
        )

    def update(self, panel: Panel) -> Verdicts:
        return self.score(panel)

    def state(self) -> State:
        return {
            "names": list(self.moments),
            "moments": np.array(list(self.moments.values()), np.float64).reshape(-1, 2),
        }

    def restore(self, state: State) -> None:
        names, moments = state.get("names"), state.get("moments")
        if not isinstance(names, list) or np.shape(moments) != (len(names), 2):
            raise ValueError("no state of a ZScore")
        self.moments = dict(zip(names, map(tuple, moments.tolist()), strict=True))
