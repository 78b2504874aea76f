"""A topic read without a consumer group: from where one likes to its end as it stands, or for ever.

Guarantees:
- It only reads. No group, no commit, and a topic that is missing is not made by asking for it.
- It ends. Offsets that hold no record (markers of transactions, records that were compacted away or deleted)
  count as read; a deadline that passes is an error, and so is a position that stands still below the end.
- Records of a partition come in the order of their offsets, each once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.kafka.topics import TopicError
from streams.language.problems import nearest

__all__ = ["Record", "TopicDeadlineError", "TopicReader", "open_topic", "read_topic"]

POLL_MS = 500
"""How long one poll waits; it bounds how late an interrupt is seen."""

RECORDS_POLL_MAX = 5_000

STALL_S = 60.0
"""How long no position may move below the ends. A broker that restarts is back sooner."""


class TopicDeadlineError(TopicError, TimeoutError):
    """The end of a topic was not reached in time; says how far each partition came."""


class Record(Protocol):
    """A record as the client gives it; `timestamp` in ms, `value` None for a tombstone."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class TopicReader:
    """A topic that is being read; `open_topic` makes it.

    Offsets by partition:
    starts    : where reading began
    ends      : where the log ended then
    positions : what is read next; up to date when records are handed out
    """

    def __init__(
        self,
        client: Mapping[str, Any],
        topic: str,
        partitions: Collection[int] | None,
        deadline_s: float | None,
    ) -> None:
        self._client, self._topic, self._wanted = client, topic, partitions
        self._deadline_s = deadline_s
        self._clock = asyncio.get_running_loop().time
        self._ends_at = None if deadline_s is None else self._clock() + deadline_s
        self._consumer: Any = None
        self.starts: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self.positions: dict[int, int] = {}

    @property
    def behind(self) -> list[int]:
        """Partitions that are not read to their ends."""
        return [number for number, end in self.ends.items() if self.positions[number] < end]

    @property
    def offsets_read(self) -> int:
        """Offsets read so far, those without a record among them."""
        return sum(self.positions.values()) - sum(self.starts.values())

    @property
    def offsets_total(self) -> int:
        """Offsets from the starts to the ends."""
        return sum(self.ends.values()) - sum(self.starts.values())

    async def to_ends(self) -> AsyncIterator[list[Record]]:
        """The records below `ends`, one list a poll; it may be empty.

        Raises TopicError where the broker fails or nothing moves, TopicDeadlineError at the deadline.
        """
        moved_at = self._clock()
        while self.behind:
            before = self.offsets_read
            records = await self._poll(self.behind)
            yield [record for record in records if record.offset < self.ends[record.partition]]
            if self.offsets_read != before:
                moved_at = self._clock()
            elif self._clock() - moved_at > STALL_S:
                raise TopicError(f"{self._name}: nothing was read for {STALL_S:g} s{self._standing()}")

    async def for_ever(self) -> AsyncIterator[list[Record]]:
        """All records there are and will be, one list a poll; it may be empty.

        Partitions that the topic is given meanwhile are read too, unless some were asked for.

        Raises TopicError where the broker fails.
        """
        while True:
            yield await self._poll(self.positions)
            if self._wanted is None:
                self._add(self._consumer.partitions_for_topic(self._topic) or ())

    async def _open(self, since_ms: int | None, positions: Mapping[int, int]) -> None:
        async with self._guarded():
            there = await self._partitions()
            wanted = sorted(there if self._wanted is None else self._wanted)
            if missing := sorted(set(wanted) - there):
                raise TopicError(f"{self._name}: expected partitions {missing}, found {sorted(there)}")
            self._consumer = AIOKafkaConsumer(
                **self._client, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
            )
            await self._consumer.start()
            self.ends = _by_number(await self._consumer.end_offsets(self._of(wanted)))
            self.starts = await self._starts(wanted, since_ms)
            for number in wanted:
                # What the log no longer has, or does not have any more since the topic was made anew, is
                # no place to go on from.
                if self.starts[number] <= positions.get(number, -1) <= self.ends[number]:
                    self.starts[number] = positions[number]
            self.positions = dict(self.starts)
            self._assign()

    async def _partitions(self) -> set[int]:
        """Numbers of the topic's partitions; its name is looked up in the list of all."""
        admin = AIOKafkaAdminClient(**self._client)
        try:
            await admin.start()
            topics = await admin.list_topics()
            if self._topic not in topics:
                hint = nearest(self._topic, topics, most=3) or f"there are {len(topics)} other topics"
                raise TopicError(f"topic {self._topic}: expected a topic of the broker, found none; {hint}")
            (described,) = await admin.describe_topics([self._topic])
        finally:
            await admin.close()
        return {partition["partition"] for partition in described["partitions"]}

    async def _starts(self, wanted: Sequence[int], since_ms: int | None) -> dict[int, int]:
        """The log's begin, or the first record that is young enough, as far as the broker can tell."""
        starts = _by_number(await self._consumer.beginning_offsets(self._of(wanted)))
        if since_ms is None:
            return starts
        found = await self._consumer.offsets_for_times(dict.fromkeys(self._of(wanted), since_ms))
        for partition, place in found.items():
            if place is None:
                starts[partition.partition] = self.ends[partition.partition]
            elif place.timestamp is not None and place.timestamp >= since_ms:
                starts[partition.partition] = max(starts[partition.partition], place.offset)
        return starts

    def _assign(self) -> None:
        self._consumer.assign(self._of(self.positions))
        for partition in self._of(self.positions):
            self._consumer.seek(partition, self.positions[partition.partition])

    def _add(self, there: Collection[int]) -> None:
        """Read partitions that the topic has been given since, from their beginning."""
        new = set(there) - self.positions.keys()
        if new:
            for offsets in (self.starts, self.ends, self.positions):
                offsets.update(dict.fromkeys(new, 0))
            self._assign()

    async def _poll(self, numbers: Iterable[int]) -> list[Record]:
        partitions = self._of(numbers)
        async with self._guarded():
            fetched = await self._consumer.getmany(
                *partitions, timeout_ms=POLL_MS, max_records=RECORDS_POLL_MAX
            )
            # The position, not the last record's offset: a log may end in offsets that hold no record.
            for partition in partitions:
                self.positions[partition.partition] = await self._consumer.position(partition)
        return [record for records in fetched.values() for record in records]

    @asynccontextmanager
    async def _guarded(self) -> AsyncIterator[None]:
        """The broker's errors and the deadline as errors that name the topic."""
        limit = asyncio.timeout_at(self._ends_at)
        try:
            async with limit:
                yield
        except (KafkaError, TimeoutError) as error:
            if limit.expired():
                raise TopicDeadlineError(
                    f"{self._name} was not read to its end within {self._deadline_s:g} s{self._standing()}"
                ) from error
            raise TopicError(f"{self._name} cannot be read: {str(error) or type(error).__name__}") from error

    async def _close(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    def _of(self, numbers: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, number) for number in numbers]

    @property
    def _name(self) -> str:
        address = self._client.get("bootstrap_servers", "?")
        return f"topic {self._topic} at {address if isinstance(address, str) else ','.join(address)}"

    def _standing(self) -> str:
        return "".join(
            f"; partition {number} is at offset {self.positions[number]}, its end is {self.ends[number]}"
            for number in (self.behind if self.positions else ())
        )


