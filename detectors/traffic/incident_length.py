"""One incident, one alarm: when an incident of a series begins, how long it lasts, and the peaks of its runs.

An incident begins with a step beyond the threshold and ends when `REST_STEPS` steps in a row stayed within
it: a relapse belongs to the incident that it relapses into. Axes: S series.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.arrays import Mask, Numbers, Rows

REST_STEPS = 60

NEVER = -(1 << 30)


@dataclass(slots=True)
class Incidents:
    """Where each series is; made by `empty`.

    last  : step of the latest exceedance
    peak  : highest oddness of the run that is under way
    worst : severity of the incident so far
    begun : whether an incident began in the run that is under way; runs are shorter than the rest
    """

    last: NDArray[np.int32]
    peak: NDArray[np.float32]
    worst: NDArray[np.int8]
    begun: Mask

    @classmethod
    def empty(cls, series: int) -> Self:
        """Series without an incident."""
        return cls(
            np.full(series, NEVER, np.int32),
            np.full(series, np.nan, np.float32),
            np.zeros(series, np.int8),
            np.zeros(series, np.bool_),
        )

    def extend(self, series: int) -> None:
        """Append so many series without an incident."""
        fresh = Incidents.empty(series)
        self.last = np.concatenate([self.last, fresh.last])
        self.peak = np.concatenate([self.peak, fresh.peak])
        self.worst = np.concatenate([self.worst, fresh.worst])
        self.begun = np.concatenate([self.begun, fresh.begun])

    def keep(self, rows: Rows) -> None:
        """Keep only these series, in this order."""
        self.last, self.peak = self.last[rows], self.peak[rows]
        self.worst, self.begun = self.worst[rows], self.begun[rows]

    def step(self, number: int, severity: NDArray[np.int8]) -> NDArray[np.int8]:
        """Take in a step and return the severity of each series' incident so far, int8 [S], 0 for none.

        severity : int8 [S], of the step alone; 0 within the threshold
        """
        self.worst[number - self.last >= REST_STEPS] = 0
        self.begun |= (severity > 0) & (self.worst == 0)
        self.last[severity > 0] = number
        self.worst = np.maximum(self.worst, severity)
        return self.worst

    def observe(self, odd: Numbers) -> None:
        """Raise the peaks of the runs to Numbers [S]; NaN changes nothing."""
        self.peak = np.fmax(self.peak, odd.astype(np.float32))

    def finish_runs(self) -> tuple[Numbers, Mask]:
        """Peaks of the runs that end now, Numbers [S], NaN where nothing was judged, and in which of them an
        incident began; new runs begin."""
        peaks, begun = self.peak.astype(np.float64), self.begun
        self.peak = np.full(len(peaks), np.nan, np.float32)
        self.begun = np.zeros(len(peaks), np.bool_)
        return peaks, begun

    def state(self) -> dict[str, Any]:
        """All of it, for `restored`."""
        return {
            "last": self.last.copy(),
            "peak": self.peak.copy(),
            "worst": self.worst.copy(),
            "begun": self.begun.copy(),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """The incidents that `state` was taken of."""
        return cls(
            np.array(state["last"], np.int32),
            np.array(state["peak"], np.float32),
            np.array(state["worst"], np.int8),
            np.array(state["begun"], np.bool_),
        )


def onsets(score: Numbers, threshold: float, rest_steps: int = REST_STEPS) -> Numbers:
    """The score where an incident of one series begins, 0 elsewhere.

    score : Numbers [T]; NaN counts as 0

    >>> onsets(np.array([0.0, 0.9, 1.0, 0.0, 0.9]), 0.5, rest_steps=2).tolist()
    [0.0, 0.9, 0.0, 0.0, 0.9]
    """
    found = np.zeros(len(score))
    beyond = np.flatnonzero(np.nan_to_num(score) >= threshold)
    if len(beyond):
        begins = np.diff(beyond, prepend=beyond[0] - rest_steps) >= rest_steps
        found[beyond[begins]] = score[beyond[begins]]
    return found
