"""Reads OTLP/JSON that `otlp_json`'s types refuse: leaf by leaf, names in camel or snake case.

Gives the same messages, less the events and containers that are not valid; each of those is one `Dead`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from streams.decode.otlp import json as types
from streams.events.batch import Dead

_INNER: Mapping[str, type[Struct]] = {
    "positive": types.Buckets,
    "negative": types.Buckets,
    "status": types.Status,
}
_POINTS: Mapping[str, type[Struct]] = {
    "gauge": types.NumberPoint,
    "sum": types.NumberPoint,
    "histogram": types.HistogramPoint,
    "exponentialHistogram": types.ExponentialPoint,
    "summary": types.SummaryPoint,
}
_UNDERSCORE = re.compile(r"_([a-z])")
Message = TypeVar("Message", bound=Struct)


class Lenient:
    """Reader of one record; what is not valid is appended to `dead`."""

    def __init__(self, record: int, dead: list[Dead]) -> None:
        self._record = record
        self._dead = dead

    def metrics(self, text: bytes) -> types.MetricsData:
        """A metrics record."""
        return types.MetricsData(
            [
                types.ResourceMetrics(
                    resource=_raw(resource, "resource"),
                    scope_metrics=[
                        types.ScopeMetrics(
                            scope=_raw(scope, "scope"),
                            metrics=[self._metric(metric) for metric in self._items(scope, "metrics")],
                        )
                        for scope in self._items(resource, "scopeMetrics")
                    ],
                )
                for resource in self._top(text, "resourceMetrics")
            ]
        )

    def spans(self, text: bytes) -> types.TracesData:
        """A record of spans."""
        return types.TracesData(
            [
                types.ResourceSpans(
                    resource=_raw(resource, "resource"),
                    scope_spans=[
                        types.ScopeSpans(
                            scope=_raw(scope, "scope"), spans=self._leaves(scope, "spans", types.Span)
                        )
                        for scope in self._items(resource, "scopeSpans")
                    ],
                )
                for resource in self._top(text, "resourceSpans")
            ]
        )

    def logs(self, text: bytes) -> types.LogsData:
        """A record of log records."""
        return types.LogsData(
            [
                types.ResourceLogs(
                    resource=_raw(resource, "resource"),
                    scope_logs=[
                        types.ScopeLogs(
                            scope=_raw(scope, "scope"),
                            log_records=self._leaves(scope, "logRecords", types.LogRecord),
                        )
                        for scope in self._items(resource, "scopeLogs")
                    ],
                )
                for resource in self._top(text, "resourceLogs")
            ]
        )

    def _top(self, text: bytes, name: str) -> Iterator[dict[str, Any]]:
        try:
            value = _camel(json.loads(text))
        except (ValueError, RecursionError) as error:
            self._bury("the record", f"JSON, found {error}")
            return
        if not isinstance(value, dict) or (value and name not in value):
            self._bury("the record", f"an object with {name}, found {text[:80].decode('utf-8', 'replace')}")
            return
        yield from self._items(value, name)

    def _items(self, parent: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
        items = parent.get(name, [])
        if not isinstance(items, list):
            self._bury(name, f"an array, found {str(items)[:80]}")
            return
        for item in items:
            if isinstance(item, dict):
                yield item
            else:
                self._bury(name, f"an object, found {str(item)[:80]}")

    def _metric(self, metric: Mapping[str, Any]) -> types.Metric:
        found = types.Metric(name=str(metric.get("name", "")), unit=str(metric.get("unit", "")))
        for name, leaf in _POINTS.items():
            body = metric.get(name)
            if isinstance(body, dict):
                temporality = body.get("aggregationTemporality", 0)
                points: types.Points[Any] = types.Points(
                    self._leaves(body, "dataPoints", leaf),
                    temporality if isinstance(temporality, int | str) else 0,
                    body.get("isMonotonic") in (True, "true"),
                )
                setattr(found, _snake(name), points)
            elif body is not None:
                self._bury(name, f"an object, found {str(body)[:80]}")
        return found

    def _leaves(self, parent: Mapping[str, Any], name: str, leaf: type[Message]) -> list[Message]:
        found = []
        for item in self._items(parent, name):
            text = json.dumps(_known(item, leaf))
            try:
                found.append(msgspec.json.decode(text, type=leaf, strict=False))
            except (msgspec.MsgspecError, RecursionError) as error:
                self._bury(f"an item of {name}", f"a valid one, found {error}")
        return found

    def _bury(self, what: str, problem: str) -> None:
        self._dead.append(Dead(self._record, types.REASON, f"{what}: expected {problem}"))


def _camel(value: Any) -> Any:
    """Names in camel case, nulls left out, numbers that JSON does not have as OTLP/JSON writes them.

    Names of attributes are values (of `key`), not names, so all names may be changed.
    """
    match value:
        case dict():
            return {_camel_name(name): _camel(item) for name, item in value.items() if item is not None}
        case list():
            return [_camel(item) for item in value]
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case _:
            return value


def _camel_name(name: str) -> str:
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name)


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda found: "_" + found[0].lower(), name)


def _known(item: Mapping[str, Any], message: type[Struct]) -> dict[str, Any]:
    """Only the fields that the message has."""
    known = message.__struct_encode_fields__
    return {
        name: _known(value, _INNER[name]) if name in _INNER and isinstance(value, dict) else value
        for name, value in item.items()
        if name in known
    }


def _raw(parent: Mapping[str, Any], name: str) -> Raw:
    return Raw(json.dumps(parent[name]).encode()) if name in parent else Raw(b"")
