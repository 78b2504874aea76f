"""What the simulated producers write, and what of it counts: events that stand alone, points of counters."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from detectors.slo.slo import Slo, Tier
from streams.events.batch import Layout
from streams.language.expression import compile_expression
from streams.plan.plan import MonitorPlan, SourcePlan
from streams.plan.rollup import Count, Rollup
from tests.unit.levels import NAME as LEVELS

PARTITIONS, LATENESS_MS, BUCKET_MS = 2, 20_000, 10_000
LOOKBACK_MS = 300_000
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
WINDOWS_MS = (60_000, 300_000, 1_800_000, HOUR_MS, 2 * HOUR_MS, 6 * HOUR_MS, DAY_MS, 3 * DAY_MS, 30 * DAY_MS)
BROKEN = b"{"

POISON = b"poison"
"""A record at which the decoder raises, whatever else is in the batch."""

TIERS = (Tier("page", 300_000, 60_000, 2.0), Tier("ticket", HOUR_MS, 300_000, 1.5))
SLO = Slo("good", "shop", 0.9, "s", "slo:good", 30 * DAY_MS, tiers=TIERS)

MONITOR = MonitorPlan(
    "levels:s", "s", "s", LEVELS, "Anomaly", {"times": 1.5, "page": 3.0}, step_ms=BUCKET_MS, kept_ms=HOUR_MS
)
"""A detector whose anomalies must not depend on what goes wrong either."""

Totals = Counter[tuple[str, str]]
"""By (measure, label)."""


class Load(Protocol):
    """A producer."""

    plan: SourcePlan

    def write(self, logs: Sequence[list[bytes]]) -> None:
        """Append some records."""
        ...

    def truth(self, logs: Sequence[list[bytes]]) -> tuple[Counter[str], Totals]:
        """Outcomes, and totals of the rollup `s`, by a loop over the logs."""
        ...


def source(format: str, layout: Layout, label: str, errors: str, good: str) -> SourcePlan:
    """A source with series by `label`, and an SLO over all of it."""
    measures = (Count("total"), Count("errors", compile_expression(errors)))
    judged = (Count("good", compile_expression(good)), Count("total"))
    return SourcePlan(
        name="s",
        topic="s",
        format=format,
        layout=layout,
        rollups=(
            Rollup("s", "s", (label,), None, measures, kind="requests"),
            Rollup("slo:good", "s", (), None, judged, windows_ms=WINDOWS_MS, kind="slo"),
        ),
        lateness_ms=LATENESS_MS,
    )


def on_time(
    log: Sequence[bytes], events_of: Callable[[bytes], list[tuple[int, Any]]], outcomes: Counter[str]
) -> Iterator[Any]:
    """The events of a partition that count where they belong; all are counted by outcome.

    events_of : record to (time in ms, event) of each of its events
    """
    newest = -(10**18)
    for value in log:
        if value in (BROKEN, POISON):
            outcomes["dead"] += 1
            continue
        for time, event in events_of(value):
            if (time // BUCKET_MS + 1) * BUCKET_MS <= newest - LATENESS_MS:
                outcomes["late"] += 1
            else:
                outcomes["in"] += 1
                yield event
            newest = max(newest, time)


class Events:
    """Requests as JSON, one or several a record, late at times, and now and then more bad ones.

    Some labels are rare, so that some partitions of the partials hear of few series.
    """

    labels = "a" * 20 + "bcdefgh"

    plan = source(
        "json",
        Layout({"k": "string", "bad": "number", "ms": "number"}, time_field="t", time_format="epoch_ms"),
        label="k",
        errors="bad == 1",
        good="bad == 0",
    )

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.clock = [1_000_000] * PARTITIONS

    def write(self, logs: Sequence[list[bytes]]) -> None:
        p = self.rng.randrange(PARTITIONS)
        for _ in range(self.rng.randint(1, 30)):
            self.clock[p] += self.rng.choice([0, 1000, 2000, 5000])
            if self.rng.random() < (0.02 if logs[p] else 0.4):
                logs[p].append(self.rng.choice([BROKEN, POISON]))
                continue
            events = [self.event(p) for _ in range(self.rng.choice([1, 1, 1, 2, 4]))]
            logs[p].append(json.dumps(events).encode())

    def event(self, p: int) -> dict[str, Any]:
        t = self.clock[p] - self.rng.choice([0, 0, 0, 3000, 9000, 25_000, 60_000])
        bad = int(self.rng.random() < (0.6 if (t // 100_000) % 3 == 1 else 0.02))
        return {"t": t, "k": self.rng.choice(self.labels), "bad": bad, "ms": t % 977}

    def truth(self, logs: Sequence[list[bytes]]) -> tuple[Counter[str], Totals]:
        outcomes: Counter[str] = Counter()
        totals: Totals = Counter()
        for log in logs:
            for event in on_time(log, lambda value: [(e["t"], e) for e in json.loads(value)], outcomes):
                totals["total", event["k"]] += 1
                totals["errors", event["k"]] += event["bad"]
        return outcomes, totals


class Counters:
    """Samples of counters, each in any partition, some delayed, some sent twice; at times they begin anew."""

    plan = source(
        "prometheus",
        Layout({"metric": "string", "k": "string", "code": "string", "value": "number"}),
        label="k",
        errors='code == "bad"',
        good='code == "ok"',
    )

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now = 1_000_000
        self.totals: Counter[tuple[str, str]] = Counter()
        self.delayed: list[bytes] = []

    def write(self, logs: Sequence[list[bytes]]) -> None:
        for _ in range(self.rng.randint(1, 30)):
            self.now += self.rng.choice([0, 500, 1000, 2500])
            series = self.rng.choice("abc"), self.rng.choice(["ok", "bad"])
            many = series[1] == "ok" or (self.now // 300_000) % 3 == 1
            self.totals[series] += self.rng.choice([0, 5, 20] if many else [0, 0, 1])
            if self.rng.random() < 0.02:
                self.totals[series] = self.rng.choice([0, 1, 2])
            labels = {"__name__": "requests_total", "k": series[0], "code": series[1]}
            at = datetime.fromtimestamp(self.now / 1000, UTC).isoformat(timespec="milliseconds")
            sample = {"timestamp": at, "value": str(self.totals[series]), "name": "requests_total"}
            value = json.dumps({**sample, "labels": labels}).encode()
            if self.rng.random() < 0.2:
                self.delayed.append(value)
            else:
                self.send(logs, value)
            if self.rng.random() < 0.05:
                self.send(logs, value)
            if self.delayed and self.rng.random() < 0.2:
                self.send(logs, self.delayed.pop(self.rng.randrange(len(self.delayed))))
            if self.rng.random() < 0.02:
                self.send(logs, self.rng.choice([BROKEN, POISON]))

    def send(self, logs: Sequence[list[bytes]], value: bytes) -> None:
        self.rng.choice(logs).append(value)

    def truth(self, logs: Sequence[list[bytes]]) -> tuple[Counter[str], Totals]:
        outcomes: Counter[str] = Counter()
        points: dict[tuple[str, str], dict[int, int]] = {}
        for log in logs:
            for time, sample in on_time(log, sample_of, outcomes):
                by_time = points.setdefault((sample["labels"]["k"], sample["labels"]["code"]), {})
                by_time[time] = max(by_time.get(time, 0), int(sample["value"]))
        totals: Totals = Counter()
        for (k, code), by_time in points.items():
            increase = total_increase(by_time)
            totals["total", k] += increase
            totals["errors", k] += increase if code == "bad" else 0
        return outcomes, totals


def sample_of(value: bytes) -> list[tuple[int, tuple[int, Any]]]:
    """The one sample of a record, with its time."""
    sample = json.loads(value)
    time = round(datetime.fromisoformat(sample["timestamp"]).timestamp() * 1000)
    return [(time, (time, sample))]


def total_increase(by_time: dict[int, int]) -> int:
    """What a counter of unknown beginning counted from its first point to its last."""
    increase, before_ms, before = 0, -(10**18), 0
    for time, total in sorted(by_time.items()):
        if time - before_ms <= LOOKBACK_MS:
            increase += total - before if total >= before else total
        before_ms, before = time, total
    return increase
