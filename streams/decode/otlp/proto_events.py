"""OTLP spans and logs in protobuf.

Unlike a metric's, the attributes of spans and log records are often unlike any seen before (paths, ids), so
only those that make a column are looked at: their keys are compared as 8-byte words for all events at once.
"""

from __future__ import annotations

import numpy as np

from models.arrays import Codes, Counts, Numbers, Rows
from streams.decode.otlp.events import (
    CONTEXT_FIELDS,
    FIELDS,
    KINDS,
    SEVERITIES,
    STATUSES,
    Signal,
    batch_of,
    durations,
    named,
)
from streams.decode.otlp.names import SETS_MAX, ContextTable, Slot, or_else, slots_of, spread
from streams.decode.otlp.proto import (
    REASON,
    Places,
    Scopes,
    bury,
    fixed,
    join,
    parts_of,
    resources_of,
    varints,
)
from streams.decode.otlp.value import number_of, proto_value, text_of
from streams.decode.otlp.wire import (
    FIXED64,
    PADDING,
    SIZED,
    Buffer,
    Fields,
    gather,
    scan,
    unpack_varints,
)
from streams.events.batch import Column, Dead, EventBatch, Layout, Records, Strings


class ProtoEvents:
    """Decoder of `ExportTraceServiceRequest`, `TracesData`, `ExportLogsServiceRequest` and `LogsData`."""

    def __init__(self, layout: Layout, signal: Signal) -> None:
        self._layout = layout
        self._signal: Signal = signal
        self._slots = slots_of(layout, event=FIELDS[signal], context=CONTEXT_FIELDS)
        self._renew()

    def _renew(self) -> None:
        self._contexts = ContextTable(self._slots)
        self._scopes = Scopes()

    def decode(self, records: Records) -> EventBatch:
        """See `streams.events.batch.Decoder`."""
        if len(self._contexts) > SETS_MAX:
            self._renew()
        buffer, spans = join(records)
        places = Places()
        dead: list[Dead] = []
        for record, begin, end in spans:
            for start, stop in resources_of(buffer.raw, record, begin, end, dead):
                self._walk(buffer.raw, record, start, stop, places, dead)
        record_of, context, begins, ends = places.arrays()
        fields = scan(buffer.data, begins, ends)
        reader = (_Spans if self._signal == "spans" else _Logs)(buffer, fields, len(begins))
        attributes = _Attributes(buffer, fields, reader.attributes, len(begins))
        return batch_of(
            signal=self._signal,
            records=records,
            layout=self._layout,
            slots=self._slots,
            contexts=self._contexts,
            context=context,
            field=reader.field,
            attribute=attributes.column,
            record=record_of,
            time_ns=reader.time_ns,
            bad=fields.bad | attributes.bad | reader.bad,
            reason=REASON,
            dead=dead,
        )

    def _walk(self, raw: bytes, record: int, begin: int, end: int, places: Places, dead: list[Dead]) -> None:
        """Find the events of one `ResourceSpans` or `ResourceLogs`."""
        try:
            resource, scopes = parts_of(raw, begin, end)
            self._scopes.resource(resource)
        except ValueError as error:
            bury(dead, record, f"resource {self._signal}", error)
            return
        for scope_begin, scope_end in scopes:
            count = len(places.begins)
            try:
                others = gather(raw, scope_begin, scope_end, 0x12, places.begins, places.ends)
                heads = [raw[start:stop] for tag, start, stop in others if tag == 0x0A]
                context = self._context(resource, heads[-1] if heads else b"")
            except ValueError as error:
                del places.begins[count:], places.ends[count:]
                bury(dead, record, f"scope {self._signal}", error)
                continue
            places.owners.append((record, context, len(places.begins) - count))

    def _context(self, resource: bytes, scope: bytes) -> int:
        row = self._contexts.find((resource, scope))
        if row < 0:
            name, _, attributes = self._scopes.scope(scope)
            row = self._contexts.add(
                (resource, scope),
                resource=self._scopes.resource(resource),
                scope=attributes,
                fields={"scope": name},
            )
        return row


