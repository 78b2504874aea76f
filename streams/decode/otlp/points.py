"""Metric points of OTLP, whatever their encoding, as the rows of an `EventBatch`.

One point is one event. A number is one row. A histogram has a row per bucket that holds anything, with the
bucket's representative as `value` and its count as weight: the upper bound of an explicit bucket (the last
one: the point's `max` where given, else the last bound), base^(i+1) of an exponential one (0 for the zero
bucket, negated for negative buckets). A histogram without buckets and a summary are one row: their mean,
as often as they count. A point with nothing in it is still one row, of weight 0.

Cumulative counts become `Counters`. So that a producer's change of scale does not make other buckets of
the same exponential histogram, cumulative ones are brought to scale `SCALE_MAX` (base 2^(1/8), buckets 9 %
wide) where theirs is finer. Should a scale change below that, or explicit bounds change, the buckets are
other ones of the same series; `streams.window.counters` keeps the count exact over such a change.
Source: https://opentelemetry.io/docs/specs/otel/metrics/data-model/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import Counts, EpochMs, Hashes, Mask, Numbers, Rows

SCALE_MAX = 3
SCALE_LIMIT = 32  # scales beyond ±this occur in no SDK and overflow
GAUGE, DELTA, CUMULATIVE = 0, 1, 2
"""Roles of a metric: each point occurs once; its value is an increase; its value is a running total."""

_NO_RECORDED_VALUE = 1
_WEIGHT_MAX = float(1 << 62)
_NOTHING = 0x9E3779B97F4A7C15  # identity of the row of a point without buckets
_MIX_A, _MIX_B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # splitmix64


@dataclass(frozen=True, slots=True)
class Points:
    """What points of all kinds have; P points in the order of the log.

    record     : Rows [P], position in `Records`
    role       : Counts [P], GAUGE, DELTA or CUMULATIVE
    context    : Rows [P], of the context table
    attributes : Rows [P], of the attribute table; 0 where they could not be decoded
    series     : Hashes [P], key of the time series
    time_ns    : Counts [P]; the event time
    start_ns   : Counts [P]; 0 where unknown
    flags      : Counts [P]
    """

    record: Rows
    role: Counts
    context: Rows
    attributes: Rows
    series: Hashes
    time_ns: Counts
    start_ns: Counts
    flags: Counts

    @property
    def recorded(self) -> Mask:
        """Points that hold a value; the others only say that there is none."""
        recorded: Mask = (self.flags & _NO_RECORDED_VALUE) == 0
        return recorded

    @property
    def start_ms(self) -> EpochMs:
        """When counting began; a point that begins at its own time says that it does not know."""
        known = (self.start_ns > 0) & (self.start_ns != self.time_ns)
        return np.where(known, self.start_ns // 1_000_000, 0)


@dataclass(frozen=True, slots=True)
class Ragged:
    """Lists of different lengths: `sizes` [P] and all their `values`, one list after another."""

    sizes: Counts
    values: NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Histograms:
    """Explicit histograms and, without buckets, summaries; `max` is NaN where not given."""

    points: Points
    count: Counts
    sum: Numbers
    max: Numbers
    buckets: Ragged
    bounds: Ragged


@dataclass(frozen=True, slots=True)
class Exponentials:
    """Exponential histograms; `…_offset` is the index of the first bucket of that side."""

    points: Points
    count: Counts
    sum: Numbers
    scale: Counts
    zero_count: Counts
    positive_offset: Counts
    positive: Ragged
    negative_offset: Counts
    negative: Ragged


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of points of one kind.

    point    : Rows [E], which of the points
    value    : Numbers [E]; of a plain cumulative sum its total
    weight   : Counts [E]; of a bucket its count, cumulative or not
    counting : Mask [E], rows of cumulative series
    identity : Hashes [E], key of the series or bucket; equal to the point's for plain sums
    series   : Hashes [E], key of the point
    """

    points: Points
    point: Rows
    value: Numbers
    weight: Counts
    counting: Mask
    identity: Hashes
    series: Hashes

    @property
    def head(self) -> Mask:
        """The first row of each point."""
        return np.concatenate((np.ones(min(len(self.point), 1), dtype=np.bool_), np.diff(self.point) > 0))


