"""Multi-window, multi-burn-rate judgement of one SLO, for all its groups at once.

A tier fires for a group when three things hold:
1. over the long window the budget burns faster than the tier's factor: it matters;
2. over the short window it does too: it is still going on, so that the alert ends soon after its cause;
3. the long window's errors are no chance: there is more than one bad event, and the lower confidence
   bound of the error ratio lies above `factor * (1 - target)`.

Why more than one: a single failed request of one is an error ratio of 100 %, and the look at the window
is timed by the failure itself, so one failure is no evidence of a rate. Why Clopper-Pearson: at ten
requests an hour that fail by chance exactly as often as 99.9 % allows, a year of looks every 10 s pages
93 times without a guard, and 5 times with one (tests/unit/detectors/slo/test_burn_rate.py). Wilson's bound
lets every single failure pass.

The short window needs no bound. It only asks whether the burn that the long window has proved goes on;
at low traffic it holds a handful of events, is never sure, and with a bound of its own a total outage
of a quiet service would page no one.

Without traffic in either of its windows a tier is `absent`: it neither fires nor lets go.

Source: Beyer et al., The Site Reliability Workbook (2018), chapter 5, "6: Multiwindow, Multi-Burn-Rate
Alerts" and "Low-Traffic Services and Error Budget Alerting".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detectors.slo.budget import burn_rate
from detectors.slo.confidence import clopper_pearson_lower
from detectors.slo.slo import Slo
from models.arrays import Counts, Mask, Numbers

MICRO = 1_000_000
"""Parts of a slice or of a summed number; counts of such SLOs are whole millionths."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What one SLO's tiers say of its S groups at one instant; tiers in the order of `slo.tiers`.

    firing     : Mask [tiers, S], all three conditions hold
    burning    : Mask [tiers, S], both burn rates exceed the factor, however few events there are; an
                 alert that fires goes on until this ends, so that the bound cannot make it flap
    absent     : Mask [tiers, S], a window of the tier has no traffic; neither fires nor resolves
    lower      : Numbers [tiers, S], lower bound of the long window's error ratio where `burning`, else NaN
    windows_ms : the windows along axis W, ascending
    good, total: Counts [W, S]
    burn       : Numbers [W, S], burn rates, NaN without traffic
    """

    firing: Mask
    burning: Mask
    absent: Mask
    lower: Numbers
    windows_ms: tuple[int, ...]
    good: Counts
    total: Counts
    burn: Numbers

    @property
    def series_count(self) -> int:
        return int(self.total.shape[1])


def judge(
    slo: Slo,
    counts: Mapping[int, tuple[Counts, Counts]],
    *,
    unit: int | None = None,
) -> Verdicts:
    """Judge all groups of `slo` at the instant at which the windows in `counts` end.

    counts : window_ms to (good, total), each Counts [S]; not empty, holds every window of `slo.tiers`
    unit   : how much one event counts: 1, or `MICRO` where the counts are sums in micro-units. None
             takes what the budgeting says: a slice of RatioTimeslices is a million parts.
    """
    per_event = (MICRO if slo.budgeting == "RatioTimeslices" else 1) if unit is None else unit
    windows_ms = tuple(sorted(counts))
    row = {window: index for index, window in enumerate(windows_ms)}
    good = np.stack([counts[window][0] for window in windows_ms])
    total = np.stack([counts[window][1] for window in windows_ms])
    burn = burn_rate(good, total, slo.target)

    shape = (len(slo.tiers), total.shape[1])
    burning, firing, absent = (np.zeros(shape, dtype=np.bool_) for _ in range(3))
    lower = np.full(shape, np.nan)
    for index, tier in enumerate(slo.tiers):
        long, short = row[tier.long_ms], row[tier.short_ms]
        absent[index] = (total[long] <= 0) | (total[short] <= 0)
        # NaN, no traffic, exceeds nothing.
        burning[index] = (burn[long] > tier.factor) & (burn[short] > tier.factor)
        asked = np.flatnonzero(burning[index])
        events = total[long, asked] / per_event
        bad = np.minimum((total[long, asked] - good[long, asked]) / per_event, events)
        lower[index, asked] = clopper_pearson_lower(bad, events, slo.confidence)
        if slo.confidence > 0:
            sure = (bad > 1) & (lower[index, asked] > tier.factor * (1.0 - slo.target))
            firing[index, asked] = sure
        else:
            firing[index, asked] = True
    return Verdicts(firing, burning, absent, lower, windows_ms, good, total, burn)
