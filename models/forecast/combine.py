"""Which models a forecast trusts, and where its past is tried out.

Members are averaged with weights that fall with their error in the backtest. The fall is gentle on purpose:
the backtest of one series is short, and an average of several good models beats the best of them. For the
backtest of the average itself an origin's weights come from the other origins, so that its errors are
honest.

Axes: M members, O origins, H horizon.
"""

from __future__ import annotations

import numpy as np

from models.arrays import Mask, Numbers, Rows

FALL = 8.0
"""A member with 1/8 more error than the best has 1/e of its weight."""

ORIGINS_MAX = 26
"""Backtest origins; more cost time in proportion and overlap more."""

APART_MIN = 4
"""Origins that must be left to judge another by, if its neighbours are not to count."""


def place_origins(length: int, horizon: int, need: int) -> Rows:
    """Return rising backtest origins and, last, the end of the history.

    Origins leave a whole horizon behind them where at least four fit so between `need` and the end; in a
    shorter history the horizons of the last ones are cut.
    """
    first = min(max(need, length // 3), max(length - 2, 1))
    last = length - horizon
    if last - first < 3:
        last = max(length - 1, first)
    stride = max(1, min(horizon, (last - first) // (ORIGINS_MAX - 1)))
    count = min(ORIGINS_MAX, (last - first) // stride + 1)
    found = last - stride * np.arange(count)[::-1]
    origins: Rows = np.append(found[found < length], length).astype(np.int64)
    return origins


def what_followed(values: Numbers, origins: Rows, horizon: int) -> Numbers:
    """Return the values [O, H] after each origin; NaN beyond the end."""
    padded = np.concatenate([values, np.full(horizon, np.nan)])
    found: Numbers = padded[origins[:, None] + np.arange(horizon)[None, :]]
    return found


def losses(forecasts: Numbers, actual: Numbers) -> Numbers:
    """Return summed absolute errors [..., O] of forecasts [..., O, H]; steps without truth count nothing."""
    found: Numbers = np.nansum(np.abs(forecasts - actual), axis=-1)
    return found


def soft_weights(loss: Numbers, fall: float) -> Numbers:
    """Return weights [..., M] that sum to 1, by errors [..., M]: 1/e where one is 1/fall larger."""
    best = loss.min(axis=-1, keepdims=True)
    best = np.maximum(best, 1e-9 * loss.max(axis=-1, keepdims=True))
    relative = np.divide(loss, best, out=np.ones_like(loss), where=best > 0)
    found: Numbers = np.exp(-fall * (relative - 1))
    found /= found.sum(axis=-1, keepdims=True)
    return found


def honest_weights(loss: Numbers, origins: Rows, horizon: int, fall: float) -> tuple[Numbers, Numbers]:
    """Return the weights [M] by errors [M, O] at all origins, and those [O, M] that judge each origin.

    An origin's own error does not count there, nor those of neighbours less than a horizon away: they saw the
    same values. (In a history too short for that, neighbours do count.)
    """
    apart = np.abs(origins[:, None] - origins[None, :]) >= horizon
    few = apart.sum(axis=0) < APART_MIN
    apart[:, few] = ~np.eye(len(origins), dtype=bool)[:, few]
    judged: Numbers = np.full((len(origins), len(loss)), 1 / len(loss))
    if len(origins) > 1:
        judged = soft_weights((loss @ apart).T, fall)
    return soft_weights(loss.sum(axis=1), fall), judged


def combine(forecasts: Numbers, actual: Numbers, origins: Rows) -> tuple[Numbers, Numbers]:
    """Return the weights [M] from all origins and the averaged backtest [O, H].

    forecasts : Numbers [M, O, H]; actual : Numbers [O, H], NaN where nothing was measured; origins : Rows [O]
    """
    weights, judged = honest_weights(losses(forecasts, actual), origins, actual.shape[1], FALL)
    return weights, np.einsum("moh,om->oh", forecasts, judged)


def has_truth(actual: Numbers) -> Mask:
    """Return which origins [O] have any truth after them."""
    found: Mask = np.count_nonzero(~np.isnan(actual), axis=1) > 0
    return found