class _Spans:
    """Fields of spans that are no attributes."""

    attributes = 9

    def __init__(self, buffer: Buffer, fields: Fields, count: int) -> None:
        self._buffer, self._fields, self._count = buffer, fields, count
        self.time_ns = fixed(buffer, fields, 8, count)
        self._lane, begin, size = fields.select(15, SIZED)
        self._status = scan(buffer.data, begin, begin + size)
        self.bad = np.zeros(count, dtype=np.bool_)
        self.bad[self._lane[self._status.bad]] = True

    def field(self, name: str) -> Column:
        buffer, fields, count = self._buffer, self._fields, self._count
        match name:
            case "name":
                return _texts(buffer, *_last(*fields.select(5, SIZED), count), count)
            case "kind":
                return named(varints(fields, 6, count), KINDS)
            case "duration":
                return durations(fixed(buffer, fields, 7, count), self.time_ns)
            case "status":
                codes = np.zeros(count, dtype=np.int64)
                codes[self._lane] = varints(self._status, 3, len(self._lane))
                return named(codes, STATUSES)
            case "status_message":
                inner, begin, size = self._status.select(2, SIZED)
                return _texts(buffer, self._lane[inner], begin, size, count)
            case _:
                number = {"trace_id": 1, "span_id": 2, "parent_span_id": 4}[name]
                return _ids(buffer, *_last(*fields.select(number, SIZED), count), count)


class _Logs:
    """Fields of log records that are no attributes."""

    attributes = 6

    def __init__(self, buffer: Buffer, fields: Fields, count: int) -> None:
        self._buffer, self._fields, self._count = buffer, fields, count
        time_ns = fixed(buffer, fields, 1, count)
        self.time_ns = np.where(time_ns == 0, fixed(buffer, fields, 11, count), time_ns)
        self.bad = np.zeros(count, dtype=np.bool_)

    def field(self, name: str) -> Column:
        buffer, fields, count = self._buffer, self._fields, self._count
        match name:
            case "body":
                return _values(buffer, *_last(*fields.select(5, SIZED), count), count)
            case "severity":
                text = _texts(buffer, *_last(*fields.select(3, SIZED), count), count)
                return or_else(text, named(varints(fields, 2, count), SEVERITIES))
            case "severity_number":
                return varints(fields, 2, count).astype(np.float64)
            case "event_name":
                return _texts(buffer, *_last(*fields.select(12, SIZED), count), count)
            case _:
                number = {"trace_id": 9, "span_id": 10}[name]
                return _ids(buffer, *_last(*fields.select(number, SIZED), count), count)


class _Attributes:
    """The attributes of all events, of which only the wanted are decoded."""

    def __init__(self, buffer: Buffer, fields: Fields, number: int, count: int) -> None:
        self._buffer, self._count = buffer, count
        lane, begin, size = fields.select(number, SIZED)
        pairs = scan(buffer.data, begin, begin + size)
        self._lane = lane
        self._key_pair, self._key_begin, self._key_size = pairs.select(1, SIZED)
        self._value_begin = np.zeros(len(lane), dtype=np.int64)
        self._value_size = np.zeros(len(lane), dtype=np.int64)
        value_pair, value_begin, value_size = pairs.select(2, SIZED)
        self._value_begin[value_pair] = value_begin
        self._value_size[value_pair] = value_size
        self.bad = np.zeros(count, dtype=np.bool_)
        self.bad[lane[pairs.bad]] = True

    def column(self, slot: Slot) -> Column:
        """The values of the attribute `slot.path`, missing where an event has none."""
        pair = self._find(slot.path.encode())
        lane, begin, size = _last(
            self._lane[pair], self._value_begin[pair], self._value_size[pair], self._count
        )
        if slot.kind == "string":
            return _values(self._buffer, lane, begin, size, self._count)
        return _numbers(self._buffer, lane, begin, size, self._count) * slot.scale

    def _find(self, key: bytes) -> Rows:
        """Pairs with this key, in the order of the bytes."""
        found = np.flatnonzero(self._key_size == len(key))
        words = self._buffer.words
        for at in range(0, len(key), 8):
            part = key[at : at + 8]
            shift = np.uint64(8 * (8 - len(part)))
            wanted = np.uint64(int.from_bytes(part, "little")) << shift
            found = found[(words[self._key_begin[found] + at] << shift) == wanted]
        return np.sort(self._key_pair[found])


