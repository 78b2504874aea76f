"""OTLP by its behaviours: captures of a real Collector, names and places of columns, what is dead and why."""

from __future__ import annotations

import base64
import gzip
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from streams.decode.otlp.otlp import make_json, make_proto
from streams.events.batch import Counters, EventBatch, Field, Layout, Records
from tests.unit.decoding import ARRIVED_MS, columns, decode, reasons, records_of, with_increases
from tests.unit.otlp_messages import metrics_data, to_json, traces_data

SECOND = 10**9
CUMULATIVE = "AGGREGATION_TEMPORALITY_CUMULATIVE"
NOW = 1_700_000_000 * SECOND


def metrics_of(*points: dict[str, Any], kind: str = "gauge", **body: Any) -> dict[str, Any]:
    """OTLP/JSON of one metric `m`."""
    metric = {"name": "m", kind: {"dataPoints": list(points), **body}}
    return {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}


def decode_metrics(*records: dict[str, Any], **layout: Any) -> EventBatch:
    wanted = layout.pop("wanted", {"value": "number"})
    return decode("otlp_json", [json.dumps(record) for record in records], wanted, signal="metrics", **layout)


def proto_of(record: dict[str, Any]) -> bytes:
    """The same metrics in protobuf."""
    return bytes(ParseDict(record, MetricsData()).SerializeToString())


def counters_of(batch: EventBatch) -> Counters:
    assert batch.counters is not None
    return batch.counters


@pytest.mark.parametrize(("signal", "name"), [("metrics", "metrics"), ("logs", "logs"), ("spans", "traces")])
@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json", "otlp_proto-zstd-keyed"])
def test_captures_of_a_collector_give_their_truth(
    data_dir: Path, signal: Any, name: str, encoding: str
) -> None:
    records, truth = read_capture(data_dir, f"otel-{name}-{encoding}")
    make = make_json if encoding == "otlp_json" else make_proto
    wanted = {"metric": "string", "type": "string", "severity_number": "number", "service.name": "string",
              "kind": "string", "status": "string", "duration": "number"}  # fmt: skip
    batch = make(Layout(wanted=wanted, signal=signal)).decode(records)  # type: ignore[arg-type]
    assert batch.event_count == truth["total"]
    assert not batch.dead
    assert batch.skipped == 0
    table = columns(batch)
    counts: dict[str, int] = {}
    heads = range(len(batch)) if batch.head is None else np.flatnonzero(batch.head).tolist()
    for row in heads:
        if signal == "metrics":
            kind = table["type"][row]
            key = f"{table['metric'][row]} {kind if encoding != 'otlp_json' else camel(kind)}"
        elif signal == "logs":
            key = f"severity {table['severity_number'][row]:.0f}"
        else:
            status = ["UNSET", "OK", "ERROR"].index(table["status"][row])
            key = f"{table['service.name'][row]} {table['kind'][row]} status {status}"
        counts[key] = counts.get(key, 0) + 1
    assert counts == truth["counts"]
    if signal == "spans":
        assert sum(table["duration"]) * SECOND == pytest.approx(truth["duration_ns"])


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def read_capture(data_dir: Path, name: str) -> tuple[Records, Any]:
    with gzip.open(data_dir / "wire" / f"{name}.jsonl.gz") as lines:
        values = [base64.b64decode(json.loads(line)["value_b64"]) for line in lines]
    return records_of(values), json.loads((data_dir / "wire" / f"{name}.truth.json").read_text())


def test_an_explicit_histogram_is_a_row_per_filled_bucket() -> None:
    point = {
        "timeUnixNano": NOW,
        "bucketCounts": ["1", "0", "3", "4"],
        "explicitBounds": [0.1, 0.2, 0.5],
        "count": 8,
    }
    batch = decode_metrics(metrics_of(point, {**point, "max": 9}, kind="histogram", aggregationTemporality=1))
    assert columns(batch) == {"value": [0.1, 0.5, 0.5, 0.1, 0.5, 9.0]}
    assert batch.weight is not None
    assert batch.head is not None
    assert batch.weight.tolist() == [1, 3, 4] * 2
    assert batch.head.tolist() == [True, False, False] * 2
    assert batch.counters is None


