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

from models.arrays import Counts, Hashes, Mask, Numbers, Rows
from streams.events.batch import Column, Counters, EventBatch, Strings
from streams.partials.cells import renumber
from streams.partials.sketch import BIN_BITS, bins_of
from streams.partials.table import (
    TABLE_BYTES_MAX,
    TableHead,
    fitting_bounds,
    pack_arrays,
    unpack_arrays,
    unpack_names,
)
from streams.plan.rollup import MICRO, Count, Measure

PointRows: TypeAlias = NDArray[np.void]
"""Rows of `POINT`, or of a rollup's `point_type`."""

POINT = np.dtype(
    [
        ("series", np.int64),
        ("identity", np.uint64),
        ("point", np.uint64),
        ("time_ms", np.int64),
        ("start_ms", np.int64),
        ("value", np.float64),
        ("bin", np.int64),
    ]
)
"""One row of a point: the fields of `Counters`, and `bin`, 1 + the sketch bin of a histogram's bucket, 0 for
none."""

_WEIGHT_MAX = float(1 << 62)


def point_type(measure_count: int) -> np.dtype[np.void]:
    """`POINT` with what one unit of increase adds to each measure of a rollup, `factor` [C]."""
    return np.dtype([*POINT.descr, ("factor", np.float64, (measure_count,))])


@dataclass(frozen=True, slots=True)
class PointTable:
    """Points of one rollup; `rows["series"]` is the position in `hashes`."""

    rollup: str
    hashes: Hashes
    names: Sequence[bytes]
    rows: PointRows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def measure_count(self) -> int:
        return int(self.rows["factor"].shape[1])

    def select(self, rows: PointRows) -> PointTable:
        """Some of the rows with just the series they need."""
        used, series = renumber(rows["series"], len(self.hashes))
        rows = rows.copy()
        rows["series"] = series
        return PointTable(self.rollup, self.hashes[used], [self.names[i] for i in used.tolist()], rows)


@dataclass(frozen=True, slots=True)
class Running:
    """Which rows of a batch are running totals.

    rows   : PointRows [E], identity 0 for all others
    scales : the columns that hold the value of a plain counter, and by what it was scaled there
    """

    rows: PointRows
    scales: Mapping[str, float]

    def select(self, keep: Mask) -> Running:
        return Running(self.rows[keep], self.scales)


