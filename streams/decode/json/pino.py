"""Format `pino`: JSON logs of pino and pino-http (Node.js).

Known columns besides any path: severity (the level's name for its number), body (`msg`), trace_id,
span_id, service (`name`), host, and those of pino-http: method, path, status, client, agent, and
duration (`responseTime`, milliseconds there).
Source: https://github.com/pinojs/pino/blob/main/docs/api.md (levels, `messageKey`, `timestamp`).
"""

from __future__ import annotations

from functools import partial

from streams.decode.format import JSON_REASONS, Format
from streams.decode.json.columns import JsonDecoder, Rules

LEVELS = {"10": "trace", "20": "debug", "30": "info", "40": "warn", "50": "error", "60": "fatal"}
"""pino's own levels; others keep their number."""


def _level_name(level: str) -> str:
    return LEVELS.get(level, level)


def _path(url: str) -> str:
    return url.partition("?")[0]


_RULES = Rules(
    times=("time", "timestamp", "@timestamp", "ts"),
    aliases={
        "severity": ("level",),
        "body": ("msg", "message"),
        "trace_id": ("trace_id", "traceId", "trace.id"),
        "span_id": ("span_id", "spanId", "span.id"),
        "service": ("name",),
        "host": ("hostname",),
        "method": ("req.method",),
        "path": ("req.url",),
        "status": ("res.statusCode",),
        "client": ("req.remoteAddress",),
        "agent": ("req.headers.user-agent",),
        "duration": ("responseTime",),
    },
    scales={"duration": 0.001},
    rename={"severity": _level_name, "path": _path},
)


FORMAT = Format(
    name="pino",
    description="JSON logs of pino and pino-http",
    make=partial(JsonDecoder, rules=_RULES),
    reasons=JSON_REASONS,
    schema=_RULES.schema(roles={"query": "req.url"}),  # the only place that has it, after the path
)
