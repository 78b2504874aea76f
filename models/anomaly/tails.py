"""Tails of distributions: ranks among known values, and what lies beyond a threshold.

Excesses over a high threshold have a generalised Pareto distribution, whatever that of all values is; its
shape is 0, which makes it exponential, where that is neither heavy nor bounded. How often and how far values
exceed the threshold is counted, beside a prior that speaks where little was seen.

Sources: Pickands, "Statistical Inference Using Extreme Order Statistics" (1975); Coles, "An Introduction to
Statistical Modeling of Extreme Values" (2001), section 4.2; Hosking and Wallis, "Parameter and Quantile
Estimation for the Generalized Pareto Distribution" (1987), for the moments.

Axes: K known values, N values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.arrays import Numbers

KNOWN_MAX = 4096
"""Known scores that are kept, evenly spaced in rank."""

TOP = 0.02
"""Share of the known scores that the tail is fitted to."""


A = TypeVar("A", float, Numbers)


def share_as_high(known: Numbers, values: Numbers) -> Numbers:
    """Share of the known values that are as high, never 0.

    known : Numbers [K], ascending; values : Numbers of any shape
    """
    count = len(known)
    as_high = count - np.searchsorted(known, values, side="left")
    share: Numbers = (as_high + 0.5) / (count + 1)
    return share


def exceedance_share(exceeded: A, seen: A, *, prior: float, share: float) -> A:
    """Share of values that exceed a threshold, of so many seen and so many that did.

    prior : exceedances for which the expected `share` speaks
    """
    return (exceeded + prior) / (seen + prior / share)


def exceedance_mean(excess: A, exceeded: A, *, prior: float, mean: float) -> A:
    """Mean of what values exceed a threshold by, of the sum of it and their number.

    prior : exceedances for which the expected `mean` speaks
    """
    return (excess + prior * mean) / (exceeded + prior)


def pareto_by_moments(excess: Numbers, weight: Numbers, *, shape_max: float) -> tuple[float, float]:
    """Shape, from 0 to `shape_max`, and scale of the generalised Pareto distribution of weighted excesses,
    Numbers [N] each; no shape below 0, since a tail with an end would call things impossible that have merely
    not happened."""
    mean = float((weight * excess).sum() / weight.sum())
    variance = float((weight * np.square(excess - mean)).sum() / weight.sum())
    shape = float(np.clip(0.5 * (1 - mean * mean / max(variance, 1e-12)), 0.0, shape_max))
    return shape, mean * (1 - shape)


def pareto_log_tail(excess: Numbers, shape: float, scale: float) -> Numbers:
    """Natural log of the share of exceedances that go as far : Numbers of Numbers from 0."""
    tail: Numbers = -np.log1p(shape * excess / scale) / shape if shape > 1e-6 else -excess / scale
    return tail


@dataclass(frozen=True, slots=True)
class Tail:
    """Ranks among known scores, and an exponential tail beyond the top 2 %, which suits logarithmic scores.

    Guarantee: a surprise never falls as the score rises; exp(-surprise) of a score like the known ones is
    uniform up to the resolution of the known scores.

    known  : Numbers [K], ascending
    excess : mean of what the top scores are above `TOP`'s threshold, 0 where they are all the same
    """

    known: Numbers
    excess: float

    @classmethod
    def fit(cls, scores: Numbers) -> Self:
        """Learn from scores : Numbers [N] of what is mostly normal. Raises ValueError if there is none."""
        ordered = np.sort(np.asarray(scores, np.float64))
        if len(ordered) == 0 or not np.isfinite(ordered).all():
            raise ValueError("one finite score at least expected to tell a tail by")
        top = ordered[threshold_place(len(ordered)) :]
        places = np.linspace(0, len(ordered) - 1, min(len(ordered), KNOWN_MAX)).round().astype(np.int64)
        return cls(ordered[places], float((top - top[0]).mean()))

    def surprise(self, scores: Numbers) -> Numbers:
        """Numbers [N], -log of the share of known scores that are as high, 0 or more; unbounded."""
        count = len(self.known)
        found = -np.log(np.minimum(1.0, share_as_high(self.known, scores)))
        if self.excess > 0:
            threshold = self.known[threshold_place(count)]
            at_threshold = -np.log((count - threshold_place(count) + 0.5) / (count + 1.0))
            above = scores > threshold
            found = np.where(
                above, at_threshold + (scores - threshold) / self.excess, np.minimum(found, at_threshold)
            )
        surprise: Numbers = np.maximum(found, 0.0)
        return surprise

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The tail by names of its fields, for `from_arrays`."""
        return {"known": self.known, "excess": np.array(self.excess)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The tail that `arrays` was taken of. Raises ValueError if it cannot have been."""
        if set(arrays) != {"known", "excess"}:
            raise ValueError(
                f"a tail consists of known and excess; got {', '.join(map(str, arrays)) or 'none'}"
            )
        known, excess = arrays["known"], arrays["excess"]
        for name, array, axes in (("known", known, 1), ("excess", excess, 0)):
            if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim != axes:
                raise ValueError(f"{name!r} of a tail is not an array of numbers with {axes} axes")
            if not np.isfinite(array).all():
                raise ValueError(f"{name!r} of a tail holds something that is not a number")
        if not 1 <= len(known) <= KNOWN_MAX or (np.diff(known) < 0).any() or float(excess) < 0:
            raise ValueError(
                f"1 to {KNOWN_MAX} ascending scores and an excess of at least 0 expected of a tail"
            )
        return cls(known.astype(np.float64), float(excess))


def threshold_place(count: int) -> int:
    """Place of the threshold among so many ascending scores: the top `TOP`, but ten if there are as many."""
    return max(0, count - max(10, int(TOP * count)))
