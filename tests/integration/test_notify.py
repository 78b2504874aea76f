"""Announcements through Apprise, to a receiver of its JSON posts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from detectors.alerts.alert import Alert
from streams.publish.sinks.notify import NotifySink
from streams.publish.sinks.sink import SinkSetupError
from tests.services.process import free_ports
from tests.services.webhook import Webhook

BURN = Alert(
    "ab" * 8,
    "firing",
    {"alertname": "ErrorBudgetBurn", "service": "shop", "severity": "page"},
    {"summary": "It burns", "description": "Quite fast.", "runbook_url": "https://example.org/r"},
    1_000,
)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    hook = Webhook()
    hook.start()
    yield hook
    hook.close()


def address(hook: Webhook) -> str:
    return hook.url.replace("http://", "json://")


def notifying(*urls: str) -> NotifySink:
    return NotifySink([SecretStr(url) for url in urls])


@asynccontextmanager
async def running(sink: NotifySink) -> AsyncIterator[NotifySink]:
    task = asyncio.create_task(sink.run())
    try:
        yield sink
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def titles(hook: Webhook) -> list[str]:
    return [post["title"] for post in hook.posts]


async def test_start_and_end_are_announced_once(webhook: Webhook) -> None:
    async with running(notifying(address(webhook))) as sink:
        for state in ("inactive", "firing", "firing", "resolved", "firing", "resolved"):
            sink.take(replace(BURN, state=state))
        sink.take(replace(BURN, starts_at_ms=2_000))
        assert await sink.drain(10)
    assert titles(webhook) == ["[FIRING] It burns", "[RESOLVED] It burns", "[FIRING] It burns"]
    first: dict[str, Any] = webhook.posts[0]
    assert first["type"] == "failure"
    assert first["message"].splitlines() == [
        "Quite fast.",
        "runbook_url: https://example.org/r",
        "alertname=ErrorBudgetBurn, service=shop, severity=page",
    ]
    assert [post["type"] for post in webhook.posts[1:]] == ["success", "failure"]
    assert dict(sink.outcomes) == {"sent": 3}


async def test_what_another_worker_announced_is_not_announced_again(webhook: Webhook) -> None:
    async with running(notifying(address(webhook))) as sink:
        sink.take_over([BURN])
        sink.take(BURN)
        sink.take(replace(BURN, state="resolved"))
        assert await sink.drain(10)
    assert titles(webhook) == ["[RESOLVED] It burns"]


async def test_an_address_that_fails_is_counted_and_does_not_hold_up_the_other(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.publish.sinks.notify.BACKOFF_S", 0.01)
    (closed,) = free_ports(1)
    sink = notifying(f"json://127.0.0.1:{closed}/", address(webhook))
    async with running(sink):
        sink.take(BURN)
        assert await sink.drain(20)
    assert titles(webhook) == ["[FIRING] It burns"]
    assert dict(sink.outcomes) == {"sent": 1, "failed": 1}


def test_an_address_that_is_none_is_refused_without_showing_it(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SinkSetupError) as error:
        notifying("json://localhost/", "discrod://id/token-that-is-secret")
    assert str(error.value).startswith("sinks.notify[1]: expected an address that Apprise knows")
    assert "discrod://" in str(error.value)
    assert "secret" not in str(error.value)
    assert caplog.text == "", "Apprise shows parts of an address"
    with pytest.raises(SinkSetupError, match="found one without ://"):
        notifying("secret")


def test_without_the_extra_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(SinkSetupError, match=r"pip install 'streamgauge\[notify\]'"):
        notifying("json://localhost/")
