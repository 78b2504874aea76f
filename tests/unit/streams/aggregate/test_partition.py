"""`PartitionAggregate`: its frames are a function of the log, however it is read, flushed or restarted."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.aggregate import rollup_state
from streams.aggregate.partition import PartitionAggregate, Rejected
from streams.aggregate.rollup_state import RollupState
from streams.events.batch import Column, Dead, EventBatch, Layout, Records, Strings
from streams.language.expression import compile_expression
from streams.partials.distinct import registers_of, value_hashes
from streams.partials.frame import decode_frame
from streams.partials.series import OTHER, SeriesIndex, SeriesIndexes, decode_labels, encode_labels
from streams.partials.sketch import bins_of
from streams.partials.table import split_tables
from streams.plan.outcomes import OUTCOMES
from streams.plan.plan import BUCKET_MS, NEVER, SourcePlan
from streams.plan.rollup import Count, Rollup, Sum
from tests.unit.streams.partials.payloads import rows_of

LATENESS_MS = 20_000
BASE = 100_000
"""Bucket about which the events of the tests lie."""

PLAN = SourcePlan(
    "s",
    "s",
    "test",
    Layout({}),
    (
        Rollup(
            "s",
            "s",
            ("k",),
            None,
            (Count("total"), Count("errors", compile_expression("x > 2")), Sum("sum", "x")),
            "x",
            ("u",),
            kind="requests",
        ),
        Rollup(
            "some",
            "s",
            (),
            compile_expression('k != "b"'),
            (Sum("few", "x", compile_expression("x < 3")),),
            kind="sigma",
        ),
    ),
    lateness_ms=LATENESS_MS,
    future_ms=60_000,
)


class Decoder:
    """Records are JSON lists of events; an event has a row for each of its weights, or one without."""

    lookback_ms = 0

    def decode(self, records: Records) -> EventBatch:
        rows: list[tuple[int, int, Any, int, bool]] = []
        dead = []
        for number, value in enumerate(records.values):
            for event in json.loads(value or b"[]"):
                if event == "dead":
                    dead.append(Dead(number, "bad", "not an event"))
                    continue
                for n, weight in enumerate(event["w"]):
                    rows.append((event["t"], number, event, weight, n == 0))
        codes = {"k": list("abcdefgh"), "u": list("uvwxyz")}
        columns: dict[str, Column] = {
            name: Strings(
                np.array([-1 if r[2][name] is None else values.index(r[2][name]) for r in rows], np.int32),
                values,
            )
            for name, values in codes.items()
        }
        columns["x"] = np.array([np.nan if r[2]["x"] is None else r[2]["x"] for r in rows], np.float64)
        weighted = any(r[3] != 1 or not r[4] for r in rows)
        return EventBatch(
            time_ms=np.array([r[0] for r in rows], np.int64),
            record=np.array([r[1] for r in rows], np.int64),
            columns=columns,
            weight=np.array([r[3] for r in rows], np.int64) if weighted else None,
            head=np.array([r[4] for r in rows], np.bool_) if weighted else None,
            dead=dead,
        )


event = st.fixed_dictionaries(
    {
        "t": st.one_of(st.integers(0, 60_000), st.integers(-120_000, 200_000)).map(
            lambda t: BASE * BUCKET_MS + t
        ),
        "k": st.sampled_from([*"abcdefgh", None]),
        "x": st.one_of(st.none(), st.sampled_from([0.0, 0.1, 1.25, 2.5, -7.0, 1e6, float(2**36)])),
        "u": st.one_of(st.none(), st.sampled_from("uvwxyz")),
        "w": st.one_of(st.just([1]), st.lists(st.integers(0, 5), min_size=1, max_size=3)),
    }
)
records = st.lists(st.one_of(event, event, event, st.just("dead")), max_size=3)
logs = st.lists(records, min_size=1, max_size=25)

Cells = dict[tuple[str, tuple[str, ...], int], tuple[Any, ...]]


class Partials:
    """What the readers have of one source partition: in each destination the highest offset stands."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, tuple[str, ...], int], tuple[int, tuple[Any, ...]]] = {}
        self.watermarks: dict[int, int] = {}

    def receive(self, frames: Any) -> None:
        for destination, value in frames:
            known = self.watermarks.get(destination, NEVER)
            frame = decode_frame(value)
            for table in frame.tables:
                rows = zip(table.series.tolist(), table.bucket.tolist(), rows_of(table.payload), strict=True)
                for series, bucket, content in rows:
                    key = (table.rollup, decode_labels(table.names[series]), bucket)
                    if key[2] >= known and frame.offset >= self.rows.get(key, (0, ()))[0]:
                        self.rows[key] = (frame.offset, content)
            if frame.watermark is not None:
                self.watermarks[destination] = max(known, frame.watermark)

    def cells(self, first: int = NEVER) -> Cells:
        return {key: content for key, (_, content) in self.rows.items() if key[2] >= first}


