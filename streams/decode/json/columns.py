"""From structs to columns: the second half of every decoder for JSON.

A `Rules` value says where a format keeps each column and its time; `JsonDecoder` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np

from models.arrays import Codes, EpochMs, Mask, Numbers, Rows
from streams.decode.accounting import skipped_count
from streams.decode.format import SEVERE, Role, Schema, kinds, roles_by_name
from streams.decode.json.reader import JsonReader, shown
from streams.decode.json.shape import Getter, Path, Shape, Use, parse_path, to_number
from streams.decode.strings import Encoder, scaled
from streams.decode.times import parse_times
from streams.events.batch import Column, Dead, EventBatch, Kind, Layout, Records, Strings

DEFAULT_TIMES = ("ts", "time", "timestamp", "@timestamp")
"""Where an event's time is looked for, in this order, unless the source names a place."""

NUMBERS = frozenset({"status", "bytes", "duration"})
"""Well-known columns that are numbers; all others are text."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a format knows about its events.

    times   : default places of the event time; the record's timestamp is the last resort
    aliases : well-known columns and the paths where this format keeps them, best first
    scales  : by well-known column, the factor from the format's own unit to the base unit
    rename  : by column, what to make of the column's strings (level numbers to names)
    """

    times: Sequence[str] = DEFAULT_TIMES
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)
    rename: Mapping[str, Callable[[str], str]] = field(default_factory=dict)

    def schema(self, *more: str, roles: Mapping[Role, str] | None = None) -> Schema:
        """What a `Format` says of events with these rules: well-known columns play the roles of their names.

        more  : text columns that the format makes beside its well-known ones
        roles : roles that other columns play
        """
        numbers = [column for column in self.aliases if column in NUMBERS]
        message: dict[Role, str] = {"message": "body"} if "body" in self.aliases else {}
        return Schema(
            columns=kinds((*self.aliases, *more)) | kinds(numbers=numbers),
            roles={**message, **roles_by_name(self.aliases), **(roles or {})},
            error=SEVERE if "severity" in self.aliases else None,
        )


@dataclass(frozen=True, slots=True)
class _Source:
    """A wanted column: the ways to its values, the best first, and the factor to the base unit."""

    name: str
    kind: Kind
    getters: tuple[tuple[Getter, Use], ...]
    scale: float


def places(column: str, layout: Layout, rules: Rules) -> tuple[Path, ...]:
    """The paths where a column may be: as declared, else as the format has it, else by its own name.

    A dotted path is tried as nested objects and as one literal key.
    """
    if column in layout.fields:
        texts: Sequence[str] = (layout.fields[column].path,)
    else:
        known = rules.aliases.get(column, ())
        # Where a format keeps the column inside an object of its name, the object itself is not the column.
        own = () if any(place.startswith(f"{column}.") for place in known) else (column,)
        texts = tuple(dict.fromkeys((*known, *own)))
    return tuple(path for text in texts for path in both_readings(text))


def both_readings(text: str) -> tuple[Path, ...]:
    """`a.b` as a path and as one literal key."""
    path = parse_path(text)
    return (path,) if len(path) == 1 else (path, (text,))


