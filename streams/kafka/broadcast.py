"""Topics that every worker reads whole: labels, announcements of models, alerts for incidents.

They are small and compacted, or bounded by time. A worker reads them without a group, from the beginning or
from an instant on, and keeps reading; after an interruption it tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from streams.kafka.topic_reader import open_topic
from streams.kafka.topics import TopicError

logger = logging.getLogger(__name__)

RETRY_S = 5.0

Handle: TypeAlias = Callable[[bytes | None, bytes | None], None]
"""Told the key and value of each record, in the order of its partition; None for a tombstone's value."""


async def follow(
    client: Mapping[str, Any],
    topic: str,
    handle: Handle,
    *,
    since_ms: int | None = None,
    caught_up: Callable[[], None] = lambda: None,
) -> None:
    """Read a topic forever; cancel it to stop.

    client    : arguments of an aiokafka client
    since_ms  : where to begin, by the records' timestamps; the beginning if None
    caught_up : told whenever all that there was has been read
    """
    positions: dict[int, int] = {}
    while True:
        try:
            async with open_topic(client, topic, since_ms=since_ms, positions=positions) as reader:
                is_told = False
                async for records in reader.for_ever():
                    for record in records:
                        handle(record.key, record.value)
                    positions.update(reader.positions)
                    if not is_told and not reader.behind:
                        is_told = True
                        caught_up()
        except (TopicError, OSError) as error:
            logger.warning("%s; trying again", error)
            await asyncio.sleep(RETRY_S)
