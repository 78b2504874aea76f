"""The rules of delivery that the stage keeps: with each every event is counted once, without it not.

A plain consumer with our fetcher on a real Kafka stands in for Faust, so that a test decides which batches
get lost, come twice or come from the middle. What Faust does to messages: test_delivery_by_faust.py.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiokafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.aggregate.partition import PartitionAggregate
from streams.events.batch import Records
from streams.kafka import transport
from streams.kafka.log import Partition
from streams.kafka.transport import Admission, BatchRecords, Position
from tests.contracts.delivery import BOTH, Reader, counted_in, events, reading, settings
from tests.services.kafka import Broker, KafkaBroker

PATIENCE_S = 20.0


@pytest.fixture
async def reader(
    kafka: Broker, topic_name: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Reader]:
    """A reader of an empty topic of one partition."""
    topic = kafka.create_topic(topic_name("delivery"))
    async with reading(kafka, topic, settings(kafka.bootstrap, "delivery", topic, tmp_path)) as reader:
        yield reader


def count_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out what keeps rows below `at` from being counted again."""
    plain = PartitionAggregate.read

    def read(self: PartitionAggregate, records: Records, next_offset: int) -> Any:
        if len(records):
            self.at = min(self.at, int(records.offsets[0]))
        return plain(self, records, next_offset)

    monkeypatch.setattr(PartitionAggregate, "read", read)


def admit_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Position, "admit", lambda *_: Admission.COUNT)


