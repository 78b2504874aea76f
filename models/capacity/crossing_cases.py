"""What forecasts said of limits, and what happened: the cases that a reliability diagram counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from models.arrays import Numbers
from models.capacity.crossing import first_crossing, tied_paths
from models.forecast.paths import PATH_COUNT, PathForecast
from models.forecast.reliability import climatology


@dataclass(frozen=True, slots=True)
class CrossingCase:
    """What was forecast about a limit at one origin, and what happened."""

    origin: int
    limit: float
    probability: float
    climatology: float
    happened: bool


def crossing_cases(
    values: Numbers,
    made: PathForecast,
    *,
    origin: int,
    horizon: int,
    limits: Sequence[float],
    above: bool = True,
) -> Iterator[CrossingCase]:
    """What the forecast says of each limit, and whether it came so; one that is reached already is no case.

    A horizon of which a tenth or more is unknown, without a crossing in the rest, is no case either.
    """
    truth = values[origin : origin + horizon]
    known = values[:origin][np.isfinite(values[:origin])]
    if not len(known):
        return
    paths = tied_paths(made.paths(PATH_COUNT)[:, :horizon])
    for limit in limits:
        if known[-1] >= limit if above else known[-1] <= limit:
            continue
        happened = bool((truth >= limit).any() if above else (truth <= limit).any())
        if not happened and np.isnan(truth).mean() >= 0.1:
            continue
        said = first_crossing(paths, limit, step_ms=1, above=above).probability
        usual = climatology(values[:origin], limit, horizon, above=above)
        yield CrossingCase(origin, float(limit), said, usual, happened)
