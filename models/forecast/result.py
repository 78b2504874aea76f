"""A forecast: for each step ahead a calibrated distribution, and how the steps hang together.

The distribution of each step is kept as its quantiles at the probabilities of `GRID`; between them it is
linear, beyond them it ends (the grid reaches from 0.1 % to 99.9 %). How the errors of neighbouring steps go
together is kept as their correlation by distance, as the backtest measured it, so that sums and first
crossings can be asked of sample paths. Nothing in a forecast is ever NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import linalg, special

from models.arrays import EpochMs, Numbers, Rows

GRID: Numbers = np.concatenate(
    ([0.001, 0.0025, 0.005, 0.01, 0.025], np.arange(1, 20) / 20, [0.975, 0.99, 0.995, 0.9975, 0.999])
)
"""Probabilities at which the distribution of a step is kept; symmetric around one half."""

PATH_STEPS_MAX = 512
"""Steps of a path that are drawn jointly; longer horizons are drawn at every n-th step, then filled in."""


class ForecastError(ValueError):
    """A forecast was refused; the message says what was wrong and how to fix it."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """A calibrated forecast of one series.

    times : EpochMs [H]     the end of the history plus 1…H steps
    mean, median : Numbers [H]
    grid_values : Numbers [Q, H]   quantiles at the probabilities of `GRID`, rising along Q
    correlation : Numbers [H]      correlation of two steps' errors by their distance; 1 at distance 0
    levels : the interval levels asked for, such as (0.8, 0.95)
    model : the weights of the models that were combined; they sum to 1
    mase : mean absolute error of the backtest, scaled by that of the seasonal naive forecast in the history;
        below 1 is better than repeating the last season one step ahead
    coverage : level → share of backtested values inside the interval of that level
    """

    times: EpochMs
    step_ms: int
    mean: Numbers
    median: Numbers
    grid_values: Numbers
    correlation: Numbers
    levels: tuple[float, ...]
    model: Mapping[str, float]
    mase: float
    coverage: Mapping[float, float]
    seed: int

    @property
    def horizon(self) -> int:
        """Steps ahead (H)."""
        return len(self.median)

    @property
    def model_name(self) -> str:
        """The model with the largest weight, and how many others are averaged with it: `smoothing + 3`."""
        ranked = sorted(self.model, key=lambda name: (-self.model[name], name))
        return ranked[0] if len(ranked) == 1 else f"{ranked[0]} + {len(ranked) - 1}"

    def quantiles(self, probabilities: Numbers) -> Numbers:
        """Return the quantiles [Q, H] at probabilities [Q] in (0, 1)."""
        asked = np.atleast_1d(np.asarray(probabilities, dtype=np.float64))
        if not ((asked > 0) & (asked < 1)).all():
            raise ForecastError(f"probabilities must lie between 0 and 1, found {asked.tolist()}")
        return _interpolate(asked, self.grid_values)

    @property
    def lower(self) -> Numbers:
        """Lower ends [L, H] of the central intervals of `levels`."""
        return self.quantiles((1 - np.asarray(self.levels)) / 2)

    @property
    def upper(self) -> Numbers:
        """Upper ends [L, H] of the central intervals of `levels`."""
        return self.quantiles((1 + np.asarray(self.levels)) / 2)

    def paths(self, count: int, *, seed: int | None = None) -> Numbers:
        """Return sample paths [N, H], by a Gaussian copula over the quantiles; same seed, same paths.

        Each step's marginal is the calibrated one; neighbouring steps correlate as backtest errors did.
        """
        if count < 1:
            raise ForecastError(f"count of paths must be at least 1, found {count}")
        random = np.random.default_rng(self.seed if seed is None else seed)
        steps = self.horizon
        stride = -(-steps // PATH_STEPS_MAX)
        knots = np.arange(0, steps + stride - 1, stride)
        distances = np.minimum(np.abs(knots[:, None] - knots[None, :]), steps - 1)
        values, vectors = linalg.eigh(self.correlation[distances])
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        root /= np.sqrt((root**2).sum(axis=1, keepdims=True))
        normal = random.standard_normal((count, len(knots))) @ root.T
        if stride > 1:
            share = np.arange(steps) / stride
            left = share.astype(np.int64)
            right = np.minimum(left + 1, len(knots) - 1)
            part = share - left
            mixed = normal[:, left] * (1 - part) + normal[:, right] * part
            along = self.correlation[min(stride, steps - 1)]
            normal = mixed / np.sqrt((1 - part) ** 2 + part**2 + 2 * part * (1 - part) * along)
        return _interpolate_each(special.ndtr(normal), self.grid_values)


def _weights(probabilities: Numbers) -> tuple[Rows, Numbers]:
    """Return, for each probability, the grid position to its left and the share of the way to the next."""
    left = np.clip(np.searchsorted(GRID, probabilities, side="right") - 1, 0, len(GRID) - 2)
    part = (probabilities - GRID[left]) / (GRID[left + 1] - GRID[left])
    return left, np.clip(part, 0.0, 1.0)


def _interpolate(probabilities: Numbers, grid_values: Numbers) -> Numbers:
    left, part = _weights(probabilities)
    found: Numbers = grid_values[left] * (1 - part[:, None]) + grid_values[left + 1] * part[:, None]
    return found


def _interpolate_each(probabilities: Numbers, grid_values: Numbers) -> Numbers:
    """Return values [N, H] at probabilities [N, H], each column by its own quantiles."""
    left, part = _weights(probabilities)
    steps = np.arange(grid_values.shape[1])[None, :]
    found: Numbers = grid_values[left, steps] * (1 - part) + grid_values[left + 1, steps] * part
    return found
