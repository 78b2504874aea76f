"""The real aggregate and window code under random crashes, zombies, lost and doubled sends.

Nothing is transactional. What survives a crash: the logs, the stored blocks and one committed offset per
partition (the last write wins, a zombie's too). The transport may drop, repeat or deliver batches of an
earlier assignment. One seed replays one schedule.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from detectors.alerts.alert import Transition
from streams.aggregate.partition import PartitionAggregate
from streams.decode.registry import make_decoder
from streams.events.batch import EventBatch, Records
from streams.judge.judged_source import JudgedSource
from streams.kafka.transport import Admission, Position
from streams.partials.frame import decode_frame
from streams.partials.table import Table, split_tables
from streams.plan.outcomes import OUTCOMES
from streams.plan.plan import SourcePlan
from streams.window.blocks import decode_blocks, encode_block
from tests.simulation.loads import MONITOR, PARTITIONS, POISON, SLO, Counters, Events, Load, Totals

SCHEDULES = int(os.environ.get("STREAMGAUGE_SIMULATIONS", "12"))
DESTINATIONS = 2
LOADS: dict[str, Callable[[random.Random], Load]] = {"events": Events, "counters": Counters}


class World:
    """What outlives every process."""

    def __init__(self, rng: random.Random, load: Load) -> None:
        self.rng = rng
        self.load = load
        self.source: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        self.partials: list[list[bytes]] = [[] for _ in range(DESTINATIONS)]
        self.committed_source = [0] * PARTITIONS
        self.committed_partials = [0] * DESTINATIONS
        self.blocks: list[dict[bytes, bytes]] = [{} for _ in range(DESTINATIONS)]
        self.restarts = 0
        """Of the window stage, with something stored that its series go on from."""
        self.announced: set[tuple[Any, ...]] = set()

    def announce(self, moved: Transition) -> None:
        self.announced.add((moved.alert.alertname, *moved.key, moved.at_ms))

    def delivered_from(self, at: int) -> int:
        """Where the batch that the transport hands over starts: mostly where it should."""
        x = self.rng.random()
        if x < 0.03:
            return at + self.rng.randint(1, 5)
        return max(0, at - self.rng.randint(1, 5)) if x < 0.06 else at


class Fragile:
    """The source's decoder with a defect: it raises where a poisonous record is in the batch."""

    def __init__(self, plan: SourcePlan) -> None:
        self.decoder = make_decoder(plan.format, plan.layout)

    def decode(self, records: Records) -> EventBatch:
        if POISON in records.values:
            raise ValueError("poison")
        return self.decoder.decode(records)


class Stage1:
    def __init__(self, world: World, p: int) -> None:
        self.world, self.p = world, p
        start, plan = world.committed_source[p], world.load.plan
        self.aggregate = PartitionAggregate(plan, p, start, partial(Fragile, plan))
        self.position = Position(start)
        self.unsent: list[tuple[int, bytes]] = []
        self.commit: int | None = None

    def read(self, count: int) -> None:
        log = self.world.source[self.p]
        start = self.world.delivered_from(self.position.at)
        stop = min(start + count, len(log))
        if start >= stop or self.position.admit(start, stop) is not Admission.COUNT:
            return
        offsets = np.arange(start, stop)
        self.aggregate.read(Records(log[start:stop], offsets, np.full(len(offsets), -1)), stop)
        self.position.at = self.aggregate.at

    def flush(self) -> None:
        if self.aggregate.in_flight is None:
            flushed = self.aggregate.flush(DESTINATIONS, announce=self.world.rng.random() < 0.2)
            if flushed is not None:
                self.unsent = list(flushed.frames)

    def deliver(self) -> None:
        if self.aggregate.in_flight is None:
            return
        for _ in range(self.world.rng.randint(1, 16)):
            if self.unsent:
                q, value = self.unsent.pop(0)
                self.world.partials[q].extend([value] * (2 if self.world.rng.random() < 0.05 else 1))
        if self.world.rng.random() < 0.1:
            self.aggregate.abandon()  # timed out; what was taken, was taken
        elif not self.unsent:
            self.commit = self.aggregate.acknowledge()

    def settle(self) -> None:
        """Read, send and commit all that is left."""
        self.read(10_000)
        while True:
            self.flush()
            if self.aggregate.in_flight is None and self.position.at == len(self.world.source[self.p]):
                break
            self.deliver()
            self.commit_now()
            self.read(10_000)

    def commit_now(self) -> None:
        if self.commit is not None:
            self.world.committed_source[self.p], self.commit = self.commit, None


class Stage2:
    def __init__(self, world: World, q: int) -> None:
        self.world, self.q, self.fenced = world, q, False
        start = world.committed_partials[q]
        self.window = JudgedSource(world.load.plan, [SLO], PARTITIONS, {}, [MONITOR])
        blocks = decode_blocks(world.blocks[q].values())
        world.restarts += any(block.points or block.tables for block in blocks)
        self.window.load(blocks)
        self.position = Position(start)
        self.steps: list[Callable[[], None]] = []

    def read(self, count: int) -> None:
        log = self.world.partials[self.q]
        start = self.world.delivered_from(self.position.at)
        stop = min(start + count, len(log))
        if start >= stop or self.position.admit(start, stop) is not Admission.COUNT:
            return
        for offset in range(max(start, self.position.at), stop):
            self.window.accept(decode_frame(log[offset]), offset)
        self.position.at = stop

    def seal(self) -> None:
        below = self.window.final_below()
        if self.steps or below <= self.window.sealed:
            return
        for sealed in self.window.seal(below):
            for moved in (*sealed.transitions, *sealed.anomalies):
                self.steps.append(lambda moved=moved: self.world.announce(moved))
            for block in sealed.blocks:
                for key, value in encode_block(block):
                    self.steps.append(lambda key=key, value=value: self._store(key, value))
        self.steps.append(lambda: self._confirm(below))

    def step(self) -> None:
        for _ in range(self.world.rng.randint(1, 10)):
            if self.steps:
                self.steps.pop(0)()

    def _store(self, key: bytes, value: bytes) -> None:
        self.world.blocks[self.q][key] = value

    def _confirm(self, below: int) -> None:
        self.window.confirm(below)
        if not self.fenced or self.world.rng.random() < 0.3:
            self.world.committed_partials[self.q] = self.window.needed_from(below, self.position.at)


