"""Reading topics of a real Kafka to their ends, whatever their logs have gone through, and on from there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import aiokafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.kafka import topic_reader
from streams.kafka.broadcast import follow
from streams.kafka.topic_reader import TopicDeadlineError, open_topic, read_topic
from streams.kafka.topics import TopicError
from tests.services.kafka import Broker
from tests.services.process import wait_until
from tests.services.topics import run_blocking, unique_name

Write: TypeAlias = tuple[Literal["plain", "committed", "aborted"], int]
"""How records are written, and how many."""

WRITES = st.tuples(st.sampled_from(["plain", "committed", "aborted"]), st.integers(1, 3))


def client(kafka: Broker) -> dict[str, Any]:
    return {"bootstrap_servers": kafka.bootstrap}


def write(kafka: Broker, topic: str, partition: int, writes: Sequence[Write]) -> list[int]:
    """Write to a partition; the offsets that hold records, which a transaction's marker does not."""
    offsets: list[int] = []
    end = 0

    async def transact(kind: str, count: int) -> None:
        producer = aiokafka.AIOKafkaProducer(**client(kafka), transactional_id=unique_name("tx"))
        async with producer:
            await producer.begin_transaction()
            for _ in range(count):
                await producer.send_and_wait(topic, b"in a transaction", partition=partition)
            await (producer.commit_transaction() if kind == "committed" else producer.abort_transaction())

    for kind, count in writes:
        offsets += range(end, end + count)
        if kind == "plain":
            kafka.produce(topic, [b"plain"] * count, partition=partition)
        else:
            run_blocking(transact(kind, count))
        end += count + (kind != "plain")
    return offsets


@settings(max_examples=8)
@given(
    logs=st.lists(
        st.lists(
            st.tuples(st.sampled_from(["plain", "committed", "aborted"]), st.integers(1, 3)), max_size=3
        ),
        min_size=1,
        max_size=3,
    ),
    cut=st.floats(0, 1),
)
def test_every_offset_below_the_end_is_read_once_and_nothing_waits_for_those_without_a_record(
    kafka: Broker, logs: list[list[Write]], cut: float
) -> None:
    topic = kafka.create_topic(unique_name(), partitions=len(logs))
    expected: list[tuple[int, int]] = []
    for partition, writes in enumerate(logs):
        offsets = write(kafka, topic, partition, writes)
        first = round(cut * kafka.end_offsets(topic)[partition])
        kafka.delete_records(topic, {partition: first})
        expected += [(partition, offset) for offset in offsets if offset >= first]

    async def read() -> list[tuple[int, int]]:
        found = []
        async with open_topic(client(kafka), topic, deadline_s=60) as reader:
            async for records in reader.to_ends():
                found += [(record.partition, record.offset) for record in records]
            assert reader.positions == reader.ends == kafka.end_offsets(topic)
            assert reader.offsets_read == reader.offsets_total
        return found

    assert sorted(run_blocking(read())) == expected


async def test_a_compacted_log_is_read_over_its_gaps(kafka: Broker) -> None:
    compact = {
        "cleanup.policy": "compact",
        "segment.ms": "100",
        "min.cleanable.dirty.ratio": "0.001",
        "delete.retention.ms": "0",
    }
    topic = kafka.create_topic(unique_name(), config=compact)

    def some_is_gone() -> bool:
        kafka.produce(topic, [b"%d" % len(written)], key=b"again")
        written.append(b"%d" % len(written))
        return len(kafka.read_all(topic)) < len(written)

    written: list[bytes] = []
    await asyncio.to_thread(
        wait_until, some_is_gone, timeout_s=90, pause_s=0.5, what="compaction of the topic"
    )
    records = await read_topic(client(kafka), topic)
    assert len(records) < len(written)
    assert records[-1].value == written[-1]


async def test_where_reading_begins(kafka: Broker) -> None:
    topic = kafka.create_topic(unique_name(), partitions=3)
    for partition, count in ((0, 6), (1, 2)):
        for number in range(count):
            kafka.produce(topic, [b"."], partition=partition, timestamp_ms=1_000 * (number + 1))
    kafka.delete_records(topic, {0: 2})

    async def starts(**options: Any) -> dict[int, int]:
        async with open_topic(client(kafka), topic, **options) as reader:
            assert reader.positions == reader.starts
            return reader.starts

    assert await starts() == {0: 2, 1: 0, 2: 0}
    assert await starts(partitions=[1]) == {1: 0}
    assert await starts(since_ms=4_000) == {0: 3, 1: 2, 2: 0}
    assert await starts(positions={0: 4, 1: 2}) == {0: 4, 1: 2, 2: 0}
    # Deleted since, or of a topic that was longer before it was made anew.
    assert await starts(positions={0: 1, 1: 3}) == {0: 2, 1: 0, 2: 0}
    assert await starts(positions={0: 5}, since_ms=4_000) == {0: 5, 1: 2, 2: 0}
    with pytest.raises(TopicError, match=r"expected partitions \[7\], found \[0, 1, 2\]"):
        await starts(partitions=[1, 7])


async def test_a_reading_that_gets_nowhere_says_how_far_it_came(
    kafka: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka.create_topic(unique_name(), partitions=2)
    kafka.produce(topic, [b"."] * 3, partition=1)

    async def read(**options: Any) -> list[int]:
        found = []
        async with open_topic(client(kafka), topic, **options) as reader:
            reader.ends[1] = 8  # as where a leader that lacks the tail has taken over
            async for records in reader.to_ends():
                found += [record.offset for record in records]
        return found

    stands = "partition 1 is at offset 3, its end is 8"
    with pytest.raises(TopicDeadlineError, match=f"not read to its end within 3 s; {stands}"):
        await read(deadline_s=3)
    with pytest.raises(TimeoutError, match=f"topic {topic} at {kafka.bootstrap} was not read"):
        await read(deadline_s=0)
    monkeypatch.setattr(topic_reader, "STALL_S", 0.5)
    with pytest.raises(TopicError, match=f"nothing was read for 0.5 s; {stands}"):
        await read()


async def test_following_goes_on_after_the_end_and_finds_new_partitions(kafka: Broker) -> None:
    topic = kafka.create_topic(unique_name())
    kafka.produce(topic, [b"before"])
    handled: asyncio.Queue[bytes | None] = asyncio.Queue()
    told: list[str] = []

    async def next_value() -> bytes | None:
        return await asyncio.wait_for(handled.get(), 30)

    following = asyncio.create_task(
        follow(
            {**client(kafka), "metadata_max_age_ms": 300},
            topic,
            lambda key, value: handled.put_nowait(value),
            caught_up=lambda: told.append("caught up"),
        )
    )
    try:
        assert await next_value() == b"before"
        await asyncio.to_thread(kafka.produce, topic, [b"after"])
        assert await next_value() == b"after"
        admin = AIOKafkaAdminClient(**client(kafka))
        await admin.start()
        await admin.create_partitions({topic: NewPartitions(2)})
        await admin.close()
        await asyncio.to_thread(kafka.produce, topic, [b"elsewhere"], partition=1)
        assert await next_value() == b"elsewhere"
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert told == ["caught up"]
