"""Alerts to a Prometheus Alertmanager, by its v2 API.

What Alertmanager expects of a client, and gets: every firing alert is sent again and again, with an end
that lies ahead, so that it ends by itself should this process die; one that resolves is sent with its
end. The latest state of each alert is what is sent, however many there were while Alertmanager was away.

Limits: `ALERTS_MAX` alerts are held; each has one entry, so that no outage lets anything grow. A batch
that Alertmanager (or a proxy before it) rejects is halved until the culprit stands alone and is dropped.
A resolved alert is given up once its last announced end has passed anyway.

Source: https://prometheus.io/docs/alerting/latest/clients/
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field as Key
from pydantic import SecretStr
from yarl import URL

from detectors.alerts.alert import Alert
from streams.config.values import PositiveDuration, WebAddress
from streams.language.yaml.validation import Model
from streams.publish.sinks.sink import Sink
from streams.publish.sinks.wire_alert import RefusedAlertError, WireAlert, wire_alert

if TYPE_CHECKING:
    from aiohttp import BasicAuth, ClientSession

ENDS_AFTER_REPEATS = 4
"""How many repeats may be lost before Alertmanager takes a firing alert for resolved; Prometheus' choice."""

ALERTS_MAX = 10_000
BATCH_MAX = 256
"""Alerts in one request, about 300 kB."""

TIMEOUT_S = 10.0
BACKOFF_S = 0.5
BACKOFF_S_MAX = 30.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    """What is to be sent of one alert.

    due_s          : loop time at which to send it next
    resolved_at_ms : clock time at which it resolved, None while it fires
    sent           : it has reached Alertmanager in this state
    """

    alert: Alert
    due_s: float
    resolved_at_ms: int | None = None
    sent: bool = False


class _UnreachableError(Exception):
    """Try again later; the message says why."""


class _RejectedError(Exception):
    """The request itself is at fault; the message is Alertmanager's."""


class AlertmanagerSettings(Model):
    """An Alertmanager, by the address under which its web page is.

    repeat : how often firing alerts are sent again
    """

    url: WebAddress
    repeat: PositiveDuration = Key(default="60s", validate_default=True)
    username: str | None = None
    password: SecretStr | None = None