def _texts(buffer: Buffer, lane: Rows, begin: Rows, size: Counts, count: int) -> Strings:
    """Column of strings; an empty one, which protobuf does not tell from none, is missing."""
    filled = size > 0
    return spread(_slices(buffer, begin[filled], size[filled]), lane[filled], count)


def _values(buffer: Buffer, lane: Rows, begin: Rows, size: Counts, count: int) -> Strings:
    """Column of `AnyValue` as text; one that is empty or cannot be read is missing."""
    data = buffer.data
    text = (size >= 2) & (data[begin] == 1 << 3 | SIZED) & (data[begin + 1] == size - 2)
    text &= size < 130  # a length of one byte
    texts = spread(_slices(buffer, begin[text] + 2, size[text] - 2), lane[text], count)
    if text.all():
        return texts
    others = _slices(buffer, begin[~text], size[~text])
    decoded = {raw: _decode_value(raw) for raw in set(others)}
    values = list({value: None for value in decoded.values() if value is not None})
    place = {value: code for code, value in enumerate(values)}
    codes = np.full(count, -1, dtype=np.int32)
    codes[lane[~text]] = [-1 if (value := decoded[raw]) is None else place[value] for raw in others]
    return or_else(texts, Strings(codes, values))


def _last(lane: Rows, begin: Rows, size: Counts, count: int) -> tuple[Rows, Rows, Counts]:
    """Of fields that a message has several times the last one, as protobuf wants it."""
    place = np.full(count, -1, dtype=np.int64)
    place[lane] = np.arange(len(lane), dtype=np.int64)
    kept = place[place >= 0]
    return lane[kept], begin[kept], size[kept]


def _slices(buffer: Buffer, begin: Rows, size: Counts) -> list[bytes]:
    raw, ends = buffer.raw, (begin + size).tolist()
    return [raw[first:last] for first, last in zip(begin.tolist(), ends, strict=True)]


def _decode_value(raw: bytes) -> str | None:
    try:
        return text_of(proto_value(raw + PADDING, 0, len(raw)))
    except ValueError:
        return None


def _numbers(buffer: Buffer, lane: Rows, begin: Rows, size: Counts, count: int) -> Numbers:
    """Column of `AnyValue` as numbers."""
    found = np.full(len(lane), np.nan)
    tag = np.where(size > 0, buffer.data[begin], 0)
    double = (tag == 4 << 3 | FIXED64) & (size == 9)
    found[double] = buffer.doubles[begin[double] + 1]
    whole = np.flatnonzero((tag == 3 << 3) & (size >= 2) & (size <= 11))
    values, sizes = unpack_varints(buffer.data, begin[whole] + 1, size[whole] - 1)
    single = sizes == 1
    found[whole[single]] = values[np.cumsum(sizes)[single] - 1]
    rest = np.ones(len(lane), dtype=np.bool_)
    rest[double] = rest[whole[single]] = False
    for at in np.flatnonzero(rest).tolist():
        raw = buffer.raw[int(begin[at]) : int(begin[at] + size[at])]
        try:
            found[at] = number_of(proto_value(raw + PADDING, 0, len(raw)))
        except ValueError:
            continue
    column = np.full(count, np.nan)
    column[lane] = found
    return column


def _ids(buffer: Buffer, lane: Rows, begin: Rows, size: Counts, count: int) -> Strings:
    """Column of byte strings in hex; each is thought to occur once."""
    lane, begin, size = lane[size > 0], begin[size > 0], size[size > 0]
    codes: Codes = np.full(count, -1, dtype=np.int32)
    codes[lane] = np.arange(len(lane), dtype=np.int32)
    width = int(size[0]) if len(size) else 0
    if (size == width).all():
        digits = buffer.data[begin[:, None] + np.arange(width)].tobytes().hex()
        return Strings(codes, [digits[at : at + 2 * width] for at in range(0, len(digits), 2 * width or 1)])
    return Strings(codes, [raw.hex() for raw in _slices(buffer, begin, size)])
