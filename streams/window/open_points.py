"""Points of cumulative counters in buckets that are still open, and their increases once a bucket closes.

Guarantee: points are taken in the order of their times, each once, however often and in whatever order
they arrived, so that increases are a function of the logs. What `close` returns, put back by `load` after a
restart, lets counters go on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from models.arrays import Numbers, Rows
from streams.partials.points import PointRows, in_time_order, point_type
from streams.plan.plan import BUCKET_MS
from streams.window.counters import CounterState

_PIECES_MAX = 256
"""Flushes within the lateness of a few source partitions; more are mostly repeats."""


class OpenPoints:
    """Points of one rollup, series by the window's own numbers."""

    def __init__(self, measure_count: int) -> None:
        self._pieces: dict[int, list[PointRows]] = {}
        self._state = CounterState()
        self._none: PointRows = np.zeros(0, dtype=point_type(measure_count))

    def add(self, rows: PointRows) -> list[int]:
        """Hold points of open buckets; returns these buckets, ascending."""
        bucket = rows["time_ms"] // BUCKET_MS
        order = np.argsort(bucket, kind="stable")
        rows, bucket = rows[order], bucket[order]
        starts = np.flatnonzero(np.diff(bucket, prepend=-1))
        buckets: list[int] = bucket[starts].tolist()
        for number, part in zip(buckets, np.split(rows, starts[1:]), strict=False):
            pieces = self._pieces.setdefault(number, [])
            pieces.append(part)
            if len(pieces) > _PIECES_MAX:
                pieces[:] = [in_time_order(np.concatenate(pieces))]
        return buckets

    def buckets(self) -> Set[int]:
        """Buckets of which points are held."""
        return self._pieces.keys()

    def series(self) -> Rows:
        """Series of which points are held, some of them more than once."""
        pieces = [rows["series"] for pieces in self._pieces.values() for rows in pieces]
        return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)

    def renumber(self, numbers: Rows) -> None:
        """Series are called otherwise from now on.

        numbers : Rows [S], the new number of each series
        """
        for pieces in self._pieces.values():
            for rows in pieces:
                rows["series"] = numbers[rows["series"]]

    def close(self, bucket: int) -> tuple[PointRows, Numbers]:
        """The points of a bucket in the order of time, and the increase of each; buckets come in ascending
        order."""
        pieces = self._pieces.get(bucket)
        rows = self._none if pieces is None else in_time_order(np.concatenate(pieces))
        return rows, self._state.increases(rows)

    def drop_below(self, bucket: int) -> None:
        """Buckets below `bucket` are closed and durable."""
        self._pieces = {number: pieces for number, pieces in self._pieces.items() if number >= bucket}

    def load(self, rows: PointRows) -> None:
        """Take in all points that `close` gave for a bucket; buckets come in ascending order."""
        self._state.increases(in_time_order(rows))
