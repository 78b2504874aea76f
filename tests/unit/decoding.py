"""What tests of decoders share: decoding a few values, and columns as plain lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from streams.decode.registry import make_decoder
from streams.events.batch import Column, EventBatch, Field, Kind, Layout, Records, Strings
from streams.partials.points import in_time_order, running_rows
from streams.partials.sketch import bins_of
from streams.window.counters import CounterState

ARRIVED_MS = 1_700_000_000_000
"""Kafka timestamp of the first record; each further record is a millisecond later."""


def records_of(values: Sequence[bytes | None]) -> Records:
    offsets = np.arange(len(values), dtype=np.int64)
    return Records(list(values), offsets, offsets + ARRIVED_MS)


def decode(
    format: str,
    values: Sequence[bytes | str | None],
    wanted: Mapping[str, Kind] | None = None,
    fields: Mapping[str, Field] | None = None,
    **layout: Any,
) -> EventBatch:
    """The batch of some values in a format."""
    encoded = [value.encode() if isinstance(value, str) else value for value in values]
    decoder = make_decoder(format, Layout(wanted=wanted or {}, fields=fields or {}, **layout))
    return decoder.decode(records_of(encoded))


def plain(column: Column) -> list[Any]:
    """A column's values; None where one is missing."""
    if isinstance(column, Strings):
        return [None if code < 0 else column.values[code] for code in column.codes.tolist()]
    return [None if np.isnan(value) else value for value in column.tolist()]


def columns(batch: EventBatch) -> dict[str, list[Any]]:
    """All columns as lists."""
    return {name: plain(column) for name, column in batch.columns.items()}


def with_increases(batch: EventBatch) -> EventBatch:
    """The batch with increases for running totals: in the weight, and for plain counters in their columns."""
    counters = batch.counters
    if counters is None:
        return batch
    rows = running_rows(batch, counters)[1].rows[counters.rows]
    value = batch.columns.get("value")
    if isinstance(value, np.ndarray):  # a histogram's rows are taken in the order of their bounds
        bucket = rows["identity"] != rows["point"]
        rows["bin"][bucket] = bins_of(value[counters.rows[bucket]]) + 1
    ordered = in_time_order(rows[np.isfinite(rows["value"])])
    found = CounterState().increases(ordered).tolist()
    keys = zip(ordered["identity"].tolist(), ordered["time_ms"].tolist(), strict=True)
    by_key = dict(zip(keys, found, strict=True))
    increase = [
        by_key.get(key, np.nan)
        for key in zip(rows["identity"].tolist(), rows["time_ms"].tolist(), strict=True)
    ]
    weight = np.ones(len(batch), np.int64) if batch.weight is None else batch.weight.copy()
    weight[counters.rows] = np.rint(np.nan_to_num(increase))
    changed = dict(batch.columns)
    plain = rows["identity"] == rows["point"]
    for name, scale in counters.columns.items():
        column = changed.get(name)
        if isinstance(column, np.ndarray):
            column = column.copy()
            column[counters.rows[plain]] = np.array(increase)[plain] * scale
            changed[name] = column
    return replace(batch, columns=changed, weight=weight, counters=None)


def reasons(batch: EventBatch) -> list[tuple[int, str]]:
    """Record and reason of each dead letter."""
    return [(dead.record, dead.reason) for dead in batch.dead]