def aggregate(plan: SourcePlan = PLAN, start: int = 0) -> PartitionAggregate:
    return PartitionAggregate(plan, 0, start, Decoder)


def encoded(log: list[list[Any]]) -> list[bytes]:
    return [json.dumps(events).encode() for events in log]


STAMP = BASE * BUCKET_MS + 60_000


def read(one: PartitionAggregate, log: list[bytes], upto: int, stamp: int = STAMP) -> list[Rejected]:
    at = one.at
    offsets = np.arange(at, upto)
    return one.read(Records(log[at:upto], offsets, np.full(len(offsets), stamp)), upto)


def whole(plan: SourcePlan, log: list[bytes]) -> Partials:
    """What one flush at the end says."""
    one, partials = aggregate(plan), Partials()
    read(one, log, len(log))
    flushed = one.flush(1)
    if flushed is not None:
        partials.receive(flushed.frames)
    return partials


def naive(log: list[list[Any]], series_count_max: int = 10**9) -> Cells:
    """Cells by a loop over the events in the order of the log."""
    counts: dict[Any, list[int]] = {}
    measured: dict[Any, list[tuple[float, int]]] = {}
    users: dict[Any, set[str]] = {}
    newest, waiting = NEVER, []

    def add(key: Any, numbers: list[int]) -> None:
        counts[key] = [a + b for a, b in zip(counts.get(key, [0] * len(numbers)), numbers, strict=True)]

    def outcome(outcome: str, reason: str, bucket: int) -> None:
        add((f"{OUTCOMES}:s", (outcome, reason), bucket), [1])

    for events in log:
        reasons = []
        for one in events:
            if one == "dead" or one["t"] > STAMP + PLAN.future_ms:
                reasons.append("bad" if one == "dead" else "future")
                continue
            bucket = one["t"] // BUCKET_MS
            if (bucket + 1) * BUCKET_MS <= newest - LATENESS_MS:
                outcome("late", "", newest // BUCKET_MS)
                continue
            newest = max(newest, one["t"])
            while waiting:
                outcome("dead", waiting.pop(), bucket)
            outcome("in", "", bucket)
            key = ("s", (one["k"] or "",), bucket)
            if key not in counts:
                known = sum(r == "s" and b == bucket and label != (OTHER,) for r, label, b in counts)
                key = key if known < series_count_max else ("s", (OTHER,), bucket)
            x, weight, rows = one["x"], sum(one["w"]), len(one["w"])
            micros = 0 if x is None else round(x * 1_000_000) * rows
            add(key, [weight, weight if x is not None and x > 2 else 0, micros])
            if x is not None:
                measured.setdefault(key, []).append((x, weight))
            if one["u"] is not None:
                users.setdefault(key, set()).add(one["u"])
            if one["k"] != "b":
                add(("some", (), bucket), [micros if x is not None and x < 3 else 0])
        if newest == NEVER:
            waiting += reasons
        else:
            for reason in reasons:
                outcome("dead", reason, newest // BUCKET_MS)
    return {
        key: (tuple(numbers), sketch(measured.get(key, [])), registers(users.get(key, set())))
        for key, numbers in counts.items()
    }


def sketch(values: list[tuple[float, int]]) -> tuple[tuple[int, int], ...]:
    found: Counter[int] = Counter()
    for value, weight in values:
        found[int(bins_of(np.array([value]))[0])] += weight
    return tuple(sorted((key, count) for key, count in found.items() if count))


def registers(values: set[str]) -> tuple[tuple[int, int], ...]:
    found: dict[int, int] = {}
    for register, rank in zip(*map(np.ndarray.tolist, registers_of(value_hashes(list(values)))), strict=True):
        found[register] = max(rank, found.get(register, 0))
    return tuple(sorted(found.items()))


FOLDING = replace(PLAN, series_count_max=2)
FORGETTING = replace(FOLDING, rollups=tuple(replace(rollup, forget_ms=1) for rollup in PLAN.rollups))
plans = pytest.mark.parametrize(
    "plan", [PLAN, FOLDING, FORGETTING], ids=["all series", "two series", "two series that are forgotten"]
)


@pytest.fixture(autouse=True, scope="module")
def _forget_at_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollup_state, "INDEX_MIN", 0)
        yield


@plans
@settings(max_examples=100)
@given(log=logs)
def test_frames_say_what_a_loop_over_the_events_counts(plan, log):
    assert whole(plan, encoded(log)).cells() == naive(log, plan.series_count_max)


steps = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(["", "sent", "busy", "failed", "half"])), max_size=25
)


