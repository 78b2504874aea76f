"""The log as the stages see it: sends that are acknowledged, commits, seeks, ends.

The stages take it as an argument, as they take the clock, so that a simulation can substitute one
that loses, duplicates and delays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol


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
