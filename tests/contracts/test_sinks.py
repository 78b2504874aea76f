"""What every sink must keep, whatever its receiver does: down, slow, refusing, back again.

Sinks are found by their entry points and run by the dispatcher, as in a worker, against an HTTP server.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from detectors.alerts.alert import Alert, fingerprint
from streams.config.sinks import Sinks, installed_sinks
from streams.publish.sinks.dispatcher import AlertDispatcher
from tests.services.process import free_ports
from tests.services.webhook import Webhook

HELD_MAX = 10_000
"""Alerts that a sink may hold, whatever happens."""

Told = tuple[str, str]
"""Name and state of an alert, as a receiver reads them."""


@dataclass(frozen=True)
class Peer:
    """How a sink is configured for a receiver, and how the receiver reads its posts.

    reminded : whether it hears again and again of what fires, from whoever looks after it; people do not
    """

    settings: Callable[[str], Any]
    read: Callable[[Any], list[Told]]
    reminded: bool


def _read_alertmanager(body: Any) -> list[Told]:
    now = datetime.now(UTC)
    return [
        (
            each["annotations"]["summary"],
            "firing" if datetime.fromisoformat(each["endsAt"]) > now else "resolved",
        )
        for each in body
    ]


def _read_notify(body: Any) -> list[Told]:
    state, _, name = body["title"].partition("] ")
    return [(name, state.strip("[").lower())]


PEERS = {
    "alertmanager": Peer(lambda url: {"url": url, "repeat": "1h"}, _read_alertmanager, True),
    "notify": Peer(lambda url: [url.replace("http://", "json://")], _read_notify, False),
}
"""One for each sink; a new one needs its own."""


def alert(name: str, state: str = "firing", starts_at_ms: int = 1_500_000_000_000) -> Alert:
    labels = {"alertname": name, "severity": "page"}
    return Alert(fingerprint(labels), state, labels, {"summary": name}, starts_at_ms)  # type: ignore[arg-type]


def test_every_registered_sink_keeps_this_contract() -> None:
    assert set(PEERS) == set(installed_sinks())


@pytest.fixture(params=sorted(PEERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of sinks are for people's networks."""
    monkeypatch.setattr("streams.publish.sinks.notify.BACKOFF_S", 0.05)
    monkeypatch.setattr("streams.publish.sinks.alertmanager.BACKOFF_S", 0.05)


@pytest.fixture
def port() -> int:
    (port,) = free_ports(1)
    return port


@pytest.fixture
def receiver(port: int) -> Iterator[Webhook]:
    hook = Webhook(port)
    hook.start()
    yield hook
    hook.close()


def dispatcher_of(name: str, port: int) -> AlertDispatcher:
    config = Sinks.model_validate({name: PEERS[name].settings(f"http://127.0.0.1:{port}/")})
    return AlertDispatcher(config, page_url="http://localhost:9464")


@asynccontextmanager
async def running(name: str, port: int) -> AsyncIterator[AlertDispatcher]:
    dispatcher = dispatcher_of(name, port)
    dispatcher.open()
    try:
        yield dispatcher
    finally:
        await dispatcher.close()


def told(name: str, receiver: Webhook) -> list[Told]:
    """All that a receiver has accepted, oldest first."""
    return [each for body in list(receiver.posts) for each in PEERS[name].read(body)]


async def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < deadline, f"{what} has not come true"
        await asyncio.sleep(0.02)


async def test_an_alert_begins_and_ends_once(name: str, port: int, receiver: Webhook) -> None:
    async with running(name, port) as dispatcher:
        dispatcher.take(alert("Burn"))
        await until(lambda: told(name, receiver), "the start")
        dispatcher.take(alert("Burn", "resolved"))
    assert told(name, receiver) == [("Burn", "firing"), ("Burn", "resolved")]
    assert {sink for sink, _ in dispatcher.outcomes()} == {name}
    assert sum(dispatcher.outcomes().values()) == 2


async def test_what_was_taken_before_it_runs_is_delivered(name: str, port: int, receiver: Webhook) -> None:
    dispatcher = dispatcher_of(name, port)
    dispatcher.take(alert("Burn"))
    dispatcher.open()
    await dispatcher.close()
    assert told(name, receiver) == [("Burn", "firing")]


async def test_a_receiver_that_is_down_and_comes_back_hears_what_is_new(name: str, port: int) -> None:
    async with running(name, port) as dispatcher:
        dispatcher.take(alert("Early"))
        await until(dispatcher.outcomes, "a failure that is counted")
        hook = Webhook(port)
        hook.start()
        try:
            dispatcher.take(alert("Late"))
            await until(lambda: ("Late", "firing") in told(name, hook), "the alert after the outage")
        finally:
            hook.close()


async def test_a_slow_receiver_holds_up_nobody_and_hears_the_latest_state_last(
    name: str, port: int, receiver: Webhook
) -> None:
    answered = threading.Event()
    receiver.answer = lambda _body: 200 if answered.wait(60) else 500
    async with running(name, port) as dispatcher:
        for number in range(20):
            dispatcher.take(alert("Flapping", starts_at_ms=number))
            dispatcher.take(alert("Flapping", "resolved", starts_at_ms=number))
            await asyncio.sleep(0)
        dispatcher.take(alert("Last"))
        answered.set()
        await until(lambda: ("Last", "firing") in told(name, receiver), "the last alert")
    assert [state for about, state in told(name, receiver) if about == "Flapping"][-1] == "resolved"


