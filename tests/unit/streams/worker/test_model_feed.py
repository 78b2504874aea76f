"""Models as they are announced: from a real registry, with whatever may be wrong in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from models.registry.manifest import Announcement, Role
from models.registry.registry import Registry, StoredModel
from streams.worker.model_feed import ModelFeed
from tests.unit.models.registry.test_registry import manifest, model

Told = list[tuple[str, Role, int | None]]


class Running:
    """A feed that runs, and what it has told."""

    def __init__(self, folder: Path) -> None:
        self.registry = Registry(str(folder), "app")
        self.told: Told = []
        self.refuse = False
        self.feed = ModelFeed(lambda: Registry(str(folder), "app"), ["traffic"], self.accept)

    def accept(self, name: str, role: Role, stored: StoredModel | None) -> None:
        if self.refuse:
            raise ValueError("of another version")
        self.told.append((name, role, None if stored is None else stored.state["number"]))

    def put(self, number: int) -> str:
        return self.registry.put(manifest(note=str(number)), model(number)).version

    def announce(self, announcement: Announcement) -> None:
        self.feed.handle(announcement.key, announcement.to_bytes())

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.told) + sum(self.feed.failures.values()) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    running = Running(tmp_path)
    running.registry.appoint("traffic", "champion", running.put(1))
    task = asyncio.create_task(running.feed.run())
    yield running
    task.cancel()


async def test_what_the_registry_says_comes_first_and_announcements_after(running: Running) -> None:
    await running.until(1)
    second = running.put(2)
    running.announce(running.registry.appoint("traffic", "champion", second))
    running.announce(running.registry.appoint("traffic", "shadow", second))
    running.announce(running.registry.rollback("traffic"))
    running.announce(running.registry.appoint("traffic", "shadow", None))
    await running.until(5)
    assert running.told == [
        ("traffic", "champion", 1),
        ("traffic", "champion", 2),
        ("traffic", "shadow", 2),
        ("traffic", "champion", 1),
        ("traffic", "shadow", None),
    ]
    assert set(running.feed.versions) == {("traffic", "champion")}


async def test_a_broken_model_leaves_the_one_before_in_charge(running: Running, tmp_path: Path) -> None:
    await running.until(1)
    broken = running.put(2)
    announcement = running.registry.appoint("traffic", "champion", broken)
    (tmp_path / "app" / "traffic" / broken / "model.skops").write_bytes(b"other")
    running.announce(announcement)
    running.feed.handle(b"x", b"{}")
    running.feed.handle(b"x", None)
    await running.until(3)
    assert running.told == [("traffic", "champion", 1)]
    assert running.feed.failures[("traffic", "hash")] == 1
    assert running.feed.failures[("", "manifest")] == 1
    first = running.feed.versions[("traffic", "champion")]
    assert first.startswith("000001")

    running.refuse = True
    running.announce(running.registry.appoint("traffic", "champion", running.put(3)))
    await running.until(4)
    assert running.feed.failures[("traffic", "refused")] == 1
    assert running.feed.versions[("traffic", "champion")] == first
