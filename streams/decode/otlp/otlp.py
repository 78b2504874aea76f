"""The decoders of OpenTelemetry's protocol: metrics, logs and spans, in protobuf and in JSON.

A record holds a whole export: `ExportMetricsServiceRequest` or `MetricsData`, and so on. Each data point,
span and log record is one event. Columns beside attributes (nearest first: event, scope, resource; a path
`resource.x` takes only the resource's):

- metrics: `metric`, `unit`, `type`, `value`
- spans: `name`, `kind`, `duration` (seconds), `status` (OK, ERROR, UNSET), `status_message`, `trace_id`,
  `span_id`, `parent_span_id`, `scope`; the event time is the span's end
- logs: `body`, `severity` (text, else the number's name), `severity_number`, `trace_id`, `span_id`,
  `event_name`, `scope`; the event time is when it was observed where it has no time of its own

Cost on one core: see `benchmarks/decode.py`.
"""

from __future__ import annotations

from typing import Literal

from streams.decode.otlp.json_events import JsonEvents
from streams.decode.otlp.json_metrics import JsonMetrics
from streams.decode.otlp.proto import ProtoMetrics
from streams.decode.otlp.proto_events import ProtoEvents
from streams.events.batch import Decoder, Layout

__all__ = ["make_json", "make_proto"]


def make_proto(layout: Layout) -> Decoder:
    """Decoder of OTLP in protobuf; `ValueError` if the layout does not fit the protocol."""
    signal = _check(layout)
    return ProtoMetrics(layout) if signal == "metrics" else ProtoEvents(layout, signal)


def make_json(layout: Layout) -> Decoder:
    """Decoder of OTLP in JSON; `ValueError` if the layout does not fit the protocol."""
    signal = _check(layout)
    return JsonMetrics(layout) if signal == "metrics" else JsonEvents(layout, signal)


def _check(layout: Layout) -> Literal["metrics", "logs", "spans"]:
    if layout.signal is None:
        raise ValueError("an OTLP source: expected signal: metrics, logs or spans, found none")
    if layout.time_field is not None or layout.time_format not in ("auto", "record"):
        raise ValueError(
            "an OTLP source: the protocol says where its times are; expected no time, or the format "
            f"'record', found field {layout.time_field!r} and format {layout.time_format!r}"
        )
    return layout.signal
