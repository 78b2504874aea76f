"""A worker among its real peers: Kafka before it, Alertmanager and Prometheus behind it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics

from tests.services.alertmanager import Alertmanager
from tests.services.http import get_text
from tests.services.kafka import Broker, KafkaBroker
from tests.services.process import MissingServiceError, wait_until
from tests.services.prometheus import Prometheus, promtool_check_metrics, scrape_config
from tests.services.worker import ROOT, Samples, WorkerProcess

MINUTE = 60
BURN, MISSING = "ErrorBudgetBurn", "TelemetryMissing"
ENDS_WITHIN_S = 30.0
"""How long a worker may take to end on a busy machine; alone it takes two seconds."""


def slo(source: str) -> dict[str, Any]:
    """99 % of a source's events are no server errors."""

    def metric(spec: dict[str, str]) -> dict[str, Any]:
        return {"metricSource": {"type": "streamgauge", "spec": {"source": source, **spec}}}

    ratio = {"good": metric({"where": "status < 500"}), "total": metric({})}
    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": {"name": "availability"},
        "spec": {
            "service": "shop",
            "indicator": {"metadata": {"name": "answered"}, "spec": {"ratioMetric": ratio}},
            "timeWindow": [{"duration": "30d", "isRolling": True}],
            "budgetingMethod": "Occurrences",
            "objectives": [{"displayName": "answered", "target": 0.99}],
        },
    }


def source(topic: str, **settings: Any) -> dict[str, Any]:
    return {
        "topic": topic,
        "format": "json",
        "time": {"field": "ts", "format": "epoch_ms"},
        "fields": {"duration": {"path": "ms", "unit": "ms"}},
        "series": ["route"],
        "error": "status >= 500",
        "duration": "duration",
        "lateness": "20s",
        "trace_id": "trace",
        **settings,
    }


def configuration(
    bootstrap: str, app: str, folder: Path, sources: dict[str, Any], **sections: Any
) -> dict[str, Any]:
    """A configuration whose first source has an SLO."""
    (folder / "slo.yaml").write_text(yaml.safe_dump(slo(next(iter(sources)))))
    broker = {
        "bootstrap": [bootstrap],
        "session_timeout": "3s",
        "heartbeat_interval": "500ms",
        "partitions": 2,
        **sections.pop("broker", {}),
    }
    return {"app": app, "broker": broker, "sources": sources, "slos": ["slo.yaml"], **sections}


def event(at_s: float, status: int = 200, route: str = "/", duration_ms: float = 20.0) -> bytes:
    trace = f"{int(at_s * 1000):032x}"
    return json.dumps(
        {"ts": int(at_s * 1000), "status": status, "route": route, "ms": duration_ms, "trace": trace}
    ).encode()


def every_second(start_s: float, duration_s: int, status: int = 200) -> list[bytes]:
    return [event(start_s + n, status, f"/{n % 2}", 10.0 + n % 90) for n in range(duration_s)]


def outcomes(worker: WorkerProcess, source: str = "requests") -> dict[str, int]:
    """Events of a source by outcome, zeros left out."""
    return {
        dict(labels)["outcome"]: int(value)
        for (name, labels), value in worker.samples().items()
        if name == "streamgauge_events_total" and dict(labels)["source"] == source and value
    }


def wait_for_outcomes(worker: WorkerProcess, expected: dict[str, int], source: str = "requests") -> None:
    wait_until(
        lambda: outcomes(worker, source) == expected,
        timeout_s=60,
        pause_s=0.3,
        what=f"outcomes {expected} of {source}",
    )


def standing(worker: WorkerProcess) -> Samples:
    """All that a restart must not change: totals, windows, budgets, alerts."""
    of_the_process = ("_refused_batches", "_alert_deliveries", "_consumer_lag", "_watermark")
    return {
        (name, labels): value
        for (name, labels), value in worker.samples().items()
        if name.startswith("streamgauge_") and not any(part in name for part in of_the_process)
    }


def exemplars(worker: WorkerProcess) -> dict[tuple[str, str], tuple[str, float]]:
    """(trace id, seconds) by metric and route, as a scraper that speaks OpenMetrics gets them."""
    page = get_text(f"{worker.url}/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    return {
        (sample.name, sample.labels["route"]): (sample.exemplar.labels["trace_id"], sample.exemplar.value)
        for family in parse_open_metrics(page)
        for sample in family.samples
        if sample.exemplar is not None
    }