def running_rows(batch: EventBatch, counters: Counters) -> tuple[EventBatch, Running]:
    """The batch without its running totals, and these beside it.

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
    plain = at[point == counters.identity]
    columns: dict[str, Column] = dict(batch.columns)
    for name in counters.columns:
        column = columns.get(name)
        if column is not None and not isinstance(column, Strings):
            column = column.copy()
            column[plain] = np.nan
            columns[name] = column
    return replace(batch, columns=columns, counters=None), Running(rows, counters.columns)


def described(
    running: Running, columns: Mapping[str, Column], measures: Sequence[Measure], sketch: str | None
) -> PointRows:
    """The rows with what the measures and the sketch of a rollup say of them : PointRows [N].

    running : of which all rows are running totals
    columns : of these rows
    returns : the rows whose total is a number; one that is none counts nothing and is nobody's predecessor
    """
    rows = np.zeros(len(running.rows), dtype=point_type(len(measures)))
    for name in POINT.names or ():
        rows[name] = running.rows[name]
    plain = rows["identity"] == rows["point"]
    units: dict[str, Column] = dict(columns)
    for name, scale in running.scales.items():
        column = columns.get(name)
        if column is not None and not isinstance(column, Strings):
            units[name] = np.where(plain, scale, column)
    for index, measure in enumerate(measures):
        factor = np.ones(len(rows)) if isinstance(measure, Count) else measure.numbers(units, len(rows))
        taken = np.isfinite(factor)
        if measure.where is not None:
            taken &= measure.where.mask(columns, len(rows))
        rows["factor"][:, index] = np.where(taken, factor, 0.0)
    measured = None if sketch is None else columns.get(sketch)
    if measured is not None and not isinstance(measured, Strings):
        bucket = ~plain & ~np.isnan(measured)
        rows["bin"][bucket] = bins_of(measured[bucket]) + 1
    known: PointRows = rows[np.isfinite(rows["value"])]
    return known


def in_time_order(rows: PointRows) -> PointRows:
    """Rows by time, those of one point together and its buckets ascending, each (identity, time) once.

    Of repeats the largest value stays.
    """
    order = np.lexsort(tuple(rows[name] for name in ("value", "identity", "bin", "point", "time_ms")))
    ordered = rows[order]
    last = np.ones(len(ordered), dtype=np.bool_)
    last[:-1] = (ordered["identity"][1:] != ordered["identity"][:-1]) | (
        ordered["time_ms"][1:] != ordered["time_ms"][:-1]
    )
    return ordered[last]


def contributions(
    rows: PointRows, increase: Numbers, measures: Sequence[Measure]
) -> tuple[Counts, Rows, Counts]:
    """What points add to their series once their increase is known.

    increase : Numbers [N], at least 0
    returns  : Counts [N, C] of each row, and sketch keys with their counts
    """
    increase = np.minimum(increase, _WEIGHT_MAX)
    weight = np.rint(increase).astype(np.int64)
    counts = np.zeros((len(rows), len(measures)), dtype=np.int64)
    for index, measure in enumerate(measures):
        factor = rows["factor"][:, index]
        if isinstance(measure, Count):
            counts[:, index] = np.where(factor != 0, weight, 0)
        else:
            micros = np.clip(increase * factor * MICRO, -_WEIGHT_MAX, _WEIGHT_MAX)
            counts[:, index] = np.rint(micros).astype(np.int64)
    binned = (rows["bin"] > 0) & (weight > 0)
    keys = (rows["series"][binned] << BIN_BITS) | (rows["bin"][binned] - 1)
    return counts, keys, weight[binned]


def points_by_destination(
    table: PointTable, destination: Rows, destination_count: int
) -> list[PointTable | None]:
    """The points of each destination, None where it has none; destination : Rows [S'] of each series."""
    row_destination = destination[table.rows["series"]]
    return [
        table.select(table.rows[mine]) if (mine := row_destination == number).any() else None
        for number in range(destination_count)
    ]


def split_points(table: PointTable, bytes_max: int = TABLE_BYTES_MAX) -> Iterator[PointTable]:
    """The table in pieces that each fit into one record."""
    names = np.fromiter(map(len, table.names), np.int64, len(table.names))
    # beside the row itself the key of its series and the length of the name
    sizes = table.rows.dtype.itemsize + 12 + names[table.rows["series"]]
    for start, stop in pairwise(fitting_bounds(sizes, bytes_max)):
        yield table.select(table.rows[start:stop])


def encode_points(tables: Sequence[PointTable]) -> tuple[list[TableHead], list[bytes]]:
    """As `encode_tables`."""
    heads: list[TableHead] = []
    parts: list[bytes] = []
    for table in tables:
        names = np.fromiter(map(len, table.names), np.int64, len(table.names))
        text = np.frombuffer(b"".join(table.names), dtype=np.uint8)
        fields = [np.ascontiguousarray(table.rows[name]) for name in POINT.names or ()]
        factors = np.ascontiguousarray(table.rows["factor"]).reshape(-1)
        columns, packed = pack_arrays([table.hashes, names, text, *fields, factors])
        heads.append((table.rollup, columns, table.measure_count))
        parts.extend(packed)
    return heads, parts


def decode_points(heads: Sequence[TableHead], body: bytes, at: int) -> tuple[list[PointTable], int]:
    """The tables whose arrays begin at byte `at`, and where they end.

    Raises ValueError if `body` is not what the heads say, or if the columns do not fit together.
    """
    tables = []
    for rollup, columns, measure_count in heads:
        arrays, at = unpack_arrays(columns, body, at)
        fields, row_count = arrays[3:-1], len(arrays[3]) if len(arrays) > 4 else 0
        if (
            len(fields) != len(POINT.names or ())
            or any(len(values) != row_count for values in fields)
            or len(arrays[-1]) != row_count * measure_count
        ):
            raise ValueError(f"points of {rollup!r} whose columns do not fit together")
        rows = np.zeros(row_count, dtype=point_type(measure_count))
        for name, values in zip(POINT.names or (), fields, strict=True):
            rows[name] = values
        rows["factor"] = arrays[-1].reshape(row_count, measure_count)
        names = unpack_names(arrays[1], arrays[2])
        series = rows["series"]
        if len(names) != len(arrays[0]) or (
            len(rows) and not 0 <= int(series.min()) <= int(series.max()) < len(names)
        ):
            raise ValueError(f"points of {rollup!r} whose series are not there")
        tables.append(PointTable(rollup, arrays[0].astype(np.uint64), names, rows))
    return tables, at
