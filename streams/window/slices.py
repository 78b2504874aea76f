"""Slices of an SLO that is judged by them: what share of its slices a series met."""

from __future__ import annotations

import numpy as np

from detectors.slo.slo import Slo
from models.arrays import Counts
from streams.plan.rollup import MICRO


def judge_slices(counts: Counts, slo: Slo) -> tuple[Counts, Counts]:
    """Good and total parts of a slice of each series; a slice without events counts for nothing.

    counts  : Counts [S, 2], good and total events of the slice
    returns : for Timeslices 1 of 1 if the share of good events reaches `slo.slice_target`, else 0 of 1;
              for RatioTimeslices that share in millionths of a million
    """
    good, total = counts.T
    filled = total > 0
    ratio = np.divide(good, total, out=np.zeros(len(total)), where=filled)
    if slo.budgeting == "Timeslices":
        return (filled & (ratio >= slo.slice_target)).astype(np.int64), filled.astype(np.int64)
    parts = np.clip(np.rint(ratio * MICRO), 0, MICRO).astype(np.int64)
    return np.where(filled, parts, 0), np.where(filled, MICRO, 0)
