"""What entities do when nothing is wrong: a sample of rows, their forest, and the tail of its scores.

Guarantee: what is learnt is a function of the rows shown, in their order; the sample never exceeds
`SAMPLE_ROWS`, and rows of long ago give way to later ones. Tails beyond what was seen are told from an
exponential fit, which never says that something is impossible. Source: Coles, "An Introduction to Statistical
Modeling of Extreme Values" (2001), section 4, with shape 0, the more cautious choice for scores that have an
upper end.

Axes: N rows, K features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.anomaly.forest import Forest
from models.arrays import Numbers
from models.calendar.units import HOUR_MS

SAMPLE_ROWS = 4096

ROWS_MIN = 256
"""Rows from which a forest is grown for the first time; fewer know no tail."""

MEMORY_ROWS = 20 * SAMPLE_ROWS
"""A row that has been sampled stays for about as many further ones."""

GROWTH = 2.0
"""The forest is regrown when there are this many times the rows, and by time once the sample is full."""

REGROW_MS = 6 * HOUR_MS

MARRED_SHARE = 0.1
MARRED_FEATURES = 0.25
"""So many rows beside the sample's are marred: ordinary ones of which such a share of the features is drawn
anew from all that they may reach. No tree could split by what has always been the same, so none would see it
change."""

TAIL_SHARE = 0.05
"""Share of the scores that the tail is fitted to."""


class Baseline:
    """Rows of ordinary entities and what was learnt from them.

    highs       : Numbers [K], what each feature may reach, from 0
    trees, seed : of the forest
    """

    def __init__(self, highs: Numbers, *, trees: int, seed: int) -> None:
        self.trees = trees
        self.seed = seed
        self._highs = highs
        self.rows: Numbers = np.zeros((0, len(highs)))
        self.seen = 0
        self.forest: Forest | None = None
        self._grown_rows = 0
        self._grown_ms = 0
        self._threshold = 0.0
        self._scale = 0.0

    @property
    def median(self) -> Numbers:
        """Numbers [K], of the rows the forest was grown from; only once there is one."""
        assert self.forest is not None
        return self.forest.median

    def learn(self, rows: Numbers, now_ms: int) -> None:
        """Take in rows : Numbers [N, K], and grow a new forest when it is time to."""
        room = SAMPLE_ROWS - len(self.rows)
        self.rows = np.concatenate([self.rows, rows[:room]])
        rest = rows[room:] if room < len(rows) else rows[:0]
        if len(rest):
            # a generator of its own for each call, so that a restart goes on alike
            random = np.random.default_rng([self.seed, self.seen])
            place = random.integers(0, min(self.seen + 1, MEMORY_ROWS), len(rest))
            kept = place < SAMPLE_ROWS
            self.rows[place[kept]] = rest[kept]
        self.seen += len(rows)
        if len(self.rows) < ROWS_MIN:
            return
        more = len(self.rows) >= min(GROWTH * self._grown_rows, SAMPLE_ROWS) > self._grown_rows
        if self.forest is None or more or now_ms - self._grown_ms >= REGROW_MS:
            self._grow(now_ms)

    def _grow(self, now_ms: int) -> None:
        self.forest = Forest.fit(
            np.concatenate([self.rows, self._marred()]), trees=self.trees, seed=self.seed
        )
        self._grown_rows, self._grown_ms = len(self.rows), now_ms
        scores = self.forest.score(self.rows)
        self._threshold = float(np.quantile(scores, 1 - TAIL_SHARE))
        beyond = scores[scores > self._threshold] - self._threshold
        self._scale = float(beyond.mean()) if len(beyond) else 0.0

    def _marred(self) -> Numbers:
        """Numbers [M, K], rows of the sample with some features redrawn; missing ones stay missing."""
        random = np.random.default_rng([self.seed, self.seen])
        count = -(-len(self.rows) // round(1 / MARRED_SHARE))
        rows = self.rows[random.integers(0, len(self.rows), count)]
        drawn = random.random(rows.shape) * self._highs
        return np.where((random.random(rows.shape) < MARRED_FEATURES) & ~np.isnan(rows), drawn, rows)

    def tail(self, rows: Numbers) -> Numbers:
        """Probability that an ordinary row is as odd : Numbers [N] of Numbers [N, K]; NaN until learnt."""
        if self.forest is None:
            return np.full(len(rows), np.nan)
        beyond = self.forest.score(rows) - self._threshold
        scale = max(self._scale, 1e-9)
        return np.where(beyond > 0, TAIL_SHARE * np.exp(-np.maximum(beyond, 0) / scale), 1.0)

    def state(self) -> dict[str, Any]:
        """All of it, for `load`."""
        return {
            "rows": self.rows,
            "seen": self.seen,
            "forest": None if self.forest is None else self.forest.arrays(),
            "grown": [self._grown_rows, self._grown_ms],
            "tail": [self._threshold, self._scale],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` gave. Raises ValueError, KeyError or TypeError if it did not."""
        rows = np.asarray(state["rows"], np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.rows.shape[1] or len(rows) > SAMPLE_ROWS:
            raise ValueError("a sample of other features")
        forest = state["forest"]
        self.forest = None if forest is None else Forest.from_arrays(forest)
        if self.forest is not None and len(self.forest.median) != rows.shape[1]:
            raise ValueError("a forest of other features")
        self.rows, self.seen = rows, int(state["seen"])
        self._grown_rows, self._grown_ms = (int(value) for value in state["grown"])
        self._threshold, self._scale = (float(value) for value in state["tail"])
