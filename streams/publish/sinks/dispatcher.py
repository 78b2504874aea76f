"""All sinks of alerts of one worker: Alertmanager, and people through Apprise.

An alert goes out once it is in the alerts topic. When partitions change hands the new owner takes over what
is live: Alertmanager hears of it again, as it expects; people do not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import aiohttp

from detectors.alerts.alert import Alert
from streams.config.models import AlertmanagerSink as AlertmanagerConfig
from streams.config.models import Sinks
from streams.publish.sinks.alertmanager import AlertmanagerSink
from streams.publish.sinks.notify import NotifySink

logger = logging.getLogger(__name__)

DRAIN_S = 5.0
"""How long a stopping worker waits for its last alerts to be delivered."""


class AlertDispatcher:
    """Sinks of a configuration; `open` in the running loop, `close` at the end.

    generator_url : link that alerts carry, the worker's page
    """

    def __init__(self, config: Sinks, *, generator_url: str) -> None:
        self._config = config
        self._generator_url = generator_url
        self._session: aiohttp.ClientSession | None = None
        self._alertmanager: AlertmanagerSink | None = None
        self._notify: NotifySink | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._early: list[Callable[[], None]] | None = []
        """What was asked before the sinks are there, in order; None once they are."""

    def open(self) -> None:
        """Start the sinks. Raises NotifySetupError for addresses that cannot be used."""
        if self._config.alertmanager is not None:
            settings = self._config.alertmanager
            self._session = aiohttp.ClientSession(trust_env=True, auth=_credentials(settings))
            self._alertmanager = AlertmanagerSink(
                settings.url,
                session=self._session,
                repeat_s=settings.repeat.total_seconds(),
                generator_url=self._generator_url,
            )
            self._tasks.append(asyncio.create_task(self._alertmanager.run()))
        if self._config.notify:
            self._notify = NotifySink([url.get_secret_value() for url in self._config.notify])
            self._tasks.append(asyncio.create_task(self._notify.run()))
        early, self._early = self._early or [], None
        for ask in early:
            ask()

    def take(self, alert: Alert) -> None:
        """Deliver an alert that has just changed its state."""
        if self._early is not None:
            self._early.append(partial(self.take, alert))
            return
        if self._alertmanager is not None:
            self._alertmanager.take(alert)
        if self._notify is not None:
            self._notify.take(alert)

    def take_over(self, alerts: Sequence[Alert]) -> None:
        """Look after alerts that another worker has announced."""
        if self._early is not None:
            self._early.append(partial(self.take_over, alerts))
            return
        for alert in alerts:
            if self._alertmanager is not None:
                self._alertmanager.take(alert)
            if self._notify is not None:
                self._notify.recognise(alert)

    def forget(self) -> None:
        """Repeat nothing more: the alerts' partitions are somebody else's now."""
        if self._early is not None:
            self._early.append(self.forget)
            return
        if self._alertmanager is not None:
            self._alertmanager.forget()

    def outcomes(self) -> Mapping[tuple[str, str], int]:
        """(sink, outcome) to alerts."""
        named = {"alertmanager": self._alertmanager, "notify": self._notify}
        return {
            (name, outcome): count
            for name, sink in named.items()
            if sink is not None
            for outcome, count in sink.outcomes.items()
        }

    async def close(self) -> None:
        """Deliver what is waiting, for a few seconds at most, and stop."""
        for sink in (self._alertmanager, self._notify):
            if sink is not None and not await sink.drain(DRAIN_S):
                logger.warning("Some alerts could not be delivered before the end")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()


def _credentials(settings: AlertmanagerConfig) -> aiohttp.BasicAuth | None:
    if settings.username is None or settings.password is None:
        return None
    return aiohttp.BasicAuth(settings.username, settings.password.get_secret_value())
