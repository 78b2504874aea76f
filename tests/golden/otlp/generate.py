"""Writes the OTLP golden inputs with OpenTelemetry's own SDK and encoder; run by hand, not by the tests.

    pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-common
    python -m tests.golden.otlp.generate

The SDK aggregates real measurements; times and ids, which differ from run to run, are then set to fixed
ones, so that the files come out the same each time. One line a Kafka record, protobuf in base64; the JSON
files hold the same messages in OTLP/JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

from tests.unit.otlp_messages import to_json

FOLDER = Path(__file__).parent
START_NS = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
RESOURCE = Resource({"service.name": "checkout", "host.name": "web01", "process.pid": 4242, "ratio": 0.25,
                     "tags": ["a", "b"]})  # fmt: skip


def metrics(temporality: AggregationTemporality) -> Iterator[Message]:
    """Three collections of a counter, a gauge and both kinds of histogram."""
    reader = InMemoryMetricReader(preferred_temporality={Counter: temporality, Histogram: temporality})
    views = [
        View(
            instrument_name="http.duration", aggregation=ExplicitBucketHistogramAggregation((0.1, 0.5, 1.0))
        ),
        View(instrument_name="db.duration", aggregation=ExponentialBucketHistogramAggregation(max_size=8)),
    ]
    meter = MeterProvider([reader], RESOURCE, views=views).get_meter("shop", "1.0")
    requests = meter.create_counter("http.requests", "1", "requests")
    depth = meter.create_up_down_counter("queue.depth")
    http = meter.create_histogram("http.duration", "s")
    database = meter.create_histogram("db.duration", "s")
    temperature = meter.create_gauge("cpu.temp", "Cel")
    for step in range(3):
        for index in range(5 + step):
            route = {
                "http.route": "/orders" if index % 2 else "/users/{id}",
                "http.response.status_code": 200,
            }
            requests.add(1, route)
            http.record(0.05 * (index + 1) * (step + 1), route)
            database.record(0.001 * 3.0 ** (index * step), {"db.operation.name": "SELECT"})
        depth.add(step - 1, {"queue": "mail"})
        temperature.set(40.5 + step)
        message = encode_metrics(reader.get_metrics_data())
        _set_times(message, START_NS, START_NS + (step + 1) * SECOND)
        yield message


def _set_times(message: Message, start_ns: int, time_ns: int) -> None:
    for resource in message.resource_metrics:  # type: ignore[attr-defined]
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            for point in getattr(metric, metric.WhichOneof("data")).data_points:
                del point.exemplars[:]
                point.time_unix_nano = time_ns
                if point.start_time_unix_nano:
                    point.start_time_unix_nano = start_ns


def spans() -> Iterator[Message]:
    """A server span that fails, with a child and an event."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("shop", "1.0", attributes={"scope.k": "v"})
    attributes = {"http.route": "/orders", "http.response.status_code": 503, "url.path": "/orders/ä"}
    server = tracer.start_span(
        "POST /orders", kind=SpanKind.SERVER, start_time=START_NS, attributes=attributes
    )
    client = tracer.start_span("SELECT", kind=SpanKind.CLIENT, start_time=START_NS + 10**6)
    client.add_event("rows", {"n": 3}, timestamp=START_NS + 2 * 10**6)
    client.set_status(Status(StatusCode.OK))
    client.end(START_NS + 5 * 10**6)
    server.set_status(Status(StatusCode.ERROR, "HTTP 503"))
    server.end(START_NS + 250 * 10**6)
    message = encode_spans(exporter.get_finished_spans())
    for number, span in enumerate(message.resource_spans[0].scope_spans[0].spans, 1):
        span.trace_id, span.span_id = bytes([number] * 16), bytes([number] * 8)
    yield message


def logs() -> Iterator[Message]:
    """Bodies of several types, with and without a time of their own."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(RESOURCE)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("shop")
    from opentelemetry._logs import SeverityNumber

    bodies: list[Any] = ["order 7 placed", {"msg": "late", "n": 1}, ["a", 2], 3.5, None]
    for index, body in enumerate(bodies):
        logger.emit(
            timestamp=START_NS + index * SECOND if index % 2 else 0,
            observed_timestamp=START_NS + index * SECOND + 1,
            severity_number=SeverityNumber(1 + 4 * index),
            severity_text="notice" if index == 1 else None,
            body=body,
            attributes={"user": f"u{index}", "ok": index > 1},
        )
    yield encode_logs(exporter.get_finished_logs())


def main() -> None:
    """Write all files anew."""
    inputs = {
        "metrics-delta": metrics(AggregationTemporality.DELTA),
        "metrics-cumulative": metrics(AggregationTemporality.CUMULATIVE),
        "spans": spans(),
        "logs": logs(),
    }
    for name, messages in inputs.items():
        kept = list(messages)
        proto = [base64.b64encode(message.SerializeToString(deterministic=True)) for message in kept]
        (FOLDER / f"{name}.proto.b64").write_bytes(b"\n".join(proto) + b"\n")
        (FOLDER / f"{name}.jsonl").write_bytes(b"\n".join(map(to_json, kept)) + b"\n")


if __name__ == "__main__":
    main()
