"""Format `json`: values, their neighbours, and where columns and times are found."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.decode.format import Signal
from streams.decode.json.shape import parse_path
from streams.decode.registry import find_format, format_names, make_decoder
from streams.decode.strings import plain_text
from streams.events.batch import Field, Layout, Records
from tests.unit.decoding import ARRIVED_MS, columns, decode, reasons, records_of

S, N = "string", "number"


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="found 'acess_log'; did you mean access_log"):
        make_decoder("acess_log", Layout(wanted={}))


def test_every_registered_format_makes_a_decoder() -> None:
    for name in format_names():
        signal: Signal | None = "logs" if find_format(name).signals else None
        decoder = make_decoder(name, Layout(wanted={"a": N}, signal=signal))  # type: ignore[dict-item]
        assert len(decoder.decode(records_of([]))) == 0


@pytest.mark.parametrize(
    ("text", "number", "string"),
    [
        ("200", 200.0, "200"),
        ("-0.25", -0.25, "-0.25"),
        ("200.0", 200.0, "200"),
        ('"200"', 200.0, "200"),
        ('"fast"', None, "fast"),
        ('""', None, ""),
        ("true", 1.0, "true"),
        ("false", 0.0, "false"),
        ("null", None, None),
        ("NaN", None, "nan"),
        ("-Infinity", -math.inf, "-inf"),
        ("9007199254740993", 9007199254740992.0, "9007199254740993"),
        ("123456789012345678901234567890", 1.2345678901234568e29, "123456789012345678901234567890"),
        ("1e400", math.inf, "inf"),
        ("1e-7", 1e-7, "1e-07"),
        ("1e20", 1e20, "100000000000000000000"),
        (r'"caf\u00e9 \ud83d\ude00 \"x\""', None, 'café 😀 "x"'),
        (r'"\ud800"', None, "\ufffd"),
        ("[1]", None, None),
        ('{"x":1}', None, None),
    ],
)
def test_a_value_as_number_and_as_string(text: str, number: float | None, string: str | None) -> None:
    event = f'{{"n":{text},"s":{text},"both":{text}}}'
    fields = {"both as number": Field("both"), "both as string": Field("both")}
    wanted = {"n": N, "s": S, "both as number": N, "both as string": S}
    batch = decode("json", [event], wanted, fields)
    assert columns(batch) == {
        "n": [number],
        "s": [string],
        "both as number": [number],
        "both as string": [string],
    }


def test_equal_numbers_and_truth_values_stay_apart_as_strings() -> None:
    batch = decode(
        "json", ['{"a":1}', '{"a":true}', '{"a":1.5}', '{"a":"1"}', '{"a":0}', '{"a":false}'], {"a": S}
    )
    assert columns(batch)["a"] == ["1", "true", "1.5", "1", "0", "false"]


def test_invalid_utf8_is_replaced() -> None:
    assert columns(decode("json", [b'{"a":"x\xffy"}', b'\xef\xbb\xbf{"a":"bom"}'], {"a": S}))["a"] == [
        "x\ufffdy",
        "bom",
    ]


def test_the_last_of_duplicate_keys_counts() -> None:
    assert columns(decode("json", ['{"a":"x","a":7}', '{"a":{},"a":8}'], {"a": N}))["a"] == [7.0, 8.0]


NESTED = '{"http":{"status":200,"tags":["x",{"k":"v"}]},"user.name":"ann","http.status":999}'


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("http.status", "200"),
        ("user.name", "ann"),
        ("http.tags[0]", "x"),
        ("http.tags[1].k", "v"),
        ("http.tags[2]", None),
        ("http.status.deeper", None),
        ("http", None),
        ("nothing.here", None),
    ],
)
def test_a_path_is_followed_or_is_a_literal_key(path: str, value: str | None) -> None:
    assert columns(decode("json", [NESTED, "{}"], {"c": S}, {"c": Field(path)}))["c"] == [value, None]


def test_paths_may_lie_inside_each_other() -> None:
    wanted = {"a": S, "a.b": N, "a.b.c": S, "a.d": S}
    batch = decode(
        "json", ['{"a":"x"}', '{"a":{"b":1,"d":"y"}}', '{"a":{"b":{"c":"z"}}}', '{"a":null}'], wanted
    )
    assert columns(batch) == {
        "a": ["x", None, None, None],
        "a.b": [None, 1.0, None, None],
        "a.b.c": [None, None, "z", None],
        "a.d": [None, "y", None, None],
    }


def test_deep_nesting_is_no_event_but_harms_no_other() -> None:
    deep = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    batch = decode("json", [b'{"a":1}', deep, b'{"a":2}'], {"a": N})
    assert columns(batch)["a"] == [1.0, 2.0]
    assert reasons(batch) == [(1, "bad_json")]


def test_milliseconds_become_the_seconds_that_are_written() -> None:
    batch = decode("json", ['{"d":1009}', '{"d":0.5}'], {"duration": N}, {"duration": Field("d", 0.001)})
    assert columns(batch)["duration"] == [1.009, 0.0005]


def test_a_record_may_hold_several_events() -> None:
    batch = decode(
        "json", ['[{"a":1},{"a":2},"x"]', '{"a":3}\n\n{"a":4}\n{oops', "[]", None, '{"a":5}'], {"a": N}
    )
    assert columns(batch)["a"] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert batch.record.tolist() == [0, 0, 1, 1, 4]
    assert reasons(batch) == [(0, "not_an_object"), (1, "bad_json")]
    assert batch.skipped == 2


@pytest.mark.parametrize(
    "bad", ["{", "", "3", "null", '{"a":1}}', '{"a":1},{"a":2}', "{'a':1}", '{"a":1,}', "\x00"]
)
def test_bad_json_is_dead(bad: str) -> None:
    batch = decode("json", ['{"a":1}', bad, '{"a":2}'], {"a": N})
    assert columns(batch)["a"] == [1.0, 2.0]
    assert [record for record, _ in reasons(batch)] == [1]


def test_records_that_are_only_whole_together_are_each_dead() -> None:
    """Joined by newlines or commas these would be one event, and the counts would still fit."""
    for first, second in (('{"a":[{}', ",{}]}"), ('{"a":"}', '{"}'), ('{"a":1', ',"b":2}'), ('{"a":{}', "}")):
        batch = decode("json", [first, second, '{"a":3}{"a":4}'], {"b": N})
        assert [record for record, _ in reasons(batch)] == [0, 1, 2]
        assert len(batch) == 0


def test_the_default_time_is_the_first_of_the_usual_names() -> None:
    events = [
        '{"ts":1000,"time":2000}',
        '{"time":"1970-01-01T00:00:02Z"}',
        '{"ts":null,"timestamp":3}',
        '{"@timestamp":4}',
        "{}",
        '{"ts":"soon"}',
        '{"ts":[1]}',
    ]
    batch = decode("json", events)
    assert batch.time_ms.tolist() == [1_000_000, 2000, 3000, 4000, ARRIVED_MS + 4]
    assert reasons(batch) == [(5, "bad_time"), (6, "bad_time")]


def test_a_declared_time_must_be_there_and_readable() -> None:
    events = ['{"t":{"at":7}}', '{"ts":7}', '{"t":{"at":"x"}}', '{"t":null}']
    batch = decode("json", events, {}, time_field="t.at", time_format="epoch_ms")
    assert batch.time_ms.tolist() == [7]
    assert reasons(batch) == [(1, "missing_time"), (2, "bad_time"), (3, "missing_time")]
    assert "'t.at'" in batch.dead[0].detail


def test_the_records_own_time_can_be_asked_for() -> None:
    batch = decode("json", ['{"ts":1}', '{"ts":"x"}'], {}, time_field="ts", time_format="record")
    assert batch.time_ms.tolist() == [ARRIVED_MS, ARRIVED_MS + 1]


@pytest.mark.parametrize(
    ("format", "value"),
    [
        ("json", b'{"a":1}'),
        ("access_log", b'::1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5'),
        ("vector", b'{"metric":{"name":"m","kind":"incremental","counter":{"value":1}}}'),
    ],
)
def test_without_any_time_an_event_is_dead(format: str, value: bytes) -> None:
    unknown = Records([value], np.zeros(1, np.int64), np.full(1, -1, np.int64))
    batch = make_decoder(format, Layout(wanted={}, time_format="record")).decode(unknown)
    assert len(batch) == 0
    assert [dead.record for dead in batch.dead] == [0]


def test_a_path_that_cannot_be_looked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="expected keys without quotes"):
        parse_path('a."b"')


KEYS = st.sampled_from(("a", "b", "c", "a.b", "é", "x"))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
events = st.dictionaries(KEYS, values, max_size=5)


def naive(event: dict[str, object], path: str) -> object:
    value: object = event
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return event.get(path) if value is None or (isinstance(value, list | dict)) else value


@given(st.lists(events, max_size=30), st.booleans())
def test_columns_equal_those_of_a_plain_reader(batch: list[dict[str, object]], ascii: bool) -> None:
    texts = [json.dumps(event, ensure_ascii=ascii).encode("utf-8", "surrogatepass") for event in batch]
    found = columns(
        decode("json", texts, {"a": S, "a.b": S, "c": S}, {"c": Field("é")}, time_format="record")
    )
    for name, path in (("a", "a"), ("a.b", "a.b"), ("c", "é")):
        expected = [plain_text(naive(event, path)) for event in batch]
        assert found[name] == expected
