"""Quotas that reset each day, week or month of a time zone: how much is used, and whether it lasts.

What a period will have used at its end is what was used so far plus the forecast of the rest, path by path,
so that the spread of the sum is that of whole futures. Times are starts of steps: a value stamped 10:00 of
hourly steps is what was used between 10:00 and 11:00, and `now` is the end of the last known step. A step
that a period's border cuts (a time zone at +05:30 and hourly steps) is shared by time.

Axes: T known steps, n paths, H steps ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import EpochMs, Numbers
from models.calendar.period import CalendarPeriod
from models.capacity.crossing import Crossing

_ROUNDING = 1e-9
"""Share of a quota by which a sum of floats may pass it by rounding alone."""


@dataclass(frozen=True, slots=True)
class QuotaOutlook:
    """What becomes of a quota in one period.

    start_ms, end_ms : of the period
    used             : so far in it
    totals           : Numbers [n], what it will have used at its end
    exhaustion       : when the quota is passed; times count from `now`
    """

    start_ms: int
    end_ms: int
    quota: float
    used: float
    totals: Numbers
    exhaustion: Crossing

    @property
    def used_ratio(self) -> float:
        """Share of the quota that is used; may pass 1."""
        return self.used / self.quota

    @property
    def forecast_ratio(self) -> float:
        """Share of the quota that will be used at the period's end, in the median."""
        return float(np.median(self.totals)) / self.quota

    @property
    def probability(self) -> float:
        """That the period's sum exceeds the quota."""
        return self.exhaustion.probability

    def total(self, q: float) -> float:
        """Quantile of what the period will have used at its end."""
        return float(np.quantile(self.totals, q))


def step_shares(starts: EpochMs, step_ms: int, start_ms: int, end_ms: int) -> Numbers:
    """How much of each step lies within [start_ms, end_ms): Numbers in [0, 1], of the shape of `starts`.

    >>> step_shares(np.array([0, 10, 20]), 10, 5, 20).tolist()
    [0.5, 1.0, 0.0]
    """
    inside = np.minimum(starts + step_ms, end_ms) - np.maximum(starts, start_ms)
    shares: Numbers = np.maximum(inside, 0) / step_ms
    return shares


def used_so_far(values: Numbers, starts: EpochMs, *, step_ms: int, start_ms: int) -> tuple[float, float]:
    """What was used since `start_ms`, and the share of that time whose steps are known.

    values : Numbers [T]; NaN is unknown and adds nothing, below zero (a correction) subtracts
    starts : EpochMs [T], ascending
    """
    if not len(starts):
        return 0.0, 0.0
    shares = step_shares(starts, step_ms, start_ms, int(starts[-1]) + step_ms)
    known = np.isfinite(values)
    passed_ms = int(starts[-1]) + step_ms - start_ms
    known_ms = float((shares * known).sum()) * step_ms
    return float(np.where(known, values, 0.0) @ shares), min(
        known_ms / passed_ms, 1.0
    ) if passed_ms > 0 else 1.0


def steps_until(end_ms: int, *, now_ms: int, step_ms: int) -> int:
    """Steps of a forecast that reach `end_ms`; 0 if it has passed."""
    return max(-((now_ms - end_ms) // step_ms), 0)


def quota_outlook(
    paths: Numbers,
    *,
    quota: float,
    used: float,
    period: tuple[int, int],
    now_ms: int,
    step_ms: int,
    paths_from_ms: int | None = None,
) -> QuotaOutlook:
    """What becomes of a quota in the period [start, end).

    paths         : Numbers [n, H], amounts of the steps to come; below zero counts as none
    used          : so far in the period, as of `now_ms`
    period        : one that the paths reach the end of
    paths_from_ms : start of the paths' first step, for paths that were made a while ago; what they say of the
                    time before `now_ms` is not counted. `now_ms` if None

    Raises ValueError for a quota that is not above zero and for paths that end too early.

    >>> hourly = np.full((4, 24), 10.0)
    >>> now = dict(period=(0, 86_400_000), now_ms=0, step_ms=3_600_000)
    >>> outlook = quota_outlook(hourly, quota=300.0, used=100.0, **now)
    >>> outlook.probability, outlook.forecast_ratio, outlook.exhaustion.expected_seconds / 3600
    (1.0, 1.1333333333333333, 20.0)
    """
    if not (np.isfinite(quota) and quota > 0):
        raise ValueError(f"a quota above zero expected, got {quota}")
    start_ms, end_ms = period
    first_ms = now_ms if paths_from_ms is None else paths_from_ms
    needed = steps_until(end_ms, now_ms=first_ms, step_ms=step_ms)
    if paths.ndim != 2 or not len(paths) or paths.shape[1] < needed:
        raise ValueError(
            f"paths of at least {needed} steps are needed to reach the end of the period, "
            f"got shape {paths.shape}"
        )
    starts = first_ms + step_ms * np.arange(paths.shape[1], dtype=np.int64)
    counts_from_ms = max(start_ms, now_ms)
    shares = step_shares(starts, step_ms, counts_from_ms, end_ms)
    amounts = np.maximum(np.nan_to_num(paths), 0.0) * shares
    sums = used + amounts.cumsum(axis=1)
    totals = sums[:, -1] if paths.shape[1] else np.full(len(paths), float(used))
    # Seconds from now at which the part of each step that counts begins.
    begins = (np.maximum(starts, counts_from_ms) - now_ms) / 1000.0
    lengths = shares * (step_ms / 1000.0)
    passing = _passing(amounts, sums, used=used, quota=quota, begins=begins, lengths=lengths)
    return QuotaOutlook(start_ms, end_ms, quota, used, totals, passing)


def _passing(
    amounts: Numbers,
    sums: Numbers,
    *,
    used: float,
    quota: float,
    begins: Numbers,
    lengths: Numbers,
) -> Crossing:
    """When the sums pass the quota; use is taken to be even within a step.

    amounts, sums   : Numbers [n, H]
    begins, lengths : Numbers [H], seconds at which the part of each step that counts begins, and its length
    """
    bound = quota * (1.0 + _ROUNDING)
    if used > bound:
        return Crossing(np.zeros(len(sums)), np.ones(sums.shape[1]))
    seconds = np.full(len(sums), np.inf)
    if not sums.shape[1]:
        return Crossing(seconds, np.empty(0))
    # Sums only grow, so the last says whether and the count of those below when.
    rows = np.flatnonzero(sums[:, -1] > bound)
    over = sums > bound
    if len(rows):
        step = over[rows].argmax(axis=1)
        amount = amounts[rows, step]
        inside = np.clip((quota - (sums[rows, step] - amount)) / amount, 0.0, 1.0)
        seconds[rows] = begins[step] + inside * lengths[step]
    return Crossing(seconds, over.mean(axis=0))


def quota_outlooks(
    paths: Numbers, *, quota: float, used: float, period: CalendarPeriod, now_ms: int, step_ms: int
) -> list[QuotaOutlook]:
    """The present period and all later ones that the paths reach the end of; arguments as `quota_outlook`."""
    reach_ms = now_ms + step_ms * paths.shape[1]
    bounds = period.bounds(now_ms)
    found = [quota_outlook(paths, quota=quota, used=used, period=bounds, now_ms=now_ms, step_ms=step_ms)]
    while (bounds := period.bounds(bounds[1]))[1] <= reach_ms:
        found.append(
            quota_outlook(paths, quota=quota, used=0.0, period=bounds, now_ms=now_ms, step_ms=step_ms)
        )
    return found
