"""The full forecast of a series, or the simple one where that is refused, and which of them it was."""

from __future__ import annotations

from dataclasses import dataclass

from models.arrays import EpochMs, Numbers
from models.forecast.forecaster import ForecastError, forecast
from models.forecast.paths import PathForecast
from models.forecast.simple import simple_forecast

BUDGET_S = 2.0
"""Seconds that the choice of a model may take at most: what a person waits for."""


@dataclass(frozen=True, slots=True)
class MadeForecast:
    """A forecast and how it came about.

    refusal : why the full models gave none, so that the simple one stands in; empty if they did
    """

    forecast: PathForecast
    refusal: str = ""


def make_forecast(
    values: Numbers,
    times: EpochMs,
    step_ms: int,
    horizon: int,
    *,
    seed: int = 0,
    budget_s: float = BUDGET_S,
    time_zone: str | None = None,
) -> MadeForecast:
    """Forecast with the full models; with the simple one where they refuse, as for two values.

    Arguments as `models.forecast.forecaster.forecast`.

    Raises ValueError where no forecast is possible: the series has no value at all.
    """
    try:
        return MadeForecast(
            forecast(values, times, step_ms, horizon, seed=seed, budget_s=budget_s, time_zone=time_zone)
        )
    except ForecastError as error:
        return MadeForecast(simple_forecast(values, step_ms=step_ms, horizon=horizon, seed=seed), str(error))
