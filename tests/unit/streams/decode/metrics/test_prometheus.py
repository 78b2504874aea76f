"""prometheus-kafka-adapter JSON: values as strings, stale series, counters told by name."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.decode.registry import make_decoder
from streams.events.batch import Field, Layout
from tests.unit.decoding import with_increases
from tests.unit.metric_decoding import (
    GOLDEN,
    assert_batches_do_not_matter,
    assert_golden,
    decode,
    records_of,
    rows_of,
)

LAYOUT = Layout(
    wanted={"metric": "string", "value": "number", "job": "string", "code": "number", "path": "string"},
    fields={"code": Field("labels.code")},
)
GOLDEN_RECORDS = (GOLDEN / "prometheus" / "adapter.jsonl").read_bytes().splitlines()


def sample(**changes: Any) -> bytes:
    labels = {"__name__": "up", "job": "node"}
    value = {"timestamp": "1970-01-01T00:00:05Z", "value": "1", "name": "up", "labels": labels} | changes
    return json.dumps(value).encode()


def test_records_as_the_adapter_writes_them(update_golden: bool) -> None:
    batch = decode("prometheus", LAYOUT, *GOLDEN_RECORDS)
    assert_golden(batch, "prometheus/adapter.events.jsonl", update_golden)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9876543210", 9876543210.0),
        ("-0.5", -0.5),
        ("1e-7", 1e-7),
        ("NaN", math.nan),
        ("+Inf", math.inf),
        ("-Inf", -math.inf),
        (3, 3.0),
        (2.5, 2.5),
    ],
)
def test_values(text: object, value: float) -> None:
    batch = decode("prometheus", LAYOUT, sample(value=text))
    assert repr([row["value"] for row in rows_of(batch)]) == repr([value])
    assert batch.time_ms.tolist() == [5000]


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"value": None}, "missing_value", "expected a number as a string at 'value', found none"),
        ({"value": "many"}, "bad_value", "expected a number as a string at 'value', found 'many'"),
        ({"value": "1_0"}, "bad_value", "expected a number as a string at 'value', found '1_0'"),
        ({"value": True}, "bad_value", "expected a number as a string at 'value', found True"),
        ({"name": None, "labels": {}}, "missing_name", "expected a string at 'name', found None"),
        ({"labels": "x"}, "bad_labels", "expected an object at 'labels', found 'x'"),
        ({"timestamp": None}, "missing_time", "expected a time at 'timestamp', found none"),
        ({"timestamp": "soon"}, "bad_time", "expected a time of format auto at 'timestamp', found 'soon'"),
    ],
)
def test_what_a_sample_may_lack(changes: dict[str, Any], reason: str, detail: str) -> None:
    batch = decode("prometheus", LAYOUT, sample(), sample(**changes), None)
    assert len(batch) == 1
    dead = [(one.record, one.reason, one.detail) for one in batch.dead]
    assert dead == [(1, reason, f"element 1: {detail}")]
    assert batch.skipped == 1


def test_the_name_is_found_among_the_labels() -> None:
    (row,) = rows_of(decode("prometheus", LAYOUT, sample(name=None)))
    assert (row["metric"], row["job"]) == ("up", "node")


def test_a_counter_increases_by_what_was_added_and_its_end_counts_nothing() -> None:
    decoder = make_decoder("prometheus", LAYOUT)
    batch = with_increases(decoder.decode(records_of(GOLDEN_RECORDS)))
    counted = [row for row in rows_of(batch) if row["metric"] == "http_requests_total"]
    assert repr([row["value"] for row in counted]) == "[0.0, 7.0, nan]"
    assert [row["weight"] for row in counted] == [0, 7, 0]
    ended = [row for row in rows_of(batch) if row["metric"] == "up"]
    assert [(repr(row["value"]), row["weight"]) for row in ended] == [("1.0", 1), ("nan", 1)]


def test_series_are_the_same_whatever_the_order_of_labels() -> None:
    first = decode("prometheus", LAYOUT, sample(name="a_total", labels={"x": "1", "y": "2"}))
    second = decode("prometheus", LAYOUT, sample(name="a_total", labels={"y": "2", "x": "1"}))
    other = decode("prometheus", LAYOUT, sample(name="a_total", labels={"x": "2", "y": "1"}))
    joined = decode("prometheus", LAYOUT, sample(name="a_total", labels={"x": "1y2"}))
    identities = [rows_of(batch)[0]["identity"] for batch in (first, second, other, joined)]
    assert identities[0] == identities[1]
    assert len(set(identities)) == 3
    assert identities[0] == "361064b6ee39159d", "all workers must agree on it"


TIMES = {"2023-11-14T22:13:20Z": 0, "2023-11-14T22:13:35Z": 15}

SAMPLE = st.builds(
    lambda **parts: json.dumps({key: value for key, value in parts.items() if value is not None}).encode(),
    name=st.sampled_from(["up", "a_total", None]),
    value=st.one_of(
        st.floats().map(repr), st.sampled_from(["NaN", "+Inf", "-Inf", "x", None]), st.integers()
    ),
    timestamp=st.sampled_from([*TIMES, "never", None]),
    labels=st.dictionaries(st.sampled_from(["job", "code", "path"]), st.text(max_size=3), max_size=3),
)


@settings(max_examples=200)
@given(st.lists(SAMPLE, max_size=6))
def test_as_the_naive_reader_reads(records: list[bytes]) -> None:
    events, dead = [], []
    for number, record in enumerate(records):
        parsed = json.loads(record)
        try:
            value = float(parsed["value"])
            name, seconds = parsed["name"], TIMES[parsed["timestamp"]]
            assert parsed["value"] not in ("inf", "-inf", "nan"), "Go writes these otherwise"
        except (KeyError, ValueError, AssertionError):
            dead.append(number)
            continue
        except OverflowError:
            value = math.inf
        job = parsed["labels"].get("job")
        events.append((number, name, (1_700_000_000 + seconds) * 1000, repr(value), job))
    batch = decode("prometheus", LAYOUT, *records)
    found = [
        (row["record"], row["metric"], row["time_ms"], repr(row["value"]), row["job"])
        for row in rows_of(batch)
    ]
    assert found == events
    assert [one.record for one in batch.dead] == dead


@settings(max_examples=100)
@given(st.lists(st.one_of(st.none(), SAMPLE, st.binary(max_size=20)), max_size=6))
def test_batches_do_not_matter(values: list[bytes | None]) -> None:
    used, fresh = make_decoder("prometheus", LAYOUT), make_decoder("prometheus", LAYOUT)
    assert_batches_do_not_matter(used, fresh, values)
