"""Format `vector`: JSON of Vector's `json` and `native_json` codecs, logs and metrics, in any mixture.

Logs: any path (with `native_json` inside of `log`), and the columns severity, body, trace_id, span_id,
host. Metrics: see `vector_metrics`. The time is `timestamp`, else the record's own.
Source: https://vector.dev/docs/architecture/data-model/ and `lib/codecs/tests/data/native_encoding`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from streams.decode.format import JSON_REASONS, Format
from streams.decode.json.columns import JsonDecoder, Rules
from streams.decode.json.shape import Getter, Path, Shape, Use
from streams.decode.metrics.vector_metrics import VectorMetrics
from streams.events.batch import EventBatch, Layout, Records
from streams.events.merge import merge, select

_RULES = Rules(
    times=("timestamp", "@timestamp", "time", "ts"),
    aliases={
        "severity": ("severity", "level", "log_level"),
        "body": ("message", "msg"),
        "trace_id": ("trace_id", "traceId", "trace.id"),
        "span_id": ("span_id", "spanId", "span.id"),
        "host": ("host", "hostname"),
    },
)


class VectorDecoder:
    """Sends records with metrics one way and those with logs another."""

    def __init__(self, layout: Layout) -> None:
        self._logs = _Logs(layout, _RULES)
        self._metrics = VectorMetrics(layout)

    def decode(self, records: Records) -> EventBatch:
        """Decode all `records`; see `Decoder.decode`."""
        is_metric = np.fromiter(map(_has_metrics, records.values), np.bool_, len(records))
        if not is_metric.any():
            return self._logs.decode(records)
        if is_metric.all():
            return self._metrics.decode(records)
        parts = []
        for decoder, mask in ((self._logs, ~is_metric), (self._metrics, is_metric)):
            places = np.flatnonzero(mask).astype(np.int64)
            parts.append((decoder.decode(select(records, places)), places))
        return merge(parts)


_METRIC = re.compile(
    rb'[\s\[]*\{(?:\s*"metric"\s*:\s*\{|.*"kind"\s*:\s*"(?:absolute|incremental)")', re.DOTALL
)


def _has_metrics(value: bytes | None) -> bool:
    """Whether a record is Vector's way to write a metric, with or without `metric` around it."""
    if value is None or (b'"metric"' not in value and b'"kind"' not in value):
        return False
    return _METRIC.match(value) is not None


class _Logs(JsonDecoder):
    """JSON logs, which `native_json` wraps in `log`."""

    def ways(self, path: Path) -> Sequence[Path]:
        return (("log", *path), path)

    def getters(self, shape: Shape, path: Path) -> Sequence[tuple[Getter, Use]]:
        return [(shape.getter(way), shape.use(way)) for way in self.ways(path)]


_SCHEMA = _RULES.schema("metric", "type", "kind", "namespace")

FORMAT = Format(
    name="vector",
    description="logs and metrics of Vector",
    make=VectorDecoder,
    reasons=(*JSON_REASONS, "bad_metric"),
    schema=replace(_SCHEMA, columns={**_SCHEMA.columns, "value": "number"}),
)
