"""Tables of series in columns, and their bytes: the common form of partials and of stored blocks.

Guarantee: `decode_tables(encode_tables(tables)) == tables`, on every machine (little-endian, explicit
types); a table names its own series, so that a reader may start anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias, TypeVar

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from models.arrays import Counts, Hashes, Rows
from streams.partials.cells import renumber
from streams.partials.payload import Payload, Ragged
from streams.partials.sketch import BIN_COUNT

TABLE_BYTES_MAX = 900_000
"""Uncompressed bytes of the tables of one record; under Kafka's limit of 1 MB if nothing compresses."""

_DECODED_BYTES_MAX = 64 << 20

_COLUMN_COUNT = 12
_TYPES = frozenset({"|u1", "<u2", "<u4", "<u8", "<i8", "<f8"})

_Head = TypeVar("_Head")

TableHead: TypeAlias = tuple[str, list[tuple[str, int]], int]
"""Rollup, (type, length) of each array, and the number of counters."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one rollup.

    hashes, names : keys and encoded labels of the S' series that occur
    series        : Rows [N], position in `hashes`
    bucket        : Rows [N], bucket numbers
    payload       : of the N rows
    """

    rollup: str
    hashes: Hashes
    names: Sequence[bytes]
    series: Rows
    bucket: Rows
    payload: Payload

    def __len__(self) -> int:
        return len(self.series)

    def size(self) -> int:
        """Bytes that the rows take before they are compressed, at most."""
        return int((12 + self.payload.sizes()).sum()) + int(self._name_sizes().sum())

    def row_sizes(self) -> Counts:
        """Bytes [N] that each row takes, with the name of its series, at most."""
        return 12 + self.payload.sizes() + self._name_sizes()[self.series]

    def _name_sizes(self) -> Counts:
        return 12 + np.fromiter(map(len, self.names), np.int64, len(self.names))

    def select(self, rows: Rows) -> Table:
        """The given rows with just the series they need."""
        return self._with(self.series[rows], self.bucket[rows], self.payload.select(rows)).trimmed()

    def cut(self, bounds: Sequence[int]) -> Iterator[Table]:
        """The rows between each bound and the next, each piece with just the series it needs."""
        for (start, stop), payload in zip(pairwise(bounds), self.payload.cut(bounds), strict=True):
            yield self._with(self.series[start:stop], self.bucket[start:stop], payload).trimmed()

    def trimmed(self) -> Table:
        """All rows with just the series they need."""
        used, series = renumber(self.series, len(self.hashes))
        names = [self.names[i] for i in used.tolist()]
        return Table(self.rollup, self.hashes[used], names, series, self.bucket, self.payload)

    def _with(self, series: Rows, bucket: Rows, payload: Payload) -> Table:
        return Table(self.rollup, self.hashes, self.names, series, bucket, payload)


def split_by_destination(table: Table, destination: Rows, destination_count: int) -> list[Table | None]:
    """The rows of each destination, None where it has none.

    destination : Rows [S'], 0 <= destination < destination_count, of each series of the table
    """
    if destination_count == 1:
        return [table]
    row_destination = destination.astype(np.uint16)[table.series]  # 16 bits sort by radix
    order = np.argsort(row_destination, kind="stable")
    ordered = replace(
        table, series=table.series[order], bucket=table.bucket[order], payload=table.payload.select(order)
    )
    bounds = np.searchsorted(row_destination[order], np.arange(destination_count + 1)).tolist()
    return [piece if len(piece) else None for piece in ordered.cut(bounds)]


def encode_tables(tables: Sequence[Table]) -> tuple[list[TableHead], list[bytes]]:
    """Heads of the tables, and the bytes of their arrays in the order that the heads list them."""
    heads: list[TableHead] = []
    parts: list[bytes] = []
    for table in tables:
        bins, registers = table.payload.bins, table.payload.registers
        columns, packed = pack_arrays(
            (
                table.hashes,
                np.fromiter(map(len, table.names), np.int64, len(table.names)),
                np.frombuffer(b"".join(table.names), dtype=np.uint8),
                table.series,
                table.bucket,
                table.payload.counts.reshape(-1),
                bins.per_row,
                bins.slots,
                bins.values,
                registers.per_row,
                registers.slots,
                registers.values,
            )
        )
        heads.append((table.rollup, columns, table.payload.counts.shape[1]))
        parts.extend(packed)
    return heads, parts


def decode_tables(heads: Sequence[TableHead], body: bytes, at: int) -> tuple[list[Table], int]:
    """The tables whose arrays begin at byte `at` of `body`, and where they end.

    Raises ValueError if `body` is not what the heads say, or if the columns do not fit together.
    """
    tables: list[Table] = []
    for rollup, columns, counter_count in heads:
        arrays, at = unpack_arrays(columns, body, at)
        if len(arrays) != _COLUMN_COUNT:
            raise ValueError(f"table with {len(arrays)} columns, expected {_COLUMN_COUNT}")
        wide = [array.astype(np.int64) for array in arrays[3:11]]
        table = Table(
            rollup=rollup,
            hashes=arrays[0].astype(np.uint64),
            names=unpack_names(arrays[1], arrays[2]),
            series=wide[0],
            bucket=wide[1],
            payload=Payload(
                counts=wide[2].reshape(len(wide[0]), counter_count),
                bins=Ragged(wide[3], wide[4], wide[5]),
                registers=Ragged(wide[6], wide[7], arrays[11].astype(np.uint8)),
            ),
        )
        if not _fits_together(table):
            raise ValueError(f"columns of a table of {rollup!r} that do not fit together")
        tables.append(table)
    return tables, at


