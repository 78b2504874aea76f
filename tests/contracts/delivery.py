"""What the tests of delivery stand on: a topic's events, and a reader that can be led astray."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiokafka
import pytest
import yaml
from aiokafka.structs import TopicPartition

from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.config.models import Config
from streams.judge.judged_source import JudgedSource
from streams.kafka import transport
from streams.kafka.log import Partition
from streams.kafka.topics import Topics
from streams.kafka.transport import Batch
from streams.partials.frame import decode_frame
from streams.plan.outcomes import OUTCOMES
from streams.worker.aggregate_stage import AggregateStage
from tests.services.kafka import Broker

BOTH = pytest.mark.parametrize("broken", [False, True], ids=["with the rule", "without the rule"])
"""Each rule is tested as the code is, which must give the truth, and with the rule taken out, which must not:
otherwise the test could not tell whether the rule is there."""

QUIET_S = 0.5
"""How long nothing may happen until a reader is taken to be at rest; a fetch waits 0.05 s."""


def settings(bootstrap: str, app: str, topic: str, folder: Path) -> Config:
    config = {
        "app": app,
        "broker": {
            "bootstrap": [bootstrap],
            "session_timeout": "3s",
            "heartbeat_interval": "500ms",
            "partitions": 1,
        },
        "sources": {
            "s": {
                "topic": topic,
                "format": "json",
                "time": {"field": "ts", "format": "epoch_ms"},
                "lateness": "20s",
            }
        },
    }
    path = folder / "streamgauge.yaml"
    path.write_text(yaml.safe_dump(config))
    return load_config(path)


def events(start: int, count: int) -> list[bytes]:
    """One a second."""
    return [json.dumps({"ts": (1_700_000_000 + n) * 1000}).encode() for n in range(start, start + count)]


def counted_in(window: JudgedSource) -> int:
    outcomes = window.rollups[f"{OUTCOMES}:s"]
    return sum(int(row[0]) for row in outcomes.live_totals())


class Reader:
    """The aggregate stage on a consumer without a group, and the window of what it flushes.

    It is the stage's log: partials go straight to the window, and seeks to the consumer.
    """

    def __init__(self, config: Config, topic: str, consumer: aiokafka.AIOKafkaConsumer) -> None:
        plan = compile_plan(config)
        self.tp = TopicPartition(topic, 0)
        self.consumer = consumer
        self.window = JudgedSource(plan.sources["s"], plan.slos, 1, {})
        self.stage = AggregateStage(plan, Topics(config.app), self, time.monotonic)
        self.frames = 0
        self.committed = 0

    async def send(
        self, to: Partition, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> Awaitable[Any]:
        if to.topic.endswith("-partials"):
            assert value is not None
            self.window.accept(decode_frame(value), self.frames)
            self.frames += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def commit(
        self, offsets: Mapping[Partition, int], read: Mapping[Partition, int] | None = None
    ) -> bool:
        (self.committed,) = offsets.values()
        return True

    async def seek_back(self, at: Partition, offset: int) -> int | None:
        beginning = int((await self.consumer.beginning_offsets([self.tp]))[self.tp])
        self.consumer.seek(self.tp, max(offset, beginning))
        return beginning if beginning > offset else None

    def fetch_position(self, of: Partition) -> int | None:
        return transport.fetch_position_of(self.consumer, self.tp)

    def end_offset(self, of: Partition) -> int | None:
        end: int | None = self.consumer.highwater(self.tp)
        return end

    def partition_count(self, topic: str) -> int:
        return 1

    def start(self, offset: int = 0) -> None:
        self.stage.start(Partition(*self.tp), offset)
        self.consumer.seek(self.tp, offset)

    async def fetch(self) -> Batch | None:
        """What the next fetch brings; None if nothing comes."""
        fetched = await self.consumer.getmany(self.tp, timeout_ms=int(QUIET_S * 1000))
        for records in fetched.values():
            return transport.join_batches([record.value for record in records])
        return None

    async def read(self) -> int:
        """Read until nothing comes any more; the events that are counted then."""
        while (batch := await self.fetch()) is not None:
            await self.stage.on_batch(batch)
        await self.stage.flush_all()
        return counted_in(self.window)


@asynccontextmanager
async def reading(kafka: Broker, topic: str, config: Config) -> AsyncIterator[Reader]:
    async with aiokafka.AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=50,
    ) as consumer:
        consumer._fetcher._records = transport._FetchedRecords(())
        consumer.assign([TopicPartition(topic, 0)])
        reader = Reader(config, topic, consumer)
        reader.start()
        yield reader
