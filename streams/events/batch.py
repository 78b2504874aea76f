"""What decoding takes and gives: the records of a fetched batch, and the same events as columns.

Guarantee: an `EventBatch` is checked once, where it is made, so that everything after it may rely on
equal lengths and on codes that lie inside their dictionary. Nothing here copies a column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np

from models.arrays import Codes, Counts, EpochMs, Hashes, Mask, Numbers, Offsets, Rows

Kind: TypeAlias = Literal["number", "string"]
"""How a column is used: compared with numbers or measured, or compared with strings or a label."""


@dataclass(frozen=True, slots=True)
class Records:
    """Raw records of one partition in the order of the log.

    values        : R byte strings, None for a tombstone
    offsets       : Offsets [R], ascending, not always contiguous (compaction, control records)
    timestamps_ms : EpochMs [R], the records' own Kafka timestamps, -1 where unknown
    """

    values: Sequence[bytes | None]
    offsets: Offsets
    timestamps_ms: EpochMs

    def __len__(self) -> int:
        return len(self.values)

    def before(self, position: int) -> Records:
        """The records before `position`."""
        return Records(self.values[:position], self.offsets[:position], self.timestamps_ms[:position])

    def since(self, position: int) -> Records:
        """The records from `position` on."""
        return Records(self.values[position:], self.offsets[position:], self.timestamps_ms[position:])


@dataclass(frozen=True, slots=True)
class Strings:
    """A column of strings as dictionary codes.

    codes  : Codes [E], -1 where the event has no such value
    values : the dictionary; entries may repeat and need not be sorted
    """

    codes: Codes
    values: Sequence[str]

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def missing(cls, length: int) -> Strings:
        """A column that has no value in any of `length` events."""
        return cls(np.full(length, -1, dtype=np.int32), ())


Column: TypeAlias = Strings | Numbers


@dataclass(frozen=True, slots=True)
class Counters:
    """Rows whose value is cumulative since some start; only their increase counts.

    rows     : Rows [N], positions of these rows in the batch, ascending
    identity : Hashes [N], equal for points of the same time series
    start_ms : EpochMs [N], when the counting began; 0 where the source does not say
    value    : Numbers [N], the cumulative value
    point    : Hashes [N] or None, the time series of the whole point where a point has several rows:
               a histogram's, while `identity` is that of one bucket. Where the two differ, the row is
               a bucket: its column `value` stays (the bucket's bound), only its weight is the increase,
               and a bucket that the previous point of the series did not have counted 0 there. Equal
               to `identity` for plain counters; None means that all are.
    columns  : the number columns that hold the value, and by what it was scaled there
    """

    rows: Rows
    identity: Hashes
    start_ms: EpochMs
    value: Numbers
    point: Hashes | None = None
    columns: Mapping[str, float] = field(default_factory=lambda: {"value": 1.0})


@dataclass(frozen=True, slots=True)
class Dead:
    """One event (or whole record) that could not be decoded.

    record : position in `Records` of the record that held it
    reason : stable code in snake case, the label of the counter (`bad_json`, `missing_time`)
    detail : where, expected, found; values cut to 80 characters
    """

    record: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class EventBatch:
    """The events of some records, as columns.

    time_ms : EpochMs [E], event times
    record  : Rows [E], position in `Records` of the record each row came from, never descending
    columns : by name; number columns are float64 with NaN, string columns are `Strings`
    weight  : Counts [E] or None, how many occurrences a row stands for (a histogram's bucket count,
              a counter's increase); None means one each
    head    : Mask [E] or None, true on the first row of each event where one event needs several
              rows (a histogram point has a row per bucket); None means that each row is an event
    counters: rows whose increase is still to be found, see `Counters`
    dead    : events that could not be decoded
    skipped : records without content (tombstones), which are neither events nor dead
    """

    time_ms: EpochMs
    record: Rows
    columns: Mapping[str, Column]
    weight: Counts | None = None
    head: Mask | None = None
    counters: Counters | None = None
    dead: Sequence[Dead] = field(default=())
    skipped: int = 0

    def __post_init__(self) -> None:
        length = len(self.time_ms)
        assert self.time_ms.dtype == np.int64
        assert self.record.dtype == np.int64
        assert len(self.record) == length, "record must have a row for each event"
        for name, column in self.columns.items():
            assert len(column) == length, f"column {name!r} has {len(column)} rows, not {length}"
        assert self.weight is None or len(self.weight) == length
        assert self.head is None or len(self.head) == length

    def __len__(self) -> int:
        return len(self.time_ms)

    @property
    def event_count(self) -> int:
        """Number of events; rows that only continue an event are not counted."""
        return len(self.time_ms) if self.head is None else int(np.count_nonzero(self.head))


class Decoder(Protocol):
    """Turns records into columns; a pure function of the records it is given.

    Any bytes may come in: a decoder never raises for them, it reports them as `Dead`.
    """

    def decode(self, records: Records) -> EventBatch:
        """Decode all `records`; good events next to a bad one are kept."""
        ...


@dataclass(frozen=True, slots=True)
class Field:
    """Where a column is found in an event.

    path  : dotted path (`http.status`, `labels.le`); `[0]` indexes a list
    scale : factor to the base unit (0.001 for milliseconds to seconds)
    """

    path: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Layout:
    """How a source's events map to columns.

    wanted      : the columns to make and how each is used; a decoder makes no others
    fields      : columns that are not simply the dotted path of their own name
    time_field  : path of the event time; None takes the format's own place for it
    time_format : "auto" tells numbers by magnitude and strings as ISO 8601; "record" takes the
                  record's Kafka timestamp; a strftime pattern contains "%"
    counters    : for formats that do not tell: glob patterns of metric names that are cumulative
    signal      : what an OTLP topic carries; None for all other formats
    """

    wanted: Mapping[str, Kind]
    fields: Mapping[str, Field] = field(default_factory=dict)
    time_field: str | None = None
    time_format: str = "auto"
    counters: Sequence[str] = ("*_total", "*_count", "*_sum", "*_bucket")
    signal: Literal["metrics", "logs", "spans"] | None = None