def test_an_incident_fires_is_repeated_survives_a_restart_and_resolves_once(
    kafka: Broker,
    topic_name: Callable[[str], str],
    tmp_path: Path,
    alertmanager: Alertmanager,
    prometheus_factory: Callable[..., Prometheus],
) -> None:
    topic, app = kafka.create_topic(topic_name("requests")), topic_name("incident")
    config = configuration(
        kafka.bootstrap,
        app,
        tmp_path,
        {"requests": source(topic)},
        sinks={"alertmanager": {"url": alertmanager.url, "repeat": "5s"}},
        alerting={
            "missing_after": "1d",
            "tiers": [{"severity": "page", "long": "1h", "short": "5m", "factor": 14.4}],
        },
        web={"url": "https://slo.example.org/shop/"},
    )
    began = time.time() // 10 * 10 - 180 * MINUTE
    kafka.produce(
        topic, every_second(began, 30 * MINUTE) + every_second(began + 30 * MINUTE, 10 * MINUTE, 503)
    )
    with WorkerProcess(config, folder=tmp_path) as worker:
        worker.wait_until_ready()
        prometheus = prometheus_factory(scrape_config(worker.url.removeprefix("http://")))

        alertmanager.wait_for(BURN, timeout_s=60)
        first = alertmanager.alert(BURN)
        assert first is not None
        assert first["labels"] == {
            "alertname": BURN,
            "service": "shop",
            "slo": "availability",
            "severity": "page",
        }
        assert first["generatorURL"] == "https://slo.example.org/shop"
        wait_until(
            lambda: _of(alertmanager, BURN)["endsAt"] > first["endsAt"], timeout_s=30, what="a later endsAt"
        )

        wait_for_outcomes(worker, {"in": 40 * MINUTE})
        page = get_text(f"{worker.url}/metrics")
        assert promtool_check_metrics(page) == []
        assert ("streamgauge_alerts", (("alertname", BURN), ("state", "firing"))) in worker.samples()
        found = exemplars(worker)
        bad = {f"{int((began + 30 * MINUTE + n) * 1000):032x}" for n in range(10 * MINUTE)}
        assert {found["streamgauge_request_errors_total", route][0] for route in ("/0", "/1")} <= bad
        prometheus.wait_for(f'streamgauge_alerts{{alertname="{BURN}",state="firing"}} == 1', timeout_s=30)
        assert prometheus.value('up{job="streamgauge"}') == 1
        assert [target["lastError"] for target in prometheus.targets()] == [""]

        before = standing(worker)
        assert len(before) > 40
        worker.kill()
        worker.start()
        worker.wait_until_ready()
        wait_until(lambda: standing(worker) == before, timeout_s=60, pause_s=0.3, what="the state as before")
        again = _of(alertmanager, BURN)
        assert (again["fingerprint"], again["startsAt"]) == (first["fingerprint"], first["startsAt"])

        kafka.produce(topic, every_second(began + 40 * MINUTE, 20 * MINUTE))
        alertmanager.wait_for(BURN, firing=False, timeout_s=60)
        alertmanager.webhook.wait_for(BURN, "resolved")
        wait_for_outcomes(worker, {"in": 60 * MINUTE})
    assert [each["status"] for each in alertmanager.webhook.alerts(BURN)] == ["firing", "resolved"]
    announced = [json.loads(record.value or b"") for record in kafka.read_all(f"{app}-alerts")]
    assert {(each["state"], each["labels"]["severity"]) for each in announced} == {
        ("firing", "page"),
        ("resolved", "page"),
    }


def _of(alertmanager: Alertmanager, name: str) -> dict[str, Any]:
    found = alertmanager.alert(name)
    assert found is not None, f"{name} is not firing"
    return found


@contextlib.contextmanager
def child(
    config: dict[str, Any], folder: Path, name: str, *options: str
) -> Iterator[tuple[WorkerProcess, subprocess.Popen[str]]]:
    """A worker as a direct child, whose exit code and words are seen."""
    worker = WorkerProcess(config, folder=folder, name=name)
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "worker", "-c", str(worker.path), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield worker, process
    finally:
        process.kill()
        process.communicate()


def test_every_codec_is_read_and_what_cannot_be_counted_is_kept(
    kafka: Broker, topic_name: Callable[[str], str], tmp_path: Path
) -> None:
    topic, app = kafka.create_topic(topic_name("requests")), topic_name("letters")
    config = configuration(kafka.bootstrap, app, tmp_path, {"requests": source(topic)})
    start = time.time() - 10 * MINUTE
    codecs = [None, "gzip", "snappy", "lz4", "zstd"]
    for number, codec in enumerate(codecs):
        kafka.produce(topic, every_second(start + 60 * number, 60), compression=codec)
    offset = 60 * len(codecs)
    broken = {
        offset: (b'{"ts": 1, "status', b"bad_json"),
        offset + 1: (b"\x00\xff\xfe", b"bad_json"),
        offset + 2: (b'{"status": 200}', b"missing_time"),
        offset + 3: (event(start - 60 * MINUTE), b"late"),
        offset + 4: (event(time.time() + 60 * MINUTE), b"future"),
    }
    kafka.produce(topic, [value for value, _ in broken.values()], compression="zstd")
    kafka.produce(topic, [None, event(start + 400)], key=b"deleted")
    with child(config, tmp_path, "letters") as (worker, process):
        wait_until(worker.ready, timeout_s=60, what="a ready worker")
        # A tombstone is no event, and not broken either.
        wait_for_outcomes(worker, {"in": offset + 1, "late": 1, "dead": 4})
        letters = {int(dict(r.headers)["offset"]): r for r in kafka.read_all(f"{app}-dead-letters")}
        assert set(letters) == set(broken)
        for at, (value, reason) in broken.items():
            headers = dict(letters[at].headers)
            assert headers["topic"] == topic.encode()
            assert (headers["partition"], headers["source"]) == (b"0", b"requests")
            assert (letters[at].value, headers["reason"]) == (value, reason)
            assert headers["detail"]

        process.send_signal(signal.SIGTERM)
        _, words = process.communicate(timeout=ENDS_WITHIN_S)
    assert process.returncode == 0, words
    assert "Traceback" not in words
    assert "ERROR" not in words


