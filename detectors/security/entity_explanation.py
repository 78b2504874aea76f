"""Why the forest finds an entity unusual: in shares of the counts that it was shown, and in words.

Axes: N entities, F features of a panel, K features of the forest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.security.entity_features import FEATURES, REQUESTS
from models.anomaly.forest import Forest
from models.arrays import Numbers

REASONS_MAX = 3

_AMOUNTS = {
    feature.counts[0]: column
    for column, feature in enumerate(FEATURES)
    if feature.name in (f"{REQUESTS} a minute", "bytes a minute", *feature.counts)
}
"""Columns that are logarithms of a count, by the count."""


def count_shares(forest: Forest, matrix: Numbers, names: Sequence[str]) -> Numbers:
    """Numbers [N, F], what the forest holds against each of some entities, shared among the panel's counts.

    matrix : Numbers [N, K]; what counts for an entity is left out
    names  : of the F counts
    """
    parts = np.maximum(forest.contributions(matrix), 0.0) * np.where(matrix < forest.median, -1.0, 1.0)
    sharing = np.zeros((len(FEATURES), len(names)))
    for column, feature in enumerate(FEATURES):
        used = [place for place, name in enumerate(names) if name in feature.counts]
        sharing[column, used] = 1.0 / max(len(used), 1)
    shares: Numbers = parts @ sharing
    return shares


def unusual_reason(forest: Forest, row: Numbers) -> str:
    """The features that count most against an entity, beside what is usual.

    row : Numbers [K]
    """
    parts = forest.contributions(row[None])[0]
    top = [column for column in np.argsort(-parts, kind="stable")[:REASONS_MAX].tolist() if parts[column] > 0]
    return ", ".join(_told(column, float(row[column]), float(forest.median[column])) for column in top)


def _told(column: int, value: float, usual: float) -> str:
    name = FEATURES[column].name
    if column in _AMOUNTS.values():
        return f"{name} {np.expm1(value):,.0f} (usual {np.expm1(usual):,.0f})"
    return f"{name} {value:.2g} (usual {usual:.2g})"


def expected_counts(forest: Forest, names: Sequence[str], part: float) -> Numbers:
    """Numbers [F], what an ordinary entity has of each count in a step; NaN where the forest does not tell.

    part : of a minute that a step is
    """
    return np.array(
        [np.expm1(forest.median[_AMOUNTS[name]]) * part if name in _AMOUNTS else np.nan for name in names]
    )
