"""A fitted forecast model: members with weights, measured errors, and a history that is extended.

Members see steps of `factor` fine steps (`forecast_history`); the forecast is drawn through their averages,
and errors are measured against the fine values, so that intervals hold for those.

Axes: T fine steps, C coarse steps, O origins, H fine steps ahead, M members.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.arrays import EpochMs, Numbers, Rows
from models.forecast.combine import combine, has_truth, place_origins, what_followed
from models.forecast.history import STEPS_MAX, History, average, on_grid
from models.forecast.holidays import Holidays
from models.forecast.intervals import (
    ErrorSizes,
    error_correlation,
    independent_count,
    leave_one_out_coverage,
    measure_sizes,
    score_quantiles,
)
from models.forecast.members import Member, fit_members, steps_needed
from models.forecast.result import ForecastError

WORTH = 0.01
"""Members with less weight are left out of the running forecast."""

ROOM = 1.0
"""A member's forecast may leave the range of the history by so many times its width, no further."""

PLACES_MAX = 200
"""Longer seasons are seen too rarely to tell their places' errors apart."""


def draw_through(coarse: Numbers, before: Numbers, factor: int, offset: int, horizon: int) -> Numbers:
    """Return fine values [..., H] on the lines through coarse averages [..., C] and the one before [...].

    offset : fine steps since the end of the average before
    """
    if factor == 1:
        return coarse[..., offset : offset + horizon]
    knots = np.concatenate([before[..., None], coarse], axis=-1)
    position = (offset + np.arange(horizon) + 0.5) / factor + 0.5
    left = np.minimum(position.astype(np.int64), knots.shape[-1] - 2)
    part = position - left
    drawn: Numbers = knots[..., left] * (1 - part) + knots[..., left + 1] * part
    return drawn


