"""Rolling windows of many series at once: rings of slots, and one running sum per window.

Three levels of slots: 10 s for windows up to an hour, 5 min up to three days, 1 h beyond. A window is the
smallest whole number of its level's slots that covers it; its end is exact to 10 s. Sums are whole
numbers, a new bucket is added and what expired is subtracted, so they never drift.

Guarantee: after any sequence of `push`, `sums` equals the naive sum over the slots (property-tested).
Cost: 2 bytes a counter and slot (4 or 8 in a chunk and level where a count ever needs them), 8 bytes a
counter and window; a series that needs only short windows has only the first level. Series are kept in
chunks, so that growth never copies more than a thousand of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import Counts, Rows
from models.calendar.units import DAY_MS, HOUR_MS
from streams.plan.plan import BUCKET_MS

LEVEL_SLOT_MS = (BUCKET_MS, 300_000, HOUR_MS)
_LEVEL_WINDOW_MS_MAX = (HOUR_MS, 3 * DAY_MS)

CHUNK_SERIES = 1024
_CHUNK_SERIES_MIN = 8
_WIDER = (np.uint32, np.int64)


def level_of(window_ms: int) -> int:
    """Level of slots that a window is summed from."""
    return sum(window_ms > limit for limit in _LEVEL_WINDOW_MS_MAX)


def window_start(window_ms: int, end_bucket: int) -> int:
    """First bucket of the window that ends before `end_bucket`: a slot's first, at most a slot early."""
    width = LEVEL_SLOT_MS[level_of(window_ms)] // BUCKET_MS
    return (end_bucket - window_ms // BUCKET_MS) // width * width


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a rollup: slots of `slot_ms`, `slot_count` of them, and which windows it serves."""

    slot_ms: int
    slot_count: int
    windows: tuple[int, ...]

    @property
    def width(self) -> int:
        """Buckets in a slot."""
        return self.slot_ms // BUCKET_MS


def levels_for(windows_ms: Sequence[int]) -> tuple[Level, ...]:
    """The levels that a rollup with these windows needs; a coarser level rests on all finer ones.

    Raises ValueError for a window that is no multiple of the bucket.
    """
    for window in windows_ms:
        if window <= 0 or window % BUCKET_MS:
            raise ValueError(f"window of {window} ms: expected a multiple of {BUCKET_MS} ms")
    top = max(map(level_of, windows_ms))
    levels = []
    for number in range(top + 1):
        slot_ms = LEVEL_SLOT_MS[number]
        mine = [index for index, window in enumerate(windows_ms) if level_of(window) == number]
        longest = max((windows_ms[index] for index in mine), default=0)
        if number < top:
            # a restart finds the open slot of the next level in this one
            longest = max(longest, LEVEL_SLOT_MS[number + 1])
        levels.append(Level(slot_ms, -(-longest // slot_ms) + 1, tuple(mine)))
    return tuple(levels)


class _Chunk:
    """Slots and sums of up to `CHUNK_SERIES` series."""

    def __init__(self, levels: Sequence[Level], window_count: int, counter_count: int) -> None:
        capacity = _CHUNK_SERIES_MIN
        self.slots: list[NDArray[np.integer]] = [
            np.zeros((level.slot_count, capacity, counter_count), dtype=np.uint16) for level in levels
        ]
        self.sums: Counts = np.zeros((window_count, capacity, counter_count), dtype=np.int64)

    @classmethod
    def joined(cls, parts: Sequence[tuple[_Chunk, Rows]]) -> _Chunk:
        """Some rows of each of several chunks of the same levels, one after the other."""
        chunk = cls.__new__(cls)
        chunk.slots = [
            np.concatenate([part.slots[level][:, rows] for part, rows in parts], axis=1)
            for level in range(len(parts[0][0].slots))
        ]
        chunk.sums = np.concatenate([part.sums[:, rows] for part, rows in parts], axis=1)
        return chunk

    @property
    def capacity(self) -> int:
        return int(self.sums.shape[1])

    def grow(self, capacity: int) -> None:
        extra = ((0, 0), (0, capacity - self.capacity), (0, 0))
        self.slots = [np.pad(slots, extra) for slots in self.slots]
        self.sums = np.pad(self.sums, extra)

    def add(self, level: int, slot: int, rows: Rows, counts: Counts) -> None:
        """Add to one slot; a level whose type a count outgrows gets the next wider one."""
        slots = self.slots[level]
        total = slots[slot, rows].astype(np.int64) + counts
        low, high = (int(total.min()), int(total.max())) if total.size else (0, 0)
        for wider in _WIDER:
            limits = np.iinfo(slots.dtype)
            if low < limits.min or high > limits.max:
                slots = self.slots[level] = slots.astype(wider)
        slots[slot, rows] = total


class Rings:
    """Slots and rolling sums of all series of one rollup in one partition.

    windows_ms : W windows, ascending
    counter_count : C counters a series; a sum of measured values may be negative
    """

    def __init__(self, windows_ms: Sequence[int], counter_count: int) -> None:
        self.windows_ms = tuple(windows_ms)
        self.counter_count = counter_count
        self.levels = levels_for(windows_ms)
        self.end: int | None = None
        """Bucket after the last one pushed; windows end here."""
        self.series_count = 0
        self._chunks: list[_Chunk] = []

    def push(self, bucket: int, series: Rows, counts: Counts) -> None:
        """Add the counts of a sealed bucket, later than all before; the windows move to its end.

        series : Rows [N], distinct
        counts : Counts [N, C]
        """
        assert self.end is None or bucket >= self.end, "buckets are pushed in order"
        if len(series):
            self._make_room(int(series.max()) + 1)
        self._move(bucket + 1)
        for number, rows, part in self._by_chunk(series, counts):
            chunk = self._chunks[number]
            for index, level in enumerate(self.levels):
                chunk.add(index, bucket // level.width % level.slot_count, rows, part)
            chunk.sums[:, rows] += part

    def advance(self, end: int) -> None:
        """Move the windows' end over buckets without events."""
        if self.end is None or end > self.end:
            self._move(end)

    def sums(self) -> Counts:
        """Rolling sums : Counts [W, S, C], of the windows that end before `end`."""
        return self._joined([chunk.sums for chunk in self._chunks])

    def sums_at(self, end: int, extra: Counts) -> Counts:
        """Sums of the windows that end before `end`, at or after the sealed end, with what is still open.

        extra   : Counts [W, S', C], S' >= S, counts of the open buckets of each window
        returns : Counts [W, S', C]
        """
        sums = extra.copy()
        sums[:, : self.series_count] += self.sums()
        if self.end is None:
            return sums
        for index, level in enumerate(self.levels):
            for window in level.windows:
                first = window_start(self.windows_ms[window], self.end) // level.width
                upto = window_start(self.windows_ms[window], max(end, self.end)) // level.width
                upto = min(upto, (self.end - 1) // level.width + 1)
                if upto > first:
                    slots = np.arange(first, upto) % level.slot_count
                    parts = [
                        c.slots[index][slots].sum(axis=0, dtype=np.int64)[np.newaxis] for c in self._chunks
                    ]
                    sums[window, : self.series_count] -= self._joined(parts)[0]
        return sums

    def slot_rows(self, level: int, slot: int) -> tuple[Rows, Counts]:
        """Series with counts in a slot, and these : Rows [N], Counts [N, C]."""
        spec = self.levels[level]
        parts = [chunk.slots[level][slot % spec.slot_count] for chunk in self._chunks]
        counts = self._joined([part[np.newaxis] for part in parts])[0].astype(np.int64)
        series = np.flatnonzero(counts.any(axis=1))
        return series, counts[series]

    def whole_slots(self, level: int) -> range:
        """Numbers of the slots of a level that are complete and still held."""
        if self.end is None:
            return range(0)
        spec = self.levels[level]
        last = self.end // spec.width
        return range(max((self.end - 1) // spec.width - spec.slot_count + 1, 0), last)

    def slot_counts(self, level: int, slots: range) -> Counts:
        """Counts [N, S, C] of some slots of a level, which are held."""
        spec = self.levels[level]
        places = np.arange(slots.start, slots.stop) % spec.slot_count
        parts = [chunk.slots[level][places].astype(np.int64) for chunk in self._chunks]
        if not parts:
            return np.zeros((len(places), 0, self.counter_count), dtype=np.int64)
        return self._joined(parts)

    def between(self, start: int, end: int) -> Counts:
        """Sum of the slots whose middle lies in the buckets [start, end) : Counts [S, C].

        Each instant is taken from the finest level that still holds it.
        """
        total = np.zeros((self.series_count, self.counter_count), dtype=np.int64)
        if self.end is None:
            return total
        until = self.end
        for index, level in enumerate(self.levels):
            oldest = max((self.end - 1) // level.width - level.slot_count + 1, 0) * level.width
            if index + 1 < len(self.levels):  # the coarser level takes over at one of its own borders
                coarser = self.levels[index + 1].width
                oldest = -(-oldest // coarser) * coarser
            numbers = np.arange(oldest // level.width, -(-until // level.width))
            middle = numbers * level.width + level.width // 2
            chosen = numbers[(middle >= start) & (middle < end)] % level.slot_count
            if len(chosen):
                total += self._joined(
                    [c.slots[index][chosen].sum(axis=0, dtype=np.int64)[np.newaxis] for c in self._chunks]
                )[0]
            until = min(until, oldest)
        return total

    def load(self, level: int, slot: int, series: Rows, counts: Counts) -> None:
        """Put back a slot's counts after a restart; `rebuild` makes the sums once all are there."""
        if len(series) == 0:
            return
        self._make_room(int(series.max()) + 1)
        for number, rows, part in self._by_chunk(series, counts):
            self._chunks[number].add(level, slot % self.levels[level].slot_count, rows, part)

    def rebuild(self, end: int) -> None:
        """Make the sums of the windows that end before `end` from the slots."""
        self.end = end
        for index, level in enumerate(self.levels):
            current = (end - 1) // level.width
            for window in level.windows:
                first = window_start(self.windows_ms[window], end) // level.width
                slots = np.arange(first, current + 1) % level.slot_count
                for chunk in self._chunks:
                    chunk.sums[window] = chunk.slots[index][slots].sum(axis=0, dtype=np.int64)

    def keep(self, series: Rows) -> None:
        """Drop all series but some, ascending, which are numbered from 0 on."""
        series = series[series < self.series_count]
        chunks = []
        for first in range(0, len(series), CHUNK_SERIES):
            mine = series[first : first + CHUNK_SERIES]
            parts = [
                (self._chunks[number], mine[mine // CHUNK_SERIES == number] % CHUNK_SERIES)
                for number in np.unique(mine // CHUNK_SERIES).tolist()
            ]
            chunks.append(_Chunk.joined(parts))
        self._chunks, self.series_count = chunks, len(series)

    def _move(self, end: int) -> None:
        old, self.end = self.end, end
        if old is None:
            return
        for index, level in enumerate(self.levels):
            last, current = (old - 1) // level.width, (end - 1) // level.width
            for window in level.windows:
                first = window_start(self.windows_ms[window], old) // level.width
                upto = min(window_start(self.windows_ms[window], end) // level.width, last + 1)
                if upto > first:
                    slots = np.arange(first, upto) % level.slot_count
                    for chunk in self._chunks:
                        chunk.sums[window] -= chunk.slots[index][slots].sum(axis=0, dtype=np.int64)
            if current > last:
                reused = np.arange(max(last + 1, current - level.slot_count + 1), current + 1)
                for chunk in self._chunks:
                    chunk.slots[index][reused % level.slot_count] = 0

    def _make_room(self, series_count: int) -> None:
        self.series_count = max(self.series_count, series_count)
        while len(self._chunks) * CHUNK_SERIES < series_count:
            if self._chunks and self._chunks[-1].capacity < CHUNK_SERIES:
                self._chunks[-1].grow(CHUNK_SERIES)
            self._chunks.append(_Chunk(self.levels, len(self.windows_ms), self.counter_count))
        needed = series_count - (len(self._chunks) - 1) * CHUNK_SERIES
        if self._chunks and self._chunks[-1].capacity < needed:
            self._chunks[-1].grow(min(CHUNK_SERIES, 1 << (needed - 1).bit_length()))

    def _by_chunk(self, series: Rows, counts: Counts) -> list[tuple[int, Rows, Counts]]:
        if len(self._chunks) <= 1:
            return [(0, series, counts)] if len(series) else []
        chunk = series // CHUNK_SERIES
        order = np.argsort(chunk, kind="stable")
        bounds = np.searchsorted(chunk[order], np.arange(len(self._chunks) + 1))
        return [
            (number, series[rows] % CHUNK_SERIES, counts[rows])
            for number in range(len(self._chunks))
            if len(rows := order[bounds[number] : bounds[number + 1]])
        ]

    def _joined(self, parts: Sequence[NDArray[np.generic]]) -> NDArray[np.int64]:
        """Arrays [·, S of a chunk, C] side by side, cut to the series that exist."""
        if not parts:
            return np.zeros((len(self.windows_ms), 0, self.counter_count), dtype=np.int64)
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return joined[:, : self.series_count]  # type: ignore[return-value]
