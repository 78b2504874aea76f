"""collectd JSON: what collectd 5.12 wrote to Kafka and over HTTP, types of data sources, malformed lists."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.decode.registry import make_decoder
from streams.events.batch import Layout
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
    wanted={
        "metric": "string",
        "value": "number",
        "host": "string",
        "plugin_instance": "string",
        "type_instance": "string",
        "dsname": "string",
        "dstype": "string",
    }
)


def value_list(**changes: Any) -> dict[str, Any]:
    return {
        "values": [1, 2],
        "dstypes": ["derive", "gauge"],
        "dsnames": ["rx", "tx"],
        "time": 1_700_000_000.5,
        "interval": 10.0,
        "host": "web-1",
        "plugin": "interface",
        "plugin_instance": "eth0",
        "type": "if_octets",
        "type_instance": "",
    } | changes


def record(*value_lists: object) -> bytes:
    return json.dumps(list(value_lists)).encode()


@pytest.mark.parametrize("source", ["write_kafka-5.12", "write_http-5.12"])
def test_genuine_output(source: str, update_golden: bool) -> None:
    lines = (GOLDEN / "collectd" / f"{source}.jsonl").read_bytes().splitlines()
    assert_golden(decode("collectd", LAYOUT, *lines), f"collectd/{source}.events.jsonl", update_golden)


def test_kafka_and_http_carry_the_same_events() -> None:
    both = []
    for source in ("write_kafka-5.12", "write_http-5.12"):
        lines = (GOLDEN / "collectd" / f"{source}.jsonl").read_bytes().splitlines()
        rows = [{**row, "record": 0} for row in rows_of(decode("collectd", LAYOUT, *lines))]
        both.append(sorted(map(repr, rows)))
    assert both[0] == both[1]


def test_types_of_data_sources() -> None:
    kinds = ["gauge", "absolute", "derive", "counter"]
    lists = [value_list(values=[7], dstypes=[kind], dsnames=["value"]) for kind in kinds]
    rows = rows_of(decode("collectd", LAYOUT, record(*lists)))
    assert [row["weight"] for row in rows] == [1, 7, 0, 0]
    assert [row.get("total") for row in rows] == [None, None, 7.0, 7.0]
    assert [row["metric"] for row in rows] == ["collectd_interface_if_octets"] * 2 + [
        "collectd_interface_if_octets_total"
    ] * 2


def test_the_format_tells_counters_not_their_names() -> None:
    gauge = value_list(values=[7], dstypes=["gauge"], dsnames=["x_total"])
    assert decode("collectd", LAYOUT, record(gauge)).counters is None


def test_a_counter_that_wraps_counts_what_came_after() -> None:
    readings = [(0, 4_294_967_290), (10, 4_294_967_295), (20, 4), (30, 10)]
    lists = [
        value_list(values=[value], dstypes=["counter"], dsnames=["value"], time=1_700_000_000 + at)
        for at, value in readings
    ]
    batch = make_decoder("collectd", LAYOUT).decode(records_of([record(one) for one in lists]))
    increases = rows_of(with_increases(batch))
    assert [row["value"] for row in increases] == [0.0, 5.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"values": []}, "missing_value", "expected a list of numbers at 'values', found list"),
        ({"values": ["1", 2]}, "bad_value", "expected numbers and null at 'values', found '1'"),
        ({"values": [1]}, "bad_data_sources", "expected 1 strings at 'dsnames', found list"),
        ({"dsnames": "rx"}, "bad_data_sources", "expected lists at 'dsnames' and 'dstypes', found 'rx'"),
        (
            {"dstypes": ["gauge", "level"]},
            "bad_data_sources",
            "expected one of gauge, absolute, derive, counter at 'dstypes', found 'level'",
        ),
        ({"plugin": ""}, "missing_name", "expected a string at 'plugin', found ''"),
        ({"host": 7}, "missing_name", "expected a string at 'host', found 7"),
        ({"time": None}, "missing_time", "expected a time at 'time', found none"),
    ],
)
def test_a_bad_value_list_is_one_dead_letter_and_the_others_are_kept(
    changes: dict[str, Any], reason: str, detail: str
) -> None:
    batch = decode("collectd", LAYOUT, record(value_list(), value_list(**changes), value_list()))
    assert len(batch) == 4
    assert [(one.reason, one.detail) for one in batch.dead] == [(reason, f"element 2: {detail}")]


VALUE_LIST = st.builds(
    lambda sources, **parts: value_list(
        values=[value for value, _, _ in sources],
        dstypes=[kind for _, kind, _ in sources],
        dsnames=[name for _, _, name in sources],
        **parts,
    ),
    sources=st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(0, 2**64), st.floats(allow_nan=False, allow_infinity=False)),
            st.sampled_from(["gauge", "derive", "counter", "absolute", "other"]),
            st.sampled_from(["value", "rx"]),
        ),
        max_size=3,
    ),
    time=st.one_of(st.integers(0, 2_000_000_000_000), st.none()).map(lambda ms: ms and ms / 1000),
    type_instance=st.text(max_size=3),
)


@settings(max_examples=200)
@given(st.lists(st.lists(VALUE_LIST, max_size=3), max_size=4))
def test_as_the_naive_reader_reads(lists: list[list[dict[str, Any]]]) -> None:
    events, dead = [], []
    for number, content in enumerate(lists):
        for one in content:
            if not one["values"] or one["time"] is None or "other" in one["dstypes"]:
                dead.append(number)
                continue
            for value, kind, name in zip(one["values"], one["dstypes"], one["dsnames"], strict=True):
                shown = "nan" if value is None else repr(float(value))
                parts = (name, kind, one["type_instance"] or None)
                events.append((number, round(one["time"] * 1000), shown, *parts))
    batch = decode("collectd", LAYOUT, *(record(*content) for content in lists))
    names = ("dsname", "dstype", "type_instance")
    found = [
        (row["record"], row["time_ms"], repr(row["value"]), *(row[name] for name in names))
        for row in rows_of(batch)
    ]
    assert found == events
    assert [one.record for one in batch.dead] == dead
    assert batch.skipped == sum(not content for content in lists)


@settings(max_examples=100)
@given(st.lists(st.one_of(st.none(), VALUE_LIST.map(record), st.binary(max_size=20)), max_size=6))
def test_batches_do_not_matter(values: list[bytes | None]) -> None:
    assert_batches_do_not_matter(make_decoder("collectd", LAYOUT), make_decoder("collectd", LAYOUT), values)
