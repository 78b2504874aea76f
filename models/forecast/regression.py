"""Direct regressions of the next steps on what was there at the same place of earlier seasons.

Two of them, both ridge regressions that fall back to a naive forecast when the history teaches nothing:

- seasonal: the change from one season ago, from the changes between earlier seasons, the means of the last
  seasons, and the last error, whose weight dies away with the distance;
- momentum: the change from the last value, from the latest changes, the distances to moving averages, and
  what happened after the same place one or two seasons ago.

All pairs of origin and distance in a history train one set of coefficients, which makes them few and
steady. The sums that a fit needs are accumulated along time, so that the coefficients of every backtest
origin come from one pass, each from what was known at that origin. Cost: rows × features², some
milliseconds for a month of hours.

Axes: N windows, W steps of a window, J steps ahead of a block, P features, O origins, H horizon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from models.arrays import Mask, Numbers, Rows

PRIOR_WINDOWS = 5.0
"""Windows' worth of evidence for the naive forecast: what keeps coefficients small in a short history."""

HALF_LIFE_STEPS = 250
"""Age at which a training row counts half, where a season is not a better measure."""

ROWS_MAX = 24_000
"""Training rows (windows × steps ahead); longer histories are thinned evenly."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a regression looks at: lags in steps (`far`: of the second error), window, block ahead."""

    season: int
    lags: tuple[int, ...]
    means: tuple[int, ...]
    far: int
    window: int
    block: int


def seasonal_layout(length: int, horizon: int, season: int, second: int | None) -> Layout | None:
    """Return the lags that a history of `length` can teach, or None where it shows too few seasons."""
    room = int(0.55 * length)
    if season < 2:
        return None
    lags = [k * season for k in range(2, 7)]
    means = [season, 2 * season]
    if second is not None and second > season:
        whole = second // season * season
        lags += [second, second + season, 2 * second]
        means += [whole - season, whole]
    lags = sorted({lag for lag in lags if lag <= room - season})
    means = sorted({lag for lag in means if lag + season <= room})
    if not lags:
        return None
    window = max([*lags, *(lag + season for lag in means)]) + 1
    far = second if second in lags else max(lags)
    return Layout(season, tuple(lags), tuple(means), far, window, min(season, horizon))


def seasonal_features(windows: Numbers, layout: Layout) -> tuple[Numbers, Numbers]:
    """Return features [N, J, P] and naive forecast [N, J] of windows [N, W] that end before them."""
    size, season = windows.shape[1], layout.season
    ahead = np.arange(layout.block)
    naive = windows[:, size - season + ahead]
    columns = [windows[:, size - lag + ahead] - naive for lag in layout.lags]
    total = np.cumsum(windows[:, -(max(layout.means) + season) :], axis=1)
    total = np.concatenate([np.zeros((len(windows), 1)), total], axis=1)
    end = total.shape[1] - 1
    newest = total[:, end] - total[:, end - season]
    for lag in layout.means:
        change = (total[:, end - lag] - total[:, end - lag - season] - newest) / season
        columns.append(np.broadcast_to(change[:, None], naive.shape))
    last_error = windows[:, -1] - windows[:, -1 - season]
    reaches = (season / 24, season / 6, season)
    columns += [last_error[:, None] * np.exp(-(ahead + 1) / reach) for reach in reaches]
    far_error = windows[:, -1] - windows[:, -1 - layout.far]
    far_reaches = (season / 24, season / 4)
    columns += [far_error[:, None] * np.exp(-(ahead + 1) / reach) for reach in far_reaches]
    return np.stack(columns, axis=-1), naive