def pack_arrays(arrays: Sequence[NDArray[np.generic]]) -> tuple[list[tuple[str, int]], list[bytes]]:
    """(type, length) of each array in its smallest type, and their bytes."""
    narrow = [_narrowed(array) for array in arrays]
    return [(array.dtype.str, len(array)) for array in narrow], [array.tobytes() for array in narrow]


def unpack_arrays(
    columns: Sequence[tuple[str, int]], body: bytes, at: int
) -> tuple[list[NDArray[np.generic]], int]:
    """The arrays that begin at byte `at` of `body`, and where they end.

    Raises ValueError for a type that `pack_arrays` does not write, and if `body` is too short.
    """
    arrays: list[NDArray[np.generic]] = []
    for dtype, length in columns:
        if dtype not in _TYPES or length < 0:
            raise ValueError(f"column of {length} {dtype!r}, expected one of {', '.join(sorted(_TYPES))}")
        array = np.frombuffer(body, dtype=np.dtype(dtype), count=length, offset=at)
        at += array.nbytes
        arrays.append(array)
    return arrays, at


def unpack_names(lengths: NDArray[np.generic], text: NDArray[np.generic]) -> list[bytes]:
    """Encoded labels of series from their lengths and their bytes one after the other."""
    ends = np.cumsum(lengths.astype(np.int64)).tolist()
    joined = text.tobytes()
    return [joined[start:end] for start, end in pairwise([0, *ends])]


def _fits_together(table: Table) -> bool:
    return (
        len(table.names) == len(table.hashes)
        and len(table) == len(table.bucket)
        and _all_below(table.series, len(table.hashes))
        and all(_has_entries(part, len(table)) for part in (table.payload.bins, table.payload.registers))
    )


def _has_entries(part: Ragged[Any], row_count: int) -> bool:
    """Whether it has as many entries as its rows are said to have."""
    return (
        len(part.per_row) == row_count
        and len(part.slots) == len(part.values) == _sum_of_parts(part.per_row)
        and _all_below(part.slots, BIN_COUNT)
    )


def _sum_of_parts(parts: Rows) -> int:
    """Their sum, -1 where a part is negative."""
    return int(parts.sum()) if _all_below(parts, BIN_COUNT + 1) else -1


def _all_below(values: Rows, limit: int) -> bool:
    return not len(values) or (int(values.min()) >= 0 and int(values.max()) < limit)


def split_tables(tables: Sequence[Table], bytes_max: int = TABLE_BYTES_MAX) -> Iterator[list[Table]]:
    """Groups of tables that each fit into one record; large tables are cut by rows."""
    group: list[Table] = []
    room = bytes_max
    for table in tables:
        for piece in _pieces(table, bytes_max):
            size = piece.size()
            if group and size > room:
                yield group
                group, room = [], bytes_max
            group.append(piece)
            room -= size
    if group:
        yield group


def _pieces(table: Table, bytes_max: int) -> Iterator[Table]:
    """Parts of at most `bytes_max`, or of one row; none of an empty table."""
    if not len(table):
        return
    if table.size() <= bytes_max:
        yield table
        return
    yield from table.cut(fitting_bounds(table.row_sizes(), bytes_max))


def fitting_bounds(sizes: Counts, size_max: int) -> list[int]:
    """Where to cut rows so that the sizes between two cuts sum up to at most `size_max`, or are one row's.

    >>> fitting_bounds(np.array([3, 4, 5, 9, 1]), 7)
    [0, 2, 3, 4, 5]
    """
    ends = np.cumsum(sizes)
    bounds = [0]
    while bounds[-1] < len(sizes):
        sent = int(ends[bounds[-1] - 1]) if bounds[-1] else 0
        fits = int(np.searchsorted(ends, sent + size_max, side="right"))
        bounds.append(max(bounds[-1] + 1, fits))
    return bounds


def _narrowed(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """The array in the smallest unsigned type that holds it; as it is with negative values."""
    if array.dtype != np.int64 or len(array) == 0:
        return array
    low, high = int(array.min()), int(array.max())
    if low < 0:
        return array
    for dtype in (np.uint8, np.uint16, np.uint32):
        if high <= np.iinfo(dtype).max:
            return array.astype(dtype)
    return array


def pack(head: object, parts: Sequence[bytes]) -> bytes:
    """Head and arrays as the value of a record, compressed."""
    encoded = msgspec.msgpack.encode(head)
    body = b"".join([len(encoded).to_bytes(4, "little"), encoded, *parts])
    return zstandard.ZstdCompressor(level=1).compress(body)


def unpack(value: bytes, head_type: type[_Head]) -> tuple[_Head, bytes, int]:
    """(head, body, where the arrays begin) of what `pack` made.

    Raises ValueError for any other bytes.
    """
    try:
        # a size that the frame itself states is allocated whatever `max_output_size` says
        if zstandard.frame_content_size(value) > _DECODED_BYTES_MAX:
            raise ValueError(f"not a record of streamgauge: more than {_DECODED_BYTES_MAX} bytes")
        body = zstandard.ZstdDecompressor().decompress(value, max_output_size=_DECODED_BYTES_MAX)
        size = int.from_bytes(body[:4], "little")
        return msgspec.msgpack.decode(body[4 : 4 + size], type=head_type), body, 4 + size
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise ValueError(f"not a record of streamgauge: {error}") from error
