"""Prediction intervals from backtest errors: conformal, per step ahead.

An error is divided by the usual size of errors at its distance and at its place in the season; what remains
is pooled over all origins and distances, and its quantiles, scaled back, are the quantiles of the forecast.
Pooling is what makes tails measurable: a backtest of one series has two dozen origins, but a thousand
errors.

Source: split conformal prediction with normalised scores (Lei et al., Distribution-free predictive
inference for regression, 2018), where the scores' order statistics are widened for their small effective
number.

Axes: O origins, H horizon, Q grid probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from models.arrays import Numbers, Rows
from models.forecast.result import GRID

WIDENING = 0.15
"""The quantile p is widened by 1 + WIDENING (2p - 1)² / √(independent scores): they gave the sizes, too."""

CENTRE, TAILS = 0.92, 0.11
"""The quantile p is scaled by CENTRE + TAILS (2p - 1)⁴: how large errors are today is itself uncertain, which
makes tails heavier, and the middle narrower, than scores of known size have them."""

PLACE_PRIOR = 8.0
"""So many errors of usual size are added to those at each place of the season."""

TAIL_PRIOR = 6.0
"""So many independent scores a t distribution counts as, against those that were measured."""

T_QUANTILES: Numbers = stats.t.ppf(GRID, 4)
"""Of a t distribution with four degrees of freedom, whose mean size is just 1."""


@dataclass(frozen=True, slots=True)
class ErrorSizes:
    """How large errors usually are: by distance [H], and relative to it by place in the season [K].

    A place is `group` steps long.
    """

    distance: Numbers
    place: Numbers
    group: int

    def at(self, origin: int) -> Numbers:
        """Return the usual error [H] of a forecast from row `origin` of the history."""
        steps = origin + np.arange(len(self.distance))
        sizes: Numbers = self.distance * self.place[steps // self.group % len(self.place)]
        return sizes

    def score(self, errors: Numbers, origin: int) -> Numbers:
        """Return errors [H] of a forecast from row `origin` in usual sizes; 0 where errors never occur."""
        sizes = self.at(origin)
        found: Numbers = np.divide(errors, sizes, out=np.zeros_like(errors), where=sizes > 0)
        found[np.isnan(errors)] = np.nan
        return found


def measure_sizes(
    errors: Numbers, origins: Rows, season: int, group: int, floor: Numbers, fallback: float
) -> ErrorSizes:
    """Return the usual size of backtest errors [O, H] (NaN where unknown).

    season : places that are told apart, 1 for none; each is `group` steps long
    floor : Numbers [H], positive: the size at distances where nothing was measured, relative to the others
    fallback : the size at a floor of 1 where nothing was measured at all
    """
    known = ~np.isnan(errors)
    size = np.where(known, np.abs(errors), 0.0)
    horizon = errors.shape[1]
    count, total = known.sum(axis=0).astype(np.float64), size.sum(axis=0)
    reach = max(1, horizon // 12)
    sums = np.concatenate([[0.0], np.cumsum(total)])
    counts = np.concatenate([[0.0], np.cumsum(count)])
    steps = np.arange(horizon)
    around = np.minimum(np.minimum(steps, horizon - 1 - steps), reach)
    left, right = steps - around, steps + around + 1
    measured = counts[right] - counts[left]
    mean = (sums[right] - sums[left]) / np.maximum(measured, 1)
    if not count.any():
        return ErrorSizes(fallback * floor, np.ones(1), group)
    overall = total.sum() / count.sum()
    expected = floor * (overall / ((floor * count).sum() / count.sum()))
    distance = (measured * mean + 3 * expected) / (measured + 3)
    place = np.ones(max(season, 1))
    if season > 1 and overall > 0:
        relative = size / np.where(distance > 0, distance, 1.0)
        places = (origins[:, None] + steps[None, :]) // group % season
        found = np.bincount(places[known], weights=relative[known], minlength=season)
        seen = np.bincount(places[known], minlength=season).astype(np.float64)
        found = found + 0.5 * (np.roll(found, 1) + np.roll(found, -1))
        seen = seen + 0.5 * (np.roll(seen, 1) + np.roll(seen, -1))
        place = (found + PLACE_PRIOR) / (seen + PLACE_PRIOR)
    return ErrorSizes(distance, place, group)


def score_quantiles(scores: Numbers, independent: float) -> Numbers:
    """Return the quantiles [Q] of scores (errors in usual sizes) at `GRID`; 0 at one half.

    Half of it is the distribution mirrored, half as it is: skewness is real in counts and latencies, but its
    measurement is noisy. `independent` scores carry the information; few of them lean on a t distribution.
    """
    centred = scores - np.median(scores)
    folded = np.abs(scores)
    mirrored = np.sign(GRID - 0.5) * np.quantile(folded, np.abs(2 * GRID - 1))
    measured = 0.5 * mirrored + 0.5 * np.quantile(centred, GRID)
    mean = float(folded.mean())
    share = independent / (independent + TAIL_PRIOR)
    mixed = share * measured + (1 - share) * mean * T_QUANTILES
    away = (2 * GRID - 1) ** 2
    mixed *= (1 + WIDENING * away / np.sqrt(max(independent, 1.0))) * (CENTRE + TAILS * away**2)
    mixed = np.where(GRID < 0.5, np.minimum(mixed, 0.0), np.maximum(mixed, 0.0))
    found: Numbers = np.maximum.accumulate(np.where(GRID == 0.5, 0.0, mixed))
    return found


def error_correlation(scores: Numbers) -> Numbers:
    """Return the correlation [H] of errors by their distance, from scores [O, H] (NaN where unknown)."""
    horizon = scores.shape[1]
    known = ~np.isnan(scores)
    filled = np.where(known, np.clip(scores, -5, 5), 0.0)
    size = 1 << (2 * horizon - 1).bit_length()

    def by_distance(rows: Numbers) -> Numbers:
        power = np.abs(np.fft.rfft(rows, size, axis=1)) ** 2
        found: Numbers = np.fft.irfft(power, size, axis=1)[:, :horizon].sum(axis=0)
        return found

    product, count = by_distance(filled), by_distance(known.astype(np.float64))
    correlation = product / np.maximum(count, 0.5)
    if not correlation[0] > 0:
        alone: Numbers = np.eye(1, horizon)[0]
        return alone
    # Far distances are seen in few pairs and taper off, which also keeps the matrix of them positive.
    taper = 1 - np.arange(horizon) / (2 * horizon)
    found: Numbers = np.clip(correlation / correlation[0], -0.99, 1.0) * taper
    found[0] = 1.0
    return found


def independent_count(scores: Numbers, correlation: Numbers, steps: int) -> float:
    """Return how many independent scores a backtest over `steps` steps of history holds.

    Neighbouring errors say nearly the same: they count in spans over which their correlation dies away.
    """
    span = 1 + 2 * float(np.maximum(correlation[1 : len(correlation) // 2 + 1], 0.0).sum())
    return max(1.0, min(steps / span, float((~np.isnan(scores)).sum())))


def leave_one_out_coverage(
    scores: Numbers, levels: tuple[float, ...], independent: float
) -> dict[float, float]:
    """Return, for each level, the share of scores inside the interval that the other origins' scores make."""
    inside = np.zeros(len(levels))
    count = 0
    probabilities = np.concatenate([(1 - np.array(levels)) / 2, (1 + np.array(levels)) / 2])
    for origin in range(len(scores)):
        own = scores[origin][~np.isnan(scores[origin])]
        others = np.delete(scores, origin, axis=0)
        others = others[~np.isnan(others)]
        if not len(own) or not len(others):
            continue
        ends = np.interp(probabilities, GRID, score_quantiles(others, independent))
        low, high = np.split(ends, 2)
        inside += ((own >= low[:, None]) & (own <= high[:, None])).sum(axis=1)
        count += len(own)
    share = inside / count if count else np.array(levels)
    return {level: float(value) for level, value in zip(levels, share, strict=True)}
