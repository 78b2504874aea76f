"""The processes of docker-compose.yaml without containers: Kafka, two workers, Prometheus, Alertmanager.

Each runs on the very file that the compose file mounts; only addresses and names of topics are this test's.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.services.alertmanager import Alertmanager
from tests.services.kafka import Broker
from tests.services.process import wait_until
from tests.services.prometheus import Prometheus
from tests.services.worker import WorkerProcess

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"

REQUESTS, FAILED = 2000, 200
SPAN_MS = 600_000
"""Long enough for most buckets to be final, since alerts are judged on these."""
PARTITIONS = 8


def requests() -> list[bytes]:
    """Events of the last ten minutes, every tenth of which failed."""
    now_ms = int(time.time() * 1000)
    return [
        json.dumps(
            {
                "ts": now_ms - SPAN_MS + number * SPAN_MS // REQUESTS,
                "service": "shop-api",
                "route": f"/api/{number % 7}",
                "status": 503 if number % (REQUESTS // FAILED) == 0 else 200,
                "duration_ms": 40.0,
                "client": f"203.0.113.{number % 50}",
            }
        ).encode()
        for number in range(REQUESTS)
    ]


def prometheus_config(workers: list[WorkerProcess], alertmanager: Alertmanager) -> dict[str, Any]:
    """`monitoring/prometheus.yml` with the test's addresses."""
    config: dict[str, Any] = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    addresses = {
        "worker-1:9464": workers[0].url,
        "worker-2:9464": workers[1].url,
        "alertmanager:9093": alertmanager.url,
    }
    config["global"] = dict.fromkeys(("scrape_interval", "evaluation_interval"), "1s")
    config["rule_files"] = ["sloth.yml", "workers.yml"]
    for entry in (*config["scrape_configs"], *config["alerting"]["alertmanagers"]):
        for static in entry.get("static_configs", []):
            static["targets"] = [addresses[target].removeprefix("http://") for target in static["targets"]]
    return config


def test_the_set_up_counts_and_shows_an_slo(
    kafka: Broker,
    topic_name: Callable[[str], str],
    prometheus_factory: Callable[..., Prometheus],
    tmp_path: Path,
) -> None:
    config = yaml.safe_load((MONITORING / "streamgauge.yaml").read_text())
    topic = topic_name("requests")
    kafka.create_topic(topic, partitions=PARTITIONS)
    shutil.copytree(MONITORING / "slos", tmp_path / "slos")
    config["app"] = topic_name("shop")
    config["broker"]["bootstrap"] = kafka.bootstrap
    config["sources"]["requests"]["topic"] = topic
    with Alertmanager((MONITORING / "alertmanager.yml").read_text()) as alertmanager:
        config["sinks"]["alertmanager"]["url"] = alertmanager.url
        workers = [WorkerProcess(config, folder=tmp_path, name=f"worker-{number}") for number in (1, 2)]
        with workers[0], workers[1]:
            for worker in workers:
                worker.wait_until_ready()
            kafka.produce(topic, requests())
            prometheus = prometheus_factory(
                prometheus_config(workers, alertmanager),
                files={path.name: path.read_text() for path in (MONITORING / "rules").glob("*.yml")},
            )
            counted = 'sum(streamgauge_events_total{outcome="in"})'
            prometheus.wait_for(f"{counted} == {REQUESTS}", timeout_s=60)
            assert {sample["value"][1] for sample in prometheus.query('up{job="streamgauge"}')} == {"1"}
            error = 'slo:sli_error:ratio_rate5m{sloth_id="shop-availability"}'
            prometheus.wait_for(f"{error} > 0", timeout_s=60)
            assert prometheus.value(error) == pytest.approx(FAILED / REQUESTS, abs=0.01)
            wait_until(
                lambda: any(
                    alert["labels"].get("alertname") == "ErrorBudgetBurn" for alert in alertmanager.alerts()
                ),
                timeout_s=60,
                what="the alert in Alertmanager",
            )
