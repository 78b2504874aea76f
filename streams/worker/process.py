"""One worker process: the engine, what it publishes, and its lifecycle from start to clean stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from socket import gethostname
from typing import Any

import faust
from aiokafka.errors import KafkaError

from detectors.alerts.alert import Alert, Transition
from streams.config.models import Config
from streams.decode.format import COMMON_REASONS
from streams.decode.registry import find_format
from streams.judge.judged_source import JudgedSource
from streams.kafka.client import client_arguments
from streams.kafka.reach import BrokerAwayError, WrongBrokerError, reach_broker, wait_for_broker
from streams.kafka.topics import TopicError, wait_for_topics
from streams.language.printable import LogFormatter
from streams.publish.metrics.snapshot import DetectorSnapshot, SloSnapshot, WorkerSnapshot
from streams.publish.sinks.dispatcher import AlertDispatcher
from streams.publish.web.access import CLOSED, Access
from streams.publish.web.log_templates import live_templates
from streams.publish.web.server import Served, serve, web_application
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

STOP_WITHIN_S = 15.0
"""How long a clean end may take: a flush, a commit, five seconds for alerts. Clients would wait for their
request time-outs, one after the other, for a broker that is away."""

BROKER_RETRY_S = 5.0

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class Publisher:
    """What a worker publishes: its web server, and alerts to its sinks."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._dead_reasons = {
            name: (*find_format(source.format).reasons, *COMMON_REASONS)
            for name, source in config.sources.items()
        }
        self._dispatcher = AlertDispatcher(config.sinks, page_url=config.web.address(gethostname()))
        self.engine = Engine(
            config,
            on_transition=self._moved,
            on_active=self._dispatcher.take_over,
            on_dropped=self._dispatcher.forget,
        )
        self.engine.app.task(self._deliver)
        self._served: Served | None = None

    async def open(self) -> None:
        """Start the web server. Raises OSError with the address where it is taken."""
        access = Access.of(self._config.web)
        application = web_application(
            snapshot=self._snapshot,
            ready=self.engine.reads_all,
            state=lambda snapshot: state_json(snapshot, self._live_alerts()),
            incidents=self.engine.incidents.to_dict,
            templates=lambda: live_templates(self._windows()),
            access=access,
        )
        self._served = await serve(application, self._config.web.host, self._config.web.port)
        if access.closed:
            logger.warning("Of the web server only /metrics and the probes are open: %s", CLOSED)

    async def close(self) -> None:
        """End the web server."""
        if self._served is not None:
            await self._served.close()

    async def _deliver(self) -> None:
        self._dispatcher.open()
        assert self._served is not None, "the web server is open before the engine starts"
        logger.info("Serving metrics on http://%s:%d/metrics", self._config.web.host, self._served.port)
        try:
            await self.engine.app.wait_until_stopped()
        finally:
            await self._dispatcher.close()
            await self.close()

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
        sources = list(source_snapshots(self.engine.aggregate, owned, self._dead_reasons))
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


class _Worker(faust.Worker):  # type: ignore[misc]
    """Faust's worker, whose end does not wait for a broker that is away."""

    def __init__(self, engine: Engine, **settings: Any) -> None:
        super().__init__(engine.app, **settings)
        self._engine = engine

    async def stop(self) -> None:
        timer = threading.Timer(STOP_WITHIN_S, _leave, args=(int(self._engine.failed or self.crashed),))
        timer.daemon = True
        timer.start()
        await super().stop()


def _leave(code: int) -> None:
    """End the process as it is, which loses no more than SIGKILL does: nothing."""
    logger.warning(
        "The broker did not answer within %.0f s of the end: leaving without it. Nothing is lost: what was "
        "not committed is read again",
        STOP_WITHIN_S,
    )
    logging.shutdown()
    os._exit(code)


def run_worker(config: Config, *, wait: bool = True) -> int:
    """Run until a signal or a failure; returns the exit code.

    wait : whether to wait for a broker that does not answer at the start

    Raises ConfigError for mistakes in the SLO files, SinkSetupError for sinks that cannot be used.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter(LOG_FORMAT))
    logging.basicConfig(level="INFO", handlers=[handler], force=True)
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
    handler.addFilter(publisher.engine.broker)
    code = loop.run_until_complete(_prepare(config, publisher, wait=wait))
    if code is not None:
        return code
    logging.getLogger("aiokafka").setLevel("WARNING")
    worker = _Worker(
        publisher.engine,
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
        return int(stop.code or publisher.engine.failed)
    return int(publisher.engine.failed)


async def _prepare(config: Config, publisher: Publisher, *, wait: bool) -> int | None:
    """Serve, find the broker and make our topics; an exit code where that has come to an end."""
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    assert this is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, this.cancel)
    try:
        await publisher.open()
        await _find_broker(config, publisher.engine, wait=wait)
    except asyncio.CancelledError:
        code = 0
    except (OSError, BrokerAwayError, WrongBrokerError, TopicError) as error:
        code = 1
        for line in (error.strerror or str(error) if isinstance(error, OSError) else str(error)).splitlines():
            logger.error("%s", line)
    else:
        return None
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    await publisher.close()
    return code


async def _find_broker(config: Config, engine: Engine, *, wait: bool) -> None:
    """Return once the broker has our topics and those of the sources.

    Raises BrokerAwayError without `wait`, WrongBrokerError, TopicError.
    """
    client = client_arguments(config)
    addresses = ", ".join(config.broker.bootstrap)
    while True:
        try:
            if wait:
                await wait_for_broker(client)
            else:
                await reach_broker(client)
            await engine.ensure_topics()
            await wait_for_topics(client, engine.aggregate.source_topics)
        except (BrokerAwayError, KafkaError, TimeoutError) as error:
            if wait and not (isinstance(error, KafkaError) and not error.retriable):
                logger.warning("The broker at %s is away again: %r", addresses, error)
                await asyncio.sleep(BROKER_RETRY_S)
                continue
            raise BrokerAwayError(
                f"Cannot reach the broker at {addresses}: {error}. Is it running, and is broker.bootstrap "
                "right?"
            ) from error
        except WrongBrokerError as error:
            raise WrongBrokerError(f"Cannot use the broker at {addresses}: {error}") from error
        else:
            return
