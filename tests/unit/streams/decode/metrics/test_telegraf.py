"""Telegraf JSON: genuine output of its serializer, single and batch, and what may be wrong with it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.decode.registry import make_decoder
from streams.events.batch import Field, Layout
from tests.unit.metric_decoding import (
    GOLDEN,
    RECORD_MS,
    assert_batches_do_not_matter,
    assert_golden,
    decode,
    rows_of,
)

LAYOUT = Layout(
    wanted={
        "metric": "string",
        "measurement": "string",
        "field": "string",
        "host": "string",
        "value": "number",
        "text": "string",
    },
    fields={"text": Field("value")},
)


def metric(**changes: Any) -> dict[str, Any]:
    whole = {"name": "cpu", "tags": {"host": "a"}, "fields": {"idle": 1.5}, "timestamp": 1_700_000_000}
    return whole | changes


def test_genuine_output(update_golden: bool) -> None:
    records = (GOLDEN / "telegraf" / "telegraf-1.37.jsonl").read_bytes().splitlines(keepends=True)
    batch = decode("telegraf", LAYOUT, *records)
    assert_golden(batch, "telegraf/telegraf-1.37.events.jsonl", update_golden)
    rows = rows_of(batch)
    singles = [{**row, "record": 0} for row in rows if row["record"] < 4]
    together = [{**row, "record": 0} for row in rows if row["record"] == 4]
    assert repr(singles) == repr(together)


@pytest.mark.parametrize(
    ("timestamp", "time_format", "time_ms"),
    [
        (1_700_000_000, "auto", 1_700_000_000_000),
        (1_700_000_000_123, "auto", 1_700_000_000_123),
        (1_700_000_000_123_456, "auto", 1_700_000_000_123),
        (1_700_000_000_123_999_999, "auto", 1_700_000_000_123),
        ("2023-11-14T22:13:20.5Z", "auto", 1_700_000_000_500),
        (5_000, "epoch_ms", 5_000),
        (None, "record", RECORD_MS),
    ],
)
def test_units_of_time(timestamp: object, time_format: str, time_ms: int) -> None:
    layout = Layout(wanted={"value": "number"}, time_format=time_format)
    record = json.dumps(metric(timestamp=timestamp)).encode()
    assert decode("telegraf", layout, record).time_ms.tolist() == [time_ms]


def test_another_place_of_time() -> None:
    layout = Layout(wanted={"value": "number"}, time_field="fields.at")
    record = json.dumps(metric(fields={"at": 1_600_000_000})).encode()
    assert decode("telegraf", layout, record).time_ms.tolist() == [1_600_000_000_000]


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"name": None}, "missing_name", "element 2: expected a string at 'name', found None"),
        ({"fields": 3}, "missing_value", "element 2: expected an object at 'fields', found 3"),
        (
            {"fields": {"idle": None}},
            "missing_value",
            "element 2: expected a field with a value in metric 'cpu', found none",
        ),
        ({"tags": [1]}, "bad_tags", "element 2: expected an object at 'tags', found list"),
        ({"timestamp": None}, "missing_time", "element 2: expected a time at 'timestamp', found none"),
        (
            {"timestamp": "soon"},
            "bad_time",
            "element 2: expected a time of format auto at 'timestamp', found 'soon'",
        ),
        (
            {"fields": {"idle": 1, "deep": {}}},
            "bad_value",
            "element 2: expected numbers, truth values and text, found dict",
        ),
    ],
)
def test_a_bad_metric_is_one_dead_letter_and_the_others_are_kept(
    changes: dict[str, Any], reason: str, detail: str
) -> None:
    record = json.dumps({"metrics": [metric(), metric(**changes), metric(name="mem")]}).encode()
    batch = decode("telegraf", LAYOUT, None, record)
    assert [row["metric"] for row in rows_of(batch)] == ["cpu_idle", "mem_idle"]
    assert [(one.record, one.reason, one.detail) for one in batch.dead] == [(1, reason, detail)]
    assert batch.skipped == 1


def test_what_is_no_metric() -> None:
    batch = decode("telegraf", LAYOUT, b"{", b"7", b'{"metrics": []}', b"null", b"")
    assert [(one.record, one.reason) for one in batch.dead] == [
        (0, "bad_json"),
        (1, "not_an_object"),
        (3, "not_an_object"),
        (4, "bad_json"),
    ]
    assert batch.skipped == 1


def test_metrics_on_lines_and_what_json_does_not_know() -> None:
    lines = b"\n".join(json.dumps(metric(fields={"a": value})).encode() for value in (1, math.nan, 10**400))
    values = [row["value"] for row in rows_of(decode("telegraf", LAYOUT, lines + b"\n{bad"))]
    assert repr(values) == "[1.0, nan, inf]"
    assert [one.reason for one in decode("telegraf", LAYOUT, lines + b"\n{bad").dead] == ["bad_json"]


def test_tags_of_other_types_are_written_plainly() -> None:
    records = [json.dumps(metric(tags={"host": host})).encode() for host in (1, True, 1.0, "1", None, [2])]
    hosts = [row["host"] for row in rows_of(decode("telegraf", LAYOUT, *records))]
    assert hosts == ["1", "true", "1", "1", None, None]


def test_counters_are_told_by_name() -> None:
    record = json.dumps(metric(fields={"requests_total": 5, "idle": 1})).encode()
    counter, gauge = rows_of(decode("telegraf", LAYOUT, record))
    assert (counter["total"], counter["weight"], gauge["weight"], "total" in gauge) == (5.0, 0, 1, False)


FLOAT = st.floats(allow_nan=False, allow_infinity=False)
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), FLOAT, st.text(max_size=5))
LABEL = st.sampled_from(["host", "region", "idle", "value", "metric"])
METRIC = st.fixed_dictionaries(
    {"name": st.sampled_from(["cpu", "mem", "", None])},
    optional={
        "tags": st.dictionaries(LABEL, SCALAR, max_size=3),
        "fields": st.dictionaries(LABEL, SCALAR, max_size=3),
        "timestamp": st.one_of(st.integers(0, 2_000_000_000), st.text(max_size=3), st.none()),
    },
)
RECORD = st.one_of(
    METRIC, st.lists(METRIC, max_size=3), st.fixed_dictionaries({"metrics": st.lists(METRIC, max_size=3)})
).map(lambda value: json.dumps(value).encode())


def naive(records: list[bytes]) -> tuple[list[tuple[int, str, int, str]], list[int]]:
    """Events and dead letters, one metric after the other."""
    events, dead = [], []
    for number, record in enumerate(records):
        value = json.loads(record)
        if isinstance(value, dict):
            value = value.get("metrics", [value])
        for item in value:
            fields = {key: field for key, field in item.get("fields", {}).items() if field is not None}
            time = item.get("timestamp")
            if isinstance(time, str) and time.strip().isdecimal() and time.isascii():
                time = int(time)
            if not item["name"] or not fields or not isinstance(time, int):
                dead.append(number)
                continue
            for key, field in fields.items():
                shown = "nan" if isinstance(field, str) else repr(float(field))
                events.append((number, f"{item['name']}_{key}", time * 1000, shown))
    return events, dead


@settings(max_examples=200)
@given(st.lists(RECORD, max_size=4))
def test_as_the_naive_reader_reads(records: list[bytes]) -> None:
    layout = Layout(wanted={"metric": "string", "value": "number"}, time_format="epoch_s", counters=())
    batch = decode("telegraf", layout, *records)
    found = [(row["record"], row["metric"], row["time_ms"], repr(row["value"])) for row in rows_of(batch)]
    events, dead = naive(records)
    assert found == events
    assert [one.record for one in batch.dead] == dead


@settings(max_examples=100)
@given(st.lists(st.one_of(st.none(), RECORD, st.binary(max_size=20)), max_size=6))
def test_batches_do_not_matter(values: list[bytes | None]) -> None:
    assert_batches_do_not_matter(make_decoder("telegraf", LAYOUT), make_decoder("telegraf", LAYOUT), values)