def simulate(load: str, seed: int, steps: int = 700) -> World:
    rng = random.Random(seed)
    world = World(rng, LOADS[load](rng))
    first, second = (
        [Stage1(world, p) for p in range(PARTITIONS)],
        [Stage2(world, q) for q in range(DESTINATIONS)],
    )
    zombies1: list[Stage1] = []
    zombies2: list[Stage2] = []
    for _ in range(steps):
        x, p, q = rng.random(), rng.randrange(PARTITIONS), rng.randrange(DESTINATIONS)
        if x < 0.08:
            world.load.write(world.source)
        elif x < 0.50:
            one = rng.choice(zombies1) if zombies1 and rng.random() < 0.3 else first[p]
            rng.choice(
                [lambda: one.read(rng.randint(1, 60)), one.flush, one.deliver, one.deliver, one.commit_now]  # noqa: B023
            )()
        elif x < 0.90:
            two = rng.choice(zombies2) if zombies2 and rng.random() < 0.35 else second[q]
            rng.choice([lambda: two.read(rng.randint(1, 6)), two.seal, two.step, two.step, two.step])()  # noqa: B023
        elif x < 0.93:
            if rng.random() < 0.5:
                zombies1.append(first[p])
            first[p] = Stage1(world, p)
        else:
            # mostly one that is in the middle of something
            q = rng.choice([two.q for two in second if two.steps] or [q])
            if rng.random() < 0.5:
                zombies2.append(second[q])
                second[q].fenced = True  # a broker refuses most of its commits, none of its sends
            second[q] = Stage2(world, q)
        if rng.random() < 0.01:
            zombies1.clear()
            zombies2.clear()
    drain(world, first, second)
    compare(world, second)
    return world


def drain(world: World, first: list[Stage1], second: list[Stage2]) -> None:
    """A healthy owner of everything works on to the end."""
    for one in first:
        one.settle()
    for two in second:
        while two.steps:
            two.step()
        while two.position.at < len(world.partials[two.q]):
            two.read(10_000)
        two.seal()
        while two.steps:
            two.step()


def compare(world: World, second: list[Stage2]) -> None:
    outcomes, totals = world.load.truth(world.source)
    found: Counter[str] = Counter()
    found_totals: Totals = Counter()
    for two in second:
        end = two.window.live_end()
        if end is not None:  # counters tell their increase when their bucket is sealed
            assert all(sealed.bucket < end for sealed in two.window.seal(end))
            two.window.confirm(end)
        table = two.window.rollups[f"{OUTCOMES}:s"]
        for (outcome, _), row in zip(table.table.labels, table.live_totals(), strict=True):
            found[outcome] += int(row[0])
        table = two.window.rollups["s"]
        for (key,), row in zip(table.table.labels, table.live_totals(), strict=True):
            found_totals["total", key] += int(row[0])
            found_totals["errors", key] += int(row[1])
    assert +found == +outcomes
    assert +found_totals == +totals


def calm(world: World) -> set[tuple[Any, ...]]:
    """What is announced of the same logs when nothing goes wrong."""
    quiet = World(random.Random(10**9), world.load)
    quiet.source = world.source
    quiet.delivered_from = lambda at: at  # type: ignore[method-assign]
    first, second = (
        [Stage1(quiet, p) for p in range(PARTITIONS)],
        [Stage2(quiet, q) for q in range(DESTINATIONS)],
    )
    drain(quiet, first, second)
    return quiet.announced


def wrong(load: str, seed: int) -> bool:
    """Whether the totals or the alerts of a schedule differ from the truth."""
    try:
        world = simulate(load, seed)
    except AssertionError:
        return True
    return world.announced != calm(world)


@pytest.fixture(autouse=True)
def small_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushes of several frames and blocks of several chunks, as large ones have."""
    monkeypatch.setattr("streams.aggregate.partition.split_tables", small_groups)
    monkeypatch.setattr("streams.window.blocks.split_tables", small_groups)
    monkeypatch.setattr("streams.judge.monitors.LEARNT_EVERY_BUCKETS", 7)


def small_groups(tables: Sequence[Table]) -> Iterator[list[Table]]:
    return split_tables(tables, 400)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_totals_and_alerts_equal_the_truth(load: str, seed: int) -> None:
    world = simulate(load, seed)
    assert world.announced == calm(world)


@pytest.mark.parametrize("load", LOADS)
def test_the_simulation_sees_alerts_and_counts_at_all(load: str) -> None:
    worlds = [simulate(load, seed) for seed in range(8)]
    assert {name for world in worlds for name, *_ in world.announced} == {"ErrorBudgetBurn", "Anomaly"}
    assert sum(world.restarts for world in worlds) > 20
    for world in worlds:
        outcomes, totals = world.load.truth(world.source)
        assert min(outcomes["in"], outcomes["late"], outcomes["dead"]) > 0
        assert min(totals["total", "a"], totals["errors", "a"]) > 0
