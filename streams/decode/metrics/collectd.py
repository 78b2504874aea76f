"""collectd JSON, as write_kafka and write_http write it: lists of value lists.

`[{"values": [1, 2], "dstypes": ["derive", "derive"], "dsnames": ["rx", "tx"], "time": 1700000000.5,
"interval": 10.0, "host": "web-1", "plugin": "interface", "plugin_instance": "eth0", "type": "if_octets",
"type_instance": ""}]`
Each data source is an event. Its columns are `host`, `plugin`, `plugin_instance`, `type`, `type_instance`,
`dsname` and `dstype`; empty instances are missing values. `metric` is named as by collectd's
write_prometheus: `collectd_interface_if_octets_rx_total`. A null, collectd's unknown, is NaN.

`gauge` is a value, `absolute` a count since the reading before, `derive` and `counter` count from some
start. A `counter` that wraps at 2^32 or 2^64 looks like one that began anew and is taken for that, which
counts at most what followed the wrap. With `StoreRates true` collectd writes rates under the same
types; nothing in the record tells so, and they would be taken for totals: leave it off, the default.

Source: collectd, src/utils/format_json/format_json.c and src/write_prometheus.c.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from streams.decode.format import JSON_REASONS, Format, Schema, kinds
from streams.decode.json.reader import shown
from streams.decode.metrics.metric_json import Item, JsonMetricDecoder, Memory, Refused, all_text
from streams.decode.metrics.points import Temporality

_TEMPORALITY: dict[str, Temporality] = {
    "gauge": "gauge",
    "absolute": "delta",
    "derive": "cumulative",
    "counter": "cumulative",
}
_PARTS = ("host", "plugin", "plugin_instance", "type", "type_instance")


def _read(element: dict[str, Any], memory: Memory) -> Item:
    values = element.get("values")
    if not isinstance(values, list) or not values:
        raise Refused("missing_value", f"expected a list of numbers at 'values', found {shown(values)}")
    for value in values:
        if isinstance(value, bool) or not (value is None or isinstance(value, int | float)):
            raise Refused("bad_value", f"expected numbers and null at 'values', found {shown(value)}")
    names, types = element.get("dsnames"), element.get("dstypes")
    if not isinstance(names, list) or not isinstance(types, list):
        raise Refused("bad_data_sources", f"expected lists at 'dsnames' and 'dstypes', found {shown(names)}")
    key = (*map(element.get, _PARTS), tuple(names), tuple(types))
    try:
        series = memory.known.get(key)
    except TypeError:  # a list or an object where a string belongs
        series = None
    if series is None or len(series) != len(values):
        _check(element, len(values))
        series = memory.known[key] = _learn(element, memory)
    return Item(series, values, element)


def _check(element: dict[str, Any], size: int) -> None:
    """Raise `Refused` where names and types of the data sources do not fit the values."""
    for place in ("dsnames", "dstypes"):
        given = element[place]
        if len(given) != size or not all_text(given):
            raise Refused("bad_data_sources", f"expected {size} strings at {place!r}, found {shown(given)}")
    for kind in element["dstypes"]:
        if kind not in _TEMPORALITY:
            known = ", ".join(_TEMPORALITY)
            raise Refused("bad_data_sources", f"expected one of {known} at 'dstypes', found {shown(kind)}")
    for part in _PARTS:
        given = element.get(part)
        if not (given is None or isinstance(given, str)) or (part in ("plugin", "type") and not given):
            raise Refused("missing_name", f"expected a string at {part!r}, found {shown(given)}")


def _learn(element: dict[str, Any], memory: Memory) -> tuple[int, ...]:
    parts = {part: element[part] for part in _PARTS if element.get(part)}
    return tuple(
        memory.table.add(
            _metric(parts["plugin"], parts["type"], name, kind),
            {**parts, "dsname": name, "dstype": kind},
            {},
            _TEMPORALITY[kind],
        )
        for name, kind in zip(element["dsnames"], element["dstypes"], strict=True)
    )


def _metric(plugin: str, type_: str, name: str, kind: str) -> str:
    """A data source's name; see `metric_family_name` in write_prometheus.c.

    >>> _metric("cpu", "cpu", "value", "derive")
    'collectd_cpu_total'
    """
    words = ["collectd", plugin]
    if type_ != plugin:
        words.append(type_)
    if name != "value":
        words.append(name)
    if kind in ("derive", "counter"):
        words.append("total")
    return "_".join(words)


FORMAT = Format(
    name="collectd",
    description="collectd's JSON",
    make=partial(JsonMetricDecoder, read=_read, time="time"),
    reasons=(*JSON_REASONS, "missing_name", "missing_value", "bad_value", "bad_data_sources"),
    schema=Schema(columns=kinds(("metric", *_PARTS, "dsname", "dstype"), ["value"]), others=None),
)
