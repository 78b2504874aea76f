"""The forecast that never fails and costs a millisecond: repeat the last season, err as in the past.

It stands in where the full one met its deadline or refused. The season is the day or the week, whichever
repeats itself better, or none (the last value stays). Futures are seasonal random walks: each season adds a
stretch of past differences between a season and the one before it, so their correlation is kept.

Axes: T steps of history, n paths, H steps ahead.
"""

from __future__ import annotations

import numpy as np

from models.arrays import Numbers, Rows
from models.calendar.units import DAY_MS
from models.forecast.paths import PATH_COUNT, SampledForecast

FEW = 12
"""With fewer values the differences seen say too little of those to come, so the level itself is unsure."""

_LARGEST = 1e100
"""Values are kept below it, so that sums and squares stay finite."""


def simple_forecast(
    values: Numbers, *, step_ms: int, horizon: int, seed: int = 0, count: int = PATH_COUNT
) -> SampledForecast:
    """Forecast `horizon` steps of an evenly spaced series.

    values  : Numbers [T]; NaN is missing; infinite ones are taken for missing
    returns : `count` paths; never below zero if the history is not

    Raises ValueError without any value, and for a horizon or step that is not above zero.
    """
    if horizon < 1 or step_ms < 1 or count < 1:
        raise ValueError(
            f"horizon, step and count above 0 expected, got {horizon} steps of {step_ms} ms, {count}"
        )
    known = np.where(np.isfinite(values), np.clip(values, -_LARGEST, _LARGEST), np.nan)
    if not np.isfinite(known).any():
        raise ValueError(
            "the series has no value at all; choose another column or wait until something is measured"
        )
    season = _season(known, step_ms, horizon)
    filled = _filled(known, season)
    seasons = -(-horizon // season)
    last = filled[-season:]
    differences = filled[season:] - filled[:-season]
    random = np.random.default_rng(seed)
    if len(differences):
        starts = random.integers(0, max(len(differences) // season, 1), size=(count, seasons)) * season
        # Counted from the end, so that each stretch begins at the phase of the forecast's first step.
        first = len(differences) % season if len(differences) >= season else 0
        rows: Rows = first + starts[:, :, None] + np.arange(season)[None, None, :]
        walked = (differences[rows] - _drift(differences)).cumsum(axis=1)
        paths = (last + walked).reshape(count, seasons * season)[:, :horizon]
    else:
        paths = np.tile(last, (count, seasons))[:, :horizon]
    paths = paths + _unsure(known) * random.standard_normal((count, 1))
    if np.nanmin(known) >= 0:
        paths = np.maximum(paths, 0.0)
    name = "last value" if season == 1 else f"seasonal naive ({season} steps)"
    return SampledForecast(np.ascontiguousarray(np.clip(paths, -_LARGEST, _LARGEST)), name)


def _unsure(known: Numbers) -> float:
    """How far off the level may be since hardly anything was seen: half of it for one value, falling to 0."""
    seen = known[np.isfinite(known)]
    lacking = max(1.0 - len(seen) / FEW, 0.0)
    return float(lacking * 0.5 * np.abs(seen).mean() / len(seen) ** 0.5)


def _drift(differences: Numbers) -> float:
    """Mean difference: taken out, since a trend of past seasons is the full models' matter."""
    return float(differences.mean())


def _season(known: Numbers, step_ms: int, horizon: int) -> int:
    """Length of the season that errs least over the horizon, among 1, a day and a week."""
    best, season = np.inf, 1
    ahead = np.unique(np.linspace(1, horizon, 5).astype(np.int64))
    for length in dict.fromkeys((1, DAY_MS // step_ms, 7 * DAY_MS // step_ms)):
        if length < 1 or len(known) < max(2 * length, 3):
            continue
        lags = np.unique(-(-ahead // length) * length)
        errors = [_lag_error(known, int(lag)) for lag in lags if 2 * lag <= len(known)]
        if length == 1 and not errors:
            errors = [_lag_error(known, 1)]
        error = float(np.mean(errors)) if errors else np.inf
        if error < best:
            best, season = error, length
    return season


def _lag_error(known: Numbers, lag: int) -> float:
    """Mean absolute difference over `lag` steps; +Inf where hardly any is known."""
    difference = np.abs(known[lag:] - known[:-lag])
    there = np.isfinite(difference)
    return float(difference[there].mean()) if there.sum() * 2 >= len(difference) else np.inf


def _filled(known: Numbers, season: int) -> Numbers:
    """Missing values from the season before, then from the one after, then the median."""
    pad = -len(known) % season
    rows = np.concatenate([np.full(pad, np.nan), known]).reshape(-1, season)
    for table in (rows, rows[::-1]):
        there = np.where(np.isfinite(table), np.arange(len(table))[:, None], 0)
        np.maximum.accumulate(there, axis=0, out=there)
        table[:] = np.take_along_axis(table, there, axis=0)
    filled: Numbers = rows.reshape(-1)[pad:]
    return np.where(np.isfinite(filled), filled, np.nanmedian(known))
