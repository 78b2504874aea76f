"""The examples as a user runs them, on files written by real servers, against counts by other means."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet
import pytest

from streams.compile.check import check_paths

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

STATUS = re.compile(rb'" ([0-9]{3}) ')


def replay(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run `streamgauge replay` in a process of its own; return the summary."""
    command = [sys.executable, "-m", "streams.cli", "replay", *arguments, "--output", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def test_all_examples_hold() -> None:
    report = check_paths([EXAMPLES])
    assert report.problems == ()
    assert {Path(file).name for file in report.files} >= {"requests.yaml", "otlp.yaml", "access-log.yaml"}


def request(second: int, route: str, status: int, duration_ms: float) -> bytes:
    return orjson.dumps(
        {
            "ts": f"2026-05-17T10:{second // 60:02}:{second % 60:02}Z",
            "service": "shop-api",
            "route": route,
            "status": status,
            "duration_ms": duration_ms,
            "client": "203.0.113.14",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        }
    )


def test_requests(tmp_path: Path) -> None:
    lines = [request(second, "/api/products", 200, 40) for second in range(600)]
    lines += [request(600 + second, "/api/checkout", 503, 900) for second in range(30)]
    lines += [request(700, "/health", 500, 1), b"not JSON"]
    (tmp_path / "requests.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    summary = replay(
        tmp_path / "out", str(tmp_path / "requests.jsonl"), "-c", str(EXAMPLES / "requests.yaml")
    )
    assert {key: summary[key] for key in ("events", "good", "bad", "late", "dead")} == {
        "events": 631,
        "good": 600,
        "bad": 30,
        "late": 0,
        "dead": 1,
    }
    assert [(slo["slo"], slo["bad"]) for slo in summary["slos"]] == [("availability", 30), ("latency", 30)]
    assert [(entry["labels"] or {}).get("route") for entry in summary["series"]] == [
        "/api/checkout",
        "/api/products",
        None,
    ]
    alerts = [json.loads(line) for line in (tmp_path / "out" / "alerts.jsonl").read_bytes().splitlines()]
    assert {alert["labels"]["slo"] for alert in alerts if alert["state"] == "firing"} >= {"availability"}
    (dead,) = (tmp_path / "out" / "dead-letters.jsonl").read_bytes().splitlines()
    assert json.loads(dead)["offset"] == 631


@pytest.mark.parametrize("packing", ["as it is", "standard input"])
def test_a_real_access_log(data_dir: Path, tmp_path: Path, packing: str) -> None:
    log = data_dir / "access_logs" / "apache_logs.log.gz"
    lines = gzip.decompress(log.read_bytes()).splitlines()
    failed = sum(match[1].startswith(b"5") for line in lines if (match := STATUS.search(line)))
    if packing == "as it is":
        summary = replay(tmp_path, str(log), "-c", "examples/access-log.yaml")
    else:
        command = [sys.executable, "-m", "streams.cli", "replay", "-", "-c", "examples/access-log.yaml"]
        with log.open("rb") as stdin:
            done = subprocess.run(
                [*command, "--json", "--output", str(tmp_path)],
                cwd=ROOT,
                stdin=stdin,
                capture_output=True,
                timeout=120,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert summary["events"] + summary["late"] + summary["dead"] == len(lines)
    assert summary["late"] == 0
    assert (summary["good"], summary["bad"]) == (summary["events"] - failed, failed)
    table = pyarrow.parquet.read_table(tmp_path / "slis.parquet").to_pylist()
    last = [row for row in table if row["slo"] == "availability" and row["window"] == "30d"][-1]
    assert (last["good"], last["total"]) == (summary["good"], len(lines))
    assert last["ratio"] == pytest.approx(summary["good"] / len(lines))


@pytest.mark.parametrize("kind", ["combined", "timed", "upstream", "json"])
def test_nginx_logs_with_garbage(data_dir: Path, tmp_path: Path, kind: str) -> None:
    truth = json.loads((data_dir / "wire" / "nginx.truth.json").read_text())
    log = data_dir / "wire" / f"nginx-{kind}.log.gz"
    summary = replay(tmp_path, str(log), "-c", "examples/access-log.yaml")
    assert (summary["events"], summary["late"], summary["dead"]) == (truth["lines"], 0, 0)
    assert summary["bad"] == sum(count for status, count in truth["status"].items() if status >= "500")
    (latency,) = [slo for slo in summary["slos"] if slo["slo"] == "latency"]
    assert latency["total"] == (0 if kind == "combined" else truth["lines"])


@pytest.mark.parametrize("encoding", ["otlp_json", "otlp_proto", "otlp_proto-zstd-keyed"])
@pytest.mark.parametrize(("signal", "source"), [("metrics",) * 2, ("logs",) * 2, ("traces", "spans")])
def test_what_a_collector_wrote(
    data_dir: Path, tmp_path: Path, signal: str, source: str, encoding: str
) -> None:
    capture = data_dir / "wire" / f"otel-{signal}-{encoding}.jsonl.gz"
    truth = json.loads((data_dir / "wire" / f"otel-{signal}-{encoding}.truth.json").read_text())
    summary = replay(
        tmp_path,
        *(str(capture), "-c", "examples/otlp.yaml", "--source", source),
        *("--format", encoding.split("-")[0]),
    )
    assert (summary["events"], summary["late"], summary["dead"]) == (truth["total"], 0, 0)
    if signal == "traces":
        counts = truth["counts"]
        assert summary["bad"] == sum(n for name, n in counts.items() if "SERVER status 2" in name)
        assert summary["good"] + summary["bad"] == sum(n for name, n in counts.items() if "SERVER" in name)


def test_a_replay_is_the_same_each_time(data_dir: Path, tmp_path: Path) -> None:
    log = data_dir / "wire" / "nginx-timed.log.gz"
    for folder in ("one", "two"):
        replay(tmp_path / folder, str(log), "-c", "examples/access-log.yaml")
    names = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert names == [
        "alerts.jsonl",
        "anomalies.jsonl",
        "dead-letters.jsonl",
        "incidents.jsonl",
        "slis.parquet",
        "summary.json",
    ]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
