"""Samples as prometheus-kafka-adapter writes them in JSON, one a record.

`{"timestamp": "1970-01-01T00:00:00Z", "value": "9876543210", "name": "up", "labels": {"__name__": "up", …}}`
Each sample is an event; `metric` is the name, labels are columns by name. Values are strings, since JSON
has no NaN and no infinities. NaN is an event too: Prometheus writes it for a series that ended
(staleness), and a counter's NaN counts nothing. Counters are told by name (`Layout.counters`).

Source: Telefónica, prometheus-kafka-adapter, README.md and serializers.go.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from streams.decode.format import JSON_REASONS, Format, Schema, kinds
from streams.decode.json.reader import shown
from streams.decode.metrics.metric_json import Item, JsonMetricDecoder, Memory, Refused, all_text
from streams.decode.strings import float_or_infinity, plain_text

_VALUE = re.compile(r"[+-]?(?:(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?+|Inf)|NaN", re.ASCII)


def _read(element: dict[str, Any], memory: Memory) -> Item:
    labels = element.get("labels") or {}
    if not isinstance(labels, dict):
        raise Refused("bad_labels", f"expected an object at 'labels', found {shown(labels)}")
    name = element.get("name") or labels.get("__name__")
    if not isinstance(name, str):
        raise Refused("missing_name", f"expected a string at 'name', found {shown(name)}")
    value = _value(element.get("value"))
    if not all_text(labels.values()):
        labels = {label: text for label, given in labels.items() if (text := plain_text(given)) is not None}
    key = (name, *labels.items())
    series = memory.known.get(key)
    if series is None:
        series = memory.known[key] = (memory.table.add(name, {}, labels),)
    return Item(series, [value], element)


def _value(value: object) -> float:
    """A sample's value from Go's `FormatFloat`: digits, `NaN`, `+Inf`, `-Inf`."""
    if isinstance(value, str) and _VALUE.fullmatch(value):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float_or_infinity(value) if isinstance(value, int) else value
    if value is None:
        raise Refused("missing_value", "expected a number as a string at 'value', found none")
    raise Refused("bad_value", f"expected a number as a string at 'value', found {shown(value)}")


FORMAT = Format(
    name="prometheus",
    description="samples of prometheus-kafka-adapter",
    make=partial(JsonMetricDecoder, read=_read, time="timestamp"),
    reasons=(*JSON_REASONS, "missing_name", "missing_value", "bad_value", "bad_labels"),
    schema=Schema(columns=kinds(["metric"], ["value"]), others="a label"),
)
