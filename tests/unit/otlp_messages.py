"""Random OTLP messages, the same in all their encodings, and what a plain walk over them finds."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

KEYS = ["a", "http.route", "http.response.status_code", "a.key.of.nineteen", "ä", "other"]
WANTED_STRINGS = ["a", "http.route", "a.key.of.nineteen", "ä", "absent"]
WANTED_NUMBERS = ["http.response.status_code"]

_text = st.one_of(st.sampled_from(["", "x", "/users/{id}", 'quo"te\\', *KEYS]), st.text(max_size=150))
_scalar = st.one_of(
    st.just(AnyValue()),
    st.builds(lambda text: AnyValue(string_value=text), _text),
    st.builds(lambda value: AnyValue(bool_value=value), st.booleans()),
    st.builds(lambda value: AnyValue(int_value=value), st.integers(-(2**63), 2**63 - 1)),
    st.builds(lambda value: AnyValue(int_value=value), st.integers(-200, 600)),
    st.builds(lambda value: AnyValue(double_value=value), st.floats()),
    st.builds(lambda value: AnyValue(bytes_value=value), st.binary(max_size=9)),
)
_value = st.recursive(
    _scalar,
    lambda inner: st.one_of(
        st.builds(
            lambda values: AnyValue(array_value=ArrayValue(values=values)), st.lists(inner, max_size=3)
        ),
        st.builds(
            lambda values: AnyValue(kvlist_value=KeyValueList(values=_pairs(values))),
            st.dictionaries(st.sampled_from(KEYS), inner, max_size=2),
        ),
    ),
    max_leaves=4,
)


def _pairs(values: Mapping[str, AnyValue]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value) for key, value in values.items()]


_attributes = st.one_of(
    st.just([]), st.lists(st.builds(KeyValue, key=st.sampled_from(KEYS), value=_value), max_size=4)
)
_resource = st.builds(Resource, attributes=_attributes)
_scope = st.builds(
    InstrumentationScope,
    name=st.sampled_from(["", "s"]),
    version=st.sampled_from(["", "1"]),
    attributes=_attributes,
)
_time = st.integers(1, 2**61)
_start = st.one_of(st.just(0), _time)
_flags = st.sampled_from([0, 0, 0, 1, 256])
_count = st.one_of(st.integers(0, 3), st.integers(0, 2**40))
_double = st.one_of(st.sampled_from([0.0, 1.0, -2.5, math.nan, math.inf, -math.inf]), st.floats())
_finite = st.floats(-1e9, 1e9)


@st.composite
def _number_points(draw: st.DrawFn) -> NumberDataPoint:
    point = NumberDataPoint(
        attributes=draw(_attributes),
        start_time_unix_nano=draw(_start),
        time_unix_nano=draw(_time),
        flags=draw(_flags),
    )
    match draw(st.integers(0, 4)):
        case 0:
            pass
        case 1 | 2:
            point.as_int = draw(st.integers(-(2**62), 2**62))
        case _:
            point.as_double = draw(_double)
    return point


@st.composite
def _histogram_points(draw: st.DrawFn) -> HistogramDataPoint:
    bounds = sorted(draw(st.lists(_finite, max_size=4, unique=True)))
    counts = draw(
        st.one_of(st.just([]), st.lists(_count, min_size=len(bounds) + 1, max_size=len(bounds) + 1))
    )
    point = HistogramDataPoint(
        attributes=draw(_attributes),
        start_time_unix_nano=draw(_start),
        time_unix_nano=draw(_time),
        flags=draw(_flags),
        count=sum(counts) if counts else draw(_count),
        explicit_bounds=bounds,
        bucket_counts=counts,
    )
    if draw(st.booleans()):
        point.sum = draw(_finite)
    if draw(st.booleans()):
        point.max = draw(_finite)
    return point


@st.composite
def _exponential_points(draw: st.DrawFn) -> ExponentialHistogramDataPoint:
    point = ExponentialHistogramDataPoint(
        attributes=draw(_attributes),
        start_time_unix_nano=draw(_start),
        time_unix_nano=draw(_time),
        flags=draw(_flags),
        scale=draw(st.integers(-10, 20)),
        zero_count=draw(_count),
        count=draw(_count),
        sum=draw(_finite),
    )
    for side in (point.positive, point.negative):
        if draw(st.booleans()):
            side.offset = draw(st.integers(-400, 400))
            side.bucket_counts.extend(draw(st.lists(_count, max_size=12)))
    return point


_summary_points = st.builds(
    SummaryDataPoint,
    attributes=_attributes,
    start_time_unix_nano=_start,
    time_unix_nano=_time,
    flags=_flags,
    count=_count,
    sum=_finite,
)
_temporality = st.sampled_from([0, 1, 2])


@st.composite
def _metrics(draw: st.DrawFn) -> Metric:
    metric = Metric(name=draw(st.sampled_from(["m", "n"])), unit=draw(st.sampled_from(["", "s"])))
    match draw(st.integers(0, 4)):
        case 0:
            metric.gauge.CopyFrom(Gauge(data_points=draw(st.lists(_number_points(), max_size=3))))
        case 1:
            metric.sum.CopyFrom(
                Sum(
                    data_points=draw(st.lists(_number_points(), max_size=3)),
                    aggregation_temporality=draw(_temporality),
                    is_monotonic=draw(st.booleans()),
                )
            )
        case 2:
            metric.histogram.CopyFrom(
                Histogram(
                    data_points=draw(st.lists(_histogram_points(), max_size=3)),
                    aggregation_temporality=draw(_temporality),
                )
            )
        case 3:
            metric.exponential_histogram.CopyFrom(
                ExponentialHistogram(
                    data_points=draw(st.lists(_exponential_points(), max_size=3)),
                    aggregation_temporality=draw(_temporality),
                )
            )
        case _:
            metric.summary.CopyFrom(Summary(data_points=draw(st.lists(_summary_points, max_size=3))))
    return metric


metrics_data = st.builds(
    MetricsData,
    resource_metrics=st.lists(
        st.builds(
            ResourceMetrics,
            resource=_resource,
            scope_metrics=st.lists(
                st.builds(ScopeMetrics, scope=_scope, metrics=st.lists(_metrics(), max_size=3)), max_size=2
            ),
        ),
        max_size=2,
    ),
)

_id16 = st.one_of(st.just(b""), st.binary(min_size=16, max_size=16))
_id8 = st.one_of(st.just(b""), st.binary(min_size=8, max_size=8))
_spans = st.builds(
    Span,
    trace_id=_id16,
    span_id=_id8,
    parent_span_id=_id8,
    trace_state=st.sampled_from(["", "k=v"]),
    flags=_flags,
    name=_text,
    kind=st.integers(0, 5),
    start_time_unix_nano=_start,
    end_time_unix_nano=_time,
    attributes=_attributes,
    events=st.lists(st.builds(Span.Event, name=_text, attributes=_attributes), max_size=1),
    links=st.lists(st.builds(Span.Link, trace_id=_id16), max_size=1),
    status=st.one_of(st.none(), st.builds(Status, message=_text, code=st.integers(0, 2))),
)
traces_data = st.builds(
    TracesData,
    resource_spans=st.lists(
        st.builds(
            ResourceSpans,
            resource=_resource,
            scope_spans=st.lists(
                st.builds(ScopeSpans, scope=_scope, spans=st.lists(_spans, max_size=4)), max_size=2
            ),
        ),
        max_size=2,
    ),
)
_logs = st.builds(
    LogRecord,
    time_unix_nano=_start,
    observed_time_unix_nano=_time,
    severity_number=st.integers(0, 24),
    severity_text=st.sampled_from(["", "", "warn"]),
    body=st.one_of(st.none(), _value),
    attributes=_attributes,
    trace_id=_id16,
    span_id=_id8,
    event_name=_text,
)
logs_data = st.builds(
    LogsData,
    resource_logs=st.lists(
        st.builds(
            ResourceLogs,
            resource=_resource,
            scope_logs=st.lists(
                st.builds(ScopeLogs, scope=_scope, log_records=st.lists(_logs, max_size=4)), max_size=2
            ),
        ),
        max_size=2,
    ),
)


def to_json(
    message: Message, *, snake: bool = False, enum_names: bool = False, numbers: bool = False
) -> bytes:
    """OTLP/JSON of a message: protobuf's own, but with ids in hex.

    snake : names as in the .proto files; enum_names : enumerations by name; numbers : int64 not as text
    """
    plain = MessageToDict(message, preserving_proto_field_name=snake, use_integers_for_enums=not enum_names)
    return json.dumps(_otlp(plain, numbers), ensure_ascii=False).encode()


_IDS = {"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"}

_INTEGERS = {"timeunixnano", "starttimeunixnano", "endtimeunixnano", "observedtimeunixnano", "asint", "count"}
_INTEGERS |= {"zerocount", "bucketcounts", "intvalue"}


def _otlp(value: Any, numbers: bool, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _otlp(item, numbers, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_otlp(item, numbers, name) for item in value]
    if name in _IDS:
        return base64.b64decode(value).hex()
    if numbers and name.replace("_", "").lower() in _INTEGERS and isinstance(value, str):
        return int(value)
    return value


@dataclass(frozen=True)
class Event:
    """What a walk finds of one event.

    rows : value and, of delta and gauge, weight or, of cumulative points, total of each row
    keys : what tells the series of each cumulative row from all others
    """

    time_ms: int
    columns: dict[str, Any]
    rows: list[tuple[float, float]]
    cumulative: bool = False
    start_ms: int = 0
    keys: tuple[str, ...] = ()


def plain_value(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [plain_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return {pair.key: plain_value(pair.value) for pair in value.kvlist_value.values}
        case kind:
            return getattr(value, kind)


def text_of(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(value, default=bytes.hex, ensure_ascii=False, separators=(",", ":"))


def number_of(value: Any) -> float:
    try:
        return float(value) if isinstance(value, bool | int | float | str) else math.nan
    except ValueError:
        return math.nan


def plain_attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: plain_value(pair.value) for pair in pairs}


def _columns(own: dict[str, Any], scope: dict[str, Any], resource: dict[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for key in WANTED_STRINGS:
        texts = [text_of(attributes.get(key)) for attributes in (own, {**resource, **scope})]
        columns[key] = next((text for text in texts if text is not None), None)
    for key in WANTED_NUMBERS:
        numbers = [number_of(attributes.get(key)) for attributes in (own, {**resource, **scope})]
        columns[key] = next((number for number in numbers if not math.isnan(number)), None)
    columns["resource.a"] = text_of(resource.get("a"))
    return columns


def walk_metrics(data: MetricsData) -> Iterator[Event]:
    for resource in data.resource_metrics:
        shared = plain_attributes(resource.resource.attributes)
        for scope in resource.scope_metrics:
            scoped = plain_attributes(scope.scope.attributes)
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind is None:
                    continue
                body = getattr(metric, kind)
                temporality = getattr(body, "aggregation_temporality", 2)
                cumulative = (
                    temporality != 1 and kind != "gauge" and not (kind == "sum" and not body.is_monotonic)
                )
                for point in body.data_points:
                    own = plain_attributes(point.attributes)
                    columns = _columns(own, scoped, shared)
                    columns |= {"metric": metric.name, "unit": metric.unit, "type": kind}
                    counts_once = kind == "gauge" or (kind == "sum" and not body.is_monotonic)
                    rows, buckets = _rows(kind, point, cumulative, counts_once)
                    # A running total that is no number cannot be compared with the next one.
                    counting = cumulative and not point.flags & 1 and not math.isnan(rows[0][1])
                    if cumulative and not counting:
                        rows = [(rows[0][0], 0)]
                    start = point.start_time_unix_nano
                    attributes = [sorted(found.items()) for found in (shared, scoped, own)]
                    name = (scope.scope.name, scope.scope.version, metric.name, kind, cumulative)
                    series = repr((attributes, name))
                    yield Event(
                        point.time_unix_nano // 10**6,
                        columns,
                        rows,
                        counting,
                        start // 10**6 if start != point.time_unix_nano else 0,
                        tuple(series + repr(bucket) for bucket in buckets) if counting else (),
                    )


def _rows(
    kind: str, point: Any, cumulative: bool, counts_once: bool
) -> tuple[list[tuple[float, float]], list[Any]]:
    """Rows and what names their buckets."""
    if point.flags & 1:
        return [(math.nan, 0)], [None]
    if kind in ("gauge", "sum"):
        value = float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)
        if counts_once:
            return [(value, 1)], [None]
        if cumulative:
            value = value if math.isfinite(value) else math.nan
            return [(value, value)], [None]
        weight = 0 if math.isnan(value) else round(min(max(value, 0.0), 2.0**62))
        return [(value, weight)], [None]
    has_sum = kind == "summary" or point.HasField("sum")
    mean = point.sum / point.count if point.count and has_sum else math.nan
    if kind == "exponential_histogram":
        found = _exponential(point, cumulative)
        bare = not point.zero_count and not point.positive.bucket_counts and not point.negative.bucket_counts
    elif kind == "histogram":
        bounds = list(point.explicit_bounds)
        top = point.max if point.HasField("max") else bounds[-1] if bounds else math.nan
        found = {
            (bounds[i] if i < len(bounds) else math.inf, *bounds): ([*bounds, top][i], count)
            for i, count in enumerate(point.bucket_counts)
            if count
        }
        bare = not point.bucket_counts
    else:
        found, bare = {}, True
    if not found:
        return [(mean, point.count) if bare else (math.nan, 0)], ["nothing"]
    return list(found.values()), list(found)


def _exponential(point: ExponentialHistogramDataPoint, cumulative: bool) -> dict[Any, tuple[float, float]]:
    found: dict[Any, tuple[float, float]] = {}
    scale = min(point.scale, 3) if cumulative else point.scale
    for sign, side in ((-1, point.negative), (1, point.positive)):
        for i, count in enumerate(side.bucket_counts):
            index = (side.offset + i) >> (point.scale - scale)
            exponent = (index + 1) * 2.0**-scale
            upper = 2.0**exponent if exponent < 1024 else 1.7976931348623157e308
            if count:
                key = (scale, sign, index)
                found[key] = (sign * upper, count + found.get(key, (0, 0))[1])
        if sign < 0 and point.zero_count:
            found[scale, 0] = (0.0, point.zero_count)
    return found


_SEVERITIES = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]


def walk_spans(data: TracesData) -> Iterator[Event]:
    for resource in data.resource_spans:
        shared = plain_attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            scoped = plain_attributes(scope.scope.attributes)
            for span in scope.spans:
                columns = _columns(plain_attributes(span.attributes), scoped, shared)
                start, end = span.start_time_unix_nano, span.end_time_unix_nano
                columns |= {
                    "name": span.name or None,
                    "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    "duration": max(end - start, 0) / 1e9 if start else None,
                    "status": ["UNSET", "OK", "ERROR"][span.status.code],
                    "status_message": span.status.message or None,
                    "trace_id": span.trace_id.hex() or None,
                    "span_id": span.span_id.hex() or None,
                    "parent_span_id": span.parent_span_id.hex() or None,
                    "scope": scope.scope.name,
                }
                yield Event(end // 10**6, columns, [(1, 1)])


def walk_logs(data: LogsData) -> Iterator[Event]:
    for resource in data.resource_logs:
        shared = plain_attributes(resource.resource.attributes)
        for scope in resource.scope_logs:
            scoped = plain_attributes(scope.scope.attributes)
            for log in scope.log_records:
                columns = _columns(plain_attributes(log.attributes), scoped, shared)
                level, step = divmod(log.severity_number - 1, 4)
                named = _SEVERITIES[level] + (str(step + 1) if step else "") if log.severity_number else None
                columns |= {
                    "body": text_of(plain_value(log.body)),
                    "severity": log.severity_text or named,
                    "severity_number": float(log.severity_number),
                    "trace_id": log.trace_id.hex() or None,
                    "span_id": log.span_id.hex() or None,
                    "event_name": log.event_name or None,
                    "scope": scope.scope.name,
                }
                time_ns = log.time_unix_nano or log.observed_time_unix_nano
                yield Event(time_ns // 10**6, columns, [(1, 1)])
