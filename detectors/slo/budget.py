"""What is left of an error budget, and how long it lasts.

An SLO of target t allows the share 1 - t of bad events: of `total` events, `total * (1 - t)` is the
budget. All functions are vectorised over series and leave NaN where nothing happened.

Source: Beyer et al., The Site Reliability Workbook (2018), chapters 2 and 5, and appendix B.
"""

from __future__ import annotations

import numpy as np

from models.arrays import Counts, Numbers


def error_ratio(good: Counts, total: Counts) -> Numbers:
    """Share of bad events, `(total - good) / total`.

    good, total : Counts [...], of one shape
    returns     : Numbers [...], NaN without traffic

    >>> error_ratio(np.array([9, 0]), np.array([10, 0])).tolist()
    [0.1, nan]
    """
    ratio = np.full(np.shape(total), np.nan)
    np.divide(total - good, total, out=ratio, where=total > 0)
    return ratio


def good_ratio(good: Counts, total: Counts) -> Numbers:
    """Share of good events, `good / total`, the SLI itself.

    good, total : Counts [...], of one shape
    returns     : Numbers [...], NaN without traffic

    >>> good_ratio(np.array([9, 0]), np.array([10, 0])).tolist()
    [0.9, nan]
    """
    return error_ratio(total - good, total)


def burn_rate(good: Counts, total: Counts, target: float) -> Numbers:
    """How many times faster than allowed the budget is spent: error ratio / (1 - target).

    At 1 the budget lasts exactly the SLO's window.

    good, total : Counts [...], of one shape
    returns     : Numbers [...], NaN without traffic

    >>> burn_rate(np.array([98]), np.array([100]), 0.99).round(6).tolist()
    [2.0]
    """
    assert 0 < target < 1
    return error_ratio(good, total) / (1.0 - target)


def error_budget_remaining(good: Counts, total: Counts, target: float) -> Numbers:
    """Share of the budget that is left: `1 - bad / (total * (1 - target))`.

    good, total : Counts [...] of the SLO's whole window or period so far
    returns     : Numbers [...], 1 untouched, 0 spent, negative when overspent, NaN without traffic

    >>> error_budget_remaining(np.array([995, 980]), np.array([1000, 1000]), 0.99).round(6).tolist()
    [0.5, -1.0]
    """
    return 1.0 - burn_rate(good, total, target)


def exhaustion_seconds(
    remaining: Numbers, burn: Numbers, *, window_ms: int, covered_ms: int | None = None
) -> Numbers:
    """Seconds until the budget of a whole window is spent if errors go on at this burn rate.

    At burn rate 1 a whole budget lasts one window; so at rate b, what is left of it lasts
    `left * window / b`. A window of which only a part has passed (a calendar period, a service that is
    new) has spent `(1 - remaining) * covered / window` of the budget that its whole traffic will give,
    if traffic stays as it is: `left = 1 - (1 - remaining) * covered / window`. Bad events that leave a
    rolling window meanwhile give budget back, so for a rolling window this is the earliest time.

    remaining  : Numbers [S] from `error_budget_remaining` over `covered_ms`
    burn       : Numbers [S], the present burn rate; take a window long enough to be steady (1 h)
    window_ms  : the SLO's window, or the calendar period's length
    covered_ms : how much of it lies behind; None means all
    returns    : Numbers [S], 0 when nothing is left, +Inf when nothing burns, NaN where either is NaN

    >>> two_weeks = exhaustion_seconds(np.array([1.0, 0.5]), np.array([2.0, 0.0]), window_ms=28 * 86_400_000)
    >>> two_weeks.tolist()
    [1209600.0, inf]
    """
    covered = window_ms if covered_ms is None else covered_ms
    assert 0 <= covered <= window_ms
    left = np.maximum(1.0 - (1.0 - remaining) * (covered / window_ms), 0.0)
    # More good than total (a source that counts wrongly) is a burn below zero: nothing burns.
    pace = np.maximum(burn, 0.0)
    seconds = np.full(np.shape(left), np.inf)
    with np.errstate(over="ignore"):  # a burn of 1e-300 lasts for ever too
        np.divide(left * (window_ms / 1000.0), pace, out=seconds, where=pace > 0)
    seconds[left == 0] = 0.0
    seconds[np.isnan(remaining) | np.isnan(burn)] = np.nan
    return seconds