async def test_a_receiver_that_refuses_costs_only_what_it_refuses(
    name: str, port: int, receiver: Webhook
) -> None:
    refused: list[Told] = []

    def answer(body: Any) -> int:
        marked = [each for each in PEERS[name].read(body) if each[0] == "Poison"]
        refused.extend(marked)
        return 400 if marked else 200

    receiver.answer = answer
    names = [f"Burn{number}" for number in range(8)]
    async with running(name, port) as dispatcher:
        for each in [*names[:4], "Poison", *names[4:]]:
            dispatcher.take(alert(each))
    assert refused
    assert sorted(told(name, receiver)) == sorted((each, "firing") for each in names)
    failed = {outcome: count for (_, outcome), count in dispatcher.outcomes().items() if outcome != "sent"}
    assert list(failed.values()) == [1]
    assert dispatcher.outcomes()[name, "sent"] == len(names)


async def test_a_receiver_that_refused_all_hears_what_comes_later(
    name: str, port: int, receiver: Webhook
) -> None:
    receiver.answer = lambda _body: 400
    async with running(name, port) as dispatcher:
        dispatcher.take(alert("Early"))
        await until(dispatcher.outcomes, "a refusal that is counted")
        receiver.answer = lambda _body: 200
        dispatcher.take(alert("Early", "resolved"))
        dispatcher.take(alert("Late"))
    assert sorted(told(name, receiver)) == [("Early", "resolved"), ("Late", "firing")]


async def test_a_malformed_alert_does_not_block_the_rest(name: str, port: int, receiver: Webhook) -> None:
    broken = [
        replace(alert("Nameless"), fingerprint="0" * 16, labels={"severity": "page"}),
        replace(alert("Surrogate"), labels={"alertname": "Surrogate", "route": "\ud800", "": ""}),
        replace(alert("Huge"), labels={"alertname": "Huge", "route": "x" * 1_000_000}),
        replace(alert("Ancient"), starts_at_ms=-1),
    ]
    async with running(name, port) as dispatcher:
        for each in broken:
            dispatcher.take(each)
        dispatcher.take(alert("Good"))
    assert ("Good", "firing") in told(name, receiver)


async def test_only_firing_and_resolved_are_delivered(name: str, port: int, receiver: Webhook) -> None:
    async with running(name, port) as dispatcher:
        dispatcher.take(alert("Burn", "pending"))
        dispatcher.take(alert("Burn", "inactive"))
    assert receiver.posts == []


async def test_memory_is_bounded_while_the_receiver_is_down(name: str, port: int) -> None:
    """Alerts held by anybody are counted, so what a sink keeps, and where, is its own affair."""
    dispatcher = dispatcher_of(name, port)
    for number in range(HELD_MAX + 500):
        dispatcher.take(alert(f"Burn{number}"))
    for number in range(HELD_MAX + 500):
        dispatcher.take(alert("Burn0", starts_at_ms=number))
    dispatcher.take_over([alert(f"Old{number}") for number in range(HELD_MAX + 500)])
    gc.collect()
    held = sum(isinstance(each, Alert) for each in gc.get_objects())
    assert 0 < held <= HELD_MAX
    assert dispatcher.outcomes()[name, "dropped"] >= 500
    sizes = [len(each) for each in gc.get_objects() if isinstance(each, dict) and _keyed_by_alerts(each)]
    assert max(sizes, default=0) <= HELD_MAX


def _keyed_by_alerts(mapping: dict[Any, Any]) -> bool:
    """Whether a mapping has alerts' keys, as of what was announced."""
    return isinstance(next(iter(mapping), None), tuple) and "firing" in next(iter(mapping))


async def test_what_is_taken_over_is_announced_to_machines_only_and_its_end_to_all(
    name: str, port: int, receiver: Webhook
) -> None:
    start = [("Live", "firing")] if PEERS[name].reminded else []
    async with running(name, port) as dispatcher:
        dispatcher.take_over([alert("Live")])
        if start:
            await until(lambda: told(name, receiver), "the start")
        dispatcher.take(alert("Live", "resolved"))
    assert told(name, receiver) == [*start, ("Live", "resolved")]


async def test_what_is_forgotten_is_left_to_the_next_owner_by_who_repeats(
    name: str, port: int, receiver: Webhook
) -> None:
    receiver.answer = lambda _body: 503
    async with running(name, port) as dispatcher:
        dispatcher.take(alert("Old"))
        dispatcher.forget()
        receiver.answer = lambda _body: 200
        dispatcher.take(alert("New"))
    told_of = ["New"] if PEERS[name].reminded else ["Old", "New"]
    assert told(name, receiver) == [(each, "firing") for each in told_of]


async def test_close_returns_though_the_receiver_never_answers(
    name: str, port: int, receiver: Webhook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streams.publish.sinks.dispatcher.DRAIN_S", 0.2)
    asked, done = threading.Event(), threading.Event()

    def answer(_body: Any) -> int:
        asked.set()
        done.wait(60)
        return 503

    receiver.answer = answer
    dispatcher = dispatcher_of(name, port)
    dispatcher.open()
    dispatcher.take(alert("Burn"))
    await asyncio.to_thread(asked.wait, 30)
    try:
        async with asyncio.timeout(20):  # the receiver takes three times as long
            await dispatcher.close()
    finally:
        done.set()
    assert "Some alerts could not be delivered before the end" in caplog.text


async def test_close_without_open_returns(name: str, port: int) -> None:
    await dispatcher_of(name, port).close()
