"""Tables of series in columns, and their bytes: the common form of partials and of stored blocks.

Guarantee: `decode_tables(encode_tables(tables)) == tables`, on every machine (little-endian, explicit
types); a table names its own series, so that a reader may start anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from models.arrays import Counts, Hashes, Rows
from streams.aggregate.tables import renumber

TABLE_BYTES_MAX = 900_000
"""Uncompressed bytes of the tables of one record; under Kafka's limit of 1 MB if nothing compresses."""

_DECODED_BYTES_MAX = 64 << 20

_Head = TypeVar("_Head")

TableHead: TypeAlias = tuple[str, list[tuple[str, int]], int]
"""Rollup, (type, length) of each array, and the number of counters."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one rollup.

    hashes, names : keys and encoded labels of the S' series that occur
    series        : Rows [N], position in `hashes`
    bucket        : Rows [N], bucket numbers
    counts        : Counts [N, C]
    bins_per_row  : Rows [N]; `bins` and `bin_counts` hold the rows' sketch bins one after the other
    registers_per_row : the same for the HyperLogLog registers of all distinct columns
    """

    rollup: str
    hashes: Hashes
    names: Sequence[bytes]
    series: Rows
    bucket: Rows
    counts: Counts
    bins_per_row: Rows
    bins: Rows
    bin_counts: Counts
    registers_per_row: Rows
    registers: Rows
    ranks: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.series)

    def size(self) -> int:
        """Bytes that the rows take, about."""
        row_bytes = 14 + 8 * int(self.counts.shape[1])
        names = sum(map(len, self.names)) + 12 * len(self.hashes)
        return len(self.series) * row_bytes + 6 * len(self.bins) + 3 * len(self.registers) + names

    def take(self, rows: Rows) -> Table:
        """The given ascending rows with just the series they need."""
        keep = np.zeros(len(self), dtype=np.bool_)
        keep[rows] = True
        used, series = renumber(self.series[rows], len(self.hashes))
        bins = np.repeat(keep, self.bins_per_row)
        registers = np.repeat(keep, self.registers_per_row)
        return Table(
            rollup=self.rollup,
            hashes=self.hashes[used],
            names=[self.names[i] for i in used.tolist()],
            series=series,
            bucket=self.bucket[rows],
            counts=self.counts[rows],
            bins_per_row=self.bins_per_row[rows],
            bins=self.bins[bins],
            bin_counts=self.bin_counts[bins],
            registers_per_row=self.registers_per_row[rows],
            registers=self.registers[registers],
            ranks=self.ranks[registers],
        )


def split_by_home(table: Table, home: Rows, home_count: int) -> list[Table | None]:
    """The rows of each home, None where it has none.

    home : Rows [S'], 0 <= home < home_count, of each series of the table
    """
    if home_count == 1:
        return [table]
    row_home = home.astype(np.uint16)[table.series]  # 16 bits sort by radix
    order = np.argsort(row_home, kind="stable")
    bounds = np.searchsorted(row_home[order], np.arange(home_count + 1))
    bin_order = np.argsort(np.repeat(row_home, table.bins_per_row), kind="stable")
    register_order = np.argsort(np.repeat(row_home, table.registers_per_row), kind="stable")
    bins_per_row, registers_per_row = table.bins_per_row[order], table.registers_per_row[order]
    bins_at = np.concatenate([[0], np.cumsum(bins_per_row)])
    registers_at = np.concatenate([[0], np.cumsum(registers_per_row)])
    series, bucket, counts = table.series[order], table.bucket[order], table.counts[order]
    bins, bin_counts = table.bins[bin_order], table.bin_counts[bin_order]
    registers, ranks = table.registers[register_order], table.ranks[register_order]
    pieces: list[Table | None] = []
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if start == stop:
            pieces.append(None)
            continue
        used, position = renumber(series[start:stop], len(table.hashes))
        own_bins = slice(bins_at[start], bins_at[stop])
        own_registers = slice(registers_at[start], registers_at[stop])
        pieces.append(
            Table(
                rollup=table.rollup,
                hashes=table.hashes[used],
                names=[table.names[i] for i in used.tolist()],
                series=position,
                bucket=bucket[start:stop],
                counts=counts[start:stop],
                bins_per_row=bins_per_row[start:stop],
                bins=bins[own_bins],
                bin_counts=bin_counts[own_bins],
                registers_per_row=registers_per_row[start:stop],
                registers=registers[own_registers],
                ranks=ranks[own_registers],
            )
        )
    return pieces


