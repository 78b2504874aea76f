"""Columns that OTLP takes from attributes: of the point, span or log record, its scope and its resource.

Attribute sets repeat: a metric's points have those of their series, and all points of an export share a
resource. So a set is decoded once, when its bytes are first seen, and its wanted values are kept as one
row of a table; per event there remain one look-up of bytes and one gather per column.

Limit: a table of more than `SETS_MAX` sets is begun anew with the next batch (24 MB at 400 bytes a set);
results do not depend on it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, overload

import numpy as np

from models.arrays import Codes, Hashes, Numbers, Rows
from streams.decode.otlp.value import Attributes, Value, identity_of, number_of, text_of
from streams.decode.strings import whole_text
from streams.events.batch import Column, Kind, Layout, Strings

SETS_MAX = 65_536
_COMPACT_ABOVE = 1_024  # dictionaries up to this size are handed out whole

Place: TypeAlias = Literal["event", "context", "attribute", "resource"]


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one wanted column comes from.

    path  : name of a field or of an attribute
    scale : factor of a number column
    place : `event`, a field of the span, log record or point; `context`, a field of the metric;
            `attribute`, nearest first: event, scope, resource; `resource`, only there
    """

    name: str
    kind: Kind
    path: str
    scale: float
    place: Place


def slots_of(layout: Layout, *, event: frozenset[str], context: frozenset[str]) -> tuple[Slot, ...]:
    """The wanted columns; `event` and `context` name the fields that are no attributes."""
    slots = []
    for name, kind in layout.wanted.items():
        path, scale = name, 1.0
        if name in layout.fields:
            path, scale = layout.fields[name].path, layout.fields[name].scale
        place: Place = "attribute"
        if path in event:
            place = "event"
        elif path in context:
            place = "context"
        elif path.startswith("resource."):
            path, place = path.removeprefix("resource."), "resource"
        slots.append(Slot(name, kind, path, scale, place))
    return tuple(slots)


