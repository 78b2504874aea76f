"""The Faust app: one agent per topic, the stages behind them, and what happens at a rebalance.

source topics ──▶ aggregate ──▶ <app>-partials ──▶ window, judge ──▶ <app>-slis, <app>-alerts
                                                         │
                                               <app>-blocks ◀── a restart reads these
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import faust
from aiokafka.errors import KafkaError

from detectors.alerts.alert import Alert, Transition
from detectors.alerts.telemetry_missing import TelemetryMissing
from models.registry.manifest import Announcement
from models.registry.registry import Registry
from streams.compile.configuration import compile_plan
from streams.config.models import Config
from streams.config.values import milliseconds
from streams.kafka.broadcast import follow
from streams.kafka.client import METADATA_AGE_S, client_arguments
from streams.kafka.compacted import announce
from streams.kafka.log import REQUEST_BYTES_MAX, KafkaLog, Partition
from streams.kafka.own_topics import ensure_topics
from streams.kafka.topics import TopicError, Topics
from streams.kafka.transport import BatchTransport
from streams.plan.plan import BUCKET_MS, Plan
from streams.window.blocks import Block
from streams.worker.aggregate_stage import AggregateStage
from streams.worker.broker_watch import BrokerWatch
from streams.worker.capacity_stage import CapacityStage
from streams.worker.incident_feed import LOOKBACK_MS, IncidentFeed
from streams.worker.label_feed import LabelFeed
from streams.worker.model_feed import ModelFeed
from streams.worker.restore import read_blocks
from streams.worker.retraining import Retraining
from streams.worker.window_stage import WindowStage

logger = logging.getLogger(__name__)

FLUSH_EVERY_S = 1.0
"""How often partials are sent; with the fetch wait it decides how fresh the metrics are."""

FLUSH_REST_S = 0.1

FORECAST_EVERY_S = 0.5
"""How often forecasts are requested and collected; event time decides which are due."""

LEADER = 0
"""Partition of the partials whose owner looks after silent sources; each partition hears of all."""

RESTORE_DEADLINE_S = 60.0
RETRY_S = 1.0
REBALANCE_DEADLINE_S = 180.0
"""A worker that is stuck between assignments this long exits, so that its supervisor restarts it."""


class Engine:
    """The stages of one worker and the Faust app that feeds them.

    on_transition : told of each alert that changes its state
    on_active     : told of the alerts that were live when this worker took over a partition
    on_dropped    : told when this worker owns nothing any more
    """

    def __init__(
        self,
        config: Config,
        *,
        on_transition: Callable[[Transition], None],
        on_active: Callable[[Sequence[Alert]], None],
        on_dropped: Callable[[], None],
    ) -> None:
        self.config = config
        self.plan = compile_plan(config)
        self.topics = Topics(config.app)
        self.app = _faust_app(config, self.plan)
        self.log = KafkaLog(self.app)
        self.broker = BrokerWatch(config.broker.bootstrap)
        self.aggregate = AggregateStage(self.plan, self.topics, self.log, time.monotonic)
        self.window = WindowStage(
            self.plan,
            self.topics,
            self.log,
            time.monotonic,
            on_transition=on_transition,
            on_active=on_active,
            evidence={"config": config.digest()},
        )
        self.capacity = CapacityStage(self.plan.capacity, self.topics, self.log, self.window)
        self.labels = LabelFeed(self.window.use_labels)
        self.incidents = IncidentFeed(config.incidents.book())
        self.models = ModelFeed(
            self._registry,
            {monitor.model for monitor in self.plan.monitors if monitor.model},
            self.window.use_model,
        )
        retrained = self.plan.monitors if config.models.retrain == "drift" else ()
        self.retraining = Retraining(retrained, self._registry, self._announce_model)
        self.ready = False
        """Whether this worker has been assigned its partitions and reads them."""
        self.failed = False
        """Whether it ended for a reason that the log tells."""
        self._epoch = 0
        self._waiting_since_s = time.monotonic()
        self._on_active = on_active
        self._on_dropped = on_dropped
        self._missing = TelemetryMissing(
            self.plan.slos,
            clock=lambda: int(time.time() * 1000),
            missing_after_ms=milliseconds(config.alerting.missing_after),
        )
        self._wire()

    def _wire(self) -> None:
        app = self.app
        for topic in self.aggregate.source_topics:
            self._agent(topic, self.aggregate.on_batch)
        self._agent(self.topics.partials, self.window.on_batch)
        app.on_partitions_revoked.connect(self._on_revoked)
        app.on_rebalance_complete.connect(self._on_assigned)
        app.task(self._flush_for_ever)
        app.task(self._watch_for_ever)
        app.task(self._watch_topics)
        if self.plan.monitors:
            app.task(self._follow_labels)
            app.task(self._follow_alerts)
        if self.plan.capacity:
            app.task(self._forecast_for_ever)
        if self.plan.monitors and self.config.models.url is not None:
            app.task(self._follow_models)
            app.task(self.models.run)
            app.task(self.retraining.run)

    def _agent(self, topic: str, handle: Callable[[Any], Any]) -> None:
        # no acks: Faust would track and commit offsets, which are ours
        channel = self.app.topic(topic, key_type=bytes, value_type=bytes, value_serializer="raw", acks=False)

        async def consume(stream: Any) -> None:
            async for event in stream.events():
                try:
                    await handle(event.message.value)
                except Exception as error:
                    logger.exception("Batch of %s could not be handled", topic)
                    await self.app.crash(error)

        self.app.agent(channel, name=f"streams.{topic}", concurrency=1)(consume)

    async def _on_revoked(self, _app: Any, _revoked: Any, **_: Any) -> None:
        self._drop_assignment()

    def _drop_assignment(self) -> None:
        self._epoch += 1
        if self.ready:
            self._waiting_since_s = time.monotonic()
        self.ready = False
        self.aggregate.clear()
        self.window.clear()
        self.capacity.clear()
        self._on_dropped()

    async def _on_assigned(self, _app: Any, **_: Any) -> None:
        """Begin afresh with every assigned partition, from what was committed and stored."""
        self._drop_assignment()
        epoch = self._epoch
        try:
            starts = await self.app.consumer.seek_to_start(self._begin_at)
        except KafkaError as error:  # such as a topic that was deleted a moment ago
            logger.warning("Where to begin cannot be told: %r; joining the group again", error)
            await self.app.consumer.rejoin()
            return
        # Offsets before blocks: blocks can only be newer than the offset read first, never older.
        for topic in sorted({tp.topic for tp, start in starts.items() if start.reason == "anew"}):
            logger.warning("%s was deleted and made anew: it is read from its beginning", topic)
        mine = sorted(tp.partition for tp in starts if tp.topic == self.topics.partials)
        blocks = await self._read_blocks(mine)
        if epoch != self._epoch:
            return
        for tp, start in starts.items():
            if tp.topic == self.topics.partials:
                self.window.start(tp.partition, start.offset, blocks.get(tp.partition, []))
                self.capacity.start(tp.partition, blocks.get(tp.partition, []))
            else:
                self.aggregate.start(Partition(tp.topic, tp.partition), start.offset, start.read)
        for window in self.window.owned().get(LEADER, {}).values():
            self.retraining.follow(window.monitors)
        self._missing.load(self.window.stored_alerts(blocks.get(LEADER, [])))
        self._on_active([*self.missing_alerts(), *self.capacity.active()])
        self.ready = True
        logger.info("Reading %d partitions", len(starts))

    async def _read_blocks(self, partitions: Sequence[int]) -> dict[int, list[Block]]:
        """Stored blocks; a topic that was deleted is made anew meanwhile, see `_watch_topics`."""
        deadline = time.monotonic() + RESTORE_DEADLINE_S
        while True:
            try:
                return await read_blocks(
                    client_arguments(self.config),
                    self.topics.blocks,
                    partitions,
                    deadline_s=RESTORE_DEADLINE_S,
                )
            except TopicError as error:
                if isinstance(error, TimeoutError) or time.monotonic() > deadline:
                    raise
                logger.warning("%s; trying again", error)
                await asyncio.sleep(RETRY_S)

    async def ensure_topics(self, *, again: bool = False) -> list[str]:
        """Check our own topics, make those that are missing, and return these.

        again : warnings have been given before

        Raises TopicError where a worker cannot work with one, KafkaError or OSError where the broker is away.
        """
        broker = self.config.broker
        return await ensure_topics(
            client_arguments(self.config),
            self.topics,
            partitions=broker.partitions,
            replication=broker.replication,
            again=again,
        )

    async def _watch_topics(self) -> None:
        """What somebody deletes is made anew; what somebody spoils ends the worker with what to do."""
        while not self.app.should_stop:
            await asyncio.sleep(METADATA_AGE_S)
            try:
                made = await self.ensure_topics(again=True)
            except TopicError as error:
                self._fail(str(error))
                return
            except (KafkaError, OSError):
                continue  # the broker is away
            for topic in made:
                logger.warning("%s was deleted, and has been made anew: what it held is gone", topic)

    def _fail(self, reason: str) -> None:
        """End the worker as a signal does, with exit code 1."""
        for line in reason.splitlines():
            logger.error("%s", line)
        self.failed = True
        signal.raise_signal(signal.SIGTERM)

    def _begin_at(self, topic: str) -> Literal["earliest", "latest"]:
        """Where a topic that is new to the group is read from; our own from the beginning."""
        return "earliest" if topic == self.topics.partials else self.config.broker.start_at

    def sources_without_partitions(self) -> list[str]:
        """Source topics that the broker does not have, as last heard; nothing of them can be read."""
        return [topic for topic in self.aggregate.source_topics if self.log.partition_count(topic) == 0]

    def reads_all(self) -> bool:
        """Whether this worker reads its share, and every source has partitions that somebody can read."""
        return self.ready and not self.sources_without_partitions()

    async def _flush_for_ever(self) -> None:
        while not self.app.should_stop:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_EVERY_S):
                    await self.aggregate.caught_up.wait()
                    await asyncio.sleep(FLUSH_REST_S)  # other partitions come to their end at the same time
            self.aggregate.caught_up.clear()
            if self.ready:
                await self.aggregate.flush_all()
                await self.window.commit_all()
                await self.aggregate.heal_stalls()
                await self.window.heal_stalls()

    async def _forecast_for_ever(self) -> None:
        self.capacity.open()
        try:
            while not self.app.should_stop:
                await asyncio.sleep(FORECAST_EVERY_S)
                if self.ready:
                    await self.capacity.step()
        finally:
            self.capacity.close()

    async def _follow_labels(self) -> None:
        await follow(
            client_arguments(self.config),
            self.topics.labels,
            self.labels.handle,
            caught_up=self.labels.caught_up,
        )

    async def _follow_alerts(self) -> None:
        await follow(
            client_arguments(self.config),
            self.topics.alerts,
            self.incidents.handle,
            since_ms=int(time.time() * 1000) - LOOKBACK_MS,
            caught_up=self.incidents.caught_up,
        )

    async def _follow_models(self) -> None:
        await follow(client_arguments(self.config), self.topics.models, self.models.handle)

    async def _announce_model(self, announcement: Announcement) -> None:
        await announce(self.config, announcement)

    def _registry(self) -> Registry:
        url = self.config.registry_url()
        assert url is not None, "nothing follows models without a registry"
        return Registry(url, self.config.app)

    async def _watch_for_ever(self) -> None:
        """Look for rebalances that never end, and for sources that have gone silent."""
        gone: list[str] = []
        while not self.app.should_stop:
            await asyncio.sleep(1.0)
            if self.ready and (missing := self.sources_without_partitions()) != gone:
                gone = missing
                for topic in missing:
                    logger.error("%s has no partitions: was it deleted? Nothing of it can be read", topic)
            self.broker.note(*self.app.consumer.standing())
            if self.broker.away:
                self._waiting_since_s = time.monotonic()  # another process would have to wait as well
            stuck_s = time.monotonic() - self._waiting_since_s
            if not self.ready and stuck_s > REBALANCE_DEADLINE_S:
                await self.app.crash(TimeoutError(f"no partitions for {stuck_s:.0f} s; restarting"))
            await self._check_missing()
            await self._group_incidents()

    async def _group_incidents(self) -> None:
        """Every worker knows the incidents; the owner of the first partition announces them."""
        changed = self.incidents.step(self.window.event_time_ms())
        if changed and self.ready and LEADER in self.window.owned():
            await self.window.announce_incidents(LEADER, changed)

    def missing_alerts(self) -> list[Alert]:
        """Alerts about silent sources that this worker looks after."""
        return self._missing.active() if LEADER in self.window.owned() else []

    async def _check_missing(self) -> None:
        """The owner of the first partition of the partials hears of all source partitions."""
        windows = self.window.owned().get(LEADER)
        if windows is None or not self.ready:
            return
        newest = {}
        for name, window in windows.items():
            end = window.live_end()
            newest[name] = None if end is None else end * BUCKET_MS
        moved = self._missing.check(newest)
        if moved:
            await self.window.announce(LEADER, moved)
            await self.window.store_alerts(LEADER, self._missing.state())


class _App(faust.App):  # type: ignore[misc]
    """Faust's app, which leaves nothing where a worker is started: it has no tables to make a folder for."""

    def _create_directories(self) -> None:
        pass


def _faust_app(config: Config, plan: Plan) -> Any:
    """The Faust app with the settings that the stages rest on."""
    broker = config.broker
    session_s, heartbeat_s = broker.session_timeout.total_seconds(), broker.heartbeat_interval.total_seconds()
    app = _App(
        config.app,
        broker=[f"aiokafka://{address}" for address in broker.bootstrap],
        broker_session_timeout=session_s,
        broker_heartbeat_interval=heartbeat_s,
        broker_rebalance_timeout=max(30.0, session_s),
        broker_request_timeout=max(40.0, session_s + 1.0),
        broker_max_poll_records=None,  # counts batches, not records
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=2 << 20,
        stream_buffer_maxsize=64,
        producer_linger=0,
        producer_max_request_size=REQUEST_BYTES_MAX,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=0,
        worker_redirect_stdouts=False,
        autodiscover=False,
    )
    app.transport = BatchTransport(
        app.conf.broker,
        app,
        client_arguments=lambda: client_arguments(config),
        timed_by_events={
            source.topic
            for source in plan.sources.values()
            if source.layout.time_field is not None and source.layout.time_format != "record"
        },
        idempotence=broker.idempotence,
    )
    return app
