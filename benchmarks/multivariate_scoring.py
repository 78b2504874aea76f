"""How verdicts on labelled rows are scored: point by point, by segments, by incidents and by causes.

A segment is a run of labelled rows. An incident is a run of alarms with gaps of at most `quiet_steps`; it is
false where none of its rows is labelled. No point is counted as found because another of its segment was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.arrays import Counts, Mask, Numbers, Rows


@dataclass(frozen=True)
class Runs:
    """Runs of rows: Rows [R] of their first rows, and of the rows behind their last."""

    start: Rows
    stop: Rows

    def __len__(self) -> int:
        return len(self.start)

    def hits(self, rows: Mask) -> Mask:
        """Whether any row of each run is marked: Mask [R]."""
        before = np.concatenate([[0], np.cumsum(rows)])
        found: Mask = before[self.stop] > before[self.start]
        return found


def runs(rows: Mask, *, gap: int = 0) -> Runs:
    """Runs of marked rows, taken together where at most `gap` rows lie between them.

    >>> found = runs(np.array([1, 1, 0, 1, 0, 0, 1], bool), gap=1)
    >>> found.start.tolist(), found.stop.tolist()
    ([0, 6], [4, 7])
    """
    marked = np.flatnonzero(rows)
    if not len(marked):
        return Runs(marked, marked)
    ends = np.flatnonzero(np.diff(marked) > gap + 1)
    return Runs(
        marked[np.concatenate([[0], ends + 1])], marked[np.concatenate([ends, [len(marked) - 1]])] + 1
    )


@dataclass(frozen=True)
class Tally:
    """Counts of one entity, to be added up over a set.

    segments, touched : of labelled runs, all and those with an alarm
    false_incidents   : incidents without a labelled row
    normal_steps      : rows without label
    causes, causes_hit : segments whose causes are known, and those of them that the explanation names
    """

    segments: int
    touched: int
    false_incidents: int
    normal_steps: int
    causes: int = 0
    causes_hit: int = 0


def tally(label: Mask, alarm: Mask, *, quiet_steps: int) -> Tally:
    """Count segments and incidents; label, alarm : Mask [T]."""
    segments = runs(label)
    incidents = runs(alarm, gap=quiet_steps)
    return Tally(
        segments=len(segments),
        touched=int(segments.hits(alarm).sum()),
        false_incidents=int((~incidents.hits(label)).sum()),
        normal_steps=int((~label).sum()),
    )


@dataclass(frozen=True)
class Cause:
    """Rows `start` to `stop` of the test part, and the metrics that caused them, from 0."""

    start: int
    stop: int
    metrics: frozenset[int]


def read_causes(path: Path) -> list[Cause]:
    """Lines `first-last:metric,metric`, metrics counted from 1; none where there is no file."""
    if not path.exists():
        return []
    found = []
    for line in filter(None, map(str.strip, path.read_text().splitlines())):
        span, metrics = line.split(":")
        first, last = map(int, span.split("-"))
        found.append(Cause(first, last + 1, frozenset(int(metric) - 1 for metric in metrics.split(","))))
    return found


def causes_hit(causes: Iterable[Cause], contributions: Numbers, *, top: int) -> Sequence[bool]:
    """Whether one of the `top` largest mean contributions over each cause's rows names a true cause.

    contributions : Numbers [T, F], signed; the size counts. What is not explained at all names nothing.
    """
    hits = []
    for cause in causes:
        mean = np.abs(contributions[cause.start : cause.stop]).mean(axis=0)
        largest: Counts = np.argsort(-mean, kind="stable")[:top]
        hits.append(any(mean[metric] > 0 and metric in cause.metrics for metric in largest.tolist()))
    return hits