def work(
    one: PartitionAggregate, partials: Partials, log: list[bytes], schedule: Any, stamp: int = STAMP
) -> int | None:
    """Read and flush as the schedule says; returns the offset committed last."""
    commit = None
    for count, what in schedule:
        read(one, log, min(one.at + count, len(log)), stamp)
        if not what:
            continue
        flushed = one.flush(3)
        if flushed is None:
            continue
        frames = list(flushed.frames)
        if what == "busy":
            read(one, log, min(one.at + count, len(log)), stamp)
        if what in ("sent", "busy"):
            partials.receive(frames)
            commit = one.acknowledge()
        else:
            partials.receive(frames[: len(frames) // 2] if what == "half" else [])
            one.abandon()
    return commit


@plans
@settings(max_examples=100)
@given(log=logs, schedule=steps)
def test_batches_and_failed_flushes_do_not_show(plan, log, schedule):
    values = encoded(log)
    one, partials = aggregate(plan), Partials()
    work(one, partials, values, schedule)
    work(one, partials, values, [(len(values), "sent")])
    assert partials.cells() == whole(plan, values).cells()


@plans
@settings(max_examples=150)
@given(log=logs, schedule=steps, lives=st.integers(1, 3))
def test_a_restart_from_the_committed_offset_has_the_same_open_cells(plan, log, schedule, lives):
    values = encoded(log)
    partials, commit = Partials(), 0
    for life in range(lives):
        one = aggregate(plan, commit)
        part = schedule[life::lives]
        committed = work(one, partials, values, part)
        commit = commit if committed is None else committed
    known = max(partials.watermarks.values(), default=NEVER)
    fresh = Partials()
    last = aggregate(plan, commit)
    work(last, fresh, values, [(len(values), "sent")])
    expected = whole(plan, values).cells()
    assert fresh.cells(known) == {key: content for key, content in expected.items() if key[2] >= known}
    work(aggregate(plan, commit), partials, values, [(len(values), "sent")])
    assert partials.cells() == expected


def test_what_is_read_while_a_flush_is_on_its_way_keeps_its_series_when_others_are_forgotten():
    log = encoded([[example(90_000 * n, k=key, u="u")] for n, key in enumerate("abcdef")])
    log += encoded([[example(450_000, k="f", u="v")], [example(451_000, k="g", u="w")]])
    one, partials = aggregate(replace(FORGETTING, series_count_max=100)), Partials()
    read(one, log, 6, stamp=-1)
    partials.receive(one.flush(1).frames)
    read(one, log, 8, stamp=-1)
    one.acknowledge()
    partials.receive(one.flush(1).frames)
    told = {labels[0]: cell for (rollup, labels, _), cell in partials.cells().items() if rollup == "s"}
    assert told == {
        **{key: ((1, 0, 1_000_000), sketch([(1.0, 1)]), registers({"u"})) for key in "abcde"},
        "f": ((2, 0, 2_000_000), sketch([(1.0, 2)]), registers({"u", "v"})),
        "g": ((1, 0, 1_000_000), sketch([(1.0, 1)]), registers({"w"})),
    }


@pytest.mark.parametrize("limit", [2, 100_000])
@settings(max_examples=80)
@given(
    log=st.lists(st.lists(event, min_size=1, max_size=3), min_size=1, max_size=25),
    gaps=st.lists(st.sampled_from([0, 5_000, 20_000, 90_000]), min_size=25, max_size=25),
    schedule=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["sent", "busy", "failed"])), max_size=25),
)
def test_what_an_index_forgets_between_flushes_shows_nowhere(limit, log, gaps, schedule):
    at = BASE * BUCKET_MS
    for number, (events, gap) in enumerate(zip(log, gaps, strict=False)):
        at += gap
        for one in events:
            one |= {"t": at - one["t"] % 30_000, "k": "abcdefgh"[(number + ord(one["k"] or "a") % 3) % 8]}
    values = encoded(log)
    found = []
    for plan in (replace(PLAN, series_count_max=limit), replace(FORGETTING, series_count_max=limit)):
        one, partials = aggregate(plan), Partials()
        for step in [*schedule, (len(values), "sent")]:
            work(one, partials, values, [step], stamp=-1)
        found.append((partials.cells(), one.folded_counts))
    assert found[0] == found[1]