@asynccontextmanager
async def open_topic(
    client: Mapping[str, Any],
    topic: str,
    *,
    partitions: Collection[int] | None = None,
    since_ms: int | None = None,
    positions: Mapping[int, int] | None = None,
    deadline_s: float | None = None,
) -> AsyncIterator[TopicReader]:
    """A reader of a topic, closed at the end of the block.

    client     : arguments of aiokafka's clients: address, security
    partitions : those to read; all if None
    since_ms   : where to begin, by the records' timestamps; the beginning if None. The broker finds the place
                 roughly where timestamps do not ascend, so older records may come too
    positions  : offsets by partition to go on from, as a reader before had them; they go before `since_ms`
    deadline_s : how long reading to the ends may take, opening included

    Raises TopicError where the broker, the topic or a partition is not there, TopicDeadlineError.
    """
    reader = TopicReader(client, topic, partitions, deadline_s)
    try:
        await reader._open(since_ms, positions or {})
        yield reader
    finally:
        await reader._close()


async def read_topic(client: Mapping[str, Any], topic: str) -> list[Record]:
    """All records of a topic up to its end as it stands. Raises TopicError."""
    async with open_topic(client, topic) as reader:
        return [record async for records in reader.to_ends() for record in records]


def _by_number(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {partition.partition: offset for partition, offset in offsets.items()}
