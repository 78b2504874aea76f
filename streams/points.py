"""Points of cumulative counters, as they travel to the stage that can tell their increase.

A collector spreads the points of one time series over all partitions of a topic, so no source partition
sees enough of it to tell an increase. The points travel as they are, keyed by series like all partials, and
the window stage, which sees them all, finds the increases when it seals a bucket. A point is a fact of the
log that never changes, so that repeats are dropped by (identity, time).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.arrays import Counts, Hashes, Mask, Rows
from streams.aggregate.sketch import BIN_BITS, bins_of
from streams.aggregate.tables import renumber
from streams.columns import (
    TABLE_BYTES_MAX,
    TableHead,
    fitting_bounds,
    pack_arrays,
    unpack_arrays,
    unpack_names,
)
from streams.decode.batch import Column, Counters, EventBatch, Strings
from streams.plan import MICRO, Count, Measure

PointRows: TypeAlias = NDArray[np.void]
"""Rows of `POINT`."""

POINT = np.dtype(
    [
        ("series", np.int64),
        ("bucket", np.int64),
        ("identity", np.uint64),
        ("point", np.uint64),
        ("time_ms", np.int64),
        ("start_ms", np.int64),
        ("value", np.float64),
        ("scale", np.float64),
        ("measures", np.int64),
        ("bin", np.int64),
    ]
)
"""One row of a point: the fields of `Counters`; `measures`, one bit for each measure of the rollup that
counts it; `bin`, 1 + the sketch bin of a histogram's bucket, 0 for none; `scale`, from the counter's unit to
the base unit."""

MEASURES_MAX = 62
_ROW_BYTES = POINT.itemsize + 12
"""A row, and of its series the key and the length of the name."""

NO_POINTS: PointRows = np.zeros(0, dtype=POINT)


@dataclass(frozen=True, slots=True)
class PointTable:
    """Points of one rollup; `rows["series"]` is the position in `hashes`."""

    rollup: str
    hashes: Hashes
    names: Sequence[bytes]
    rows: PointRows

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: PointRows) -> PointTable:
        """Some of the rows with just the series they need."""
        used, series = renumber(rows["series"], len(self.hashes))
        rows = rows.copy()
        rows["series"] = series
        return PointTable(self.rollup, self.hashes[used], [self.names[i] for i in used.tolist()], rows)


def running_rows(batch: EventBatch, counters: Counters) -> tuple[EventBatch, PointRows]:
    """The batch without its running totals, and these as points : PointRows [E], identity 0 for all others.

    In the batch a plain counter's own columns become missing, so that no condition compares a running total.
    """
    rows = np.zeros(len(batch), dtype=POINT)
    at = counters.rows
    point = counters.identity if counters.point is None else counters.point
    rows["identity"][at] = counters.identity
    rows["point"][at] = point
    rows["time_ms"] = batch.time_ms
    rows["start_ms"][at] = counters.start_ms
    rows["value"][at] = counters.value
    rows["scale"][at] = next(iter(counters.columns.values()), 1.0)
    plain = at[point == counters.identity]
    columns: dict[str, Column] = dict(batch.columns)
    for name in counters.columns:
        column = columns.get(name)
        if column is not None and not isinstance(column, Strings):
            column = column.copy()
            column[plain] = np.nan
            columns[name] = column
    return replace(batch, columns=columns, counters=None), rows


def described(
    rows: PointRows, columns: Mapping[str, Column], measures: Sequence[Measure], sketch: str | None
) -> PointRows:
    """The rows with what the measures and the sketch of a rollup say of them.

    columns : of these rows
    """
    rows = rows.copy()
    for index, measure in enumerate(measures):
        mask = True if measure.where is None else measure.where.mask(columns, len(rows))
        rows["measures"] |= np.where(mask, np.int64(1) << index, 0)
    measured = None if sketch is None else columns.get(sketch)
    if measured is not None and not isinstance(measured, Strings):
        bucket = (rows["identity"] != rows["point"]) & ~np.isnan(measured)
        rows["bin"][bucket] = bins_of(measured[bucket]) + 1
    return rows


def in_time_order(rows: PointRows) -> PointRows:
    """Rows by time, those of one point together, each (identity, time) once: the largest value of repeats."""
    order = np.lexsort((rows["value"], rows["identity"], rows["point"], rows["time_ms"]))
    ordered = rows[order]
    last = np.ones(len(ordered), dtype=np.bool_)
    last[:-1] = (ordered["identity"][1:] != ordered["identity"][:-1]) | (
        ordered["time_ms"][1:] != ordered["time_ms"][:-1]
    )
    return ordered[last]


def as_batch(rows: PointRows) -> EventBatch:
    """Rows of `in_time_order` as a batch of which only the increase is to be found, in column `increase`."""
    head: Mask = np.ones(len(rows), dtype=np.bool_)
    head[1:] = (rows["point"][1:] != rows["point"][:-1]) | (rows["time_ms"][1:] != rows["time_ms"][:-1])
    return EventBatch(
        time_ms=rows["time_ms"].copy(),
        record=np.arange(len(rows)),
        columns={"increase": np.zeros(len(rows))},
        head=head,
        counters=Counters(
            rows=np.arange(len(rows)),
            identity=rows["identity"].copy(),
            start_ms=rows["start_ms"].copy(),
            value=rows["value"].copy(),
            point=rows["point"].copy(),
            columns={"increase": 1.0},
        ),
    )


def contributions(
    rows: PointRows, increases: EventBatch, measures: Sequence[Measure]
) -> tuple[Counts, Rows, Counts]:
    """What points add to their series once their increase is known.

    increases : `as_batch(rows)` with increases for totals
    returns   : Counts [N, C] of each row, and sketch keys with their counts
    """
    assert increases.weight is not None
    column = increases.columns["increase"]
    assert not isinstance(column, Strings)
    weight = increases.weight
    micros = np.rint(np.nan_to_num(column * rows["scale"], posinf=0.0, neginf=0.0) * MICRO).astype(np.int64)
    counts = np.zeros((len(rows), len(measures)), dtype=np.int64)
    for index, measure in enumerate(measures):
        taken = (rows["measures"] >> index) & 1 == 1
        counts[:, index] = np.where(taken, weight if isinstance(measure, Count) else micros, 0)
    binned = (rows["bin"] > 0) & (weight > 0)
    keys = (rows["series"][binned] << BIN_BITS) | (rows["bin"][binned] - 1)
    return counts, keys, weight[binned]


def points_by_home(table: PointTable, home: Rows, home_count: int) -> list[PointTable | None]:
    """The points of each home, None where it has none; home : Rows [S'] of each series."""
    row_home = home[table.rows["series"]]
    return [
        table.take(table.rows[mine]) if (mine := row_home == number).any() else None
        for number in range(home_count)
    ]


def split_points(table: PointTable, bytes_max: int = TABLE_BYTES_MAX) -> Iterator[PointTable]:
    """The table in pieces that each fit into one record."""
    names = np.fromiter(map(len, table.names), np.int64, len(table.names))
    for start, stop in pairwise(fitting_bounds(_ROW_BYTES + names[table.rows["series"]], bytes_max)):
        yield table.take(table.rows[start:stop])


def encode_points(tables: Sequence[PointTable]) -> tuple[list[TableHead], list[bytes]]:
    """As `encode_tables`."""
    heads: list[TableHead] = []
    parts: list[bytes] = []
    for table in tables:
        names = np.fromiter(map(len, table.names), np.int64, len(table.names))
        text = np.frombuffer(b"".join(table.names), dtype=np.uint8)
        fields = [np.ascontiguousarray(table.rows[name]) for name in POINT.fields or ()]
        columns, packed = pack_arrays([table.hashes, names, text, *fields])
        heads.append((table.rollup, columns, 0))
        parts.extend(packed)
    return heads, parts


def decode_points(heads: Sequence[TableHead], body: bytes, at: int) -> tuple[list[PointTable], int]:
    """The tables whose arrays begin at byte `at`, and where they end.

    Raises ValueError if `body` is not what the heads say, or if the columns do not fit together.
    """
    tables = []
    for rollup, columns, _ in heads:
        arrays, at = unpack_arrays(columns, body, at)
        fields = arrays[3:]
        if len(fields) != len(POINT.names or ()) or any(len(values) != len(fields[0]) for values in fields):
            raise ValueError(f"points of {rollup!r} whose columns do not fit together")
        rows = np.zeros(len(fields[0]), dtype=POINT)
        for name, values in zip(POINT.names or (), fields, strict=True):
            rows[name] = values
        names = unpack_names(arrays[1], arrays[2])
        series = rows["series"]
        if len(names) != len(arrays[0]) or (
            len(rows) and not 0 <= int(series.min()) <= int(series.max()) < len(names)
        ):
            raise ValueError(f"points of {rollup!r} whose series are not there")
        tables.append(PointTable(rollup, arrays[0].astype(np.uint64), names, rows))
    return tables, at
