"""Joins batches that were decoded from different records of the same fetch, in the order of the log."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from models.arrays import Rows
from streams.decode.batch import Column, Dead, EventBatch, Strings


def select(values: Sequence[bytes | None], places: Rows) -> list[bytes | None]:
    """The records at `places`."""
    return [values[place] for place in places.tolist()]


def merge(batches: Sequence[tuple[EventBatch, Rows]]) -> EventBatch:
    """One batch from several that have the same columns, and neither weights, heads nor counters.

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
    return EventBatch(
        time_ms=np.concatenate([batch.time_ms for batch, _ in batches])[order],
        record=record[order],
        columns=columns,
        dead=sorted(dead, key=lambda one: one.record),
        skipped=sum(batch.skipped for batch, _ in batches),
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
