"""A format as a value: its decoder, and all that the rest of the program must know of its events.

Each format's own file makes one `Format`; `streams/decode/registry.py` finds it by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from streams.events.batch import Decoder, Kind, Layout

Signal: TypeAlias = Literal["metrics", "logs", "spans"]

Role: TypeAlias = Literal[
    "message", "client", "user", "api_key", "session", "path", "query", "method", "status", "bytes", "agent"
]
"""What a column can be to those who read events without knowing their format."""

ANY_PATH = "a path"
"""Other columns are read from the path of their own name, so that none can be told to be a slip."""

SEVERE = (
    'lower(severity) in ["error", "err", "fatal", "critical", "crit", "alert", "emergency", "emerg", "panic"]'
)
"""The condition that tells a line of an error by its column `severity`."""


COMMON_REASONS = ("bad_time", "decoder_error", "future", "time_out_of_range")
"""Why events of any format may be dead."""

JSON_REASONS = ("bad_json", "not_an_object", "missing_time")
"""Why records of JSON may be dead."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a format's events.

    columns : columns that the format makes of itself
    others  : what any other column is read as (`a tag`); None where there are no others
    only    : the events that alone can have others (`lines in JSON`); empty where all can
    roles   : by role the column that plays it: one of `columns`, or another that is usual in the format
    error   : the condition that tells a log line of an error; None where the format does not say
    """

    columns: Mapping[str, Kind] = field(default_factory=dict)
    others: str | None = ANY_PATH
    only: str = ""
    roles: Mapping[Role, str] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class EventTime:
    """What a source may say of its events' time.

    known    : the format knows the place, so that a time format can be declared without one
    fields   : the only names that the place may be given; None where it may be any path
    formats  : the only time formats beside `auto` and `record`; None where all are possible
    expected : what to say to whoever declares another time
    """

    known: bool = True
    fields: Sequence[str] | None = None
    formats: Sequence[str] | None = None
    expected: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """A format.

    name        : as sources name it under `format`
    description : in a few words, which docs/formats.md has too
    make        : makes a source's decoder; raises ValueError for a layout that the format cannot fulfil
    schema      : the columns of its events
    signals     : the schemas by signal, of a format whose sources say which signal they carry
    time        : what a source may say of the time
    reasons     : why its records may be dead, beside `COMMON_REASONS`; each has a counter from the start
    """

    name: str
    description: str
    make: Callable[[Layout], Decoder]
    schema: Schema = Schema()
    signals: Mapping[Signal, Schema] = field(default_factory=dict)
    time: EventTime = EventTime()
    reasons: Sequence[str] = ()

    def schema_of(self, signal: Signal | None) -> Schema:
        """The columns of a source's events; `signal` is None for a format without signals."""
        return self.schema if signal is None else self.signals[signal]


def kinds(text: Iterable[str] = (), numbers: Iterable[str] = ()) -> dict[str, Kind]:
    """Columns and their kinds."""
    return {**dict.fromkeys(text, "string"), **dict.fromkeys(numbers, "number")}


def roles_by_name(columns: Iterable[str]) -> dict[Role, str]:
    """The roles of columns that are called as their role is."""
    known = frozenset(columns)
    return {role: role for role in get_args(Role) if role in known}
