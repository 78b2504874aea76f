"""When an error budget is spent, from futures of bad and total events.

An SLO of target t allows `total * (1 - t)` bad events in its window. A rolling window forgets what leaves
it, so errors of last month give budget back while new ones spend it; a calendar period adds up to its end,
and its budget is that of the whole period's traffic, known and to come.

Source: Beyer et al., The Site Reliability Workbook (2018), chapters 2 and 5.

Axes: W steps of history, n paths, H steps ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import Numbers
from models.capacity.crossing import Crossing, first_crossing

_SPENT = 1e-9
"""A share of the budget that is left by rounding alone."""


@dataclass(frozen=True, slots=True)
class BudgetOutlook:
    """What becomes of an error budget.

    remaining  : share that is left now; 1 untouched, 0 spent, negative when overspent
    at_end     : Numbers [n], share that is left at the end of the horizon or period
    exhaustion : when it is spent
    """

    remaining: float
    at_end: Numbers
    exhaustion: Crossing


def rolling_budget(
    bad: Numbers, total: Numbers, bad_paths: Numbers, total_paths: Numbers, *, target: float, step_ms: int
) -> BudgetOutlook:
    """The budget of a rolling window that is as long as the history given.

    bad, total             : Numbers [W], the window's steps, oldest first; NaN counts as no events
    bad_paths, total_paths : Numbers [n, H] of the steps to come; below zero counts as none, and bad events
                             beyond total are cut

    Raises ValueError for a target outside (0, 1) and shapes that do not fit.
    """
    bad, total, bad_paths, total_paths = _counts(bad, total, bad_paths, total_paths, target)
    width, steps = len(bad), bad_paths.shape[1]
    left = [_rolled(known, ahead, width, steps) for known, ahead in ((bad, bad_paths), (total, total_paths))]
    shares = _remaining(left[0], left[1], target)
    now = float(_remaining(bad.sum(), total.sum(), target))
    return BudgetOutlook(
        now, shares[:, -1], first_crossing(shares, _SPENT, step_ms=step_ms, above=False, current=now)
    )


def period_budget(
    bad: Numbers, total: Numbers, bad_paths: Numbers, total_paths: Numbers, *, target: float, step_ms: int
) -> BudgetOutlook:
    """The budget of a calendar period: arguments as `rolling_budget`, history since the period's start.

    The paths end with the period. `remaining` compares with the traffic that the period is expected to have.
    """
    bad, total, bad_paths, total_paths = _counts(bad, total, bad_paths, total_paths, target)
    whole = total.sum() + total_paths.sum(axis=1)
    spent = bad.sum() + bad_paths.cumsum(axis=1)
    shares = _remaining(spent, np.broadcast_to(whole[:, None], spent.shape), target)
    now = float(_remaining(bad.sum(), np.median(whole), target))
    return BudgetOutlook(
        now, shares[:, -1], first_crossing(shares, _SPENT, step_ms=step_ms, above=False, current=now)
    )


def _counts(
    bad: Numbers, total: Numbers, bad_paths: Numbers, total_paths: Numbers, target: float
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    if not 0 < target < 1:
        raise ValueError(f"a target between 0 and 1 expected, got {target}")
    if bad.shape != total.shape or bad_paths.shape != total_paths.shape or bad_paths.ndim != 2:
        raise ValueError(
            f"bad and total events must have one shape; got {bad.shape} and {total.shape} of the past, "
            f"{bad_paths.shape} and {total_paths.shape} of the future"
        )
    if 0 in bad_paths.shape:
        raise ValueError(f"paths of shape (count, steps) expected, got {bad_paths.shape}")
    total, total_paths = (np.maximum(np.nan_to_num(each), 0.0) for each in (total, total_paths))
    bad = np.clip(np.nan_to_num(bad), 0.0, total)
    bad_paths = np.clip(np.nan_to_num(bad_paths), 0.0, total_paths)
    return bad, total, bad_paths, total_paths


def _rolled(known: Numbers, ahead: Numbers, width: int, steps: int) -> Numbers:
    """Sums over the last `width` steps at each step to come: Numbers [n, H]."""
    expired = np.zeros(steps)
    expired[: min(width, steps)] = known[: min(width, steps)]
    sums = known.sum() + ahead.cumsum(axis=1) - expired.cumsum()
    if steps > width:
        sums[:, width:] -= ahead[:, : steps - width].cumsum(axis=1)
    positive: Numbers = np.maximum(sums, 0.0)
    return positive


def _remaining(bad: Numbers | np.float64, total: Numbers | np.float64, target: float) -> Numbers:
    """1 - bad / (total * (1 - target)); without traffic all of it is left."""
    allowed: Numbers = np.asarray(total, np.float64) * (1.0 - target)
    spent: Numbers = np.divide(bad, allowed, out=np.zeros(np.shape(allowed)), where=allowed > 0)
    remaining: Numbers = 1.0 - spent
    return remaining
