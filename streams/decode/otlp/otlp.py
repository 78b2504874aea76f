"""The decoders of OpenTelemetry's protocol: metrics, logs and spans, in protobuf and in JSON.

A record holds a whole export: `ExportMetricsServiceRequest` or `MetricsData`, and so on. Each data point,
span and log record is one event. Columns beside attributes (nearest first: event, scope, resource; a path
`resource.x` takes only the resource's):

- metrics: `metric`, `unit`, `type`, `value`
- spans: `name`, `kind`, `duration` (seconds), `status` (OK, ERROR, UNSET), `status_message`, `trace_id`,
  `span_id`, `parent_span_id`, `scope`; the event time is the span's end
- logs: `body`, `severity` (text, else the number's name), `severity_number`, `trace_id`, `span_id`,
  `event_name`, `scope`; the event time is when it was observed where it has no time of its own

Cost on one core: see `benchmarks/decode.py`. The decoders are imported when one is made, so that reading a
configuration does not wait for them.
"""

from __future__ import annotations

from collections.abc import Mapping

from streams.decode.format import SEVERE, EventTime, Format, Role, Schema, Signal, kinds
from streams.events.batch import Decoder, Layout

__all__ = ["JSON", "PROTO", "make_json", "make_proto"]

_REQUEST: Mapping[Role, str] = {
    "client": "client.address",
    "user": "user.id",
    "session": "session.id",
    "path": "url.path",
    "query": "url.query",
    "method": "http.request.method",
    "status": "http.response.status_code",
    "bytes": "http.response.body.size",
    "agent": "user_agent.original",
}
"""Attributes of a request by OpenTelemetry's semantic conventions."""

_SCHEMAS: Mapping[Signal, Schema] = {
    "metrics": Schema(kinds(("metric", "unit", "type"), ["value"]), "an attribute", roles=_REQUEST),
    "logs": Schema(
        kinds(("body", "severity", "trace_id", "span_id", "event_name", "scope"), ["severity_number"]),
        "an attribute",
        roles={"message": "body", **_REQUEST},
        error=SEVERE,
    ),
    "spans": Schema(
        kinds(
            ("name", "kind", "status", "status_message", "trace_id", "span_id", "parent_span_id", "scope"),
            ["duration"],
        ),
        "an attribute",
        roles=_REQUEST,
    ),
}

_TIME = EventTime(fields=(), formats=(), expected="no time, since OTLP says where it is, or {format: record}")


def make_proto(layout: Layout) -> Decoder:
    """Decoder of OTLP in protobuf; `ValueError` if the layout does not fit the protocol."""
    from streams.decode.otlp.proto import ProtoMetrics
    from streams.decode.otlp.proto_events import ProtoEvents

    signal = _check(layout)
    return ProtoMetrics(layout) if signal == "metrics" else ProtoEvents(layout, signal)


def make_json(layout: Layout) -> Decoder:
    """Decoder of OTLP in JSON; `ValueError` if the layout does not fit the protocol."""
    from streams.decode.otlp.json_events import JsonEvents
    from streams.decode.otlp.json_metrics import JsonMetrics

    signal = _check(layout)
    return JsonMetrics(layout) if signal == "metrics" else JsonEvents(layout, signal)


def _check(layout: Layout) -> Signal:
    if layout.signal is None:
        raise ValueError("an OTLP source: expected signal: metrics, logs or spans, found none")
    if layout.time_field is not None or layout.time_format not in ("auto", "record"):
        raise ValueError(
            "an OTLP source: the protocol says where its times are; expected no time, or the format "
            f"'record', found field {layout.time_field!r} and format {layout.time_format!r}"
        )
    return layout.signal


PROTO = Format(
    "otlp_proto",
    "OTLP in protobuf",
    make_proto,
    signals=_SCHEMAS,
    time=_TIME,
    reasons=("bad_protobuf", "missing_time"),
)
JSON = Format(
    "otlp_json", "OTLP in JSON", make_json, signals=_SCHEMAS, time=_TIME, reasons=("bad_json", "missing_time")
)
