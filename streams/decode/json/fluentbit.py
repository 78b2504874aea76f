"""Format `fluentbit`: JSON of Fluent Bit's outputs.

A record holds an object with the time as a member (`@timestamp` of the Kafka output, `date` of the others,
as a number or ISO 8601), or `[time, object]` pairs, alone or in a list, also with metadata as in
`[[time, metadata], object]`. Known columns besides any path: severity, body, trace_id, span_id, host.
Source: https://docs.fluentbit.io/manual/pipeline/outputs/kafka and …/http (`json_date_key`).
"""

from __future__ import annotations

import msgspec

from streams.decode.format import JSON_REASONS, Format
from streams.decode.json.columns import JsonDecoder, Rules
from streams.decode.json.reader import parse_freely
from streams.events.batch import EventBatch, Layout, Records
from streams.events.merge import with_values

_PAIR_TIME = "(time of a pair)"
"""Key for the time of a pair, one that no log writes."""

_RULES = Rules(
    times=(_PAIR_TIME, "@timestamp", "date", "timestamp", "time"),
    aliases={
        "severity": ("severity", "level", "log_level", "loglevel"),
        "body": ("log", "message", "msg", "MESSAGE"),
        "trace_id": ("trace_id", "traceId", "trace.id"),
        "span_id": ("span_id", "spanId", "span.id"),
        "host": ("host", "hostname", "kubernetes.host", "_HOSTNAME"),
    },
)


class FluentBitDecoder:
    """JSON events, with pairs rewritten as objects first."""

    def __init__(self, layout: Layout) -> None:
        self._decoder = JsonDecoder(layout, _RULES)

    def decode(self, records: Records) -> EventBatch:
        """Decode all `records`; see `Decoder.decode`."""
        values = [
            value if value is None or value[:1] == b"{" else _rewritten(value) for value in records.values
        ]
        return self._decoder.decode(with_values(records, values))


def _rewritten(value: bytes) -> bytes:
    """A record with its pairs as objects; what holds no pairs is left as it is."""
    if not value.lstrip().startswith(b"["):
        return value
    try:
        parsed = parse_freely(value)
    except ValueError:
        return value
    elements = [parsed] if _is_pair(parsed) else parsed
    if not any(map(_is_pair, elements)):
        return value
    try:
        return msgspec.json.encode([_as_object(one) if _is_pair(one) else one for one in elements])
    except (ValueError, TypeError, OverflowError, RecursionError):  # lone surrogates
        return value


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and not isinstance(value[0], dict)
        and isinstance(value[1], dict)
    )


def _as_object(pair: list[object]) -> dict[str, object]:
    time, content = pair
    if isinstance(time, list):
        time = time[0] if time else None
    assert isinstance(content, dict)
    return {**content, _PAIR_TIME: time}


FORMAT = Format(
    name="fluentbit",
    description="what Fluent Bit's outputs write",
    make=FluentBitDecoder,
    reasons=JSON_REASONS,
    schema=_RULES.schema(),
)
