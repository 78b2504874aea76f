"""OTLP metrics in protobuf: containers walked in Python, points read in step by `otlp_wire.scan`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.arrays import Counts, Numbers, Rows
from streams.decode.otlp.metrics import (
    CONTEXT_FIELDS,
    EVENT_FIELDS,
    Found,
    add_metric,
    batch_of,
    points_of,
    role_of,
)
from streams.decode.otlp.names import SETS_MAX, AttributeTable, ContextTable, slots_of
from streams.decode.otlp.points import Exponentials, Histograms, Points, Ragged
from streams.decode.otlp.value import Attributes, proto_attributes
from streams.decode.otlp.wire import (
    FIXED64,
    PADDING,
    SIZED,
    VARINT,
    Buffer,
    Fields,
    children,
    gather,
    ramps,
    scan,
    unpack_varints,
    varint,
    zigzag,
)
from streams.events.batch import Dead, EventBatch, Layout, Records

REASON = "bad_protobuf"
_TYPES = {0x2A: "gauge", 0x3A: "sum", 0x4A: "histogram", 0x52: "exponential_histogram", 0x5A: "summary"}


@dataclass(slots=True)
class Places:
    """Where the messages of one kind stand in the buffer, and what they belong to.

    owners : one (record, context, count) for each run of messages
    """

    begins: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    owners: list[tuple[int, int, int]] = field(default_factory=list)

    def arrays(self) -> tuple[Rows, Rows, Rows, Rows]:
        """Record, context, begin and end of each message."""
        owners = np.array(self.owners, dtype=np.int64).reshape(-1, 3)
        record = np.repeat(owners[:, 0], owners[:, 2])
        context = np.repeat(owners[:, 1], owners[:, 2])
        return record, context, np.array(self.begins, np.int64), np.array(self.ends, np.int64)


def join(records: Records) -> tuple[Buffer, list[tuple[int, int, int]]]:
    """All values in one buffer, and record, begin and end of each."""
    values = [(record, value) for record, value in enumerate(records.values) if value is not None]
    spans, at = [], 0
    for record, value in values:
        spans.append((record, at, at + len(value)))
        at += len(value)
    return Buffer.of(b"".join([value for _, value in values]) + PADDING), spans


def read_scope(raw: bytes) -> tuple[str, str, Attributes]:
    """Name, version and attributes of an `InstrumentationScope`."""
    padded = raw + PADDING
    text = {1: "", 2: ""}
    for tag, begin, end in children(padded, 0, len(raw)):
        if tag in (0x0A, 0x12):
            text[tag >> 3] = raw[begin:end].decode("utf-8", "replace")
    return text[1], text[2], proto_attributes(raw, tag=0x1A)


def bury(dead: list[Dead], record: int, what: str, error: ValueError) -> None:
    """Note that a container of `record` could not be read."""
    dead.append(Dead(record, REASON, f"{what}: expected an OTLP message, found {error}"))


@dataclass(slots=True)
class Scopes:
    """Resources and scopes already read, by their bytes, so that each is decoded once."""

    resources: dict[bytes, Attributes] = field(default_factory=dict)
    scopes: dict[bytes, tuple[str, str, Attributes]] = field(default_factory=dict)

    def resource(self, raw: bytes) -> Attributes:
        """Attributes of a `Resource`."""
        if raw not in self.resources:
            self.resources[raw] = proto_attributes(raw, tag=0x0A)
        return self.resources[raw]

    def scope(self, raw: bytes) -> tuple[str, str, Attributes]:
        """Name, version and attributes of an `InstrumentationScope`."""
        if raw not in self.scopes:
            self.scopes[raw] = read_scope(raw)
        return self.scopes[raw]


def resources_of(raw: bytes, record: int, begin: int, end: int, dead: list[Dead]) -> list[tuple[int, int]]:
    """Begin and end of each `ResourceX` in a record; one that holds something else is dead."""
    try:
        fields = children(raw, begin, end)
        found = [(start, stop) for tag, start, stop in fields if tag == 0x0A]
        if fields and not found:
            raise ValueError("no field 1")
    except ValueError as error:
        bury(dead, record, "the record", error)
        return []
    return found


def parts_of(raw: bytes, begin: int, end: int) -> tuple[bytes, list[tuple[int, int]]]:
    """Of a `ResourceX` or `ScopeX` message: its field 1, the resource or scope, and places of field 2."""
    head, inner = b"", []
    for tag, start, stop in children(raw, begin, end):
        if tag == 0x0A:
            head = raw[start:stop]
        elif tag == 0x12:
            inner.append((start, stop))
    return head, inner


class ProtoMetrics:
    """Decoder of `ExportMetricsServiceRequest` and `MetricsData`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._slots = slots_of(layout, event=EVENT_FIELDS, context=CONTEXT_FIELDS)
        self._renew()

    def _renew(self) -> None:
        self._contexts = ContextTable(self._slots)
        self._sets = AttributeTable(self._slots, read_run, identified=True)
        self._scopes = Scopes()

    def decode(self, records: Records) -> EventBatch:
        """See `streams.events.batch.Decoder`."""
        if len(self._sets) > SETS_MAX or len(self._contexts) > SETS_MAX:
            self._renew()
        buffer, spans = join(records)
        numbers = Places()
        places = {0x2A: numbers, 0x3A: numbers, 0x4A: Places(), 0x52: Places(), 0x5A: Places()}
        dead: list[Dead] = []
        for record, begin, end in spans:
            for start, stop in resources_of(buffer.raw, record, begin, end, dead):
                self._walk(buffer.raw, record, start, stop, places, dead)
        found = Found(
            REASON,
            self._numbers(buffer, numbers),
            [self._histograms(buffer, places[0x4A]), self._summaries(buffer, places[0x5A])],
            self._exponentials(buffer, places[0x52]),
            dead,
        )
        return batch_of(
            found,
            records=records,
            layout=self._layout,
            slots=self._slots,
            contexts=self._contexts,
            attributes=self._sets,
        )

    def _walk(
        self, raw: bytes, record: int, begin: int, end: int, places: dict[int, Places], dead: list[Dead]
    ) -> None:
        """Find the points of one `ResourceMetrics`; what cannot be read of it goes to `dead`."""
        try:
            resource, scopes = parts_of(raw, begin, end)
            self._scopes.resource(resource)
        except ValueError as error:
            bury(dead, record, "resource metrics", error)
            return
        for scope_begin, scope_end in scopes:
            try:
                scope, metrics = parts_of(raw, scope_begin, scope_end)
                self._scopes.scope(scope)
            except ValueError as error:
                bury(dead, record, "scope metrics", error)
                continue
            for metric_begin, metric_end in metrics:
                try:
                    self._walk_metric(raw, record, metric_begin, metric_end, resource, scope, places)
                except ValueError as error:
                    bury(dead, record, "a metric", error)

    def _walk_metric(
        self,
        raw: bytes,
        record: int,
        begin: int,
        end: int,
        resource: bytes,
        scope: bytes,
        places: dict[int, Places],
    ) -> None:
        name = unit = b""
        kind, body_begin, body_end = 0, 0, 0
        for tag, start, stop in children(raw, begin, end):
            if tag == 0x0A:
                name = raw[start:stop]
            elif tag == 0x1A:
                unit = raw[start:stop]
            elif tag in _TYPES:
                kind, body_begin, body_end = tag, start, stop
        if not kind:
            return
        found = places[kind]
        count = len(found.begins)
        temporality = monotonic = 0
        for tag, start, _ in gather(raw, body_begin, body_end, 0x0A, found.begins, found.ends):
            if tag == 0x10:
                temporality = varint(raw, start, stop)[0]
            elif tag == 0x18:
                monotonic = varint(raw, start, stop)[0]
        key = (resource, scope, name, unit, kind, temporality, monotonic)
        context = self._contexts.find(key)
        if context < 0:
            type_ = _TYPES[kind]
            context = add_metric(
                self._contexts,
                key,
                resource=self._scopes.resource(resource),
                scope=self._scopes.scope(scope),
                name=name.decode("utf-8", "replace"),
                unit=unit.decode("utf-8", "replace"),
                type_=type_,
                role=role_of(type_=type_, temporality=temporality, monotonic=monotonic != 0),
            )
        found.owners.append((record, context, len(found.begins) - count))

    def _points(
        self, buffer: Buffer, places: Places, *, attributes: int, flags: int
    ) -> tuple[Points, Fields, int]:
        """What all kinds of points have in common; the numbers of two fields differ."""
        record, context, begin, end = places.arrays()
        fields = scan(buffer.data, begin, end)
        count = len(begin)
        sets = _sets_of(buffer, fields, attributes, count, self._sets)
        sets[fields.bad] = 0
        points = points_of(
            self._contexts,
            self._sets,
            record=record,
            context=context,
            sets=sets,
            time_ns=fixed(buffer, fields, 3, count),
            start_ns=fixed(buffer, fields, 2, count),
            flags=varints(fields, flags, count),
        )
        return points, fields, count

    def _numbers(self, buffer: Buffer, places: Places) -> tuple[Points, Numbers]:
        points, fields, count = self._points(buffer, places, attributes=7, flags=8)
        value = _doubles(buffer, fields, 4, count, 0.0)
        lane, begin, _ = fields.select(6, FIXED64)
        value[lane] = buffer.words[begin].view(np.int64)
        return points, value

    def _histograms(self, buffer: Buffer, places: Places) -> Histograms:
        points, fields, count = self._points(buffer, places, attributes=9, flags=10)
        sizes, counts_at = _packed(fields, 6, count)
        bound_sizes, bounds_at = _packed(fields, 7, count)
        return Histograms(
            points,
            count=fixed(buffer, fields, 4, count),
            sum=_doubles(buffer, fields, 5, count, np.nan),
            max=_doubles(buffer, fields, 12, count, np.nan),
            buckets=Ragged(sizes, buffer.words[counts_at].view(np.int64)),
            bounds=Ragged(bound_sizes, buffer.doubles[bounds_at]),
        )

    def _summaries(self, buffer: Buffer, places: Places) -> Histograms:
        points, fields, count = self._points(buffer, places, attributes=7, flags=8)
        none = Ragged(np.zeros(count, dtype=np.int64), np.zeros(0, dtype=np.int64))
        return Histograms(
            points,
            count=fixed(buffer, fields, 4, count),
            sum=_doubles(buffer, fields, 5, count, 0.0),
            max=np.full(count, np.nan),
            buckets=none,
            bounds=none,
        )

    def _exponentials(self, buffer: Buffer, places: Places) -> Exponentials:
        points, fields, count = self._points(buffer, places, attributes=1, flags=10)
        positive_offset, positive, positive_bad = _side(buffer, fields, 8, count)
        negative_offset, negative, negative_bad = _side(buffer, fields, 9, count)
        points.attributes[positive_bad | negative_bad] = 0
        return Exponentials(
            points,
            count=fixed(buffer, fields, 4, count),
            sum=_doubles(buffer, fields, 5, count, np.nan),
            scale=zigzag(varints(fields, 6, count)),
            zero_count=fixed(buffer, fields, 7, count),
            positive_offset=positive_offset,
            positive=positive,
            negative_offset=negative_offset,
            negative=negative,
        )


