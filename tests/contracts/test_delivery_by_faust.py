"""The rules of delivery against Faust: an app runs in this process, and messages go wrong as they do there.

As in test_delivery.py each rule is tested with and without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiokafka
import pytest
from aiokafka.structs import TopicPartition

from streams.config.models import Config
from streams.kafka import transport
from streams.kafka.client import client_arguments
from streams.kafka.log import Partition
from streams.kafka.starts import Start
from streams.kafka.topics import Topics, create_topics
from streams.kafka.transport import Batch, BatchConsumer
from streams.worker.aggregate_stage import AggregateStage
from streams.worker.app import Engine
from tests.contracts.delivery import BOTH, QUIET_S, counted_in, events, settings
from tests.services.kafka import Broker

PATIENCE_S = 30.0
SOON_S = 3.0
"""What goes wrong without a rule shows within a second; it need not be waited for longer."""


class Running:
    """An app that runs in this process, without the stage that judges."""

    def __init__(self, config: Config, topic: str) -> None:
        self.tp = (topic, 0)
        self.engine = Engine(
            config, on_transition=lambda _: None, on_active=lambda _: None, on_dropped=lambda: None
        )

    @property
    def consumer(self) -> BatchConsumer:
        consumer: BatchConsumer = self.engine.app.consumer
        return consumer

    def counted(self) -> int:
        return sum(counted_in(windows["s"]) for windows in self.engine.window.owned().values())

    async def until(
        self, condition: Callable[[], bool], what: str, *, patience_s: float = PATIENCE_S
    ) -> None:
        deadline = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come true"
            await asyncio.sleep(0.05)

    async def settles(self, count: int, *, patience_s: float) -> bool:
        """Whether so many events are counted, and stay so."""
        with contextlib.suppress(AssertionError):
            await self.until(lambda: self.counted() == count, f"{count} events", patience_s=patience_s)
        await asyncio.sleep(QUIET_S)
        return self.counted() == count


@asynccontextmanager
async def running(
    kafka: Broker, topic: str, app: str, folder: Path, *, fetch_bytes: int = 1 << 20
) -> AsyncIterator[Running]:
    config = settings(kafka.bootstrap, app, topic, folder)
    await create_topics(client_arguments(config), Topics(app).wanted(1, 1))
    run = Running(config, topic)
    run.engine.app.conf.consumer_max_fetch_size = fetch_bytes
    await run.engine.app.start()
    try:
        await run.until(lambda: run.engine.ready, "an assignment")
        yield run
    finally:
        await run.engine.app.stop()


def lose_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """Let the first batch of the source vanish on its way, as Faust does around an assignment."""
    plain, lost = AggregateStage.on_batch, list[Batch]()

    async def on_batch(self: AggregateStage, batch: Batch) -> None:
        if not lost and len(batch.records):
            lost.append(batch)
        else:
            await plain(self, batch)

    monkeypatch.setattr(AggregateStage, "on_batch", on_batch)
    return lost


@BOTH
async def test_what_a_seek_back_brings_again_is_not_filtered_by_faust(
    kafka: Broker,
    topic_name: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: bool,
) -> None:
    topic = kafka.create_topic(topic_name("delivery"))
    lost = lose_the_first_batch(monkeypatch)
    if broken:
        monkeypatch.setattr(transport, "_AnyOffset", lambda: defaultdict(lambda: None))
    # A fetch brings one broker batch, so that what is lost lies below what Faust has handed on.
    async with running(kafka, topic, topic_name("filter"), tmp_path, fetch_bytes=500) as run:
        for number in range(6):
            kafka.produce(topic, events(10 * number, 10))
        assert await run.settles(60, patience_s=SOON_S if broken else PATIENCE_S) is not broken
        assert lost[0].next_offset < 60
        assert run.engine.aggregate.counts["s", "gap"] > 0


def begin_with_the_first_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a partition's state begin with whatever message comes, not where our seek has set it."""
    plain_start, plain_batch = AggregateStage.start, AggregateStage.on_batch

    def start(self: AggregateStage, at: Partition, offset: int, read: int | None = None) -> None:
        if at not in self._owned:
            plain_start(self, at, offset, read)

    async def on_batch(self: AggregateStage, batch: Batch) -> None:
        start(self, Partition(batch.topic, batch.partition), batch.start)
        await plain_batch(self, batch)

    monkeypatch.setattr(AggregateStage, "start", start)
    monkeypatch.setattr(AggregateStage, "on_batch", on_batch)


