"""What people say to a running worker through Kafka: labels of anomalies, and models that they promote."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from models.registry.manifest import Announcement
from streams.cli import app as command_line
from streams.config.load import load_config
from streams.kafka.compacted import announce
from tests.services.http import get_text
from tests.services.kafka import Broker
from tests.services.process import wait_until
from tests.services.topics import unique_name
from tests.services.worker import WorkerProcess

MINUTE_MS = 60_000
START_MS = int(time.time() * 1_000) // MINUTE_MS * MINUTE_MS - 180 * MINUTE_MS
LABELLED, OTHER = "198.51.100.7", "203.0.113.9"
ORDINARY = [f"192.0.2.{number}" for number in range(1, 21)]
MODEL = "security-client"

SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: availability}
spec:
  service: shop
  indicator:
    metadata: {name: availability}
    spec:
      ratioMetric:
        bad: {metricSource: {type: streamgauge, spec: {source: access, where: status >= 500}}}
        total: {metricSource: {type: streamgauge, spec: {source: access}}}
  timeWindow: [{duration: 1d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.9}]
"""


@dataclass
class Run:
    """A worker that watches a site's clients, and what is told to it."""

    kafka: Broker
    worker: WorkerProcess
    topic: str
    app: str

    def feed(self, first: int, last: int, *, guesses_from: int | None = None) -> None:
        """Minutes of requests; from one of them on, two clients guess passwords, one after the other."""
        events: list[dict[str, Any]] = [
            {
                "ts": START_MS + at_s * 1_000 + number * 40,
                "client": client,
                "path": f"/{(at_s + number) % 7}",
                "method": "GET",
                "status": 500 if at_s % 60 == 50 else 200,
            }
            for at_s in range(first * 60, last * 60, 10)
            for number, client in enumerate(ORDINARY)
        ]
        if guesses_from is not None:
            events += [
                {
                    "ts": START_MS + guesses_from * MINUTE_MS + late_s * 1_000 + 2_000 * number,
                    "client": client,
                    "path": "/login",
                    "method": "POST",
                    "status": 401,
                }
                for client, late_s in ((LABELLED, 0), (OTHER, 60))
                for number in range(15)
            ]
        events.sort(key=lambda event: event["ts"])
        self.kafka.produce(self.topic, [json.dumps(event).encode() for event in events], partition=0)

    def begun(self, client: str) -> list[int]:
        """When the client's anomalies began that are known by now, in minutes."""
        alerts = [json.loads(record.value or b"") for record in self.kafka.read_all(f"{self.app}-alerts")]
        starts = {
            alert["starts_at_ms"]
            for alert in alerts
            if alert["state"] == "firing" and alert["labels"].get("client") == client
        }
        return sorted((start - START_MS) // MINUTE_MS for start in starts)

    def metric(self, name: str, **labels: str) -> float:
        """The sum over all series that have these labels."""
        return sum(
            value
            for (sample, of), value in self.worker.samples().items()
            if sample == name and labels.items() <= dict(of).items()
        )

    def champion(self) -> str:
        """Version of the model in charge; empty for none."""
        for sample, of in self.worker.samples():
            labels = dict(of)
            if sample == "streamgauge_model_info" and (labels["model"], labels["role"]) == (
                MODEL,
                "champion",
            ):
                return labels["version"]
        return ""

    def incident_kinds(self) -> set[str]:
        """Kinds of the anomalies that have become incidents."""
        told = json.loads(get_text(f"{self.worker.url}/api/incidents"))
        return {kind for incident in (*told["open"], *told["closed"]) for kind in incident["kinds"] if kind}

    def say(self, *words: str) -> str:
        """What a command answers, given this worker's configuration."""
        done = CliRunner().invoke(command_line, [*words, "-c", str(self.worker.path)])
        assert done.exit_code == 0, done.output
        return done.stdout

    def wait(self, what: str, holds: Callable[[], bool]) -> None:
        wait_until(holds, timeout_s=60, pause_s=0.3, what=what)


@pytest.fixture(scope="module")
def run(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder, app = tmp_path_factory.mktemp("told"), unique_name("told")
    topic = kafka.create_topic(f"{app}-access", 1)
    (folder / "slo.yaml").write_text(SLO)
    broker = {"session_timeout": "6s", "heartbeat_interval": "1s", "partitions": 1}
    watch = {"source": "access", "prefix": False, "client": "client", "path": "path", "method": "method"}
    config: dict[str, Any] = {
        "app": app,
        "broker": {"bootstrap": [kafka.bootstrap], **broker},
        "sources": {"access": {"topic": topic, "format": "json", "time": "ts", "lateness": "10s"}},
        "slos": ["slo.yaml"],
        "detectors": {"security": [{**watch, "status": "status"}]},
        "models": {"url": "registry"},
    }
    with WorkerProcess(config, folder=folder) as worker:
        worker.wait_until_ready()
        yield Run(kafka, worker, topic, app)


def test_a_label_of_noise_quiets_that_series_and_no_other(run: Run) -> None:
    run.feed(0, 22, guesses_from=4)
    for client in (LABELLED, OTHER):
        run.wait(f"an anomaly of {client}", lambda client=client: bool(run.begun(client)))  # type: ignore[misc]
    run.wait("their end", lambda: run.metric("streamgauge_alerts", alertname="SecurityAnomaly") == 0)
    assert run.metric("streamgauge_anomaly_labels") == 0
    run.wait("the incidents", lambda: "brute force" in run.incident_kinds())

    at = str(START_MS + 4 * MINUTE_MS)
    series = ("--series", LABELLED, "--kind", "brute force")
    run.say("label", "noise", "--detector", "security", *series, "--from", at)
    run.wait(
        "the label",
        lambda: run.metric("streamgauge_anomaly_labels", detector="security", verdict="noise") == 1,
    )

    run.feed(22, 32, guesses_from=24)
    run.wait("an anomaly of who has no label", lambda: len(run.begun(OTHER)) == 2)
    assert [minute < 22 for minute in run.begun(LABELLED)] == [True]


def table(path: Path, seed: int) -> str:
    """Three hours of ordinary clients, a row for each minute."""
    random = np.random.default_rng(seed)
    minutes = pd.date_range("2026-01-01", periods=180, freq="min", tz="UTC").repeat(len(ORDINARY))
    requests = random.poisson(8, len(minutes))
    missing = random.binomial(requests, 0.05)
    columns = {"timestamp": minutes, "client": ORDINARY * 180, "requests": requests, "404": missing}
    pd.DataFrame({**columns, "4xx": missing, "get": requests}).to_parquet(path)
    return str(path)


def test_models_are_promoted_rolled_back_and_refused_without_a_gap(run: Run, tmp_path: Path) -> None:
    versions = []
    for seed in (1, 2):
        file = table(tmp_path / "clients.parquet", seed)
        words = ("--detector", "security", "--name", MODEL, "--by", "client")
        versions.append(json.loads(run.say("models", "train", file, *words, "--json"))["version"])
        run.say("models", "promote", MODEL, "latest", "--author", "ann")
        run.wait("the champion", lambda: run.champion() == versions[-1])
    run.say("models", "rollback", MODEL, "--reason", "a test")
    run.wait("the champion before", lambda: run.champion() == versions[0])
    assert run.metric("streamgauge_model_failures_total") == 0

    config = load_config(run.worker.path)
    (stored,) = config.resolve("registry").rglob(f"{versions[1]}/model.skops")
    stored.write_bytes(b"damaged")
    said = Announcement(run.app, MODEL, "champion", versions[1], "0" * 64, "registry", START_MS)
    asyncio.run(announce(config, said))
    run.wait(
        "the failure", lambda: run.metric("streamgauge_model_failures_total", model=MODEL, reason="hash") == 1
    )
    assert run.champion() == versions[0]

    counted = run.metric("streamgauge_requests_total")
    run.feed(40, 46)
    run.wait(
        "the events", lambda: run.metric("streamgauge_requests_total") == counted + 6 * 6 * len(ORDINARY)
    )
    bad_share = 1 - run.metric("streamgauge_sli_ratio", slo="availability", window="5m")
    assert bad_share == pytest.approx(1 / 6, abs=0.05)
    assert run.metric("streamgauge_detector_failures_total") == 0
