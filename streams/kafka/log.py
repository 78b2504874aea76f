"""The log as the stages see it: sends that are acknowledged, commits, seeks, ends.

The stages take it as an argument, as they take the clock, so that a simulation can substitute one
that loses, duplicates and delays.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

logger = logging.getLogger(__name__)

REQUEST_BYTES_MAX = 1 << 20
"""Bytes of a request of the producer, which a record must fit into; a broker's default is 12 bytes more."""

RECORD_BYTES_MAX = 1_000_000
"""Bytes that key, value and headers of a record may have; the rest is for what is around them."""


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Log(Protocol):
    """What a stage may ask of the broker."""

    async def send(
        self,
        to: Partition,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Awaitable[Any]:
        """Send a record; the result, awaited, is its acknowledgement, or raises."""
        ...

    async def inform(self, to: Partition, key: bytes, value: bytes) -> Awaitable[Any]:
        """`send` to a topic from which nothing is restored: what is too large is counted and left out."""
        ...

    async def commit(
        self, offsets: Mapping[Partition, int], read: Mapping[Partition, int] | None = None
    ) -> bool:
        """Commit; False if the group has moved on.

        read : below them all was read and is durable; the committed offsets if not given
        """
        ...

    async def seek_back(self, at: Partition, offset: int) -> int | None:
        """Read `at` again from `offset`; the first offset still there if the log was cut above it."""
        ...

    def fetch_position(self, of: Partition) -> int | None:
        """Where the consumer will fetch next, None if it does not say."""
        ...

    def end_offset(self, of: Partition) -> int | None:
        """End of a partition's log as last heard."""
        ...

    def partition_count(self, topic: str) -> int:
        """Partitions of a topic as last heard."""
        ...


class KafkaLog:
    """The log behind a Faust app whose transport is `BatchTransport`."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.left_out: Counter[str] = Counter()
        """Records too large to be sent, by topic."""

    async def send(
        self,
        to: Partition,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Awaitable[Any]:
        acknowledged: Awaitable[Any] = await self._app.producer.send(
            to.topic,
            key=key,
            value=value,
            partition=to.partition,
            timestamp=None,
            headers=list(headers),
        )
        return acknowledged

    async def inform(self, to: Partition, key: bytes, value: bytes) -> Awaitable[Any]:
        if len(key) + len(value) <= RECORD_BYTES_MAX:
            return await self.send(to, key, value)
        if not self.left_out[to.topic]:
            logger.error(
                "A record of %d bytes for %s is left out, since a record may have %d; "
                "streamgauge_left_out_records_total counts the others",
                len(value),
                to.topic,
                RECORD_BYTES_MAX,
            )
        self.left_out[to.topic] += 1
        nothing = asyncio.get_running_loop().create_future()
        nothing.set_result(None)
        return nothing

    async def commit(
        self, offsets: Mapping[Partition, int], read: Mapping[Partition, int] | None = None
    ) -> bool:
        done: bool = await self._app.consumer.commit_offsets(offsets, read)
        return done

    async def seek_back(self, at: Partition, offset: int) -> int | None:
        first: int | None = await self._app.consumer.seek_back(at, offset)
        return first

    def fetch_position(self, of: Partition) -> int | None:
        position: int | None = self._app.consumer.fetch_position(of)
        return position

    def end_offset(self, of: Partition) -> int | None:
        end: int | None = self._app.consumer.end_offset(of)
        return end

    def partition_count(self, topic: str) -> int:
        count: int = self._app.consumer.partition_count(topic)
        return count
