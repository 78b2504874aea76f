"""`incidents` of a configuration: how a worker and a replay group what they find."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.config.load import load_config
from streams.config.models import Config
from streams.language.problems import ConfigError
from streams.offline.replay import replay_files

SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: NAME}
spec:
  service: NAME
  indicator:
    metadata: {name: NAME}
    spec:
      ratioMetric:
        bad: {metricSource: {type: streamgauge, spec: {source: requests, where: status >= 500}}}
        total: {metricSource: {type: streamgauge, spec: {source: requests}}}
  timeWindow: [{duration: 1d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.9}]
"""


def load(folder: Path, incidents: str) -> Config:
    (folder / "slos.yaml").write_text(
        "---\n".join(SLO.replace("NAME", name) for name in ("shop", "payments"))
    )
    (folder / "streamgauge.yaml").write_text(
        "sources: {requests: {topic: requests, format: json, time: ts}}\n"
        f"slos: [slos.yaml]\nincidents: {incidents}\n"
    )
    return load_config(folder / "streamgauge.yaml", {})


@pytest.mark.parametrize(
    ("incidents", "services"),
    [
        ("{}", [["payments"], ["shop"]]),
        ("{upstreams: {shop: payments}}", [["payments", "shop"]]),
        ("{upstreams: {shop: [db], payments: [mail, db]}}", [["payments", "shop"]]),
    ],
)
def test_a_replay_groups_by_what_services_depend_on(
    tmp_path: Path, incidents: str, services: list[list[str]]
) -> None:
    events = [{"ts": 1_767_225_600_000 + 1_000 * second, "status": 500} for second in range(1_200)]
    (tmp_path / "log").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    replay_files([tmp_path / "log"], load(tmp_path, incidents), tmp_path / "out")
    found = map(json.loads, (tmp_path / "out" / "incidents.jsonl").read_text().splitlines())
    assert sorted(incident["services"] for incident in found) == services


@pytest.mark.parametrize(
    ("incidents", "message"),
    [
        ("{gap: 1h}", "incidents.gap: expected at most quiet"),
        ("{gap: -1s}", "incidents.gap: expected a duration"),
        ("{upstream: {}}", "did you mean upstreams"),
        ("{upstreams: [shop]}", "incidents.upstreams: expected a mapping"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, incidents: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, incidents)
