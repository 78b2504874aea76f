"""Format `ecs`: JSON logs in the Elastic Common Schema, nested or with dotted keys.

Besides any path of the schema these columns are known: severity, body, trace_id, span_id, service, host,
user, client, method, path, query, status, bytes, agent, and duration (`event.duration`, nanoseconds there).
Source: https://www.elastic.co/guide/en/ecs/current/ecs-field-reference.html
"""

from __future__ import annotations

from functools import partial

from streams.decode.format import JSON_REASONS, Format
from streams.decode.json.columns import JsonDecoder, Rules

_RULES = Rules(
    times=("@timestamp",),
    aliases={
        "severity": ("log.level",),
        "body": ("message",),
        "trace_id": ("trace.id",),
        "span_id": ("span.id",),
        "service": ("service.name",),
        "host": ("host.name", "host.hostname"),
        "user": ("user.name",),
        "client": ("client.ip", "source.ip", "client.address", "source.address"),
        "method": ("http.request.method",),
        "path": ("url.path",),
        "query": ("url.query",),
        "status": ("http.response.status_code",),
        "bytes": ("http.response.body.bytes", "http.response.bytes"),
        "agent": ("user_agent.original",),
        "duration": ("event.duration",),
    },
    scales={"duration": 1e-9},
)


FORMAT = Format(
    name="ecs",
    description="JSON logs in the Elastic Common Schema",
    make=partial(JsonDecoder, rules=_RULES),
    reasons=JSON_REASONS,
    schema=_RULES.schema(),
)