def test_an_exponential_histogram_has_exact_bounds_on_both_sides_of_zero() -> None:
    point = {
        "timeUnixNano": NOW,
        "scale": 1,
        "zeroCount": 5,
        "positive": {"offset": -2, "bucketCounts": [1, 0, 2]},
        "negative": {"offset": 0, "bucketCounts": [3]},
    }
    batch = decode_metrics(metrics_of(point, kind="exponentialHistogram", aggregationTemporality=1))
    root = math.sqrt(2)
    assert columns(batch)["value"] == pytest.approx([-root, 0.0, 1 / root, root])
    assert batch.weight is not None
    assert batch.weight.tolist() == [3, 5, 1, 2]


def test_a_change_of_scale_above_the_kept_one_keeps_cumulative_series() -> None:
    def point(seconds: int, scale: int, offset: int, counts: list[int]) -> dict[str, Any]:
        side = {"offset": offset, "bucketCounts": counts}
        return {"timeUnixNano": NOW + seconds * SECOND, "scale": scale, "positive": side}

    fine = point(0, 5, 4, [1, 1, 1, 1])  # at scale 3: all in bucket 1
    coarse = point(1, 3, 1, [6, 2])
    record = metrics_of(fine, coarse, kind="exponentialHistogram", aggregationTemporality=2)
    batch = with_increases(decode_metrics(record))
    assert batch.weight is not None
    assert batch.weight.tolist() == [0, 2, 2]
    assert columns(batch)["value"] == pytest.approx([2 ** (2 / 8), 2 ** (2 / 8), 2 ** (3 / 8)])


def test_over_a_scale_below_the_kept_one_the_count_stays_exact() -> None:
    def point(seconds: int, scale: int, counts: list[int]) -> dict[str, Any]:
        time_ns = NOW + seconds * SECOND
        side = {"offset": 1, "bucketCounts": counts}
        return {"timeUnixNano": time_ns, "startTimeUnixNano": NOW, "scale": scale, "positive": side}

    points = point(1, 3, [6]), point(2, 2, [4, 8]), point(3, 2, [5, 8])
    record = metrics_of(*points, kind="exponentialHistogram", aggregationTemporality=2)
    batch = with_increases(decode_metrics(record))
    assert batch.weight is not None
    assert batch.weight.tolist() == [6, 2, 4, 1, 0]


@pytest.mark.parametrize(
    ("kind", "body", "weights", "values"),
    [
        ("gauge", {}, [1, 1], [2.5, 4.0]),
        ("sum", {"aggregationTemporality": 1}, [1, 1], [2.5, 4.0]),
        ("sum", {"aggregationTemporality": 1, "isMonotonic": True}, [2, 4], [2.5, 4.0]),
        ("sum", {"aggregationTemporality": 2, "isMonotonic": True}, [0, 2], [0.0, 1.5]),
        ("sum", {"aggregationTemporality": CUMULATIVE, "isMonotonic": True}, [0, 2], [0.0, 1.5]),
    ],
)  # fmt: skip
def test_what_a_number_weighs_depends_on_its_metric(
    kind: str, body: dict[str, Any], weights: list[int], values: list[float]
) -> None:
    points = [{"timeUnixNano": NOW, "asDouble": 2.5}, {"timeUnixNano": NOW + SECOND, "asInt": "4"}]
    batch = with_increases(decode_metrics(metrics_of(*points, kind=kind, **body)))
    assert batch.weight is not None
    assert batch.weight.tolist() == weights
    assert columns(batch)["value"] == values


def test_a_summary_counts_its_mean() -> None:
    points = [
        {"timeUnixNano": NOW, "startTimeUnixNano": NOW - SECOND, "count": "4", "sum": 2.0},
        {"timeUnixNano": NOW + SECOND, "startTimeUnixNano": NOW - SECOND, "count": "10", "sum": 20.0},
    ]
    batch = with_increases(decode_metrics(metrics_of(*points, kind="summary")))
    assert batch.weight is not None
    assert batch.weight.tolist() == [4, 6]
    assert columns(batch)["value"] == [0.5, 2.0]


def test_no_recorded_value_is_an_event_without_weight_that_resets_nothing() -> None:
    points = [
        {"timeUnixNano": NOW, "asInt": 5},
        {"timeUnixNano": NOW + SECOND, "flags": 1},
        {"timeUnixNano": NOW + 2 * SECOND, "asInt": 7},
    ]
    record = metrics_of(*points, kind="sum", aggregationTemporality=2, isMonotonic=True)
    batch = with_increases(decode_metrics(record))
    assert batch.event_count == 3
    assert batch.weight is not None
    assert batch.weight.tolist() == [0, 0, 2]
    assert columns(batch)["value"] == [0.0, None, 2.0]


