"""Telegraf JSON: `{"name", "tags", "fields", "timestamp"}`, alone or as `{"metrics": [...]}`.

Each field is an event. `metric` is name and field joined by `_`, as in Telegraf's own Prometheus output;
`measurement` and `field` are columns of their own, tags are columns by name. Truth values count 1 and 0,
text is NaN, fields without value are left out. Times are seconds unless their magnitude or the source's
time format says otherwise (`json_timestamp_units`).

Source: Telegraf, plugins/serializers/json/README.md.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from streams.decode.format import JSON_REASONS, Format, Schema, kinds
from streams.decode.json.reader import shown
from streams.decode.metrics.metric_json import Item, JsonMetricDecoder, Memory, Refused, all_text
from streams.decode.strings import plain_text


def _unfold(element: dict[str, Any]) -> list[object] | None:
    metrics = element.get("metrics")
    return metrics if isinstance(metrics, list) and "fields" not in element else None


def _read(element: dict[str, Any], memory: Memory) -> Item:
    name, fields, tags = element.get("name"), element.get("fields"), element.get("tags") or {}
    if not isinstance(name, str) or not name:
        raise Refused("missing_name", f"expected a string at 'name', found {shown(name)}")
    if not isinstance(fields, dict):
        raise Refused("missing_value", f"expected an object at 'fields', found {shown(fields)}")
    if not isinstance(tags, dict):
        raise Refused("bad_tags", f"expected an object at 'tags', found {shown(tags)}")
    if not all_text(tags.values()):
        tags = {tag: text for tag, value in tags.items() if (text := plain_text(value)) is not None}
    if None in fields.values():
        fields = {field: value for field, value in fields.items() if value is not None}
    if not fields:
        raise Refused("missing_value", f"expected a field with a value in metric {shown(name)}, found none")
    key = (name, tuple(tags.items()), tuple(fields))
    series = memory.known.get(key)
    if series is None:
        series = memory.known[key] = tuple(
            memory.table.add(f"{name}_{field}", {"measurement": name, "field": field}, tags)
            for field in fields
        )
    return Item(series, list(fields.values()), element)


FORMAT = Format(
    name="telegraf",
    description="Telegraf's JSON",
    make=partial(JsonMetricDecoder, read=_read, time="timestamp", unfold=_unfold),
    reasons=(*JSON_REASONS, "missing_name", "missing_value", "bad_value", "bad_tags"),
    schema=Schema(columns=kinds(("metric", "measurement", "field"), ["value"]), others="a tag"),
)
