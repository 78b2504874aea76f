"""`CounterState` against a naive loop: increases, resets, order, batches, restarts, memory."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.decode.batch import Counters, EventBatch, Strings
from streams.window.counters import CounterState

LOOKBACK_MS = 30_000
HORIZON_MS = 20_000


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


def naive(log: list[Point]) -> list[dict[int, float]]:
    """Increase of each bucket of each point, as the module's header defines it."""
    newest, last, increases = -(10**9), {}, []
    for point in log:
        newest = max(newest, point.time_ms)
        before = last.get(point.series)
        late = point.time_ms < newest - HORIZON_MS
        if late or (before is not None and point.time_ms <= before.time_ms):
            increases.append(dict.fromkeys(point.totals, 0.0))
            continue
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


def batch_of(points: list[Point]) -> EventBatch:
    """An `EventBatch` as a decoder makes it, with a gauge's row before each point."""
    time, head, rows, identity, series, start, total, value = [], [], [], [], [], [], [], []
    for point in points:
        time.append(point.time_ms)
        head.append(True)
        value.append(7.5)
        for index, (bucket, count) in enumerate(point.totals.items()):
            rows.append(len(time))
            time.append(point.time_ms)
            head.append(index == 0)
            series.append(point.series)
            identity.append(point.series if point.plain else point.series * 1000 + bucket + 1)
            start.append(point.start_ms)
            total.append(count)
            value.append(count if point.plain else bucket)
    return EventBatch(
        time_ms=np.array(time, dtype=np.int64),
        record=np.arange(len(time), dtype=np.int64),
        columns={"value": np.array(value, dtype=np.float64)},
        weight=np.ones(len(time), dtype=np.int64),
        head=np.array(head, dtype=np.bool_),
        counters=Counters(
            np.array(rows, dtype=np.int64),
            np.array(identity, dtype=np.uint64),
            np.array(start, dtype=np.int64),
            np.array(total, dtype=np.float64),
            np.array(series, dtype=np.uint64),
        ),
    )


def run(log: list[Point], cuts: list[int], state: CounterState | None = None) -> list[dict[int, float]]:
    """Increases by `CounterState` with the log cut into batches before each of `cuts`."""
    state = state or CounterState(lookback_ms=LOOKBACK_MS, horizon_ms=HORIZON_MS)
    found = []
    edges = [0, *sorted(cuts), len(log)]
    for first, last in itertools.pairwise(edges):
        part = log[first:last]
        result = state.increases(batch_of(part))
        assert result.counters is None
        row = 0
        for point in part:
            assert result.weight[row] == 1
            assert result.columns["value"][row] == 7.5
            row += 1
            increases = {}
            for bucket in point.totals:
                increases[bucket] = float(result.weight[row])
                expected = increases[bucket] if point.plain else bucket
                assert result.columns["value"][row] == expected
                row += 1
            found.append(increases)
    return found


@st.composite
def logs(draw: st.DrawFn) -> list[Point]:
    """Logs in which time mostly advances, with repeats, disorder, gaps, resets and new buckets."""
    now, log = 100_000, []
    totals: dict[int, dict[int, int]] = {}
    starts: dict[int, int] = {}
    for _ in range(draw(st.integers(1, 30))):
        now += draw(st.sampled_from([0, 1, 1_000, 5_000, 5_000, 12_000, 31_000, 70_000]))
        series = draw(st.sampled_from([1, 2, 10, 10]))
        if series not in totals or draw(st.integers(0, 5)) == 0:
            totals[series] = {}
            starts[series] = draw(st.sampled_from([0, starts.get(series, 0), now, now - 20_000]))
        held = dict(totals[series])
        if series >= 10 and draw(st.integers(0, 4)) == 0:  # other bounds, of the same and more counts
            held = {bucket + 10: total for bucket, total in held.items()}
        for bucket in [0] if series < 10 else draw(st.lists(st.integers(0, 3), min_size=1, unique=True)):
            held[bucket] = held.get(bucket, 0) + draw(st.sampled_from([0, 1, 5, 100]))
        totals[series] = held
        time_ms = now - draw(st.sampled_from([0, 0, 0, 2_000, 15_000, 25_000, 60_000]))
        log.append(Point(series, time_ms, starts[series], held))
    return log