@settings(max_examples=50)
@given(logs)
def test_each_rejected_record_is_told_with_its_reason(log):
    values = encoded(log)
    one = aggregate()
    rejected = read(one, values, len(values))
    dead = sum(one == "dead" for events in log for one in events)
    assert sum(entry.reason == "bad" for entry in rejected) == dead == one.dead_counts["bad"]
    for entry in rejected:
        assert entry.value == values[entry.offset]
        assert entry.reason in ("bad", "future", "late")
        assert entry.detail
    late = [entry.offset for entry in rejected if entry.reason == "late"]
    assert late == sorted(set(late)), "once a record"


def test_records_below_the_position_are_skipped_and_the_position_moves_past_what_holds_nothing():
    one = aggregate(start=5)
    values = encoded([[example(0)]] * 4)
    one.read(Records(values, np.array([3, 4, 5, 8]), np.full(4, -1)), 12)
    assert one.at == 12
    flushed = one.flush(1)
    partials = Partials()
    partials.receive(flushed.frames)
    assert partials.cells()["s", ("a",), BASE][0][0] == 2
    one.acknowledge()
    one.read(Records([], np.zeros(0, np.int64), np.zeros(0, np.int64)), 20)
    assert one.at == 20


def example(t: int, **more: Any) -> dict[str, Any]:
    return {"t": BASE * BUCKET_MS + t, "k": "a", "x": 1.0, "u": None, "w": [1], **more}


def test_the_offset_to_commit_waits_for_the_first_of_dead_records_whatever_they_died_of():
    one = aggregate()
    read(one, encoded([[example(120_001)], ["dead"]]), 2)
    one.flush(1)
    assert one.acknowledge() == 0
    read(one, encoded([[example(120_001)], ["dead"], [example(0)]]), 3)
    one.flush(1)
    assert one.acknowledge() == 0


def test_the_offset_to_commit_waits_for_the_first_contribution_to_an_open_bucket():
    log = encoded([[example(0)], [example(30_000)], [example(45_000)], [example(61_000)]])
    one, commits = aggregate(), []
    for upto in range(1, 5):
        read(one, log, upto)
        one.flush(1)
        commits.append(one.acknowledge())
    # newest less 20 s: buckets below 0, 1, 2 and 4 are final
    assert commits == [0, 1, 1, 2]


def test_dead_records_from_before_any_event_hold_the_offset():
    log = encoded([["dead"], ["dead"], [example(0)], [example(50_000)]])
    one = aggregate()
    read(one, log, 2)
    assert one.deferred_count == 2
    assert one.flush(1).commit == 0
    one.acknowledge()
    read(one, log, 3)
    assert one.deferred_count == 0
    assert one.flush(1).commit == 0
    one.acknowledge()
    read(one, log, 4)
    assert one.flush(1).commit == 3


def test_nothing_new_is_no_flush_unless_it_is_to_be_announced():
    one = aggregate()
    assert [decode_frame(value).watermark for _, value in one.flush(2).frames] == [NEVER, NEVER]
    one.acknowledge()
    assert one.flush(2) is None
    read(one, encoded([[example(0)]]), 1)
    assert one.flush(2) is not None
    one.acknowledge()
    assert one.flush(2) is None
    frames = [decode_frame(value) for _, value in one.flush(2, announce=True).frames]
    assert [(frame.watermark, len(frame.tables), frame.idle) for frame in frames] == [
        (BASE - 2, 0, False)
    ] * 2
    one.acknowledge()
    frames = [decode_frame(value) for _, value in one.flush(2, idle=True).frames]
    assert [frame.idle for frame in frames] == [True, True]


