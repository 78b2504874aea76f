"""Reading the stored blocks of partitions that this worker has just been assigned."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from streams.kafka.topic_reader import open_topic
from streams.window.blocks import Block, decode_blocks


async def read_blocks(
    client: Mapping[str, Any], topic: str, partitions: Sequence[int], *, deadline_s: float
) -> dict[int, list[Block]]:
    """All stored blocks of some partitions of the blocks topic, up to its end as of now.

    client : arguments of an aiokafka client
    Raises TopicError, which is a TimeoutError if the end is not reached within `deadline_s`.
    """
    if not partitions:
        return {}
    latest: dict[int, dict[bytes | None, bytes]] = {number: {} for number in partitions}
    async with open_topic(client, topic, partitions=partitions, deadline_s=deadline_s) as reader:
        async for records in reader.to_ends():
            for record in records:
                if record.value is None:
                    latest[record.partition].pop(record.key, None)
                else:
                    latest[record.partition][record.key] = record.value
    return {
        number: await asyncio.to_thread(decode_blocks, list(values.values()))
        for number, values in latest.items()
    }
