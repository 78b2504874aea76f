"""`monitoring/` as its peers read it: promtool, amtool, and a Prometheus that scrapes a worker's page."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.publish.metrics.page import render
from tests.integration.test_scrape import full_snapshot, page_address
from tests.services.process import require_program
from tests.services.prometheus import Prometheus, scrape_config

__all__ = ["page_address"]  # a fixture

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
DASHBOARD: dict[str, Any] = json.loads(
    (MONITORING / "grafana" / "dashboards" / "streamgauge.json").read_text()
)

SLOTH_WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")
SLOTH_NAMES = {
    *(f"slo:sli_error:ratio_rate{window}" for window in SLOTH_WINDOWS),
    "slo:objective:ratio",
    "slo:error_budget:ratio",
    "slo:time_period:days",
    "slo:current_burn_rate:ratio",
    "slo:period_burn_rate:ratio",
    "slo:period_error_budget_remaining:ratio",
    "sloth_slo_info",
}
"""What Sloth 0.16 records for an SLO over 30 days."""


def run(program: str, package: str, *arguments: str) -> str:
    """Output of a checker, which must succeed."""
    path = require_program(program, package=package, purpose="A test of the monitoring")
    done = subprocess.run([path, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def expressions(node: object) -> Iterator[str]:
    """All PromQL of a dashboard: of panels, annotations and variables."""
    if isinstance(node, dict):
        yield from (node[key] for key in ("expr", "definition") if isinstance(node.get(key), str))
        for value in node.values():
            yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)


def names(expression: str) -> set[str]:
    """Names of metrics in an expression."""
    return set(re.findall(r"\b(?:streamgauge_\w+|process_\w+|slo:[\w:]+|sloth_slo_info|up)\b", expression))


def published() -> set[str]:
    """Names of all samples on a worker's page."""
    return {re.split(r"[ {]", line)[0] for line in page() if not line.startswith("#")}


def page() -> list[str]:
    return render(full_snapshot())[0].decode().splitlines()


def test_rules_and_configurations_are_valid() -> None:
    rules = sorted(str(path) for path in (MONITORING / "rules").glob("*.yml"))
    assert len(rules) == 2
    run("promtool", "prometheus", "check", "rules", "--lint=all", "--lint-fatal", *rules)
    config = str(MONITORING / "prometheus.yml")
    assert "2 rule files found" in run("promtool", "prometheus", "check", "config", config)
    run("amtool", "prometheus-alertmanager", "check-config", str(MONITORING / "alertmanager.yml"))


def test_rules_give_what_they_should() -> None:
    tests = [str(ROOT / "tests" / "golden" / name) for name in ("sloth-rules.yml", "worker-rules.yml")]
    run("promtool", "prometheus", "test", "rules", *tests)


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=ErrorBudgetBurn", "severity=page"), "on-call"),
        (("alertname=ErrorBudgetBurn", "severity=ticket"), "page-of-alertmanager"),
    ],
)
def test_alerts_reach_their_receivers(labels: tuple[str, ...], receiver: str) -> None:
    config = f"--config.file={MONITORING / 'alertmanager.yml'}"
    found = run("amtool", "prometheus-alertmanager", "config", "routes", "test", config, *labels)
    assert found.strip() == receiver


def test_all_names_that_sloths_dashboards_read_are_recorded() -> None:
    groups = yaml.safe_load((MONITORING / "rules" / "sloth.yml").read_text())["groups"]
    recorded = {rule["record"] for group in groups for rule in group["rules"]}
    assert recorded >= SLOTH_NAMES
    read = set().union(*(names(rule["expr"]) for group in groups for rule in group["rules"]))
    assert {name for name in read if name.startswith("streamgauge_")} <= published()


def test_the_dashboard_asks_only_for_what_workers_publish() -> None:
    asked = set().union(*map(names, expressions(DASHBOARD)))
    assert asked <= published()
    assert {
        "streamgauge_sli_ratio",
        "streamgauge_burn_rate",
        "streamgauge_error_budget_remaining_ratio",
        "streamgauge_consumer_lag_records",
    } <= asked
    provisioned = yaml.safe_load(
        (MONITORING / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    )
    assert {source["uid"] for source in provisioned["datasources"]} >= {
        panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if "datasource" in panel
    }


def test_panels_do_not_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < 24
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_prometheus_answers_every_query_of_the_dashboard(
    page_address: str, prometheus_factory: Callable[..., Prometheus]
) -> None:
    rules = {path.name: path.read_text() for path in (MONITORING / "rules").glob("*.yml")}
    config = {**scrape_config(page_address), "rule_files": list(rules)}
    prometheus = prometheus_factory(config, files=rules)
    prometheus.wait_for("slo:current_burn_rate:ratio")
    prometheus.wait_for("rate(streamgauge_events_total[10s])")
    for name in SLOTH_NAMES - {f"slo:sli_error:ratio_rate{window}" for window in SLOTH_WINDOWS}:
        assert prometheus.query(name), f"{name} is not recorded"
    variables = {"$__rate_interval": "10s", **{f"${name}": ".*" for name in ("service", "slo", "window")}}
    for expression in expressions(DASHBOARD):
        query = expression
        for variable, value in variables.items():
            query = query.replace(variable, value)
        if query.startswith("label_values("):
            query = query.removeprefix("label_values(").rpartition(",")[0]
        assert prometheus.query(query), f"no answer to {query}"