@BOTH
async def test_messages_before_the_first_seek_are_dropped(
    kafka: Broker,
    topic_name: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: bool,
) -> None:
    if broken:
        begin_with_the_first_message(monkeypatch)
    arrived: list[Batch] = []
    plain = AggregateStage.on_batch

    async def on_batch(self: AggregateStage, batch: Batch) -> None:
        await plain(self, batch)
        arrived.append(batch)

    monkeypatch.setattr(AggregateStage, "on_batch", on_batch)
    topic = kafka.create_topic(topic_name("delivery"))
    async with running(kafka, topic, topic_name("early"), tmp_path) as run:
        kafka.produce(topic, events(0, 5))
        await run.until(lambda: run.counted() == 5, "the first events")
        seek_to_start = run.consumer.seek_to_start

        async def seek_late(begin_at: Any) -> dict[TopicPartition, Start]:
            before = len(arrived)
            kafka.produce(topic, events(5, 2))
            await run.until(lambda: len(arrived) > before, "a message before the seek")
            return await seek_to_start(begin_at)

        monkeypatch.setattr(run.consumer, "seek_to_start", seek_late)
        await run.engine._on_assigned(None)
        assert await run.settles(7, patience_s=SOON_S if broken else PATIENCE_S) is not broken


@BOTH
async def test_seeks_and_commits_run_in_the_thread_of_the_consumer(
    kafka: Broker,
    topic_name: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: bool,
) -> None:
    threads: dict[str, set[int]] = defaultdict(set)
    for name in ("seek", "commit"):
        monkeypatch.setattr(aiokafka.AIOKafkaConsumer, name, noting(name, threads))
    topic = kafka.create_topic(topic_name("delivery"))
    async with running(kafka, topic, topic_name("threads"), tmp_path) as run:
        kafka.produce(topic, events(0, 100))
        await run.until(lambda: run.counted() == 100, "the events")
        if broken:
            call_directly(run.consumer, monkeypatch)
        threads.clear()
        asked = await answered(run.consumer.seek_back(run.tp, 0))
        asked &= await answered(run.consumer.commit_offsets({run.tp: 1}))
        ours = {run.consumer._thread._thread.ident}
        assert (asked and threads == {"seek": ours, "commit": ours}) is not broken


def call_directly(consumer: BatchConsumer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let seeks and commits of ours run in the thread of the app; the driver's calls stay where they are."""
    thread = consumer._thread
    plain = thread.call_thread

    async def call(function: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        if function in (consumer._seek_back, consumer._commit_offsets):
            return await function(*args, **kwargs)
        return await plain(function, *args, **kwargs)

    monkeypatch.setattr(thread, "call_thread", call)


async def answered(call: Awaitable[Any]) -> bool:
    """Whether a call to the consumer comes back; from another thread's loop it may fail, or never end."""
    try:
        async with asyncio.timeout(SOON_S):
            await call
    except (RuntimeError, TimeoutError):
        return False
    return True


def noting(name: str, threads: dict[str, set[int]]) -> Any:
    """The consumer's own method, which notes in which thread it is called."""
    plain = getattr(aiokafka.AIOKafkaConsumer, name)

    def noted(self: aiokafka.AIOKafkaConsumer, *args: Any, **kwargs: Any) -> Any:
        threads[name].add(threading.get_ident())
        return plain(self, *args, **kwargs)

    return noted
