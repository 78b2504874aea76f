"""How good forecasts were on the past: from many origins, each knowing only the values before it.

Errors are scaled as in the M4 competition: by the mean absolute difference between a value and the one a
season before it, within the history of the origin. So a MASE of 1 is as good as seasonal naive was there.

Source: Hyndman and Koehler, Another look at measures of forecast accuracy, Int. J. of Forecasting 22 (2006).

Axes: T steps of history, O origins, H steps ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from models.arrays import Numbers, Rows
from models.calendar.units import DAY_MS
from models.forecast.paths import PathForecast

ForecastAt: TypeAlias = Callable[[int], PathForecast]
"""Number of known steps to the forecast of those after them; it must not look further."""

LEVELS = (0.8, 0.95)


@dataclass(frozen=True, slots=True)
class RollingOrigin:
    """What forecasts from O origins were worth. NaN where the truth is unknown.

    origins      : Rows [O], known steps at each
    errors       : Numbers [O, H], absolute errors of the median
    naive_errors : Numbers [O, H], of seasonal naive
    scales       : Numbers [O], seasonal differences of the histories; NaN where they are all 0
    inside       : Numbers [O, H] by level, 1 where the truth lies within the interval
    models       : O names
    """

    origins: Rows
    errors: Numbers
    naive_errors: Numbers
    scales: Numbers
    inside: Mapping[float, Numbers]
    models: tuple[str, ...]

    @property
    def mase(self) -> float:
        """Mean absolute scaled error; NaN where nothing could be scaled."""
        return _mean(self.errors / self.scales[:, None])

    @property
    def naive_mase(self) -> float:
        """The same of seasonal naive from the same origins."""
        return _mean(self.naive_errors / self.scales[:, None])

    def coverage(self, level: float) -> float:
        """Share of values within their interval."""
        return _mean(self.inside[level])


def season_steps(step_ms: int) -> int:
    """Steps of the season that errors are compared with: a day; a week of days; a year of weeks or months."""
    if step_ms <= DAY_MS // 2:
        return max(round(DAY_MS / step_ms), 1)
    days = step_ms / DAY_MS
    return 7 if days < 2 else 52 if 6 <= days <= 8 else 12 if 28 <= days <= 31 else 1


def place_origins(length: int, *, horizon: int, count: int, least: int) -> Rows:
    """Evenly spread ends of histories, from `least` known steps to where the last horizon fits.

    Raises ValueError where none fits.
    """
    last = length - horizon
    if last < max(least, 1):
        raise ValueError(
            f"the series has {length:,} steps; a backtest needs at least {least:,} to learn from and "
            f"{horizon:,} to forecast, so choose a shorter horizon"
        )
    origins: Rows = np.unique(np.linspace(last, max(least, 1), count).round().astype(np.int64))
    return origins


def backtest(
    values: Numbers,
    forecast_at: ForecastAt,
    *,
    origins: Rows,
    horizon: int,
    season: int,
    seen: Callable[[int, PathForecast], None] = lambda _origin, _made: None,
) -> RollingOrigin:
    """Forecast from each origin and compare with the actual values.

    values : Numbers [T], NaN where missing
    seen   : called with each origin and its forecast, for other questions and for progress
    """
    errors, naive_errors, scales, models = [], [], [], []
    inside: dict[float, list[Numbers]] = {level: [] for level in LEVELS}
    for origin in origins.tolist():
        truth = values[origin : origin + horizon]
        made = forecast_at(origin)
        asked = [0.5] + [edge for level in LEVELS for edge in ((1 - level) / 2, (1 + level) / 2)]
        median, *edges = made.quantiles(np.array(asked))[:, :horizon]
        errors.append(np.abs(median - truth))
        for number, level in enumerate(LEVELS):
            within = (truth >= edges[2 * number]) & (truth <= edges[2 * number + 1])
            inside[level].append(np.where(np.isfinite(truth), within.astype(np.float64), np.nan))
        naive_errors.append(np.abs(seasonal_naive(values[:origin], horizon, season) - truth))
        scales.append(_scale(values[:origin], season))
        models.append(made.model_name)
        seen(origin, made)
    return RollingOrigin(
        origins,
        np.array(errors),
        np.array(naive_errors),
        np.array(scales),
        {level: np.array(found) for level, found in inside.items()},
        tuple(models),
    )


def seasonal_naive(history: Numbers, horizon: int, season: int) -> Numbers:
    """The last season again and again: Numbers [H]; gaps take the value a season earlier, or the median."""
    known = history[np.isfinite(history)]
    if not len(known):
        return np.full(horizon, np.nan)
    if len(history) < season:
        return np.full(horizon, known[-1])
    last = history[-season:].copy()
    earlier = len(history) - season
    while np.isnan(last).any() and earlier >= season:
        earlier -= season
        last = np.where(np.isnan(last), history[earlier : earlier + season], last)
    last = np.where(np.isnan(last), np.median(known), last)
    return last[np.arange(horizon) % season]


def _scale(history: Numbers, season: int) -> float:
    """Mean absolute seasonal difference, of neighbours where the history is too short; NaN if it is 0."""
    lag = season if len(history) > season else 1
    scale = _mean(np.abs(history[lag:] - history[:-lag]))
    return scale if scale > 0 else float("nan")


def _mean(values: Numbers) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
