"""The benchmarks run, and say what their readers rely on; the figures themselves are no test's business."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.services.kafka import Broker

ROOT = Path(__file__).resolve().parents[2]


def run(program: str, *arguments: str, broker: Broker | None = None) -> Any:
    """Return the one JSON object that a benchmark prints."""
    environment = {"STREAMGAUGE_TEST_BROKER": broker.bootstrap} if broker else {}
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / program), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_throughput_of_worker_faust_and_raw_loop(kafka: Broker) -> None:
    report = run("throughput.py", "--events", "20000", "--peers", "streamgauge,faust,raw", broker=kafka)
    assert set(report) == {"machine", "broker", "events", "rows", "ratios"}
    assert report["events"] == 20_000
    assert set(report["rows"]) == {"streamgauge", "faust", "raw"}
    for row in report["rows"].values():
        assert set(row) == {"events_per_second", "cpu_seconds_per_million"}
        assert min(row.values()) > 0
    ours = report["rows"]["streamgauge"]["events_per_second"]
    for peer in ("faust", "raw"):
        assert report["ratios"][f"vs_{peer}"] == pytest.approx(
            ours / report["rows"][peer]["events_per_second"], abs=0.01
        )


def test_throughput_refuses_a_peer_it_does_not_know() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "throughput.py"), "--peers", "flink"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "unknown peers flink; peers are: streamgauge, faust, quix, raw" in done.stderr


def test_memory_of_a_series() -> None:
    report = run("memory.py", "--series", "1000")
    assert {kind: set(sizes) for kind, sizes in report["rows"].items()} == {
        kind: {"1000"} for kind in ("long", "short", "latency")
    }


def test_latency_from_producer_to_page(kafka: Broker) -> None:
    report = run("latency.py", "--seconds", "3", "--rate", "2000", broker=kafka)
    visible = report["visible_seconds"]
    assert 0 < visible["p50"] <= visible["p99"]
    assert report["scrape_seconds"]["median"] > 0
