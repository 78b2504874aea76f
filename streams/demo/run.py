"""The demo from start to end: broker, topics, worker, traffic, table, and a clean stop of all of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.demo.broker import free_port, start_broker
from streams.demo.child import Child, ChildError
from streams.demo.generator import Pace, produce_traffic
from streams.demo.screen import Screen
from streams.demo.setup import APP, PARTITIONS, write_setup
from streams.demo.snapshot import Snapshot, parse_metrics
from streams.demo.story import Story
from streams.demo.traffic import TOPICS, Incident, Shop
from streams.kafka.broadcast import follow
from streams.kafka.topics import Topics

__all__ = ["Options", "run_demo"]

INCIDENT = (0.25, 0.5)
"""Part of the demo during which the incident lasts: late enough for a quiet picture, early enough to end."""

READY_SECONDS = 90.0
"""A worker imports, joins its group and recovers; on a busy machine this has taken 20 s."""

LOOK_SECONDS = 1.0
"""Seconds between two looks at the worker's metrics."""

SETTLE_SECONDS = 5.0
"""Time after the last event for what it causes to be seen."""


@dataclass(frozen=True, slots=True)
class Options:
    """duration_s and rate by the clock, speed in seconds of event time a second, keep: a folder to keep."""

    duration_s: float
    rate: float
    speed: float
    keep: Path | None = None
    seed: int = 1


async def run_demo(options: Options, story: Story) -> None:
    """Run the demo and tell `story` what happens; to be stopped early by cancellation.

    Raises BrokerMissingError or ChildError where something broke. Nothing is left running or lying about.
    """
    span_ms = int(options.duration_s * options.speed * 1_000)
    pace = Pace(options.duration_s, options.rate, options.speed, int(time.time() * 1_000) - span_ms)
    with _folder(options.keep) as folder:
        async with _running(start_broker(folder)) as (broker, bootstrap):
            await _create_topics(bootstrap)
            port = free_port()
            config = write_setup(folder, bootstrap=bootstrap, port=port, span_ms=span_ms)
            async with _running(_start_worker(folder, config)) as (worker, _):
                url = f"http://127.0.0.1:{port}"
                print(f"The worker's pages: {url}/ and {url}/metrics   (its files: {folder})", flush=True)
                await _watch(options, pace, story, bootstrap, url, (broker, worker))


async def _watch(
    options: Options, pace: Pace, story: Story, bootstrap: str, url: str, children: tuple[Child, ...]
) -> None:
    """Produce the traffic and look at the worker until the traffic is over and has been seen."""
    incident = Incident(*(pace.time_ms(part * pace.duration_s) for part in INCIDENT))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        await _wait_until_ready(session, url, children)
        with Screen(address=url, speed=pace.speed) as screen:
            alerts = asyncio.create_task(_follow_alerts(bootstrap, story))
            traffic = asyncio.create_task(
                produce_traffic(bootstrap, Shop(incident=incident, seed=options.seed), pace)
            )
            try:
                began = time.monotonic()
                end_s = pace.duration_s + SETTLE_SECONDS
                told = _announcements(incident, pace)
                while (elapsed_s := time.monotonic() - began) < end_s:
                    for child in children:
                        child.check()
                    for task in (traffic, alerts):
                        if task.done():
                            task.result()
                    while told and pace.time_ms(elapsed_s) >= told[0][0]:
                        story.happen(*told.pop(0))
                    screen.show(await _look(session, url), story, elapsed_s)
                    await asyncio.sleep(LOOK_SECONDS)
            finally:
                await _cancelled(traffic, alerts)


def _announcements(incident: Incident, pace: Pace) -> list[tuple[int, str]]:
    return [
        (pace.start_ms, "all is well"),
        (incident.start_ms, "a release leaks database connections; one LLM provider is overloaded"),
        (incident.end_ms, "the release is rolled back"),
    ]


async def _create_topics(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in TOPICS])
    finally:
        await admin.close()


async def _start_worker(folder: Path, config: Path) -> tuple[Child, str]:
    worker = await Child.start(
        "worker",
        [sys.executable, "-m", "streams.cli", "worker", "-c", str(config)],
        log=folder / "worker.log",
        env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
        folder=folder,
    )
    return worker, ""


async def _wait_until_ready(session: aiohttp.ClientSession, url: str, children: tuple[Child, ...]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        for child in children:
            child.check()
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(f"{url}/readyz") as response:
                if response.status == 200:
                    return
        await asyncio.sleep(0.2)
    raise ChildError(f"the worker was not ready within {READY_SECONDS:g} s:\n{children[-1].log_tail()}")


async def _look(session: aiohttp.ClientSession, url: str) -> Snapshot:
    """The worker's metrics; an empty snapshot where it does not answer in time, for the next look will."""
    try:
        async with session.get(f"{url}/metrics", headers={"Accept": "text/plain"}) as response:
            return parse_metrics(await response.text())
    except (aiohttp.ClientError, TimeoutError):
        return Snapshot()


async def _follow_alerts(bootstrap: str, story: Story) -> None:
    """Tell the story each alert that the worker announces, until cancelled."""

    def handle(_: bytes | None, value: bytes | None) -> None:
        if value:
            story.hear_alert(orjson.loads(value))

    await follow({"bootstrap_servers": bootstrap}, Topics(APP).alerts, handle)


@contextlib.asynccontextmanager
async def _running(starting: Awaitable[tuple[Child, str]]) -> AsyncIterator[tuple[Child, str]]:
    """A child for the time of the block; it is stopped also where the block is cancelled."""
    child, address = await starting
    try:
        yield child, address
    finally:
        await child.stop()


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """A temporary folder, or the one to keep."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="streamgauge-demo-") as name:
        yield Path(name)