def encode_tables(tables: Sequence[Table]) -> tuple[list[TableHead], list[bytes]]:
    """Heads of the tables, and the bytes of their arrays in the order that the heads list them."""
    heads: list[TableHead] = []
    parts: list[bytes] = []
    for table in tables:
        columns, packed = pack_arrays(
            (
                table.hashes,
                np.fromiter(map(len, table.names), np.int64, len(table.names)),
                np.frombuffer(b"".join(table.names), dtype=np.uint8),
                table.series,
                table.bucket,
                table.counts.reshape(-1),
                table.bins_per_row,
                table.bins,
                table.bin_counts,
                table.registers_per_row,
                table.registers,
                table.ranks,
            )
        )
        heads.append((table.rollup, columns, table.counts.shape[1]))
        parts.extend(packed)
    return heads, parts


def decode_tables(heads: Sequence[TableHead], body: bytes, at: int) -> tuple[list[Table], int]:
    """The tables whose arrays begin at byte `at` of `body`, and where they end.

    Raises ValueError if `body` is shorter than the heads say.
    """
    tables: list[Table] = []
    for rollup, columns, counter_count in heads:
        arrays, at = unpack_arrays(columns, body, at)
        wide = [array.astype(np.int64) for array in arrays[3:11]]
        ends = np.cumsum(arrays[1].astype(np.int64)).tolist()
        text = arrays[2].tobytes()
        tables.append(
            Table(
                rollup=rollup,
                hashes=arrays[0].astype(np.uint64),
                names=[text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=False)],
                series=wide[0],
                bucket=wide[1],
                counts=wide[2].reshape(-1, counter_count),
                bins_per_row=wide[3],
                bins=wide[4],
                bin_counts=wide[5],
                registers_per_row=wide[6],
                registers=wide[7],
                ranks=arrays[11].astype(np.uint8),
            )
        )
    return tables, at


def pack_arrays(arrays: Sequence[NDArray[np.generic]]) -> tuple[list[tuple[str, int]], list[bytes]]:
    """(type, length) of each array in its smallest type, and their bytes."""
    narrow = [_narrowed(array) for array in arrays]
    return [(array.dtype.str, len(array)) for array in narrow], [array.tobytes() for array in narrow]


def unpack_arrays(
    columns: Sequence[tuple[str, int]], body: bytes, at: int
) -> tuple[list[NDArray[np.generic]], int]:
    """The arrays that begin at byte `at` of `body`, and where they end."""
    arrays: list[NDArray[np.generic]] = []
    for dtype, length in columns:
        array = np.frombuffer(body, dtype=np.dtype(dtype), count=length, offset=at)
        at += array.nbytes
        arrays.append(array)
    return arrays, at


def split_tables(tables: Sequence[Table], bytes_max: int = TABLE_BYTES_MAX) -> Iterator[list[Table]]:
    """Groups of tables that each fit into one record; large tables are cut by rows."""
    group: list[Table] = []
    room = bytes_max
    for table in tables:
        start = 0
        while start < len(table):
            piece = table if start == 0 else table.take(np.arange(start, len(table)))
            if piece.size() > room:
                if group:
                    yield group
                    group, room = [], bytes_max
                if piece.size() > bytes_max:
                    fits = max(1, int(len(piece) * bytes_max / piece.size() * 0.7))
                    piece = table.take(np.arange(start, start + fits))
            group.append(piece)
            room -= piece.size()
            start += len(piece)
    if group:
        yield group


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
        body = zstandard.ZstdDecompressor().decompress(value, max_output_size=_DECODED_BYTES_MAX)
        size = int.from_bytes(body[:4], "little")
        return msgspec.msgpack.decode(body[4 : 4 + size], type=head_type), body, 4 + size
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise ValueError(f"not a record of streamgauge: {error}") from error