@settings(max_examples=300, deadline=None)
@given(logs(), st.data())
def test_equals_the_naive_loop_however_the_log_is_cut(log: list[Point], data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(log)), max_size=5))
    assert run(log, cuts) == naive(log)


@settings(max_examples=300, deadline=None)
@given(logs(), st.data())
def test_a_restart_before_the_last_lookback_changes_nothing(log: list[Point], data: st.DataObject) -> None:
    whole = run(log, [])
    seen = data.draw(st.integers(0, len(log)))
    # What a worker that had read `seen` points may be asked about later: all that is not late by then.
    newest = max((point.time_ms for point in log[:seen]), default=0)
    oldest = newest - HORIZON_MS - LOOKBACK_MS
    needed = [index for index, point in enumerate(log) if point.time_ms >= oldest]
    restart = data.draw(st.integers(0, min([seen, *needed])))
    assert run(log[restart:], [])[seen - restart :] == whole[seen:]


def test_memory_holds_only_series_of_the_lookback() -> None:
    state = CounterState(lookback_ms=30_000, horizon_ms=10_000)
    for second in range(0, 600, 5):
        points = [
            Point(1000 + second, second * 1000 + 1, 0, {0: 1}),
            Point(2000 + second, second * 1000 + 1, 0, {0: 1}),
        ]
        state.increases(batch_of(points))
    # Each point is a series and a bucket; 40 s are kept, and forgetting happens each 10 s.
    assert 2 * 2 * 8 <= len(state) <= 2 * 2 * 11


def test_rows_that_may_not_count_take_no_part() -> None:
    state = CounterState()
    far = 10**12
    points = [Point(1, 1_000, 0, {0: 5}), Point(1, far, 0, {0: 6}), Point(1, 2_000, 0, {0: 8})]
    usable = batch_of(points).time_ms != far
    result = state.increases(batch_of(points), usable=usable)
    assert result.weight[[1, 3, 5]].tolist() == [0, 0, 3]


@pytest.mark.parametrize("total", [np.nan, np.inf])
def test_a_total_that_is_no_number_is_unknown_and_no_predecessor(total: float) -> None:
    counters = Counters(
        np.array([0, 1, 2]),
        np.array([1, 1, 1], np.uint64),
        np.zeros(3, np.int64),
        np.array([1.0, total, 3.5]),
    )
    batch = EventBatch(
        time_ms=np.array([1, 2, 3]),
        record=np.array([0, 1, 2]),
        columns={"value": np.array([1.0, total, 3.5]), "route": Strings(np.zeros(3, np.int32), ["/"])},
        counters=counters,
    )
    result = CounterState().increases(batch)
    np.testing.assert_array_equal(result.columns["value"], [0.0, np.nan, 2.5])
    assert result.weight.tolist() == [0, 0, 2]
    assert result.columns["route"] is batch.columns["route"]
    assert batch.columns["value"][0] == 1.0, "the batch that came in is not changed"


def test_the_value_is_scaled_as_its_column_is() -> None:
    counters = Counters(
        np.array([0, 1]), np.array([1, 1], np.uint64), np.zeros(2, np.int64), np.array([1000.0, 4000.0]),
        columns={"busy": 0.001},
    )  # fmt: skip
    batch = EventBatch(
        time_ms=np.array([1, 2]),
        record=np.array([0, 1]),
        columns={"busy": np.array([1.0, 4.0])},
        counters=counters,
    )
    result = CounterState().increases(batch)
    assert result.columns["busy"].tolist() == [0.0, 3.0]
    assert result.weight.tolist() == [0, 3000]


def test_a_batch_without_counters_comes_back_as_it_is() -> None:
    batch = EventBatch(time_ms=np.array([1]), record=np.array([0]), columns={})
    assert CounterState().increases(batch) is batch
