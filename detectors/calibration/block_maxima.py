"""The tail of a score: how likely a normal step scores as high, read from the largest of each hour or so.

The largest of many normal scores follows a Gumbel distribution, whatever their own distribution is, if its
tail falls about exponentially. That of distances falls more slowly, that of their power `POWER` hardly does.
Two quartiles of the blocks' largest fix the distribution. So up to a quarter of the blocks may hold
anomalies, as unlabelled history does, and the tail is that of the others.

Measured on servers' metrics (`benchmarks/multivariate.py`): for configured rates of 0.05 to 0.5 a week and
series, real rates are at most twice those; far lower rates need heavier tails than two quartiles can tell.

Source: Gumbel, "Statistics of Extremes" (1958); Siffer et al., "Anomaly Detection in Streams with Extreme
Value Theory" (KDD 2017), with block maxima and quantiles in place of peaks and likelihood, for robustness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from models.arrays import Numbers, Rows

BLOCK_STEPS = 60
"""Steps whose largest score counts: long enough that neighbouring blocks hardly depend on each other."""

BLOCKS_MIN = 8
"""Blocks that quartiles need; a shorter history is cut into shorter blocks."""

LOWER, UPPER = 0.25, 0.75

POWER = 2.0 / 3.0

SCALE_SHARE_MIN = 0.02
"""Least scale as a share of the location: scores that never varied would else make any change impossible."""


@dataclass(frozen=True, slots=True)
class GumbelTail:
    """Distribution of the largest of `block_steps` normal scores.

    location, scale : of the score's power `POWER`; scale above 0
    """

    location: float
    scale: float
    block_steps: int

    @classmethod
    def fit(cls, scores: Numbers, *, block_steps: int = BLOCK_STEPS) -> Self:
        """Learn from scores : Numbers [T] from 0, in order of time.

        Raises ValueError where there are fewer than `BLOCKS_MIN` scores, or one is negative or not finite.
        """
        if len(scores) < BLOCKS_MIN:
            raise ValueError(f"at least {BLOCKS_MIN} scores are needed for a tail, got {len(scores)}")
        if not (np.isfinite(scores) & (scores >= 0)).all():
            raise ValueError(
                "scores of a tail are finite and at least 0; leave out steps that were not judged"
            )
        block = max(1, min(block_steps, len(scores) // BLOCKS_MIN))
        count = len(scores) // block
        largest = scores[len(scores) - count * block :].reshape(count, block).max(axis=1) ** POWER
        location, scale = quartile_fit(largest[None])
        return cls(float(location[0]), float(scale[0]), block)


def quartile_fit(largest: Numbers, *, far: float | None = None) -> tuple[Numbers, Numbers]:
    """Location and scale, Numbers [S] each, from powers of blocks' largest scores, Numbers [S, N].

    far : a quantile above the upper quartile; where it lies further out than the quartiles tell, as with
          ratios of few requests, the scale is the larger one that it tells
    NaN is left out; no row is NaN all over.
    """
    low, high = np.nanquantile(largest, [LOWER, UPPER], axis=1)
    scale = (high - low) / (_reduced(UPPER) - _reduced(LOWER))
    location = low - scale * _reduced(LOWER)
    if far is not None:
        beyond = np.nanquantile(largest, far, axis=1) - high
        scale = np.maximum(scale, beyond / (_reduced(far) - _reduced(UPPER)))
    return location, np.maximum(scale, np.maximum(SCALE_SHARE_MIN * np.abs(location), 1e-9))


def step_tail(scores: Numbers, location: Numbers, scale: Numbers, block_steps: Rows) -> Numbers:
    """Probability that a normal step scores at least as high, of `GumbelTail`s by column.

    scores : Numbers [T, S] from 0; NaN stays. The others are Numbers [S] and Rows [S].
    """
    # Of n independent steps, all stay below x with the n-th power of one step's probability.
    rarity = np.exp(np.minimum((location - scores**POWER) / scale, 700.0)) / block_steps
    tail: Numbers = -np.expm1(-rarity)
    return tail


def _reduced(probability: float) -> float:
    """The quantile of the Gumbel distribution of location 0 and scale 1."""
    return float(-np.log(-np.log(probability)))