@BOTH
async def test_a_repeat_is_dropped(
    kafka: Broker, reader: Reader, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    kafka.produce(reader.tp.topic, events(0, 50))
    if broken:
        admit_all(monkeypatch)
        count_again(monkeypatch)
    assert await reader.read() == 50
    reader.consumer.seek(reader.tp, 0)
    counted = await reader.read()
    assert (counted == 50) is not broken
    assert (reader.stage.counts["s", "repeat"] > 0) is not broken


@BOTH
async def test_a_gap_is_not_counted_and_heals_by_a_seek_back(
    kafka: Broker, reader: Reader, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    if broken:
        admit_all(monkeypatch)
    kafka.produce(reader.tp.topic, events(0, 40))
    lost = await reader.fetch()
    assert lost is not None
    assert (lost.start, lost.next_offset) == (0, 40)
    kafka.produce(reader.tp.topic, events(40, 10))
    counted = await reader.read()
    assert (counted == 50) is not broken
    assert (reader.stage.counts["s", "gap"] > 0) is not broken


@BOTH
async def test_what_was_lost_before_the_log_fell_silent_is_read_again(
    kafka: Broker, reader: Reader, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    """No later batch shows this gap; only the consumer's own position tells of it."""
    monkeypatch.setattr(transport, "STALL_S", 0.0)
    if broken:
        monkeypatch.setattr(Position, "is_stalled", lambda *_: False)
    kafka.produce(reader.tp.topic, events(0, 40))
    lost = await reader.fetch()
    assert lost is not None
    await reader.stage.heal_stalls()
    counted = await reader.read()
    assert (counted == 40) is not broken
    assert (reader.stage.counts["s", "stall"] == 1) is not broken
    await reader.stage.heal_stalls()
    assert reader.stage.counts["s", "stall"] <= 1, "what has been counted is no stall"


@BOTH
async def test_a_batch_from_the_middle_counts_its_new_rows_only(
    kafka: Broker, reader: Reader, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    if broken:
        count_again(monkeypatch)
    kafka.produce(reader.tp.topic, events(0, 50))
    assert await reader.read() == 50
    kafka.produce(reader.tp.topic, events(50, 20))
    reader.consumer.seek(reader.tp, 30)
    batch = await reader.fetch()
    assert batch is not None
    assert (batch.start, batch.next_offset) == (30, 70), "one fetch brings what was read and what was not"
    await reader.stage.on_batch(batch)
    counted = await reader.read()
    assert (counted == 70) is not broken


def start_at_the_first_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch begin with its first record, not where the fetch before it ended."""
    plain = BatchRecords._joined_record

    def joined(self: BatchRecords, start: int, records: Records) -> Any:
        return plain(self, int(records.offsets[0]) if len(records) else self.next_fetch_offset, records)

    monkeypatch.setattr(BatchRecords, "_joined_record", joined)


async def transactions(kafka: Broker, topic: str) -> None:
    """Ten events that stay, ten that are taken back, ten that stay; with a control record after each."""
    async with aiokafka.AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id=f"{topic}-writer"
    ) as producer:
        for number, keep in enumerate((True, False, True)):
            await producer.begin_transaction()
            for value in events(10 * number, 10):
                await producer.send(topic, value, partition=0)
            await (producer.commit_transaction() if keep else producer.abort_transaction())


@BOTH
async def test_control_records_and_aborted_transactions_leave_no_hole(
    kafka: Broker, reader: Reader, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    if broken:
        start_at_the_first_record(monkeypatch)
    await transactions(kafka, reader.tp.topic)
    counted = await asyncio.wait_for(reader.read(), PATIENCE_S) if not broken else await read_some(reader)
    assert (counted == 20) is not broken
    (owned,) = reader.stage.owned()
    assert (owned.at == 33) is not broken
    assert (reader.stage.counts["s", "gap"] == 0) is not broken


async def read_some(reader: Reader) -> int:
    """As `read`, but for a few fetches, since a gap that never heals is read for ever."""
    for _ in range(8):
        batch = await reader.fetch()
        if batch is not None:
            await reader.stage.on_batch(batch)
    await reader.stage.flush_all()
    return counted_in(reader.window)


async def compact_soon(kafka: Broker) -> None:
    """Let the broker's cleaner look every 100 ms; a broker of somebody else's keeps its 15 s."""
    if isinstance(kafka, KafkaBroker):
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        try:
            change = {"log.cleaner.backoff.ms": "100"}
            await admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, "1", change)])
        finally:
            await admin.close()


async def compacted(kafka: Broker, topic: str) -> int:
    """Fill a compacted topic until the cleaner has been there; how many records it has left."""
    await compact_soon(kafka)
    for number in range(4):
        kafka.produce(topic, events(10 * number, 10), partition=0, key=b"key-%d" % (number % 3))
        await asyncio.sleep(0.2)  # the next begins a new segment
    deadline = time.monotonic() + 40
    while (left := len(kafka.read_all(topic))) > 20:
        assert time.monotonic() < deadline, "the cleaner has not come"
        await asyncio.sleep(0.3)
    return left


COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.001",
    "min.compaction.lag.ms": "0",
}


async def test_compaction_leaves_no_hole(
    kafka: Broker, topic_name: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka.create_topic(topic_name("compacted"), config=COMPACTED)
    left = await compacted(kafka, topic)
    config = settings(kafka.bootstrap, "delivery", topic, tmp_path)
    async with reading(kafka, topic, config) as reader:
        assert await reader.read() == left
        assert reader.stage.counts["s", "gap"] == 0
    start_at_the_first_record(monkeypatch)
    async with reading(kafka, topic, config) as reader:
        assert await read_some(reader) < left
        assert reader.stage.counts["s", "gap"] > 0


@BOTH
async def test_what_retention_took_is_said_and_counted(
    kafka: Broker,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: bool,
) -> None:
    kafka.produce(reader.tp.topic, events(0, 200))
    assert await reader.read() == 200
    committed = reader.committed
    assert 100 < committed < 200
    kafka.produce(reader.tp.topic, events(200, 100))
    kafka.delete_records(reader.tp.topic, {0: 250})
    if broken:
        # as a consumer does by itself: begin with what is there

        async def seek_back(_at: Partition, offset: int) -> None:
            (owned,) = reader.stage._owned.values()
            owned.position.at = owned.aggregate.at = 250
            reader.consumer.seek(reader.tp, 250)

        monkeypatch.setattr(reader, "seek_back", seek_back)
    reader.start(committed)  # a restart reads from there
    with caplog.at_level(logging.ERROR):
        await reader.read()
    (owned,) = reader.stage.owned()
    assert owned.at == 300
    assert (reader.stage.counts["s", "lost"] == 250 - committed) is not broken
    assert ("were deleted before they were read" in caplog.text) is not broken