def read_run(raw: bytes) -> Attributes:
    """Attributes in a run of `KeyValue` fields, whatever their number in the message."""
    return proto_attributes(raw, tag=raw[0] if raw else 0)


def _sets_of(buffer: Buffer, fields: Fields, number: int, count: int, table: AttributeTable) -> Rows:
    """Row in `table` of each message's attributes, which mostly stand side by side."""
    lane, begin, size = fields.select(number, SIZED)
    header = 2 + (size >= 1 << 7) + (size >= 1 << 14) + (size >= 1 << 21)
    start = np.zeros(count, dtype=np.int64)
    start[lane[::-1]] = (begin - header)[::-1]
    stop = np.zeros(count, dtype=np.int64)
    stop[lane] = begin + size
    raw = buffer.raw
    runs = [raw[first:last] for first, last in zip(start.tolist(), stop.tolist(), strict=True)]
    held = np.bincount(lane, weights=header + size, minlength=count).astype(np.int64)
    for message in np.flatnonzero(held != stop - start).tolist():
        own = lane == message
        pieces = zip((begin - header)[own].tolist(), (begin + size)[own].tolist(), strict=True)
        runs[message] = b"".join([raw[first:last] for first, last in pieces])
    return np.array([table[run] for run in runs], dtype=np.int64)


