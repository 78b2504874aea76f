"""A request that each format can tell of, as its programs write it: what the contract of formats runs on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from streams.decode.format import Schema, Signal

REQUEST: Mapping[str, Any] = {
    "message": "Login of ann failed",
    "client": "192.0.2.7",
    "user": "ann",
    "api_key": "k-1",
    "session": "s-1",
    "path": "/login",
    "query": "next=a",
    "method": "POST",
    "status": 401,
    "bytes": 12,
    "agent": "curl/8.5",
}
"""What is told, by role; it is an error too."""


def pino(at_ms: int) -> dict[str, Any]:
    request = {
        "method": REQUEST["method"],
        "url": f"{REQUEST['path']}?{REQUEST['query']}",
        "headers": {"user-agent": REQUEST["agent"]},
        "remoteAddress": REQUEST["client"],
    }
    response = {"statusCode": REQUEST["status"]}
    return {"level": 50, "time": at_ms, "msg": REQUEST["message"], "req": request, "res": response}


def bunyan(at_ms: int) -> dict[str, Any]:
    return {**pino(at_ms), "time": iso(at_ms), "v": 0, "name": "shop", "hostname": "web-1", "pid": 7}


def ecs(at_ms: int) -> dict[str, Any]:
    return {
        "@timestamp": iso(at_ms),
        "message": REQUEST["message"],
        "log.level": "error",
        "source": {"ip": REQUEST["client"]},
        "user": {"name": REQUEST["user"]},
        "url": {"path": REQUEST["path"], "query": REQUEST["query"]},
        "http": {
            "request": {"method": REQUEST["method"]},
            "response": {"status_code": REQUEST["status"], "body": {"bytes": REQUEST["bytes"]}},
        },
        "user_agent.original": REQUEST["agent"],
    }


def fluentbit(at_ms: int) -> dict[str, Any]:
    return {"date": at_ms / 1_000, "log": REQUEST["message"], "level": "error"}


def vector(at_ms: int) -> dict[str, Any]:
    return {"timestamp": iso(at_ms), "message": REQUEST["message"], "level": "error"}


def access_log(at_ms: int) -> bytes:
    time = datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%d/%b/%Y:%H:%M:%S %z")
    target = f"{REQUEST['path']}?{REQUEST['query']}"
    return (
        f"{REQUEST['client']} - {REQUEST['user']} [{time}] "
        f'"{REQUEST["method"]} {target} HTTP/1.1" {REQUEST["status"]} {REQUEST["bytes"]} "-" '
        f'"{REQUEST["agent"]}"'
    ).encode()


SAMPLES: Mapping[str, Callable[[int], dict[str, Any] | bytes]] = {
    "access_log": access_log,
    "bunyan": bunyan,
    "ecs": ecs,
    "fluentbit": fluentbit,
    "pino": pino,
    "vector": vector,
}


def otlp(schema: Schema, signal: Signal, at_ms: int) -> dict[str, Any]:
    """A request with its attributes by OpenTelemetry's conventions."""
    at_ns = str(at_ms * 1_000_000)
    attributes = [
        {"key": column, "value": {"stringValue": str(REQUEST[role])}}
        for role, column in schema.roles.items()
        if column not in schema.columns
    ]
    match signal:
        case "logs":
            record = {
                "timeUnixNano": at_ns,
                "severityNumber": 17,
                "body": {"stringValue": REQUEST["message"]},
            }
            record |= {"attributes": attributes}
            return {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
        case "spans":
            span = {"name": "login", "startTimeUnixNano": at_ns, "endTimeUnixNano": at_ns}
            return {"resourceSpans": [{"scopeSpans": [{"spans": [{**span, "attributes": attributes}]}]}]}
        case "metrics":
            point = {"timeUnixNano": at_ns, "asDouble": 1.0, "attributes": attributes}
            metric = {"name": "requests", "gauge": {"dataPoints": [point]}}
            return {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}


def sample(name: str, signal: Signal | None, schema: Schema, at_ms: int) -> bytes:
    """The request at a time, as a record of the format.

    Raises KeyError for a format that is not known here: one with roles needs a sample.
    """
    if signal is None:
        made = SAMPLES[name](at_ms)
        return made if isinstance(made, bytes) else json.dumps(made).encode()
    content = otlp(schema, signal, at_ms)
    if name == "otlp_json":
        return json.dumps(content).encode()
    message = {"logs": LogsData, "spans": TracesData, "metrics": MetricsData}[signal]()
    return ParseDict(content, message).SerializeToString()


def iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat()
