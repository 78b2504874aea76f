"""Counts since ever, and since the calendar period began, of all series of a rollup.

Blocks carry them beside the counts of their slot, and those of a ring are overwritten in turn. So that a
series which has been silent for longer than its ring keeps its totals through a restart, these are stored
apart once an hour, in shards by the series' key: only shards in which something was counted are written.

Cost: 16 bytes a counter and series; an hour's writes are bounded by the number of series. Series that have
been silent for `KEPT_BUCKETS` are forgotten by a restart, those of a rollup that forgets also without one.
"""

from __future__ import annotations

import numpy as np

from models.arrays import Counts, Hashes, Rows
from models.calendar.period import CalendarPeriod
from models.calendar.units import DAY_MS
from streams.plan.plan import BUCKET_MS

SHARD_COUNT = 256
"""A shard fits into one record up to some 10,000 series, two million in all."""

KEPT_BUCKETS = 92 * DAY_MS // BUCKET_MS
"""A quarter: names that come and go, of pods say, must not fill the table of series for good."""

_SHARD_SHIFT = np.uint64(56)


def shards_of(hashes: Hashes) -> Rows:
    """Shard of each series; its destination partition depends on the other end of the key."""
    return (hashes >> _SHARD_SHIFT).astype(np.int64)


class Totals:
    """Running totals of S series.

    ever   : Counts [S, C]
    """

    def __init__(self, counter_count: int, calendar: CalendarPeriod | None) -> None:
        self.ever: Counts = np.zeros((0, counter_count), dtype=np.int64)
        self._period: Counts = np.zeros((0, counter_count), dtype=np.int64)
        self._calendar = calendar
        self._period_end = 0
        self.last_bucket: Rows = np.zeros(0, dtype=np.int64)
        """Bucket of each series' last counts, -1 for none; after a restart the last of the slot with them."""
        self._settled = -1

    def make_room(self, series_count: int) -> None:
        missing = series_count - len(self.ever)
        if missing > 0:
            self.ever = np.pad(self.ever, ((0, missing), (0, 0)))
            self._period = np.pad(self._period, ((0, missing), (0, 0)))
            self.last_bucket = np.pad(self.last_bucket, (0, missing), constant_values=-1)

    def add(self, bucket: int, series: Rows, counts: Counts) -> None:
        """Count a sealed bucket, later than all before.

        series : Rows [N], distinct, below S
        """
        if self._calendar is not None and bucket >= self._period_end:
            self._period_end = self._calendar.bounds(bucket * BUCKET_MS)[1] // BUCKET_MS
            self._period[:] = 0
        self.ever[series] += counts
        if self._calendar is not None:
            self._period[series] += counts
        self.last_bucket[series] = bucket

    def begin_anew(self, series: Rows) -> None:
        """Forget what some series had counted."""
        self.ever[series] = 0
        self._period[series] = 0

    def keep(self, series: Rows) -> None:
        """Drop all series but some, ascending, which are numbered from 0 on."""
        self.ever, self._period = self.ever[series], self._period[series]
        self.last_bucket = self.last_bucket[series]

    def period_at(self, bucket: int) -> Counts:
        """Counts [S, C] of the calendar period that a bucket lies in, which is not before the last added."""
        return self._period if bucket < self._period_end else np.zeros_like(self._period)

    def stored(self, series: Rows) -> Counts:
        """Counts [N, 2 * C] of some series: ever, then of the period."""
        return np.concatenate([self.ever[series], self._period[series]], axis=1)

    def touched(self) -> Rows:
        """Series with counts after the bucket last settled."""
        return np.flatnonzero(self.last_bucket > self._settled)

    def settle(self, bucket: int) -> None:
        """The totals of all that `bucket` and those before it had counts of are stored apart."""
        self._settled = bucket

    def load(self, series: Rows, stored: Counts, last_bucket: Rows, latest: int) -> None:
        """Put back what `stored` gave; of several values of a series the latest stands.

        last_bucket : Rows [N], the last bucket that each row may include
        latest      : the last bucket sealed
        """
        newer = last_bucket >= self.last_bucket[series]
        series, stored, last_bucket = series[newer], stored[newer], last_bucket[newer]
        counter_count = self.ever.shape[1]
        self.last_bucket[series] = last_bucket
        self.ever[series] = stored[:, :counter_count]
        if self._calendar is not None:
            start, end = self._calendar.bounds(latest * BUCKET_MS)
            self._period_end = end // BUCKET_MS
            mine = (last_bucket + 1) * BUCKET_MS > start
            self._period[series] = np.where(mine[:, np.newaxis], stored[:, counter_count:], 0)
