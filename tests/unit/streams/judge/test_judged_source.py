"""`JudgedSource`: which buckets are final, what a restart needs, alerts through silences and maintenance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.slo.slo import Maintenance, Slo, Tier
from models.calendar.period import CalendarPeriod
from streams.aggregate.partition import PartitionAggregate
from streams.decode.registry import make_decoder
from streams.events.batch import Layout, Records
from streams.judge.judged_source import JudgedSource
from streams.judge.maintenance import period_counts
from streams.judge.slo_judge import QUIET_BUCKETS
from streams.partials.frame import Frame, decode_frame
from streams.partials.payload import Payload
from streams.partials.series import encode_labels, series_hash
from streams.partials.table import Table
from streams.plan.outcomes import OUTCOMES
from streams.plan.plan import BUCKET_MS, NEVER, SourcePlan
from streams.plan.rollup import Count, Rollup
from streams.window.blocks import decode_blocks, encode_block
from streams.window.source_window import PIN_BUCKETS

HOUR, DAY = 360, 8_640
DAY_MS = 86_400_000
SLO = Slo(
    "good", "shop", 0.9, "s", "slo:good", 30 * DAY_MS,
    tiers=(Tier("page", 3_600_000, 300_000, 2.0), Tier("ticket", 3 * DAY_MS, 6 * 3_600_000, 1.0)),
)  # fmt: skip
ROLLUP = Rollup(
    "slo:good", "s", (), None, (Count("good"), Count("total")),
    windows_ms=(300_000, 3_600_000, 6 * 3_600_000, 3 * DAY_MS, 30 * DAY_MS), kind="slo",
)  # fmt: skip
PLAN = SourcePlan("s", "s", "json", Layout({}), (ROLLUP,), lateness_ms=20_000)


def rows(bucket: int, good: int, total: int) -> Table:
    name = encode_labels(())
    return Table(
        ROLLUP.name,
        np.array([series_hash(ROLLUP.name, name)], dtype=np.uint64),
        [name],
        np.zeros(1, dtype=np.int64),
        np.array([bucket]),
        Payload.of_counts(np.array([[good, total]])),
    )


def frame(
    partition: int, offset: int, watermark: int | None, tables: Sequence[Table] = (), **more: Any
) -> Frame:
    return Frame("s", partition, offset, watermark, more.pop("newest", watermark or 0), tables=tables, **more)


class Reader:
    """A source window with all that outlives it; `feed` reports a bucket of the one source partition."""

    def __init__(self, slo: Slo = SLO) -> None:
        self.slo = slo
        self.stored: dict[bytes, bytes] = {}
        self.announced: list[tuple[Any, ...]] = []
        self.offset = 0
        self.window = JudgedSource(PLAN, [slo], 1, {})

    def feed(self, bucket: int, good: int, total: int) -> None:
        self.offset += 1
        self.window.accept(frame(0, self.offset, None, [rows(bucket, good, total)]), self.offset)

    def seal(self, below: int) -> None:
        self.offset += 1
        self.window.accept(frame(0, self.offset, below), self.offset)
        for sealed in self.window.seal(below):
            self.announced += [(*moved.key, moved.at_ms) for moved in sealed.transitions]
            for block in sealed.blocks:
                self.stored.update(encode_block(block))
        self.window.confirm(below)

    def live(self) -> list[tuple[Any, ...]]:
        """The live alerts and their clocks, without what was measured and read when they changed."""
        names = ("severity", "group", "true_ms", "clear_ms", "lost_ms")
        return sorted(tuple(map(str, map(row.get, names))) for row in self.window.slo_judge.book.state())

    def restart(self) -> None:
        self.window = JudgedSource(PLAN, [self.slo], 1, {})
        self.window.load(decode_blocks(self.stored.values()))


watermarks = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 50), st.sampled_from(["", "idle", "seal"])), max_size=30
)


@settings(max_examples=150)
@given(watermarks)
def test_buckets_are_final_below_the_smallest_watermark_of_partitions_that_are_not_idle(steps):
    window, highest, idle, sealed = JudgedSource(PLAN, [], 3, {}), {}, set(), NEVER
    for offset, (partition, watermark, what) in enumerate(steps):
        window.accept(frame(partition, offset, watermark, idle=what == "idle"), offset)
        highest[partition] = max(watermark, highest.get(partition, NEVER))
        idle = idle | {partition} if what == "idle" else idle - {partition}
        awake = [highest.get(p, NEVER) for p in range(3) if p not in idle]
        expected = max(sealed, min(awake)) if awake else sealed
        assert window.final_below() == expected
        if what == "seal":
            sealed = expected
            list(window.seal(sealed))
            window.confirm(sealed)
            assert window.sealed == sealed


def test_rows_of_final_buckets_and_below_their_own_watermark_are_ignored():
    window = JudgedSource(PLAN, [], 2, {})
    window.accept(frame(0, 5, 12, [rows(10, 1, 1), rows(11, 1, 1)]), 0)
    window.accept(frame(0, 9, 12, [rows(10, 7, 7), rows(12, 1, 1)]), 1)  # bucket 10 is behind its watermark
    assert window.rollups[ROLLUP.name].live_totals().tolist() == [[3, 3]]
    window.accept(frame(1, 5, 11, [rows(10, 1, 1), rows(11, 1, 1)]), 2)
    list(window.seal(11))
    window.confirm(11)
    window.accept(frame(1, 9, None, [rows(10, 9, 9)]), 3)
    assert window.rollups[ROLLUP.name].live_totals().tolist() == [[5, 5]]


def test_rows_of_a_partition_that_slept_are_told_if_they_come_too_late():
    window = JudgedSource(PLAN, [], 2, {})
    window.accept(frame(1, 1, 3, idle=True), 0)
    window.accept(frame(0, 1, 20, [rows(15, 1, 1)]), 1)
    assert window.final_below() == 20
    list(window.seal(20))
    window.confirm(20)
    window.accept(frame(1, 2, 4, [rows(10, 1, 1), rows(25, 1, 1)]), 2)
    assert window.late_after_idle == 1
    assert window.rollups[ROLLUP.name].live_totals().tolist() == [[2, 2]]


def test_a_restart_needs_the_first_row_of_an_open_bucket():
    window = JudgedSource(PLAN, [], 1, {})
    for offset, bucket in enumerate([10, 12, 11, 12, 14]):
        window.accept(frame(0, offset, None, [rows(bucket, 1, 1)]), offset)
    assert [window.needed_from(below, 99) for below in (10, 11, 12, 13, 15)] == [0, 1, 1, 4, 99]


SPARSE = replace(
    PLAN,
    layout=Layout({"k": "string"}, time_field="t", time_format="epoch_ms"),
    rollups=(Rollup("s", "s", ("k",), None, (Count("lines"),), kind="logs"),),
)


def record(*events: tuple[int, str]) -> bytes:
    return json.dumps([{"t": bucket * BUCKET_MS, "k": key} for bucket, key in events]).encode()


def test_a_reader_that_starts_afresh_knows_the_watermarks_that_were_announced():
    """A late event that is the first of a record an aggregate restarts from does not count after all."""
    destinations = 5

    def home_of(rollup: str, *labels: str) -> int:
        return series_hash(rollup, encode_labels(labels)) % destinations

    others = {home_of("s", "often"), *(home_of(f"{OUTCOMES}:s", outcome, "") for outcome in ("in", "late"))}
    destination = min(set(range(destinations)) - others)
    rare = next(key for key in map(str, range(99)) if home_of("s", key) == destination)
    logs = {
        0: [record((100, "often")), record((90, rare), (103, "often"))],
        1: [record((50, "often")), record((60, "often"))],
    }

    def aggregate(partition: int, start: int) -> PartitionAggregate:
        return PartitionAggregate(SPARSE, partition, start, partial(make_decoder, "json", SPARSE.layout))

    partials: list[bytes] = []
    commits = {0: 0, 1: 0}

    def work(one: PartitionAggregate, upto: int) -> None:
        for at in range(one.at, upto):
            one.read(Records([logs[one.partition][at]], np.array([at]), np.array([-1])), at + 1)
            flushed = one.flush(destinations)
            assert flushed is not None
            partials.extend(value for q, value in flushed.frames if q == destination)
            commits[one.partition] = one.acknowledge()

    work(aggregate(0, 0), 2)
    slow = aggregate(1, 0)
    work(slow, 1)
    reader = JudgedSource(SPARSE, [], 2, {})
    for offset, value in enumerate(partials):
        reader.accept(decode_frame(value), offset)
    below = reader.final_below()
    stored = {}
    for sealed in reader.seal(below):
        for block in sealed.blocks:
            stored.update(encode_block(block))
    reader.confirm(below)
    start = reader.needed_from(below, len(partials))

    assert commits[0] == 1
    work(aggregate(0, commits[0]), 2)  # takes the event of bucket 90 for one in time
    fresh = JudgedSource(SPARSE, [], 2, {})
    fresh.load(decode_blocks(stored.values()))
    work(slow, 2)
    for offset in range(start, len(partials)):
        fresh.accept(decode_frame(partials[offset]), offset)
    table = fresh.rollups["s"]
    assert dict(zip(table.table.labels, table.live_totals()[:, 0].tolist(), strict=True)).get((rare,), 0) == 0


def test_where_a_restart_reads_from_does_not_wait_for_partitions_that_sleep():
    reader = Reader()
    reader.window.partitions = 2
    reader.window.accept(frame(1, 1, 5, idle=True), 0)
    reader.offset = 10
    for bucket in range(5, 5 + 3 * PIN_BUCKETS):
        reader.feed(bucket, 1, 1)
        reader.seal(bucket + 1)
    assert reader.window.needed_from(reader.window.sealed, 999) > 10


incidents = st.lists(
    st.tuples(
        st.one_of(st.integers(1, 60), st.integers(1, 3 * HOUR), st.integers(1, 8 * HOUR)),
        st.sampled_from([0, 0, 1, 9, 10]),
        st.sampled_from(["", "", "restart", "seal", "seal"]),
        st.integers(1, 500),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=10)
@given(incidents)
def test_alerts_do_not_depend_on_when_buckets_are_sealed_nor_on_restarts(steps):
    eager, lazy, bucket = Reader(), Reader(), 1_000_000
    for gap, bad, what, more in steps:
        for reader in (eager, lazy):
            for number in range(bucket, bucket + 5):
                reader.feed(number, 10 - bad, 10)
        bucket += 5
        if what == "restart":
            lazy.seal(bucket)
            lazy.restart()
        elif what == "seal":
            lazy.seal(bucket + min(gap, more))
        for below in (bucket, *range(bucket + 7, bucket + gap, 97), bucket + gap):
            eager.seal(below)
        bucket += gap
    lazy.seal(bucket)
    assert set(eager.announced) == set(lazy.announced)
    assert eager.live() == lazy.live()


def test_an_alert_ends_hours_into_a_silence_however_late_its_buckets_are_sealed():
    """An error burst leaves the six hours of the ticket's short window while there is no traffic at all."""
    eager, lazy, start = Reader(), Reader(), 1_000_000
    quiet = start + 5 * HOUR
    for reader in (eager, lazy):
        for number in range(start, start + 60):
            reader.feed(number, 5, 10)
        for number in range(start + 60, quiet, 10):
            reader.feed(number, 10, 10)
    for below in range(start + 1, quiet + 8 * HOUR, 11):
        eager.seal(below)
    lazy.seal(quiet + 8 * HOUR)
    assert lazy.announced == eager.announced
    *_, (_, state, _, at_ms) = eager.announced
    assert state == "resolved"
    assert quiet + HOUR < at_ms // BUCKET_MS <= quiet + 2 * HOUR


