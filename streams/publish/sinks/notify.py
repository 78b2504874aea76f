"""Alerts to people without an Alertmanager: Discord, Slack, mail and whatever else Apprise knows.

Guarantee: each alert's start and end is announced once to each address, by the natural key (fingerprint,
state, starts_at), also if it is taken again after a restart within the same process' memory of keys. An
address that fails is tried `ATTEMPTS` times and does not hold up the others; what cannot be queued or
delivered is counted.

Apprise is an extra: `pip install 'streamgauge[notify]'`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from detectors.alerts.alert import Alert, Key
from streams.publish.sinks.plain_text import defused, literal_markdown
from streams.publish.sinks.sink import Sink, SinkSetupError

if TYPE_CHECKING:
    from apprise import Apprise

QUEUE_MAX = 1_000
"""Alerts that may wait for one address; a flood beyond is dropped, for nobody reads so many."""

KEYS_MAX = 10_000
ATTEMPTS = 4
BACKOFF_S = 1.0

_LINK = re.compile(r"https?://[!-~]+")

_MARKDOWN = ("discord://", "https://discord.com/", "https://discordapp.com/")
"""Addresses whose receivers read every text as Markdown."""

_log = logging.getLogger(__name__)


class NotifySink(Sink):
    """Announces alerts to some Apprise addresses.

    urls     : Apprise addresses such as `discord://id/token`; they hold secrets and are never shown
    page_url : not told, since announcements carry what links the alert has
    outcomes : `sent`, `failed` and `dropped` announcements, one for each address
    raises   : SinkSetupError without Apprise, or for an address that it does not know
    """

    Settings = tuple[SecretStr, ...]

    def __init__(self, urls: Sequence[SecretStr], *, page_url: str = "") -> None:
        self._targets = [_target(url.get_secret_value(), index) for index, url in enumerate(urls)]
        self._markdown = [_reads_markdown(url.get_secret_value().lower()) for url in urls]
        self._queues: list[asyncio.Queue[Alert]] = [asyncio.Queue(QUEUE_MAX) for _ in urls]
        self._seen: OrderedDict[Key, None] = OrderedDict()
        self.outcomes: Counter[str] = Counter()

    def take(self, alert: Alert) -> None:
        """Announce an alert that fires or has resolved, unless it has been announced."""
        if alert.state not in ("firing", "resolved") or alert.key in self._seen:
            return
        self._recognise(alert)
        for queue in self._queues:
            try:
                queue.put_nowait(alert)
            except asyncio.QueueFull:
                self.outcomes["dropped"] += 1

    def take_over(self, alerts: Sequence[Alert]) -> None:
        """Note alerts that another worker has announced, so that they are not announced again."""
        for alert in alerts:
            self._recognise(alert)

    def forget(self) -> None:
        """Nothing is repeated; what waits is still announced, since the next owner will not do it."""

    async def run(self) -> None:
        """Send what was taken, for ever; cancel it to stop."""
        async with asyncio.TaskGroup() as group:
            for index, (target, queue) in enumerate(zip(self._targets, self._queues, strict=True)):
                group.create_task(self._serve(index, target, queue))

    async def drain(self, timeout_s: float) -> bool:
        """Wait until all that was taken has been sent or given up; False if the time is over before."""
        try:
            await asyncio.wait_for(asyncio.gather(*(queue.join() for queue in self._queues)), timeout_s)
        except TimeoutError:
            return False
        return True

    def _recognise(self, alert: Alert) -> None:
        self._seen[alert.key] = None
        while len(self._seen) > KEYS_MAX:
            self._seen.popitem(last=False)

    async def _serve(self, index: int, target: Apprise, queue: asyncio.Queue[Alert]) -> None:
        while True:
            alert = await queue.get()
            try:
                sent = await self._announce(target, announcement(alert, markdown=self._markdown[index]))
            except Exception:
                _log.exception("sinks.notify[%d] failed", index)
                sent = False
            self.outcomes["sent" if sent else "failed"] += 1
            if not sent:
                _log.error("sinks.notify[%d] did not take alert %s", index, alert.fingerprint)
            queue.task_done()

    async def _announce(self, target: Apprise, message: Mapping[str, Any]) -> bool:
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(BACKOFF_S * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.0))
            if await target.async_notify(**message):
                return True
        return False


def announcement(alert: Alert, *, markdown: bool = False) -> dict[str, Any]:
    """Title, text and kind of the message for an alert, as plain text.

    Summary, description and labels hold what events say; a further annotation is the SLO's author's own, so
    that one which is a link stays one.

    markdown : the receiver reads plain text as Markdown too
    """

    def shown(text: str) -> str:
        return literal_markdown(defused(text)) if markdown else defused(text)

    words = dict(alert.annotations)
    title = f"[{alert.state.upper()}] {words.pop('summary', alert.labels.get('alertname', 'alert'))}"
    lines = [shown(words.pop("description", ""))]
    lines += [f"{name}: {text if _LINK.fullmatch(text) else shown(text)}" for name, text in words.items()]
    lines.append(shown(", ".join(f"{name}={text}" for name, text in sorted(alert.labels.items()))))
    kind = "success" if alert.state == "resolved" else "failure"
    if kind == "failure" and alert.labels.get("severity") != "page":
        kind = "warning"
    return {
        "title": shown(title),
        "body": "\n".join(line for line in lines if line),
        "body_format": "text",
        "notify_type": kind,
    }


def _reads_markdown(url: str) -> bool:
    """Whether plain text must be escaped here; where the address asks for Markdown, Apprise does it."""
    return url.startswith(_MARKDOWN) and "format=markdown" not in url


def _target(url: str, index: int) -> Apprise:
    try:
        from apprise import Apprise
    except ImportError as error:
        raise SinkSetupError(
            "sinks.notify needs Apprise, which is not installed: "
            "pip install 'streamgauge[notify]', or take the sink out of the configuration"
        ) from error
    target = Apprise()
    chatter = logging.getLogger("apprise")
    chatter.disabled = True  # it logs an address that it does not know, with part of its secrets
    known = target.add(url)
    chatter.disabled = False
    if not known:
        scheme = url.split("://", 1)[0] if "://" in url else ""
        found = f"one that begins with {scheme}://" if scheme else "one without ://"
        raise SinkSetupError(
            f"sinks.notify[{index}]: expected an address that Apprise knows, such as discord://id/token, "
            f"found {found}; https://github.com/caronc/apprise lists them"
        )
    return target
