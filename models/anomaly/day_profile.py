"""What is usual at each time of the day, by half hours of UTC, as far as the day explains it.

A profile is a median over days, so that one day's anomaly is in no profile. It is shrunk by the share of the
(robust) variance that it leaves unexplained, so that a signal without a daily course gets none.

Axes: T steps, S series, F signals, D half hours.
"""

from __future__ import annotations

import numpy as np

from models.arrays import EpochMs, Numbers, Rows
from models.calendar.units import DAY_MS

SLOTS = 48
DAYS_MIN = 3
"""Days of history that a profile needs, so that the median is not one day's value."""


def slot_of_day(times: EpochMs) -> Rows:
    """Half hour of the day, from 0, of EpochMs [T].

    >>> slot_of_day(np.array([0, 1_800_000, DAY_MS - 1])).tolist()
    [0, 1, 47]
    """
    slots: Rows = times % DAY_MS * SLOTS // DAY_MS
    return slots


def fit_profile(times: EpochMs, distances: Numbers) -> Numbers:
    """What is usual at each half hour, Numbers [D, F] in the distances' unit; zeros for a short history.

    times     : EpochMs [T], ascending
    distances : Numbers [T, F], without NaN
    """
    profile = np.zeros((SLOTS, distances.shape[1]))
    # A step belongs to the time up to its end, hence the tolerance of a slot.
    if not len(times) or times[-1] - times[0] < DAYS_MIN * DAY_MS - DAY_MS // SLOTS:
        return profile
    slots = slot_of_day(times)
    for slot in range(SLOTS):
        rows = distances[slots == slot]
        if len(rows):
            profile[slot] = np.median(rows, axis=0)
    before, after = _deviation(distances), _deviation(distances - profile[slots])
    unexplained = (after / np.where(before > 0, before, 1.0)) ** 2
    shrunk: Numbers = profile * np.where(before > 0, np.maximum(1.0 - unexplained, 0.0), 0.0)
    return shrunk


def _deviation(rows: Numbers) -> Numbers:
    """Median distance from the median: Numbers [F]."""
    deviation: Numbers = np.median(np.abs(rows - np.median(rows, axis=0)), axis=0)
    return deviation


def usual_at(times: EpochMs, profiles: Numbers) -> Numbers:
    """The profiles' values Numbers [T, S, F] at EpochMs [T]; profiles : Numbers [S, D, F]."""
    values: Numbers = np.swapaxes(profiles[:, slot_of_day(times)], 0, 1)
    return values
