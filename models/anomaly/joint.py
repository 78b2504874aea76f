"""How far a service's signals, taken together, lie from where they usually lie together.

History gives the directions in which the signals vary together and how much. A step is measured along each
of them in units of what is usual there, so that a small step across a strong correlation counts as much as a
large one along it: the residual of a principal component analysis and the distance along its components, in
one. The variance of each direction is raised by `SHRINKAGE` (in squared spreads), below which lies noise.

Guarantee: contributions of signals sum to the oddness exactly.

Axes: T steps, S series, F signals (as many directions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from models.arrays import Mask, Numbers, Rows

SHRINKAGE = 0.1
"""Added to every direction's variance, in squared spreads."""

HISTORY_SPREADS_MAX = 30.0
"""History is cut here: a few enormous rows would otherwise be the directions."""

LEADING_SHARE = 0.9
"""Share of the variance whose directions are the usual common movement; the others hold what is left."""


@dataclass(frozen=True, slots=True)
class Joint:
    """Where the signals of one service lie together.

    mean       : Numbers [F], in spreads
    directions : Numbers [F, F], a column turns a distance from the mean into units of what is usual
    leading    : number of the first columns that hold the usual common movement
    """

    mean: Numbers
    directions: Numbers
    leading: int

    @classmethod
    def fit(cls, distances: Numbers) -> Self:
        """Learn from distances : Numbers [T, F] in spreads, without NaN.

        Raises ValueError where there are fewer than two rows.
        """
        if len(distances) < 2:
            raise ValueError(f"at least 2 rows are needed to see signals vary together, got {len(distances)}")
        rows = np.clip(distances, -HISTORY_SPREADS_MAX, HISTORY_SPREADS_MAX)
        mean = rows.mean(axis=0)
        moved = rows - mean
        return cls.of_moment(moved.T @ moved / (len(rows) - 1), mean)

    @classmethod
    def of_moment(cls, covariance: Numbers, mean: Numbers | None = None) -> Self:
        """From covariances in squared spreads, Numbers [F, F], about a mean, Numbers [F] or zeros."""
        mean = np.zeros(len(covariance)) if mean is None else mean
        variance, axes = np.linalg.eigh(covariance)
        variance, axes = np.maximum(variance[::-1], 0.0), axes[:, ::-1]
        total = variance.sum()
        leading = int(np.searchsorted(np.cumsum(variance), LEADING_SHARE * total)) + 1 if total > 0 else 0
        return cls(mean, axes / np.sqrt(variance + SHRINKAGE), min(leading, len(mean)))


def along_directions(offsets: Numbers, directions: Numbers) -> Numbers:
    """Distances along each direction in units of what is usual: Numbers [T, S, F].

    offsets    : Numbers [T, S, F] from the mean
    directions : Numbers [S, F, F]

    Summed without a matrix library, so that a step's numbers do not depend on how many come with it.
    """
    found: Numbers = np.einsum("tsf,sfk->tsk", offsets, directions, optimize=False)
    return found


def mean_distance(along: Numbers) -> Numbers:
    """Oddness, Numbers [T, S]: the mean distance over all directions of along : Numbers [T, S, F].

    About 0.8 where the signals are normal; a mean of absolute, not of squared distances, lets an anomaly that
    touches many directions a little count as much as one that touches few a lot.
    """
    found: Numbers = np.abs(along).mean(axis=-1)
    return found


def signal_shares(offsets: Numbers, along: Numbers, directions: Numbers) -> Numbers:
    """What each signal adds to the oddness, Numbers [T, S, F]: sums to `mean_distance(along)`.

    The distance along a direction is a sum over signals; each gets its term, with the sign that lets the
    terms sum to the absolute value. A signal that makes up for others has a negative share.
    """
    slope: Numbers = np.einsum("tsk,sfk->tsf", np.sign(along), directions, optimize=False)
    shares: Numbers = offsets * slope / offsets.shape[-1]
    return shares


def breaks_apart(along: Numbers, leading: Rows) -> Numbers:
    """How much odder a step is across the usual common movement than along it: Numbers [T, S], above 0.

    along   : Numbers [T, S, F]
    leading : Rows [S], of each `Joint`

    Above 1 the signals no longer go together; below 1 they go, together, where they seldom go.
    """
    first: Mask = np.arange(along.shape[-1]) < leading[:, None]
    distance = np.abs(along)
    ahead = (distance * first).sum(axis=-1) / np.maximum(first.sum(axis=-1), 1)
    across = (distance * ~first).sum(axis=-1) / np.maximum((~first).sum(axis=-1), 1)
    ratio: Numbers = across / np.maximum(ahead, 1e-12)
    return ratio
