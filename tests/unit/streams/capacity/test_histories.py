"""What the rings tell of limited resources: the past by whole steps, and how they stand now."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams.capacity.histories import Histories
from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.events.batch import Records
from streams.language.problems import ConfigError
from streams.offline.flow import LocalFlow
from streams.plan.plan import Plan
from streams.plan.resource import SeriesKey

HOUR_MS = 3_600_000
START_MS = 1_777_593_600_000
"""2026-05-01T00:00:00Z."""

CONFIG = """
sources:
  usage:
    topic: usage
    format: json
    time: {field: ts, format: epoch_ms}
    lateness: 0s
slos: [slos.yaml]
capacity:
  - resource: rows
    source: usage
    value: rows
    by: [database]
    limit: 1000000
    period: day
    time_zone: Europe/Berlin
  - resource: pool
    source: usage
    value: out
    limit: {value: size}
  - resource: disk
    source: usage
    value: bytes
    where: bytes > 0
    limit: 2000000000000
  - resource: budget
    slo: answered
"""

SLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: answered}
spec:
  service: shop
  indicator:
    metadata: {name: answered}
    spec:
      ratioMetric:
        bad: {metricSource: {type: streamgauge, spec: {source: usage, where: failed}}}
        total: {metricSource: {type: streamgauge, spec: {source: usage}}}
  timeWindow: [{duration: 7d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: answered, target: 0.9}]
"""


def plan_of(folder: Path, text: str = CONFIG, slo: str = SLO) -> Plan:
    (folder / "slos.yaml").write_text(slo)
    path = folder / "streamgauge.yaml"
    path.write_text(text)
    return compile_plan(load_config(path))


def event(at_ms: int, **fields: Any) -> bytes:
    return json.dumps({"ts": at_ms, "database": "main", **fields}).encode()


def flow_of(plan: Plan, values: list[bytes]) -> LocalFlow:
    flow = LocalFlow(plan)
    flow.feed("usage", 0, Records(values, np.arange(len(values)), np.full(len(values), -1)))
    return flow


def histories(flow: LocalFlow, plan: Plan) -> dict[str, Histories]:
    window = flow.window("usage")
    return {each.resource.name: Histories(each, window.rollups[each.rollup]) for each in plan.capacity}


def test_a_quota_is_added_up_by_the_hour_and_by_local_days(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    hours = 60
    values = [event(START_MS + hour * HOUR_MS + 5_000, rows=hour + 0.5) for hour in range(hours)]
    flow = flow_of(plan, [*values, event(START_MS + hours * HOUR_MS, rows=1)])
    rows = histories(flow, plan)["rows"]
    number = rows.keys()[SeriesKey("rows", ("main",))]
    history = rows.history(number)
    assert history is not None
    assert history.starts.tolist() == [START_MS + hour * HOUR_MS for hour in range(hours)]
    assert history.values.tolist() == [hour + 0.5 for hour in range(hours)]
    # Berlin's third of May began at 22:00 UTC, after 46 hours
    present = rows.present(number, (START_MS + hours * HOUR_MS) // 10_000)
    assert present.current == sum(hour + 0.5 for hour in range(46, hours))
    assert present.labels == {"database": "main"}


def test_a_gauge_is_a_mean_and_its_limit_may_be_a_series(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    values = [
        event(START_MS + minute * 60_000, out=10 + minute // 60, size=20)
        for minute in range(150)
        if not 60 <= minute < 120
    ]
    pool = histories(flow_of(plan, values), plan)["pool"]
    history = pool.history(0)
    assert history is not None
    assert history.values[0] == 10.0
    assert math.isnan(history.values[1])
    assert history.other is not None
    assert history.other[0] == 20.0
    assert len(history.starts) == 2, "the third hour is not over"
    present = pool.present(0, (START_MS + 149 * 60_000) // 10_000)
    assert (present.current, present.limit) == (12.0, 20.0)


def test_sums_of_many_bytes_stay_exact_enough(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    values = [event(START_MS + second * 1_000, bytes=1_999_999_999_999) for second in range(7_300)]
    disk = histories(flow_of(plan, values), plan)["disk"]
    history = disk.history(0)
    assert history is not None
    np.testing.assert_allclose(history.values, 1_999_999_999_999, rtol=1e-9)


def test_an_error_budget_is_that_of_the_slo(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    values = [event(START_MS + minute * 60_000, failed=minute % 6 == 0) for minute in range(241)]
    budget = histories(flow_of(plan, values), plan)["budget"]
    history = budget.history(0)
    assert history is not None
    assert history.values.tolist() == [10.0] * 4
    assert history.other is not None
    assert history.other.tolist() == [60.0] * 4
    present = budget.present(0, (START_MS + 240 * 60_000) // 10_000)
    assert present.window is not None
    assert present.window.values.sum() == 40.0


@pytest.mark.parametrize("duration", ["1w", "1M", "1Q", "1Y"])
def test_a_budget_by_the_calendar_is_that_of_the_period_so_far(tmp_path: Path, duration: str) -> None:
    calendar = f'{duration}, calendar: {{startTime: "2026-01-01 00:00:00", timeZone: Europe/Berlin}}'
    plan = plan_of(tmp_path, slo=SLO.replace("7d, isRolling: true", calendar))
    end_ms = START_MS + 10 * 24 * HOUR_MS + 23 * HOUR_MS - 600_000  # 00:50 in Berlin
    start_ms = end_ms - 10 * 24 * HOUR_MS
    flow = flow_of(plan, [event(start_ms - 60_000, failed=True), event(start_ms - 50_000, failed=True)])
    window = flow.window("usage").rollups["slo:answered"]
    buckets = range(start_ms // 10_000, end_ms // 10_000, 60)
    for bucket in buckets:  # every ten minutes one of four events is bad
        window.rings.push(bucket, np.array([0]), np.array([[3, 4]]))
        window.totals.add(bucket, np.array([0]), np.array([[3, 4]]))
    window.rings.advance(end_ms // 10_000)
    budget = histories(flow, plan)["budget"]
    history = budget.history(0)
    assert history is not None
    assert len(history.starts) >= 9, "ten days by the hour, or by whole days"
    [resource] = (each.resource for each in plan.capacity if each.resource.name == "budget")
    assert resource.period is not None
    begin_ms, _ = resource.period.bounds(end_ms)
    first = 1 if begin_ms < start_ms else 0  # and the first of the events by the flow
    count = sum(bucket * 10_000 >= begin_ms for bucket in buckets)
    present = budget.present(0, end_ms // 10_000).window
    assert present is not None
    assert present.other is not None
    assert present.starts.tolist() == [begin_ms]
    assert present.other.tolist() == [4 * count + first]
    assert present.values.tolist() == [count + first]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("source: usage\n    value: rows", "source: use\n    value: rows", "expected usage"),
        ("slo: answered\n", "slo: other\n", "expected answered"),
        ("{value: size}", "{value: size, source: other}", "like the resource's own"),
        ("by: [database]", "by: [rows]", "rows"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(tmp_path, CONFIG.replace(old, new))
