"""Influx line protocol: genuine lines of Telegraf and collectd, and a reader of one character at a time."""

from __future__ import annotations

import math

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
    }
)
TEXT = Layout(
    wanted={"metric": "string", "value": "number", "text": "string"}, fields={"text": Field("value")}
)


def test_a_line_gives_an_event_a_field() -> None:
    rows = rows_of(decode("influx", LAYOUT, b"cpu,host=a,region=eu idle=91.5,user=3i 1700000000123456789"))
    assert rows == [
        {
            "time_ms": 1_700_000_000_123,
            "record": 0,
            "metric": f"cpu_{field}",
            "measurement": "cpu",
            "field": field,
            "host": "a",
            "value": value,
            "weight": 1,
        }
        for field, value in (("idle", 91.5), ("user", 3.0))
    ]


@pytest.mark.parametrize(
    ("source", "columns"),
    [
        ("telegraf-1.37", ("host", "path", "zone", "cpu")),
        ("collectd-5.12", ("host", "instance", "type", "type_instance")),
    ],
)
def test_genuine_lines(source: str, columns: tuple[str, ...], update_golden: bool) -> None:
    wanted = {"metric": "string", "value": "number", "text": "string"} | dict.fromkeys(columns, "string")
    layout = Layout(wanted=wanted, fields={"text": Field("value")})  # type: ignore[arg-type]
    record = (GOLDEN / "influx" / f"{source}.lines").read_bytes()
    assert_golden(decode("influx", layout, record), f"influx/{source}.events.jsonl", update_golden)


def test_empty_lines_and_comments_are_nothing() -> None:
    batch = decode("influx", LAYOUT, b"\n# a b=1 5\r\n  \ncpu v=1 1700000000000000000\n", b"", None, b"#\n")
    assert [row["record"] for row in rows_of(batch)] == [0]
    assert not batch.dead
    assert batch.skipped == 3


def test_a_line_without_time_takes_that_of_its_record() -> None:
    batch = decode("influx", LAYOUT, b"a v=1", b"a v=1\na v=2 1700000000000", b"a v=3 ")
    assert batch.time_ms.tolist() == [RECORD_MS, RECORD_MS + 1000, 1_700_000_000_000, RECORD_MS + 2000]


@pytest.mark.parametrize(
    ("time_format", "stamp", "time_ms"),
    [
        ("auto", 1_700_000_000, 1_700_000_000_000),
        ("auto", 1_700_000_000_123, 1_700_000_000_123),
        ("auto", 1_700_000_000_123_456, 1_700_000_000_123),
        ("auto", 1_700_000_000_123_999_999, 1_700_000_000_123),
        ("epoch_ns", 5_999_999, 5),
        ("epoch_ns", -1, -1),
        ("epoch_us", 5_999, 5),
        ("epoch_ms", 7, 7),
        ("epoch_s", 7, 7000),
        ("record", 7, RECORD_MS),
    ],
)
def test_units_of_time(time_format: str, stamp: int, time_ms: int) -> None:
    layout = Layout(wanted={"value": "number"}, time_field="timestamp", time_format=time_format)
    assert decode("influx", layout, b"a v=1 %d" % stamp).time_ms.tolist() == [time_ms]


def test_a_bad_line_is_one_dead_letter_and_the_others_are_kept() -> None:
    record = b"a v=1,w=x 1\nb,host=q v=2 1700000000\nc,host= v=1 1\nd v=1 soon\ne v=1e999\n"
    batch = decode("influx", LAYOUT, b"", record)
    assert [(row["metric"], row["record"]) for row in rows_of(batch)] == [("b_v", 1)]
    assert [(one.record, one.reason, one.detail) for one in batch.dead] == [
        (1, "bad_line", "line 1: expected 1.5, 2i, 3u, true or \"text\" in field 'w', found 'x'"),
        (
            1,
            "bad_line",
            "line 3: expected measurement[,tag=value…] field=value[,field=value…] [timestamp],"
            " found 'c,host= v=1 1'",
        ),
        (1, "bad_time", "line 4: expected a time in whole numbers, in the years 1 to 9999, found 'soon'"),
        (1, "bad_line", "line 5: expected 1.5, 2i, 3u, true or \"text\" in field 'v', found '1e999'"),
    ]


