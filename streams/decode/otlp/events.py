"""Spans and log records of OTLP, whatever their encoding: one event each, one row each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import numpy as np

from models.arrays import Counts, Mask, Numbers, Rows
from streams.decode.accounting import skipped_count
from streams.decode.otlp.names import ContextTable, Slot, or_else, select
from streams.decode.otlp.value import number_of
from streams.events.batch import Column, Dead, EventBatch, Layout, Records, Strings

Signal: TypeAlias = Literal["logs", "spans"]

FIELDS: dict[Signal, frozenset[str]] = {
    "spans": frozenset(
        {"name", "kind", "duration", "status", "status_message", "trace_id", "span_id", "parent_span_id"}
    ),
    "logs": frozenset({"body", "severity", "severity_number", "trace_id", "span_id", "event_name"}),
}
"""Columns that are no attributes."""

CONTEXT_FIELDS = frozenset({"scope"})

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
STATUSES = ("UNSET", "OK", "ERROR")
SEVERITIES = ("", *(f"{name}{step or ''}" for name in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
                    for step in (0, 2, 3, 4)))  # fmt: skip
"""Names of the numbers 0 … 5, 0 … 2 and 0 … 24 of the specification."""

REASON_TIME = "missing_time"
_DETAIL_TIME = {
    "spans": "a span: expected endTimeUnixNano above 0",
    "logs": "a log record: expected timeUnixNano or observedTimeUnixNano above 0",
}


def named(numbers: Counts, names: Sequence[str]) -> Strings:
    """Names of enumerated values; those out of range have that of 0, and an empty name is missing."""
    known = np.where((numbers < 0) | (numbers >= len(names)), 0, numbers).astype(np.int32)
    return Strings(np.where(known == 0, np.int32(-1), known) if not names[0] else known, names)


def durations(start_ns: Counts, end_ns: Counts) -> Numbers:
    """Seconds; 0 where a clock went back, NaN where a span has no start."""
    return np.where(start_ns > 0, np.maximum(end_ns - start_ns, 0) / 1e9, np.nan)


def as_kind(column: Column, slot: Slot) -> Column:
    """A field in the kind that is wanted of it."""
    if isinstance(column, Strings):
        if slot.kind == "string":
            return column
        numbers = np.array([*(number_of(value) for value in column.values), np.nan])
        return numbers[column.codes] * slot.scale
    if slot.kind == "number":
        return column * slot.scale
    values, codes = np.unique(column, return_inverse=True)
    texts = [repr(int(value)) if value.is_integer() else repr(value) for value in values.tolist()]
    codes = np.where(np.isnan(column), -1, codes)
    return Strings(codes.astype(np.int32), texts)


def batch_of(
    *,
    signal: Signal,
    records: Records,
    layout: Layout,
    slots: Sequence[Slot],
    contexts: ContextTable,
    context: Rows,
    field: Callable[[str], Column],
    attribute: Callable[[Slot], Column],
    record: Rows,
    time_ns: Counts,
    bad: Mask,
    reason: str,
    dead: list[Dead],
) -> EventBatch:
    """An `EventBatch` of the events that are whole and have a time.

    context          : Rows [E] of `contexts`, each event's resource and scope
    field, attribute : make a column of all E events, of a field and of the event's own attributes
    """

    def column(slot: Slot) -> Column:
        if slot.place == "event":
            return as_kind(field(slot.path), slot)
        shared = contexts.column(slot.name, context)
        return or_else(attribute(slot), shared) if slot.place == "attribute" else shared

    columns = {slot.name: column(slot) for slot in slots}
    if layout.time_format == "record":
        time_ms, timed = records.timestamps_ms[record], np.ones(len(record), dtype=np.bool_)
    else:
        time_ms, timed = time_ns // 1_000_000, time_ns > 0
    good = timed & ~bad
    if not good.all():
        what = "a span" if signal == "spans" else "a log record"
        dead.extend(Dead(at, reason, f"{what}: expected valid fields") for at in record[bad].tolist())
        untimed = record[~timed & ~bad].tolist()
        dead.extend(Dead(at, REASON_TIME, _DETAIL_TIME[signal]) for at in untimed)
        rows = np.flatnonzero(good)
        columns = {name: select(values, rows) for name, values in columns.items()}
        record, time_ms = record[rows], time_ms[rows]
    skipped = skipped_count(len(records), record, dead)
    dead.sort(key=lambda one: one.record)
    return EventBatch(time_ms=time_ms, record=record, columns=columns, dead=dead, skipped=skipped)
