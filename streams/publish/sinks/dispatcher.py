"""Hands the alerts of one worker to all sinks of its configuration, whichever they are.

An alert goes out once it is in the alerts topic. A sink that fails is logged and run again; it disturbs
neither the other sinks nor the stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from detectors.alerts.alert import Alert
from streams.config.sinks import Sinks, installed_sinks
from streams.publish.sinks.sink import Sink

logger = logging.getLogger(__name__)

DRAIN_S = 5.0
"""How long a stopping worker waits for its last alerts to be delivered."""

STOP_S = 2.0
"""How long it then waits for the sinks to close what they have open."""

RESTART_S = 5.0
"""Pause before a sink that has failed is run again."""


class AlertDispatcher:
    """Sinks of a configuration; `open` in the running loop, `close` at the end.

    page_url : address of the worker's page, for links
    raises   : SinkSetupError for settings that cannot be used
    """

    def __init__(self, config: Sinks, *, page_url: str) -> None:
        points = installed_sinks()
        self._sinks: dict[str, Sink] = {
            name: points[name].load()(settings, page_url=page_url)
            for name, settings in config.configured().items()
        }
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Start to deliver what was taken, and what will be."""
        self._tasks = [asyncio.create_task(_keep_running(name, sink)) for name, sink in self._sinks.items()]

    def take(self, alert: Alert) -> None:
        """Deliver an alert that has just changed its state."""
        self._tell(lambda sink: sink.take(alert))

    def take_over(self, alerts: Sequence[Alert]) -> None:
        """Look after alerts that another worker has announced."""
        self._tell(lambda sink: sink.take_over(alerts))

    def forget(self) -> None:
        """Repeat nothing more: the alerts' partitions are somebody else's now."""
        self._tell(lambda sink: sink.forget())

    def outcomes(self) -> Mapping[tuple[str, str], int]:
        """(sink, outcome) to alerts."""
        return {
            (name, outcome): count
            for name, sink in self._sinks.items()
            for outcome, count in sink.outcomes.items()
        }

    async def close(self) -> None:
        """Deliver what is waiting, for a few seconds at most, and stop."""
        await asyncio.gather(*(_drain(name, sink) for name, sink in self._sinks.items()))
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)

    def _tell(self, tell: Callable[[Sink], None]) -> None:
        for name, sink in self._sinks.items():
            try:
                tell(sink)
            except Exception:
                logger.exception("Sink %s failed", name)


async def _keep_running(name: str, sink: Sink) -> None:
    while True:
        try:
            await sink.run()
        except Exception:
            logger.exception("Sink %s failed; running it again in %g s", name, RESTART_S)
        await asyncio.sleep(RESTART_S)


async def _drain(name: str, sink: Sink) -> None:
    drained = False
    try:
        async with asyncio.timeout(DRAIN_S):
            drained = await sink.drain(DRAIN_S)
    except TimeoutError:
        pass
    except Exception:
        logger.exception("Sink %s failed", name)
    if not drained:
        logger.warning("Some alerts could not be delivered before the end, by %s", name)