class AlertmanagerSink(Sink):
    """Keeps one Alertmanager informed.

    page_url : link that alerts carry
    clock    : wall clock in seconds
    outcomes : alerts by what became of them: `sent`, `repeated`, `resolved`, `repaired`, `refused`
               (cannot be repaired, or rejected alone), `dropped` (too many), `expired`; and `retries`,
               requests that failed
    """

    Settings = AlertmanagerSettings

    def __init__(
        self, settings: AlertmanagerSettings, *, page_url: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        base = URL(settings.url)
        self._settings = settings
        self._endpoint = base / "api/v2/alerts"
        self._name = str(base.with_user(None))  # no password in a log
        self._repeat_s = settings.repeat.total_seconds()
        self._page_url = page_url
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self.outcomes: Counter[str] = Counter()

    def take(self, alert: Alert) -> None:
        """Let Alertmanager know of an alert that fires or has resolved; other states it does not have."""
        if alert.state not in ("firing", "resolved"):
            return
        if alert.fingerprint not in self._entries and len(self._entries) >= ALERTS_MAX:
            self.outcomes["dropped"] += 1
            return
        now_s = asyncio.get_running_loop().time()
        resolved_at_ms = self._now_ms() if alert.state == "resolved" else None
        self._entries[alert.fingerprint] = _Entry(alert, now_s, resolved_at_ms)
        self._settled.clear()
        self._changed.set()

    def take_over(self, alerts: Sequence[Alert]) -> None:
        """Let Alertmanager hear of live alerts again, as it expects of whoever looks after them."""
        for alert in alerts:
            self.take(alert)

    def forget(self) -> None:
        """Send nothing more of what was taken: somebody else looks after these alerts now."""
        self._entries.clear()
        self._settled.set()

    async def run(self) -> None:
        """Send what is due, for ever; cancel it to stop."""
        from aiohttp import ClientSession  # not for who only reads a configuration: it takes 0.3 s

        async with ClientSession(trust_env=True, auth=self._credentials()) as session:
            await self._send_for_ever(session)

    def _credentials(self) -> BasicAuth | None:
        from aiohttp import BasicAuth

        username, password = self._settings.username, self._settings.password
        if username is None or password is None:
            return None
        return BasicAuth(username, password.get_secret_value())

    async def _send_for_ever(self, session: ClientSession) -> None:
        failures = 0
        while True:
            self._changed.clear()
            due = self._due()
            if not due:
                self._settled.set()
                await self._wait_for_work()
                continue
            try:
                await self._send(session, due)
                failures = 0
            except _UnreachableError as error:
                self.outcomes["retries"] += 1
                if failures == 0:
                    _log.warning("Alertmanager at %s: %s; trying again", self._name, error)
                delay_s = min(BACKOFF_S * 2.0**failures, BACKOFF_S_MAX)
                failures = min(failures + 1, 10)
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))

    async def drain(self, timeout_s: float) -> bool:
        """Wait until all that was taken has been sent; False if the time is over before."""
        try:
            await asyncio.wait_for(self._settled.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _due(self) -> list[_Entry]:
        now_s = asyncio.get_running_loop().time()
        found = (entry for entry in self._entries.values() if entry.due_s <= now_s)
        # What has changed goes before what is only repeated.
        return sorted(found, key=lambda entry: entry.sent)[:BATCH_MAX]

    async def _wait_for_work(self) -> None:
        next_s = min((entry.due_s for entry in self._entries.values()), default=None)
        now_s = asyncio.get_running_loop().time()
        timeout = None if next_s is None else max(next_s - now_s, 0.0)
        try:
            await asyncio.wait_for(self._changed.wait(), timeout)
        except TimeoutError:
            return

    async def _send(self, session: ClientSession, entries: Sequence[_Entry]) -> None:
        ready: list[tuple[_Entry, WireAlert]] = []
        for entry in entries:
            message = self._message(entry)
            if message is not None:
                ready.append((entry, message))
        await self._post(session, ready)

    def _message(self, entry: _Entry) -> WireAlert | None:
        now_ms = self._now_ms()
        lasts_ms = int(ENDS_AFTER_REPEATS * self._repeat_s * 1000)
        ends_at_ms = now_ms + lasts_ms if entry.resolved_at_ms is None else entry.resolved_at_ms
        if ends_at_ms + lasts_ms < now_ms:
            self._drop(entry, "expired")
            return None
        try:
            message = wire_alert(
                entry.alert, now_ms=now_ms, ends_at_ms=ends_at_ms, generator_url=self._page_url
            )
        except RefusedAlertError as error:
            _log.error("%s; it is not sent to Alertmanager", error)
            self._drop(entry, "refused")
            return None
        if message.repairs and not entry.sent:
            self.outcomes["repaired"] += 1
            _log.warning("alert %s repaired: %s", entry.alert.fingerprint, "; ".join(message.repairs))
        return message

    async def _post(self, session: ClientSession, ready: Sequence[tuple[_Entry, WireAlert]]) -> None:
        if not ready:
            return
        try:
            await self._request(session, [message.body for _, message in ready])
        except _RejectedError as error:
            if len(ready) == 1:
                (entry, _) = ready[0]
                _log.error("Alertmanager rejects alert %s: %s", entry.alert.fingerprint, error)
                self._drop(entry, "refused")
                return
            middle = len(ready) // 2
            await self._post(session, ready[:middle])
            await self._post(session, ready[middle:])
            return
        for entry, _ in ready:
            self._delivered(entry)

    async def _request(self, session: ClientSession, body: Sequence[object]) -> None:
        from aiohttp import ClientError, ClientTimeout

        try:
            async with session.post(
                self._endpoint, json=body, timeout=ClientTimeout(total=TIMEOUT_S)
            ) as answer:
                if answer.status < 300:
                    return
                text = (await answer.text(errors="replace"))[:200].strip()
        except (ClientError, TimeoutError, OSError) as error:
            raise _UnreachableError(str(error) or type(error).__name__) from error
        if answer.status in (400, 413, 422):
            raise _RejectedError(text)
        raise _UnreachableError(f"HTTP {answer.status} {text}")

    def _delivered(self, entry: _Entry) -> None:
        if entry.resolved_at_ms is not None:
            self._drop(entry, "resolved")
            return
        self.outcomes["repeated" if entry.sent else "sent"] += 1
        entry.sent = True
        entry.due_s = asyncio.get_running_loop().time() + self._repeat_s

    def _drop(self, entry: _Entry, outcome: str) -> None:
        self.outcomes[outcome] += 1
        # While a request was on its way the alert may have changed; its new entry stays.
        if self._entries.get(entry.alert.fingerprint) is entry:
            del self._entries[entry.alert.fingerprint]