def momentum_layout(length: int, horizon: int, seasons: tuple[int, ...]) -> Layout | None:
    """Return the layout of the momentum regression, or None where the history is too short for it."""
    if length < 24 or 3 * horizon > 2 * length:
        return None
    room = length // 3
    fitting = [season for season in seasons if 3 * season <= length]
    season = max(fitting, default=0)
    lags = tuple(k * season for k in (1, 2) if season and k * season + 2 <= length // 2)
    means = tuple(span for span in (1, 2, 4, 8, 13, 26, 52) if span <= room)
    window = max([*(lag + 2 for lag in lags), *(span + 1 for span in means)])
    return Layout(season, lags, means, 1, window, horizon)


def momentum_features(windows: Numbers, layout: Layout) -> tuple[Numbers, Numbers]:
    """Return features [N, J, P] and the last value [N, J] for windows [N, W] that end before the block."""
    size = windows.shape[1]
    ahead = np.arange(1, layout.block + 1)
    share = ahead / layout.block
    last = windows[:, -1]
    naive = np.broadcast_to(last[:, None], (len(windows), layout.block))
    ones = np.ones(layout.block)
    columns: list[Numbers] = [np.broadcast_to(share, naive.shape)]
    for span in layout.means:
        change = (last - windows[:, -1 - span])[:, None]
        columns += [change * ones, change * share]
        if span >= 4:
            distance = (windows[:, -span:].mean(axis=1) - last)[:, None]
            columns += [distance * ones, distance * share]
    for lag in layout.lags:
        # What followed the same place of an earlier season; a horizon beyond the season takes its last pass.
        there = size - lag + np.where(ahead > lag, (ahead - 1) % lag + 1, ahead) - 1
        columns.append(windows[:, np.minimum(there, size - 1)] - windows[:, [size - lag - 1]])
        around = sum(windows[:, np.clip(there + shift, 0, size - 1)] for shift in (-1, 0, 1)) / 3
        columns.append(around - windows[:, size - lag - 2 : size - lag + 1].mean(axis=1)[:, None])
    return np.stack(columns, axis=-1), naive


Features = Callable[[Numbers, Layout], tuple[Numbers, Numbers]]


@dataclass(frozen=True, slots=True)
class Regression:
    """A fitted regression: coefficients [P] for values in units of `unit`, and how to look at them."""

    layout: Layout
    features: Features
    coefficients: Numbers
    unit: float

    def ahead(self, history: Numbers, horizon: int) -> Numbers:
        """Return the forecast [H] after history [T] (T at least `layout.window`)."""
        window = history[None, -self.layout.window :] / self.unit
        found: Numbers = (
            self.unit * predict(window, self.coefficients[None, :], self.layout, self.features, horizon)[0]
        )
        return found


def predict(
    windows: Numbers, coefficients: Numbers, layout: Layout, features: Features, horizon: int
) -> Numbers:
    """Return forecasts [N, H] of windows [N, W], each by its coefficients [N, P], block after block."""
    blocks = []
    done = 0
    while done < horizon:
        columns, naive = features(windows, layout)
        block = naive + np.einsum("njp,np->nj", columns, coefficients)
        blocks.append(block)
        done += block.shape[1]
        windows = np.concatenate([windows, block], axis=1)[:, -layout.window :]
    found: Numbers = np.concatenate(blocks, axis=1)[:, :horizon]
    return found


def fit_regression(
    history: Numbers,
    measured: Mask,
    origins: Rows,
    horizon: int,
    layout: Layout,
    features: Features,
    *,
    ridge: float,
    fall: float,
    half_life: float,
) -> tuple[Regression, Numbers]:
    """Fit at every origin by what was known there.

    history : Numbers [T], without gaps
    measured : Mask [T], False where history was filled in; such targets do not count
    origins : Rows [O], rising; the history before row `origins[o]` is known there
    ridge : penalty as a share of each feature's own power
    fall : weight of a step ahead j is j ** -fall
    half_life : age in steps at which a training row counts half

    Returns the regression of the last origin, and the forecasts [O, H] of all.
    """
    window, block = layout.window, layout.block
    known_first = history[: max(int(origins[0]), 2)]
    unit = float(np.std(np.diff(known_first))) or 1.0
    history = history / unit
    count = len(history) - window - block + 1
    ends = origins - window
    starts = [sliding_window_view(history, window)[end] for end in np.maximum(ends, 0)]
    at_origins = np.stack(starts)
    if count < 1:
        width = features(at_origins[:1], layout)[0].shape[2]
        coefficients = np.zeros((len(origins), width))
    else:
        stride = max(1, count * block // ROWS_MAX)
        first: Rows = np.arange((count - 1) % stride, count, stride)
        columns, naive = features(sliding_window_view(history, window)[first], layout)
        target_rows = first[:, None] + window + np.arange(block)[None, :]
        targets = history[target_rows] - naive
        weights = measured[target_rows] * 0.5 ** ((len(history) - target_rows) / half_life)
        weights *= np.arange(1, block + 1, dtype=np.float64) ** -fall
        weighted = columns * weights[:, :, None]
        squares = np.cumsum(weighted.transpose(0, 2, 1) @ columns, axis=0)
        products = np.cumsum(np.einsum("njp,nj->np", weighted, targets), axis=0)
        # The last window whose whole block was seen before the origin; -1 where there is none.
        known = np.searchsorted(first + window + block, origins, side="right") - 1
        squares, products = squares[np.maximum(known, 0)], products[np.maximum(known, 0)]
        power = np.einsum("opp->op", squares)
        prior = (ridge + PRIOR_WINDOWS / np.maximum(known + 1, 1))[:, None]
        penalty = prior * power + 1e-3 * power.mean(axis=1, keepdims=True) + 1e-12
        coefficients = np.linalg.solve(
            squares + penalty[:, :, None] * np.eye(power.shape[1]), products[:, :, None]
        )[:, :, 0]
        coefficients[known < 0] = 0.0
    forecasts = unit * predict(at_origins, coefficients, layout, features, horizon)
    return Regression(layout, features, coefficients[-1], unit), forecasts
