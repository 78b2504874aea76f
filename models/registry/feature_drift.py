"""Whether recent features still look like those a model was trained on.

A manifest keeps, for each feature, points of the training data's distribution. Recent data are counted
between the same points, and the two histograms compared by the population stability index

    PSI = sum over bins of (recent - trained) * ln(recent / trained)

(Siddiqi, Credit Risk Scorecards, 2006: below 0.1 stable, above 0.25 shifted) and by the largest distance of
the distribution functions at the points (Kolmogorov-Smirnov).

Limit: without any drift PSI is about chi2(B - 1) * (1/N + 1/M) for B bins, N and M independent rows
(Yurdakul, 2018), so that few rows look like drift. The bound is raised accordingly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from models.arrays import Numbers

__all__ = ["BIN_COUNT", "PSI_MAX", "Drift", "FeatureSample", "drift_of", "sample_features"]

BIN_COUNT = 20
"""Bins of equal share in the training data, where its values are all different."""

PSI_MAX = 0.25
"""Above this a feature has shifted."""

MISSING_CHANGE_MAX = 0.25
"""A share of missing values that changed by more than this is a shift too."""

ROWS_MIN = 50
"""With fewer recent values of a feature nothing is said about it."""

NULL_PROBABILITY = 0.001
"""How probable a PSI beyond the raised bound is for one feature that has not shifted."""


class FeatureSample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Distribution of one feature in the training data.

    points  : ascending values
    below   : for each point the share of values at most as large
    rows    : number of values, missing ones left out
    missing : share of rows without a value
    """

    name: str
    points: tuple[float, ...]
    below: tuple[float, ...]
    rows: int
    missing: float

    def __post_init__(self) -> None:
        if len(self.points) != len(self.below):
            raise ValueError(f"feature {self.name}: as many shares as points expected")


@dataclass(frozen=True, slots=True)
class Drift:
    """How recent features differ from the training data's.

    features       : names of those that both have; the arrays have one value for each
    psi, distance  : NaN where there are too few rows
    psi_allowed    : above it a feature has shifted
    missing_change : share of missing values now, less that in training
    reasons        : why to train again; empty if nothing shifted
    """

    features: tuple[str, ...]
    psi: Numbers
    psi_allowed: Numbers
    distance: Numbers
    missing_change: Numbers
    reasons: tuple[str, ...]

    @property
    def retrain(self) -> bool:
        """Whether the model should be trained again on recent data."""
        return bool(self.reasons)


def sample_features(names: Sequence[str], values: Numbers) -> tuple[FeatureSample, ...]:
    """What a manifest keeps of the features it was trained on.

    values : Numbers [..., F]; NaN where missing
    """
    rows = values.reshape(-1, len(names))
    ordered = np.sort(np.where(np.isfinite(rows), rows, np.nan), axis=0)
    return tuple(_sample(name, ordered[:, number]) for number, name in enumerate(names))


def _sample(name: str, ordered: Numbers) -> FeatureSample:
    total = len(ordered)
    present = ordered[: total - np.count_nonzero(np.isnan(ordered))]
    if not len(present):
        return FeatureSample(name, (), (), 0, 1.0 if total else 0.0)
    # Values that occur, not interpolated ones: ties then fall on one side in both samples.
    places = np.ceil(np.linspace(0.0, 1.0, BIN_COUNT + 1) * (len(present) - 1)).astype(np.int64)
    points = np.unique(present[places])
    below = np.searchsorted(present, points, side="right") / len(present)
    return FeatureSample(
        name, tuple(points.tolist()), tuple(below.tolist()), len(present), 1.0 - len(present) / total
    )


def drift_of(
    trained: Sequence[FeatureSample],
    names: Sequence[str],
    values: Numbers,
) -> Drift:
    """Compare recent features with those of the training data.

    values : Numbers [..., F] of the features `names`; NaN where missing
    """
    rows = values.reshape(-1, len(names))
    known = {sample.name: sample for sample in trained}
    both = [number for number, name in enumerate(names) if name in known]
    ordered = np.sort(np.where(np.isfinite(rows), rows, np.nan), axis=0)
    count = len(rows)
    psi, allowed, distance, missing = (np.full(len(both), np.nan) for _ in range(4))
    reasons = [f"feature {name} was not there in training" for name in names if name not in known]
    reasons += [f"feature {sample.name} is gone" for sample in trained if sample.name not in names]
    for place, number in enumerate(both):
        sample = known[names[number]]
        present = ordered[: count - np.count_nonzero(np.isnan(ordered[:, number])), number]
        if count >= ROWS_MIN:
            missing[place] = 1.0 - len(present) / count - sample.missing
            if abs(missing[place]) > MISSING_CHANGE_MAX:
                reasons.append(
                    f"feature {sample.name}: {100 * sample.missing:.0f} % were missing in training, "
                    f"now {100 * (sample.missing + missing[place]):.0f} %"
                )
        if min(len(present), sample.rows) < ROWS_MIN:
            continue
        psi[place], allowed[place], distance[place] = _compared(sample, present)
        if psi[place] > allowed[place]:
            reasons.append(
                f"feature {sample.name} has shifted: PSI {psi[place]:.2f}, allowed {allowed[place]:.2f}"
            )
    return Drift(tuple(names[number] for number in both), psi, allowed, distance, missing, tuple(reasons))


def _compared(sample: FeatureSample, present: Numbers) -> tuple[float, float, float]:
    """PSI, what it may be, and the distance of the distribution functions.

    present : Numbers [M], ascending
    """
    from scipy.special import chdtri  # a second to import, and manifests are read by every command

    before = np.asarray(sample.below)
    now = np.searchsorted(present, np.asarray(sample.points), side="right") / len(present)
    # The last bin is what lies above all of training; half a row a bin keeps empty bins finite.
    trained = _smoothed(np.diff(before, prepend=0.0, append=1.0), sample.rows)
    recent = _smoothed(np.diff(now, prepend=0.0, append=1.0), len(present))
    psi = float(np.sum((recent - trained) * np.log(recent / trained)))
    by_chance = chdtri(len(trained) - 1, NULL_PROBABILITY) * (1.0 / sample.rows + 1.0 / len(present))
    return psi, max(PSI_MAX, float(by_chance)), float(np.abs(now - before).max())


def _smoothed(shares: Numbers, rows: int) -> Numbers:
    return (shares * rows + 0.5) / (rows + 0.5 * len(shares))
