"""The picture of a plan."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.kafka.topics import Topics
from streams.plan.diagram import draw_plan
from streams.plan.plan import Plan

EXAMPLES = Path(__file__).parents[4] / "examples"


EVERY_SECTION = """
app: shop
sources:
  access:
    topic: access
    format: json
    time: {field: ts}
    fields: {status: status, duration: ms, disk: disk, size: size, client: client, path: path}
    series: [route]
    error: status >= 500
    duration: duration
    histogram: [0.1, 0.5]
    distinct: [client]
  app: {topic: app-logs, format: pino}
  security: {topic: access-2, format: access_log}
slos: [slo.yaml]
detectors:
  traffic: [{source: access}, {source: access, direction: down}]
  multivariate: [{source: access}]
  logs: [{source: app}]
  security: [{source: security, sigma: [rules.yml], pseudonymise: 0123456789abcdef}]
incidents: {upstreams: {shop: [access]}}
models: {url: models}
capacity:
  - {resource: disk, source: access, value: disk, by: [host], limit: {value: size}}
  - {resource: mails, kind: quota, source: access, value: size, limit: 1000, period: day}
  - {resource: budget, slo: availability}
sinks:
  alertmanager: {url: "http://127.0.0.1:9093"}
  notify: ["json://127.0.0.1:1"]
"""

SLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: availability}
spec:
  service: shop
  indicator:
    spec:
      ratioMetric:
        good: {metricSource: {type: streamgauge, spec: {source: access, where: status < 500}}}
        total: {metricSource: {type: streamgauge, spec: {source: access}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
"""

RULES = """
title: Scanner
name: scanner
logsource: {category: webserver}
detection: {selection: {cs-user-agent|contains: sqlmap}, condition: selection}
---
title: Many scans
correlation: {type: event_count, rules: [scanner], group-by: [c-ip], timespan: 5m, condition: {gte: 5}}
---
title: Traversal
logsource: {category: webserver}
detection: {selection: {cs-uri-stem|contains: ../}, condition: selection}
"""


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A configuration with every section that a plan is made from."""
    (tmp_path / "slo.yaml").write_text(SLO)
    (tmp_path / "rules.yml").write_text(RULES)
    path = tmp_path / "streamgauge.yaml"
    path.write_text(EVERY_SECTION)
    return path


def words_of(text: str) -> set[str]:
    """All that stands in labels, item by item."""
    labels = re.findall(r'"([^"]*)"', text)
    return {word for label in labels for line in label.split("<br/>") for word in re.split(", |: |by ", line)}


def example(name: str) -> Plan:
    return compile_plan(load_config(EXAMPLES / name))


def test_every_source_rollup_and_slo_is_drawn() -> None:
    plan = example("otlp.yaml")
    text = draw_plan(plan)
    assert text.startswith("flowchart LR\n")
    for source in plan.sources.values():
        assert f'[("{source.topic}")]' in text
        assert all(rollup.name in text for rollup in source.rollups)
    for slo in plan.slos:
        assert f'"{slo.name}: {100 * slo.target:g} % in' in text


def test_every_arrow_ends_at_a_node_that_is_drawn() -> None:
    text = draw_plan(example("requests.yaml"), ["Alertmanager http://127.0.0.1:9093"])
    drawn = set(re.findall(r"(\w+)[\[(]", text))
    ends = {end for line in text.splitlines() for end in re.findall(r"--> (\w+)", line)}
    assert ends <= drawn
    assert "Alertmanager http://127.0.0.1:9093" in text


def test_the_same_plan_gives_the_same_text_and_quotes_do_no_harm() -> None:
    plan = example("access-log.yaml")
    assert draw_plan(plan, ['"<b>&"']) == draw_plan(plan, ['"<b>&"'])
    assert '["&quot;&lt;b&gt;&amp;&quot;"]' in draw_plan(plan, ['"<b>&"'])


def test_every_topic_of_an_app_is_drawn_where_it_is_used(whole: Path) -> None:
    text = draw_plan(compile_plan(load_config(whole)), ["alertmanager", "notify"], registry=True)
    for topic in Topics("shop").wanted(1, 1):
        assert f'[("{topic.name}")]' in text


@pytest.mark.parametrize(
    ("section", "topics"),
    [
        ("detectors", {"anomalies", "labels", "models", "incidents"}),
        ("capacity", {"forecasts"}),
        ("slos", {"slis"}),
    ],
)
def test_topics_that_nothing_writes_are_not_drawn(whole: Path, section: str, topics: set[str]) -> None:
    text = re.sub(rf"^{section}:.*\n( .*\n)*", "", whole.read_text(), flags=re.M)
    whole.write_text(
        text.replace("  - {resource: budget, slo: availability}\n", "") if section == "slos" else text
    )
    drawn = draw_plan(compile_plan(load_config(whole)), registry=True)
    everything = {topic.name.removeprefix("shop-") for topic in Topics("shop").wanted(1, 1)}
    assert {name for name in everything if f'"shop-{name}"' not in drawn} == topics


def test_every_detector_resource_and_sink_is_drawn(whole: Path) -> None:
    plan = compile_plan(load_config(whole))
    text = draw_plan(plan, ["alertmanager", "notify"], registry=True)
    for label in (
        "2 × traffic of access<br/>every 1m",
        "multivariate of access<br/>every 1m",
        "logs of app<br/>every 1m",
        "3 × security of security<br/>every 10s",
        "2 × sigma of security<br/>every 10s",
        "counts for logs<br/>by signature",
        "disk: gauge<br/>by host<br/>7d ahead",
        "mails: quota<br/>7d ahead",
        "budget: error budget<br/>7d ahead",
        "alertmanager",
        "notify",
    ):
        assert f'["{label}"]' in text
    drawn = re.findall(r'(\w+)[\[(]+"', text)
    ends = {end for line in text.splitlines() for end in re.findall(r"--> (\w+)", line)}
    assert ends <= set(drawn)


def test_nothing_internal_is_drawn(whole: Path) -> None:
    plan = compile_plan(load_config(whole))
    told = {source.name for source in plan.sources.values()} | {slo.rollup for slo in plan.slos}
    rollups = [rollup for source in plan.sources.values() for rollup in source.rollups]
    inner = {measure.name for rollup in rollups if rollup.name not in told for measure in rollup.measures}
    inner |= {f"le {bound}" for rollup in rollups for bound in rollup.histogram}
    inner |= {column for rollup in rollups if rollup.name not in told for column in rollup.distinct}
    inner |= {rollup.name for rollup in rollups if rollup.name.startswith(("entity:", "sigma:"))}
    assert {"path bit 0", "level seen", "le 0.1", "security.second"} <= inner
    text = draw_plan(plan, registry=True)
    # the source's own measures are told, whatever a detector calls its own
    assert words_of(text) & (inner - {"total", "errors"}) == set()
    assert "security.s" not in text
    assert "path bit" not in text


def test_each_process_draws_the_same(whole: Path) -> None:
    drawn = [
        subprocess.run(
            [sys.executable, "-m", "streams.cli", "graph", "-c", str(whole)],
            capture_output=True,
            check=True,
            timeout=120,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.decode()
        for seed in ("1", "2")
    ]
    plan = compile_plan(load_config(whole))
    assert drawn == [draw_plan(plan, ["alertmanager", "notify"], registry=True)] * 2