def mix(key: Hashes, part: Hashes) -> Hashes:
    """One key of two, by the finisher of splitmix64 (Steele, Lea, Flood 2014)."""
    mixed = key * np.uint64(0x9E3779B97F4A7C15) + part
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_A
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_B
    return mixed ^ (mixed >> np.uint64(31))


def whole(value: Numbers) -> Counts:
    """Increases as whole weights: rounded to even, none for NaN and below zero."""
    return np.rint(np.clip(np.nan_to_num(value, nan=0.0), 0.0, _WEIGHT_MAX)).astype(np.int64)


def expand_numbers(points: Points, value: Numbers) -> Block:
    """Rows of gauges and sums."""
    value = np.where(points.recorded, value, np.nan)
    counting = points.role == CUMULATIVE
    value = np.where(counting & ~np.isfinite(value), np.nan, value)
    weight = np.where(points.role == GAUGE, 1, np.where(points.role == DELTA, whole(value), 0))
    weight = np.where(points.recorded, weight, 0)
    rows = np.arange(len(value), dtype=np.int64)
    return Block(points, rows, value, weight, counting & np.isfinite(value), points.series, points.series)


def shapes_of_histograms(histograms: Histograms) -> Mask:
    """Points whose counts are valid and fit their bounds: one bucket more, or none at all."""
    sizes = histograms.buckets.sizes
    good: Mask = (sizes == 0) | (histograms.bounds.sizes == sizes - 1)
    good &= (histograms.count >= 0) & ~_any(histograms.buckets, lambda counts: counts < 0)
    return good


def shapes_of_exponentials(points: Exponentials) -> Mask:
    """Points whose counts, scale and offsets are valid."""
    good: Mask = (np.abs(points.scale) <= SCALE_LIMIT) & (points.zero_count >= 0) & (points.count >= 0)
    for offset, side in (
        (points.positive_offset, points.positive),
        (points.negative_offset, points.negative),
    ):
        good &= (np.abs(offset) < 1 << 31) & ~_any(side, lambda counts: counts < 0)
    return good


def expand_histograms(histograms: Histograms, good: Mask) -> Block:
    """Rows of explicit histograms and summaries, of those in `good`."""
    points, sizes = histograms.points, histograms.buckets.sizes
    point, index = _cells(sizes)
    count = histograms.buckets.values.astype(np.int64, copy=False)
    kept = (count > 0) & (good & points.recorded)[point]
    point, index, count = point[kept], index[kept], count[kept]
    first_bound = np.cumsum(histograms.bounds.sizes) - histograms.bounds.sizes
    bounds = np.append(histograms.bounds.values.astype(np.float64, copy=False), np.nan)
    last = index == sizes[point] - 1
    bound = np.where(last, np.inf, bounds[np.where(last, -1, first_bound[point] + index)])
    previous = bounds[np.where(last & (index > 0), first_bound[point] + index - 1, -1)]
    top = np.where(np.isnan(histograms.max[point]), previous, histograms.max[point])
    layout = mix(points.series, _fingerprints(histograms.bounds))
    identity = mix(layout[point], bound.view(np.uint64))
    mean = _means(histograms.sum, np.where(sizes == 0, histograms.count, 0))
    rest = np.where(sizes == 0, histograms.count, 0)
    return _fill(points, good, point, np.where(last, top, bound), count, identity, mean, rest)


