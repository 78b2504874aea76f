"""One worker process: the engine, what it publishes, and its lifecycle from start to clean stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from socket import gethostname

import faust
from aiokafka.errors import KafkaError

from detectors.alerts.alert import Alert, Transition
from streams.config.models import Config
from streams.judge.judged_source import JudgedSource
from streams.kafka.client import client_arguments
from streams.kafka.topics import create_topics, wait_for_topics
from streams.publish.metrics.snapshot import DetectorSnapshot, SloSnapshot, WorkerSnapshot
from streams.publish.sinks.dispatcher import AlertDispatcher
from streams.publish.web.log_templates import live_templates
from streams.publish.web.server import serve, web_application
from streams.publish.web.state_json import state_json
from streams.worker.app import Engine
from streams.worker.live import (
    LiveRollup,
    detector_snapshots,
    live_rollups,
    slo_snapshots,
    source_snapshots,
)

logger = logging.getLogger(__name__)

GC_ALLOCATIONS = 100_000

SWITCH_INTERVAL_S = 0.0005
"""How long the consumer's thread waits for the interpreter. At the default of 5 ms it waits so long for each
piece of a fetch while the main thread decodes, and the main thread then waits for the next fetch."""

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class Publisher:
    """What a worker publishes: its web server, and alerts to its sinks."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._dispatcher = AlertDispatcher(config.sinks, page_url=config.web.address(gethostname()))
        self.engine = Engine(
            config,
            on_transition=self._moved,
            on_active=self._dispatcher.take_over,
            on_dropped=self._dispatcher.forget,
        )
        self.engine.app.task(self._serve)

    async def _serve(self) -> None:
        application = web_application(
            snapshot=self._snapshot,
            ready=lambda: self.engine.ready,
            state=lambda snapshot: state_json(snapshot, self._live_alerts()),
            incidents=self.engine.incidents.to_dict,
            templates=lambda: live_templates(self._windows()),
        )
        host, port = self._config.web.host, self._config.web.port
        self._dispatcher.open()
        runner, port = await serve(application, host, port)
        logger.info("Serving metrics on http://%s:%d/metrics", host, port)
        try:
            await self.engine.app.wait_until_stopped()
        finally:
            await self._dispatcher.close()
            await runner.cleanup()

    def _moved(self, moved: Transition) -> None:
        alert = moved.alert
        logger.warning("Alert %s: %s", alert.state, alert.annotations.get("summary", alert.alertname))
        self._dispatcher.take(alert)

    def _windows(self) -> Iterator[JudgedSource]:
        """All that this worker owns at this moment."""
        for by_source in self.engine.window.owned().values():
            yield from by_source.values()

    def _live_alerts(self) -> list[Alert]:
        burning = [alert for window in self._windows() for alert in window.active_alerts()]
        return [*burning, *self.engine.missing_alerts(), *self.engine.capacity.active()]

    async def _snapshot(self) -> Callable[[], WorkerSnapshot]:
        """Copy the live state, a window at a time; what is returned completes the copy, in any thread."""
        owned = self.engine.window.owned()
        rollups: list[LiveRollup] = []
        slos: list[SloSnapshot] = []
        detectors: list[DetectorSnapshot] = []
        for by_source in owned.values():
            for window in by_source.values():
                rollups += live_rollups(window)
                slos += slo_snapshots(window)
                detectors += detector_snapshots(window)
                await asyncio.sleep(0)
        forecasts = self.engine.capacity.snapshot()
        sources = list(source_snapshots(self.engine.aggregate, owned))
        alerts: Counter[tuple[str, str]] = Counter()
        for alert in self._live_alerts():
            alerts[alert.alertname, alert.state] += 1

        def complete() -> WorkerSnapshot:
            return WorkerSnapshot(
                version=version("streamgauge"),
                sources=sources,
                rollups=[live.finished() for live in rollups],
                slos=slos,
                detectors=detectors,
                forecasts=forecasts,
                labels=self.engine.labels.precision(),
                incidents=self.engine.incidents.counts(),
                models={
                    (name, role): version for (name, role), version in self.engine.models.versions.items()
                },
                model_failures=self.engine.models.failures.copy(),
                retrainings=self.engine.retraining.outcomes.copy(),
                alerts=alerts,
                deliveries=self._dispatcher.outcomes(),
                left_out={topic: self.engine.log.left_out[topic] for topic in self.engine.topics.informing},
            )

        return complete


def run_worker(config: Config) -> int:
    """Run until a signal or a failure; returns the exit code.

    Raises ConfigError for mistakes in the SLO files, SinkSetupError for sinks that cannot be used.
    """
    logging.basicConfig(format=LOG_FORMAT, level="INFO", stream=sys.stderr, force=True)
    for noisy in ("faust", "mode"):
        logging.getLogger(noisy).setLevel("WARNING")
    # Until the broker has answered, all there is to say of it is said below, once.
    logging.getLogger("aiokafka").setLevel("CRITICAL")
    # Batches are many short-lived objects without cycles; the default would scan them over and over.
    gc.set_threshold(GC_ALLOCATIONS, 20, 50)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    publisher = Publisher(config)
    try:
        loop.run_until_complete(_prepare(config, publisher.engine))
    except KafkaError as error:
        addresses = ", ".join(config.broker.bootstrap)
        logger.error(
            "Cannot reach the broker at %s: %s. Is it running, and is broker.bootstrap right?",
            addresses,
            error,
        )
        return 1
    logging.getLogger("aiokafka").setLevel("WARNING")
    worker = faust.Worker(
        publisher.engine.app,
        loop=loop,
        loglevel="INFO",
        override_logging=False,
        redirect_stdouts=False,
        quiet=True,
    )
    worker.spinner = None
    try:
        worker.execute_from_commandline()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


async def _prepare(config: Config, engine: Engine) -> None:
    topics = engine.topics.wanted(config.broker.partitions, config.broker.replication)
    await create_topics(client_arguments(config), topics)
    await wait_for_topics(client_arguments(config), engine.aggregate.source_topics)
