"""Trees of scikit-learn's isolation forest as complete binary trees in three arrays.

Node i of level d has its children at the places 2i and 2i + 1 of level d + 1. A leaf above the last level is
repeated down to it by splits that compare with infinity; each place below carries the leaf's depth, so that
it makes no difference which of them a row ends in.

Axes: T trees, I = 2**D - 1 splits of a tree of D levels, K nodes of all of scikit-learn's trees in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import Numbers, Rows


def average_path_length(rows: Numbers | Rows) -> Numbers:
    """Return the mean number of splits that isolate one of so many rows, of the shape of `rows`.

    It is that of an unsuccessful search in a binary search tree, as in the paper (Liu et al. 2008, equation
    1) and term for term as in scikit-learn, so that scores agree to the last digits.
    """
    found = np.where(rows == 2, 1.0, 0.0)
    many = rows > 2
    count = np.asarray(rows, np.float64)[many]
    found[many] = 2.0 * (np.log(count - 1.0) + np.euler_gamma) - 2.0 * (count - 1.0) / count
    return found


def rounded_down(thresholds: Numbers) -> NDArray[np.float32]:
    """Return the largest 32-bit numbers that are not above: no 32-bit value lies between the two."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)


def complete_trees(
    trees: Sequence[Any], columns: Sequence[Rows]
) -> tuple[NDArray[np.int32], NDArray[np.float32], Numbers]:
    """Lay out T trees (`estimator.tree_` of scikit-learn) over the columns that each was given.

    Returns feature int32 [T, I], threshold float32 [T, I] and depth Numbers [T, 2I + 1] as in `Forest`.
    """
    start = np.cumsum([0] + [tree.node_count for tree in trees])
    left, right, size, threshold = (
        np.concatenate([getattr(tree, name) for tree in trees])
        for name in ("children_left", "children_right", "n_node_samples", "threshold")
    )
    inner = left >= 0
    base = np.repeat(start[:-1], np.diff(start))
    feature = np.concatenate(
        [chosen[np.maximum(tree.feature, 0)] for tree, chosen in zip(trees, columns, strict=True)]
    )
    # Downwards: which of the K nodes stands at each place of a level, and how many splits led to it.
    levels = [start[:-1, None]]
    steps = [np.zeros((len(trees), 1), np.int64)]
    while inner[levels[-1]].any():
        node, split = levels[-1], inner[levels[-1]]
        children = [np.where(split, base[node] + side[node], node) for side in (left, right)]
        levels.append(np.stack(children, axis=2).reshape(len(trees), -1))
        steps.append(np.repeat(steps[-1] + split, 2, axis=1))
    # Upwards: the rows of a node are those of its two children; their mean depth is weighted likewise.
    depth = [steps[-1] + average_path_length(size[levels[-1]])]
    for node, below in zip(reversed(levels[:-1]), reversed(levels[1:]), strict=True):
        weight = size[below].reshape(*node.shape, 2)
        mean = (depth[0].reshape(*node.shape, 2) * weight).sum(axis=2) / weight.sum(axis=2)
        depth.insert(0, np.where(inner[node], mean, depth[0][:, ::2]))
    splits = np.concatenate([np.zeros((len(trees), 0), np.int64), *levels[:-1]], axis=1)
    return (
        np.where(inner[splits], feature[splits], 0).astype(np.int32),
        np.where(inner[splits], rounded_down(threshold[splits]), np.float32(np.inf)),
        np.concatenate(depth, axis=1),
    )
