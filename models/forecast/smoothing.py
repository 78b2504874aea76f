"""Exponential smoothing with up to two seasons, for many parameters at once in one pass through time.

The model is the additive double-seasonal smoothing with a damped trend and autocorrelated errors of Taylor
(Short-term electricity demand forecasting using double seasonal exponential smoothing, 2003). Instead of
searching for parameters, a fixed grid of them runs side by side (one column each), and the forecasts are
averaged with weights by the errors of the backtest. A filter knows only the past, so one pass yields the
forecasts of every backtest origin, and a new value costs one step.

Axes: T steps, G columns of the grid, O origins, H horizon.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.arrays import Numbers, Rows
from models.forecast.combine import honest_weights

SHARPNESS = 100.0
"""A column whose backtest error is 1 % above the best has 1/e of its weight."""

KEPT_SHARE = 0.01
"""Columns with less than this share of the largest weight are dropped from the running filter."""

MEMORIES = (0.0, 0.6, 0.9, 0.97)
"""How much of an error is left a step later."""

GAINS_MAX = 1.45
"""Columns that take more than this of a surprise in all answer noise with growing swings."""

START_SEASONS = 4
"""So many seasons of history, all before the first backtest origin, give the first states."""


@dataclass(slots=True)
class Grid:
    """Parameters of the columns, each [G]: gains of level, trend (a share), seasons; damping; memory."""

    level: Numbers
    trend: Numbers
    damping: Numbers
    memory: Numbers
    seasons: list[Numbers] = field(default_factory=list)
    seasonal: list[Numbers] = field(default_factory=list)
    """1 where the column has this season at all."""

    def select(self, columns: Rows) -> Grid:
        """Return the grid of some columns."""
        return Grid(
            self.level[columns],
            self.trend[columns],
            self.damping[columns],
            self.memory[columns],
            [gains[columns] for gains in self.seasons],
            [there[columns] for there in self.seasonal],
        )


def _product(**axes: tuple[float, ...]) -> dict[str, Numbers]:
    mesh = np.meshgrid(*[np.asarray(axis, dtype=np.float64) for axis in axes.values()], indexing="ij")
    return {name: values.ravel() for name, values in zip(axes, mesh, strict=True)}


def make_grid(season_count: int) -> Grid:
    """Return the grid for series with no, one or two seasons."""
    families = [
        _product(level=(0.1, 0.3, 0.6, 0.9, 1.1), trend=(0.0, 0.05, 0.2), damping=(0.9, 0.98), memory=(0.0,))
    ]
    if season_count:
        families = [
            _product(
                level=(0.001, 0.02, 0.1, 0.4, 0.9), trend=(0.0,), damping=(0.0,), memory=MEMORIES,
                first=(0.001, 0.1, 0.3, 0.7),
            ),
            _product(
                level=(0.02, 0.1), trend=(0.01, 0.1), damping=(0.98, 0.998), memory=(0.0, 0.9),
                first=(0.05, 0.3),
            ),
            _product(
                level=(0.4, 0.9), trend=(0.1, 0.3), damping=(0.9,), memory=(0.0,), first=(0.001, 0.1)
            ),
        ]  # fmt: skip
    if season_count > 1:
        families.append(
            _product(
                level=(0.001, 0.02, 0.1, 0.4, 0.9), trend=(0.0,), damping=(0.0,), memory=MEMORIES,
                first=(0.001, 0.05, 0.2), second=(0.001, 0.05, 0.15, 0.3),
            )
        )  # fmt: skip

    def column(name: str) -> Numbers:
        return np.concatenate([f.get(name, np.zeros(len(f["level"]))) for f in families])

    names = ("first", "second")[:season_count]
    grid = Grid(
        column("level"),
        column("trend"),
        column("damping"),
        column("memory"),
        [column(name) for name in names],
        [np.concatenate([np.full(len(f["level"]), float(name in f)) for f in families]) for name in names],
    )
    gains: Numbers = grid.level * (1 + grid.memory)
    for season in grid.seasons:
        gains = gains + season
    return grid.select(np.flatnonzero(gains <= GAINS_MAX))


class Smoothing:
    """The running filters of a grid, and the weights [G] of their average."""

    def __init__(self, seasons: tuple[int, ...], grid: Grid, early: Numbers) -> None:
        """Start all columns at what an early history [T] shows of level and seasons."""
        count = len(grid.level)
        self.seasons = seasons
        self.grid = grid
        self.step = 0
        start, profiles, self.passes = first_states(early, seasons)
        self.level: Numbers = np.full(count, start)
        self.slope: Numbers = np.zeros(count)
        self.error: Numbers = np.zeros(count)
        self.profiles: list[Numbers] = [
            profile[:, None] * there for profile, there in zip(profiles, grid.seasonal, strict=True)
        ]
        self.weights: Numbers = np.full(count, 1 / count)

    def advance(self, values: Numbers) -> None:
        """Take in values [T], oldest first."""
        grid = self.grid
        damping, memory, level_gain, trend_gain = (
            grid.damping,
            grid.memory,
            grid.level,
            grid.level * grid.trend,
        )
        level, slope, error, step = self.level, self.slope, self.error, self.step
        season_gain: list[Numbers] = []
        passes = [-1] * len(self.seasons)
        season_gain = [np.zeros_like(level)] * len(self.seasons)
        for value in values.tolist():
            slope = slope * damping
            level = level + slope
            base = level
            for which, season in enumerate(self.seasons):
                base = base + self.profiles[which][step % season]
                if step // season != passes[which]:
                    # The first passes average, so that a profile is learned from little.
                    passes[which] = step // season
                    counted = passes[which] + self.passes[which] + 1
                    gain = np.maximum(grid.seasons[which], 0.7 / counted)
                    season_gain[which] = gain * grid.seasonal[which]
            rest = value - base
            surprise = rest - memory * error
            level = level + level_gain * surprise
            slope = slope + trend_gain * surprise
            for which, season in enumerate(self.seasons):
                self.profiles[which][step % season] += season_gain[which] * surprise
            error = rest
            step += 1
        self.level, self.slope, self.error, self.step = level, slope, error, step

    def columns_ahead(self, horizon: int) -> Numbers:
        """Return the forecasts [H, G] of all columns."""
        ahead = np.arange(1, horizon + 1)
        grid = self.grid
        found = self.level + grid.memory ** ahead[:, None] * self.error
        found += np.cumsum(grid.damping ** ahead[:, None], axis=0) * self.slope
        for profile, season in zip(self.profiles, self.seasons, strict=True):
            found += profile[(self.step + ahead - 1) % season]
        return found

    def ahead(self, horizon: int) -> Numbers:
        """Return the averaged forecast [H]."""
        return self.columns_ahead(horizon) @ self.weights

    def keep(self, weights: Numbers) -> None:
        """Go on with the columns that matter by weights [G]."""
        kept = np.flatnonzero(weights >= KEPT_SHARE * weights.max())
        self.grid = self.grid.select(kept)
        self.level, self.slope, self.error = self.level[kept], self.slope[kept], self.error[kept]
        self.profiles = [profile[:, kept] for profile in self.profiles]
        self.weights = weights[kept] / weights[kept].sum()


def first_states(early: Numbers, seasons: tuple[int, ...]) -> tuple[float, list[Numbers], list[int]]:
    """Return level, profiles [season] and the passes that they were seen in, by a classical decomposition.

    A season that early history [T] does not hold twice starts at zero.
    """
    rest, level = early, float(early[: min(len(early), 3)].mean())
    profiles, passes = [], []
    for season in seasons:
        seen = len(early) // season
        profile = np.zeros(season)
        if seen >= 2:
            total = np.concatenate([[0.0], np.cumsum(rest)])
            middle = (total[season:] - total[:-season]) / season
            trend = np.pad(middle, (season // 2, season - 1 - season // 2), mode="edge")
            level = float(trend[0])
            places = np.arange(len(rest)) % season
            profile = np.bincount(places, weights=rest - trend) / np.bincount(places)
            profile -= profile.mean()
            rest = rest - profile[places]
        profiles.append(profile)
        passes.append(seen if seen >= 2 else 0)
    return level, profiles, passes


def fit_smoothing(
    history: Numbers, actual: Numbers, origins: Rows, horizon: int, seasons: tuple[int, ...]
) -> tuple[Smoothing, Numbers]:
    """Run the grid through history [T] and weigh its columns by their backtest.

    actual : Numbers [O - 1, H], what followed the origins but the last; NaN where nothing was measured
    origins : Rows [O], rising; the last is the end of history
    Returns the running filter and its forecasts [O, H].
    """
    seasons = seasons[:2]
    early = history[: min(int(origins[0]), START_SEASONS * max(seasons, default=1))]
    filters = Smoothing(seasons, make_grid(len(seasons)), early)
    forecasts = np.empty((len(origins), horizon, len(filters.level)))
    at = 0
    for row, origin in enumerate(origins.tolist()):
        filters.advance(history[at:origin])
        forecasts[row] = filters.columns_ahead(horizon)
        at = origin
    missed = np.abs(forecasts[:-1] - actual[:, :, None])
    loss = np.where(np.isnan(missed), 0.0, missed).sum(axis=1).T
    weights, judged = honest_weights(loss, origins[:-1], horizon, SHARPNESS)
    averaged = np.einsum("ohg,og->oh", forecasts, np.concatenate([judged, weights[None, :]]))
    filters.keep(weights)
    return filters, averaged
