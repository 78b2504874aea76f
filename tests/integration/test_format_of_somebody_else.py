"""A worker reads a format that another package brings, and watches its lines and clients as any other's."""

from __future__ import annotations

import json
from pathlib import Path

from tests.contracts.format_samples import bunyan
from tests.services.kafka import Broker
from tests.services.packages import install_bunyan
from tests.services.process import wait_until
from tests.services.topics import unique_name
from tests.services.worker import WorkerProcess

START_MS = 1_779_000_000_000
EVENT_COUNT, STEP_MS = 120, 2_000


def test_a_worker_reads_a_format_of_another_package(kafka: Broker, tmp_path: Path) -> None:
    app = unique_name("bunyan")
    topic = kafka.create_topic(f"{app}-app", 1)
    events = [json.dumps(bunyan(START_MS + number * STEP_MS)).encode() for number in range(EVENT_COUNT)]
    kafka.produce(topic, [*events, b"no JSON"], partition=0)
    config = {
        "app": app,
        "broker": {"bootstrap": [kafka.bootstrap], "partitions": 1},
        "sources": {"app": {"topic": topic, "format": "bunyan", "series": ["service"], "lateness": "0s"}},
        "detectors": {"logs": [{"source": "app"}], "security": [{"source": "app"}]},
    }
    packages = [install_bunyan(tmp_path / "site")]
    expected = {
        ("streamgauge_requests_total", (("service", "shop"), ("source", "app"))): EVENT_COUNT,
        ("streamgauge_dead_letters_total", (("reason", "bad_json"), ("source", "app"))): 1,
        ("streamgauge_detector_series", (("detector", "logs"), ("source", "app"))): 1,
        ("streamgauge_alerts", (("alertname", "SecurityAnomaly"), ("state", "firing"))): 2,
    }
    with WorkerProcess(config, folder=tmp_path, packages=packages) as worker:
        worker.wait_until_ready()
        # guesses of a password: the client is told, and its network
        wait_until(lambda: expected.items() <= worker.samples().items(), timeout_s=60, what=str(expected))
