"""From how odd something is to how rarely it would be so odd: tails fitted to what was seen, peaks over
threshold.

Two steps, both over all series of a signal class at once:

- `PooledTail` turns one measure of oddness into a surprise, -log10 of its tail probability. The middle of the
  distribution is that of the pool; beyond a high quantile the excess is exponential, and how often and how
  far a series goes there is its own, as far as it has been seen, and the pool's otherwise.
- `IncidentRate` turns the final oddness into a tail whose unit is incidents: the probability that an
  ordinary step is the peak of a run as odd. A threshold on it is a rate of false alarms, whatever the
  steps' dependence. The tail beyond the pool's experience is a generalised Pareto distribution.

Sources: Siffer et al., "Anomaly Detection in Streams with Extreme Value Theory" (SPOT), KDD 2017; Coles, "An
Introduction to Statistical Modeling of Extreme Values" (2001), section 5.3.3; `models.anomaly.tails`.

Axes: N rows, S series, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from models.anomaly.tails import (
    exceedance_mean,
    exceedance_share,
    pareto_by_moments,
    pareto_log_tail,
    share_as_high,
)
from models.arrays import Numbers, Rows
from models.calendar.units import WEEK_MS

POOL_ROWS = 8192

POOL_ROWS_MIN = 20
"""Rows below which no quantile is told."""

HIGH_QUANTILE = 0.97

PRIOR_EXCEEDANCES = 30.0
"""Exceedances of a series for which the pool's tail speaks."""

MEMORY = 80.0
"""Refreshes over which a count fades. With one every 50 steps, 4,000 steps are remembered: what was learnt
before a season was known must not pass for the usual."""

KEPT = 1 - 1 / MEMORY

SURPRISE_MAX = 12.0
"""Tails further out than 1e-12 are not told apart: no history says anything of them."""