def fixed(buffer: Buffer, fields: Fields, number: int, count: int) -> Counts:
    lane, begin, _ = fields.select(number, FIXED64)
    found = np.zeros(count, dtype=np.int64)
    found[lane] = buffer.words[begin].view(np.int64)
    return found


def _doubles(buffer: Buffer, fields: Fields, number: int, count: int, missing: float) -> Numbers:
    lane, begin, _ = fields.select(number, FIXED64)
    found = np.full(count, missing)
    found[lane] = buffer.doubles[begin]
    return found


def varints(fields: Fields, number: int, count: int) -> Counts:
    lane, _, value = fields.select(number, VARINT)
    found = np.zeros(count, dtype=np.int64)
    found[lane] = value
    return found


def _packed(fields: Fields, number: int, count: int) -> tuple[Counts, Rows]:
    """Sizes of repeated 8-byte fields and where all their values stand, packed or not."""
    lane, begin, size = fields.select(number, SIZED)
    size = size // 8
    single_lane, single_begin, _ = fields.select(number, FIXED64)
    if len(single_lane):
        lane = np.concatenate((lane, single_lane))
        begin = np.concatenate((begin, single_begin))
        size = np.concatenate((size, np.ones(len(single_lane), dtype=np.int64)))
    order = np.lexsort((begin, lane))
    sizes = np.bincount(lane, weights=size, minlength=count).astype(np.int64)
    return sizes, ramps(begin[order], size[order], 8)


def _side(buffer: Buffer, fields: Fields, number: int, count: int) -> tuple[Counts, Ragged, Rows]:
    """Offset and counts of the buckets on one side of zero, and messages where they are malformed."""
    lane, begin, size = fields.select(number, SIZED)
    inner = scan(buffer.data, begin, begin + size)
    offset = np.zeros(count, dtype=np.int64)
    offset_lane, _, value = inner.select(1, VARINT)
    offset[lane[offset_lane]] = zigzag(value)
    packed_lane, packed_begin, packed_size = inner.select(2, SIZED)
    values, sizes = unpack_varints(buffer.data, packed_begin, packed_size)
    owner = np.repeat(lane[packed_lane], sizes)
    place = np.repeat(packed_begin, sizes)
    single_lane, single_begin, single = inner.select(2, VARINT)
    if len(single):
        owner = np.concatenate((owner, lane[single_lane]))
        place = np.concatenate((place, single_begin))
        values = np.concatenate((values, single))
    order = np.lexsort((place, owner))
    return offset, Ragged(np.bincount(owner, minlength=count), values[order]), lane[inner.bad]
