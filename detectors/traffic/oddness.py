"""How odd each series is at each step: baseline, novelty of its windows, and an isolation forest over all
of it.

A feature's oddness is the mean surprise (-log10 of a tail) of its window at three lengths; a series'
oddness is that of its oddest feature, with a share for the forest, which sees all features of a series
together. All that is fitted (pools of windows, tails, forest) changes only at every `BLOCK_STEPS`-th step,
counted from the first that was ever seen: so an answer does not depend on how the steps were batched.

Axes: T steps, S series, F features, N = S F signals (series first), D steps of a window, M measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.calibration import PooledTail
from detectors.traffic.shapes import LENGTHS, POOL_WIDTH, SUMMARY, WINDOW, ShapePool, summarise
from models.anomaly.forest import Forest
from models.anomaly.seasonal import SeasonalBaseline
from models.arrays import Mask, Numbers, Rows

BLOCK_STEPS = 50

EARLY_STEPS = 10
"""As `BLOCK_STEPS`, during the first block, so that the second can be judged."""

COLD_STEPS = 12
"""Values of a series before it is judged."""

MATURE_DAYS = 3.0
"""Days of a series from which on its runs count for the rate of incidents: before its hours of the day are
known it is judged otherwise than it will be."""

FAR = 1e4
"""Spreads that stand for all that is further; fits 16 bits."""

TREES = 64
FOREST_ROWS = 2048
FOREST_ROWS_MIN = 100
FOREST_WIDTH = 4
"""Rows that are added a step, where there are so many series."""

TAIL_WIDTH = 16
"""As `FOREST_WIDTH`, distances for the tails: of so many series a pool of them spans 500 steps."""
REGROW_BLOCKS = 20

FOREST_SHARE = 0.15
"""Share of the forest in a series' oddness. It finds odd combinations; it is late to see a first excess."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of some steps.

    odd      : Numbers [T, S], NaN where not judged
    by_signal: Numbers [T, S, F], oddness of each feature
    distance : Numbers [T, S, F], from the baseline in spreads
    expected : Numbers [T, S, F]
    windows  : float32 [T, S, F, D], distances of the latest steps
    """

    odd: Numbers
    by_signal: Numbers
    distance: Numbers
    expected: Numbers
    windows: NDArray[np.float32]


class Oddness:
    """All that has been learnt of S series of F features; it grows by `extend`."""

    def __init__(self, features: int, *, seed: int) -> None:
        self.features = features
        self.seed = seed
        self.steps = 0
        self.baseline = SeasonalBaseline.empty(0)
        self.ring: NDArray[np.float16] = np.zeros((0, WINDOW), np.float16)
        self.pools = [ShapePool() for _ in range(features)]
        self.tails = [[PooledTail(0) for _ in LENGTHS] for _ in range(features)]
        self.forest: Forest | None = None
        self.forest_tail = PooledTail(0)
        self._rows: Numbers = np.zeros((FOREST_ROWS, features * len(SUMMARY)))
        self._row_count = 0

    @property
    def series(self) -> int:
        return len(self.ring) // self.features

    @property
    def mature(self) -> Mask:
        """Mask [S], which series are judged as they will always be."""
        days = self.baseline.days.sum(axis=1).reshape(-1, self.features)
        return np.asarray(days.max(axis=1, initial=0.0) >= MATURE_DAYS)

    def extend(self, series: int) -> None:
        """Append so many series that nothing is known of."""
        signals = series * self.features
        self.baseline.extend(signals)
        self.ring = np.concatenate([self.ring, np.zeros((signals, WINDOW), np.float16)])
        for tail in self._all_tails():
            tail.extend(series)
        for pool in self.pools:
            pool.widen(min(self.series, POOL_WIDTH))

    def adopt(self, other: Oddness, rows: Rows) -> None:
        """Take over another's pools, tails and forest, and append some of its series, their last steps
        being long gone; what is known of the own ones stays."""
        self.baseline.append(other.baseline, self._signals(rows))
        self.ring = np.concatenate([self.ring, np.zeros((len(rows) * self.features, WINDOW), np.float16)])
        for mine, theirs in zip(self._all_tails(), other._all_tails(), strict=True):
            mine.adopt(theirs, rows)
        self.pools = [ShapePool.restored(pool.state()) for pool in other.pools]
        for pool in self.pools:
            pool.widen(min(self.series, POOL_WIDTH))
        self.forest = other.forest
        self._rows, self._row_count = other._rows.copy(), other._row_count

    def _signals(self, rows: Rows) -> Rows:
        """The signals of some series, in their order."""
        found: Rows = (rows[:, None] * self.features + np.arange(self.features)).ravel()
        return found

    def keep(self, rows: Rows) -> None:
        """Keep only these series, in this order."""
        signals = self._signals(rows)
        self.baseline.keep(signals)
        self.ring = self.ring[signals]
        for tail in self._all_tails():
            tail.keep(rows)

    def _all_tails(self) -> list[PooledTail]:
        return [*(tail for row in self.tails for tail in row), self.forest_tail]

    def room(self) -> int:
        """Steps until what is fitted changes."""
        every = EARLY_STEPS if self.steps < BLOCK_STEPS else BLOCK_STEPS
        return every - self.steps % every

    def follow(self, values: Numbers, hours: Numbers, days_off: Mask, step_ms: int) -> Judged:
        """Judge up to `room()` steps, each by what was known before it, and learn from them.

        values : Numbers [T, S, F]; hours, days_off : [T]
        """
        steps, series, features = values.shape
        assert steps <= self.room()
        flat = values.reshape(steps, series * features)
        known = self.baseline.seen + np.cumsum(np.isfinite(flat), axis=0) > COLD_STEPS
        expected, distance = self.baseline.follow(flat, hours, days_off, step_ms)
        # A gap leaves no shape behind: it is taken for what was expected.
        latest = np.clip(np.nan_to_num(distance), -FAR, FAR).astype(np.float16)
        joined = np.concatenate([self.ring.T, latest])
        windows = np.lib.stride_tricks.sliding_window_view(joined, WINDOW, axis=0)[1:]
        windows = windows.astype(np.float32).reshape(steps, series, features, WINDOW)
        self.ring = np.ascontiguousarray(joined[-WINDOW:].T)
        distance = distance.reshape(steps, series, features)
        judged = np.isfinite(distance) & known.reshape(distance.shape)
        near = self._distances(windows, judged)
        by_signal = self._surprises(near)
        strange = self._strangeness(windows, np.any(judged, axis=2))
        odd = self._combined(by_signal, strange)
        self._learn(near, strange, windows, judged)
        return Judged(odd, by_signal, distance, expected.reshape(distance.shape), windows)

    def _distances(self, windows: NDArray[np.float32], judged: Mask) -> Numbers:
        """Numbers [T, S, F, M]; NaN where not judged."""
        steps, series, features, _ = windows.shape
        near = np.full((steps, series, features, len(LENGTHS)), np.nan)
        for feature, pool in enumerate(self.pools):
            rows = judged[:, :, feature]
            near[:, :, feature][rows] = pool.distances(windows[:, :, feature][rows])
        return near

    def _surprises(self, near: Numbers) -> Numbers:
        """Numbers [T, S, F], mean over the lengths."""
        found = np.zeros(near.shape[:3])
        for feature, tails in enumerate(self.tails):
            for measure, tail in enumerate(tails):
                found[:, :, feature] += tail.surprise(near[:, :, feature, measure])
        return found / len(LENGTHS)

    def _strangeness(self, windows: NDArray[np.float32], judged: Mask) -> Numbers:
        """The forest's scores, Numbers [T, S]; NaN where not judged or before there is a forest."""
        found = np.full(judged.shape, np.nan)
        if self.forest is not None and judged.any():
            found[judged] = self.forest.score(self._summaries(windows[judged]))
        return found

    def _summaries(self, windows: NDArray[np.float32]) -> Numbers:
        """Numbers [rows, 4 F] of windows [rows, F, D]."""
        flat = summarise(windows.reshape(-1, WINDOW))
        return flat.reshape(len(windows), self.features * len(SUMMARY))

    def _combined(self, by_signal: Numbers, strange: Numbers) -> Numbers:
        with np.errstate(invalid="ignore"):
            oddest = np.fmax.reduce(by_signal, axis=2)
        forest = self.forest_tail.surprise(strange)
        mixed = (1 - FOREST_SHARE) * oddest + FOREST_SHARE * forest
        combined: Numbers = np.where(np.isnan(forest), oddest, mixed)
        return combined

    def _learn(self, near: Numbers, strange: Numbers, windows: NDArray[np.float32], judged: Mask) -> None:
        steps, series, features, _ = windows.shape
        for step in range(steps):
            some = self._sampled(series, FOREST_WIDTH)
            measured = self._sampled(series, TAIL_WIDTH)
            for feature in range(features):
                offered = some[:POOL_WIDTH][judged[step, some[:POOL_WIDTH], feature]]
                self.pools[feature].add(windows[step, offered, feature])
                for measure, tail in enumerate(self.tails[feature]):
                    tail.learn(near[step, :, feature, measure], measured)
            self.forest_tail.learn(strange[step], measured)
            rows = self._summaries(windows[step, some[judged[step, some].any(axis=1)]])
            self._rows[(self._row_count + np.arange(len(rows))) % FOREST_ROWS] = rows
            self._row_count += len(rows)
            self.steps += 1
        if self.steps % (EARLY_STEPS if self.steps < BLOCK_STEPS else BLOCK_STEPS) == 0:
            self._refresh(self.steps // BLOCK_STEPS)

    def _sampled(self, series: int, width: int) -> Rows:
        """Distinct series whose windows are kept this step, the same after a restart."""
        if series <= width:
            return np.arange(series)
        start = (self.steps * 2_654_435_761) % series
        return (start + np.arange(width) * max(series // width, 1)) % series

    def _refresh(self, block: int) -> None:
        for pool in self.pools:
            pool.refresh()
        for tail in self._all_tails():
            tail.refresh()
        grown = block & (block - 1) == 0 or block % REGROW_BLOCKS == 0
        if block and grown and self._row_count >= FOREST_ROWS_MIN:
            rows = self._rows[: min(self._row_count, FOREST_ROWS)]
            self.forest = Forest.fit(rows, trees=TREES, samples=256, seed=self.seed)

    def state(self) -> dict[str, Any]:
        """All of it, for `restored`."""
        return {
            "steps": self.steps,
            "baseline": self.baseline.state(),
            "ring": self.ring.copy(),
            "pools": [pool.state() for pool in self.pools],
            "tails": [[tail.state() for tail in row] for row in self.tails],
            "forest": None if self.forest is None else self.forest.arrays(),
            "forest_tail": self.forest_tail.state(),
            "rows": self._rows.copy(),
            "row_count": self._row_count,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], *, seed: int) -> Self:
        """What `state` was taken of. Raises ValueError, KeyError or TypeError if it cannot be."""
        made = cls(len(state["pools"]), seed=seed)
        made.steps = int(state["steps"])
        made.baseline = SeasonalBaseline.restored(state["baseline"])
        made.ring = np.array(state["ring"], np.float16)
        if made.ring.shape != (len(made.baseline), WINDOW):
            raise ValueError(f"ring of shape {(len(made.baseline), WINDOW)} expected, got {made.ring.shape}")
        made.pools = [ShapePool.restored(pool) for pool in state["pools"]]
        made.tails = [[PooledTail.restored(tail) for tail in row] for row in state["tails"]]
        made.forest = None if state["forest"] is None else Forest.from_arrays(state["forest"])
        made.forest_tail = PooledTail.restored(state["forest_tail"])
        made._rows = np.array(state["rows"], np.float64)
        made._row_count = int(state["row_count"])
        return made
