"""The app's own topics as somebody has changed them, before a start and while a worker runs.

Seen: `<app>-blocks` with one partition beside `<app>-partials` with four: forty seconds of silence, then a
trace of 76 lines. Blocks deleted as the docs tell: the worker ended, and never started again.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.test_worker import configuration, every_second, source, wait_for_outcomes
from tests.services.kafka import Broker
from tests.services.process import free_ports, wait_until
from tests.services.worker import ROOT, WorkerProcess

START_S = 1_779_000_000
COMPACT = {"cleanup.policy": "compact"}


def run_to_its_end(folder: Path, config: dict[str, Any]) -> tuple[int, str]:
    """Exit code and log of a worker that is not expected to stay."""
    (port,) = free_ports(1)
    path = folder / "worker.yaml"
    path.write_text(yaml.safe_dump({**config, "web": {"host": "127.0.0.1", "port": port}}))
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "worker", "-c", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.fixture
def app(topic_name: Callable[[str], str]) -> str:
    return topic_name("own")


@pytest.fixture
def config(kafka: Broker, app: str, topic_name: Callable[[str], str], tmp_path: Path) -> dict[str, Any]:
    topic = kafka.create_topic(topic_name("requests"))
    return configuration(kafka.bootstrap, app, tmp_path, {"requests": source(topic)})


@pytest.mark.parametrize(
    ("name", "partitions", "settings", "told"),
    [
        ("blocks", 2, {}, "expected cleanup.policy compact, found delete"),
        ("labels", 1, {}, "expected cleanup.policy compact, found delete"),
        (
            "models",
            1,
            {"cleanup.policy": "compact,delete"},
            "expected cleanup.policy compact, found compact,del",
        ),
        ("incidents", 2, {}, "expected cleanup.policy compact, found delete"),
        ("partials", 2, COMPACT, "expected cleanup.policy delete, found compact"),
        ("partials", 2, {"retention.ms": "60000"}, "expected retention.ms at least 3600000, found 60000"),
        (
            "dead-letters",
            2,
            {"max.message.bytes": "9999"},
            "expected max.message.bytes at least 1048576, found 9999",
        ),
        ("alerts", 2, {"min.insync.replicas": "2"}, "expected min.insync.replicas at most 1, found 2"),
    ],
)
def test_a_topic_that_a_worker_cannot_work_with_is_named(
    kafka: Broker,
    app: str,
    config: dict[str, Any],
    tmp_path: Path,
    name: str,
    partitions: int,
    settings: dict[str, str],
    told: str,
) -> None:
    kafka.create_topic(f"{app}-{name}", partitions, settings)
    code, log = run_to_its_end(tmp_path, config)
    (line,) = [line for line in log.splitlines() if "ERROR" in line]
    assert code == 1
    assert f"topic {app}-{name}: {told}" in line
    assert f"--entity-name {app}-{name} --add-config" in line
    assert "Traceback" not in log


def test_blocks_of_another_number_of_partitions_are_named(
    kafka: Broker, app: str, config: dict[str, Any], tmp_path: Path
) -> None:
    kafka.create_topic(f"{app}-partials", 4)
    kafka.produce(kafka.create_topic(f"{app}-blocks", 1, COMPACT), [b"a block"], key=b"key")
    code, log = run_to_its_end(tmp_path, config)
    assert code == 1
    assert f"topic {app}-blocks: expected 4 partitions, as {app}-partials has, found 1" in log
    assert "Traceback" not in log


def test_more_replicas_than_brokers_are_named(config: dict[str, Any], tmp_path: Path) -> None:
    config["broker"]["replication"] = 3
    code, log = run_to_its_end(tmp_path, config)
    assert code == 1
    assert "expected at least as many brokers as broker.replication 3, found 1" in log
    assert "Traceback" not in log


def test_partitions_that_are_lacking_are_added_where_nothing_is_lost(
    kafka: Broker, app: str, config: dict[str, Any], tmp_path: Path
) -> None:
    """And what is missing is made as the partials are, whatever the configuration says of partitions."""
    kafka.create_topic(f"{app}-partials", 3)
    kafka.create_topic(f"{app}-blocks", 1, COMPACT)
    kafka.produce(kafka.create_topic(f"{app}-alerts", 1), [b"an alert"])
    with WorkerProcess(config, folder=tmp_path) as worker:
        worker.wait_until_ready()
        for name in ("blocks", "alerts", "slis"):
            assert len(kafka.partitions(f"{app}-{name}")) == 3
        assert f"Topic {app}-alerts had 1 partitions, and has been given 3" in worker.log_tail()


@pytest.mark.parametrize("running", [True, False], ids=["while a worker runs", "while none runs"])
def test_blocks_that_are_deleted_are_made_anew(
    kafka: Broker, app: str, config: dict[str, Any], tmp_path: Path, running: bool
) -> None:
    topic = config["sources"]["requests"]["topic"]
    with WorkerProcess(config, folder=tmp_path) as worker:
        worker.wait_until_ready()
        kafka.produce(topic, every_second(START_S, 100), partition=0)
        wait_for_outcomes(worker, {"in": 100})
        if not running:
            worker.stop()
        kafka.delete_topic(f"{app}-blocks")
        if running:
            again = f"{app}-blocks was deleted, and has been made anew"
            wait_until(lambda: again in worker.log_tail(), timeout_s=60, what="blocks made anew")
        else:
            worker.start()
            worker.wait_until_ready()
        kafka.produce(topic, every_second(START_S + 100, 200), partition=0)
        wait_until(lambda: len(kafka.partitions(f"{app}-blocks")) == 2, timeout_s=30, what="blocks")
        wait_until(lambda: bool(kafka.read_all(f"{app}-blocks")), timeout_s=60, what="a block")
        assert worker.running
