"""`docs/topics.md` has the topics with their settings, and records of the shapes that are written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from detectors.alerts.alert import Transition
from detectors.alerts.incidents import incidents_of
from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.events.batch import Records
from streams.kafka.log import RECORD_BYTES_MAX, Partition
from streams.kafka.topics import Topics
from streams.kafka.transport import Batch
from streams.offline.flow import LocalFlow
from streams.plan.plan import MonitorPlan, Plan
from streams.worker.aggregate_stage import AggregateStage
from streams.worker.window_stage import encode_report
from tests.docs.pages import ROOT, blocks, code, section, table
from tests.unit.levels import NAME

PAGE = ROOT / "docs" / "topics.md"

START_MS = 1_779_000_000_000
DAY_MS = 86_400_000


def test_every_topic_is_told_with_its_settings() -> None:
    told = {code(name)[0]: code(settings)[0].split() for name, settings, _ in table(section(PAGE, "Topics"))}
    wanted = Topics("<app>").wanted(1, 1)
    assert told == {
        topic.name: [f"{key}={value}" for key, value in topic.topic_configs.items()] for topic in wanted
    }


@pytest.fixture(scope="module")
def plan() -> Plan:
    return compile_plan(load_config(ROOT / "examples" / "requests.yaml"))


def requests(count: int) -> Records:
    """A request a second, of which one in ten fails after the first half."""
    times = START_MS + 1000 * np.arange(count)
    values = [
        json.dumps({"ts": at, "route": "/", "status": 500 if row % 10 == 0 and 2 * row > count else 200})
        for row, at in enumerate(times.tolist())
    ]
    return Records([value.encode() for value in values], np.arange(count), times)


def a_busy_minute() -> Records:
    """A request a second for two hours, and twenty a second in one minute of it."""
    times = np.sort(np.concatenate([1000 * np.arange(7200), 3_600_000 + 50 * np.arange(1200)])) + START_MS
    common = {"service": "shop-api", "route": "/cart", "status": 200, "duration_ms": 38, "trace_id": "4bf9"}
    values = [json.dumps({"ts": at, **common}).encode() for at in times.tolist()]
    return Records(values, np.arange(len(values)), times)


def shape(value: Any) -> Any:
    """Keys and kinds of a JSON value; mappings by window or partition are known by their first entry."""
    if isinstance(value, dict):
        if value and all(key[0].isdigit() for key in value):
            return {"…": shape(next(iter(value.values())))}
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    )


def example(name: str) -> Any:
    (text,) = [block.text for block in blocks(PAGE, "json") if name in block.options]
    return json.loads(text)


def test_alerts_and_slis_have_the_shapes_that_are_told(plan: Plan) -> None:
    alerts: list[Any] = []
    slis: list[Any] = []
    flow = LocalFlow(
        plan, on_slis=slis.append, on_alert=alerts.append, evidence={"config": "5f1d0a7c9b3e2468"}
    )
    flow.feed("requests", 0, requests(7200))
    flow.finish()
    firing = json.loads(msgspec.json.encode(alerts[0].to_dict()))
    told = example("alerts")
    assert list(firing) == list(told)
    assert firing["evidence"]["tiers"][0]["error_ratio_at_least"] is not None
    assert shape(firing) == shape(told)

    report = json.loads(encode_report(slis[-1])[0])
    told = example("slis")
    told["group_by"] = told["groups"][0]["labels"] = []  # the example's SLOs have no groups
    assert list(report) == list(told)
    assert shape(report) == shape(told)


def test_anomalies_and_incidents_have_the_shapes_that_are_told(plan: Plan) -> None:
    monitor = MonitorPlan(
        "traffic:requests", "requests", "requests", NAME, "TrafficAnomaly", kept_ms=DAY_MS, service="service"
    )
    found: list[Transition] = []
    flow = LocalFlow(
        replace(plan, monitors=(monitor,)), on_anomaly=found.append, evidence={"config": "5f1d0a7c9b3e2468"}
    )
    flow.feed("requests", 0, a_busy_minute())
    flow.finish()

    firing = json.loads(msgspec.json.encode(found[0].to_dict()))
    told = example("anomalies")
    assert list(firing) == list(told)
    assert shape(firing) == shape(told)
    assert [moved.alert.state for moved in found] == ["firing", "resolved"]

    (incident,) = incidents_of(found[:1])
    told = example("incidents")
    assert list(incident.to_dict()) == list(told)
    assert shape(json.loads(msgspec.json.encode(incident.to_dict()))) == shape(told)


class Sent:
    """A log that keeps what is sent to it."""

    def __init__(self) -> None:
        self.records: list[tuple[Partition, bytes | None, bytes | None, dict[str, str]]] = []

    async def send(
        self,
        to: Partition,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Awaitable[Any]:
        self.records.append((to, key, value, {name: text.decode() for name, text in headers}))
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        acknowledged.set_result(None)
        return acknowledged

    async def inform(self, to: Partition, key: bytes, value: bytes) -> Awaitable[Any]:
        return await self.send(to, key, value)

    async def commit(
        self, offsets: Mapping[Partition, int], read: Mapping[Partition, int] | None = None
    ) -> bool:
        return True

    async def seek_back(self, at: Partition, offset: int) -> int | None:
        return None

    def end_offset(self, of: Partition) -> int | None:
        return None

    def partition_count(self, topic: str) -> int:
        return 4


@pytest.mark.parametrize("filling", [0, 2_000_000])
async def test_dead_letters_have_the_headers_that_are_told(plan: Plan, filling: int) -> None:
    log = Sent()
    stage = AggregateStage(plan, Topics("shop"), log, lambda: 0.0)
    stage.start(Partition("requests", 3), 7)
    value = b"no json" + bytes(filling)
    records = Records([value], np.array([7]), np.array([START_MS]))
    await stage.on_batch(Batch("requests", 3, 7, 8, records))
    ((to, key, sent, headers),) = log.records
    assert to.topic == "shop-dead-letters"
    assert key == b"requests/3/7"
    assert value.startswith(sent)
    assert len(sent) + len(key) + sum(map(len, headers.values())) <= RECORD_BYTES_MAX
    told = [code(name)[0] for name, _ in table(section(PAGE, "Dead letters"))]
    cut = {"truncated": str(len(value))} if filling else {}
    assert list(headers) == told[: len(headers)]
    assert headers | {"detail": ""} == {
        **cut,
        "topic": "requests",
        "partition": "3",
        "offset": "7",
        "source": "requests",
        "reason": "bad_json",
        "detail": "",
    }
