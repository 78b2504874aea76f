"""Alerts arrive at a real Alertmanager: fire, are repeated, resolve once; bad ones do not block the rest."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp
from aiohttp import web

from detectors.alerts.alert import Alert, fingerprint
from streams.publish.sinks.alertmanager import ALERTS_MAX, AlertmanagerSettings, AlertmanagerSink
from tests.services.alertmanager import Alertmanager


def alert(name: str, state: str = "firing", *, starts_at_ms: int = 1_500_000_000_000, **labels: str) -> Alert:
    """An alert that began long ago, as one of a replay does."""
    own = {"alertname": name, "service": "shop", "severity": "page", **labels}
    return Alert(
        fingerprint(own),
        state,  # type: ignore[arg-type]
        own,
        {"summary": f"{name} of shop"},
        starts_at_ms,
    )


@asynccontextmanager
async def running(url: str, repeat_s: float = 60.0, **options: Any) -> AsyncIterator[AlertmanagerSink]:
    sink = AlertmanagerSink(AlertmanagerSettings(url=url, repeat=timedelta(seconds=repeat_s)), **options)
    task = asyncio.create_task(sink.run())
    try:
        yield sink
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], Any], timeout_s: float = 15.0) -> None:
    """Wait for a condition that blocks, without holding up the loop."""
    end = time.monotonic() + timeout_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, "the condition has not come true in time"
        await asyncio.sleep(0.1)


class Gate:
    """A reverse proxy before Alertmanager that can be shut, or reject what carries a marker.

    requests : the bodies that came in
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.open = True
        self.marker: str | None = None
        self.requests: list[list[dict[str, Any]]] = []

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.text()
        self.requests.append(json.loads(body))
        if not self.open:
            return web.Response(status=503, text="closed")
        if self.marker is not None and self.marker in body:
            return web.Response(status=400, text="marked")
        headers = {"Content-Type": "application/json"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._url + request.path, data=body, headers=headers) as answer,
        ):
            return web.Response(status=answer.status, text=await answer.text())

    def sent(self, name: str) -> list[dict[str, Any]]:
        """Each time that an alert of this name was in a request."""
        return [each for body in self.requests for each in body if each["labels"]["alertname"] == name]