def test_a_long_silence_is_not_gone_through_bucket_by_bucket():
    window = JudgedSource(PLAN, [SLO], 1, {})
    window.accept(frame(0, 1, None, [rows(1_000_000, 1, 1)]), 0)
    sealed = [one.bucket for one in window.seal(1_000_000 + 30 * DAY)]
    assert sealed[:3] == [1_000_000, 1_000_001, 1_000_002]
    assert len(sealed) < 6 * HOUR + 30 * DAY // PIN_BUCKETS + QUIET_BUCKETS


def test_alerts_survive_a_restart_and_those_of_slos_that_are_gone_end():
    reader = Reader()
    for number in range(1_000, 1_060):
        reader.feed(number, 0, 10)
    reader.seal(1_060)
    before = reader.window.slo_judge.book.active()
    assert {alert.state for alert in before} == {"firing"}
    reader.restart()
    assert reader.window.slo_judge.book.active() == before
    gone = JudgedSource(PLAN, [], 1, {})
    gone.load(decode_blocks(reader.stored.values()))
    gone.accept(frame(0, 99, 1_070, [rows(1_065, 1, 1)]), 99)
    ended = [moved for sealed in gone.seal(1_070) for moved in sealed.transitions]
    assert {(moved.alert.state, moved.at_ms) for moved in ended} == {("resolved", 1_060 * BUCKET_MS)}
    assert len(ended) == len(before)


