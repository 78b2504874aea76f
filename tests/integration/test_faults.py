"""Totals, late counts and alerts equal the truth while workers are killed, stopped and frozen.

The truth is what the same code's plain counterpart says of the topic as it lies in Kafka: counts by a few
lines of Python, alerts by the flow in one process, which no fault can reach.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.events.batch import Records
from streams.offline.flow import LocalFlow
from tests.services.kafka import Broker
from tests.services.process import wait_until
from tests.services.topics import run_blocking
from tests.services.worker import WorkerProcess, summed

SEED = 20261125
PARTITIONS = 6
DURATION_S = 140.0
SPEED = 30
"""Event time runs this much faster than the clock, so that windows fill and an alert fires and resolves."""
EVENTS_PER_S = 1500
LATENESS_MS = 60_000

SLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: availability}
spec:
  service: shop
  indicator:
    metadata: {name: answered}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: streamgauge, spec: {source: requests, where: "status < 500"}}}
        total: {metricSource: {type: streamgauge, spec: {source: requests}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: answered, target: 0.99}]
"""


def configuration(bootstrap: str, app: str, topic: str) -> dict[str, Any]:
    return {
        "app": app,
        "broker": {
            "bootstrap": [bootstrap],
            "session_timeout": "3s",
            "heartbeat_interval": "500ms",
            "partitions": 4,
        },
        "sources": {
            "requests": {
                "topic": topic,
                "format": "json",
                "time": {"field": "ts", "format": "epoch_ms"},
                "fields": {"duration": {"path": "ms", "unit": "ms"}},
                "series": ["route"],
                "error": "status >= 500",
                "duration": "duration",
                "lateness": f"{LATENESS_MS // 1000}s",
                "future": "365d",
                "idle": "120s",
            }
        },
        "slos": ["slo.yaml"],
    }


