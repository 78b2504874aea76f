"""`RollupWindow` against naive sums: windows, totals, sketches, slices, periods, with restarts anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detectors.slo.slo import Slo
from models.calendar.period import CalendarPeriod
from streams.events.batch import Layout
from streams.judge.judged_source import JudgedSource
from streams.partials.distinct import estimates_of, registers_of, value_hashes
from streams.partials.frame import Frame
from streams.partials.payload import Payload
from streams.partials.series import encode_labels, series_hash
from streams.partials.sketch import bins_of
from streams.partials.table import Table
from streams.plan.plan import BUCKET_MS, SourcePlan
from streams.plan.rollup import Count, Rollup, Sum
from streams.window.blocks import decode_blocks, encode_block
from streams.window.rings import window_start
from streams.window.rollup_window import RollupWindow
from streams.window.sketches import merged_sketch
from streams.window.slices import judge_slices
from tests.unit.streams.partials.payloads import ragged

HOUR, DAY = 360, 8640
MEASURES = (Count("good"), Sum("total", "x"))


Rows = dict[str, list[int]]
Values = dict[str, list[float]]


def table_of(
    rollup: Rollup, bucket: int, rows: dict[str, list[int]], values: dict[str, list[float]]
) -> Table:
    """Rows of one bucket, with sketches and registers made of `values`."""
    names = [encode_labels([key] if rollup.by else []) for key in rows]
    bins = {
        key: Counter(bins_of(np.sort(values.get(key, []))).tolist()) if rollup.sketch is not None else {}
        for key in rows
    }
    registers = {}
    for key in rows:
        register, rank = registers_of(value_hashes([repr(v) for v in values.get(key, [])]))
        best = {r: int(rank[register == r].max()) for r in sorted(set(register.tolist()))}
        registers[key] = best if rollup.distinct else {}
    return Table(
        rollup=rollup.name,
        hashes=np.array([series_hash(rollup.name, name) for name in names], dtype=np.uint64),
        names=names,
        series=np.arange(len(rows)),
        bucket=np.full(len(rows), bucket),
        payload=Payload(
            counts=np.array(list(rows.values()), dtype=np.int64).reshape(len(rows), len(rollup.measures)),
            bins=ragged([bins[key] for key in rows], np.int64),
            registers=ragged([registers[key] for key in rows], np.uint8),
        ),
    )


class Run:
    """A source window of one rollup whose blocks are kept, so that it can be restarted at any step."""

    def __init__(self, rollup: Rollup, slo: Slo | None = None) -> None:
        self.plan = SourcePlan("s", "s", "json", Layout({}), (rollup,), lateness_ms=0)
        self.rollup, self.slos = rollup, [slo] if slo else []
        self.stored: dict[bytes, bytes] = {}
        self.offset = 0
        self.source = JudgedSource(self.plan, self.slos, 1, {})

    @property
    def window(self) -> RollupWindow:
        return self.source.rollups[self.rollup.name]

    def step(self, bucket: int, rows: Rows, values: Values) -> None:
        """Report, seal and store a bucket."""
        tables = [table_of(self.rollup, bucket, rows, values)] if rows else []
        self.offset += 1
        self.source.accept(Frame("s", 0, self.offset, bucket + 1, bucket, tables=tables), self.offset)
        for sealed in self.source.seal(bucket + 1):
            for block in sealed.blocks:
                self.stored.update(encode_block(block))
        self.source.confirm(bucket + 1)

    def restart(self) -> None:
        self.source = JudgedSource(self.plan, self.slos, 1, {})
        self.source.load(decode_blocks(self.stored.values()))

    def totals(self) -> dict[tuple[str, ...], list[int]]:
        return dict(zip(self.window.table.labels, self.window.live_totals().tolist(), strict=True))


def by_label(window: RollupWindow, array: np.ndarray) -> dict[tuple[str, ...], list]:
    """Values of an array [S, …] by label, series without any left out."""
    return {
        labels: row.tolist()
        for labels, row in zip(window.table.labels, np.asarray(array), strict=True)
        if np.any(np.nan_to_num(row))
    }


steps = st.lists(
    st.tuples(
        st.one_of(st.just(1), st.integers(1, 40), st.integers(1, 2 * HOUR), st.integers(1, 12 * DAY)),
        st.dictionaries(
            st.sampled_from("abc"),
            st.tuples(st.integers(0, 9), st.integers(-(2**34), 2**34)).map(list),
            max_size=3,
        ),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize(
    "windows_ms", [(300_000,), (300_000, 3_600_000), (300_000, 6 * 3_600_000), (3_600_000, 7 * 86_400_000)]
)
@settings(max_examples=25)
@given(steps=steps)
def test_windows_and_totals_equal_naive_sums_through_any_restarts(windows_ms, steps):
    run = Run(Rollup("r", "s", ("k",), measures=MEASURES, kind="slo", windows_ms=windows_ms))
    bucket, truth = 5_000_000, []
    for gap, rows, restart in steps:
        bucket += gap
        truth += [(bucket, key, counts) for key, counts in rows.items()]
        run.step(bucket, rows, {})
        if restart:
            run.restart()
        end = bucket + 1
        assert_totals(run, truth)
        live = run.window.live_sums(end)
        for index, window in enumerate(windows_ms):
            found = by_label(run.window, live[index])
            inside = [row for row in truth if row[0] >= window_start(window, end)]
            assert found == summed(inside)


def summed(rows: list[tuple[int, str, list[int]]]) -> dict[tuple[str, ...], list[int]]:
    result: dict[tuple[str, ...], np.ndarray] = {}
    for _, key, counts in rows:
        result[(key,)] = result.get((key,), np.zeros(len(counts), dtype=np.int64)) + counts
    return {key: row.tolist() for key, row in result.items() if row.any()}


def assert_totals(run: Run, truth: list[tuple[int, str, list[int]]]) -> None:
    assert {key: row for key, row in run.totals().items() if any(row)} == summed(truth)


def test_totals_of_series_that_are_long_silent_survive_a_restart():
    run = Run(Rollup("r", "s", ("k",), measures=MEASURES, kind="slo"))
    run.step(7, {"once": [3, 5]}, {})
    for bucket in range(8, 2 * HOUR + 50):
        run.step(bucket, {"often": [1, 0]}, {})
    run.restart()
    assert run.totals()["once",] == [3, 5]
    for bucket in range(2 * HOUR + 50, 5 * HOUR):
        run.step(bucket, {"often": [1, 0]}, {})
    run.restart()
    assert run.totals() == {("once",): [3, 5], ("often",): [5 * HOUR - 8, 0]}


def test_series_that_were_silent_for_a_quarter_are_forgotten_by_a_restart():
    run = Run(Rollup("r", "s", ("k",), measures=MEASURES, kind="slo"))
    run.step(0, {"once": [3, 5]}, {})
    for bucket in (1, 60 * DAY, 120 * DAY, 121 * DAY):
        run.step(bucket, {"often": [1, 0]}, {})
    run.restart()
    assert run.totals() == {("often",): [4, 0]}


def test_stored_totals_grow_with_series_and_not_with_time():
    run = Run(Rollup("r", "s", ("k",), measures=MEASURES, kind="slo"))
    for bucket in range(0, 9 * HOUR, 40):
        run.step(bucket, {"a": [1, 1], "b": [2, 2]}, {})
    totals = [key for key in run.stored if key.startswith(b"s/3/")]
    assert len(totals) == 2


def naive_distinct(values: list[float]) -> float:
    """The estimate from the registers of all values at once; how good it is, test_distinct.py tells."""
    registers: dict[int, int] = {}
    for register, rank in zip(*registers_of(value_hashes([repr(value) for value in values])), strict=True):
        registers[int(register)] = max(registers.get(int(register), 0), int(rank))
    keys = np.array(sorted(registers), dtype=np.int64)
    ranks = np.array([registers[key] for key in keys.tolist()], dtype=np.uint8)
    return float(estimates_of(keys, ranks, 1)[0])


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 60),
            st.dictionaries(
                st.sampled_from("ab"),
                st.lists(st.floats(-5, 5, allow_subnormal=False), min_size=1, max_size=4),
                min_size=1,
            ),
            st.booleans(),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_sketches_and_distinct_counts_equal_an_uninterrupted_run(steps):
    rollup = Rollup(
        "r",
        "s",
        ("k",),
        kind="logs",
        measures=(Count("lines"),),
        sketch="x",
        distinct=("x",),
        windows_ms=(300_000, 3_600_000),
    )
    straight, restarted = Run(rollup), Run(rollup)
    bucket, truth = 1_000, []
    for gap, values, restart in steps:
        bucket += gap
        rows = {key: [len(some)] for key, some in values.items()}
        for run in (straight, restarted):
            run.step(bucket, rows, values)
        truth += [(bucket, key, value) for key, some in values.items() for value in some]
        if restart:
            restarted.restart()
        for window in rollup.windows_ms:
            start = window_start(window, bucket + 1)
            inside = [(key, value) for at, key, value in truth if at >= start]
            for run in (straight, restarted):
                assert sketch_of(run, window, bucket + 1) == naive_sketch(inside)
            ours = by_label(restarted.window, restarted.window.distinct_counts(0, window, bucket + 1))
            assert ours == by_label(straight.window, straight.window.distinct_counts(0, window, bucket + 1))
            for key in "ab":
                assert ours.get((key,), 0) == naive_distinct([value for k, value in inside if k == key])


def sketch_of(run: Run, window_ms: int, end: int) -> dict[tuple[str, int], int]:
    keys, counts = merged_sketch(run.window.sketch_parts(window_ms, end))
    return {
        (run.window.table.labels[key >> 13][0], key & 8191): count
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True)
    }


def test_a_restart_with_room_for_fewer_series_keeps_the_distributions_of_those_it_has():
    rollup = Rollup("r", "s", ("k",), measures=(Count("lines"),), kind="logs", sketch="x", distinct=("x",))
    values = {"a": [1.0, 2.0], "b": [3.0]}
    before, after = RollupWindow(rollup, None, 2), RollupWindow(rollup, None, 1)
    before.accept(0, 1, table_of(rollup, 7, {"a": [2], "b": [1]}, values), 0)
    stored, _ = before.seal(7)
    assert stored is not None
    after.load(0, 7, stored, 7)
    after.finish_load(7)
    (kept,) = after.table.labels
    (keys, counts), bins = (
        merged_sketch(after.sealed_sketch(0)),
        Counter(bins_of(np.array(values[kept[0]])).tolist()),
    )
    assert dict(zip(keys.tolist(), counts.tolist(), strict=True)) == bins
    assert after.sealed_distinct(0, 0).tolist() == [naive_distinct(values[kept[0]])]


def naive_sketch(values: Sequence[tuple[str, float]]) -> dict[tuple[str, int], int]:
    result: dict[tuple[str, int], int] = {}
    for key, value in values:
        place = (key, int(bins_of(np.array([value]))[0]))
        result[place] = result.get(place, 0) + 1
    return result


@pytest.mark.parametrize("budgeting", ["Timeslices", "RatioTimeslices"])
@settings(max_examples=40)
@given(
    slice_buckets=st.sampled_from([1, 6, 42, 360]),
    steps=st.lists(
        st.tuples(
            st.integers(1, 50), st.dictionaries(st.sampled_from("ab"), st.integers(0, 4)), st.booleans()
        ),
        min_size=1,
        max_size=20,
    ),
)
@example(
    slice_buckets=42,
    steps=[(67, {"a": 0}, False), (4, {"a": 3}, True), (28, {}, False)],
)
def test_slices_are_judged_alike_through_any_restarts(budgeting, slice_buckets, steps):
    slo = Slo(
        "o", "x", 0.9, "s", "r", 30 * DAY * BUCKET_MS, budgeting=budgeting,
        slice_ms=slice_buckets * BUCKET_MS, slice_target=0.5,
    )  # fmt: skip
    rollup = Rollup(
        "r", "s", ("k",), measures=(Count("good"), Count("total")), kind="slo",
        windows_ms=(300_000, 30 * DAY * BUCKET_MS), slice_ms=slo.slice_ms,
    )  # fmt: skip
    run, bucket, truth = Run(rollup, slo), 2_000, {}
    for gap, bad, restart in steps:
        bucket += gap
        rows = {key: [4 - count, 4] for key, count in bad.items()}
        for key, (good, total) in rows.items():
            place = truth.setdefault((key, bucket // slice_buckets), [0, 0])
            place[0] += good
            place[1] += total
        run.step(bucket, rows, {})
        if restart:
            run.restart()
        expected: dict[tuple[str, ...], list[int]] = {}
        for (key, number), (good, total) in truth.items():
            judged = expected.setdefault((key,), [0, 0])
            if (number + 1) * slice_buckets <= bucket + 1:
                share = good / total
                judged[0] += int(share >= 0.5) if budgeting == "Timeslices" else round(share * 1_000_000)
                judged[1] += 1 if budgeting == "Timeslices" else 1_000_000
        found = {key: row[2:] for key, row in run.totals().items()}
        assert {k: v for k, v in found.items() if any(v)} == {k: v for k, v in expected.items() if any(v)}


def test_a_slice_without_events_counts_for_nothing_and_a_target_is_met_exactly():
    slo = Slo("o", "x", 0.9, "s", "r", DAY, budgeting="Timeslices", slice_target=0.5)
    counts = np.array([[0, 0], [1, 2], [0, 3], [3, 3]])
    assert [part.tolist() for part in judge_slices(counts, slo)] == [[0, 1, 0, 1], [0, 1, 1, 1]]


@pytest.mark.parametrize(
    "calendar",
    [
        CalendarPeriod("day", "Europe/Berlin"),
        CalendarPeriod("day", "America/Sao_Paulo"),
        CalendarPeriod("week", "Asia/Kolkata"),
        CalendarPeriod("month", "Australia/Lord_Howe"),
        CalendarPeriod("day", "Asia/Kathmandu", 3),
    ],
)
@settings(max_examples=15)
@given(
    steps=steps, start=st.sampled_from([datetime(2024, 3, 29), datetime(2024, 10, 25), datetime(2018, 11, 2)])
)
def test_a_calendar_period_starts_anew_in_its_time_zone_through_any_restarts(calendar, steps, start):
    windows_ms = (300_000, 31 * DAY * BUCKET_MS)
    slo = Slo("o", "x", 0.9, "s", "r", windows_ms[1], calendar=calendar)
    run = Run(
        Rollup("r", "s", ("k",), measures=MEASURES, kind="slo", windows_ms=windows_ms, calendar=calendar), slo
    )
    bucket = int(start.replace(tzinfo=ZoneInfo(calendar.time_zone)).timestamp() * 1000) // BUCKET_MS
    truth = []
    for gap, rows, restart in steps:
        bucket += gap
        truth += [(bucket, key, counts) for key, counts in rows.items()]
        run.step(bucket, rows, {})
        if restart:
            run.restart()
        begin = calendar.bounds(bucket * BUCKET_MS)[0] // BUCKET_MS
        period = run.window.totals.period_at(bucket)
        found = by_label(run.window, np.pad(period, ((0, run.window.series_count - len(period)), (0, 0))))
        assert found == summed([row for row in truth if row[0] >= begin])


def test_a_period_that_begins_within_a_stored_hour_keeps_what_the_hour_had_of_it():
    calendar = CalendarPeriod("week", "Asia/Kolkata")  # midnight there is half past an hour
    windows_ms = (300_000, 7 * DAY * BUCKET_MS)
    slo = Slo("o", "x", 0.9, "s", "r", windows_ms[1], calendar=calendar)
    run = Run(
        Rollup("r", "s", ("k",), measures=MEASURES, kind="slo", windows_ms=windows_ms, calendar=calendar), slo
    )
    monday = int(datetime(2024, 6, 3, tzinfo=ZoneInfo("Asia/Kolkata")).timestamp() * 1000) // BUCKET_MS
    run.step(monday - 5, {"early": [1, 1], "both": [1, 1]}, {})
    run.step(monday + 5, {"late": [2, 2], "both": [2, 2]}, {})
    for day in range(1, 6):
        run.step(monday + day * DAY, {"other": [1, 0]}, {})
    run.restart()
    found = by_label(run.window, run.window.totals.period_at(monday + 5 * DAY))
    assert found == {("late",): [2, 2], ("both",): [2, 2], ("other",): [5, 0]}


def test_open_buckets_count_only_in_windows_that_reach_them():
    run = Run(Rollup("r", "s", ("k",), measures=MEASURES, kind="slo", windows_ms=(300_000, 3_600_000)))
    for bucket in (1_000, 1_100):  # of a partition that lags twenty minutes behind another
        run.offset += 1
        table = table_of(run.rollup, bucket, {"a": [1, 1]}, {})
        run.source.accept(Frame("s", 0, run.offset, None, bucket, tables=[table]), run.offset)
    assert run.window.live_sums(1_101)[:, 0, 0].tolist() == [1, 2]
    assert run.totals() == {("a",): [2, 2]}