intervals = st.lists(
    st.tuples(st.integers(-5, 60), st.integers(0, 40), st.sampled_from([(), ("shop",), ("other",)])),
    max_size=5,
)


@settings(max_examples=100)
@given(intervals, st.lists(st.integers(0, 5), min_size=30, max_size=60), st.booleans())
def test_maintenance_leaves_its_buckets_out_however_intervals_overlap(planned, bad, with_calendar):
    first = 2 * DAY
    slo = replace(
        SLO,
        tiers=(),
        calendar=CalendarPeriod("day") if with_calendar else None,
        maintenance=tuple(
            Maintenance((first + begin) * BUCKET_MS, (first + begin + length) * BUCKET_MS, services)
            for begin, length, services in planned
        ),
    )
    rollup = replace(ROLLUP, calendar=slo.calendar)
    window = JudgedSource(replace(PLAN, rollups=(rollup,)), [slo], 1, {})
    for number, count in enumerate(bad):
        window.accept(frame(0, number, None, [rows(first + number, 5 - count, 5)]), number)
    end = first + len(bad)
    list(window.seal(end))
    out = {
        first + begin + n
        for begin, length, services in planned
        if services != ("other",)
        for n in range(length)
    }
    counted = [(first + n, 5 - count) for n, count in enumerate(bad) if first + n not in out]
    (report,) = window.slo_judge.reports(end * BUCKET_MS)
    for row, window_ms in enumerate(ROLLUP.windows_ms):
        inside = [good for bucket, good in counted if bucket >= end - window_ms // BUCKET_MS]
        assert report.good[row].tolist() == [sum(inside)]
        assert report.total[row].tolist() == [5 * len(inside)]
    assert report.budget_good.tolist() == [sum(good for _, good in counted)]
    assert report.budget_total.tolist() == [5 * len(counted)]


def test_maintenance_that_is_reported_afterwards_counts_from_then_on():
    reader = Reader()
    for number in range(1_000, 1_030):
        reader.feed(number, 0, 10)
    reader.seal(1_030)
    told = replace(SLO, maintenance=(Maintenance(1_000 * BUCKET_MS, 1_030 * BUCKET_MS),))
    after = JudgedSource(PLAN, [told], 1, {})
    after.load(decode_blocks(reader.stored.values()))
    (report,) = after.slo_judge.reports(1_030 * BUCKET_MS)
    assert report.total.tolist() == [[0]] * len(ROLLUP.windows_ms)


def test_a_calendar_budget_is_never_below_zero():
    """Maintenance in an hour that is no longer told apart, half of which lies before the period."""
    calendar = CalendarPeriod("month", "Asia/Kolkata")
    month = 1_717_180_200_000 // BUCKET_MS  # the first of June there, half past an hour in UTC
    slo = replace(
        SLO,
        tiers=(),
        calendar=calendar,
        maintenance=(Maintenance((month - HOUR) * BUCKET_MS, (month + HOUR) * BUCKET_MS),),
    )
    plan = replace(PLAN, rollups=(replace(ROLLUP, calendar=calendar),))
    window = JudgedSource(plan, [slo], 1, {})
    for number, bucket in enumerate([month - 10, month + 10, month + 5 * DAY]):
        window.accept(frame(0, number, None, [rows(bucket, 7, 10)]), number)
    end = month + 5 * DAY + 1
    list(window.seal(end))
    good, total = period_counts(window.rollups[ROLLUP.name], slo, end * BUCKET_MS)
    assert 0 <= good[0] <= total[0] <= 10


def test_what_became_of_records_is_a_rollup_of_its_own():
    assert f"{OUTCOMES}:s" in JudgedSource(PLAN, [], 1, {}).rollups


@pytest.mark.parametrize("columns", [1, 3])
def test_rows_counted_under_another_configuration_are_left_out(columns):
    window = JudgedSource(PLAN, [SLO], 1, {})
    other = replace(rows(5, 1, 1), payload=Payload.of_counts(np.ones((1, columns), dtype=np.int64)))
    window.accept(frame(0, 1, 10, [other]), 0)
    assert window.rollups[ROLLUP.name].series_count == 0