@dataclass(slots=True)
class Fitted:
    """What a fit leaves behind, and what new values move on.

    filled : Numbers [C]   coarse history without gaps
    rest : Numbers         fine values since its last average, fewer than `factor`
    end_ms : UTC time of the newest fine value
    scores : Numbers [Q]   quantiles of errors in usual sizes
    """

    members: dict[str, Member]
    weights: Mapping[str, float]
    sizes: ErrorSizes
    scores: Numbers
    correlation: Numbers
    coverage: Mapping[float, float]
    mase: float
    filled: Numbers
    rest: Numbers
    end_ms: int
    step_ms: int
    factor: int
    horizon: int
    aligned: int
    lowest: float
    highest: float
    lifetime: int
    time_zone: str | None
    holidays: Holidays | None

    def coarse_ahead(self, steps: int) -> Numbers:
        """Return the averaged forecast [steps] in coarse steps."""
        total = np.zeros(steps)
        for name, member in self.members.items():
            found = bounded(member.ahead(self.filled, steps), self.lowest, self.highest)
            total += self.weights[name] * found
        return bounded(total, self.lowest, self.highest)

    def ahead(self) -> tuple[Numbers, Numbers]:
        """Return median [H] and usual error [H] from the newest value on."""
        offset = len(self.rest)
        coarse = self.coarse_ahead(-(-(self.horizon + offset) // self.factor) + (self.factor > 1))
        median = draw_through(coarse, self.filled[-1], self.factor, offset, self.horizon)
        return median, self.sizes.at(self.aligned)

    def extend(self, values: Numbers, times: EpochMs | None) -> int:
        """Take in values [N] after the newest; return how many steps passed."""
        new, end_ms = on_grid(values, times, self.step_ms, self.time_zone, after_ms=self.end_ms)
        if not len(new):
            return 0
        if len(new) > STEPS_MAX * self.factor:
            raise ForecastError(f"{len(new)} steps passed since the fit, too many to bridge; fit again")
        fine = np.concatenate([self.rest, new])
        whole = len(fine) // self.factor * self.factor
        for value in average(fine[:whole], self.factor).tolist():
            known = value if value == value else float(self.coarse_ahead(1)[0])
            for member in self.members.values():
                member.advance(np.array([known]))
            self.filled = np.append(self.filled, known)
        self.filled = self.filled[-2 * STEPS_MAX :]
        self.rest = fine[whole:]
        self.aligned += len(new)
        self.end_ms = end_ms
        return len(new)


def bounded(values: Numbers, lowest: float, highest: float) -> Numbers:
    """Return forecasts kept near the range of the history, whatever a member came to."""
    room = ROOM * (highest - lowest)
    return np.clip(np.nan_to_num(values, nan=0.5 * (lowest + highest)), lowest - room, highest + room)


def fit(history: History, horizon: int, levels: tuple[float, ...]) -> Fitted:
    """Fit all members to a history and measure the errors of their average."""
    filled, factor, seasons = history.filled, history.factor, history.seasons
    length = len(filled)
    if (~np.isnan(history.fine)).sum() < 2:
        raise ForecastError("one value was measured; give at least two")
    if length < 2:
        raise ForecastError(f"{len(history.fine)} steps are too short a history; give at least two seasons")
    lowest, highest = float(filled.min()), float(filled.max())
    steps = -(-horizon // factor) + (factor > 1)
    origins = place_origins(length, steps, steps_needed(length, steps, seasons))
    actual = what_followed(history.measured, origins[:-1], steps)
    with_truth = has_truth(actual)
    origins, actual = origins[np.append(with_truth, True)], actual[with_truth]
    found = fit_members(filled, ~np.isnan(history.measured), actual, origins, steps, seasons)
    forecasts = np.stack([bounded(forecast[:-1], lowest, highest) for _, forecast in found.values()])
    weights, averaged = combine(forecasts, actual, origins[:-1])
    averaged = bounded(averaged, lowest, highest)
    kept = weights >= WORTH * weights.max()
    names = [name for name, keep in zip(found, kept, strict=True) if keep]
    share = weights[kept] / weights[kept].sum()

    # Errors against fine values, counted from the first one that an average holds.
    aligned = history.fine[len(history.fine) - length * factor :]
    fine_origins: Rows = origins[:-1] * factor
    drawn = draw_through(averaged, filled[origins[:-1] - 1], factor, 0, horizon)
    errors = what_followed(aligned, fine_origins, horizon) - drawn
    growing = np.sqrt(np.arange(1, horizon + 1)) if not seasons else np.ones(horizon)
    places = seasons[0] if seasons and seasons[0] <= PLACES_MAX else 1
    lag = seasons[0] * factor if seasons else 1
    usual = np.abs(aligned[lag:] - aligned[:-lag])
    usual = usual[~np.isnan(usual)]
    scale = float(usual.mean()) if len(usual) else 0.0
    if scale < 1e-12 * max(abs(lowest), abs(highest)):
        scale = 0.0  # rounding alone
    sizes = measure_sizes(errors, fine_origins, places, factor, growing, scale or highest - lowest)
    scores = errors.copy()
    for row, origin in enumerate(fine_origins.tolist()):
        scores[row] = sizes.score(errors[row], origin)
    correlation = error_correlation(scores)
    independent = independent_count(scores, correlation, len(aligned) - int(fine_origins[:1].sum()))
    known = scores[~np.isnan(scores)]
    mean_error = float(np.nanmean(np.abs(errors))) if len(known) else 0.0
    return Fitted(
        members={name: found[name][0] for name in names},
        weights=dict(zip(names, share.tolist(), strict=True)),
        sizes=sizes,
        scores=score_quantiles(known if len(known) else np.zeros(1), independent),
        correlation=correlation,
        coverage=leave_one_out_coverage(scores, levels, independent),
        mase=mean_error / scale if scale > 0 else 0.0,
        filled=filled,
        rest=np.zeros(0),
        end_ms=history.end_ms,
        step_ms=history.step_ms,
        factor=factor,
        horizon=horizon,
        aligned=len(aligned),
        lowest=lowest,
        highest=highest,
        lifetime=lag if seasons else horizon,
        time_zone=history.time_zone,
        holidays=history.holidays,
    )