@asynccontextmanager
async def gate_before(alertmanager: Alertmanager) -> AsyncIterator[tuple[Gate, str]]:
    gate = Gate(alertmanager.url)
    app = web.Application()
    app.router.add_post("/api/v2/alerts", gate.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield gate, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_an_alert_fires_and_resolves(alertmanager: Alertmanager) -> None:
    burn = alert("Burn", route='/a "b"')
    async with running(alertmanager.url, page_url="http://example.org/slo") as sink:
        sink.take(replace(burn, state="inactive"))
        sink.take(burn)
        assert await sink.drain(10)
        await until(lambda: alertmanager.webhook.alerts("Burn"))
        found = await asyncio.to_thread(alertmanager.alert, "Burn")
        assert found is not None
        assert found["fingerprint"] == burn.fingerprint
        assert found["labels"] == burn.labels
        assert found["annotations"] == burn.annotations
        assert found["generatorURL"] == "http://example.org/slo"
        assert found["startsAt"] == "2017-07-14T02:40:00.000Z"
        sink.take(replace(burn, state="resolved", ends_at_ms=burn.starts_at_ms + 60_000))
        assert await sink.drain(10)
        await until(lambda: len(alertmanager.webhook.alerts("Burn")) == 2)
        await until(lambda: alertmanager.alert("Burn") is None)
    assert [each["status"] for each in alertmanager.webhook.alerts("Burn")] == ["firing", "resolved"]
    assert dict(sink.outcomes) == {"sent": 1, "resolved": 1}


async def test_a_firing_alert_is_repeated_with_its_end_ahead_and_resolved_once(
    alertmanager: Alertmanager,
) -> None:
    async with (
        gate_before(alertmanager) as (gate, url),
        running(url, repeat_s=0.3) as sink,
    ):
        sink.take(alert("Burn"))
        await until(lambda: len(gate.sent("Burn")) >= 4)
        # Longer than the first announced end: the repeats keep it alive.
        await asyncio.sleep(1.2)
        assert await asyncio.to_thread(alertmanager.alert, "Burn") is not None
        ends = [each["endsAt"] for each in gate.sent("Burn")]
        assert ends == sorted(set(ends))
        sink.take(alert("Burn", "resolved"))
        assert await sink.drain(10)
        count = len(gate.sent("Burn"))
        await asyncio.sleep(1.0)
        assert len(gate.sent("Burn")) == count
        await until(lambda: len(alertmanager.webhook.alerts("Burn")) == 2)
    assert sink.outcomes["resolved"] == 1
    assert sink.outcomes["repeated"] == count - 2


async def test_an_alert_ends_by_itself_when_its_worker_dies(alertmanager: Alertmanager) -> None:
    async with running(alertmanager.url, repeat_s=0.3) as sink:
        sink.take(alert("Burn"))
        assert await sink.drain(10)
    await until(lambda: [each["status"] for each in alertmanager.webhook.alerts("Burn")][-1:] == ["resolved"])


async def test_one_bad_alert_does_not_block_the_rest(alertmanager: Alertmanager) -> None:
    async with running(alertmanager.url) as sink:
        sink.take(alert("Good"))
        sink.take(alert("Mended", **{"http.route": "\ud800", "empty": ""}))
        sink.take(Alert("0" * 16, "firing", {"severity": "page"}, {}, 0))
        sink.take(alert("Future", starts_at_ms=int(time.time() * 1000) + 10 * 86_400_000))
        assert await sink.drain(10)
        await until(lambda: len(alertmanager.alerts()) == 3)
        mended = await asyncio.to_thread(alertmanager.alert, "Mended")
    assert mended is not None
    assert mended["labels"]["http_route"] == "?"
    assert dict(sink.outcomes) == {"sent": 3, "repaired": 1, "refused": 1}


async def test_what_a_server_rejects_is_found_by_halving(alertmanager: Alertmanager) -> None:
    async with gate_before(alertmanager) as (gate, url), running(url) as sink:
        gate.marker = "poison"
        for number in range(20):
            sink.take(alert(f"Burn{number}", route="poison" if number == 13 else "fine"))
        assert await sink.drain(10)
        await until(lambda: len(alertmanager.alerts()) == 19)
    assert sink.outcomes == {"sent": 19, "refused": 1}


async def test_an_absent_alertmanager_is_tried_again_with_the_latest_state(
    alertmanager: Alertmanager,
) -> None:
    async with gate_before(alertmanager) as (gate, url), running(url) as sink:
        gate.open = False
        sink.take(alert("Burn"))
        sink.take(alert("Brief"))
        await until(lambda: sink.outcomes["retries"] >= 1)
        assert not await sink.drain(0.1)
        sink.take(alert("Brief", "resolved"))
        gate.open = True
        assert await sink.drain(10)
        await until(lambda: alertmanager.alert("Burn") is not None)
        assert await asyncio.to_thread(alertmanager.alert, "Brief") is None
    assert sink.outcomes["sent"] == 1
    assert sink.outcomes["resolved"] == 1


async def test_an_alertmanager_that_is_not_there_does_not_stop_the_sink(alertmanager: Alertmanager) -> None:
    alertmanager.close()
    async with running(alertmanager.url) as sink:
        sink.take(alert("Burn"))
        await until(lambda: sink.outcomes["retries"] >= 2)


async def test_an_end_that_nobody_waits_for_any_more_is_given_up(alertmanager: Alertmanager) -> None:
    now_s = time.time()
    async with (
        gate_before(alertmanager) as (gate, url),
        running(url, clock=lambda: now_s, repeat_s=60.0) as sink,
    ):
        gate.open = False
        sink.take(alert("Burn", "resolved"))
        await until(lambda: sink.outcomes["retries"] >= 1)
        now_s += 4 * 60 + 1
        assert await sink.drain(10)
    assert sink.outcomes["expired"] == 1


async def test_a_flood_is_bounded(alertmanager: Alertmanager) -> None:
    sink = AlertmanagerSink(AlertmanagerSettings(url=alertmanager.url))
    for number in range(ALERTS_MAX + 5):
        sink.take(Alert(f"{number:016x}", "firing", {"alertname": "Burn"}, {}, 0))
    sink.take(Alert(f"{3:016x}", "resolved", {"alertname": "Burn"}, {}, 0))
    assert sink.outcomes == {"dropped": 5}
