"""When a series first reaches its limit: probability, expected time and range, from sample paths.

A value at the limit has reached it: a pool of 20 with 20 connections checked out has none left. Times count
from the last observation, in steps; a series that is at its limit already has crossed at 0.

Axes: n paths, H steps ahead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from models.arrays import Numbers

_ROUNDING = 1e-9

COMMON_SHARE = 0.25
"""Share of a path's errors that all its steps have in common, beyond the correlation of neighbours.

A level or a season that is wrong stays wrong for the whole horizon. Correlations measured in a backtest taper
off with the distance, so paths wander too freely and reach limits too often. Chosen on one half of the series
of `benchmarks/crossing.py`, and as good on the other."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """First times at which a limit is reached.

    seconds : Numbers [n], from the last observation; +Inf for paths that do not reach it within the horizon
    by_step : Numbers [H], ascending: probability that it has been reached by the end of each step
    """

    seconds: Numbers
    by_step: Numbers

    @property
    def probability(self) -> float:
        """Of reaching the limit within the horizon."""
        return float(np.isfinite(self.seconds).mean())

    @property
    def expected_seconds(self) -> float:
        """Mean time among the paths that reach it; +Inf if none does."""
        reached = self.seconds[np.isfinite(self.seconds)]
        return float(reached.mean()) if len(reached) else float("inf")

    def range_seconds(self, low: float = 0.05, high: float = 0.95) -> tuple[float, float]:
        """Quantiles of the time among the paths that reach it: "if it happens, then between"."""
        reached = np.sort(self.seconds[np.isfinite(self.seconds)])
        if not len(reached):
            return float("inf"), float("inf")
        # As np.quantile, at a tenth of its cost: a worker asks it of each series every minute.
        places = np.array([low, high]) * (len(reached) - 1)
        first, last = np.interp(places, np.arange(len(reached)), reached).tolist()
        return first, last

    def quantile_seconds(self, q: float) -> float:
        """The time by which it is reached with probability `q`; +Inf where the horizon ends before.

        Unlike `range_seconds` over all paths, so a rule such as `quantile 0.5 below two days` means what it
        says.
        """
        if not 0 < q < 1:
            raise ValueError(f"a quantile between 0 and 1 expected, got {q}")
        place = max(math.ceil(q * len(self.seconds) - _ROUNDING), 1) - 1
        return float(np.sort(self.seconds)[place])


def tied_paths(paths: Numbers, *, share: float = COMMON_SHARE, seed: int = 0) -> Numbers:
    """The same values at each step, dealt to the paths so that high ones stay together.

    paths   : Numbers [n, H]
    share   : of the variance (of ranks, as normal scores) that all steps of a path have in common; 0 to 1
    returns : Numbers [n, H]; each column holds just the values that it held

    Raises ValueError for another share.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share between 0 and 1 expected, got {share}")
    count = len(paths)
    ranks = paths.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    scores = special.ndtri((ranks + 0.5) / max(count, 1))
    common = np.random.default_rng(seed).standard_normal((count, 1))
    mixed = np.sqrt(share) * common + np.sqrt(1 - share) * scores
    places = mixed.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    dealt: Numbers = np.take_along_axis(np.sort(paths, axis=0), places, axis=0)
    return dealt


def first_crossing(
    paths: Numbers,
    limit: float | Numbers,
    *,
    step_ms: int,
    above: bool = True,
    current: float | None = None,
    current_limit: float | None = None,
) -> Crossing:
    """When the paths first reach the limit.

    paths         : Numbers [n, H]; NaN is a value that reaches nothing
    limit         : a number, Numbers [H], or Numbers [n, H]: paths of another series' forecast; NaN is no
                    limit
    above         : the limit is reached from below; else the other way round
    current       : the last observation, if it is to count
    current_limit : the limit at the last observation; needed with `current` if `limit` is a series

    Raises ValueError for shapes that do not fit.

    >>> ramp = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 2.0]])
    >>> found = first_crossing(ramp, 3.0, step_ms=1000)
    >>> found.probability, found.expected_seconds, found.by_step.tolist()
    (0.5, 3.0, [0.0, 0.0, 0.5])
    """
    if paths.ndim != 2 or 0 in paths.shape:
        raise ValueError(f"paths of shape (count, steps) expected, got {paths.shape}")
    if step_ms <= 0:
        raise ValueError(f"a step above 0 ms expected, got {step_ms}")
    bound = np.asarray(limit, np.float64)
    if bound.shape not in ((), paths.shape[1:], paths.shape):
        raise ValueError(
            f"a limit is a number, one for each of the {paths.shape[1]} steps or one for each step of "
            f"{paths.shape[0]} paths; got shape {bound.shape}"
        )
    reached = paths >= bound if above else paths <= bound
    if current is not None:
        now = float(bound) if bound.ndim == 0 else current_limit
        if now is None:
            raise ValueError("with a series as limit and `current`, give `current_limit` too")
        if current >= now if above else current <= now:
            return Crossing(np.zeros(len(paths)), np.ones(paths.shape[1]))
    happens = reached.any(axis=1)
    step = reached.argmax(axis=1)
    seconds = np.where(happens, (step + 1) * (step_ms / 1000.0), np.inf)
    by_step = np.bincount(step[happens], minlength=paths.shape[1]).cumsum() / len(paths)
    return Crossing(seconds, by_step)
