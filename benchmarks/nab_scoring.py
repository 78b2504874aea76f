"""The scoring of the Numenta Anomaly Benchmark, as its own programs do it, over arrays.

A row is detected when its score reaches the threshold. A window counts once, by its earliest detected row:
a sigmoid gives 1 at the window's start and falls towards 0 at its end. A detected row outside the windows
costs up to the profile's weight, less just after a window. A missed window costs its weight. The first 15 %
of a file, at most 750 rows, are for learning and count for nothing. One threshold holds for all files; it is
the one with the best sum. The sum is put on a scale from a detector that says nothing (0) to one that
detects each window in its first row and nothing else (100).

Source: Lavin and Ahmad, "Evaluating real-time anomaly detection algorithms", 2015; github.com/numenta/NAB,
`nab/sweeper.py` and `config/profiles.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Rows = NDArray[np.int64]

PROBATION_SHARE = 0.15
PROBATION_ROWS_MAX = 750
NEVER = 1.1
"""A threshold that no score reaches."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a detected window, a false alarm and a missed window weigh."""

    tp: float
    fp: float
    fn: float


PROFILES: Mapping[str, Profile] = {
    "standard": Profile(tp=1.0, fp=0.11, fn=1.0),
    "reward_low_FP": Profile(tp=1.0, fp=0.22, fn=1.0),
    "reward_low_FN": Profile(tp=1.0, fp=0.11, fn=2.0),
}


@dataclass(frozen=True, slots=True)
class Judged:
    """One file: Numbers [T] scores in [0, 1], and its windows as Rows [W, 2], first and last row of each."""

    scores: Numbers
    windows: Rows


def probation_rows(row_count: int) -> int:
    """How many rows at a file's start are for learning.

    >>> probation_rows(1000), probation_rows(100_000)
    (150, 750)
    """
    return min(int(PROBATION_SHARE * row_count), PROBATION_ROWS_MAX)


def scaled_sigmoid(position: Numbers) -> Numbers:
    """2 / (1 + exp(5 x)) - 1, and -1 from 3 on: x is -1 at a window's start, 0 at its end."""
    x = np.asarray(position, np.float64)
    return np.where(x >= 3.0, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(x, 3.0))) - 1.0)


def row_worth(row_count: int, windows: Rows) -> tuple[Numbers, Rows]:
    """What detecting each row is worth before weights, and the number of its window, -1 for none.

    windows : Rows [W, 2], first and last row of each, ascending

    Returns Numbers [T], in (0, 1] inside a window and [-1, 0) outside, and Rows [T].
    """
    rows = np.arange(row_count)
    window = np.full(row_count, -1, np.int64)
    position = np.full(row_count, 3.0)
    for number, (first, last) in enumerate(windows.tolist()):
        width = last - first + 1
        inside = slice(first, last + 1)
        window[inside] = number
        position[inside] = -(last - rows[inside] + 1) / width
        position[last + 1 :] = (rows[last + 1 :] - last) / max(width - 1, 1)
    worth = scaled_sigmoid(position)
    return np.where(window >= 0, worth / scaled_sigmoid(np.array(-1.0)), worth), window


def file_score(judged: Judged, threshold: float, profile: Profile) -> float:
    """The file's part of the sum at a threshold, not normalised."""
    worth, window = row_worth(len(judged.scores), judged.windows)
    start = probation_rows(len(judged.scores))
    hit = judged.scores >= threshold
    hit[:start] = False
    total = profile.fp * float(worth[hit & (window < 0)].sum())
    for number, (_, last) in enumerate(judged.windows.tolist()):
        if last < start:
            continue
        inside = worth[hit & (window == number)]
        total += profile.tp * float(inside.max()) if len(inside) else -profile.fn
    return total


def best_threshold(files: Sequence[Judged], profile: Profile) -> tuple[float, float]:
    """The threshold with the highest sum over the files, and this sum; `NEVER` if none is worth it.

    Goes down through all distinct scores and keeps the sum up to date, as NAB's sweeper does.
    """
    scores, changes, windows = [], [], []
    window_count, missed = 0, 0.0
    for judged in files:
        worth, window = row_worth(len(judged.scores), judged.windows)
        start = probation_rows(len(judged.scores))
        counted = sum(1 for _, last in judged.windows.tolist() if last >= start)
        missed -= profile.fn * counted
        scores.append(judged.scores[start:])
        changes.append(np.where(window < 0, worth * profile.fp, worth * profile.tp)[start:])
        windows.append(np.where(window < 0, -1, window + window_count)[start:])
        window_count += len(judged.windows)
    if not scores:
        return NEVER, 0.0
    score, change, window = np.concatenate(scores), np.concatenate(changes), np.concatenate(windows)
    order = np.argsort(-score, kind="stable")
    best_at, best_sum = NEVER, missed
    held = np.full(window_count, -profile.fn)
    running, previous = missed, NEVER
    for value, gain, number in zip(
        score[order].tolist(), change[order].tolist(), window[order].tolist(), strict=True
    ):
        if value != previous:
            if running > best_sum:
                best_at, best_sum = previous, running
            previous = value
        if number < 0:
            running += gain
        elif gain > held[number]:
            running += gain - held[number]
            held[number] = gain
    if running > best_sum:
        best_at, best_sum = previous, running
    return best_at, best_sum


def normalised(total: float, window_count: int, profile: Profile) -> float:
    """A sum of scores on the scale from saying nothing, 0, to perfection, 100; NaN without windows."""
    if window_count == 0:
        return float("nan")
    null, perfect = -profile.fn * window_count, profile.tp * window_count
    return 100.0 * (total - null) / (perfect - null)


def counted_windows(files: Sequence[Judged]) -> int:
    """Windows that do not end within the rows for learning."""
    return sum(
        1
        for judged in files
        for _, last in judged.windows.tolist()
        if last >= probation_rows(len(judged.scores))
    )
