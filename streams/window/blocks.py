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

import msgspec

from streams.columns import Table, TableHead, decode_tables, encode_tables, pack, split_tables, unpack
from streams.window.rings import LEVEL_SLOT_MS

FORMAT = 1

SLOTS_KEPT = (361, 865, 8_785)
"""Slots stored per level: an hour of 10 s, three days of 5 min, a year of hours, each with the open one."""

assert len(SLOTS_KEPT) == len(LEVEL_SLOT_MS)


@dataclass(frozen=True, slots=True)
class Block:
    """One stored slot.

    slot   : number of the slot since 1970; for level 0 the bucket
    alerts : the alert book as of the end of this bucket (level 0 only), JSON
    """

    source: str
    level: int
    slot: int
    tables: Sequence[Table]
    alerts: bytes = field(default=b"[]")


class _Head(msgspec.Struct, array_like=True):
    version: int
    source: str
    level: int
    slot: int
    chunk: int
    chunk_count: int
    alerts: bytes
    tables: list[TableHead]


def encode_block(block: Block) -> list[tuple[bytes, bytes]]:
    """(key, value) of the records that store a block."""
    groups = list(split_tables(block.tables)) or [[]]
    records = []
    for chunk, group in enumerate(groups):
        heads, parts = encode_tables(group)
        head = _Head(
            FORMAT,
            block.source,
            block.level,
            block.slot,
            chunk,
            len(groups),
            block.alerts if chunk == 0 else b"[]",
            heads,
        )
        place = block.slot % SLOTS_KEPT[block.level]
        key = f"{block.source}/{block.level}/{place}/{chunk}".encode()
        records.append((key, pack(head, parts)))
    return records


def decode_blocks(values: Iterable[bytes]) -> list[Block]:
    """The complete blocks among stored records, one per slot, ascending by slot within source and level.

    values : the latest record of each key
    Raises ValueError for bytes that are no block of this format.
    """
    chunks: dict[tuple[str, int, int], dict[int, tuple[_Head, list[Table]]]] = {}
    for value in values:
        head, body, at = unpack(value, _Head)
        if head.version != FORMAT:
            raise ValueError(f"block of format {head.version}, this version reads format {FORMAT}")
        slot = chunks.setdefault((head.source, head.level, head.slot), {})
        slot[head.chunk] = (head, decode_tables(head.tables, body, at))
    blocks = []
    for (source, level, number), parts in sorted(chunks.items()):
        count = next(iter(parts.values()))[0].chunk_count
        if set(parts) >= set(range(count)):
            tables = [table for chunk in range(count) for table in parts[chunk][1]]
            blocks.append(Block(source, level, number, tables, parts[0][0].alerts))
    return blocks
