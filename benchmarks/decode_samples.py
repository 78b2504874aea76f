"""Records of every format for the decode benchmark: believable, all different, and made from a seed.

A sample's records hold `events_per_record` events each, metric points for the formats of metrics.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from streams.events.batch import Field, Kind, Layout

START_MS = 1_795_586_040_000
SERVICES = [f"svc-{number}" for number in range(100)]
ROUTES = [f"/r/{number}" for number in range(100)]
AGENTS = [
    f"Mozilla/5.0 (X11; Linux x86_64) Chrome/{version}.0.0.0 Safari/537.36" for version in range(100, 140)
]

REQUEST: dict[str, Kind] = {
    "service": "string",
    "route": "string",
    "method": "string",
    "status": "number",
    "duration": "number",
}
LOG: dict[str, Kind] = {"severity": "string", "body": "string", "service": "string", "trace_id": "string"}
METRIC: dict[str, Kind] = {"metric": "string", "value": "number", "host": "string"}


@dataclass(frozen=True, slots=True)
class Sample:
    """What is decoded and how.

    make              : the records of an endless log
    events_per_record : how many events each record holds
    is_json           : whether plain `json.loads` reads the records, for comparison
    """

    layout: Layout
    make: Callable[[Random], Iterator[bytes]]
    events_per_record: int = 1
    is_json: bool = True


def _ticks(random: Random) -> Iterator[tuple[int, str, str, int, float]]:
    """Time, service, route, status and latency in ms of one request after the other."""
    time_ms = START_MS
    while True:
        time_ms += random.randrange(2)
        status = 503 if random.random() < 0.01 else 200
        yield time_ms, random.choice(SERVICES), random.choice(ROUTES), status, random.lognormvariate(3.7, 0.8)


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def _hex(random: Random, size: int) -> str:
    return random.randbytes(size).hex()


def _json(random: Random) -> Iterator[bytes]:
    for time_ms, service, route, status, latency in _ticks(random):
        yield (
            f'{{"ts":{time_ms},"service":"{service}","route":"{route}","method":"GET","status":{status},'
            f'"duration_ms":{latency:.3f},"client":"10.120.137.{random.randrange(256)}"}}'
        ).encode()


def _access_log(random: Random) -> Iterator[bytes]:
    for time_ms, _, route, status, latency in _ticks(random):
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
        yield (
            f"10.120.{random.randrange(256)}.{random.randrange(256)} - - [{moment:%d/%b/%Y:%H:%M:%S} +0000] "
            f'"GET {route}?page={random.randrange(50)} HTTP/1.1" {status} {random.randrange(9000)} "-" '
            f'"{random.choice(AGENTS)}" {latency / 1000:.3f}'
        ).encode()


def _dumped(make: Callable[[Random, int, str, str, int, float], Any]) -> Callable[[Random], Iterator[bytes]]:
    """Records that are one JSON value a request."""

    def records(random: Random) -> Iterator[bytes]:
        for tick in _ticks(random):
            yield json.dumps(make(random, *tick), separators=(",", ":")).encode()

    return records


def _ecs(random: Random, time_ms: int, service: str, route: str, status: int, latency: float) -> Any:
    return {
        "@timestamp": _iso(time_ms),
        "log.level": "error" if status > 499 else "info",
        "message": f"GET {route}",
        "service": {"name": service},
        "http": {"request": {"method": "GET"}, "response": {"status_code": status}},
        "event": {"duration": int(latency * 1e6)},
        "trace": {"id": _hex(random, 16)},
    }


def _pino(random: Random, time_ms: int, service: str, route: str, status: int, latency: float) -> Any:
    return {
        "level": 50 if status > 499 else 30,
        "time": time_ms,
        "pid": 1,
        "hostname": "web-1",
        "name": service,
        "req": {"method": "GET", "url": route},
        "res": {"statusCode": status},
        "responseTime": round(latency),
        "traceId": _hex(random, 16),
        "msg": "request completed",
    }


def _fluentbit(random: Random, time_ms: int, service: str, route: str, status: int, latency: float) -> Any:
    kubernetes = {"namespace_name": "shop", "pod_name": f"{service}-{random.randrange(9)}"}
    return {
        "@timestamp": time_ms / 1000,
        "log": f"GET {route} {status}",
        "stream": "stdout",
        "kubernetes": kubernetes,
    }


def _vector_log(random: Random, time_ms: int, service: str, route: str, status: int, latency: float) -> Any:
    log = {
        "message": f"GET {route} {status}",
        "level": "info",
        "service": service,
        "timestamp": _iso(time_ms),
    }
    return {"log": log | {"trace_id": _hex(random, 16)}}


def _vector_metric(
    random: Random, time_ms: int, service: str, route: str, status: int, latency: float
) -> Any:
    tags = {"host": service, "route": route}
    metric = {"name": "requests_total", "tags": tags, "timestamp": _iso(time_ms), "kind": "incremental"}
    return {"metric": metric | {"counter": {"value": float(random.randrange(9))}}}


def _debezium(random: Random, time_ms: int, service: str, route: str, status: int, latency: float) -> Any:
    row = {"id": random.randrange(10**6), "service": service, "status": status, "total": round(latency, 2)}
    source = {"connector": "postgresql", "db": "shop", "table": "orders", "ts_ms": time_ms - 7}
    return {"before": None, "after": row, "source": source, "op": "c", "ts_ms": time_ms}


def _telegraf(random: Random, time_ms: int, service: str, route: str, status: int, latency: float) -> Any:
    fields = {"usage_idle": random.random() * 100, "usage_user": random.random() * 100}
    return {
        "fields": fields,
        "name": "cpu",
        "tags": {"cpu": "cpu0", "host": service},
        "timestamp": time_ms // 1000,
    }


def _prometheus(random: Random, time_ms: int, service: str, route: str, status: int, latency: float) -> Any:
    labels = {"__name__": "up", "instance": "a:9100", "host": service, "path": route}
    return {"labels": labels, "name": "up", "timestamp": _iso(time_ms), "value": f"{latency:.3f}"}


def _collectd(random: Random, time_ms: int, service: str, route: str, status: int, latency: float) -> Any:
    octets = {"plugin": "interface", "plugin_instance": "eth0", "type": "if_octets", "type_instance": ""}
    values = {"values": [random.randrange(10**9), random.randrange(10**9)], "dstypes": ["derive", "derive"]}
    return [
        values | {"dsnames": ["rx", "tx"], "time": time_ms / 1000, "interval": 10.0, "host": service} | octets
    ]


def _influx(random: Random) -> Iterator[bytes]:
    for time_ms, service, _, _, _ in _ticks(random):
        user = random.random() * 100
        fields = f"usage_user={user:.3f},interrupts={random.randrange(10**6)}i"
        yield f"cpu,cpu=cpu0,host={service} {fields} {time_ms}000000".encode()


OTLP_EVENTS = 500
"""Points, spans or log records in one OTLP record."""


def _attributes(**values: Any) -> list[dict[str, Any]]:
    return [
        {
            "key": key.replace("_", "."),
            "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value},
        }
        for key, value in values.items()
    ]


def _otlp_points(random: Random, ticks: Iterator[tuple[int, str, str, int, float]]) -> dict[str, Any]:
    points = []
    for _ in range(OTLP_EVENTS):
        time_ms, service, route, status, latency = next(ticks)
        points.append(
            {
                "attributes": _attributes(host=service, http_route=route, http_status=status),
                "startTimeUnixNano": str(START_MS * 1_000_000),
                "timeUnixNano": str(time_ms * 1_000_000),
                "asDouble": latency,
            }
        )
    metric = {"name": "latency", "unit": "ms", "gauge": {"dataPoints": points}}
    return {"resourceMetrics": [{"resource": _resource(), "scopeMetrics": [{"metrics": [metric]}]}]}


def _otlp_spans(random: Random, ticks: Iterator[tuple[int, str, str, int, float]]) -> dict[str, Any]:
    spans = []
    for _ in range(OTLP_EVENTS):
        time_ms, service, route, status, latency = next(ticks)
        spans.append(
            {
                "traceId": _hex(random, 16),
                "spanId": _hex(random, 8),
                "name": f"GET {route}",
                "kind": 2,
                "startTimeUnixNano": str(time_ms * 1_000_000),
                "endTimeUnixNano": str(int((time_ms + latency) * 1_000_000)),
                "attributes": _attributes(http_route=route, http_status=status, peer=service),
                "status": {"code": 2} if status > 499 else {},
            }
        )
    return {"resourceSpans": [{"resource": _resource(), "scopeSpans": [{"spans": spans}]}]}


def _otlp_logs(random: Random, ticks: Iterator[tuple[int, str, str, int, float]]) -> dict[str, Any]:
    logs = []
    for _ in range(OTLP_EVENTS):
        time_ms, service, route, status, _ = next(ticks)
        logs.append(
            {
                "timeUnixNano": str(time_ms * 1_000_000),
                "severityNumber": 9,
                "severityText": "INFO",
                "body": {"stringValue": f"GET {route} {status}"},
                "attributes": _attributes(peer=service),
                "traceId": _hex(random, 16),
                "spanId": _hex(random, 8),
            }
        )
    return {"resourceLogs": [{"resource": _resource(), "scopeLogs": [{"logRecords": logs}]}]}


def _resource() -> dict[str, Any]:
    return {"attributes": _attributes(service_name="shop", host_name="web-1")}


_REQUESTS = {
    "metrics": ExportMetricsServiceRequest,
    "spans": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
}
_MAKERS = {"metrics": _otlp_points, "spans": _otlp_spans, "logs": _otlp_logs}


def _otlp_json(signal: str) -> Callable[[Random], Iterator[bytes]]:
    def records(random: Random) -> Iterator[bytes]:
        ticks = _ticks(random)
        while True:
            yield json.dumps(_MAKERS[signal](random, ticks), separators=(",", ":")).encode()

    return records


def _otlp_proto(signal: str) -> Callable[[Random], Iterator[bytes]]:
    def records(random: Random) -> Iterator[bytes]:
        ticks = _ticks(random)
        while True:
            yield to_protobuf(_MAKERS[signal](random, ticks), _REQUESTS[signal]())

    return records


def to_protobuf(value: Mapping[str, Any], message: Any) -> bytes:
    """A request in protobuf; ids are hexadecimal in OTLP's JSON, unlike in protobuf's."""
    _fill(value, message)
    encoded: bytes = message.SerializeToString()
    return encoded


def _fill(value: Mapping[str, Any], message: Any) -> None:
    by_name = {one.json_name: one for one in message.DESCRIPTOR.fields}
    for key, content in value.items():
        name = by_name[key].name
        if isinstance(content, list):
            for item in content:
                _fill(item, getattr(message, name).add())
        elif isinstance(content, dict):
            getattr(message, name).SetInParent()
            _fill(content, getattr(message, name))
        elif key in ("traceId", "spanId"):
            setattr(message, name, bytes.fromhex(content))
        else:
            is_number = isinstance(content, str) and by_name[key].cpp_type != by_name[key].CPPTYPE_STRING
            setattr(message, name, int(content) if is_number else content)


def _layout(wanted: Mapping[str, Kind], signal: Any = None, **fields: Field) -> Layout:
    return Layout(wanted=wanted, fields=fields, signal=signal)


_SPAN: dict[str, Kind] = {"name": "string", "duration": "number", "status": "string", "http.route": "string"}
_POINT: dict[str, Kind] = {"metric": "string", "value": "number", "host": "string", "http.route": "string"}
_OTLP_WANTED: dict[str, dict[str, Kind]] = {"metrics": _POINT, "spans": _SPAN, "logs": LOG}

_TIMED = Layout(
    wanted=REQUEST, fields={"duration": Field("duration_ms", 0.001)}, time_field="ts", time_format="epoch_ms"
)
_LINE: dict[str, Kind] = {
    "client": "string",
    "method": "string",
    "path": "string",
    "status": "number",
    "duration": "number",
}
_ROW: dict[str, Kind] = {
    "id": "number",
    "service": "string",
    "status": "number",
    "total": "number",
    "op": "string",
}
_HTTP_LOG: dict[str, Kind] = {
    "severity": "string",
    "service": "string",
    "status": "number",
    "duration": "number",
    "method": "string",
}
_POD: dict[str, Kind] = {"body": "string", "stream": "string", "kubernetes.pod_name": "string"}

SAMPLES: dict[str, Sample] = {
    "json": Sample(_TIMED, _json),
    "access_log": Sample(_layout(_LINE), _access_log, is_json=False),
    "ecs": Sample(_layout(_HTTP_LOG), _dumped(_ecs)),
    "pino": Sample(_layout(_HTTP_LOG), _dumped(_pino)),
    "fluentbit": Sample(_layout(_POD), _dumped(_fluentbit)),
    "vector logs": Sample(_layout(LOG), _dumped(_vector_log)),
    "vector metrics": Sample(_layout(METRIC), _dumped(_vector_metric)),
    "debezium": Sample(_layout(_ROW), _dumped(_debezium)),
    **{
        f"otlp_{encoding} {signal}": Sample(
            _layout(wanted, signal), make(signal), events_per_record=OTLP_EVENTS, is_json=encoding == "json"
        )
        for encoding, make in (("proto", _otlp_proto), ("json", _otlp_json))
        for signal, wanted in _OTLP_WANTED.items()
    },
    "influx": Sample(_layout(METRIC), _influx, events_per_record=2, is_json=False),
    "telegraf": Sample(_layout(METRIC), _dumped(_telegraf), events_per_record=2),
    "prometheus": Sample(_layout(METRIC), _dumped(_prometheus)),
    "collectd": Sample(_layout(METRIC), _dumped(_collectd), events_per_record=2),
}
"""By format, and by signal where a format has several."""
