"""Turns running totals into increases: Prometheus-like counters, OTLP's cumulative sums and histograms.

What counts, for the points of one time series in the order of their times:

- The predecessor of a point is the one before it, if that is at most `lookback_ms` older.
- The increase is the difference to the predecessor's total; the whole total where the series began anew
  (its total fell, or its start is newer), and, without predecessor, where it started within the look-back;
  else 0, since nobody knows when those were counted: the point is a baseline only.
- A histogram is one point of several rows: buckets that its predecessor did not have had counted 0, and one
  that has gone tells that the histogram began anew. If all have gone, but the count of the whole has not
  fallen, the producer changed the bounds: the increase of the whole is then shared out as its total is.

Guarantee: an increase depends only on the points of the series up to it, and only on those no older than
the look-back: a restart that takes these in again gives the same increases.
Cost: two sorts of the rows by series and one look-up per series and call. Memory: 40 bytes a series and 24
a row (a bucket, or the plain counter itself) that was seen within `lookback_ms` before the newest time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import Counts, EpochMs, Hashes, Numbers, Rows
from streams.partials.points import PointRows

COUNTER_LOOKBACK_MS = 300_000
"""A counter's earlier point older than this is forgotten: five minutes, Prometheus' own staleness."""


class CounterState:
    """Last points of all cumulative series of one rollup."""

    def __init__(self, *, lookback_ms: int = COUNTER_LOOKBACK_MS) -> None:
        self._lookback_ms = lookback_ms
        self._points = _Table(time_ms=np.int64, start_ms=np.int64, filled=np.int64, value=np.float64)
        self._rows = _Table(time_ms=np.int64, value=np.float64)

    def __len__(self) -> int:
        """Number of series and rows remembered."""
        return len(self._points.keys) + len(self._rows.keys)

    def increases(self, rows: PointRows) -> Numbers:
        """By how much each row's total has increased since the point before : Numbers [N], at least 0.

        rows : as `in_time_order` gives them, later than all rows of earlier calls, each point whole
        """
        if not len(rows):
            return np.zeros(0)
        points = _points_of(rows)
        owner, time_ms, start_ms = points.of_row, points.time_ms, points.start_ms
        known = self._points.find(points.key)
        inside = points.before >= 0

        def earlier(name: str, current: NDArray[Any]) -> NDArray[Any]:
            """What the predecessor had, from this call or from the point remembered."""
            return np.where(inside, current[points.before], self._points[name][known])

        earlier_ms = earlier("time_ms", time_ms)
        follows = (inside | (known >= 0)) & (earlier_ms >= time_ms - self._lookback_ms)
        earlier_start_ms = earlier("start_ms", start_ms)
        anew = follows & (earlier_start_ms > 0) & (start_ms > earlier_start_ms)
        recent = (start_ms > 0) & (start_ms >= time_ms - self._lookback_ms)

        total = rows["value"]
        before = self._before(rows, points, earlier_ms)
        both = (before > 0) & (total > 0)  # a bucket with 0 is one that is not there
        fell = np.zeros(len(points.key), dtype=np.bool_)
        fell[owner[both & (total < before)]] = True
        met = np.bincount(owner[both], minlength=len(points.key))
        gone = met < earlier("filled", points.filled)
        growth = points.value - earlier("value", points.value)
        moved = follows & gone & (met == 0) & (growth >= 0) & ~anew
        anew |= fell | (gone & ~moved)
        increase = np.where(
            follows[owner],
            np.where(anew[owner], total, total - before),
            np.where(recent[owner], total, 0.0),
        )
        shared = np.flatnonzero(moved[owner])
        increase[shared] = _share(total[shared], owner[shared], growth)
        self._remember(rows, points)
        return np.maximum(increase, 0.0)

    def _before(self, rows: PointRows, points: _Points, earlier_ms: EpochMs) -> Numbers:
        """Totals that rows had in the predecessors of their points; 0 where these did not have them."""
        identity, owner = rows["identity"], points.of_row
        found = self._rows.find(identity)
        remembered = (
            (found >= 0) & (self._rows["time_ms"][found] == earlier_ms[owner]) & (points.before[owner] < 0)
        )
        before = np.where(remembered, self._rows["value"][found], 0.0)
        order = np.argsort(identity, kind="stable")
        later, sooner = order[1:], order[:-1]
        linked = (identity[later] == identity[sooner]) & (points.before[owner[later]] == owner[sooner])
        before[later[linked]] = rows["value"][sooner[linked]]
        return before

    def _remember(self, rows: PointRows, points: _Points) -> None:
        last = np.ones(len(points.key), dtype=np.bool_)
        last[points.before[points.before >= 0]] = False
        self._points.put(
            points.key[last],
            time_ms=points.time_ms[last],
            start_ms=points.start_ms[last],
            filled=points.filled[last],
            value=points.value[last],
        )
        kept = rows[last[points.of_row]]
        self._rows.put(kept["identity"], time_ms=kept["time_ms"], value=kept["value"])
        oldest_ms = int(points.time_ms[-1]) - self._lookback_ms
        self._points.expire(oldest_ms)
        self._rows.expire(oldest_ms)


@dataclass(frozen=True, slots=True)
class _Points:
    """The M points that N rows make, in the order of time.

    of_row : Rows [N], the point of each row
    key    : Hashes [M], their series
    before : Rows [M], the point before it in the series, -1 for the first
    filled   : Counts [M], rows with a total above 0
    value  : Numbers [M], sum of the rows' totals
    """

    of_row: Rows
    key: Hashes
    time_ms: EpochMs
    start_ms: EpochMs
    before: Rows
    filled: Counts
    value: Numbers


def _points_of(rows: PointRows) -> _Points:
    """Join the rows of one series and time."""
    new = np.ones(len(rows), dtype=np.bool_)
    new[1:] = (rows["point"][1:] != rows["point"][:-1]) | (rows["time_ms"][1:] != rows["time_ms"][:-1])
    first = np.flatnonzero(new)
    key = rows["point"][first]
    order = np.argsort(key, kind="stable")
    before = np.full(len(key), -1, dtype=np.int64)
    linked = key[order[1:]] == key[order[:-1]]
    before[order[1:][linked]] = order[:-1][linked]
    return _Points(
        of_row=np.cumsum(new) - 1,
        key=key,
        time_ms=rows["time_ms"][first],
        start_ms=rows["start_ms"][first],
        before=before,
        filled=np.add.reduceat((rows["value"] > 0).astype(np.int64), first),
        value=np.add.reduceat(rows["value"], first),
    )


def _share(total: Numbers, owner: Rows, growth: Numbers) -> Numbers:
    """Whole shares of the `growth` of each row's `owner`, in proportion to totals, that add up to it.

    owner : Rows [N], ascending within each point
    """
    if not len(total):
        return total
    first = np.flatnonzero(np.diff(owner, prepend=-1) != 0)
    point = np.cumsum(np.diff(owner, prepend=owner[0]) != 0)
    sums = np.add.reduceat(total, first)
    reached = np.cumsum(total) - (np.cumsum(sums) - sums)[point]
    edge = np.rint(reached * np.divide(growth[owner[first]], sums, where=sums > 0, out=sums.copy())[point])
    shares: Numbers = np.diff(edge, prepend=0.0)
    shares[first] = edge[first]
    return shares


class _Table:
    """Rows of numbers by 64-bit key, sorted by key."""

    def __init__(self, **columns: type[np.generic]) -> None:
        self.keys: Hashes = np.zeros(0, dtype=np.uint64)
        # One spare row at the end, which `find` gives, as -1, for keys that are not there.
        self._columns: dict[str, NDArray[Any]] = {name: np.zeros(1, dtype) for name, dtype in columns.items()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._columns[name]

    def find(self, keys: Hashes) -> Rows:
        """Row of each key, -1 where it is not there."""
        if not len(self.keys):
            return np.full(len(keys), -1, dtype=np.int64)
        row = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[row] == keys, row, -1)

    def put(self, keys: Hashes, **columns: NDArray[Any]) -> None:
        """Set the rows of distinct keys."""
        row = self.find(keys)
        old = row >= 0
        for name, values in columns.items():
            self._columns[name][row[old]] = values[old]
        new = np.flatnonzero(~old)
        if not len(new):
            return
        new = new[np.argsort(keys[new])]
        at = np.searchsorted(self.keys, keys[new])
        self.keys = np.insert(self.keys, at, keys[new])
        for name, values in columns.items():
            self._columns[name] = np.insert(self._columns[name], at, values[new])

    def expire(self, before_ms: int) -> None:
        """Drop rows whose `time_ms` is earlier."""
        kept = self._columns["time_ms"][:-1] >= before_ms
        if kept.all():
            return
        self.keys = self.keys[kept]
        for name, values in self._columns.items():
            self._columns[name] = np.append(values[:-1][kept], values[-1:])