def test_a_point_that_begins_at_its_own_time_does_not_know_its_start() -> None:
    point = {"timeUnixNano": NOW, "startTimeUnixNano": NOW, "asInt": 500}
    batch = decode_metrics(metrics_of(point, kind="sum", aggregationTemporality=2, isMonotonic=True))
    assert counters_of(batch).start_ms.tolist() == [0]


def test_the_nearest_attribute_wins_and_resource_can_be_asked_for() -> None:
    def attributes(**values: str) -> list[dict[str, Any]]:
        return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]

    spans = [
        {"name": "s", "endTimeUnixNano": NOW, "attributes": attributes(x="span", y="span")},
        {"name": "s", "endTimeUnixNano": NOW},
    ]
    scope = {"scope": {"name": "lib", "attributes": attributes(x="scope")}, "spans": spans}
    resource = {"resource": {"attributes": attributes(x="resource", z="resource")}, "scopeSpans": [scope]}
    batch = decode(
        "otlp_json",
        [json.dumps({"resourceSpans": [resource]})],
        {
            "x": "string",
            "y": "string",
            "z": "string",
            "resource.x": "string",
            "scope": "string",
            "of": "string",
        },
        {"of": Field("resource.z")},
        signal="spans",
    )
    assert columns(batch) == {
        "x": ["span", "scope"],
        "y": ["span", None],
        "z": ["resource", "resource"],
        "resource.x": ["resource", "resource"],
        "scope": ["lib", "lib"],
        "of": ["resource", "resource"],
    }


def test_a_mapped_value_is_scaled_and_stays_a_counter() -> None:
    points = [{"timeUnixNano": NOW, "asInt": 1000}, {"timeUnixNano": NOW + SECOND, "asInt": 4000}]
    record = metrics_of(*points, kind="sum", aggregationTemporality=2, isMonotonic=True)
    batch = decode_metrics(record, wanted={"busy": "number"}, fields={"busy": Field("value", 0.001)})
    assert columns(batch) == {"busy": [1.0, 4.0]}
    assert columns(with_increases(batch)) == {"busy": [0.0, 3.0]}


def test_the_record_s_own_time_can_be_taken() -> None:
    batch = decode_metrics(metrics_of({"asInt": 1}), metrics_of({"timeUnixNano": NOW}), time_format="record")
    assert batch.time_ms.tolist() == [ARRIVED_MS, ARRIVED_MS + 1]


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ([{"key": "a"}], None),
        (None, None),
        ([7], "dead"),
        ("a", "dead"),
        ([{"key": 7, "value": {}}], "dead"),
        ([{"key": "a", "value": {"intValue": "x"}}], "dead"),
        ([{"key": "a", "value": 5}], "dead"),
    ],
)
def test_attributes_of_a_span_that_are_none_or_no_attributes(attributes: Any, found: str | None) -> None:
    spans = [{"endTimeUnixNano": NOW, "attributes": attributes}, {"endTimeUnixNano": NOW}]
    record = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    batch = decode("otlp_json", [json.dumps(record)], {"a": "string"}, signal="spans")
    assert reasons(batch) == ([(0, "bad_json")] if found == "dead" else [])
    assert columns(batch) == {"a": [None] if found == "dead" else [None, None]}


def test_ids_in_hex_of_either_case_or_in_base64_are_the_same() -> None:
    ids = ["5B8EFFF798038103D269B633813FC60C", base64.b64encode(bytes(range(16))).decode(), ""]
    spans = [{"endTimeUnixNano": NOW, "traceId": id_} for id_ in ids]
    record = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    batch = decode("otlp_json", [json.dumps(record)], {"trace_id": "string"}, signal="spans")
    assert columns(batch)["trace_id"] == [ids[0].lower(), bytes(range(16)).hex(), None]


def test_a_bad_point_in_json_costs_only_itself() -> None:
    good = {"timeUnixNano": NOW, "asInt": "1"}
    bad = [
        {"timeUnixNano": "soon"},
        {"timeUnixNano": NOW, "asInt": "1.5x"},
        {"timeUnixNano": NOW, "attributes": [7]},
        {"timeUnixNano": NOW, "attributes": [{"key": "a", "value": {"intValue": "x"}}]},
        "not a point",
        {"asInt": 1},
    ]
    batch = decode_metrics(metrics_of(good, *bad, good), metrics_of(good))  # type: ignore[arg-type]
    assert batch.record.tolist() == [0, 0, 1]
    assert sorted(reasons(batch)) == [(0, "bad_json")] * 5 + [(0, "missing_time")]


