"""Files through the flow: which source reads them, and what comes out."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from streams.config.load import load_config
from streams.config.models import Config
from streams.offline.choose import ChoiceError, choose_sources, with_choice
from streams.offline.replay import replay_files

SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: NAME}
spec:
  service: shop
  indicator:
    metadata: {name: NAME}
    spec:
      ratioMetric:
        bad: {metricSource: {type: streamgauge, spec: {source: requests, where: WHERE}}}
        total: {metricSource: {type: streamgauge, spec: {source: requests}}}
  timeWindow: [{duration: 1d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.9}]
"""

CONFIG = """\
sources:
  requests: {topic: requests, format: json, time: ts, series: [route], error: status >= 500, lateness: 30s}
  jobs: {topic: jobs, format: json, time: ts, error: status >= 500}
slos: [slos.yaml]
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    slos = (("errors", "status >= 400"), ("availability", "status >= 500"))
    texts = [SLO.replace("NAME", name).replace("WHERE", where) for name, where in slos]
    (tmp_path / "slos.yaml").write_text("---\n".join(texts))
    (tmp_path / "streamgauge.yaml").write_text(CONFIG)
    return load_config(tmp_path / "streamgauge.yaml")


def event(second: int, status: int = 200, route: str = "/a") -> str:
    return json.dumps({"ts": 1_767_225_600_000 + 1_000 * second, "status": status, "route": route})


def captured(topic: str, partition: int, offset: int, value: str) -> str:
    return json.dumps(
        {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "timestamp": -1,
            "value_b64": base64.b64encode(value.encode()).decode(),
        }
    )


def written(folder: Path, name: str, lines: Sequence[str]) -> Path:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def totals(summary: dict[str, Any]) -> list[int]:
    return [summary[key] for key in ("events", "good", "bad", "late", "dead")]


def test_good_and_bad_are_those_of_the_availability_slo(config: Config, tmp_path: Path) -> None:
    file = written(tmp_path, "log", [event(0), event(1, 404), event(2, 500), event(3, 503)])
    summary = replay_files([file], with_choice(config, "requests", None), tmp_path / "out")
    assert totals(summary) == [4, 2, 2, 0, 0]
    assert [(slo["slo"], slo["bad"]) for slo in summary["slos"]] == [("errors", 3), ("availability", 2)]


def test_late_and_dead_are_counted_beside_the_series_and_kept_as_they_came(
    config: Config, tmp_path: Path
) -> None:
    lines = [event(0, route="/b"), event(100), event(1, 500), "no JSON", event(101, 500)]
    file = written(tmp_path, "log", lines)
    summary = replay_files([file], with_choice(config, "requests", None), tmp_path / "out")
    assert totals(summary) == [3, 2, 1, 1, 1]
    keys = ("labels", "events", "good", "bad", "late", "dead")
    assert [tuple(entry[key] for key in keys) for entry in summary["series"]] == [
        ({"route": "/a"}, 2, 1, 1, 0, 0),
        ({"route": "/b"}, 1, 1, 0, 0, 0),
        (None, 0, 0, 0, 1, 1),
    ]
    text = (tmp_path / "out" / "dead-letters.jsonl").read_text()
    letters = [json.loads(line) for line in text.splitlines()]
    assert {letter["offset"]: base64.b64decode(letter["value_b64"]).decode() for letter in letters} == {
        2: lines[2],
        3: "no JSON",
    }


def test_each_file_of_lines_is_a_partition_with_its_own_time(config: Config, tmp_path: Path) -> None:
    files = [
        written(tmp_path, name, [event(start), event(start + 1)]) for name, start in (("a", 500), ("b", 0))
    ]
    summary = replay_files(files, with_choice(config, "requests", None), tmp_path / "out")
    assert totals(summary) == [4, 4, 0, 0, 0]
    joined = written(tmp_path, "joined", "".join(file.read_text() for file in files).splitlines())
    summary = replay_files([joined], with_choice(config, "requests", None), tmp_path / "out")
    assert totals(summary) == [2, 2, 0, 2, 0]


def test_a_captures_topics_tell_the_sources(config: Config, tmp_path: Path) -> None:
    lines = [
        captured("requests", 0, 4, event(0, 500)),
        captured("jobs", 0, 9, event(0, 500)),
        captured("requests", 1, 4, event(900)),
        captured("jobs", 0, 10, event(1)),
    ]
    summary = replay_files([written(tmp_path, "taken", lines)], config, tmp_path / "out")
    assert totals(summary) == [4, 1, 1, 0, 0]
    assert {name: source["events"] for name, source in summary["sources"].items()} == {
        "requests": 2,
        "jobs": 2,
    }


def test_a_replay_does_not_depend_on_how_often_it_is_asked(config: Config, tmp_path: Path) -> None:
    file = written(
        tmp_path, "log", [event(second, 500 if second % 3 else 200) for second in range(0, 4_000, 5)]
    )
    for name in ("one", "two"):
        replay_files([file], with_choice(config, "requests", None), tmp_path / name)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    alerts = [json.loads(line) for line in (tmp_path / "one" / "alerts.jsonl").read_bytes().splitlines()]
    assert "firing" in {alert["state"] for alert in alerts}
    assert {alert["evidence"]["config"] for alert in alerts} == {
        with_choice(config, "requests", None).digest()
    }


def test_slis_have_counts_ratios_and_burn_rates(config: Config, tmp_path: Path) -> None:
    file = written(tmp_path, "log", [event(second, 500 if second < 60 else 200) for second in range(600)])
    replay_files([file], with_choice(config, "requests", None), tmp_path / "out")
    rows = pyarrow.parquet.read_table(tmp_path / "out" / "slis.parquet").to_pylist()
    last = [row for row in rows if row["slo"] == "availability" and row["window"] == "1h"][-1]
    assert (last["good"], last["total"]) == (540, 600)
    assert last["ratio"] == pytest.approx(0.9)
    assert last["burn_rate"] == pytest.approx(1.0)
    assert last["budget_remaining_ratio"] == pytest.approx(0.0, abs=1e-9)


def test_results_of_an_earlier_replay_are_replaced(config: Config, tmp_path: Path) -> None:
    file = written(tmp_path, "log", [event(0)])
    chosen = with_choice(config, "requests", None)
    replay_files([file], chosen, tmp_path / "out", table_format="csv")
    replay_files([file], chosen, tmp_path / "out", table_format="jsonl")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "alerts.jsonl",
        "anomalies.jsonl",
        "dead-letters.jsonl",
        "incidents.jsonl",
        "slis.jsonl",
        "summary.json",
    ]


def test_a_source_without_an_slo_is_judged_by_its_own_errors(config: Config, tmp_path: Path) -> None:
    file = written(tmp_path, "log", [event(0), event(1, 404), event(2, 500)])
    summary = replay_files([file], with_choice(config, "jobs", None), tmp_path / "out")
    assert totals(summary) == [3, 2, 1, 0, 0]
    assert summary["slos"] == []


def test_a_source_and_a_format_are_chosen(config: Config) -> None:
    chosen = with_choice(config, "jobs", "pino")
    assert {name: source.format for name, source in chosen.sources.items()} == {"jobs": "pino"}
    assert choose_sources(chosen, None, "file") == choose_sources(chosen, "other", "file") == ["jobs"]
    assert config.sources["jobs"].format == "json"


@pytest.mark.parametrize(
    ("source", "format", "text"),
    [
        ("request", None, "did you mean requests"),
        ("requests", "jso", "did you mean json"),
        ("requests", "otlp_proto", "expected a source with a signal"),
        (None, "json", "--format needs --source"),
    ],
)
def test_what_cannot_be_chosen_is_named(
    config: Config, source: str | None, format: str | None, text: str
) -> None:
    with pytest.raises(ChoiceError, match=text):
        with_choice(config, source, format)


def test_records_of_no_known_topic_need_a_source(config: Config) -> None:
    with pytest.raises(ChoiceError, match=r"records of topic 'other'; say which source .* requests .* jobs"):
        choose_sources(config, "other", "file")
