"""Formats `ecs`, `pino`, `fluentbit`, `debezium`: well-known columns, times, and what wraps an event."""

from __future__ import annotations

import json

import pytest

from streams.events.batch import Field, Kind
from tests.unit.decoding import ARRIVED_MS, columns, decode, reasons
from tests.unit.metric_decoding import GOLDEN, assert_golden

S: Kind = "string"
N: Kind = "number"
TIME_MS = 1_704_067_200_500
ISO = "2024-01-01T00:00:00.500Z"


def test_ecs_nested_and_dotted_logs_give_the_same_columns() -> None:
    nested = {
        "@timestamp": ISO,
        "log": {"level": "error"},
        "message": "boom",
        "trace": {"id": "abc"},
        "service": {"name": "shop"},
        "http": {"request": {"method": "GET"}, "response": {"status_code": 503, "body": {"bytes": 12}}},
        "url": {"path": "/a", "query": "b=1"},
        "source": {"ip": "192.0.2.1"},
        "event": {"duration": 1_500_000_000},
        "labels": {"team": "red"},
    }
    dotted = {
        "@timestamp": ISO,
        "log.level": "error",
        "message": "boom",
        "trace.id": "abc",
        "service.name": "shop",
        "http.request.method": "GET",
        "http.response.status_code": 503,
        "http.response.body.bytes": 12,
        "url.path": "/a",
        "url.query": "b=1",
        "source.ip": "192.0.2.1",
        "event.duration": 1_500_000_000,
        "labels.team": "red",
    }
    expected = {
        "severity": "error",
        "body": "boom",
        "trace_id": "abc",
        "service": "shop",
        "method": "GET",
        "status": 503.0,
        "bytes": 12.0,
        "path": "/a",
        "query": "b=1",
        "client": "192.0.2.1",
        "duration": 1.5,
        "labels.team": "red",
        "event.duration": 1.5e9,
    }
    wanted = {name: S if isinstance(value, str) else N for name, value in expected.items()}
    batch = decode("ecs", [json.dumps(nested), json.dumps(dotted)], wanted)
    assert columns(batch) == {name: [value, value] for name, value in expected.items()}
    assert batch.time_ms.tolist() == [TIME_MS, TIME_MS]


def test_a_declared_field_goes_before_the_formats_own_place() -> None:
    fields = {"severity": Field("labels.sev"), "duration": Field("took", 0.001)}
    line = '{"log.level":"error","labels":{"sev":"high"},"event":{"duration":5},"took":20}'
    batch = decode("ecs", [line], {"severity": S, "duration": N}, fields)
    assert columns(batch) == {"severity": ["high"], "duration": [0.02]}


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (10, "trace"),
        (20, "debug"),
        (30, "info"),
        (40, "warn"),
        (50, "error"),
        (60, "fatal"),
        (35, "35"),
        ("info", "info"),
    ],
)
def test_pino_levels_have_names(level: int | str, name: str) -> None:
    batch = decode("pino", [json.dumps({"level": level, "time": TIME_MS})], {"severity": S, "level": S})
    assert columns(batch) == {"severity": [name], "level": [str(level)]}
    assert batch.time_ms.tolist() == [TIME_MS]


def test_pino_http_logs_are_requests() -> None:
    line = {
        "level": 30,
        "time": TIME_MS,
        "hostname": "h1",
        "name": "shop",
        "traceId": "abc",
        "req": {"method": "GET", "url": "/a?b=1", "remoteAddress": "::1", "headers": {"user-agent": "curl"}},
        "res": {"statusCode": 500},
        "responseTime": 12,
        "msg": "request errored",
    }
    expected = {
        "method": "GET",
        "path": "/a",
        "client": "::1",
        "agent": "curl",
        "status": 500.0,
        "duration": 0.012,
        "body": "request errored",
        "service": "shop",
        "host": "h1",
        "trace_id": "abc",
    }
    wanted = {name: S if isinstance(value, str) else N for name, value in expected.items()}
    assert columns(decode("pino", [json.dumps(line)], wanted)) == {name: [v] for name, v in expected.items()}


@pytest.mark.parametrize(
    ("record", "bodies"),
    [
        ('{"@timestamp":1704067200.5,"log":"a"}', ["a"]),
        ('{"date":1704067200.5,"message":"a","time":"2020-01-01T00:00:00Z"}', ["a"]),
        ('{"date":"2024-01-01T00:00:00.500000Z","MESSAGE":"a"}', ["a"]),
        ('[1704067200.5,{"log":"a","time":"2020-01-01T00:00:00Z"}]', ["a"]),
        ('[[1704067200.5,{"log":"a"}],[1704067200.5,{"log":"b"}]]', ["a", "b"]),
        ('[[1704067200.5,{"meta":1}],{"log":"a"}]', ["a"]),
        ('[[[1704067200.5,{}],{"log":"a"}],[[1704067200.5,{}],{"log":"b"}]]', ["a", "b"]),
        ('[{"date":1704067200.5,"log":"a"},{"date":1704067200.5,"log":"b"}]', ["a", "b"]),
        ('{"date":1704067200.5,"log":"a"}\n{"date":1704067200.5,"log":"b"}', ["a", "b"]),
    ],
)
def test_fluent_bit_writes_times_in_several_ways(record: str, bodies: list[str]) -> None:
    batch = decode("fluentbit", [record, record], {"body": S})
    assert columns(batch)["body"] == bodies * 2
    assert set(batch.time_ms.tolist()) == {TIME_MS}
    assert reasons(batch) == []


