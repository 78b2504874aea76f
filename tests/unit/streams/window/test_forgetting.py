"""Rollups that forget: what is let go of must never show, whenever it happens and through any restarts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.partials.frame import ExemplarRow, Frame
from streams.partials.payload import Payload
from streams.partials.points import PointTable, point_type
from streams.partials.series import encode_labels
from streams.partials.table import Table
from streams.plan.plan import BUCKET_MS
from streams.plan.rollup import Count, Rollup
from streams.window import rollup_window
from streams.window.blocks import encode_block
from streams.window.rollup_window import RollupWindow
from streams.window.sketches import merged_sketch
from streams.window.source_window import PIN_BUCKETS
from tests.unit.streams.partials.payloads import rows_of
from tests.unit.streams.window.test_rollup_window import HOUR, MEASURES, Run, by_label, table_of

ROLLUP = Rollup(
    "r", "s", ("k",), measures=MEASURES, sketch="x", distinct=("x",), windows_ms=(60_000, 3_600_000),
    forget_ms=3_600_000, kind="slo",
)  # fmt: skip

Rows = dict[str, list[int]]
Content = dict[tuple[int, int], Any]

rows = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.tuples(st.integers(0, 9), st.integers(-(2**34), 2**34)).map(list),
    max_size=4,
)
steps = st.lists(
    st.tuples(
        st.one_of(st.just(1), st.integers(1, 40), st.integers(1, HOUR), st.integers(HOUR, 3 * HOUR)),
        rows,
        st.tuples(st.integers(1, 20), rows),
        st.booleans(),
    ),
    min_size=1,
    max_size=15,
)


class Log(Run):
    """A run whose frames are kept, since a restart reads the rows of open buckets again."""

    def __init__(self, rollup: Rollup) -> None:
        super().__init__(rollup)
        self.frames: list[Frame] = []
        self.blocks: Content = {}

    def report(self, watermark: int, reported: dict[int, Rows]) -> None:
        """Report rows of some buckets, then seal those below the watermark."""
        tables = [
            table_of(self.rollup, bucket, rows, {key: [float(row[0])] for key, row in rows.items()})
            for bucket, rows in sorted(reported.items())
            if rows
        ]
        self.offset += 1
        self.frames.append(Frame("s", 0, self.offset, watermark, max(reported), tables=tables))
        self.source.accept(self.frames[-1], self.offset)
        for sealed in self.source.seal(watermark):
            for block in sealed.blocks:
                self.stored.update(encode_block(block))
                self.blocks[block.level, block.slot] = sorted(
                    row for table in block.tables for row in content(table)
                )
        self.source.confirm(watermark)

    def restart(self) -> None:
        super().restart()
        for offset, frame in enumerate(self.frames, 1):
            self.source.accept(frame, offset)


def content(table: Table) -> Iterator[tuple[Any, ...]]:
    """What a table says, whatever the order of its series."""
    for row in range(len(table)):
        one = table.select(np.array([row]))
        yield (one.names[0], one.bucket.tolist(), *rows_of(one.payload))


def in_window(window: RollupWindow, window_ms: int, end: int) -> Any:
    """All that the windows tell, by label."""
    keys, counts = merged_sketch(window.sketch_parts(window_ms, end))
    labels = window.table.labels
    sketch = {
        (labels[key >> 13], key & 8191): n for key, n in zip(keys.tolist(), counts.tolist(), strict=True)
    }
    sums = window.live_sums(end)[window.rollup.windows_ms.index(window_ms)]
    return by_label(window, sums), sketch, by_label(window, window.distinct_counts(0, window_ms, end))


@settings(max_examples=15)
@given(steps=steps)
def test_forgetting_shows_nowhere_whenever_it_happens_and_through_any_restarts(steps):
    with pytest.MonkeyPatch.context() as patch:
        lazy, eager = Log(ROLLUP), Log(ROLLUP)
        bucket = 5_000_000
        for gap, now, (ahead, later), restart in steps:
            bucket += gap
            for run, least in ((lazy, 1 << 40), (eager, 1)):
                patch.setattr(rollup_window, "SILENT_MIN", least)
                run.report(bucket + 1, {bucket: now, bucket + ahead: later})
            if restart:
                eager.restart()
            for window_ms in ROLLUP.windows_ms:
                assert in_window(eager.window, window_ms, bucket + 1) == in_window(
                    lazy.window, window_ms, bucket + 1
                )
        assert eager.blocks == lazy.blocks


@settings(max_examples=25)
@given(
    steps=st.lists(
        st.tuples(st.one_of(st.just(1), st.integers(1, 2 * HOUR)), rows, st.booleans()),
        min_size=1,
        max_size=15,
    )
)
def test_totals_are_those_since_a_series_was_last_silent_for_too_long(steps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollup_window, "SILENT_MIN", 1)
        run = Log(ROLLUP)
        assert run.window.silence == HOUR + 1, "windows of an hour hold counts for as long"
        bucket, truth, last = 5_000_000, {}, {}
        for gap, now, restart in steps:
            bucket += gap
            run.report(bucket + 1, {bucket: now})
            for key, counts in now.items():
                if bucket - last.get(key, bucket) > HOUR + 1:
                    truth.pop(key)
                last[key] = bucket
                truth[key] = [a + b for a, b in zip(truth.get(key, [0, 0]), counts, strict=True)]
            if restart:
                run.restart()
            known = {key for key, at in last.items() if bucket - at <= HOUR + 1}
            found = {labels[0]: counts for labels, counts in run.totals().items()}
            assert {key: found[key] for key in known} == {key: truth[key] for key in known}
            if restart:
                reread = {key for key, counts in found.items() if not any(counts)}
                # a restart goes by the last bucket that was stored, which in a silence lies back a little
                recent = {key for key, at in last.items() if bucket - at <= HOUR + 1 + PIN_BUCKETS}
                assert found.keys() - reread <= recent


def many(first: int, count: int, bucket: int, rollup: Rollup = ROLLUP) -> Table:
    """One event each of entities of which nobody has heard before."""
    return Table(
        rollup=rollup.name,
        hashes=np.arange(first + 1, first + count + 1, dtype=np.uint64) << np.uint64(20),
        names=[encode_labels([str(number)]) for number in range(first, first + count)],
        series=np.arange(count),
        bucket=np.full(count, bucket),
        payload=Payload.of_counts(np.ones((count, len(rollup.measures)), dtype=np.int64)),
    )


def test_a_million_passing_entities_leave_no_more_than_two_silences_full():
    rollup = replace(ROLLUP, sketch=None, distinct=(), windows_ms=(60_000,))
    window = RollupWindow(rollup, None, 400_000)
    assert window.silence == HOUR
    most = 0
    for number in range(100):
        bucket = 1_000 + 60 * number
        window.accept(0, number, many(10_000 * number, 10_000, bucket, rollup), 0)
        window.seal(bucket)
        window.drop_sealed(bucket + 1)
        most = max(most, window.series_count, window.rings.series_count, len(window.totals.ever))
    assert 70_000 <= most <= 150_000
    assert window.table.refused == 0
    assert window.rings.sums()[0].sum() == 2 * 10_000


def test_the_silent_make_room_before_anybody_is_refused():
    rollup = replace(ROLLUP, sketch=None, distinct=())
    window = RollupWindow(rollup, None, 100)
    for bucket, first in ((0, 0), (5, 60), (HOUR + 3, 90)):
        window.accept(0, bucket, many(first, 30, bucket, rollup), 0)
        window.seal(bucket)
        window.drop_sealed(bucket + 1)
    assert window.table.refused == 0
    assert window.series_count == 90
    window.accept(0, 9, many(120, 30, HOUR + 4, rollup), 0)
    assert (window.series_count, window.table.refused) == (90, 0)
    window.accept(0, 10, many(150, 30, HOUR + 4, rollup), 0)
    assert (window.series_count, window.table.refused) == (100, 20)


def test_open_points_of_a_series_hold_it(monkeypatch):
    monkeypatch.setattr(rollup_window, "SILENT_MIN", 1)
    rollup = Rollup("r", "s", ("k",), measures=(Count("lines"),), forget_ms=3_600_000, kind="logs")
    window = RollupWindow(rollup, None, 100)
    window.accept(0, 0, many(0, 4, 0, rollup), 0)
    window.seal(0)
    window.drop_sealed(1)
    points = np.zeros(2, dtype=point_type(1))
    points["identity"] = points["point"] = 7
    points["time_ms"] = [2 * HOUR * BUCKET_MS + 1, 2 * HOUR * BUCKET_MS + 2]
    points["value"], points["factor"] = [5.0, 8.0], 1.0
    one = many(2, 1, 0, rollup)
    window.accept_points(PointTable("r", one.hashes, one.names, points), 0)
    window.accept(0, 1, many(9, 1, 2 * HOUR - 1, rollup), 0)
    window.seal(2 * HOUR - 1)
    assert window.table.labels == [("2",), ("9",)]
    table, stored = window.seal(2 * HOUR)
    assert stored is not None
    assert stored.names == [encode_labels(["2"])]
    assert table is not None
    assert table.payload.counts.tolist() == [[3, 3, 0]]


def test_exemplars_stay_with_their_series(monkeypatch):
    monkeypatch.setattr(rollup_window, "SILENT_MIN", 1)
    rollup = replace(ROLLUP, sketch=None, distinct=())
    window = RollupWindow(rollup, None, 100)
    for bucket, first, count in ((0, 0, 3), (2 * HOUR, 3, 1)):
        window.accept(0, bucket, many(first, count, bucket, rollup), 0)
        for key in window.table.hashes.tolist():
            window.note_exemplar(ExemplarRow("r", key, str(key), 1.0, 0, False))
        window.seal(bucket)
        window.drop_sealed(bucket + 1)
    assert {number: row.key for number, row in window.exemplars.items()} == {0: int(window.table.hashes[0])}
    assert window.table.labels == [("3",)]