class JsonDecoder:
    """Decodes events that are JSON objects, by a format's rules and a source's layout."""

    markers: Sequence[tuple[Path, Use]] = ()
    """What `views` needs of a record besides the event's own paths."""

    def __init__(self, layout: Layout, rules: Rules = Rules()) -> None:
        self._layout = layout
        self._rules = rules
        self._by_record = layout.time_format == "record"
        times = () if self._by_record else (layout.time_field,) if layout.time_field else rules.times
        time_paths = [path for text in times for path in both_readings(text)]
        columns = {name: places(name, layout, rules) for name in layout.wanted}
        wanted: list[tuple[Path, Use]] = [(path, "time") for path in time_paths]
        for name, kind in layout.wanted.items():
            wanted += [(path, kind) for path in columns[name]]
        ways = [(way, use) for path, use in wanted for way in self.ways(path)]
        shape = Shape([*self.markers, *ways])
        self._reader = JsonReader(shape)
        self._times = [getter for path in time_paths for getter, _ in self.getters(shape, path)]
        self._sources = [
            _Source(
                name,
                kind,
                tuple(getter for path in columns[name] for getter in self.getters(shape, path)),
                layout.fields[name].scale if name in layout.fields else rules.scales.get(name, 1.0),
            )
            for name, kind in layout.wanted.items()
        ]

    def ways(self, path: Path) -> Sequence[Path]:
        """Where in the record's object a path of the event may lie; a format with envelopes knows more."""
        return (path,)

    def getters(self, shape: Shape, path: Path) -> Sequence[tuple[Getter, Use]]:
        """How to take the values of a path out of what `views` gives, the best way first."""
        return ((shape.getter(path), shape.use(path)),)

    def views(self, events: list[Any]) -> tuple[list[Any], Mask | None]:
        """What the getters look into, and Mask [E] of the events that are any (None: all are)."""
        return events, None

    def decode(self, records: Records) -> EventBatch:
        """Decode all `records`; see `Decoder.decode`."""
        encoders = {source.name: Encoder() for source in self._sources if source.kind == "string"}
        pieces: dict[str, list[Any]] = {source.name: [] for source in self._sources}
        times: list[EpochMs] = []
        owners: list[Rows] = []
        dead: list[Dead] = []
        for chunk in self._reader.chunks(records.values):
            events, owner = chunk.events, chunk.owners
            events, real = self.views(events)
            if real is not None:
                events, owner = list(compress(events, real.tolist())), owner[real]
            time_ms, alive = self._event_times(events, owner, records, chunk.dead)
            if not alive.all():
                events = list(compress(events, alive.tolist()))
                owner, time_ms = owner[alive], time_ms[alive]
            dead += sorted(chunk.dead, key=_record_of) if chunk.dead else ()
            times.append(time_ms)
            owners.append(owner)
            for source in self._sources:
                column = (
                    numbers(source.getters, events)
                    if source.kind == "number"
                    else codes(source.getters, events, encoders[source.name])
                )
                pieces[source.name].append(column)
        record: Rows = _joined(owners, np.int64)
        return EventBatch(
            time_ms=_joined(times, np.int64),
            record=record,
            columns={
                source.name: self._column(source, pieces[source.name], encoders) for source in self._sources
            },
            dead=dead,
            skipped=skipped_count(len(records), record, dead),
        )

    def _column(self, source: _Source, pieces: list[Any], encoders: Mapping[str, Encoder]) -> Column:
        if source.kind == "number":
            return scaled(_joined(pieces, np.float64), source.scale)
        strings = encoders[source.name].column(_joined(pieces, np.int32))
        rename = self._rules.rename.get(source.name)
        if rename is None or source.name in self._layout.fields:
            return strings
        return Strings(strings.codes, [rename(value) for value in strings.values])

    def _event_times(
        self, events: Sequence[Any], owners: EpochMs, records: Records, dead: list[Dead]
    ) -> tuple[EpochMs, Mask]:
        """Times [E], and which events have one; the others are reported as dead."""
        values = first_found(self._times, events)
        if None not in values:
            time_ms, readable = parse_times(values, self._layout.time_format)
        else:
            missing = np.fromiter((value is None for value in values), np.bool_, len(values))
            given = [value for value in values if value is not None]
            time_ms, readable = np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
            time_ms[~missing], readable[~missing] = parse_times(given, self._layout.time_format)
            if self._by_record or self._layout.time_field is None:
                time_ms[missing] = records.timestamps_ms[owners[missing]]
                readable[missing] = time_ms[missing] >= 0
        dead += [self._untimed(int(owners[row]), values[row]) for row in np.flatnonzero(~readable).tolist()]
        return time_ms, readable

    def _untimed(self, record: int, value: object) -> Dead:
        """The dead letter of an event whose time is `value`."""
        names = [self._layout.time_field] if self._layout.time_field else self._rules.times
        place = "the record's timestamp" if self._by_record else " or ".join(map(repr, names))
        if value is None:
            return Dead(record, "missing_time", f"expected a time at {place}, found none")
        expected = f"expected a time ({self._layout.time_format}) at {place}"
        return Dead(record, "bad_time", f"{expected}, found {shown(value)}")


def _record_of(dead: Dead) -> int:
    return dead.record


def _joined(pieces: list[Any], dtype: Any) -> Any:
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.empty(0, dtype)


def first_found(getters: Sequence[Getter], events: Sequence[Any]) -> list[Any]:
    """Values [E] of the first getter that has one; None where none has."""
    values: list[Any] = [None] * len(events)
    for position, getter in enumerate(getters):
        found = getter(events)
        if position == 0:
            values = found
        else:
            values = [new if old is None else old for old, new in zip(values, found, strict=True)]
        if None not in values:
            break
    return values


def numbers(getters: Sequence[tuple[Getter, Use]], events: Sequence[Any]) -> Numbers:
    """Numbers [E] of the first getter that has one; NaN where none has."""
    result: Numbers = np.full(len(events), np.nan)
    for position, (getter, use) in enumerate(getters):
        values = getter(events)
        if use == "number":
            try:
                found = np.fromiter(values, np.float64, len(values))
            except TypeError:  # an explicit null
                found = np.array([np.nan if value is None else value for value in values], np.float64)
        else:
            found = np.fromiter(map(to_number, values), np.float64, len(values))
        result = found if position == 0 else np.where(np.isnan(result), found, result)
        if not np.isnan(result).any():
            break
    return result


def codes(getters: Sequence[tuple[Getter, Use]], events: Sequence[Any], encoder: Encoder) -> Codes:
    """Codes [E] of the first getter that has a value; -1 where none has."""
    result: Codes = np.full(len(events), -1, np.int32)
    for position, (getter, _) in enumerate(getters):
        found = encoder.encode(getter(events))
        result = found if position == 0 else np.where(result < 0, found, result)
        if (result >= 0).all():
            break
    return result