class PooledTail:
    """The tail of one measure over many series.

    The pool is a ring of the latest rows that were offered; `refresh` makes them count. Between two calls
    of it all answers come from the same fit, so that they do not depend on how steps were batched.
    """

    def __init__(self, series: int) -> None:
        self._ring = np.zeros(POOL_ROWS, np.float32)
        self._added = 0
        self._sorted: Numbers = np.zeros(0)
        self._high = 0.0
        self._excess = 1.0
        self._base = np.zeros((series, 3), np.float32)
        self._new = np.zeros((series, 3), np.float32)

    def extend(self, series: int) -> None:
        """Append so many series that nothing is known of."""
        fresh = np.zeros((series, 3), np.float32)
        self._base = np.concatenate([self._base, fresh])
        self._new = np.concatenate([self._new, fresh])

    def adopt(self, other: PooledTail, rows: Rows) -> None:
        """Take over another's pool, and append some of its series; what the own ones have shown stays."""
        self._ring, self._added = other._ring.copy(), other._added
        self._sorted, self._high, self._excess = other._sorted.copy(), other._high, other._excess
        self.extend(len(rows))
        count = len(self._base) - len(rows)
        self._base[count:] = other._base[rows]

    def keep(self, rows: Rows) -> None:
        """Keep only these series, in this order."""
        self._base, self._new = self._base[rows], self._new[rows]

    @property
    def ready(self) -> bool:
        return len(self._sorted) >= POOL_ROWS_MIN

    def surprise(self, odd: Numbers) -> Numbers:
        """-log10 of the tail, Numbers [T, S] of Numbers [T, S]; NaN stays, and all is NaN before `ready`."""
        if not self.ready:
            return np.full(odd.shape, np.nan)
        middle = -np.log10(share_as_high(self._sorted, odd))
        seen, exceeded, excess = (self._base[:, column].astype(np.float64) for column in range(3))
        share = exceedance_share(exceeded, seen, prior=PRIOR_EXCEEDANCES, share=1 - HIGH_QUANTILE)
        mean = exceedance_mean(excess, exceeded, prior=PRIOR_EXCEEDANCES, mean=self._excess)
        far = -np.log10(share) + (odd - self._high) / mean / np.log(10)
        found = np.minimum(np.where(odd > self._high, far, middle), SURPRISE_MAX)
        return np.where(np.isnan(odd), np.nan, found)

    def learn(self, odd: Numbers, pooled: Rows) -> None:
        """Take in one step.

        odd    : Numbers [S]; NaN is passed over
        pooled : Rows, the series whose values go into the pool
        """
        some = odd[pooled]
        some = some[~np.isnan(some)]
        place = (self._added + np.arange(len(some))) % POOL_ROWS
        self._ring[place] = some
        self._added += len(some)
        if self.ready:
            beyond = np.nan_to_num(odd - self._high, nan=-1.0)
            self._new[:, 0] += ~np.isnan(odd)
            self._new[:, 1] += beyond > 0
            # One anomaly must not hide the next: an excess counts up to a few times the usual.
            self._new[:, 2] += np.clip(beyond, 0.0, 8 * self._excess)

    def refresh(self) -> None:
        """Refit to the pool, and count what the series have shown since then."""
        self._base = (self._base + self._new) * np.float32(KEPT)
        self._new[:] = 0
        kept = self._ring[: min(self._added, POOL_ROWS)].astype(np.float64)
        if len(kept) < POOL_ROWS_MIN:
            return
        self._sorted = np.sort(kept)
        high, upper, half = np.quantile(self._sorted, (HIGH_QUANTILE, 0.9, 0.5))
        beyond = self._sorted[self._sorted > high] - high
        # Few rows lie beyond; the distance of two lower quantiles stands in for one more.
        self._high = float(high)
        self._excess = float((beyond.sum() + upper - half) / (len(beyond) + 1)) + 1e-12

    def state(self) -> dict[str, Any]:
        """All of it, for `restored`."""
        return {
            "ring": self._ring.copy(),
            "added": self._added,
            "sorted": self._sorted.copy(),
            "fit": [self._high, self._excess],
            "base": self._base.copy(),
            "new": self._new.copy(),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """The tail that `state` was taken of."""
        made = cls(len(state["base"]))
        made._ring = np.array(state["ring"], np.float32)
        made._added = int(state["added"])
        made._sorted = np.array(state["sorted"], np.float64)
        made._high, made._excess = (float(value) for value in state["fit"])
        made._base = np.array(state["base"], np.float32)
        made._new = np.array(state["new"], np.float32)
        return made


BINS = 1200
BIN = 0.01
"""Oddness up to 12 in steps of 0.01: as far as surprises go."""

PRIOR_RUNS = 100.0
"""Runs for which the prior tail speaks."""

PRIOR_SCALE = 0.35
"""Mean excess of oddness of the prior; surprises of one step that agree would have 1 / ln 10 = 0.43."""

PRIOR_PEAK = 0.75
"""Oddness that half of the runs of the prior stay below."""

TAIL_RUNS = 400.0
"""Runs whose peaks the Pareto tail is fitted to, at least; at most a tenth of all."""

SHAPE_MAX = 0.3

RUNS_ENOUGH = 10 * TAIL_RUNS
"""Runs in a week from which a week of them is all that counts."""

INCIDENTS_ENOUGH = 20.0
"""Expected incidents in a week from which their count corrects the tail in full."""

GAIN = 0.15
"""What one incident too many adds to the logarithm of the tail: with 100 a week, an error is put right within
a day, and chance alone moves the tail by a quarter."""

GAIN_EXPECTED = 0.7
"""Most that all incidents expected at once may weigh, so that the correction does not swing."""

CORRECTION_MAX = float(np.log(5.0))
"""Bound of the correction: it makes good what the fit has not seen yet, and no outage makes it deaf."""


class IncidentRate:
    """How often ordinary series have a run of steps whose peak is as odd.

    A run is a stretch of `run_steps` steps of a series. Peaks of runs are nearly independent, so the share of
    runs with a peak beyond a threshold, by run length, is the rate at which incidents begin there.

    What is odd changes while seasons are learnt, and on holidays; peaks of the past lag behind. So the tail
    is corrected by a factor that is fed back from the incidents that began (Gibbs and Candès, "Adaptive
    Conformal Inference Under Distribution Shift", NeurIPS 2021, on the logarithm of the tail).
    """

    def __init__(self, run_steps: int) -> None:
        assert run_steps > 0
        self.run_steps = run_steps
        self._counts = np.zeros(BINS)
        self._correction = 0.0
        self._table = self._fitted()

    def tail(self, odd: Numbers) -> Numbers:
        """Probability that a step begins an incident whose peak is as odd; NaN stays."""
        place = np.clip(np.nan_to_num(odd) / BIN, 0, BINS - 1)
        low = np.floor(place).astype(np.int64)
        share = place - low
        logs = self._table[low] * (1 - share) + self._table[np.minimum(low + 1, BINS)] * share
        return np.where(np.isnan(odd), np.nan, np.exp(np.minimum(logs + self._correction, 0.0)))

    def learn(self, peaks: Numbers) -> None:
        """Take in the peaks of runs that ended; counts from the next `refresh` on."""
        peaks = peaks[np.isfinite(peaks)]
        place = np.clip(peaks / BIN, 0, BINS - 1).astype(np.int64)
        self._counts += np.bincount(place, minlength=BINS)

    def correct(self, begun: float, expected: float, weekly: float) -> None:
        """Move the tail by how many incidents began, and how many should have by the rate that was asked for.

        weekly : incidents that should begin in a week; with few of them chance would move the tail, not need
        """
        if expected <= 0:
            return
        # Many at once have one cause, and say nothing of how often there is one.
        counted = min(begun, expected + 3 * np.sqrt(expected) + 1)
        gain = min(GAIN * min(1.0, weekly / INCIDENTS_ENOUGH) ** 2, GAIN_EXPECTED / expected)
        moved = self._correction + gain * (counted - expected)
        self._correction = float(np.clip(moved, -CORRECTION_MAX, CORRECTION_MAX))

    def refresh(self, memory: float = MEMORY) -> None:
        """Refit, and let what was counted fade over this many refreshes."""
        self._table = self._fitted()
        self._counts *= 1 - 1 / memory

    def _fitted(self) -> Numbers:
        """Natural logs of the tail at the bins' lower edges, Numbers [BINS + 1]."""
        edges = np.arange(BINS + 1) * BIN
        prior = PRIOR_RUNS * np.exp(-np.log(2) * np.minimum(edges / PRIOR_PEAK, 1.0))
        prior *= np.exp(-np.maximum(edges - PRIOR_PEAK, 0.0) / PRIOR_SCALE)
        beyond = np.append(np.cumsum(self._counts[::-1])[::-1], 0) + prior
        total = beyond[0]
        # The Pareto tail begins where enough runs lie beyond to be counted, so that it is only drawn further.
        want = min(TAIL_RUNS, 0.1 * total)
        start = int(np.flatnonzero(beyond >= want)[-1])
        excess = edges[start:-1] + BIN / 2 - edges[start]
        weight = -np.diff(beyond[start:])
        shape, scale = pareto_by_moments(excess, weight, shape_max=SHAPE_MAX)
        far = np.maximum(edges - edges[start], 0.0)
        fitted = np.where(far > 0, pareto_log_tail(far, shape, scale) + np.log(beyond[start]), 0.0)
        counted = np.log(np.maximum(beyond, 1e-300))
        share = np.where(far > 0, fitted, counted) - np.log(total)
        # 1 - (1 - p)**run = share: of the run, one step begins the incident.
        whole = np.minimum(np.exp(share), 1 - 1e-9)
        with np.errstate(divide="ignore"):
            exact = np.log(-np.expm1(np.log1p(-whole) / self.run_steps))
        table: Numbers = np.where(share < -20, share - np.log(self.run_steps), exact)
        return table

    def state(self) -> dict[str, Any]:
        """All of it, for `load`."""
        return {
            "counts": self._counts.copy(),
            "table": self._table.copy(),
            "correction": self._correction,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` gave. Raises ValueError if it did not."""
        counts = np.array(state["counts"], np.float64)
        table = np.array(state["table"], np.float64)
        if counts.shape != (BINS,) or table.shape != (BINS + 1,):
            raise ValueError("counts of incidents in other steps")
        self._counts, self._table = counts, table
        self._correction = float(state["correction"])


def run_memory(series: int, run_ms: int) -> float:
    """Runs of a series over which `IncidentRate` should remember: a week where there are enough series, so
    that all hours count alike and what was odd before the seasons were known does not; otherwise `MEMORY`.

    >>> run_memory(1000, 3_600_000)
    168.0
    >>> run_memory(1, 3_600_000)
    80.0
    """
    week = WEEK_MS / run_ms
    return max(week, 2.0) if series * week >= RUNS_ENOUGH else MEMORY


def tail_of_rate(false_alarms_per_series_per_week: float, step_ms: int) -> float:
    """Tail below which a step is an alarm, so that ordinary series have so many incidents a week.

    >>> round(tail_of_rate(0.1, 60_000) * 10_080, 6)
    0.1
    """
    return min(1.0, false_alarms_per_series_per_week * step_ms / WEEK_MS)
