"""Exponential smoothing of statsmodels (Holt-Winters, damped trend), fitted rarely and filtered cheaply.

Its parameters are found twice: on what was known at the first backtest origin, for the backtest, and on the
whole history, for the forecast. Between fits they are held, and the states follow the values. It is meant for
short histories, such as months or the first days of a series, where regressions have little to learn from; in
long ones its passes (some milliseconds each) are dear, and the grid of `forecast_smoothing` does as well.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from statsmodels.tsa.holtwinters import ExponentialSmoothing

from models.arrays import Numbers, Rows

HISTORY_MAX = 400
"""Steps of the longest history that it is fitted to."""

SEASON_MAX = 200
"""Longer seasons have more states than a history has evidence for."""


@dataclass(frozen=True, slots=True)
class Ets:
    """Held parameters: gains of level, trend and season, and the damping of the trend."""

    season: int
    level: float
    trend: float
    seasonal: float
    damping: float

    def ahead(self, history: Numbers, horizon: int) -> Numbers:
        """Return the forecast [H] after history [T]."""
        recent = history[-HISTORY_MAX:]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            held = model_of(recent, self.season).fit(
                smoothing_level=self.level,
                smoothing_trend=self.trend,
                smoothing_seasonal=self.seasonal if self.season > 1 else None,
                damping_trend=self.damping,
                optimized=False,
            )
            found: Numbers = np.asarray(held.forecast(horizon), dtype=np.float64)
        return found


def model_of(history: Numbers, season: int) -> ExponentialSmoothing:
    """Return the unfitted model of a history."""
    return ExponentialSmoothing(
        history,
        trend="add",
        damped_trend=True,
        seasonal="add" if season > 1 else None,
        seasonal_periods=season if season > 1 else None,
        initialization_method="heuristic",
    )


def find_parameters(history: Numbers, season: int) -> Ets:
    """Return the parameters that fit a history best, one step ahead."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = model_of(history, season).fit(use_brute=False).params

    def kept(name: str, otherwise: float) -> float:
        value = float(found.get(name, otherwise))
        return min(max(value, 0.0), 1.0) if np.isfinite(value) else otherwise

    return Ets(
        season,
        kept("smoothing_level", 0.5),
        kept("smoothing_trend", 0.0),
        kept("smoothing_seasonal", 0.0),
        kept("damping_trend", 0.95),
    )


def fit_ets(history: Numbers, origins: Rows, horizon: int, season: int) -> tuple[Ets, Numbers] | None:
    """Return the model of all history [T] and its forecasts [O, H]; None where T does not suit.

    season : 1 for none
    """
    season = season if season <= SEASON_MAX else 1
    first = int(origins[0])
    if len(history) > HISTORY_MAX or first < max(12, 2 * season + 2):
        return None
    early, now = find_parameters(history[:first], season), find_parameters(history, season)
    backtest = [early.ahead(history[:origin], horizon) for origin in origins[:-1].tolist()]
    return now, np.stack([*backtest, now.ahead(history, horizon)])