@pytest.mark.parametrize(
    "point",
    [
        {"bucketCounts": [1, 2], "explicitBounds": []},
        {"bucketCounts": [1], "explicitBounds": [1, 2]},
        {"bucketCounts": ["x"], "explicitBounds": []},
        {"bucketCounts": ["1,2"], "explicitBounds": [1]},
        {"bucketCounts": [[1], 2], "explicitBounds": [1]},
        {"bucketCounts": [1.5, 2], "explicitBounds": [1]},
        {"bucketCounts": [-1, 2], "explicitBounds": [1]},
        {"bucketCounts": {}, "explicitBounds": [1]},
        {"bucketCounts": [1, 2], "explicitBounds": ["x"]},
        {"bucketCounts": [1, 2], "explicitBounds": 7},
    ],
)
def test_a_histogram_whose_lists_are_wrong_is_dead(point: dict[str, Any]) -> None:
    good = {"timeUnixNano": NOW, "bucketCounts": ["7", "8"], "explicitBounds": ["0.5"]}
    record = metrics_of({"timeUnixNano": NOW, **point}, good, kind="histogram", aggregationTemporality=1)
    batch = decode_metrics(record)
    assert reasons(batch) == [(0, "bad_json")]
    assert batch.weight is not None
    assert batch.weight.tolist() == [7, 8]


def test_a_bad_point_in_protobuf_costs_only_itself() -> None:
    data = MetricsData()
    body = data.resource_metrics.add().scope_metrics.add().metrics.add(name="m").gauge
    for index in range(3):
        body.data_points.add(time_unix_nano=NOW, as_int=index)
    value = data.SerializeToString()
    point = body.data_points[1].SerializeToString()
    # The time's tag becomes that of a field of no wire type; the lengths around stay right.
    broken = value.replace(point, bytes([point[0] | 7]) + point[1:])
    batch = decode("otlp_proto", [broken, value], {"value": "number"}, signal="metrics")
    assert reasons(batch) == [(0, "bad_protobuf")]
    assert columns(batch)["value"] == [0.0, 2.0, 0.0, 1.0, 2.0]


def test_a_bad_metric_or_scope_in_protobuf_leaves_those_beside_it() -> None:
    data = MetricsData()
    scopes = data.resource_metrics.add().scope_metrics
    for name in ("one", "two"):
        metric = scopes.add().metrics.add(name=name)
        metric.gauge.data_points.add(time_unix_nano=NOW, as_int=1)
    value = data.SerializeToString()
    for broken in (value.replace(b"\n\x03one", b"\n\x7fone"), value.replace(b"\n\x03one", b"\x0f\x03one")):
        batch = decode("otlp_proto", [broken], {"metric": "string"}, signal="metrics")
        assert reasons(batch) == [(0, "bad_protobuf")]
        assert columns(batch)["metric"] == ["two"]


@settings(max_examples=100)
@given(message=traces_data, data=st.data())
def test_unknown_fields_are_passed_over(message: Any, data: st.DataObject) -> None:
    unknown = data.draw(st.sampled_from([b"\xd0\x3f\x96\x01", b"\xd1\x3f" + bytes(8), b"\xd5\x3f" + bytes(4),
                                         b"\xd2\x3f\x03abc", b"\xfa\xff\xff\xff\x0f\x00"]))  # fmt: skip
    plain = message.SerializeToString()
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.MergeFromString(unknown)
                span.status.MergeFromString(unknown)
                for pair in span.attributes:
                    pair.MergeFromString(unknown)
                    pair.value.MergeFromString(unknown)
            scope.MergeFromString(unknown)
        resource.MergeFromString(unknown)
    message.MergeFromString(unknown)
    wanted = {"name": "string", "a": "string", "status": "string", "http.response.status_code": "number"}
    expected = decode("otlp_proto", [plain], wanted, signal="spans")  # type: ignore[arg-type]
    found = decode("otlp_proto", [message.SerializeToString()], wanted, signal="spans")  # type: ignore[arg-type]
    assert found.event_count == expected.event_count
    assert not found.dead or (not plain and reasons(found) == [(0, "bad_protobuf")])
    assert repr(columns(found)) == repr(columns(expected))


