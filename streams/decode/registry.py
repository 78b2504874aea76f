"""The formats by name. A new decoder is one module with a factory and one line here.

Modules are imported when a source first uses them, so that a worker pays for its own formats only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType

from streams.events.batch import Decoder, Layout

__all__ = ["FORMATS", "make_decoder"]

_REGISTRY: Mapping[str, tuple[str, str]] = {
    "json": ("streams.decode.json.events:make", "JSON events with a declared mapping"),
    "access_log": (
        "streams.decode.text.access_log:make",
        "nginx and Apache access logs, plain or as JSON lines",
    ),
    "ecs": ("streams.decode.json.ecs:make", "JSON logs in the Elastic Common Schema"),
    "pino": ("streams.decode.json.pino:make", "JSON logs of pino (Node.js)"),
    "fluentbit": ("streams.decode.json.fluentbit:make", "Fluent Bit JSON, objects or [time, object] pairs"),
    "vector": ("streams.decode.metrics.vector:make", "Vector JSON and native JSON, logs and metrics"),
    "debezium": ("streams.decode.json.debezium:make", "Debezium change events, with or without schema"),
    "otlp_proto": ("streams.decode.otlp.otlp:make_proto", "OpenTelemetry batches as protobuf"),
    "otlp_json": ("streams.decode.otlp.otlp:make_json", "OpenTelemetry batches as JSON"),
    "influx": ("streams.decode.metrics.influx:make", "Influx line protocol"),
    "telegraf": ("streams.decode.metrics.telegraf:make", "Telegraf JSON, single metrics or batches"),
    "prometheus": ("streams.decode.metrics.prometheus:make", "JSON of prometheus-kafka-adapter"),
    "collectd": ("streams.decode.metrics.collectd:make", "collectd JSON value lists"),
}

FORMATS: Mapping[str, str] = MappingProxyType({name: text for name, (_, text) in _REGISTRY.items()})
"""Every format's name, and a line that describes it."""


def make_decoder(format: str, layout: Layout) -> Decoder:
    """The decoder of a source.

    Raises ValueError for an unknown format, naming the nearest known one.

    >>> make_decoder("jsn", Layout(wanted={}))
    Traceback (most recent call last):
    ValueError: unknown format 'jsn'; did you mean 'json'? Known: json, access_log, ecs, pino, ...
    """
    if format not in _REGISTRY:
        near = get_close_matches(format, _REGISTRY, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"unknown format {format!r}{hint} Known: {', '.join(_REGISTRY)}")
    module_name, _, function_name = _REGISTRY[format][0].partition(":")
    factory: Callable[[Layout], Decoder] = getattr(import_module(module_name), function_name)
    return factory(layout)