def test_a_source_that_appears_later_start_at_latest_and_a_silence(
    kafka: Broker, topic_name: Callable[[str], str], tmp_path: Path, alertmanager: Alertmanager
) -> None:
    topic, later, app = kafka.create_topic(topic_name("requests")), topic_name("later"), topic_name("silence")
    config = configuration(
        kafka.bootstrap,
        app,
        tmp_path,
        {"requests": source(topic), "jobs": source(later)},
        broker={"start_at": "latest"},
        alerting={"missing_after": "3s"},
        sinks={"alertmanager": {"url": alertmanager.url, "repeat": "5s"}},
    )
    kafka.produce(topic, every_second(time.time() - MINUTE, 20))
    with WorkerProcess(config, folder=tmp_path) as worker:
        wait_until(
            lambda: f"Waiting for topics that do not exist yet: {later}" in worker.log_tail(),
            timeout_s=30,
            what="a word about the missing topic",
        )
        kafka.create_topic(later)
        worker.wait_until_ready()
        kafka.produce(later, [event(time.time() - 10)] * 3)
        kafka.produce(topic, [event(time.time() - 10)] * 5)
        wait_for_outcomes(worker, {"in": 3}, "jobs")
        wait_for_outcomes(worker, {"in": 5})

        alertmanager.wait_for(MISSING, timeout_s=30)
        fired = _of(alertmanager, MISSING)
        assert fired["labels"] == {
            "alertname": MISSING,
            "service": "shop",
            "severity": "ticket",
            "source": "requests",
        }
        assert fired["generatorURL"] == worker.url
        worker.kill()
        worker.start()
        worker.wait_until_ready()
        wait_until(
            lambda: _of(alertmanager, MISSING)["updatedAt"] > fired["updatedAt"],
            timeout_s=30,
            what="a word of the new process",
        )
        assert _of(alertmanager, MISSING)["startsAt"] == fired["startsAt"]

        kafka.produce(topic, [event(time.time())])
        alertmanager.webhook.wait_for(MISSING, "resolved")
        wait_for_outcomes(worker, {"in": 6})
    told = [each["status"] for each in alertmanager.webhook.alerts(MISSING)]
    assert told[:2] == ["firing", "resolved"]
    states = [json.loads(record.value or b"")["state"] for record in kafka.read_all(f"{app}-alerts")]
    assert states[:2] == ["firing", "resolved"]


def test_a_worker_writes_nothing_where_it_is_started(
    kafka: Broker, topic_name: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, app = kafka.create_topic(topic_name("requests")), topic_name("tidy")
    config = configuration(kafka.bootstrap, app, tmp_path, {"requests": source(topic)})
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with child(config, tmp_path, "tidy") as (worker, process):
        wait_until(worker.ready, timeout_s=60, what="a ready worker")
        assert list(here.iterdir()) == []
        process.terminate()
        assert process.wait(ENDS_WITHIN_S) == 0
    assert list(here.iterdir()) == []


def words_of_a_failed_start(config: dict[str, Any], folder: Path) -> Sequence[str]:
    """What a worker says that ends by itself with exit code 1."""
    with child(config, folder, "failing", "--no-wait") as (_, process):
        _, words = process.communicate(timeout=60)
    assert process.returncode == 1, words
    lines: list[str] = words.splitlines()
    return lines


def test_a_broker_that_is_not_there_is_named_in_one_line(tmp_path: Path) -> None:
    config = configuration("127.0.0.1:1", "nowhere", tmp_path, {"requests": source("requests")})
    (line,) = words_of_a_failed_start(config, tmp_path)
    assert "Cannot reach the broker at 127.0.0.1:1" in line
    assert "broker.bootstrap" in line


def test_a_session_timeout_that_the_broker_refuses_ends_the_worker(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        try:
            broker = stack.enter_context(KafkaBroker(settings={"group.min.session.timeout.ms": "6000"}))
        except MissingServiceError as error:
            pytest.skip(str(error))
        topic = broker.create_topic("requests")
        lines = words_of_a_failed_start(
            configuration(broker.bootstrap, "impatient", tmp_path, {"requests": source(topic)}), tmp_path
        )
    (said,) = [line for line in lines if "Cannot join the consumer group impatient" in line]
    assert "broker.session_timeout 3 s" in said
    assert "group.min.session.timeout.ms" in said
