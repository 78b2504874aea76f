"""Topics that every worker reads whole: labels, announcements of models, alerts for incidents.

They are small and compacted, or bounded by time. A worker reads them without a group, from the beginning or
from an instant on, and keeps reading; after an interruption it tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

logger = logging.getLogger(__name__)

RETRY_S = 5.0
POLL_MS = 500

Handle: TypeAlias = Callable[[bytes | None, bytes | None], None]
"""Told the key and value of each record, in the order of its partition; None for a tombstone's value."""


async def follow(
    client: dict[str, Any],
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
    positions: dict[TopicPartition, int] = {}
    while True:
        try:
            await _follow_once(client, topic, handle, since_ms, positions, caught_up)
        except (KafkaError, OSError) as error:
            logger.warning("Cannot read %s: %s; trying again", topic, error)
            await asyncio.sleep(RETRY_S)


async def _follow_once(
    client: dict[str, Any],
    topic: str,
    handle: Handle,
    since_ms: int | None,
    positions: dict[TopicPartition, int],
    caught_up: Callable[[], None],
) -> None:
    # Named here, since a client knows nothing of topics that it does not subscribe to; without a group it is
    # assigned all partitions.
    consumer = AIOKafkaConsumer(
        topic, **client, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        await consumer.start()
        assigned = sorted(consumer.assignment())
        await _go_to(consumer, assigned, since_ms, positions)
        ends = await consumer.end_offsets(assigned)
        while True:
            for tp, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
                for record in records:
                    handle(record.key, record.value)
                positions[tp] = records[-1].offset + 1
            if ends and all([await consumer.position(tp) >= end for tp, end in ends.items()]):
                ends = {}
                caught_up()
    finally:
        await consumer.stop()


async def _go_to(
    consumer: AIOKafkaConsumer,
    assigned: list[TopicPartition],
    since_ms: int | None,
    positions: dict[TopicPartition, int],
) -> None:
    """To where reading stopped, else to the first record that is young enough."""
    first: dict[TopicPartition, Any] = {}
    if since_ms is not None:
        first = await consumer.offsets_for_times(dict.fromkeys(assigned, since_ms))
    for tp in assigned:
        if tp in positions:
            consumer.seek(tp, positions[tp])
        elif since_ms is None:
            await consumer.seek_to_beginning(tp)
        elif first.get(tp) is not None:
            consumer.seek(tp, first[tp].offset)
        else:
            await consumer.seek_to_end(tp)