class _Cells:
    """A growing column: one cell a set, strings as codes of a dictionary of its own."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._cells: array[Any] = array("i" if slot.kind == "string" else "d")
        self._codes: dict[str, int] = {}

    def append(self, value: Value) -> None:
        if self._slot.kind == "number":
            self._cells.append(number_of(value) * self._slot.scale)
            return
        text = value if type(value) is str else text_of(value)
        if text is None:
            self._cells.append(-1)
        else:
            self._cells.append(self._codes.setdefault(whole_text(text), len(self._codes)))

    def column(self, sets: Rows) -> Column:
        if self._slot.kind == "number":
            numbers: Numbers = np.array(self._cells, dtype=np.float64)[sets]
            return numbers
        codes: Codes = np.array(self._cells, dtype=np.int32)[sets]
        values = tuple(self._codes)
        if len(values) <= _COMPACT_ABOVE:
            return Strings(codes, values)
        used = np.zeros(len(values) + 1, dtype=np.bool_)
        used[codes] = True  # a missing value, -1, marks the spare last entry
        used[-1] = False
        place = np.cumsum(used, dtype=np.int32) - np.int32(1)
        place[-1] = -1
        return Strings(place[codes], tuple(values[code] for code in np.flatnonzero(used)))


class AttributeTable(dict[bytes, int]):
    """Row of each attribute set by the bytes that encode it; indexing with new bytes decodes them.

    Row 0 stands for bytes that are no attribute set.
    """

    def __init__(
        self, slots: Sequence[Slot], parse: Callable[[bytes], Attributes], *, identified: bool
    ) -> None:
        super().__init__()
        self._parse = parse
        self._cells = {slot.name: _Cells(slot) for slot in slots if slot.place == "attribute"}
        self._appends = [
            (slot.path, self._cells[slot.name].append) for slot in slots if slot.name in self._cells
        ]
        self._identity = array("Q") if identified else None
        self._count = 0
        self._append({})

    def __missing__(self, raw: bytes) -> int:
        try:
            row = self._append(self._parse(raw))
        except (ValueError, TypeError, AttributeError, RecursionError):
            row = 0
        self[raw] = row
        return row

    def _append(self, attributes: Attributes) -> int:
        for path, append in self._appends:
            append(attributes.get(path))
        if self._identity is not None:
            self._identity.append(identity_of(attributes))
        self._count += 1
        return self._count - 1

    def column(self, name: str, rows: Rows) -> Column:
        """The values that the sets `rows` have for the column `name`."""
        return self._cells[name].column(rows)

    def identity(self, rows: Rows) -> Hashes:
        """The keys of the sets `rows`."""
        assert self._identity is not None
        return np.array(self._identity, dtype=np.uint64)[rows]


class ContextTable:
    """What all points of a metric share, or all spans and log records of a scope: one row each."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = {slot.name: slot for slot in slots if slot.place != "event"}
        self._cells = {name: _Cells(slot) for name, slot in self._slots.items()}
        self._rows: dict[object, int] = {}
        self._identity = array("Q")
        self._role = array("b")

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, key: object) -> int:
        """Row of the context that `add` got under this key; -1 if none."""
        return self._rows.get(key, -1)

    def add(
        self,
        key: object,
        *,
        resource: Attributes,
        scope: Attributes,
        fields: Mapping[str, Value],
        role: int = 0,
        identity: int = 0,
    ) -> int:
        """Add a context under a hashable `key` that equals only those of the same content."""
        for name, cells in self._cells.items():
            slot = self._slots[name]
            if slot.place == "context":
                cells.append(fields.get(slot.path))
            elif slot.place == "attribute" and slot.path in scope:
                cells.append(scope[slot.path])
            else:
                cells.append(resource.get(slot.path))
        self._identity.append(identity)
        self._role.append(role)
        self._rows[key] = len(self._rows)
        return len(self._rows) - 1

    def column(self, name: str, rows: Rows) -> Column:
        """The values that the contexts `rows` have for the column `name`."""
        return self._cells[name].column(rows)

    def identity(self, rows: Rows) -> Hashes:
        """The keys of the contexts `rows`."""
        return np.array(self._identity, dtype=np.uint64)[rows]

    def role(self, rows: Rows) -> Codes:
        """What the contexts `rows` do with a point's value, see `otlp_points`."""
        return np.array(self._role, dtype=np.int32)[rows]


def coded(keys: list[bytes]) -> Strings:
    """Column of UTF-8 texts; what is not UTF-8 in them is replaced."""
    distinct = dict.fromkeys(keys)
    try:
        texts = [*map(bytes.decode, distinct)]
    except UnicodeDecodeError:
        texts = [key.decode("utf-8", "replace") for key in distinct]
    code = dict(zip(distinct, range(len(texts)), strict=True))
    return Strings(np.fromiter(map(code.__getitem__, keys), np.int32, len(keys)), texts)


def spread(keys: list[bytes], rows: Rows, count: int) -> Strings:
    """Column of `count` rows that has UTF-8 texts in some `rows`, of one with several texts the last."""
    some = coded(keys)
    codes = np.full(count, -1, dtype=np.int32)
    codes[rows] = some.codes
    return Strings(codes, some.values)


@overload
def or_else(first: Strings, second: Strings) -> Strings: ...
@overload
def or_else(first: Column, second: Column) -> Column: ...
def or_else(first: Column, second: Column) -> Column:
    """`first`, and `second` where that is missing; two columns of the same kind and length."""
    if isinstance(first, Strings) and isinstance(second, Strings):
        missing = first.codes < 0
        if not missing.any() or not second.values:
            return first
        if not first.values:
            return second
        there = np.where(second.codes >= 0, second.codes + np.int32(len(first.values)), np.int32(-1))
        return Strings(np.where(missing, there, first.codes), (*first.values, *second.values))
    assert isinstance(first, np.ndarray)
    assert isinstance(second, np.ndarray)
    return np.where(np.isnan(first), second, first)


def select(column: Column, rows: Rows) -> Column:
    """Some rows of a column."""
    return Strings(column.codes[rows], column.values) if isinstance(column, Strings) else column[rows]
