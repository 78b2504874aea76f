"""Format `debezium`: change events of a database, with or without schema, wrapped or flattened.

A column is looked for in the row (`after`, for deletes `before`), then in the envelope (`op`, `ts_ms`,
`source.table`). The time is the envelope's `ts_ms`, else `source.ts_ms`.
Tombstones, and payloads that are null, are skipped.
Source: https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from models.arrays import Mask
from streams.decode.format import JSON_REASONS, Format
from streams.decode.json.columns import JsonDecoder, Rules
from streams.decode.json.shape import Getter, Path, Shape, Use, attribute_of

_RULES = Rules(times=("ts_ms", "source.ts_ms"))

_SCHEMA, _PAYLOAD = attribute_of("schema"), attribute_of("payload")
_AFTER, _BEFORE, _OP = attribute_of("after"), attribute_of("before"), attribute_of("op")


class _Change(NamedTuple):
    """A change: its row, None where it has none, and its envelope."""

    row: Any
    envelope: Any


class DebeziumDecoder(JsonDecoder):
    """JSON events whose columns lie in a row inside an envelope, which may be a payload itself."""

    markers = ((("payload", "op"), "string"), (("op",), "string"), (("schema", "type"), "string"))

    def ways(self, path: Path) -> Sequence[Path]:
        """A path in the row and in the envelope, each with and without `payload` around it."""
        path = _inside(path)
        ways: list[Path] = []
        for envelope in (("payload",), ()):
            ways += [(*envelope, "after", *path), (*envelope, "before", *path)]
            if path[0] != "payload" and path not in (("after",), ("before",)):
                ways.append((*envelope, *path))
        return ways

    def getters(self, shape: Shape, path: Path) -> Sequence[tuple[Getter, Use]]:
        """The row first, then the envelope."""
        path = _inside(path)
        row = ("after", *path)
        found = [(shape.getter(row).under("row"), shape.use(row))]
        if path[0] != "payload" and path not in (("after",), ("before",)):
            whole = ("payload", *path)
            found.append((shape.getter(whole).under("envelope"), shape.use(whole)))
        return found

    def views(self, events: list[Any]) -> tuple[list[Any], Mask | None]:
        """Changes [E], and which of them have a payload."""
        no_schema = getattr(type(events[0])(), _SCHEMA) if events else None
        changes = [_change(event, no_schema) for event in events]
        real = np.fromiter((change.envelope is not None for change in changes), np.bool_, len(changes))
        return changes, None if real.all() else real


def _inside(path: Path) -> Path:
    return path[1:] if len(path) > 1 and path[0] == "payload" else path


def _change(event: Any, no_schema: object) -> _Change:
    """The parts of a record; without an envelope where the payload beside a schema is null.

    no_schema : what stands in the struct of a record that has no member `schema`, as flattened rows have
    """
    envelope = getattr(event, _PAYLOAD)
    if envelope is None and getattr(event, _SCHEMA) is not no_schema:
        return _Change(None, None)
    if getattr(envelope, _OP, None) is None:
        envelope = event
    is_delete = getattr(envelope, _OP) == "d"
    return _Change(getattr(envelope, _BEFORE if is_delete else _AFTER, None), envelope)


FORMAT = Format(
    name="debezium",
    description="changes of a database",
    make=partial(DebeziumDecoder, rules=_RULES),
    reasons=JSON_REASONS,
)
