"""Forecasts of one series with calibrated intervals, from arrays or a DataFrame.

    from models.forecast.forecaster import Forecaster, forecast

    ahead = forecast(values, times, 3_600_000, 48)      # once
    ahead.median, ahead.lower, ahead.upper, ahead.paths(1000)

    model = Forecaster(step_ms=3_600_000, horizon=48).fit(values, times)
    model.update(new_values)                            # cheap: states move on, nothing is fitted again
    model.forecast()

Guarantees: the same values and seed give the same forecast; a series' future is never seen; a forecast
holds no NaN or infinity; what cannot be forecast is refused with a `ForecastError` that says why.
Cost of a month of hours: a fit takes a tenth of a second, an update with a forecast some milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

from models.arrays import EpochMs, Numbers
from models.calendar.units import DAY_MS, HOUR_MS
from models.forecast.fitted import Fitted, fit
from models.forecast.history import MONTH_MS, STEPS_MAX, read_history, wall_clock
from models.forecast.result import GRID, Forecast, ForecastError

__all__ = ["Forecast", "ForecastError", "Forecaster", "forecast", "forecast_table"]

HORIZON_MAX = 20_000
"""Steps ahead; a fortnight of minutes. Longer ones are better asked of a coarser step."""

BUDGET_S = 0.5
"""Seconds that a fit on the longest history takes at most on one core."""

STEPS_MIN = 300
"""History that is kept however small the budget is."""

GRID_WEIGHTS: Numbers = np.diff(np.concatenate([[0.0], (GRID[1:] + GRID[:-1]) / 2, [1.0]]))
"""Share of the distribution that each grid quantile stands for; sums to 1."""


class Forecaster:
    """A model of one series that is fitted now and then and moved on in between."""

    def __init__(
        self,
        *,
        step_ms: int,
        horizon: int,
        seasons: Sequence[int] | None = None,
        non_negative: bool | None = None,
        levels: Sequence[float] = (0.8, 0.95),
        seed: int = 0,
        budget_s: float = 0.5,
        holidays: EpochMs | None = None,
        time_zone: str | None = None,
    ) -> None:
        """Set what is asked; see `forecast`. Raises ForecastError for a horizon or level that cannot be."""
        if not 1 <= horizon <= HORIZON_MAX:
            raise ForecastError(
                f"horizon must be 1 to {HORIZON_MAX} steps, found {horizon}; use a coarser step"
            )
        self.levels = tuple(float(level) for level in levels)
        if not all(0 < level < 1 for level in self.levels):
            raise ForecastError(f"levels must lie between 0 and 1, such as 0.95; found {list(self.levels)}")
        self.step_ms, self.horizon, self.seasons = step_ms, horizon, seasons
        self.non_negative, self.seed, self.budget_s = non_negative, seed, budget_s
        self.holidays, self.time_zone = holidays, time_zone
        self.age = 0
        self._fitted: Fitted | None = None

    def fit(self, values: Numbers, times: EpochMs | None = None) -> Self:
        """Fit and backtest all models on values [T] at UTC times [T]; without times they are evenly spaced.

        Raises ForecastError where nothing can be learned: no value, only one, times that make no grid.
        """
        history = read_history(
            values,
            times,
            self.step_ms,
            seasons=self.seasons,
            time_zone=self.time_zone,
            holidays=self.holidays,
            steps_max=max(STEPS_MIN, int(STEPS_MAX * min(1.0, self.budget_s / BUDGET_S))),
        )
        # A clock change may ask for wall-clock steps beyond the horizon.
        beyond = 0 if self.time_zone is None else -(-2 * HOUR_MS // self.step_ms)
        self._fitted = fit(history, self.horizon + beyond, self.levels)
        if self.non_negative is None:
            self._clip = float(np.nanmin(history.fine)) >= 0
        else:
            self._clip = self.non_negative
        self.age = 0
        return self

    @property
    def due(self) -> bool:
        """Whether a season (or a horizon, without seasons) has passed since the fit: time for the next."""
        return self._fitted is None or self.age >= self._fitted.lifetime

    def update(self, values: Numbers, times: EpochMs | None = None) -> Self:
        """Take in values [N] that came after those of the fit (at times [N], or step by step), without a fit.

        Missing steps are bridged by the forecast; values at or before the newest time are left out. Raises
        ForecastError where more steps passed than models remember: then it is time to fit again.
        """
        fitted = self._ready()
        self.age += fitted.extend(np.asarray(values, dtype=np.float64), times)
        return self

    def forecast(self, horizon: int | None = None) -> Forecast:
        """Return the forecast of the next steps, at most those that the model was made for."""
        fitted = self._ready()
        steps = self.horizon if horizon is None else horizon
        if not 1 <= steps <= self.horizon:
            raise ForecastError(f"this model looks 1 to {self.horizon} steps ahead, asked for {steps}")
        times = fitted.end_ms + self.step_ms * np.arange(1, steps + 1, dtype=np.int64)
        median, sizes = fitted.ahead()
        rows = np.arange(steps)
        if self.time_zone is not None:
            wall = wall_clock(np.append(times, fitted.end_ms), self.time_zone)
            rows = np.clip((wall[:-1] - wall[-1]) // self.step_ms - 1, 0, len(median) - 1)
        middle = median[rows]
        if fitted.holidays is not None:
            middle = middle + fitted.holidays.added(wall_clock(times, self.time_zone))
        grid_values = middle + fitted.scores[:, None] * sizes[rows]
        if self._clip:
            grid_values = np.maximum(grid_values, 0.0)
        return Forecast(
            times=times,
            step_ms=self.step_ms,
            mean=GRID_WEIGHTS @ grid_values,
            median=grid_values[len(GRID) // 2],
            grid_values=grid_values,
            correlation=fitted.correlation[:steps],
            levels=self.levels,
            model=fitted.weights,
            mase=fitted.mase,
            coverage=fitted.coverage,
            seed=self.seed,
        )

    def _ready(self) -> Fitted:
        if self._fitted is None:
            raise ForecastError("nothing was fitted yet; call fit(values, times) first")
        return self._fitted


def forecast(
    values: Numbers,
    times: EpochMs | None,
    step_ms: int,
    horizon: int,
    *,
    seasons: Sequence[int] | None = None,
    non_negative: bool | None = None,
    levels: Sequence[float] = (0.8, 0.95),
    seed: int = 0,
    budget_s: float = 0.5,
    holidays: EpochMs | None = None,
    time_zone: str | None = None,
) -> Forecast:
    """Return the forecast of the next `horizon` steps of one series.

    values : Numbers [T], oldest first; NaN where missing
    times : EpochMs [T] in UTC, in any order, or None where values are evenly spaced
    step_ms : length of a step
    seasons : their lengths in steps; None for those of the calendar (day, week, year) that were seen three
        times, or else the lag at which the series repeats itself
    non_negative : whether values below 0 cannot be; None for what the history says
    levels : central intervals that `lower` and `upper` give
    budget_s : seconds that a fit may take on one core; less than 0.5 cuts old history off in proportion
    holidays : times within the days that are holidays, past and future
    time_zone : whose wall clock people keep who cause the load, such as "Europe/Berlin"

    Raises ForecastError (a ValueError) where there is nothing to forecast from.
    """
    model = Forecaster(
        step_ms=step_ms,
        horizon=horizon,
        seasons=seasons,
        non_negative=non_negative,
        levels=levels,
        seed=seed,
        budget_s=budget_s,
        holidays=holidays,
        time_zone=time_zone,
    )
    return model.fit(values, times).forecast()


def forecast_table(
    table: pd.DataFrame, horizon: int, *, time: str = "ds", value: str = "y", **options: Any
) -> pd.DataFrame:
    """Return a table of `horizon` rows: time, mean, median and, per level, lower and upper ends.

    table : columns `time` (datetimes, taken as UTC where they have no zone) and `value`
    options : those of `forecast`; the step is the most frequent distance of times (months are told apart)

        forecast_table(pd.read_csv("load.csv", parse_dates=["ds"]), 48)
    """
    stamps = pd.to_datetime(table[time], utc=True)
    times = stamps.dt.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
    gaps = np.diff(np.unique(times))
    if not len(gaps):
        raise ForecastError(f"column {time!r} has fewer than two different times; give at least two")
    lengths, counts = np.unique(gaps, return_counts=True)
    step_ms = int(lengths[counts.argmax()])
    months = next((n for n in (1, 3, 12) if abs(step_ms - n * MONTH_MS) < 3 * DAY_MS), 0)
    values = table[value].to_numpy(dtype=np.float64)
    ahead = forecast(values, times, months * MONTH_MS or step_ms, horizon, **options)
    after = pd.to_datetime(ahead.times, unit="ms", utc=True)
    if months:
        after = pd.DatetimeIndex(
            [stamps.max() + pd.DateOffset(months=months * n) for n in range(1, horizon + 1)]
        )
    columns: dict[str, object] = {time: after, "mean": ahead.mean, "median": ahead.median}
    for row, level in enumerate(ahead.levels):
        columns[f"lower_{100 * level:g}"] = ahead.lower[row]
        columns[f"upper_{100 * level:g}"] = ahead.upper[row]
    return pd.DataFrame(columns)