def test_values_of_all_types() -> None:
    fields = rb'f=-1.5e3,i=-7i,u=18446744073709551615u,t=T,n=false,s="a \"b\" \\ c",p=+.5,q=2.,z=007'
    line = b"m " + fields + b" 1700000000"
    rows = rows_of(decode("influx", TEXT, line))
    assert [row["value"] for row in rows if row["metric"] != "m_s"] == [
        -1500.0, -7.0, 18446744073709551615.0, 1.0, 0.0, 0.5, 2.0, 7.0,
    ]  # fmt: skip
    (text,) = (row for row in rows if row["metric"] == "m_s")
    assert math.isnan(text["value"])
    assert text["text"] == r'a "b" \ c'
    assert [row["text"] for row in rows][:2] == ["-1500", "-7"]


def test_names_that_are_taken_are_reached_by_prefix_and_numbers_are_scaled() -> None:
    layout = Layout(
        wanted={"field": "string", "own": "string", "port": "number", "seconds": "number", "none": "string"},
        fields={"own": Field("tags.field"), "seconds": Field("value", 0.001)},
    )
    (row,) = rows_of(decode("influx", layout, b"m,field=x,port=80 v=1500 1700000000"))
    assert (row["field"], row["own"], row["port"], row["seconds"], row["none"]) == ("v", "x", 80.0, 1.5, None)


def test_counters_are_told_by_name() -> None:
    layout = Layout(wanted={"value": "number", "ms": "number"}, fields={"ms": Field("value", 0.001)})
    lines = b"http,a=1,b=2 requests_total=5i,load=1 1700000000\nhttp,b=2,a=1 requests_total=9i 1700000010"
    batch = decode("influx", layout, lines)
    first, gauge, second = rows_of(batch)
    assert (first["total"], second["total"]) == (5.0, 9.0)
    assert first["identity"] == second["identity"]
    assert (first["weight"], gauge["weight"], "total" in gauge) == (0, 1, False)
    assert batch.counters is not None
    assert batch.counters.columns == {"value": 1.0, "ms": 0.001}
    none = Layout(wanted={"value": "number"}, counters=())
    assert decode("influx", none, lines).counters is None


@pytest.mark.parametrize("change", [{"time_field": "ts"}, {"time_format": "iso8601"}, {"time_format": "%Y"}])
def test_a_layout_that_lines_cannot_serve_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="format influx"):
        make_decoder("influx", Layout(wanted={}, **change))  # type: ignore[arg-type]


class BadLineError(Exception):
    """A line that the protocol does not allow."""


def naive_line(text: str) -> tuple[str, dict[str, str], list[tuple[str, float | str]], str] | None:
    """A line read one character at a time, for comparison."""

    def word(at: int, stops: str, escapes: str) -> tuple[str, int]:
        read = ""
        while at < len(text) and text[at] not in stops:
            if text[at] == "\\" and at + 1 < len(text) and text[at + 1] in stops:
                read += ("" if text[at + 1] in escapes else "\\") + text[at + 1]
                at += 2
            else:
                read += text[at]
                at += 1
        return read, at

    def require(condition: bool) -> None:
        if not condition:
            raise BadLineError

    if not text.strip(" ") or text.lstrip(" ").startswith("#"):
        return None
    at = len(text) - len(text.lstrip(" "))
    measurement, at = word(at, ", ", ", ")
    require(bool(measurement))
    tags = {}
    while text[at : at + 1] == ",":
        key, at = word(at + 1, ",= ", ",= ")
        require(bool(key) and text[at : at + 1] == "=")
        tags[key], at = word(at + 1, ",= ", ",= ")
        require(bool(tags[key]) and text[at : at + 1] != "=")
    require(text[at : at + 1] == " ")
    while text[at : at + 1] == " ":
        at += 1
    fields: list[tuple[str, float | str]] = []
    while True:
        key, at = word(at, ",= ", ",= ")
        require(bool(key) and text[at : at + 1] == "=")
        at += 1
        if text[at : at + 1] == '"':
            value, at = "", at + 1
            while text[at : at + 1] != '"':
                require(at < len(text))
                if text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\"):
                    at += 1
                value += text[at]
                at += 1
            at += 1
            fields.append((key, value))
        else:
            end = min(text.find(stop, at) % (len(text) + 1) for stop in ", ")
            fields.append((key, naive_number(text[at:end])))
            at = end
        if text[at : at + 1] != ",":
            break
        at += 1
    rest = text[at:]
    require(not rest or rest[0] == " ")
    stamp = rest.strip(" ")
    require(all(digit in "0123456789" for digit in stamp))
    return measurement, tags, fields, stamp


