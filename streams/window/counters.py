"""Turns running totals into increases: Prometheus-like counters, OTLP's cumulative sums and histograms.

What counts, for the points of one time series in the order of the log:

- The predecessor of a point is the one with the newest time before it, if that is later than the point's
  and at most `lookback_ms` old. A point that is not later than one before it in the log is a duplicate or
  out of order: its increase is 0, and it is nobody's predecessor.
- The increase is the difference to the predecessor's total; the whole total where the series began anew
  (its total fell, or its start is newer), and, without predecessor, where it started within the look-back;
  else 0, since nobody knows when those were counted: the point is a baseline only.
- A histogram is one point of several rows: buckets that its predecessor did not have had counted 0, and one
  that has gone tells that the histogram began anew. If all have gone, but the count of the whole has not
  fallen, the producer changed the bounds: the increase of the whole is then shared out as its total is.
- A point more than `horizon_ms` behind the newest time of the log before it has increase 0 and is nobody's
  predecessor. It must not be smaller than the lateness allowed, so that only late events are concerned.

Guarantee: an increase depends only on the log up to its point, on no batch or clock, and only on points
that are no older than the look-back: a restart that reads them again gives the same increases.
Cost: two sorts of a batch's rows by series and one look-up per series and batch. Memory: 40 bytes a series
and 24 a bucket that was seen within `lookback_ms + horizon_ms` before the newest time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import Counts, EpochMs, Hashes, Mask, Numbers, Rows
from streams.decode.batch import COUNTER_LOOKBACK_MS, Column, Counters, EventBatch

_LONG_AGO = np.iinfo(np.int64).min
_WEIGHT_MAX = float(1 << 62)
_FORGET_EVERY_MS = 10_000


class CounterState:
    """Last points of all cumulative series of one source partition."""

    def __init__(
        self, *, lookback_ms: int = COUNTER_LOOKBACK_MS, horizon_ms: int = COUNTER_LOOKBACK_MS
    ) -> None:
        self._lookback_ms = lookback_ms
        self._horizon_ms = horizon_ms
        self._newest_ms = _LONG_AGO
        self._forgotten_ms = _LONG_AGO
        self._points = _Table(time_ms=np.int64, start_ms=np.int64, held=np.int64, value=np.float64)
        self._buckets = _Table(time_ms=np.int64, value=np.float64)

    def __len__(self) -> int:
        """Number of series and buckets remembered."""
        return len(self._points.keys) + len(self._buckets.keys)

    def increases(self, batch: EventBatch, *, usable: Mask | None = None) -> EventBatch:
        """The batch with increases for totals: in the weight, and for plain counters in their columns.

        usable : Mask [E], rows that count at all; rows that are not (events from the future, late ones) take
                 no part, neither as points nor as the newest time. None: all.
        """
        time_ms = batch.time_ms if usable is None else np.where(usable, batch.time_ms, _LONG_AGO)
        newest = np.maximum.accumulate(np.maximum(time_ms, self._newest_ms))
        counters = batch.counters
        if counters is not None and len(counters.rows):
            recent = time_ms[counters.rows] >= newest[counters.rows] - self._horizon_ms
            increase = self._increase(batch, counters, recent & (time_ms[counters.rows] != _LONG_AGO))
            batch = _apply(batch, counters, increase)
        elif counters is not None:
            batch = replace(batch, counters=None)
        if len(newest):
            self._newest_ms = int(newest[-1])
            self._forget()
        return batch

    def _increase(self, batch: EventBatch, counters: Counters, usable: Mask) -> Numbers:
        """Increase of each row of `counters`; NaN where its total is no finite number."""
        finite = np.isfinite(counters.value)
        rows = np.flatnonzero(usable & finite)
        increase = np.where(finite, 0.0, np.nan)
        if not len(rows):
            return increase
        points = _points_of(batch, counters, rows)
        known = self._points.find(points.key)
        chain = _chain(points, np.where(known >= 0, self._points["time_ms"][known], _LONG_AGO))
        taken = chain.point
        has_before = chain.before >= 0
        remembered = known[taken]

        def earlier(name: str, current: NDArray[Any]) -> NDArray[Any]:
            """What the predecessor had, from this batch or from the one remembered."""
            return np.where(has_before, current[chain.before], self._points[name][remembered])

        exists = has_before | (remembered >= 0)
        time_ms, start_ms = points.time_ms[taken], points.start_ms[taken]
        earlier_ms = earlier("time_ms", points.time_ms)
        follows = exists & (earlier_ms >= time_ms - self._lookback_ms)
        earlier_start_ms = earlier("start_ms", points.start_ms)
        anew = follows & (earlier_start_ms > 0) & (start_ms > earlier_start_ms)
        recent = (start_ms > 0) & (start_ms >= time_ms - self._lookback_ms)

        place = np.full(len(points.key), -1, dtype=np.int64)
        place[taken] = np.arange(len(taken), dtype=np.int64)
        row_place = place[points.of_row]
        rows, row_place = rows[row_place >= 0], row_place[row_place >= 0]
        total = counters.value[rows]
        plain = points.plain[taken][row_place]
        before = np.where(plain, earlier("value", points.value)[row_place], 0.0)
        bucket = np.flatnonzero(~plain)
        identity = counters.identity[rows[bucket]]
        if len(bucket):
            owner = row_place[bucket]
            link = np.where(has_before, place[chain.before], -1)
            before[bucket] = self._before(identity, total[bucket], owner, link, earlier_ms)
        fell = np.zeros(len(taken), dtype=np.bool_)
        both = (before > 0) & (total > 0)  # a bucket with 0 is one that is not there
        fell[row_place[both & (total < before)]] = True
        met = np.bincount(row_place[both], minlength=len(taken))
        gone = met < earlier("held", points.held)
        growth = points.value[taken] - earlier("value", points.value)
        moved = follows & gone & (met == 0) & (growth >= 0) & ~anew & ~points.plain[taken]
        anew |= fell | (gone & ~moved)
        gain = np.where(
            follows[row_place],
            np.where(anew[row_place], total, total - before),
            np.where(recent[row_place], total, 0.0),
        )
        shared = np.flatnonzero(moved[row_place])
        gain[shared] = _share(total[shared], row_place[shared], growth)
        increase[rows] = np.maximum(gain, 0.0)

        last = chain.last
        self._points.put(
            points.key[taken[last]],
            time_ms=time_ms[last],
            start_ms=start_ms[last],
            held=points.held[taken[last]],
            value=points.value[taken[last]],
        )
        if len(bucket):
            kept = last[row_place[bucket]]
            self._buckets.put(
                identity[kept], time_ms=time_ms[row_place[bucket[kept]]], value=total[bucket[kept]]
            )
        return increase

    def _before(
        self, identity: Hashes, total: Numbers, owner: Rows, link: Rows, earlier_ms: EpochMs
    ) -> Numbers:
        """Totals that buckets had in the predecessors of their points; 0 where these did not have them.

        owner : Rows [N], the bucket's point; link : Rows [M], a point's predecessor in this batch or -1
        """
        found = self._buckets.find(identity)
        remembered = (found >= 0) & (self._buckets["time_ms"][found] == earlier_ms[owner]) & (link[owner] < 0)
        before = np.where(remembered, self._buckets["value"][found], 0.0)
        order = np.argsort(identity, kind="stable")
        later, sooner = order[1:], order[:-1]
        linked = (identity[later] == identity[sooner]) & (link[owner[later]] == owner[sooner])
        before[later[linked]] = total[sooner[linked]]
        return before

    def _forget(self) -> None:
        if self._newest_ms - _FORGET_EVERY_MS < self._forgotten_ms:
            return
        self._forgotten_ms = self._newest_ms
        oldest_ms = self._newest_ms - self._horizon_ms - self._lookback_ms
        self._points.forget(oldest_ms)
        self._buckets.forget(oldest_ms)


@dataclass(frozen=True, slots=True)
class _Points:
    """Points of a batch, M of them, of N usable rows.

    of_row : Rows [N], the point of each row
    key    : Hashes [M], their series
    plain  : Mask [M], points of plain counters
    held   : Counts [M], rows with a total above 0
    value  : Numbers [M], sum of the rows' totals
    """

    of_row: Rows
    key: Hashes
    time_ms: EpochMs
    start_ms: EpochMs
    plain: Mask
    held: Counts
    value: Numbers


@dataclass(frozen=True, slots=True)
class _Chain:
    """The points that count, L of them: those later than all before them in their series.

    point  : Rows [L], which of the M points, series by series
    before : Rows [L], the point before it in the series, -1 for the first
    last   : Mask [L], the newest of its series
    """

    point: Rows
    before: Rows
    last: Mask


def _points_of(batch: EventBatch, counters: Counters, rows: Rows) -> _Points:
    """Join rows of one event and one series; rows of plain counters are points of their own."""
    identity = counters.identity[rows]
    key = identity if counters.point is None else counters.point[rows]
    at = counters.rows[rows]
    event = at if batch.head is None else np.cumsum(batch.head)[at]
    plain = key == identity
    new = plain | np.concatenate((np.ones(1, np.bool_), (np.diff(event) != 0) | (key[1:] != key[:-1])))
    first = np.flatnonzero(new)
    total = counters.value[rows]
    return _Points(
        of_row=np.cumsum(new) - 1,
        key=key[first],
        time_ms=batch.time_ms[at[first]],
        start_ms=counters.start_ms[rows[first]],
        plain=plain[first],
        held=np.add.reduceat((total > 0).astype(np.int64), first),
        value=np.add.reduceat(total, first),
    )


def _chain(points: _Points, known_ms: EpochMs) -> _Chain:
    """Put the points of each series in a row; `known_ms` is the time of the point remembered of it."""
    order = np.argsort(points.key, kind="stable")
    key, time_ms, known = points.key[order], points.time_ms[order], known_ms[order]
    same = np.concatenate((np.zeros(1, np.bool_), key[1:] == key[:-1]))
    counts = time_ms > np.where(same, np.concatenate((known[:1], time_ms[:-1])), known)
    if not counts.all():
        # The running maximum of each series, by ranks of times so that series can be kept apart in an int64.
        _, rank = np.unique(time_ms, return_inverse=True)
        highest = np.maximum.accumulate(rank + (np.cumsum(~same) - 1) * len(rank))
        rising = np.concatenate((np.ones(1, np.bool_), highest[1:] > highest[:-1]))
        counts = (~same | rising) & (time_ms > known)
    point = order[counts]
    key = key[counts]
    if not len(point):
        return _Chain(point, point, np.zeros(0, dtype=np.bool_))
    follows = np.concatenate((np.zeros(1, np.bool_), key[1:] == key[:-1]))
    before = np.where(follows, np.concatenate((point[:1], point[:-1])), -1)
    return _Chain(point, before, np.concatenate((~follows[1:], np.ones(1, np.bool_))))


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


def _apply(batch: EventBatch, counters: Counters, increase: Numbers) -> EventBatch:
    """Put increases where totals were."""
    weight = np.ones(len(batch), dtype=np.int64) if batch.weight is None else batch.weight.copy()
    known = np.nan_to_num(increase, nan=0.0)
    weight[counters.rows] = np.rint(np.minimum(known, _WEIGHT_MAX)).astype(np.int64)
    columns: dict[str, Column] = dict(batch.columns)
    plain = (
        np.ones(len(increase), np.bool_) if counters.point is None else counters.point == counters.identity
    )
    for name, scale in counters.columns.items():
        column = columns.get(name)
        if isinstance(column, np.ndarray):
            column = column.copy()
            column[counters.rows[plain]] = increase[plain] * scale
            columns[name] = column
    return replace(batch, columns=columns, weight=weight, counters=None)


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
        """Set the rows of keys; of a key that is there twice, the last counts."""
        row = self.find(keys)
        old = row >= 0
        for name, values in columns.items():
            self._columns[name][row[old]] = values[old]
        if old.all():
            return
        new = np.flatnonzero(~old)[::-1]
        added, first = np.unique(keys[new], return_index=True)
        at = np.searchsorted(self.keys, added)
        self.keys = np.insert(self.keys, at, added)
        for name, values in columns.items():
            self._columns[name] = np.insert(self._columns[name], at, values[new[first]])

    def forget(self, before_ms: int) -> None:
        """Drop rows whose `time_ms` is earlier."""
        kept = self._columns["time_ms"][:-1] >= before_ms
        if kept.all():
            return
        self.keys = self.keys[kept]
        for name, values in self._columns.items():
            self._columns[name] = np.append(values[:-1][kept], values[-1:])
