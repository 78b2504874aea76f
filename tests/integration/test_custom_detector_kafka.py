"""A detector from a file outside the package in a real worker: it judges, and goes on after a kill."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.services.kafka import Broker
from tests.services.process import wait_until
from tests.services.topics import unique_name
from tests.services.worker import WorkerProcess
from tests.unit.custom_detector import install_detector

MINUTE_MS = 60_000


def test_it_judges_in_a_worker_and_knows_what_it_has_seen_after_a_kill(kafka: Broker, tmp_path: Path) -> None:
    app = unique_name("custom")
    topic = kafka.create_topic(f"{app}-requests", 1)
    config: dict[str, Any] = {
        "app": app,
        "broker": {
            "bootstrap": [kafka.bootstrap],
            "session_timeout": "6s",
            "heartbeat_interval": "1s",
            "partitions": 1,
        },
        "sources": {
            "requests": {
                "topic": topic,
                "format": "json",
                "time": {"field": "ts", "format": "epoch_ms"},
                "series": ["service"],
                "lateness": "0s",
            }
        },
        "detectors": {
            "custom": [{"name": install_detector(tmp_path), "source": "requests", "settings": {"times": 3}}]
        },
    }
    start_ms = int(time.time() * 1_000) // MINUTE_MS * MINUTE_MS - 120 * MINUTE_MS

    def feed(first: int, counts: list[int]) -> None:
        events = [
            {"ts": start_ms + minute * MINUTE_MS + number * 100, "service": "shop"}
            for minute, count in enumerate(counts, first)
            for number in range(count)
        ]
        kafka.produce(topic, [json.dumps(event).encode() for event in events], partition=0)

    def states() -> list[tuple[int, str]]:
        """When anomalies began and whether they are live, in the order in which they were told.

        A kill between an announcement and its block has it announced again, which readers tell by its key.
        """
        told = [json.loads(record.value or b"") for record in kafka.read_all(f"{app}-anomalies")]
        assert {alert["alertname"] for alert in told} <= {"CustomAnomaly"}
        moved = [((alert["starts_at_ms"] - start_ms) // MINUTE_MS, alert["state"]) for alert in told]
        return list(dict.fromkeys(moved))

    worker = WorkerProcess(config, folder=tmp_path, packages=[tmp_path])
    with worker:
        worker.wait_until_ready()  # by then its topics are there
        feed(0, [5] * 40 + [50] * 3)
        wait_until(lambda: states() == [(41, "firing")], timeout_s=60, what="the surge")
        worker.kill()
        # 16 a minute is a surge only to who still knows of the 5, and the first one must not begin again
        feed(43, [5] * 10 + [16] * 3 + [5])
        worker.start()
        begun_ended_begun = [(41, "firing"), (41, "resolved"), (54, "firing")]
        wait_until(lambda: states() == begun_ended_begun, timeout_s=60, what="what comes after the kill")
