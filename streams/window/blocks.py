"""Sealed buckets as stored: blocks of a compacted topic, from which a restart fills the rings again.

A block holds one slot of one level of one source, all rollups together. Its key names level and place in
the ring, not the time, so that a block replaces the one that its slot held a turn ago: the topic's size
is bounded without deletions. A slot too large for one record is stored in several chunks and counts only
if all of them are there.

Counters are stored as [counts of the slot | totals since ever | totals of the calendar period].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

import msgspec

from streams.partials.points import PointTable, decode_points, encode_points, split_points
from streams.partials.table import (
    TABLE_BYTES_MAX,
    Table,
    TableHead,
    decode_tables,
    encode_tables,
    pack,
    split_tables,
    unpack,
)
from streams.window.rings import LEVEL_SLOT_MS
from streams.window.totals import SHARD_COUNT

FORMAT = 1

SLOTS_KEPT = (361, 865, 8_785, SHARD_COUNT, 360, 2)
"""Slots stored per level: an hour of 10 s, three days of 5 min, a year of hours, each with the open one; then
the shards of the totals, what detectors were shown in the last hour, and what they had learnt before it."""

TOTALS_LEVEL = len(LEVEL_SLOT_MS)
"""Level of blocks that hold totals alone; their slot is the shard."""

PANELS_LEVEL = TOTALS_LEVEL + 1
"""Level of blocks that hold what detectors were shown at the end of a bucket, which is their slot."""

LEARNT_LEVEL = TOTALS_LEVEL + 2
"""Level of blocks that hold all that detectors have learnt; their slots are counted through."""

STATE_BESIDE_BYTES_MAX = 90_000
"""Bytes of a state that may stand in one record with as many tables as a record holds."""

assert len(SLOTS_KEPT) == LEARNT_LEVEL + 1


@dataclass(frozen=True, slots=True)
class Block:
    """One stored slot.

    slot   : number of the slot since 1970; for level 0 the bucket
    state  : the alert book as of the end of this bucket, JSON (level 0); panels or what was learnt from them
             (the levels of detectors)
    points : points of cumulative counters in this bucket (level 0 only), which the next increases rest on
    """

    source: str
    level: int
    slot: int
    tables: Sequence[Table]
    state: bytes = field(default=b"[]")
    points: Sequence[PointTable] = field(default=())


class _Head(msgspec.Struct, array_like=True):
    version: int
    source: str
    level: int
    slot: int
    chunk: int
    chunk_count: int
    writing: int
    state: bytes
    tables: list[TableHead]
    points: list[TableHead]


class _Chunk(NamedTuple):
    head: _Head
    tables: list[Table]
    points: list[PointTable]


def encode_block(block: Block) -> list[tuple[bytes, bytes]]:
    """(key, value) of the records that store a block."""
    bodies: list[tuple[Sequence[Table], Sequence[PointTable]]] = [
        (group, ()) for group in split_tables(block.tables)
    ]
    bodies += [((), (piece,)) for table in block.points for piece in split_points(table)]
    pieces = [
        block.state[start : start + TABLE_BYTES_MAX] for start in range(0, len(block.state), TABLE_BYTES_MAX)
    ]
    # a state that is too large to go beside the largest tables has chunks of its own, behind them
    first = 0 if len(block.state) <= STATE_BESIDE_BYTES_MAX else len(bodies)
    bodies += [((), ())] * max(first + len(pieces) - len(bodies), 0)
    encoded = [(encode_tables(group), encode_points(piece)) for group, piece in bodies]
    # two writings of a slot may be cut at different places, and their chunks must not be taken together
    writing = crc32(block.state)
    for (_, parts), (_, point_parts) in encoded:
        for part in (*parts, *point_parts):
            writing = crc32(part, writing)
    records = []
    for chunk, ((heads, parts), (point_heads, point_parts)) in enumerate(encoded):
        head = _Head(
            FORMAT,
            block.source,
            block.level,
            block.slot,
            chunk,
            len(bodies),
            writing,
            pieces[chunk - first] if 0 <= chunk - first < len(pieces) else b"",
            heads,
            point_heads,
        )
        place = block.slot % SLOTS_KEPT[block.level]
        key = f"{block.source}/{block.level}/{place}/{chunk}".encode()
        records.append((key, pack(head, [*parts, *point_parts])))
    return records


def decode_blocks(values: Iterable[bytes]) -> list[Block]:
    """The complete blocks among stored records, one per slot, ascending by slot within source and level.

    values : the latest record of each key
    Raises ValueError for bytes that are no block of this format.
    """
    chunks: dict[tuple[str, int, int], dict[int, _Chunk]] = {}
    for value in values:
        head, body, at = unpack(value, _Head)
        if head.version != FORMAT:
            raise ValueError(f"block of format {head.version}, this version reads format {FORMAT}")
        slot = chunks.setdefault((head.source, head.level, head.slot), {})
        tables, at = decode_tables(head.tables, body, at)
        points, _ = decode_points(head.points, body, at)
        slot[head.chunk] = _Chunk(head, tables, points)
    blocks = []
    for (source, level, number), parts in sorted(chunks.items()):
        # the first chunk tells which writing counts: others may be left of an earlier one
        if 0 not in parts:
            continue
        first = parts[0].head
        mine = {chunk: part for chunk, part in parts.items() if part.head.writing == first.writing}
        if first.chunk_count and mine.keys() >= set(range(first.chunk_count)):
            whole = [mine[chunk] for chunk in range(first.chunk_count)]
            tables = [table for part in whole for table in part.tables]
            points = [table for part in whole for table in part.points]
            state = b"".join(part.head.state for part in whole)
            blocks.append(Block(source, level, number, tables, state, points))
    return blocks
