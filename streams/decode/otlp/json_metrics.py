"""OTLP metrics in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from models.arrays import Mask, Numbers, Rows
from streams.decode.otlp import json as types
from streams.decode.otlp.json_counts import read_counts
from streams.decode.otlp.json_lenient import Lenient
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
from streams.decode.otlp.value import json_attributes
from streams.events.batch import Dead, EventBatch, Layout, Records

_TEMPORALITIES = {"AGGREGATION_TEMPORALITY_DELTA": 1, "AGGREGATION_TEMPORALITY_CUMULATIVE": 2}
_KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")


@dataclass(slots=True)
class _Leaves:
    """Points of one kind, and one (record, context, count) for each run of them."""

    items: list[Any] = field(default_factory=list)
    owners: list[tuple[int, int, int]] = field(default_factory=list)

    def places(self) -> tuple[Rows, Rows]:
        """Record and context of each point."""
        owners = np.array(self.owners, dtype=np.int64).reshape(-1, 3)
        return np.repeat(owners[:, 0], owners[:, 2]), np.repeat(owners[:, 1], owners[:, 2])


class JsonMetrics:
    """Decoder of `ExportMetricsServiceRequest` and `MetricsData` in JSON."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._slots = slots_of(layout, event=EVENT_FIELDS, context=CONTEXT_FIELDS)
        self._decode = msgspec.json.Decoder(types.MetricsData, strict=False).decode
        self._renew()

    def _renew(self) -> None:
        self._contexts = ContextTable(self._slots)
        self._sets = AttributeTable(self._slots, json_attributes, identified=True)

    def decode(self, records: Records) -> EventBatch:
        """See `streams.events.batch.Decoder`."""
        if len(self._sets) > SETS_MAX or len(self._contexts) > SETS_MAX:
            self._renew()
        dead: list[Dead] = []
        numbers = _Leaves()
        leaves = {"gauge": numbers, "sum": numbers}
        leaves |= {kind: _Leaves() for kind in _KINDS[2:]}
        for record, value in enumerate(records.values):
            if value is None:
                continue
            try:
                data = self._decode(value)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                data = Lenient(record, dead).metrics(value)
            self._walk(data, record, leaves, dead)
        found = Found(
            types.REASON,
            self._numbers(numbers),
            [self._histograms(leaves["histogram"]), self._summaries(leaves["summary"])],
            self._exponentials(leaves["exponential_histogram"]),
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
        self, data: types.MetricsData, record: int, leaves: dict[str, _Leaves], dead: list[Dead]
    ) -> None:
        for resource in data.resource_metrics:
            resource_raw = bytes(resource.resource)
            for scope in resource.scope_metrics:
                scope_raw = bytes(scope.scope)
                for metric in scope.metrics:
                    for kind in _KINDS:
                        body = getattr(metric, kind)
                        if body is None or not body.data_points:
                            continue
                        try:
                            context = self._context(resource_raw, scope_raw, metric, kind, body)
                        except (ValueError, TypeError, AttributeError, RecursionError) as error:
                            dead.append(Dead(record, types.REASON, f"a resource or scope: {error}"))
                            continue
                        leaves[kind].items.extend(body.data_points)
                        leaves[kind].owners.append((record, context, len(body.data_points)))

    def _context(
        self, resource: bytes, scope: bytes, metric: types.Metric, kind: str, body: types.Points[Any]
    ) -> int:
        temporality, monotonic = body.aggregation_temporality, body.is_monotonic
        key = (resource, scope, metric.name, metric.unit, kind, temporality, monotonic)
        row = self._contexts.find(key)
        if row < 0:
            number = types.enum_number(temporality, _TEMPORALITIES)
            row = add_metric(
                self._contexts,
                key,
                resource=types.resource_of(resource),
                scope=types.scope_of(scope),
                name=metric.name,
                unit=metric.unit,
                type_=kind,
                role=role_of(type_=kind, temporality=number, monotonic=monotonic),
            )
        return row

    def _points(self, leaves: _Leaves) -> Points:
        record, context = leaves.places()
        items, count = leaves.items, len(leaves.items)
        table = self._sets
        return points_of(
            self._contexts,
            table,
            record=record,
            context=context,
            sets=np.fromiter([table[bytes(item.attributes)] for item in items], np.int64, count),
            time_ns=np.fromiter([item.time_unix_nano for item in items], np.int64, count),
            start_ns=np.fromiter([item.start_time_unix_nano for item in items], np.int64, count),
            flags=np.fromiter([item.flags for item in items], np.int64, count),
        )

    def _numbers(self, leaves: _Leaves) -> tuple[Points, Numbers]:
        values = [(item.as_double or 0.0) if item.as_int is None else item.as_int for item in leaves.items]
        return self._points(leaves), np.array(values, dtype=np.float64)

    def _histograms(self, leaves: _Leaves) -> Histograms:
        items = leaves.items
        points = self._points(leaves)
        buckets, bad = read_counts([bytes(item.bucket_counts) for item in items])
        bounds, bad_bounds = self._read_bounds([bytes(item.explicit_bounds) for item in items])
        points.attributes[bad | bad_bounds] = 0
        return Histograms(
            points,
            count=np.array([item.count for item in items], dtype=np.int64),
            sum=np.array([item.sum for item in items], dtype=np.float64),
            max=np.array([item.max for item in items], dtype=np.float64),
            buckets=buckets,
            bounds=bounds,
        )

    def _read_bounds(self, texts: list[bytes]) -> tuple[Ragged, Mask]:
        """Bounds of each point, which are the same for all of a metric, and points where they are invalid."""
        known: dict[bytes, Sequence[float] | None] = {text: _floats(text) for text in set(texts)}
        bad = np.fromiter((known[text] is None for text in texts), np.bool_, len(texts))
        lists = [known[text] or () for text in texts]
        sizes = np.fromiter(map(len, lists), np.int64, len(lists))
        return Ragged(sizes, np.fromiter(chain.from_iterable(lists), np.float64)), bad

    def _summaries(self, leaves: _Leaves) -> Histograms:
        items = leaves.items
        none = Ragged(np.zeros(len(items), dtype=np.int64), np.zeros(0, dtype=np.int64))
        return Histograms(
            self._points(leaves),
            count=np.array([item.count for item in items], dtype=np.int64),
            sum=np.array([item.sum for item in items], dtype=np.float64),
            max=np.full(len(items), np.nan),
            buckets=none,
            bounds=none,
        )

    def _exponentials(self, leaves: _Leaves) -> Exponentials:
        items = leaves.items
        points = self._points(leaves)
        positive, bad = read_counts([bytes(item.positive.bucket_counts) for item in items])
        negative, bad_negative = read_counts([bytes(item.negative.bucket_counts) for item in items])
        points.attributes[bad | bad_negative] = 0
        return Exponentials(
            points,
            count=np.array([item.count for item in items], dtype=np.int64),
            sum=np.array([item.sum for item in items], dtype=np.float64),
            scale=np.array([item.scale for item in items], dtype=np.int64),
            zero_count=np.array([item.zero_count for item in items], dtype=np.int64),
            positive_offset=np.array([item.positive.offset for item in items], dtype=np.int64),
            positive=positive,
            negative_offset=np.array([item.negative.offset for item in items], dtype=np.int64),
            negative=negative,
        )


def _floats(text: bytes) -> Sequence[float] | None:
    """A list of numbers, which may come as texts; None if it is not one."""
    try:
        return msgspec.json.decode(text, type=list[float] | None, strict=False) or () if text else ()
    except (msgspec.MsgspecError, RecursionError):
        return None