def expand_exponentials(exponentials: Exponentials, good: Mask) -> Block:
    """Rows of exponential histograms, of those in `good`."""
    points = exponentials.points
    usable = good & points.recorded
    scale = np.where(good, exponentials.scale, 0)
    shift = np.where(points.role == CUMULATIVE, np.maximum(scale - SCALE_MAX, 0), 0)
    scale = scale - shift
    sides = []
    for sign, offset, side in (
        (-1, exponentials.negative_offset, exponentials.negative),
        (1, exponentials.positive_offset, exponentials.positive),
    ):
        point, index = _cells(side.sizes)
        kept = (side.values > 0) & usable[point]
        point, count = point[kept], side.values[kept].astype(np.int64, copy=False)
        index = (offset[point] + index[kept]) >> shift[point]
        point, index, count = _merge(point, index, count)
        with np.errstate(over="ignore"):
            upper = np.exp2((index + 1) * np.exp2(-scale[point].astype(np.float64)))
        upper = np.minimum(upper, np.finfo(np.float64).max)
        sides.append((point, sign * upper, count, index * 4 + (2 + sign)))
    zero = np.flatnonzero((exponentials.zero_count > 0) & usable)
    sides.insert(1, (zero, np.zeros(len(zero)), exponentials.zero_count[zero], np.zeros_like(zero)))
    point, value, count, bucket = (np.concatenate(parts) for parts in zip(*sides, strict=True))
    layout = mix(points.series, scale.astype(np.uint64))
    bare = (exponentials.positive.sizes + exponentials.negative.sizes == 0) & (exponentials.zero_count == 0)
    rest = np.where(bare, exponentials.count, 0)
    identity = mix(layout[point], bucket.astype(np.uint64))
    return _fill(points, good, point, value, count, identity, _means(exponentials.sum, rest), rest)


def _fill(
    points: Points,
    good: Mask,
    point: Rows,
    value: Numbers,
    count: Counts,
    identity: Hashes,
    mean: Numbers,
    rest: Counts,
) -> Block:
    """Give the points in `good` without a row one of `rest` times the `mean`; order all by point."""
    empty = good.copy()
    empty[point] = False
    lone = np.flatnonzero(empty)
    recorded = points.recorded
    point = np.concatenate((point, lone))
    order = np.argsort(point, kind="stable")
    point = point[order]
    filler = mix(points.series[lone], np.full(len(lone), _NOTHING, dtype=np.uint64))
    return Block(
        points,
        point,
        np.concatenate((value, np.where(recorded[lone], mean[lone], np.nan)))[order],
        np.concatenate((count, np.where(recorded[lone], rest[lone], 0)))[order],
        (points.role == CUMULATIVE)[point] & recorded[point],
        np.concatenate((identity, filler))[order],
        points.series[point],
    )


def _means(total: Numbers, count: Counts) -> Numbers:
    mean: Numbers = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mean


def _cells(sizes: Counts) -> tuple[Rows, Rows]:
    """For each cell of ragged lists its list and its index in the list."""
    owner = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    return owner, np.arange(len(owner), dtype=np.int64) - (np.cumsum(sizes) - sizes)[owner]


def _any(lists: Ragged, test: Callable[[Counts], Mask]) -> Mask:
    """Lists with a value for which `test` holds."""
    found = np.zeros(len(lists.sizes), dtype=np.bool_)
    found[_cells(lists.sizes)[0][test(lists.values.astype(np.int64, copy=False))]] = True
    return found


def _merge(point: Rows, index: Rows, count: Counts) -> tuple[Rows, Rows, Counts]:
    """Add up neighbours with the same point and index."""
    if not len(point):
        return point, index, count
    new = np.flatnonzero(np.diff(point, prepend=-1).astype(np.bool_) | (np.diff(index, prepend=0) != 0))
    return point[new], index[new], np.add.reduceat(count, new)


def _fingerprints(lists: Ragged) -> Hashes:
    """A key of each list's content."""
    _, index = _cells(lists.sizes)
    keys = mix(lists.values.astype(np.float64, copy=False).view(np.uint64), index.astype(np.uint64))
    total = np.concatenate((np.zeros(1, dtype=np.uint64), np.cumsum(keys, dtype=np.uint64)))
    end = np.cumsum(lists.sizes)
    prints: Hashes = total[end] - total[end - lists.sizes]
    return prints
