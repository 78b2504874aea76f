"""The notebook that reads SLIs, with a real Kafka and a real Prometheus that hold the same as a replay."""

from __future__ import annotations

import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest
import yaml

from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.judge.slo_judge import SliReport
from streams.kafka.topics import TopicError
from streams.offline.files import read_records
from streams.offline.flow import LocalFlow
from streams.offline.kafka_slis import slis_from_kafka, slis_from_topic
from streams.offline.prometheus import POINTS_MAX, PrometheusError, query_range
from streams.worker.window_stage import encode_report
from tests.services.kafka import Broker
from tests.services.process import require_program
from tests.services.prometheus import Prometheus, scrape_config
from tests.services.topics import unique_name

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "read_slis.py"
SOURCES = ("replay", "Kafka", "Prometheus")


@pytest.fixture(scope="module")
def replayed() -> dict[str, Any]:
    """The notebook without settings: only the replay is read."""
    matplotlib.use("Agg")
    return runpy.run_path(str(NOTEBOOK))


@pytest.fixture(scope="module")
def configuration(kafka: Broker, replayed: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an app whose topic holds what a worker publishes of the same log."""
    reports: list[SliReport] = []
    plan = compile_plan(load_config(replayed["EXAMPLE"]))
    flow = LocalFlow(plan, on_slis=reports.append)
    for _, partition, records in read_records(replayed["FOLDER"] / "access.log"):
        flow.feed(next(iter(plan.sources)), partition, records)
    flow.finish()
    app = unique_name("slis")
    topic = kafka.create_topic(f"{app}-slis", 2)
    for partition in range(2):
        mine = [
            part for one in reports if one.at_ms // 60_000 % 2 == partition for part in encode_report(one)
        ]
        kafka.produce(topic, mine, partition=partition)
    path = tmp_path_factory.mktemp("config") / "streamgauge.yaml"
    source = {"topic": "access", "format": "access_log"}
    path.write_text(
        yaml.safe_dump(
            {"app": app, "broker": {"bootstrap": [kafka.bootstrap]}, "sources": {"access": source}}
        )
    )
    return path


@pytest.fixture(scope="module")
def prometheus(replayed: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Its storage filled with the SLIs of the replay."""
    lines = ["# TYPE streamgauge_sli_ratio gauge"]
    slis = replayed["slis"].drop_duplicates(["time", "slo", "window"]).sort_values(["slo", "window", "time"])
    for row in slis.dropna(subset="ratio").itertuples():
        labels = f'service="{row.service}",slo="{row.slo}",window="{row.window}"'
        lines.append(f"streamgauge_sli_ratio{{{labels}}} {row.ratio!r} {row.time.timestamp():.3f}")
    text = tmp_path_factory.mktemp("openmetrics") / "slis.txt"
    text.write_text("\n".join([*lines, "# EOF", ""]))
    server = Prometheus(scrape_config(), flags=("--storage.tsdb.retention.time=50y",))
    promtool = require_program("promtool", package="prometheus", purpose="A Prometheus with a past")
    blocks = ["tsdb", "create-blocks-from", "openmetrics", str(text), str(server.folder / "data")]
    subprocess.run([promtool, *blocks], check=True, capture_output=True, timeout=60)
    with server:
        yield server


def test_all_three_sources_give_the_same_slis_and_the_same_verdict(
    replayed: dict[str, Any], configuration: Path, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIS_CONFIG", str(configuration))
    monkeypatch.setenv("SLIS_PROMETHEUS", prometheus.url)
    plt.close("all")
    seen = runpy.run_path(str(NOTEBOOK))
    assert tuple(seen["sources"]) == SOURCES
    assert len(plt.gcf().axes) == len(SOURCES)
    key = ["time", "slo", "window"]
    tables = {
        name: table.drop_duplicates(key).set_index(key)["ratio"].sort_index()
        for name, table in seen["sources"].items()
    }
    pd.testing.assert_series_equal(tables["Kafka"], tables["replay"])
    pd.testing.assert_series_equal(tables["Prometheus"], tables["replay"], check_index_type=False)
    incident = seen["INCIDENT"]
    for name in SOURCES:
        assert incident.start < seen["first"][name] < incident.end


async def test_since_and_a_running_loop(replayed: dict[str, Any], configuration: Path) -> None:
    config = load_config(configuration)
    half = replayed["slis"]["time"].median()
    late = await slis_from_topic(config, since=half)
    assert late["time"].min() >= half
    assert 0 < len(late) < len(slis_from_kafka(config)), "which also works where a loop is running"


def test_an_app_without_a_topic_is_said(configuration: Path, kafka: Broker) -> None:
    config = load_config(configuration).model_copy(update={"app": "nobody"})
    with pytest.raises(TopicError, match="topic nobody-slis: expected a topic of the broker, found none"):
        slis_from_kafka(config)


def test_a_long_range_is_asked_for_in_parts(replayed: dict[str, Any], prometheus: Prometheus) -> None:
    slis = replayed["slis"]
    start, end = slis["time"].min(), slis["time"].max()
    step = (end - start) / (1.5 * POINTS_MAX)
    query = 'streamgauge_sli_ratio{slo="availability",window="5m"}'
    found = query_range(prometheus.url, query, start=start, end=end, step=step.floor("ms"))
    assert len(found) > POINTS_MAX
    assert found["time"].is_monotonic_increasing
    assert found["time"].is_unique
    assert list(found.columns) == ["time", "__name__", "service", "slo", "window", "value"]


def test_a_wrong_query_is_said_in_prometheus_own_words(prometheus: Prometheus) -> None:
    at = pd.Timestamp("2026-03-02", tz="UTC")
    with pytest.raises(PrometheusError, match=r"400, .*parse error"):
        query_range(prometheus.url, "rate(", start=at, end=at, step=pd.Timedelta("1m"))
    nothing = query_range(prometheus.url, "absent_metric", start=at, end=at, step=pd.Timedelta("1m"))
    assert list(nothing.columns) == ["time", "value"]
    assert nothing.empty
