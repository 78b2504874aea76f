"""Joins batches that were decoded from different records of the same fetch, in the order of the log."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from models.arrays import Rows
from streams.events.batch import Column, Counters, Dead, EventBatch, Records, Strings


def select(records: Records, places: Rows) -> Records:
    """The records at `places`."""
    values = [records.values[place] for place in places.tolist()]
    return Records(values, records.offsets[places], records.timestamps_ms[places])


def with_values(records: Records, values: Sequence[bytes | None]) -> Records:
    """The same records with other values."""
    return Records(values, records.offsets, records.timestamps_ms)


def merge(batches: Sequence[tuple[EventBatch, Rows]]) -> EventBatch:
    """One batch from several that have the same columns.

    batches : each with Rows [R], the positions that its own records have in the whole
    """
    record = np.concatenate([places[batch.record] for batch, places in batches])
    order = np.argsort(record, kind="stable")
    columns = {
        name: _joined([batch.columns[name] for batch, _ in batches], order) for name in batches[0][0].columns
    }
    dead = [
        Dead(int(places[one.record]), one.reason, one.detail)
        for batch, places in batches
        for one in batch.dead
    ]
    parts = [batch for batch, _ in batches]
    return EventBatch(
        time_ms=np.concatenate([batch.time_ms for batch, _ in batches])[order],
        record=record[order],
        columns=columns,
        weight=_or_ones([part.weight for part in parts], parts, np.int64, order),
        head=_or_ones([part.head for part in parts], parts, np.bool_, order),
        counters=_counters(parts, order),
        dead=sorted(dead, key=lambda one: one.record),
        skipped=sum(batch.skipped for batch, _ in batches),
    )


def _or_ones(arrays: Sequence[Any], batches: Sequence[EventBatch], dtype: Any, order: Rows) -> Any:
    """Weights or heads [E], where those that do not say mean one each; None if none says."""
    if all(array is None for array in arrays):
        return None
    pairs = zip(arrays, batches, strict=True)
    filled = [np.ones(len(batch), dtype) if array is None else array for array, batch in pairs]
    return np.concatenate(filled)[order]


def _counters(batches: Sequence[EventBatch], order: Rows) -> Counters | None:
    """The counters of all batches, in the order of their new rows."""
    moved = np.empty(len(order), np.int64)
    moved[order] = np.arange(len(order))
    starts = np.cumsum([0, *map(len, batches)]).tolist()
    pairs = zip(batches, starts[:-1], strict=True)
    found = [(one.counters, start) for one, start in pairs if one.counters is not None]
    if not found:
        return None
    rows = np.concatenate([moved[counters.rows + start] for counters, start in found])
    ascending = np.argsort(rows)
    point = [counters.identity if counters.point is None else counters.point for counters, _ in found]
    return Counters(
        rows=rows[ascending],
        identity=np.concatenate([counters.identity for counters, _ in found])[ascending],
        start_ms=np.concatenate([counters.start_ms for counters, _ in found])[ascending],
        value=np.concatenate([counters.value for counters, _ in found])[ascending],
        point=np.concatenate(point)[ascending],
        columns=found[0][0].columns,
    )


def _joined(columns: Sequence[Column], order: Rows) -> Column:
    strings = [column for column in columns if isinstance(column, Strings)]
    if not strings:
        return np.concatenate([column for column in columns if not isinstance(column, Strings)])[order]
    starts = np.cumsum([0, *(len(column.values) for column in strings)])
    codes = [
        np.where(column.codes < 0, -1, column.codes + start).astype(np.int32)
        for column, start in zip(strings, starts[:-1].tolist(), strict=True)
    ]
    return Strings(np.concatenate(codes)[order], list(chain.from_iterable(one.values for one in strings)))
