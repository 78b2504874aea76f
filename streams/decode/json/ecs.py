"""Format `ecs`: JSON logs in the Elastic Common Schema, nested or with dotted keys.

Besides any path of the schema these columns are known: severity, body, trace_id, span_id, service, host,
user, client, method, path, query, status, bytes, agent, and duration (`event.duration`, nanoseconds there).
Source: https://www.elastic.co/guide/en/ecs/current/ecs-field-reference.html
"""

from __future__ import annotations

from streams.decode.json.columns import JsonDecoder, Rules
from streams.events.batch import Decoder, Layout

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


def make(layout: Layout) -> Decoder:
    """A decoder for the source's layout."""
    return JsonDecoder(layout, _RULES)
