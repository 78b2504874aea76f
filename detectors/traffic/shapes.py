"""How far a signal's last steps are from anything seen before: nearest neighbours of short windows.

A window is a signal's latest distances from its baseline, in spreads. Windows of all series of one signal
class go into one pool, so that a new series is judged by what the others do; with one series the pool is
its own past. The oddness of a window is the distance to the nearest in the pool, on three lengths: the
value alone, a short shape and a longer one. A shape that was seen before is not odd, however irregular it
is, which is what keeps alarms few on signals whose ordinary life is bursts.

Source: Chandola, Mithal, Kumar, "Comparative Evaluation of Anomaly Detection Techniques for Sequence Data"
(2008), and the KNN-CAD detector of Burnaev and Ishimtsev (2016), here with one neighbour and without a
covariance.

Cost: a row takes 28 multiplications and two comparisons for each window in the pool. Axes: N rows, D steps
of a window, P windows of the pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.arrays import Numbers

WINDOW = 20
"""Steps of the longest window."""

LENGTHS = (1, 8, WINDOW)

POOL_STEPS = 1000
"""Steps that the pool looks back on."""

POOL_WIDTH = 2
"""Windows that are added a step, where there are so many series."""

POOL_MIN = 8

FINEST = 1e-4
"""Spreads below which distances are not told apart; rounding of the multiplication stays below it."""

BLOCK = 1 << 18
"""Distances held at once."""


class ShapePool:
    """Windows of the past of one signal class. What is added counts from the next `refresh` on."""

    def __init__(self, width: int = 1) -> None:
        self._ring = np.zeros((POOL_STEPS * width, WINDOW), np.float32)
        self._added = 0
        self._seen: NDArray[np.float32] = np.zeros((0, WINDOW), np.float32)
        self._last: NDArray[np.float32] = np.zeros(0, np.float32)

    @property
    def ready(self) -> bool:
        return len(self._seen) >= POOL_MIN

    def add(self, windows: NDArray[np.float32]) -> None:
        """Take in windows [N, D]; the oldest give way."""
        place = (self._added + np.arange(len(windows))) % len(self._ring)
        self._ring[place] = windows
        self._added += len(windows)

    def widen(self, width: int) -> None:
        """Make room for so many windows a step."""
        if POOL_STEPS * width > len(self._ring):
            order = (self._added + np.arange(len(self._ring))) % len(self._ring)
            kept = self._ring[order][-min(self._added, len(self._ring)) :] if self._added else self._ring[:0]
            self._ring = np.zeros((POOL_STEPS * width, WINDOW), np.float32)
            self._ring[: len(kept)] = kept
            self._added = len(kept)

    def refresh(self) -> None:
        """Let what was added since the last call count."""
        self._seen = self._ring[: min(self._added, len(self._ring))].copy()
        self._last = np.sort(self._seen[:, -1])

    def distances(self, windows: NDArray[np.float32]) -> Numbers:
        """Distance to the nearest window of the pool, Numbers [N, lengths] of windows [N, D]; NaN before
        `ready`."""
        found = np.full((len(windows), len(LENGTHS)), np.nan)
        if not self.ready:
            return found
        found[:, 0] = np.square(_nearest_number(windows[:, -1], self._last))
        for column, length in enumerate(LENGTHS[1:], 1):
            pool = self._seen[:, -length:]
            half = np.square(pool).sum(axis=1) / 2
            rows = max(1, BLOCK // len(pool))
            for start in range(0, len(windows), rows):
                part = windows[start : start + rows, -length:]
                # |a - b|² = a² - 2 (a b - b² / 2): the nearest b has the largest bracket.
                bracket = part @ pool.T
                bracket -= half
                found[start : start + rows, column] = np.square(part).sum(axis=1) - 2 * bracket.max(axis=1)
        rooted: Numbers = np.sqrt(np.maximum(found, 0.0) + FINEST * FINEST)
        return rooted

    def state(self) -> dict[str, Any]:
        """All of it, for `restored`."""
        return {"ring": self._ring.copy(), "added": self._added, "seen": self._seen.copy()}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """The pool that `state` was taken of. Raises ValueError if it cannot be one."""
        made = cls()
        made._ring = np.array(state["ring"], np.float32)
        made._seen = np.array(state["seen"], np.float32)
        made._added = int(state["added"])
        if made._ring.ndim != 2 or made._ring.shape[1] != WINDOW or made._seen.shape[1:] != (WINDOW,):
            raise ValueError(f"windows of {WINDOW} steps expected, got {made._ring.shape}")
        made._last = np.sort(made._seen[:, -1])
        return made


def _nearest_number(values: NDArray[np.float32], ascending: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance of each value to the nearest of some sorted numbers."""
    place = np.searchsorted(ascending, values)
    below = np.abs(values - ascending[np.maximum(place - 1, 0)])
    above = np.abs(ascending[np.minimum(place, len(ascending) - 1)] - values)
    nearest: NDArray[np.float32] = np.minimum(below, above)
    return nearest


SUMMARY = ("level", "jump", "shift", "unrest")
"""What the forest sees of a window."""


def summarise(windows: NDArray[np.float32]) -> Numbers:
    """Numbers [N, 4] of windows [N, D]: where it is, its last jump, the shift of its end, and its unrest.

    All are in spreads; the unrest is the logarithm of the last eight steps' standard deviation. Sizes are
    taken as square roots with the sign kept, so that one huge value does not make all others look alike to
    a forest.
    """
    w = windows.astype(np.float64)
    level = w[:, -1]
    jump = level - w[:, -5:-1].mean(axis=1)
    shift = w[:, -4:].mean(axis=1) - w[:, :-4].mean(axis=1)
    unrest = np.log(w[:, -8:].std(axis=1) + 0.05)
    sizes = np.stack([level, jump, shift], axis=1)
    return np.column_stack([np.sign(sizes) * np.sqrt(np.abs(sizes)), unrest])
