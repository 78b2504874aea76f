"""Partials on the wire: what one source partition counted, cumulative, in columns.

One frame holds what one flush of a source partition sends to one partition of `<app>-partials`. Every
value is cumulative for its (source partition, series, bucket), so the reader replaces and never adds; a
frame says which source offset its values include, and the last frame of a flush carries the watermark
below which all buckets of that source partition are final.

Layout: zstandard of a length-prefixed MessagePack head followed by the arrays that it lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from streams.partials.points import PointTable, decode_points, encode_points
from streams.partials.table import Table, TableHead, decode_tables, encode_tables, pack, unpack

FORMAT = 1


class ExemplarRow(msgspec.Struct, array_like=True, frozen=True):
    """One event that stands for many: which series it belongs to, its trace, and what it measured.

    key   : the series' 64-bit key
    value : the measured duration, 1 where none was
    """

    rollup: str
    key: int
    trace_id: str
    value: float
    time_ms: int
    error: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of `<app>-partials`.

    offset    : all source records below it are included in the values
    watermark : buckets below it are final; None on all but the last frame of a flush
    newest    : the source partition's newest bucket
    idle      : the source partition is read to its end and has been silent; nothing waits for it
    """

    source: str
    partition: int
    offset: int
    watermark: int | None
    newest: int
    idle: bool = False
    tables: Sequence[Table] = field(default=())
    exemplars: Sequence[ExemplarRow] = field(default=())
    points: Sequence[PointTable] = field(default=())


class _Head(msgspec.Struct, array_like=True):
    version: int
    source: str
    partition: int
    offset: int
    watermark: int | None
    newest: int
    idle: bool
    tables: list[TableHead]
    exemplars: list[ExemplarRow]
    points: list[TableHead]


def encode_frame(frame: Frame) -> bytes:
    """A frame as the value of a record."""
    heads, parts = encode_tables(frame.tables)
    point_heads, point_parts = encode_points(frame.points)
    return pack(
        _Head(
            FORMAT,
            frame.source,
            frame.partition,
            frame.offset,
            frame.watermark,
            frame.newest,
            frame.idle,
            heads,
            list(frame.exemplars),
            point_heads,
        ),
        [*parts, *point_parts],
    )


def decode_frame(value: bytes) -> Frame:
    """The frame in a record's value.

    Raises ValueError for bytes that are no frame of this format.
    """
    head, body, at = unpack(value, _Head)
    if head.version != FORMAT:
        raise ValueError(f"frame of format {head.version}, this version reads format {FORMAT}")
    tables, at = decode_tables(head.tables, body, at)
    points, _ = decode_points(head.points, body, at)
    return Frame(
        source=head.source,
        partition=head.partition,
        offset=head.offset,
        watermark=head.watermark,
        newest=head.newest,
        idle=head.idle,
        tables=tables,
        exemplars=head.exemplars,
        points=points,
    )