def naive_number(text: str) -> float:
    if text in ("t", "T", "true", "True", "TRUE"):
        return 1.0
    if text in ("f", "F", "false", "False", "FALSE"):
        return 0.0
    digits = text[:-1] if text.endswith("i") else text
    if set(digits) - set("0123456789" if digits != text else "0123456789.") or not digits:
        raise BadLineError
    try:
        return float(digits)
    except ValueError as error:
        raise BadLineError from error


def naive(records: list[str]) -> tuple[list[tuple[int, str, str, str | None, str]], list[int]]:
    events, dead = [], []
    for number, record in enumerate(records):
        for line in record.split("\n"):
            try:
                parsed = naive_line(line)
            except BadLineError:
                dead.append(number)
                continue
            if parsed is not None:
                measurement, tags, fields, _ = parsed
                for field, value in fields:
                    shown = value if isinstance(value, str) else repr(value)
                    events.append((number, measurement, field, tags.get("t"), shown))
    return events, dead


SNIPPETS = st.sampled_from(
    ["m", "m,t=a", "m,t=a\\ b", " ", " ", "f=1", ",f=2i", ",g=t", '="x y"', ",", "=", "\\", '"', "#", "1"]
)
WHOLE = st.sampled_from(
    ["m f=1 1", "m,t=a f=1,g=2i 1", 'm,t=a f="x, =\\"y",g=T 1', "m\\ n,t=a\\,b f\\ f=1.5", "# c", "m f=1  1"]
)
RECORD = st.one_of(st.lists(SNIPPETS, max_size=12).map("".join), st.lists(WHOLE, max_size=4).map("\n".join))


@settings(max_examples=400)
@given(st.lists(RECORD, max_size=5))
def test_as_the_naive_reader_reads(records: list[str]) -> None:
    layout = Layout(
        wanted={"measurement": "string", "field": "string", "t": "string", "n": "number", "text": "string"},
        fields={"text": Field("value"), "n": Field("value")},
        time_format="epoch_s",
        counters=(),
    )
    batch = decode("influx", layout, *(record.encode() for record in records))
    found = [
        (
            row["record"],
            row["measurement"],
            row["field"],
            row["t"],
            row["text"] if math.isnan(row["n"]) else repr(row["n"]),
        )
        for row in rows_of(batch)
    ]
    events, dead = naive(records)
    assert found == events
    assert [one.record for one in batch.dead] == dead


@settings(max_examples=150)
@given(st.lists(st.one_of(st.none(), RECORD.map(str.encode), st.binary(max_size=30)), max_size=6))
def test_batches_do_not_matter(values: list[bytes | None]) -> None:
    assert_batches_do_not_matter(make_decoder("influx", TEXT), make_decoder("influx", TEXT), values)


def test_many_series_are_forgotten_and_met_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.decode.metrics.influx.SERIES_REMEMBERED_MAX", 3)
    decoder, fresh = make_decoder("influx", LAYOUT), make_decoder("influx", LAYOUT)
    values = [b"m%d,host=h%d v_total=%d 1700000000" % (i % 7, i % 5, i) for i in range(40)]
    assert_batches_do_not_matter(decoder, fresh, values)
