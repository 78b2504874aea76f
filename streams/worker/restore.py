"""Reading the stored blocks of partitions that this worker has just been assigned."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.window.blocks import Block, decode_blocks

logger = logging.getLogger(__name__)

POLL_MS = 1_000


async def read_blocks(
    client: dict[str, Any], topic: str, partitions: Sequence[int], *, deadline_s: float
) -> dict[int, list[Block]]:
    """All stored blocks of some partitions of the blocks topic, up to its end as of now.

    client : arguments of an aiokafka client
    Raises TimeoutError if the end is not reached within `deadline_s`.
    """
    if not partitions:
        return {}
    consumer = AIOKafkaConsumer(
        **client, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=100
    )
    await consumer.start()
    try:
        async with asyncio.timeout(deadline_s):
            latest = await _read_to_end(consumer, [TopicPartition(topic, p) for p in partitions])
    finally:
        await consumer.stop()
    blocks = {}
    for partition in partitions:
        values = latest[TopicPartition(topic, partition)]
        blocks[partition] = await asyncio.to_thread(decode_blocks, list(values.values()))
    return blocks


async def _read_to_end(
    consumer: AIOKafkaConsumer, assigned: Sequence[TopicPartition]
) -> dict[TopicPartition, dict[bytes, bytes]]:
    """The latest value of each key."""
    latest: dict[TopicPartition, dict[bytes, bytes]] = {tp: {} for tp in assigned}
    consumer.assign(assigned)
    ends = await consumer.end_offsets(assigned)
    await consumer.seek_to_beginning(*assigned)
    unread = {tp for tp in assigned if ends[tp] > await consumer.position(tp)}
    while unread:
        for tp, records in (await consumer.getmany(*unread, timeout_ms=POLL_MS)).items():
            for record in records:
                if record.value is None:
                    latest[tp].pop(record.key, None)
                else:
                    latest[tp][record.key] = record.value
        # a compacted log may end in offsets that hold nothing, so the position tells, not the last record
        unread = {tp for tp in unread if await consumer.position(tp) < ends[tp]}
    return latest