def test_fluent_bit_pairs_that_are_none_are_dead_beside_good_ones() -> None:
    batch = decode(
        "fluentbit", ['[[1704067200.5,{"log":"a"}],7]', '[["noon",{"log":"b"}]]', "["], {"body": S}
    )
    assert columns(batch)["body"] == ["a"]
    assert reasons(batch) == [(0, "not_an_object"), (1, "bad_time"), (2, "bad_json")]


def change(op: str, before: object, after: object, **envelope: object) -> dict[str, object]:
    source = {"table": "orders", "ts_ms": TIME_MS - 1000}
    return {"before": before, "after": after, "source": source, "op": op, "ts_ms": TIME_MS} | envelope


SCHEMA = {
    "type": "struct",
    "fields": [{"type": "int32", "optional": False, "field": "id"}],
    "optional": False,
}
CHANGES = [
    change("c", None, {"id": 1, "total": 2.5}),
    change("u", {"id": 1, "total": 2.5}, {"id": 1, "total": None}),
    change("d", {"id": 1, "total": 7}, None),
    change("r", None, {"id": 2, "total": "9.25"}),
]
CHANGE_COLUMNS = {
    "id": [1.0, 1.0, 1.0, 2.0],
    "total": [2.5, None, 7.0, 9.25],
    "op": ["c", "u", "d", "r"],
    "source.table": ["orders"] * 4,
    "before.total": [None, 2.5, 7.0, None],
}
CHANGE_WANTED: dict[str, Kind] = {"id": N, "total": N, "op": S, "source.table": S, "before.total": N}


@pytest.mark.parametrize("with_schema", [False, True])
def test_debezium_columns_are_the_rows_then_the_envelopes(with_schema: bool) -> None:
    events = [{"schema": SCHEMA, "payload": one} if with_schema else one for one in CHANGES]
    batch = decode("debezium", list(map(json.dumps, events)), CHANGE_WANTED)
    assert columns(batch) == CHANGE_COLUMNS
    assert set(batch.time_ms.tolist()) == {TIME_MS}


def test_debezium_with_and_without_schema_may_be_mixed() -> None:
    events = [CHANGES[0], {"schema": SCHEMA, "payload": CHANGES[2]}]
    batch = decode("debezium", list(map(json.dumps, events)), {"id": N, "total": N, "op": S})
    assert columns(batch) == {"id": [1.0, 1.0], "total": [2.5, 7.0], "op": ["c", "d"]}


def test_debezium_tombstones_are_skipped() -> None:
    records = [json.dumps(CHANGES[0]), None, '{"schema":null,"payload":null}', json.dumps(CHANGES[2])]
    batch = decode("debezium", records, {"id": N})
    assert batch.record.tolist() == [0, 3]
    assert batch.skipped == 2
    assert reasons(batch) == []


def test_debezium_flattened_rows_have_columns_at_the_top() -> None:
    batch = decode(
        "debezium", ['{"id":7,"__op":"u","payload":null}', '{"id":8,"payload":"x"}'], {"id": N, "__op": S}
    )
    assert columns(batch) == {"id": [7.0, 8.0], "__op": ["u", None]}
    assert batch.time_ms.tolist() == [ARRIVED_MS, ARRIVED_MS + 1]


@pytest.mark.parametrize("path", ["payload.after.at", "after.at", "at"])
def test_debezium_paths_may_be_written_from_anywhere(path: str) -> None:
    plain = change("c", None, {"id": 1, "at": 1_600_000_000_000_000})
    events = [json.dumps(plain), json.dumps({"schema": SCHEMA, "payload": plain})]
    batch = decode("debezium", events, {"x": N}, {"x": Field(path)}, time_field=path)
    assert columns(batch)["x"] == [1.6e15, 1.6e15]
    assert batch.time_ms.tolist() == [1_600_000_000_000] * 2


def test_debezium_finds_deletes_whatever_else_is_wanted() -> None:
    records = [json.dumps(CHANGES[2])]
    assert columns(decode("debezium", records, {"total": N}, time_format="record"))["total"] == [7.0]
    assert len(decode("debezium", records, {}, time_format="record")) == 1
    assert columns(decode("debezium", records, {"op": N, "total": N}))["total"] == [7.0]


GOLDEN_WANTED: dict[str, dict[str, Kind]] = {
    "pino/pino-10.4": {
        "severity": S,
        "body": S,
        "service": S,
        "host": S,
        "trace_id": S,
        "method": S,
        "path": S,
        "status": N,
        "duration": N,
        "client": S,
        "agent": S,
        "err.type": S,
        "order.total": N,
    },
    "ecs/ecs-logging-2.3": {
        "severity": S,
        "body": S,
        "service": S,
        "trace_id": S,
        "method": S,
        "path": S,
        "query": S,
        "status": N,
        "bytes": N,
        "duration": N,
        "client": S,
        "error.type": S,
        "labels.team": S,
    },
}


@pytest.mark.parametrize("name", GOLDEN_WANTED)
def test_what_the_libraries_write_is_read(name: str, update_golden: bool) -> None:
    lines = (GOLDEN / f"{name}.jsonl").read_bytes().splitlines()
    batch = decode(name.partition("/")[0], lines, GOLDEN_WANTED[name])
    assert_golden(batch, f"{name}.events.jsonl", update_golden)
