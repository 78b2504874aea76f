"""Reports and alerts as DataFrames: the same rows as a replay's files, and the evidence tier by tier."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest

from detectors.alerts.alert import Alert, Transition
from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.config.models import Config
from streams.judge.slo_judge import SliReport
from streams.offline.files import read_records
from streams.offline.flow import LocalFlow
from streams.offline.replay import replay_files
from streams.offline.report_tables import (
    EPISODE_COLUMNS,
    EVIDENCE_COLUMNS,
    TRANSITION_COLUMNS,
    episode_table,
    evidence_table,
    sli_table,
    transition_table,
)
from streams.offline.slis import SCHEMA

START_S = 1_767_225_600
HOUR = 3_600

CONFIG = """
app: tables
sources:
  requests: {topic: requests, format: json, time: ts, error: status >= 500}
slos: [slo.yaml]
"""

SLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: availability, labels: {team: shop}}
spec:
  service: web
  indicator:
    metadata: {name: availability}
    spec:
      ratioMetric:
        bad: {metricSource: {type: streamgauge, spec: {source: requests, where: status >= 500}}}
        total: {metricSource: {type: streamgauge, spec: {source: requests}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
"""


@dataclass
class Flow:
    config: Config
    log: Path
    reports: list[SliReport] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)


def written(folder: Path, bad_seconds: Iterable[int]) -> tuple[Config, Path]:
    """Two hours of a request a second, of which those of `bad_seconds` fail."""
    (folder / "slo.yaml").write_text(SLO)
    (folder / "streamgauge.yaml").write_text(CONFIG)
    bad, log = set(bad_seconds), folder / "log"
    events = ({"ts": 1_000 * (START_S + at), "status": 500 if at in bad else 200} for at in range(2 * HOUR))
    log.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    return load_config(folder / "streamgauge.yaml"), log


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Flow:
    """Half of all requests fail for ten minutes in the first hour, and all in the last five minutes."""
    bad = [*range(1_800, 2_400, 2), *range(2 * HOUR - 300, 2 * HOUR)]
    made = Flow(*written(tmp_path_factory.mktemp("tables"), bad))
    local = LocalFlow(
        compile_plan(made.config), on_slis=made.reports.append, on_alert=made.transitions.append
    )
    for _, partition, records in read_records(made.log):
        local.feed("requests", partition, records)
    local.finish()
    return made


def test_slis_are_those_of_a_replays_file(flow: Flow, tmp_path: Path) -> None:
    replay_files([flow.log], flow.config, tmp_path)
    table = sli_table(flow.reports)
    assert len(table) > 100
    pd.testing.assert_frame_equal(table, pd.read_parquet(tmp_path / "slis.parquet"))


def test_transitions_are_those_of_the_alerts(flow: Flow) -> None:
    table = transition_table(flow.transitions)
    assert tuple(table.columns) == TRANSITION_COLUMNS
    assert [at.value // 1_000_000 for at in table["time"]] == [one.at_ms for one in flow.transitions]
    assert list(table["state"]) == [one.alert.state for one in flow.transitions]
    assert set(table["slo"]) == {"availability"}
    assert set(table["service"]) == {"web"}
    assert list(table["labels"]) == [{"team": "shop"}] * len(table)
    resolved = table["state"] == "resolved"
    assert resolved.any()
    assert table.loc[resolved, "ends_at"].notna().all()
    assert table.loc[~resolved, "ends_at"].isna().all()


def test_an_episode_lasts_from_firing_to_resolved(flow: Flow) -> None:
    pages = episode_table(flow.transitions).query("severity == 'page'")
    assert tuple(pages.columns) == EPISODE_COLUMNS
    begin = pd.Timestamp(START_S, unit="s", tz="UTC")
    first, last = pages.iloc[0], pages.iloc[-1]
    assert begin + pd.Timedelta(seconds=1_800) < first["fired_at"] < begin + pd.Timedelta(seconds=2_400)
    assert first["fired_at"] < first["resolved_at"] < last["fired_at"]
    assert pd.isna(last["resolved_at"]), "the log ends while the alert fires"


def test_evidence_tells_why_tiers_fire(flow: Flow) -> None:
    page = next(
        one
        for one in flow.transitions
        if one.alert.state == "firing" and one.alert.labels["severity"] == "page"
    )
    table = evidence_table(page)
    assert tuple(table.columns) == EVIDENCE_COLUMNS
    assert dict(zip(table["tier"], table["factor"], strict=True)) == {"1h/5m": 14.4, "6h/30m": 6.0}
    assert table["fires"].any()
    for tier in table.itertuples():
        assert tier.error_ratio == tier.bad_long / tier.total_long
        assert tier.burn_long == pytest.approx(tier.error_ratio / 0.01)
        assert tier.burn_short == pytest.approx(tier.bad_short / tier.total_short / 0.01)
        assert tier.error_ratio_needed == pytest.approx(tier.factor * 0.01)
        if tier.fires:
            assert min(tier.burn_long, tier.burn_short) > tier.factor
            assert tier.error_ratio > tier.error_ratio_at_least > tier.error_ratio_needed


def test_an_alert_without_tiers_is_refused() -> None:
    alert = Alert("0" * 16, "firing", {"alertname": "TelemetryMissing"}, {}, 0, evidence={"lag_ms": 1})
    with pytest.raises(ValueError, match="found TelemetryMissing with lag_ms; only burn-rate alerts"):
        evidence_table(Transition(0, "inactive", alert))


def test_nothing_gives_frames_with_columns_of_the_same_kinds(flow: Flow) -> None:
    assert list(sli_table([]).columns) == SCHEMA.names
    assert sli_table([]).dtypes.to_list() == sli_table(flow.reports).dtypes.to_list()
    for columns, make in ((TRANSITION_COLUMNS, transition_table), (EPISODE_COLUMNS, episode_table)):
        assert tuple(make([]).columns) == columns
        times = [name for name in columns if name in ("time", "fired_at", "resolved_at", "ends_at")]
        assert make([])[times].dtypes.to_list() == make(flow.transitions)[times].dtypes.to_list()
