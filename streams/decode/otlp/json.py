"""OTLP in JSON: the messages as msgspec types, and a reader for records that do not fit these.

The types know every field of the protocol under its lowerCamelCase name, and refuse all others. What they
refuse (names in snake case, fields of a later version, one bad value) is read a second time, slowly, leaf by
leaf, so that good events beside a bad one are kept. Attributes, resources and scopes stay raw bytes: they
repeat, and are decoded once by `otlp_names`; bucket counts do too, to be read all at once.
Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

from msgspec import Meta, Raw, Struct

from streams.decode.otlp.value import Attributes, pairs_of

REASON = "bad_json"
INT64_MAX = (1 << 63) - 1
ENUM_LIMIT, ENUM_DIGITS_MAX = 1 << 31, 10
"""An enumerated value of protobuf has 32 bits."""

Unsigned: TypeAlias = Annotated[int, Meta(ge=0, le=INT64_MAX)]
Signed: TypeAlias = Annotated[int, Meta(ge=-INT64_MAX - 1, le=INT64_MAX)]
Enum: TypeAlias = int | str
_NONE = Raw(b"")


class _Message(Struct, forbid_unknown_fields=True, gc=False, rename="camel"):
    """A message of the protocol; int64 may come as text, as OTLP/JSON has it."""


class _Frozen(Struct, forbid_unknown_fields=True, gc=False, frozen=True, rename="camel"):
    """A message that is the same object wherever it is empty."""


class NumberPoint(_Message):
    attributes: Raw = _NONE
    start_time_unix_nano: Unsigned = 0
    time_unix_nano: Unsigned = 0
    as_double: float | None = None
    as_int: Signed | None = None
    exemplars: Raw = _NONE
    flags: Unsigned = 0


class HistogramPoint(_Message):
    attributes: Raw = _NONE
    start_time_unix_nano: Unsigned = 0
    time_unix_nano: Unsigned = 0
    count: Unsigned = 0
    sum: float = math.nan
    bucket_counts: Raw = _NONE
    explicit_bounds: Raw = _NONE
    exemplars: Raw = _NONE
    flags: Unsigned = 0
    min: float = math.nan
    max: float = math.nan


class Buckets(_Frozen, frozen=True):
    offset: Signed = 0
    bucket_counts: Raw = _NONE


NO_BUCKETS = Buckets()


class ExponentialPoint(_Message):
    attributes: Raw = _NONE
    start_time_unix_nano: Unsigned = 0
    time_unix_nano: Unsigned = 0
    count: Unsigned = 0
    sum: float = math.nan
    scale: Signed = 0
    zero_count: Unsigned = 0
    positive: Buckets = NO_BUCKETS
    negative: Buckets = NO_BUCKETS
    flags: Unsigned = 0
    exemplars: Raw = _NONE
    min: float = math.nan
    max: float = math.nan
    zero_threshold: float = 0.0


class SummaryPoint(_Message):
    attributes: Raw = _NONE
    start_time_unix_nano: Unsigned = 0
    time_unix_nano: Unsigned = 0
    count: Unsigned = 0
    sum: float = 0.0
    quantile_values: Raw = _NONE
    flags: Unsigned = 0


class Status(_Frozen, frozen=True):
    message: str = ""
    code: Enum = 0


NO_STATUS = Status()


class Span(_Message):
    trace_id: str = ""
    span_id: str = ""
    trace_state: Raw = _NONE
    parent_span_id: str = ""
    flags: Raw = _NONE
    name: str = ""
    kind: Enum = 0
    start_time_unix_nano: Unsigned = 0
    end_time_unix_nano: Unsigned = 0
    attributes: Raw = _NONE
    dropped_attributes_count: Raw = _NONE
    events: Raw = _NONE
    dropped_events_count: Raw = _NONE
    links: Raw = _NONE
    dropped_links_count: Raw = _NONE
    status: Status = NO_STATUS


class LogRecord(_Message):
    time_unix_nano: Unsigned = 0
    observed_time_unix_nano: Unsigned = 0
    severity_number: Enum = 0
    severity_text: str = ""
    body: Raw = _NONE
    attributes: Raw = _NONE
    dropped_attributes_count: Raw = _NONE
    flags: Raw = _NONE
    trace_id: str = ""
    span_id: str = ""
    event_name: str = ""


Leaf = TypeVar("Leaf", NumberPoint, HistogramPoint, ExponentialPoint, SummaryPoint, Span, LogRecord)


class Points(_Message, Generic[Leaf]):
    """The body of a metric, whatever its type."""

    data_points: Sequence[Leaf] = ()
    aggregation_temporality: Enum = 0
    is_monotonic: bool = False


class Metric(_Message):
    name: str = ""
    description: Raw = _NONE
    unit: str = ""
    gauge: Points[NumberPoint] | None = None
    sum: Points[NumberPoint] | None = None
    histogram: Points[HistogramPoint] | None = None
    exponential_histogram: Points[ExponentialPoint] | None = None
    summary: Points[SummaryPoint] | None = None
    metadata: Raw = _NONE


class _Scope(_Message):
    scope: Raw = _NONE
    schema_url: Raw = _NONE


class ScopeMetrics(_Scope):
    metrics: Sequence[Metric] = ()


class ScopeSpans(_Scope):
    spans: Sequence[Span] = ()


class ScopeLogs(_Scope):
    log_records: Sequence[LogRecord] = ()


class _Resource(_Message):
    resource: Raw = _NONE
    schema_url: Raw = _NONE


class ResourceMetrics(_Resource):
    scope_metrics: Sequence[ScopeMetrics] = ()


class ResourceSpans(_Resource):
    scope_spans: Sequence[ScopeSpans] = ()


class ResourceLogs(_Resource):
    scope_logs: Sequence[ScopeLogs] = ()


class MetricsData(_Message):
    resource_metrics: Sequence[ResourceMetrics] = ()


class TracesData(_Message):
    resource_spans: Sequence[ResourceSpans] = ()


class LogsData(_Message):
    resource_logs: Sequence[ResourceLogs] = ()


def resource_of(raw: bytes) -> Attributes:
    """Attributes of the JSON text of a resource."""
    return pairs_of(_object(raw).get("attributes"), 0)


def scope_of(raw: bytes) -> tuple[str, str, Attributes]:
    """Name, version and attributes of the JSON text of a scope."""
    scope = _object(raw)
    return (
        str(scope.get("name") or ""),
        str(scope.get("version") or ""),
        pairs_of(scope.get("attributes"), 0),
    )


def _object(raw: bytes) -> Mapping[str, Any]:
    value = json.loads(raw) if raw else None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def enum_number(value: Enum, names: Mapping[str, int]) -> int:
    """Number of an enumerated value that came as number, as digits or by its name; 0 if unknown.

    >>> enum_number("12", {}), enum_number("ERROR", {"ERROR": 17}), enum_number(1 << 64, {})
    (12, 17, 0)
    """
    if isinstance(value, str):
        if not value.isdecimal():
            return names.get(value, 0)
        value = int(value) if len(value) <= ENUM_DIGITS_MAX else 0
    return value if -ENUM_LIMIT <= value < ENUM_LIMIT else 0
