"""`CounterState` against a naive loop: increases, resets, order, restarts, memory."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.partials.points import PointRows, in_time_order, point_type
from streams.window.counters import CounterState

LOOKBACK_MS = 30_000


@dataclass(frozen=True)
class Point:
    """One point: of a plain counter (`totals` has the bucket 0 alone) or of a histogram (series ≥ 10)."""

    series: int
    time_ms: int
    start_ms: int
    totals: dict[int, int]

    @property
    def total(self) -> int:
        return sum(self.totals.values())

    @property
    def plain(self) -> bool:
        return self.series < 10


def share(point: Point, growth: int) -> dict[int, float]:
    """The growth of a histogram whose bounds have changed, shared out as its total is."""
    reached, edge, shares = 0, 0, {}
    for bucket, total in point.totals.items():
        reached += total
        shares[bucket] = float(round(reached * (growth / point.total)) - edge)
        edge = round(reached * (growth / point.total))
    return shares


def naive(points: list[Point]) -> list[dict[int, float]]:
    """Increase of each bucket of each point, as the module's header defines it."""
    last, increases = {}, []
    for point in points:
        before = last.get(point.series)
        last[point.series] = point
        if before is None or before.time_ms < point.time_ms - LOOKBACK_MS:
            recent = point.start_ms > 0 and point.start_ms >= point.time_ms - LOOKBACK_MS
            increases.append({key: float(total if recent else 0) for key, total in point.totals.items()})
            continue
        anew = 0 < before.start_ms < point.start_ms or any(
            point.totals.get(key, 0) < total for key, total in before.totals.items()
        )
        if (
            not point.plain
            and not 0 < before.start_ms < point.start_ms
            and before.total
            and not any(total and point.totals.get(key) for key, total in before.totals.items())
            and point.total >= before.total
        ):
            increases.append(share(point, point.total - before.total))
            continue
        increases.append(
            {
                key: float(total - (0 if anew else before.totals.get(key, 0)))
                for key, total in point.totals.items()
            }
        )
    return increases


def rows_of(points: list[Point]) -> PointRows:
    """The points as they travel."""
    flat = [(point, bucket, total) for point in points for bucket, total in point.totals.items()]
    rows = np.zeros(len(flat), dtype=point_type(1))
    for row, (point, bucket, total) in zip(rows, flat, strict=True):
        row["identity"] = point.series if point.plain else point.series * 1000 + bucket + 1
        row["point"] = point.series
        row["time_ms"], row["start_ms"], row["value"] = point.time_ms, point.start_ms, total
        row["bin"] = 0 if point.plain else bucket + 1
    return rows


def run(points: list[Point], cuts: list[int]) -> list[dict[int, float]]:
    """Increases by `CounterState`, asked in turn for the points before each of `cuts`."""
    state = CounterState(lookback_ms=LOOKBACK_MS)
    found = []
    for first, last in itertools.pairwise([0, *sorted(cuts), len(points)]):
        part = points[first:last]
        rows = in_time_order(rows_of(part))
        keys = zip(rows["time_ms"].tolist(), rows["identity"].tolist(), strict=True)
        increase = dict(zip(keys, state.increases(rows).tolist(), strict=True))
        for point in part:
            of = {b: point.series if point.plain else point.series * 1000 + b + 1 for b in point.totals}
            found.append({b: round(increase[point.time_ms, identity], 6) for b, identity in of.items()})
    return found


@st.composite
def histories(draw: st.DrawFn) -> list[Point]:
    """Points in the order of time, with gaps, resets, new buckets and new bounds."""
    now, points = 100_000, []
    totals: dict[int, dict[int, int]] = {}
    starts: dict[int, int] = {}
    for _ in range(draw(st.integers(1, 30))):
        now += draw(st.sampled_from([1, 1_000, 5_000, 5_000, 12_000, 31_000, 70_000]))
        series = draw(st.sampled_from([1, 2, 10, 10]))
        if series not in totals or draw(st.integers(0, 5)) == 0:
            totals[series] = {}
            starts[series] = draw(st.sampled_from([0, starts.get(series, 0), now, now - 20_000]))
        held = dict(totals[series])
        if series >= 10 and draw(st.integers(0, 4)) == 0:  # other bounds, of the same and more counts
            held = {bucket + 10: total for bucket, total in held.items()}
        for bucket in [0] if series < 10 else draw(st.lists(st.integers(0, 3), min_size=1, unique=True)):
            held[bucket] = held.get(bucket, 0) + draw(st.sampled_from([0, 1, 5, 100]))
        totals[series] = dict(sorted(held.items()))
        points.append(Point(series, now, starts[series], totals[series]))
    return points


@settings(max_examples=300)
@given(histories(), st.data())
def test_equals_the_naive_loop_however_it_is_cut(points: list[Point], data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(points)), max_size=5))
    assert run(points, cuts) == naive(points)


@settings(max_examples=300)
@given(histories(), st.data())
def test_a_restart_with_the_last_lookback_changes_nothing(points: list[Point], data: st.DataObject) -> None:
    seen = data.draw(st.integers(0, len(points)))
    # what comes next may lie back to back with the last point seen
    oldest = points[min(seen, len(points) - 1)].time_ms - LOOKBACK_MS
    restart = min([seen, *(i for i, point in enumerate(points) if point.time_ms >= oldest)])
    assert run(points[restart:], [])[seen - restart :] == run(points, [])[seen:]


def test_repeats_and_disorder_change_nothing() -> None:
    points = [Point(1, 1_000 * t, 0, {0: t * t}) for t in range(1, 8)]
    mixed = rows_of([*points[3:], *points, *points[:2]])
    assert CounterState().increases(in_time_order(mixed)).tolist() == [0, 3, 5, 7, 9, 11, 13]


def test_memory_holds_only_series_of_the_lookback() -> None:
    state = CounterState(lookback_ms=30_000)
    for second in range(0, 600, 5):
        points = [
            Point(1000 + second, second * 1000 + 1, 0, {0: 1}),
            Point(2000 + second, second * 1000 + 1, 0, {0: 1}),
        ]
        state.increases(in_time_order(rows_of(points)))
    # each point is a series and a row, and one comes in each series every 5 s
    assert 2 * 2 * 6 <= len(state) <= 2 * 2 * 9


def test_no_points_are_no_increases() -> None:
    assert len(CounterState().increases(rows_of([]))) == 0
