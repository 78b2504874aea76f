"""From metric points, whatever their encoding, to an `EventBatch`: times, columns, counters, dead points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from models.arrays import Counts, EpochMs, Hashes, Mask, Numbers, Rows
from streams.decode.accounting import skipped_count
from streams.decode.otlp.names import AttributeTable, ContextTable, Slot, or_else
from streams.decode.otlp.points import (
    CUMULATIVE,
    DELTA,
    GAUGE,
    Block,
    Exponentials,
    Histograms,
    Points,
    expand_exponentials,
    expand_histograms,
    expand_numbers,
    mix,
    shapes_of_exponentials,
    shapes_of_histograms,
)
from streams.decode.otlp.value import Attributes, identity_of
from streams.events.batch import Column, Counters, Dead, EventBatch, Layout, Records

EVENT_FIELDS = frozenset({"value"})
CONTEXT_FIELDS = frozenset({"metric", "unit", "type"})


@dataclass(slots=True)
class Found:
    """What a front end read from some records.

    reason : stable code for points that turn out to be invalid, `bad_protobuf` or `bad_json`
    """

    reason: str
    numbers: tuple[Points, Numbers]
    histograms: Sequence[Histograms]
    exponentials: Exponentials
    dead: list[Dead] = field(default_factory=list)


def role_of(*, type_: str, temporality: int, monotonic: bool) -> int:
    """What a metric's points stand for; a sum of unspecified temporality is taken to be cumulative."""
    if type_ == "gauge" or (type_ == "sum" and not monotonic):
        return GAUGE
    return DELTA if temporality == 1 and type_ != "summary" else CUMULATIVE


def add_metric(
    contexts: ContextTable,
    key: object,
    *,
    resource: Attributes,
    scope: tuple[str, str, Attributes],
    name: str,
    unit: str,
    type_: str,
    role: int,
) -> int:
    """Add a metric to the context table; `scope` is its name, version and attributes."""
    return contexts.add(
        key,
        resource=resource,
        scope=scope[2],
        fields={"metric": name, "unit": unit, "type": type_},
        role=role,
        identity=identity_of(resource, *scope, name, type_, role),
    )


def points_of(
    contexts: ContextTable,
    attributes: AttributeTable,
    *,
    record: Rows,
    context: Rows,
    sets: Rows,
    time_ns: Counts,
    start_ns: Counts,
    flags: Counts,
) -> Points:
    """Points with the role and the key of their series looked up."""
    role = contexts.role(context).astype(np.int64)
    if (role == CUMULATIVE).any():
        series = mix(contexts.identity(context), attributes.identity(sets))
    else:
        series = np.zeros(len(record), dtype=np.uint64)  # nothing asks for it
    return Points(record, role, context, sets, series, time_ns, start_ns, flags)


def batch_of(
    found: Found,
    *,
    records: Records,
    layout: Layout,
    slots: Sequence[Slot],
    contexts: ContextTable,
    attributes: AttributeTable,
) -> EventBatch:
    """All points as rows, in the order of their records."""
    dead = found.dead
    by_record = layout.time_format == "record"

    def alive(points: Points, shape: Mask | None = None) -> Mask:
        good: Mask = points.attributes != 0
        _bury(dead, points.record[~good], found.reason, "a point: expected valid fields and attributes")
        if shape is not None:
            _bury(
                dead,
                points.record[good & ~shape],
                found.reason,
                "a histogram point: expected counts of at least 0, one more than bounds, and a usual scale",
            )
            good &= shape
        if not by_record:
            timed = points.time_ns > 0
            _bury(
                dead, points.record[good & ~timed], "missing_time", "a point: expected timeUnixNano above 0"
            )
            good &= timed
        return good

    points, value = found.numbers
    good = alive(points)
    if not good.all():
        points, value = _select(points, good), value[good]
    blocks = [expand_numbers(points, value)]
    for histograms in found.histograms:
        if len(histograms.count):
            good = alive(histograms.points, shapes_of_histograms(histograms))
            blocks.append(expand_histograms(histograms, good))
    if len(found.exponentials.count):
        good = alive(found.exponentials.points, shapes_of_exponentials(found.exponentials))
        blocks.append(expand_exponentials(found.exponentials, good))
    blocks = [block for block in blocks if len(block.point)] or blocks[:1]
    return _assemble(_join(blocks), records, by_record, slots, contexts, attributes, dead)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of all kinds side by side, as in `Block` and `Points`, but one entry a row."""

    record: Rows
    context: Rows
    attributes: Rows
    time_ms: EpochMs
    start_ms: EpochMs
    value: Numbers
    weight: Counts
    counting: Mask
    head: Mask
    identity: Hashes
    series: Hashes


def _join(blocks: Sequence[Block]) -> _Rows:
    parts = []
    for block in blocks:
        points, at = block.points, block.point
        parts.append(
            _Rows(
                points.record[at],
                points.context[at],
                points.attributes[at],
                (points.time_ns // 1_000_000)[at],
                points.start_ms[at],
                block.value,
                block.weight,
                block.counting,
                block.head,
                block.identity,
                block.series,
            )
        )
    if len(parts) == 1:
        return parts[0]
    names = [item.name for item in fields(_Rows)]
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
    order = np.argsort(joined[0], kind="stable")
    return _Rows(*(column[order] for column in joined))


def _assemble(
    rows: _Rows,
    records: Records,
    by_record: bool,
    slots: Sequence[Slot],
    contexts: ContextTable,
    attributes: AttributeTable,
    dead: list[Dead],
) -> EventBatch:
    columns: dict[str, Column] = {}
    for slot in slots:
        if slot.place == "event":
            columns[slot.name] = rows.value * slot.scale
            continue
        columns[slot.name] = contexts.column(slot.name, rows.context)
        if slot.place == "attribute":
            columns[slot.name] = or_else(attributes.column(slot.name, rows.attributes), columns[slot.name])
    counting = np.flatnonzero(rows.counting)
    counters = None
    weight = rows.weight
    if len(counting):
        identity, series = rows.identity[counting], rows.series[counting]
        total = np.where(identity == series, rows.value[counting], rows.weight[counting])
        scales = {slot.name: slot.scale for slot in slots if slot.place == "event"}
        counters = Counters(counting, identity, rows.start_ms[counting], total, series, scales)
        weight = np.where(rows.counting, 0, weight)
    return EventBatch(
        time_ms=records.timestamps_ms[rows.record] if by_record else rows.time_ms,
        record=rows.record,
        columns=columns,
        weight=weight,
        head=rows.head,
        counters=counters,
        dead=sorted(dead, key=lambda one: one.record),
        skipped=skipped_count(len(records), rows.record, dead),
    )


def _select(points: Points, keep: Mask) -> Points:
    return Points(*(getattr(points, item.name)[keep] for item in fields(Points)))


def _bury(dead: list[Dead], records: Rows, reason: str, detail: str) -> None:
    dead.extend(Dead(int(record), reason, detail) for record in records)