class Writer(threading.Thread):
    """Writes events of a small shop, some late, some broken, with an incident in the middle."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(daemon=True)
        self.bootstrap, self.topic = bootstrap, topic
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            run_blocking(self._write())
        except BaseException as error:
            self.error = error

    async def _write(self) -> None:
        import asyncio

        import aiokafka

        rng, began = random.Random(SEED), time.monotonic()
        base_ms = int(time.time() * 1000)
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, linger_ms=20, compression_type="lz4"
        ) as producer:
            sent = 0
            while (elapsed := time.monotonic() - began) < DURATION_S:
                while sent < elapsed * EVENTS_PER_S:
                    share = sent / (DURATION_S * EVENTS_PER_S)
                    await producer.send(
                        self.topic, self._event(rng, base_ms, share), partition=rng.randrange(PARTITIONS)
                    )
                    sent += 1
                await asyncio.sleep(0.01)
            await producer.flush()

    @staticmethod
    def _event(rng: random.Random, base_ms: int, share: float) -> bytes:
        if rng.random() < 0.002:
            return rng.choice([b"{", b"[1,", b"not json", b'{"ts": "never"}'])
        delay_ms = rng.choice([0] * 20 + [5_000] * 3 + [40_000, 200_000])
        bad = rng.random() < (0.5 if 0.3 < share < 0.5 else 0.001)
        event = {
            "ts": base_ms + int(share * DURATION_S * SPEED * 1000) - rng.randrange(delay_ms + 1),
            "route": f"/r/{rng.randrange(40)}",
            "status": 503 if bad else 200,
            "ms": round(rng.lognormvariate(3, 1), 3),
        }
        return json.dumps(event).encode()


class Faults:
    """A seeded schedule: every few seconds one worker is killed, ended politely or frozen for a while."""

    def __init__(self, workers: list[WorkerProcess]) -> None:
        self.workers = workers
        self.rng = random.Random(SEED)
        self.done: Counter[str] = Counter()

    def run_until(self, deadline: float) -> None:
        kinds = ["kill", "freeze", "term", "kill", "freeze", "kill"]
        number = 0
        while time.monotonic() < deadline:
            time.sleep(self.rng.uniform(4.0, 7.0))
            worker, kind = self.rng.choice(self.workers), kinds[number % len(kinds)]
            number += 1
            if not worker.running:
                worker.start()
                continue
            self.done[kind] += 1
            if kind == "kill":
                worker.kill()
                time.sleep(self.rng.uniform(0.0, 2.0))
                worker.start()
            elif kind == "term":
                worker.stop()
                worker.start()
            else:
                worker.freeze()
                time.sleep(self.rng.uniform(4.0, 6.0))  # longer than the session timeout
                worker.thaw()
        for worker in self.workers:
            if not worker.running:
                worker.start()


def truth(values: dict[int, list[bytes]]) -> tuple[Counter[str], Counter[tuple[str, bool]]]:
    """Outcomes, and (route, bad) of events on time, by plain Python."""
    outcomes: Counter[str] = Counter()
    routes: Counter[tuple[str, bool]] = Counter()
    for log in values.values():
        newest = -(10**18)
        for value in log:
            try:
                event = json.loads(value)
                ts = event["ts"] + 0
            except (ValueError, TypeError):
                outcomes["dead"] += 1
                continue
            if (ts // 10_000 + 1) * 10_000 <= newest - LATENESS_MS:
                outcomes["late"] += 1
            else:
                outcomes["in"] += 1
                routes[event["route"], event["status"] >= 500] += 1
            newest = max(newest, ts)
    return outcomes, routes


def test_everything_equals_the_truth_after_many_faults(
    kafka: Broker, topic_name: Any, tmp_path: Path
) -> None:
    topic, app = kafka.create_topic(topic_name("requests"), PARTITIONS), topic_name("faults")
    (tmp_path / "slo.yaml").write_text(SLO)
    config = configuration(kafka.bootstrap, app, topic)
    workers = [WorkerProcess(config, folder=tmp_path, name=f"worker{n}") for n in range(3)]
    writer, faults = Writer(kafka.bootstrap, topic), Faults(workers)
    try:
        for worker in workers:
            worker.start()
        writer.start()
        faults.run_until(time.monotonic() + DURATION_S)
        writer.join()
        assert writer.error is None
        assert sum(faults.done.values()) >= 10, faults.done
        assert all(faults.done[kind] for kind in ("kill", "term", "freeze")), faults.done

        records = kafka.read_all(topic)
        values = {p: [r.value for r in records if r.partition == p] for p in range(PARTITIONS)}
        outcomes, routes = truth(values)
        assert outcomes["late"] > 500
        assert outcomes["dead"] > 100

        def counted() -> Counter[str]:
            found: Counter[str] = Counter()
            for labels, value in summed(workers, "streamgauge_events_total").items():
                found[dict(labels)["outcome"]] += int(value)
            return found

        wait_until(lambda: _answers(counted) == outcomes, timeout_s=90, what=f"outcomes {dict(outcomes)}")
        totals = {dict(k)["route"]: int(v) for k, v in summed(workers, "streamgauge_requests_total").items()}
        assert totals == {route: routes[route, False] + routes[route, True] for route, _ in routes}
        errors = {
            dict(k)["route"]: int(v) for k, v in summed(workers, "streamgauge_request_errors_total").items()
        }
        assert errors == {route: routes[route, True] for route, _ in routes}
        expected = alerts_without_faults(workers[0].path, values)
        assert {state for state, *_ in expected} == {"firing", "resolved"}
        wait_until(lambda: announced(kafka, app) == expected, timeout_s=60, what=f"alerts {sorted(expected)}")
        dead = {(r.headers[1][1], r.headers[2][1]) for r in kafka.read_all(f"{app}-dead-letters")}
        assert len(dead) == outcomes["dead"] + outcomes["late"]
    except BaseException:
        for worker in workers:
            print(worker.log_tail(60))
        raise
    finally:
        for worker in workers:
            worker.thaw()
            worker.kill()


def _answers(counted: Any) -> Any:
    try:
        return counted()
    except OSError:
        return None


def alerts_without_faults(path: Path, values: dict[int, list[bytes]]) -> set[tuple[str, str, int, int]]:
    """(state, severity, start, at) of every change that the flow in one process announces."""
    moved: set[tuple[str, str, int, int]] = set()
    flow = LocalFlow(
        compile_plan(load_config(path)),
        partitions=PARTITIONS,
        on_alert=lambda t: moved.add(
            (t.alert.state, t.alert.labels["severity"], t.alert.starts_at_ms, t.at_ms)
        ),
    )
    for partition, log in values.items():
        timestamps = np.full(len(log), -1, dtype=np.int64)
        flow.feed("requests", partition, Records(log, np.arange(len(log)), timestamps))
    return moved


def announced(kafka: Broker, app: str) -> set[tuple[str, str, int, int]]:
    """The same, read from the alerts topic, with repeats dropped."""
    alerts = [json.loads(record.value) for record in kafka.read_all(f"{app}-alerts")]
    return {
        (a["state"], a["labels"]["severity"], a["starts_at_ms"], a["at_ms"])
        for a in alerts
        if a["alertname"] == "ErrorBudgetBurn"
    }
