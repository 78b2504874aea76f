"""OTLP spans and log records in JSON."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np

from models.arrays import Codes, Counts
from streams.decode.otlp import json as types
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
from streams.decode.otlp.json_lenient import Lenient
from streams.decode.otlp.names import SETS_MAX, AttributeTable, ContextTable, or_else, slots_of
from streams.decode.otlp.value import WantedReader, json_value, text_of
from streams.decode.strings import whole_texts
from streams.events.batch import Column, Dead, EventBatch, Layout, Records, Strings

_KIND_NUMBERS = {f"SPAN_KIND_{name}": number for number, name in enumerate(KINDS)}
_STATUS_NUMBERS = {f"STATUS_CODE_{name}": number for number, name in enumerate(STATUSES)}
_SEVERITY_NUMBERS = {f"SEVERITY_NUMBER_{name}": number for number, name in enumerate(SEVERITIES)}
_UNREADABLE = (ValueError, TypeError, AttributeError, RecursionError)

Owners: TypeAlias = list[tuple[int, int, int]]


class JsonEvents:
    """Decoder of `ExportTraceServiceRequest`, `TracesData`, `ExportLogsServiceRequest` and `LogsData`."""

    def __init__(self, layout: Layout, signal: Signal) -> None:
        self._layout = layout
        self._signal: Signal = signal
        self._slots = slots_of(layout, event=FIELDS[signal], context=CONTEXT_FIELDS)
        data: type[types.TracesData | types.LogsData]
        data = types.TracesData if signal == "spans" else types.LogsData
        self._decode = msgspec.json.Decoder(data, strict=False).decode
        self._reader = WantedReader(slot.path for slot in self._slots if slot.place == "attribute")
        self._renew()

    def _renew(self) -> None:
        self._contexts = ContextTable(self._slots)
        self._sets = AttributeTable(self._slots, self._reader, identified=False)

    def decode(self, records: Records) -> EventBatch:
        """See `streams.events.batch.Decoder`."""
        if len(self._sets) > SETS_MAX or len(self._contexts) > SETS_MAX:
            self._renew()
        dead: list[Dead] = []
        items: list[Any] = []
        owners: Owners = []
        for record, value in enumerate(records.values):
            if value is None:
                continue
            try:
                data = self._decode(value)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                lenient = Lenient(record, dead)
                data = lenient.spans(value) if self._signal == "spans" else lenient.logs(value)
            self._walk(data, record, items, owners, dead)
        owner = np.array(owners, dtype=np.int64).reshape(-1, 3)
        record_of, context = np.repeat(owner[:, 0], owner[:, 2]), np.repeat(owner[:, 1], owner[:, 2])
        reader = (_Spans if self._signal == "spans" else _Logs)(items)
        table = self._sets
        sets = np.fromiter([table[bytes(item.attributes)] for item in items], np.int64, len(items))
        return batch_of(
            signal=self._signal,
            records=records,
            layout=self._layout,
            slots=self._slots,
            contexts=self._contexts,
            context=context,
            field=reader.field,
            attribute=lambda slot: table.column(slot.name, sets),
            record=record_of,
            time_ns=reader.time_ns,
            bad=sets == 0,
            reason=types.REASON,
            dead=dead,
        )

    def _walk(
        self,
        data: types.TracesData | types.LogsData,
        record: int,
        items: list[Any],
        owners: Owners,
        dead: list[Dead],
    ) -> None:
        for raw, scope_raw, events in _scopes(data):
            try:
                context = self._context(raw, scope_raw)
            except _UNREADABLE as error:
                dead.append(Dead(record, types.REASON, f"a resource or scope: {error}"))
                continue
            items.extend(events)
            owners.append((record, context, len(events)))

    def _context(self, resource: bytes, scope: bytes) -> int:
        row = self._contexts.find((resource, scope))
        if row < 0:
            name, _, attributes = types.scope_of(scope)
            row = self._contexts.add(
                (resource, scope),
                resource=types.resource_of(resource),
                scope=attributes,
                fields={"scope": name},
            )
        return row


def _scopes(data: types.TracesData | types.LogsData) -> Iterable[tuple[bytes, bytes, Sequence[Any]]]:
    """Resource, scope and events of each scope."""
    if isinstance(data, types.TracesData):
        for resource in data.resource_spans:
            for scope in resource.scope_spans:
                yield bytes(resource.resource), bytes(scope.scope), scope.spans
    else:
        for owner in data.resource_logs:
            for part in owner.scope_logs:
                yield bytes(owner.resource), bytes(part.scope), part.log_records


class _Spans:
    """Fields of spans that are no attributes."""

    def __init__(self, spans: list[types.Span]) -> None:
        self._spans = spans
        self.time_ns = _integers(span.end_time_unix_nano for span in spans)

    def field(self, name: str) -> Column:
        spans = self._spans
        match name:
            case "name":
                return _texts([span.name for span in spans])
            case "kind":
                return named(_numbers([span.kind for span in spans], _KIND_NUMBERS), KINDS)
            case "duration":
                return durations(_integers(span.start_time_unix_nano for span in spans), self.time_ns)
            case "status":
                return named(_numbers([span.status.code for span in spans], _STATUS_NUMBERS), STATUSES)
            case "status_message":
                return _texts([span.status.message for span in spans])
            case "trace_id":
                return _ids([span.trace_id for span in spans])
            case "span_id":
                return _ids([span.span_id for span in spans])
            case _:
                return _ids([span.parent_span_id for span in spans])


class _Logs:
    """Fields of log records that are no attributes."""

    def __init__(self, logs: list[types.LogRecord]) -> None:
        self._logs = logs
        self.time_ns = _integers(log.time_unix_nano or log.observed_time_unix_nano for log in logs)

    def field(self, name: str) -> Column:
        logs = self._logs
        match name:
            case "body":
                return _coded([bytes(log.body) for log in logs], _body)
            case "severity":
                text = _texts([log.severity_text for log in logs])
                return or_else(text, named(self._severity_numbers(), SEVERITIES))
            case "severity_number":
                return self._severity_numbers().astype(np.float64)
            case "event_name":
                return _texts([log.event_name for log in logs])
            case "trace_id":
                return _ids([log.trace_id for log in logs])
            case _:
                return _ids([log.span_id for log in logs])

    def _severity_numbers(self) -> Counts:
        return _numbers([log.severity_number for log in self._logs], _SEVERITY_NUMBERS)


def _integers(values: Iterable[int]) -> Counts:
    return np.fromiter(values, np.int64)


def _numbers(values: list[types.Enum], names: dict[str, int]) -> Counts:
    numbers = {value: types.enum_number(value, names) for value in set(values)}
    return np.fromiter((numbers[value] for value in values), np.int64, len(values))


def _coded(keys: Sequence[Any], text_of_key: Callable[[Any], str | None]) -> Strings:
    """Column of the texts that keys stand for, each made once."""
    codes: dict[Any, int] = {}
    positions = [codes.setdefault(key, len(codes)) for key in keys]
    texts = [text_of_key(key) for key in codes]
    missing = np.array([text is None for text in texts], dtype=np.bool_)
    column: Codes = np.array(positions, dtype=np.int32)
    if missing.any():
        column = np.where(missing[column], np.int32(-1), column)
    return Strings(column, whole_texts([text or "" for text in texts]))


def _texts(texts: list[str]) -> Strings:
    """Column of strings; an empty one, which protobuf does not tell from none, is missing."""
    return _coded(texts, lambda text: text or None)


def _ids(ids: list[str]) -> Strings:
    """Column of ids in lower-case hex; those that came in base64, as plain protobuf has it, are turned."""
    codes: Codes = np.arange(len(ids), dtype=np.int32)
    codes[np.fromiter((not text for text in ids), np.bool_, len(ids))] = -1
    return Strings(codes, whole_texts([_hex(text) if text[-1:] == "=" else text.lower() for text in ids]))


def _hex(text: str) -> str:
    try:
        return base64.b64decode(text).hex()
    except (ValueError, binascii.Error):
        return text


def _body(raw: bytes) -> str | None:
    """Text of an `AnyValue`; None for one that is empty or cannot be read."""
    try:
        return text_of(json_value(msgspec.json.decode(raw))) if raw else None
    except _UNREADABLE:
        return None