def test_only_the_last_frame_to_a_destination_carries_the_watermark(monkeypatch):
    split = split_tables
    monkeypatch.setattr("streams.aggregate.partition.split_tables", lambda tables: split(tables, 200))
    one = aggregate()
    read(one, encoded([[example(t, k=k) for k in "abcd"] for t in range(0, 60_000, 10_000)]), 6)
    by_destination: dict[int, list[Any]] = {}
    for destination, value in one.flush(2).frames:
        by_destination.setdefault(destination, []).append(decode_frame(value))
    assert max(map(len, by_destination.values())) > 2
    for frames in by_destination.values():
        assert [frame.watermark is not None for frame in frames] == [False] * (len(frames) - 1) + [True]
        assert {frame.offset for frame in frames} == {6}


def test_partitions_of_a_process_share_names_and_nothing_else():
    indexes = SeriesIndexes()
    partials = [Partials(), Partials()]
    for partition, key in enumerate("ab"):
        one = PartitionAggregate(PLAN, partition, 0, Decoder, indexes)
        read(one, encoded([[example(0, k=key)]]), 1)
        partials[partition].receive(one.flush(1).frames)
    assert [{labels for rollup, labels, _ in one.cells() if rollup == "s"} for one in partials] == [
        {("a",)},
        {("b",)},
    ]
    assert len(indexes.of("s", ("k",))) == 2


def test_a_million_passing_entities_leave_a_small_index_and_keep_their_names(monkeypatch):
    monkeypatch.setattr(rollup_state, "INDEX_MIN", 10_000)
    rollup = Rollup("r", "s", ("k",), None, (Count("lines"),), forget_ms=1, kind="logs")
    index = SeriesIndex("r", ("k",))
    state, most = RollupState(rollup, 50_000, index), 0
    rows = np.arange(10_000, dtype=np.int32)
    for bucket in range(100):
        names = [f"{bucket}/{row}" for row in rows.tolist()]
        state.add({"k": Strings(rows, names)}, np.full(len(rows), bucket * BUCKET_MS), None)
        table = state.dirty_table()
        assert sorted(table.names) == sorted(encode_labels([name]) for name in names)
        state.acknowledge(bucket)  # the last bucket stays open
        most = max(most, len(index))
    assert 20_000 <= most <= 50_000


def test_partitions_share_no_index_of_series_that_are_forgotten():
    indexes = SeriesIndexes()
    partials = [Partials(), Partials()]
    both = [PartitionAggregate(FORGETTING, partition, 0, Decoder, indexes) for partition in range(2)]
    logs = [encoded([[example(t, k=key)] for t in range(0, 120_000, 10_000)]) for key in "ab"]
    for upto in range(1, 13):
        for one, log, found in zip(both, logs, partials, strict=True):
            read(one, log, upto)
            found.receive(one.flush(1).frames)
            one.acknowledge()
    for found, key in zip(partials, "ab", strict=True):
        cells = {bucket: labels for rollup, labels, bucket in found.cells() if rollup == "s"}
        assert cells == {BASE + number: (key,) for number in range(12)}


def test_rows_beyond_the_limit_of_series_are_counted():
    one = aggregate(FOLDING)
    read(
        one,
        encoded([[example(0, k=key) for key in "abcdef"], [example(0, k="e")], [example(10_000, k="e")]]),
        3,
    )
    assert one.folded_counts == {"s": 5, "some": 0}


@pytest.mark.parametrize("time", [-1, 1 << 62, (1 << 29) * BUCKET_MS])
def test_times_that_no_bucket_holds_are_dead(time):
    one = aggregate()
    log = [json.dumps([{**example(0), "t": time}]).encode(), *encoded([[example(0)]])]
    (rejected,) = one.read(Records(log, np.arange(2), np.full(2, -1)), 2)
    assert rejected.reason == "time_out_of_range"
    assert one.newest_ms == BASE * BUCKET_MS
