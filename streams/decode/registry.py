"""The formats by name. A new one is one file with a `Format` and one line here.

A package adds its own with an entry point in the group `streamgauge.formats`; a source may also name one as
`package.module:FORMAT`. Modules are imported when a source first uses them, so that a worker pays for its own
formats only.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from streams.decode.format import Format
from streams.events.batch import Decoder, Layout
from streams.language.problems import nearest, one_of

__all__ = ["GROUP", "FormatError", "find_format", "format_names", "make_decoder"]

GROUP = "streamgauge.formats"

_SHIPPED: Mapping[str, str] = {
    "json": "streams.decode.json.events:FORMAT",
    "access_log": "streams.decode.text.access_log:FORMAT",
    "ecs": "streams.decode.json.ecs:FORMAT",
    "pino": "streams.decode.json.pino:FORMAT",
    "fluentbit": "streams.decode.json.fluentbit:FORMAT",
    "vector": "streams.decode.metrics.vector:FORMAT",
    "debezium": "streams.decode.json.debezium:FORMAT",
    "otlp_proto": "streams.decode.otlp.otlp:PROTO",
    "otlp_json": "streams.decode.otlp.otlp:JSON",
    "influx": "streams.decode.metrics.influx:FORMAT",
    "telegraf": "streams.decode.metrics.telegraf:FORMAT",
    "prometheus": "streams.decode.metrics.prometheus:FORMAT",
    "collectd": "streams.decode.metrics.collectd:FORMAT",
}


class FormatError(ValueError):
    """There is no such format, or it cannot be loaded.

    expected   : what would have been right
    suggestion : the known name that was perhaps meant, or why a format cannot be loaded; may be empty
    """

    def __init__(self, name: str, expected: str, suggestion: str) -> None:
        hint = f"; {suggestion}" if suggestion else ""
        super().__init__(f"expected {expected}, found {name!r}{hint}")
        self.expected = expected
        self.suggestion = suggestion


def format_names() -> tuple[str, ...]:
    """Names of all formats: those that ship, then those of other packages, sorted."""
    others = {point.name for point in entry_points(group=GROUP)} - _SHIPPED.keys()
    return (*_SHIPPED, *sorted(others))


@cache
def find_format(name: str) -> Format:
    """A format by its name, or as `package.module:FORMAT`.

    Raises FormatError where there is none, naming the nearest known one, or where it cannot be loaded.
    """
    if ":" in name or name in _SHIPPED:
        found: EntryPoint | None = EntryPoint(name, _SHIPPED.get(name, name), GROUP)
    else:
        found = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        known = format_names()
        raise FormatError(name, one_of(known), nearest(name, known))
    try:
        format = found.load()
    except (ImportError, AttributeError) as error:
        raise FormatError(name, f"a format at {found.value}", str(error)) from error
    if not isinstance(format, Format):
        raise FormatError(name, f"a format at {found.value}", f"what is there is no {Format.__name__}")
    return format


def make_decoder(format: str, layout: Layout) -> Decoder:
    """The decoder of a source.

    Raises FormatError for an unknown format, ValueError for a layout that the format cannot fulfil.

    >>> make_decoder("jsn", Layout(wanted={}))
    Traceback (most recent call last):
    streams.decode.registry.FormatError: expected one of json, ..., found 'jsn'; did you mean json?
    """
    return find_format(format).make(layout)