def test_unpacked_counts_and_split_attributes_are_read_as_packed_ones() -> None:
    first, second = (_field(9, _field(1, name) + _field(2, _field(1, text))) for name, text in PAIRS)
    counts = [_tag(6, 1) + count.to_bytes(8, "little") for count in (1, 2)]
    bound = _tag(7, 1) + struct.pack("<d", 0.5)
    time = _tag(3, 1) + NOW.to_bytes(8, "little")
    point = first + counts[0] + bound + time + counts[1] + second
    value = _field(1, _field(2, _field(2, _field(9, _field(1, point) + b"\x10\x01"))))
    assert MetricsData.FromString(value).resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points
    batch = decode("otlp_proto", [value], {"value": "number", "a": "string", "b": "string"}, signal="metrics")
    assert not batch.dead
    assert columns(batch) == {"value": [0.5, 0.5], "a": ["x", "x"], "b": ["y", "y"]}
    assert batch.weight is not None
    assert batch.weight.tolist() == [1, 2]


PAIRS = ((b"a", b"x"), (b"b", b"y"))


def _field(number: int, content: bytes) -> bytes:
    return _tag(number, 2) + _varint(len(content)) + content


def test_a_varint_that_a_record_cuts_off_does_not_go_on_in_the_next_one() -> None:
    decoder = make_proto(Layout(wanted={"name": "string"}, signal="spans"))
    cut_off, overlong = b"\x80\x80", b"\x80" * 12
    alone = [decoder.decode(records_of([value])).dead[0].detail for value in (cut_off, overlong)]
    assert [dead.detail for dead in decoder.decode(records_of([cut_off, overlong])).dead] == alone
    assert alone[0] != alone[1]


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


@settings(max_examples=150)
@given(message=metrics_data, cut=st.floats(0, 1))
def test_a_record_cut_short_is_dead_and_its_neighbours_are_not(message: Any, cut: float) -> None:
    whole = message.SerializeToString()
    good = metrics_of({"timeUnixNano": NOW, "asInt": 3})
    short = whole[: int(len(whole) * cut)]
    batch = decode(
        "otlp_proto", [proto_of(good), short, proto_of(good)], {"value": "number"}, signal="metrics"
    )
    assert columns(batch)["value"][0] == columns(batch)["value"][-1] == 3.0
    expected = not (len(short) == len(whole) or not short or _parses(short))
    assert ((1, "bad_protobuf") in reasons(batch)) == expected
    text = to_json(message)
    batch = decode(
        "otlp_json",
        [text[: int(len(text) * cut)], json.dumps(good).encode()],
        {"value": "number"},
        signal="metrics",
    )
    assert columns(batch)["value"][-1] == 3.0
    assert reasons(batch) == ([(0, "bad_json")] if int(len(text) * cut) < len(text) else [])


def _parses(value: bytes) -> bool:
    try:
        MetricsData.FromString(value)
    except DecodeError:
        return False
    return True


@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
def test_names_of_attribute_sets_are_forgotten_before_they_fill_the_memory(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("proto", "json_metrics"):
        monkeypatch.setattr(f"streams.decode.otlp.{module}.SETS_MAX", 50)
    make = make_proto if encoding == "otlp_proto" else make_json
    decoder = make(Layout(wanted={"value": "number", "user": "string"}, signal="metrics"))
    for batch_index in range(20):
        names = [f"u{batch_index}-{i}" for i in range(20)]
        points = [
            {"timeUnixNano": NOW, "asInt": 1, "attributes": [{"key": "user", "value": {"stringValue": name}}]}
            for name in names
        ]
        record = metrics_of(*points)
        value = proto_of(record) if encoding == "otlp_proto" else json.dumps(record).encode()
        assert columns(decoder.decode(records_of([value])))["user"] == names
        assert len(decoder._sets) <= 50 + 20  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"signal": None}, "expected signal: metrics, logs or spans"),
        ({"signal": "logs", "time_field": "ts"}, "found field 'ts'"),
        ({"signal": "logs", "time_format": "epoch_s"}, "format 'epoch_s'"),
    ],
)
@pytest.mark.parametrize("make", [make_proto, make_json])
def test_layouts_that_do_not_fit_the_protocol_are_refused(make: Any, layout: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(Layout(wanted={}, **layout))
