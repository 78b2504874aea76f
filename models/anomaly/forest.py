"""An isolation forest as plain arrays: scored, explained and stored without an object of scikit-learn.

scikit-learn grows the trees; the forest takes them over, each as a complete binary tree: the children of node
i are 2i + 1 and 2i + 2. So a row takes the same number of steps in every tree, no step follows a stored
pointer, and no file, however it was made, can send one in circles or out of bounds.

Guarantees: `score` equals `-score_samples` of the forest that was grown to 1e-9; `contributions` add up to
`log2(score / expected_score)`; both depend on the row alone, to rounding, whatever the batch.
`benchmarks/forest.py` compares its cost with scikit-learn's.

Axes: N rows, F features, T trees, I = 2**D - 1 splits of a tree of D levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.anomaly.forest_growth import average_path_length, complete_trees
from models.arrays import Numbers, Rows

BLOCK = 1 << 14
"""Pairs of row and tree that are walked at once, so that a step stays in the processor's cache."""

LEVELS_MAX = 16
"""Levels of splits: as many as scikit-learn grows from 65,536 rows a tree."""

TREES_MAX = 10_000
"""Trees of a forest; more only cost time."""

LARGEST = float(np.finfo(np.float32).max)
"""Values beyond it, and infinity, are taken for it: splits compare 32-bit numbers, as in scikit-learn."""


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees that isolate rows by random splits: the fewer splits a row takes, the odder it is.

    feature   : int32 [T, I], the column that each node splits by
    threshold : float32 [T, I], a row goes left where its value is at most this
    depth     : Numbers [T, 2I + 1], mean path length of the training rows that pass each node; the last I + 1
                are the leaves
    median    : Numbers [F] of the training rows, stands in for a missing value
    samples   : rows that each tree was grown from

    Source: Liu, Ting, Zhou, "Isolation Forest", ICDM 2008.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    depth: Numbers
    median: Numbers
    samples: int

    @classmethod
    def fit(
        cls, x: Numbers, *, trees: int = 200, samples: int = 256, seed: int = 0, max_features: float = 1.0
    ) -> Self:
        """Grow a forest from x : Numbers [N, F]; NaN counts as the column's median.

        samples      : rows that a tree is grown from; all if there are fewer
        max_features : share of the columns that each tree may split by

        Raises ValueError where x has no row or no column, or a setting is out of bounds.
        """
        x = np.asarray(x, np.float64)
        if x.ndim != 2 or 0 in x.shape:
            raise ValueError(
                f"rows × features to grow a forest from expected, got an array of shape {x.shape}"
            )
        if not 1 <= trees <= TREES_MAX:
            raise ValueError(f"trees={trees}, expected 1 to {TREES_MAX}")
        if not 1 <= samples <= 1 << LEVELS_MAX:
            raise ValueError(f"samples={samples}, expected 1 to {1 << LEVELS_MAX}")
        if not 0 < max_features <= 1:
            raise ValueError(f"max_features={max_features}, expected a share above 0 and up to 1")
        from sklearn.ensemble import IsolationForest  # slow to import, and scoring does without

        median = column_medians(x)
        grown = IsolationForest(
            n_estimators=trees,
            max_samples=min(samples, len(x)),
            max_features=float(max_features),
            random_state=seed,
        ).fit(filled(x, median))
        return cls.of_sklearn(grown, median)

    @classmethod
    def of_sklearn(cls, grown: Any, median: Numbers) -> Self:
        """Take over a fitted `sklearn.ensemble.IsolationForest`; median : Numbers [F], for missing values."""
        feature, threshold, depth = complete_trees(
            [estimator.tree_ for estimator in grown.estimators_], grown.estimators_features_
        )
        return cls(feature, threshold, depth, np.asarray(median, np.float64), int(grown.max_samples_))

    @property
    def mean_path(self) -> float:
        """Path length that is usual for so many samples; scores are path lengths in this unit."""
        return float(average_path_length(np.array([self.samples]))[0])

    @property
    def expected_score(self) -> float:
        """The score of a row whose path length is the training rows' mean."""
        return float(self._scores(self.depth[:, :1].sum(axis=0))[0])

    def score(self, x: Numbers) -> Numbers:
        """Numbers [N] in (0, 1], the higher, the odder, of x : Numbers [N, F]; NaN counts as the median."""
        x32 = self._prepared(x)
        path = np.zeros(len(x32))
        row_block = min(BLOCK, max(1, len(x32)))
        tree_block = max(1, BLOCK // row_block)
        for row in range(0, len(x32), row_block):
            rows = slice(row, row + row_block)
            for tree in range(0, len(self.feature), tree_block):
                path[rows] += self._leaf_depths(x32[rows], slice(tree, tree + tree_block)).sum(axis=0)
        return self._scores(path)

    def contributions(self, x: Numbers) -> Numbers:
        """Numbers [N, F], by how many doublings each feature raises the score of x : Numbers [N, F].

        A split changes the path length that is to be expected; the change, in units of the mean path and
        averaged over trees, is its feature's. A row's sum is log2(score / expected_score).

        Source: Saabas, "Interpreting random forests" (2014), with path lengths in place of predictions.
        """
        x32 = self._prepared(x)
        features = len(self.median)
        found = np.zeros((len(x32), features))
        block = max(1, BLOCK // len(self.feature))
        for row in range(0, len(x32), block):
            found[row : row + block] = self._path_changes(x32[row : row + block])
        unit = self.mean_path * len(self.feature)
        return found / unit if unit > 0 else found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The forest by names of its fields, for `from_arrays`."""
        return {
            "feature": self.feature,
            "threshold": self.threshold,
            "depth": self.depth,
            "median": self.median,
            "samples": np.array(self.samples),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The forest that `arrays` was taken of.

        Raises ValueError if it cannot have been: wrong names, kinds, shapes or values.
        """
        kinds = {"feature": "i", "threshold": "f", "depth": "f", "median": "f", "samples": "i"}
        if set(arrays) != set(kinds):
            raise ValueError(
                f"a forest consists of {', '.join(kinds)}; got {', '.join(map(str, arrays)) or 'none'}"
            )
        for name, kind in kinds.items():
            if not isinstance(arrays[name], np.ndarray) or arrays[name].dtype.kind != kind:
                raise ValueError(
                    f"{name!r} of a forest is not an array of {'whole ' if kind == 'i' else ''}numbers"
                )
        feature, threshold, depth, median, samples = (arrays[name] for name in kinds)
        if feature.ndim != 2 or not 1 <= len(feature) <= TREES_MAX:
            raise ValueError(
                f"1 to {TREES_MAX} trees × splits expected, got an array of shape {feature.shape}"
            )
        trees, splits = feature.shape
        if splits + 1 not in {1 << level for level in range(LEVELS_MAX + 1)}:
            raise ValueError(f"{splits} splits make no complete tree of up to {LEVELS_MAX} levels")
        expected = {"threshold": (trees, splits), "depth": (trees, 2 * splits + 1), "samples": ()}
        for name, shape in expected.items():
            if arrays[name].shape != shape:
                raise ValueError(f"{name!r} of shape {shape} expected, got {arrays[name].shape}")
        if median.ndim != 1 or len(median) == 0:
            raise ValueError(f"a median for each feature expected, got an array of shape {median.shape}")
        if ((feature < 0) | (feature >= len(median))).any():
            raise ValueError(f"a split by a feature that is none of the {len(median)} the forest has")
        if np.isnan(threshold).any() or not (np.isfinite(median).all() and (depth >= 0).all()):
            raise ValueError("a threshold or median of a forest that is not a number, or a depth below 0")
        if not 1 <= int(samples) <= 1 << LEVELS_MAX or (depth > int(samples)).any():
            raise ValueError(
                f"samples={samples}: expected 1 to {1 << LEVELS_MAX}, and no path longer than that"
            )
        return cls(
            feature.astype(np.int32),
            threshold.astype(np.float32),
            depth.astype(np.float64),
            median.astype(np.float64),
            int(samples),
        )

    def _prepared(self, x: Numbers) -> NDArray[np.float32]:
        x = np.asarray(x, np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.median):
            raise ValueError(f"rows × {len(self.median)} features expected, got an array of shape {x.shape}")
        return filled(x, self.median)

    def _leaf_depths(self, x32: NDArray[np.float32], trees: slice) -> Numbers:
        """Numbers [trees, N], the path length of each row in each tree."""
        node = None
        for _, node in self._steps(x32, trees):  # noqa: B007  only where the walk ends counts
            pass
        depth = self.depth[trees]
        if node is None:  # trees without a split
            return np.repeat(depth, len(x32), axis=1)
        first = (np.arange(len(depth)) * depth.shape[1])[:, None]
        found: Numbers = depth.ravel().take(node + first)
        return found

    def _path_changes(self, x32: NDArray[np.float32]) -> Numbers:
        """Numbers [N, F], by how much the splits of each feature shorten the path, summed over trees."""
        features = x32.shape[1]
        changes = np.zeros(x32.size)
        first = (np.arange(len(self.depth)) * self.depth.shape[1])[:, None]
        cell = np.arange(len(x32)) * features
        before = self.depth[:, :1]
        for column, node in self._steps(x32, slice(None)):
            after = self.depth.ravel().take(node + first)
            changes += np.bincount((column + cell).ravel(), (before - after).ravel(), minlength=len(changes))
            before = after
        return changes.reshape(-1, features)

    def _steps(self, x32: NDArray[np.float32], trees: slice) -> Iterator[tuple[Rows, Rows]]:
        """Walk down; at each level give the columns compared and the nodes reached, both [trees, N]."""
        feature, threshold = self.feature[trees], self.threshold[trees]
        count, splits = feature.shape
        first = (np.arange(count) * splits)[:, None]
        flat, cell = x32.ravel(), np.arange(len(x32)) * x32.shape[1]
        node = np.zeros((count, len(x32)), np.intp)
        for _ in range(int(splits + 1).bit_length() - 1):
            place = node + first
            column = feature.ravel().take(place)
            right = flat.take(column + cell) > threshold.ravel().take(place)
            node = 2 * node + 1 + right
            yield column, node

    def _scores(self, path: Numbers) -> Numbers:
        """Scores of path lengths summed over the trees."""
        unit = len(self.feature) * self.mean_path
        # scikit-learn's value where a tree has one row and so no path
        return np.exp2(-path / unit) if unit > 0 else np.full(len(path), 0.5)


def column_medians(x: Numbers) -> Numbers:
    """Numbers [F], the median of each column without its missing values, 0 where there is no other."""
    ordered = np.sort(np.clip(x, -LARGEST, LARGEST), axis=0)  # NaN goes to the end
    count = (~np.isnan(x)).sum(axis=0)
    column = np.arange(x.shape[1])
    low, high = ordered[np.maximum(count - 1, 0) // 2, column], ordered[count // 2, column]
    return np.where(count > 0, low / 2 + high / 2, 0.0)


def filled(x: Numbers, median: Numbers) -> NDArray[np.float32]:
    """float32 [N, F], x with the column's median where it is NaN, within ±`LARGEST`."""
    x = np.where(np.isnan(x), median, x)
    return np.clip(x, -LARGEST, LARGEST).astype(np.float32)
