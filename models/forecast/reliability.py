"""Whether probabilities mean what they say: reliability table, Brier score, and climatology to compare with.

Of the cases given 70 to 90 %, 70 to 90 % must happen. A forecaster that always says how often it happened in
the past ("climatology") is calibrated too, so the Brier score must also be below that one's.

Sources: Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950);
Murphy, A new vector partition of the probability score, Journal of Applied Meteorology 12 (1973).

Axes: N cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.stats import beta

from models.arrays import Mask, Numbers

EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Bins of the table; 0.7 to 0.9 is the one that a person would act on."""


@dataclass(frozen=True, slots=True)
class ReliabilityRow:
    """Cases whose probability lies in [low, high), the last bin's in [low, high].

    mean_probability, observed : None where there is no case
    observed_low, observed_high : 90 % interval of the true rate (Clopper-Pearson), were cases independent
    """

    low: float
    high: float
    count: int
    mean_probability: float | None
    observed: float | None
    observed_low: float | None
    observed_high: float | None


def reliability_table(
    probability: Numbers, happened: Mask, edges: Sequence[float] = EDGES
) -> list[ReliabilityRow]:
    """How often it happened, by what was said before.

    probability : Numbers [N] in [0, 1]
    happened    : Mask [N]
    edges       : ascending from 0 to 1

    Raises ValueError where a probability is none, or lengths differ.
    """
    _check(probability, happened)
    place = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, len(edges) - 2)
    rows = []
    for number, (low, high) in enumerate(pairwise(edges)):
        inside = place == number
        count, hits = int(inside.sum()), int(happened[inside].sum())
        if count == 0:
            rows.append(ReliabilityRow(low, high, 0, None, None, None, None))
            continue
        least = 0.0 if hits == 0 else float(beta.ppf(0.05, hits, count - hits + 1))
        most = 1.0 if hits == count else float(beta.ppf(0.95, hits + 1, count - hits))
        mean = float(probability[inside].mean())
        rows.append(ReliabilityRow(low, high, count, mean, hits / count, least, most))
    return rows


def brier_score(probability: Numbers, happened: Mask) -> float:
    """Mean squared difference of probability and outcome: 0 is perfect, 0.25 is a coin. NaN without a case.

    >>> brier_score(np.array([1.0, 0.5]), np.array([True, False]))
    0.125
    """
    _check(probability, happened)
    if not len(probability):
        return float("nan")
    return float(((probability - happened) ** 2).mean())


def brier_skill(probability: Numbers, reference: Numbers, happened: Mask) -> float:
    """Share of the reference's Brier score that is saved: 1 is perfect, 0 no better, below 0 worse.

    reference : Numbers [N], probabilities of climatology
    NaN without a case, and where the reference is perfect.
    """
    base = brier_score(reference, happened)
    return 1.0 - brier_score(probability, happened) / base if base > 0 else float("nan")


def climatology(history: Numbers, limit: float, horizon: int, *, above: bool = True) -> float:
    """How often the limit was reached within `horizon` steps, over all such stretches of the past.

    history : Numbers [T] up to the origin; NaN reaches nothing
    Laplace's rule keeps it off 0 and 1: (k + 1/2) / (n + 1) with n stretches that do not overlap.
    """
    reached = history >= limit if above else history <= limit
    count = max(len(history) // horizon, 0)
    if count == 0:
        return 0.5
    stretches = reached[len(reached) - count * horizon :].reshape(count, horizon).any(axis=1)
    return float((stretches.sum() + 0.5) / (count + 1))


def _check(probability: Numbers, happened: Mask) -> None:
    if len(probability) != len(happened):
        raise ValueError(f"{len(probability)} probabilities for {len(happened)} outcomes")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probabilities lie between 0 and 1; leave out cases that have none")
