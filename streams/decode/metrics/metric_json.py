"""Metrics as JSON: what the decoders of Telegraf, the Prometheus adapter and collectd have in common.

A record holds an object, a list of objects, or objects on lines of their own. A format is a function that
reads one such element into items; everything around it is here.
Guarantee: an element that cannot be read is one `Dead` and its neighbours are kept; a record without
elements is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import orjson

from models.arrays import EpochMs, Mask, Numbers
from streams.decode.json.reader import parse_freely, shown
from streams.decode.json.shape import Path, parse_path, walk
from streams.decode.metrics.points import SERIES_REMEMBERED_MAX, SeriesTable, to_batch
from streams.decode.strings import float_or_infinity
from streams.decode.times import parse_times
from streams.events.batch import Dead, EventBatch, Layout, Records

_NUMBERS = frozenset({int, float, bool, type(None)})


class Refused(Exception):  # noqa: N818 - an outcome of reading foreign input, no error of the program
    """An element that cannot be read: a stable reason, and what was expected and found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Memory:
    """Series met so far: what a format has worked out from names and labels, by a key of its choice."""

    def __init__(self, layout: Layout) -> None:
        self.table = SeriesTable(layout)
        self.known: dict[Hashable, tuple[int, ...]] = {}


class Item(NamedTuple):
    """Points of one time.

    series : E numbers of series
    values : E numbers, truth values, texts and None
    holder : the object in which the time is found
    """

    series: Sequence[int]
    values: Sequence[object]
    holder: object


Reader: TypeAlias = Callable[[dict[str, Any], Memory], Item]
"""Reads an object; raises `Refused`."""

Unfolder: TypeAlias = Callable[[dict[str, Any]], Sequence[object] | None]
"""The elements within an object that is only their envelope; None for an element itself."""


class JsonMetricDecoder:
    """Decoder of a metric format in JSON.

    read     : reads one element
    unfold   : opens envelopes
    time     : where elements have their time, unless the layout names a place
    """

    def __init__(
        self,
        layout: Layout,
        read: Reader,
        *,
        time: str,
        unfold: Unfolder = lambda element: None,
    ) -> None:
        self._layout = layout
        self._read = read
        self._unfold = unfold
        self._time: Path = parse_path(layout.time_field or time)
        self._memory = Memory(layout)

    def decode(self, records: Records) -> EventBatch:
        if max(len(self._memory.table), len(self._memory.known)) > SERIES_REMEMBERED_MAX:
            self._memory = Memory(self._layout)
        owners, positions, times, sizes = list[int](), list[int](), list[Any](), list[int]()
        series, values, dead = list[int](), list[object](), list[Dead]()
        read, memory, path = self._read, self._memory, self._time
        for record, position, element in self._elements(records, dead):
            try:
                if not isinstance(element, dict):
                    raise Refused("not_an_object", f"expected a JSON object, found {shown(element)}")
                item = read(element, memory)
                time = walk(item.holder, path)
                if time is None and self._layout.time_format != "record":
                    raise Refused("missing_time", f"expected a time at {self._place!r}, found none")
            except Refused as refused:
                dead.append(_dead(record, position, refused.reason, refused.detail))
                continue
            owners.append(record)
            positions.append(position)
            times.append(time)
            sizes.append(len(item.series))
            series.extend(item.series)
            values.extend(item.values)
        item_record = np.asarray(owners, np.int64)
        time_ms, good = self._times(times, records.timestamps_ms[item_record])
        for at in np.flatnonzero(~good).tolist():
            detail = f"expected a time of format {self._layout.time_format} at {self._place!r}"
            dead.append(_dead(owners[at], positions[at], "bad_time", f"{detail}, found {shown(times[at])}"))
        item_of = np.repeat(np.arange(len(sizes)), np.asarray(sizes, np.int64))
        value, texts, bad = split_values(values)
        for row in bad:
            at = int(item_of[row])
            if good[at]:
                detail = f"expected numbers, truth values and text, found {shown(values[row])}"
                dead.append(_dead(owners[at], positions[at], "bad_value", detail))
            good[at] = False
        return to_batch(
            memory.table,
            records,
            item_record=item_record,
            time_ms=time_ms,
            good=good,
            item=item_of,
            series=np.asarray(series, np.int32),
            value=value,
            texts=texts,
            dead=dead,
        )

    @property
    def _place(self) -> str:
        return ".".join(map(str, self._time))

    def _times(self, times: Sequence[object], record_ms: EpochMs) -> tuple[EpochMs, Mask]:
        if self._layout.time_format == "record":
            return record_ms, np.ones(len(record_ms), np.bool_)
        return parse_times(times, self._layout.time_format)

    def _elements(self, records: Records, dead: list[Dead]) -> Iterator[tuple[int, int, object]]:
        """Record, position in it and parsed JSON of each element."""
        for record, content in enumerate(records.values):
            if content is None:
                continue
            try:
                parsed = orjson.loads(content)
            except orjson.JSONDecodeError:
                parsed = None
            if isinstance(parsed, dict) and self._unfold(parsed) is None:
                yield record, 0, parsed
                continue
            elements = parse_elements(content) if parsed is None else [parsed]
            position = 0
            for element in elements:
                if isinstance(element, BadJson):
                    dead.append(Dead(record, "bad_json", element.detail))
                    continue
                inner = self._unfold(element) if isinstance(element, dict) else None
                for one in _flat(element if inner is None else inner):
                    yield record, position, one
                    position += 1


def _dead(record: int, position: int, reason: str, detail: str) -> Dead:
    return Dead(record, reason, f"element {position + 1}: {detail}")


def _flat(element: object) -> Sequence[object]:
    return element if isinstance(element, list) else [element]


class BadJson(NamedTuple):
    """A piece of a record that is no JSON."""

    detail: str


def parse_elements(content: bytes) -> Sequence[object]:
    """JSON values of a record that is not simply one: what writers get wrong, or values on lines."""
    try:
        return [parse_freely(content)]
    except ValueError as error:
        lines = [line for line in content.splitlines() if line.strip()]
        if len(lines) <= 1 or not any(line.lstrip().startswith((b"{", b"[")) for line in lines):
            return [BadJson(f"expected JSON, found {shown(content)}: {error}")]
    return [_parse_line(line, number) for number, line in enumerate(lines, start=1)]


def _parse_line(line: bytes, number: int) -> object:
    try:
        return parse_freely(line)
    except ValueError as error:
        return BadJson(f"line {number}: expected JSON, found {shown(line)}: {error}")


def split_values(values: Sequence[object]) -> tuple[Numbers, dict[int, str], list[int]]:
    """Values [E] as numbers, those that are text, and the positions of lists and objects.

    Truth values count 1 and 0; None and text are NaN.
    """
    if _NUMBERS.issuperset(map(type, values)):
        try:
            return np.array(values, np.float64), {}, []
        except OverflowError:
            pass
    texts = {row: value for row, value in enumerate(values) if isinstance(value, str)}
    bad = [row for row, value in enumerate(values) if isinstance(value, list | dict)]
    return np.fromiter(map(_number, values), np.float64, len(values)), texts, bad


def _number(value: object) -> float:
    if isinstance(value, int):
        return float_or_infinity(value)
    return value if isinstance(value, float) else float("nan")


def all_text(values: Iterable[Any]) -> bool:
    """Whether all of them are strings."""
    try:
        "".join(values)
    except TypeError:
        return False
    return True
