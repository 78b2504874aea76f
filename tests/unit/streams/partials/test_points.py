"""Points of counters on their way: described by a rollup, split by destination, ordered, counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.events.batch import Counters, EventBatch, Strings
from streams.language.expression import compile_expression, compile_number
from streams.partials.points import (
    PointRows,
    PointTable,
    contributions,
    described,
    in_time_order,
    point_type,
    points_by_destination,
    running_rows,
)
from streams.partials.sketch import BIN_COUNT, bins_of
from streams.plan.rollup import MICRO, Count, Sum
from streams.window.open_points import OpenPoints

MEASURES = (
    Count("total"),
    Count("ok", compile_expression('code == "ok"')),
    Sum("seconds", "ms"),
    Sum("double", "ms", None, compile_number("2 * ms")),
)


def batch() -> EventBatch:
    """A gauge, a plain counter of milliseconds, two buckets of a histogram, a counter without a number."""
    return EventBatch(
        time_ms=np.array([1, 2, 3, 3, 4]),
        record=np.arange(5),
        columns={
            "ms": np.array([7.0, 1.5, 0.25, 0.5, np.nan]),
            "code": Strings(np.array([0, 0, 1, 1, 0], np.int32), ["ok", "bad"]),
        },
        head=np.array([True, True, True, False, True]),
        counters=Counters(
            rows=np.array([1, 2, 3, 4]),
            identity=np.array([10, 21, 22, 30], np.uint64),
            start_ms=np.array([0, 1, 1, 0]),
            value=np.array([1500.0, 4.0, 6.0, np.nan]),
            point=np.array([10, 20, 20, 30], np.uint64),
            columns={"ms": 0.001},
        ),
    )


def test_running_totals_are_missing_from_the_batch_and_stand_beside_it() -> None:
    before = batch()
    assert before.counters is not None
    rest, running = running_rows(before, before.counters)
    assert rest.counters is None
    np.testing.assert_array_equal(rest.columns["ms"], [7.0, np.nan, 0.25, 0.5, np.nan])
    assert before.columns["ms"][1] == 1.5, "the batch that came in is not changed"
    assert running.rows["identity"].tolist() == [0, 10, 21, 22, 30]
    assert running.rows["time_ms"].tolist() == [1, 2, 3, 3, 4]


def test_points_are_described_by_what_a_unit_of_them_adds() -> None:
    before = batch()
    assert before.counters is not None
    rest, running = running_rows(before, before.counters)
    at = running.rows["identity"] != 0
    columns = {
        "ms": rest.columns["ms"][at],  # type: ignore[index]
        "code": Strings(rest.columns["code"].codes[at], ["ok", "bad"]),  # type: ignore[union-attr]
    }
    rows = described(running.select(at), columns, MEASURES, "ms")
    assert rows["identity"].tolist() == [10, 21, 22], "a total that is no number counts nothing"
    np.testing.assert_allclose(rows["factor"], [[1, 1, 0.001, 0.002], [1, 0, 0.25, 0.5], [1, 0, 0.5, 1.0]])
    assert rows["bin"].tolist() == [0, *(bins_of(np.array([0.25, 0.5])) + 1)]


@st.composite
def some_rows(draw: st.DrawFn) -> PointRows:
    """Rows of few series, times and buckets, so that repeats are frequent."""
    drawn = draw(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 50_000), st.integers(0, 9)),
            max_size=40,
        )
    )
    rows = np.zeros(len(drawn), dtype=point_type(2))
    for row, (point, bucket, time_ms, value) in zip(rows, drawn, strict=True):
        row["series"], row["point"] = point % 2, point
        row["identity"] = 100 * point + bucket
        row["bin"] = bucket + 1
        row["time_ms"], row["value"] = time_ms // 5_000 * 5_000, value
        row["factor"] = (1.0, 0.5 if bucket else 0.0)
    return rows


@given(some_rows())
def test_order_is_of_time_and_repeats_give_way_to_the_largest(rows: PointRows) -> None:
    expected: dict[tuple[int, int, int, int], float] = {}
    for row in rows:
        key = (int(row["time_ms"]), int(row["point"]), int(row["bin"]), int(row["identity"]))
        expected[key] = max(expected.get(key, 0.0), float(row["value"]))
    ordered = in_time_order(rows)
    keys = zip(*(ordered[name].tolist() for name in ("time_ms", "point", "bin", "identity")), strict=True)
    assert list(zip(keys, ordered["value"].tolist(), strict=True)) == sorted(expected.items())


@given(some_rows(), st.integers(1, 4))
def test_each_point_goes_to_its_destination_with_its_name(rows: PointRows, destination_count: int) -> None:
    table = PointTable("r", np.array([5, 6], np.uint64), [b"five", b"six"], rows)
    destination = (table.hashes % np.uint64(destination_count)).astype(np.int64)
    pieces = points_by_destination(table, destination, destination_count)
    assert sum(len(piece) for piece in pieces if piece is not None) == len(rows)
    for number, piece in enumerate(pieces):
        mine = rows[destination[rows["series"]] == number]
        assert (piece is None) == (len(mine) == 0)
        if piece is not None:
            assert (
                piece.rows[["point", "time_ms", "value"]].tolist()
                == mine[["point", "time_ms", "value"]].tolist()
            )
            names = [table.names[series] for series in mine["series"]]
            assert [piece.names[series] for series in piece.rows["series"]] == names


@given(some_rows(), st.data())
def test_contributions_equal_a_naive_loop(rows: PointRows, data: st.DataObject) -> None:
    increase = np.array(data.draw(st.lists(st.floats(0, 1e6), min_size=len(rows), max_size=len(rows))))
    counts, keys, weights = contributions(rows, increase, (Count("n"), Sum("s", "v")))
    expected_keys, expected_weights = [], []
    for row, one, found in zip(rows, increase.tolist(), counts.tolist(), strict=True):
        assert found == [round(one), round(one * float(row["factor"][1]) * MICRO)]
        if row["bin"] and round(one):
            expected_keys.append(int(row["series"]) * BIN_COUNT + int(row["bin"]) - 1)
            expected_weights.append(round(one))
    assert (keys.tolist(), weights.tolist()) == (expected_keys, expected_weights)


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_stored_point_that_two_tables_share_is_taken_as_one(cut: int) -> None:
    """Chunks of a block are cut by size, wherever a histogram lies."""
    rows = np.zeros(12, dtype=point_type(1))
    rows["identity"] = np.tile(np.arange(1, 7), 2)
    rows["point"], rows["time_ms"] = 99, np.repeat([1_000, 12_000], 6)
    rows["bin"], rows["value"] = rows["identity"], rows["identity"] * np.repeat([1, 3], 6)
    whole, restarted = OpenPoints(1), OpenPoints(1)
    assert whole.add(rows) == [0, 1]
    stored, first = whole.close(0)
    assert first.tolist() == [0.0] * 6
    restarted.load(np.concatenate([stored[cut:], stored[:cut]]))
    restarted.add(rows[6:])
    _, expected = whole.close(1)
    assert expected.tolist() == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    assert restarted.close(1)[1].tolist() == expected.tolist()
