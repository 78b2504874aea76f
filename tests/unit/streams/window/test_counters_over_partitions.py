"""Counters whose points a collector spread over partitions: increases as if all lay in one."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from streams.config.load import load_config
from streams.offline.replay import replay_files

CONFIG = """\
sources:
  metrics: {topic: metrics, format: FORMAT, signal: metrics, series: [service.name, metric]}
"""


def counted(capture: Path) -> Counter[tuple[str, str]]:
    """Events of each service and metric by a walk over the JSON: increases where cumulative, else points."""
    counts: Counter[tuple[str, str]] = Counter()
    totals: dict[tuple[str, ...], dict[int, float]] = defaultdict(dict)
    for line in gzip.decompress(capture.read_bytes()).splitlines():
        for scoped in json.loads(base64.b64decode(json.loads(line)["value_b64"]))["resourceMetrics"]:
            resource = scoped["resource"]["attributes"]
            (service,) = (a["value"]["stringValue"] for a in resource if a["key"] == "service.name")
            for metric in (metric for scope in scoped["scopeMetrics"] for metric in scope["metrics"]):
                ((kind, body),) = ((k, v) for k, v in metric.items() if isinstance(v, dict))
                for point in body["dataPoints"]:
                    total = float(point.get("asInt", point.get("asDouble", point.get("count"))))
                    if kind == "gauge" or (kind == "sum" and not body.get("isMonotonic")):
                        counts[service, metric["name"]] += 1
                        continue
                    if body["aggregationTemporality"] == 1:
                        counts[service, metric["name"]] += round(total)
                        continue
                    of = json.dumps(point.get("attributes", []), sort_keys=True)
                    key = (service, metric["name"], json.dumps(resource, sort_keys=True), of)
                    totals[key][int(point["timeUnixNano"])] = total
    for (service, name, *_), by_time in totals.items():
        before = 0.0  # all began while the capture ran
        for _, total in sorted(by_time.items()):
            counts[service, name] += round(total - before if total >= before else total)
            before = total
    return counts


@pytest.mark.parametrize("encoding", ["otlp_json", "otlp_proto", "otlp_proto-zstd-keyed"])
def test_what_a_collector_sent_counts_alike_keyed_or_not(
    data_dir: Path, tmp_path: Path, encoding: str
) -> None:
    config = tmp_path / "streamgauge.yaml"
    config.write_text(CONFIG.replace("FORMAT", encoding.partition("-")[0]))
    capture = data_dir / "wire" / f"otel-metrics-{encoding}.jsonl.gz"
    summary = replay_files([capture], load_config(config), tmp_path / "out", table_format="jsonl")
    found: Any = {
        (series["labels"]["service.name"], series["labels"]["metric"]): series["events"]
        for series in summary["series"]
    }
    truth = counted(data_dir / "wire" / "otel-metrics-otlp_json.jsonl.gz")
    assert found == truth
    assert (
        truth["api", "http.server.request.duration"],
        truth["checkout", "http.server.request.duration"],
    ) == (60, 60)
