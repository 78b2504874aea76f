"""Models trained anew by a worker: real registry, real training process, a small detector."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detectors.api.detector import Panel
from models.calendar.units import DAY_MS
from models.registry.errors import ModelStorageError
from models.registry.manifest import Announcement
from models.registry.registry import Registry
from models.registry.training import Trainer
from streams.judge.panel_sample import SPAN_DAYS
from streams.partials.series import encode_labels, series_hash
from streams.plan.plan import MonitorPlan, Plan
from streams.worker.retraining import Retraining
from tests.unit import levels, zscore
from tests.unit.streams.judge import test_monitors as test_judges

STEP_MS = 2 * 3_600_000
DAY_STEPS = DAY_MS // STEP_MS
WEEK_STEPS = SPAN_DAYS * DAY_STEPS
MONITOR = MonitorPlan(
    "levels:web", "web", "web", levels.NAME, "TrafficAnomaly", step_ms=STEP_MS, model="levels"
)
MINUTES = replace(MONITOR, step_ms=60_000)
SERIES = tuple(sorted([(name,) for name in "abcd"], key=lambda name: series_hash("web", encode_labels(name))))


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    with Trainer(memory_bytes_max=1 << 30, timeout_s=60) as trainer:
        yield trainer


class Worker:
    """What a worker would show and tell."""

    def __init__(self, folder: Path, trainer: Trainer, monitor: MonitorPlan = MONITOR) -> None:
        self.registry = Registry(str(folder), "app")
        self.announced: list[Announcement] = []
        self.broken = False
        self.monitor = monitor
        self.retraining = Retraining(
            [monitor], self.opened, self.announce, trainer=lambda: nullcontext(trainer)
        )
        self.step = 20_000 * DAY_STEPS
        self.random = np.random.default_rng(0)

    def opened(self) -> Registry:
        if self.broken:
            raise ModelStorageError("no route to the storage")
        return self.registry

    async def announce(self, announcement: Announcement) -> None:
        self.announced.append(announcement)

    def show(self, steps: int, level: float = 10.0) -> None:
        for _ in range(steps):
            self.step += 1
            values = level * self.random.uniform(0.5, 1.5, (1, len(SERIES), 1))
            self.retraining.observe(
                self.monitor, Panel(np.array([self.step * STEP_MS]), SERIES, ("rate",), values)
            )

    async def settle(self) -> Counter[str]:
        """Let it work off what is due; returns outcomes so far."""
        due = self.retraining._due.qsize() + sum(self.retraining.outcomes.values())
        task = asyncio.create_task(self.retraining.run())
        async with asyncio.timeout(60):
            while sum(self.retraining.outcomes.values()) < due:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        task.cancel()
        outcomes: Counter[str] = Counter()
        for (name, outcome), count in self.retraining.outcomes.items():
            assert name == "levels"
            outcomes[outcome] += count
        return outcomes


async def test_the_first_model_is_a_shadow_of_a_week(tmp_path: Path, trainer: Trainer) -> None:
    worker = Worker(tmp_path, trainer)
    worker.show(WEEK_STEPS - 1)
    assert await worker.settle() == {}
    worker.show(1)
    assert await worker.settle() == {"trained": 1}
    (announced,) = worker.announced
    assert (announced.name, announced.role) == ("levels", "shadow")
    assert worker.registry.pointer("levels", "champion").version is None
    stored = worker.registry.load("levels", "shadow")
    assert stored.manifest.version == announced.version
    assert stored.manifest.rows == WEEK_STEPS * len(SERIES)
    assert stored.manifest.metrics["series_weeks"] is not None
    learnt = levels.Levels()
    learnt.restore(stored.state)
    assert set(learnt.sums) == set(SERIES)


async def test_once_a_day_and_only_when_champion_and_shadow_are_outdated(
    tmp_path: Path, trainer: Trainer
) -> None:
    worker = Worker(tmp_path, trainer)
    worker.show(WEEK_STEPS)
    await worker.settle()
    first = worker.announced[0].version
    worker.registry.appoint("levels", "champion", first)
    worker.registry.appoint("levels", "shadow", None)
    worker.show(2 * DAY_STEPS)
    assert await worker.settle() == {"trained": 1, "unchanged": 2}
    worker.show(WEEK_STEPS, level=1000.0)
    outcomes = await worker.settle()
    assert outcomes["failed"] == 0
    # Of the week's checks, waiting for each other here, the first trains and the others find its shadow good.
    assert outcomes["trained"] == 2
    assert worker.registry.pointer("levels", "champion").version == first
    shadow = worker.registry.pointer("levels", "shadow")
    assert shadow.version == worker.announced[1].version != first
    assert shadow.current is not None
    assert "feature rate has shifted" in shadow.current.reason


async def test_failures_are_counted_and_tried_again_the_next_day(tmp_path: Path, trainer: Trainer) -> None:
    worker = Worker(tmp_path, trainer)
    worker.broken = True
    worker.show(WEEK_STEPS)
    assert await worker.settle() == {"failed": 1}
    worker.broken = False
    worker.show(DAY_STEPS)
    assert await worker.settle() == {"failed": 1, "trained": 1}


async def test_a_detector_that_cannot_learn_leaves_no_version(tmp_path: Path, trainer: Trainer) -> None:
    worker = Worker(tmp_path, trainer)
    worker.show(WEEK_STEPS, level=-1.0)
    assert await worker.settle() == {"failed": 1}
    assert worker.registry.versions("levels") == ()


def test_what_cannot_be_sampled_stops_nothing(
    tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> Callable[..., object]:
        raise MemoryError

    monkeypatch.setattr("streams.worker.retraining.PanelSample", no_memory)
    worker = Worker(tmp_path, trainer)
    worker.show(3)
    assert worker.retraining.outcomes == {("levels", "failed"): 1}


async def test_detectors_that_take_no_model_are_left_alone(tmp_path: Path, trainer: Trainer) -> None:
    monitor = MonitorPlan(
        "z:web", "web", "web", zscore.NAME, "TrafficAnomaly", step_ms=STEP_MS, model="levels"
    )
    worker = Worker(tmp_path, trainer, monitor)
    worker.show(WEEK_STEPS)
    assert await worker.settle() == {}


def test_judges_show_each_step_once_whatever_a_restart_shows_again(tmp_path: Path, trainer: Trainer) -> None:
    shown: list[int] = []

    class Noting(Retraining):
        def observe(self, monitor: MonitorPlan, panel: Panel) -> None:
            assert monitor == MINUTES
            shown.append(int(panel.times[0]))

    retraining = Noting([MINUTES], Worker(tmp_path, trainer).opened, Worker(tmp_path, trainer).announce)
    worker = test_judges.Worker(Plan("app", {"web": test_judges.SOURCE}, (), (MINUTES,)))
    retraining.follow(worker.window.monitors)
    test_judges.seal_minutes(worker, [4, 2, 3], frozenset())
    assert shown == [test_judges.START_MS + 60_000 * minute for minute in (1, 2, 3)]
    worker.restart()
    retraining.follow(worker.window.monitors)
    assert len(shown) == 3
