"""Will a queue catch up, and when: futures of a lag that cannot fall below zero.

A lag is no ordinary series: it has no season of its own but that of its inflow, it falls as fast as the
consumers can work, and it stops at zero. With inflow and capacity known, futures follow Lindley's recursion
L' = max(L + inflow - capacity, 0); with the lag alone, its recent changes go on.

Source: Lindley, The theory of queues with a single server, Proc. Cambridge Phil. Soc. 48 (1952); the closed
form is that of a reflected walk: L_h = max(L_0 + S_h, S_h - min_{k <= h} S_k).

Axes: T steps of history, n paths, H steps ahead.
"""

from __future__ import annotations

import numpy as np

from models.arrays import Numbers
from models.capacity.crossing import Crossing, first_crossing
from models.forecast.paths import PATH_COUNT, SampledForecast

RECENT_STEPS = 60
"""Changes that are taken to go on: an hour of minutes; earlier ones tell of another load."""

BLOCK_STEPS = 5
"""Changes are drawn in stretches, since neighbours are alike (a batch, a pause)."""

_LARGEST = 1e100


def reflected(start: float, changes: Numbers) -> Numbers:
    """Levels of a queue that begins at `start` and cannot fall below zero.

    changes : Numbers [n, H], inflow less capacity of each step
    returns : Numbers [n, H]

    >>> reflected(2.0, np.array([[-3.0, 1.0, -0.5]])).tolist()
    [[0.0, 1.0, 0.5]]
    """
    walked = changes.cumsum(axis=1)
    lowest = np.minimum(np.minimum.accumulate(walked, axis=1), 0.0)
    levels: Numbers = np.maximum(walked + max(start, 0.0), walked - lowest)
    return levels


def lag_forecast(
    values: Numbers, *, horizon: int, seed: int = 0, count: int = PATH_COUNT, recent: int = RECENT_STEPS
) -> SampledForecast:
    """Futures of a lag from its recent changes alone.

    Each path draws one mean change from what the recent stretch allows (its standard error, by blocks), so
    that "does it shrink at all" is uncertain too, and stretches of changes about it. Changes while the lag
    was zero tell nothing of how fast it can fall, and are left out unless there is nothing else.

    values : Numbers [T], evenly spaced; NaN is missing

    Raises ValueError without any value and for a horizon that is not above zero.
    """
    if horizon < 1 or count < 1:
        raise ValueError(f"a horizon and a count above 0 expected, got {horizon} and {count}")
    known = np.clip(values[np.isfinite(values)], 0.0, _LARGEST)
    if not len(known):
        raise ValueError("the lag has no value at all; wait until something is measured")
    # Across a gap the change is spread over the steps it took.
    at = np.flatnonzero(np.isfinite(values))[-(recent + 1) :]
    known = known[-(recent + 1) :]
    changes = np.diff(known) / np.diff(at)
    busy = changes[(known[:-1] > 0) | (changes > 0)]
    changes = busy if len(busy) else np.zeros(1)
    random = np.random.default_rng(seed)
    block = min(BLOCK_STEPS, len(changes))
    blocks = -(-horizon // block)
    starts = random.integers(0, len(changes) - block + 1, size=(count, blocks))
    drawn = changes[(starts[:, :, None] + np.arange(block)).reshape(count, -1)[:, :horizon]]
    error = changes.std() / np.sqrt(max(len(changes) / block, 1.0))
    drift = random.normal(0.0, error, size=(count, 1))
    levels = reflected(float(known[-1]), drawn + drift)
    return SampledForecast(np.clip(levels, 0.0, _LARGEST), "recent changes of the lag")


def catching_up(forecast: SampledForecast, *, lag: float, step_ms: int, caught_up: float = 0.0) -> Crossing:
    """When the lag is at most `caught_up`: probability within the horizon, expected time and range."""
    paths = forecast.sampled
    return first_crossing(paths, caught_up, step_ms=step_ms, above=False, current=lag)
