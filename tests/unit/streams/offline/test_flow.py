"""The whole flow in one process: totals, partitions, kept reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.events.batch import Records
from streams.judge.slo_judge import SliReport
from streams.offline.flow import LocalFlow
from streams.plan.plan import Plan

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"
START_MS = 1_700_000_000_000


@pytest.fixture
def plan() -> Plan:
    return compile_plan(load_config(EXAMPLES / "access-log.yaml"))


def lines(seconds: range, *, bad_every: int) -> Records:
    """A request a second, of which one in so many fails."""
    values = [
        json.dumps(
            {
                "time": START_MS / 1000 + second,
                "remote_addr": "192.0.2.1",
                "request": "GET / HTTP/1.1",
                "status": 503 if second % bad_every == 0 else 200,
            }
        ).encode()
        for second in seconds
    ]
    return Records(values, np.arange(len(values)), np.full(len(values), -1))


def test_reports_that_are_kept_stay_what_they_were(plan: Plan) -> None:
    kept: list[SliReport] = []
    seen: list[list[int]] = []

    def keep(report: SliReport) -> None:
        kept.append(report)
        seen.append(report.total.tolist())

    flow = LocalFlow(plan, on_slis=keep)
    flow.feed("access_log", 0, lines(range(1_200), bad_every=7))
    flow.finish()
    assert len({str(total) for total in seen}) > 5
    assert [report.total.tolist() for report in kept] == seen


@pytest.mark.parametrize("seconds", [100, 125, 160])
def test_the_end_is_reported_once(plan: Plan, seconds: int) -> None:
    told: list[tuple[str, int]] = []
    flow = LocalFlow(plan, on_slis=lambda report: told.append((report.slo.name, report.at_ms)))
    flow.feed("access_log", 0, lines(range(seconds), bad_every=7))
    flow.finish()
    assert len(told) == len(set(told))
    assert max(at_ms for _, at_ms in told) >= START_MS + seconds * 1_000 - 1_000


@pytest.mark.parametrize("partitions", [2, None])
def test_partitions_are_sealed_together(plan: Plan, partitions: int | None) -> None:
    flow = LocalFlow(plan, partitions=partitions)
    flow.feed("access_log", 0, lines(range(900), bad_every=10))
    window = flow.window("access_log")
    assert window.sealed < START_MS // 10_000, "the other partition has not been heard of"
    flow.feed("access_log", 1, lines(range(600), bad_every=10))
    if partitions == 2:
        assert START_MS // 10_000 < window.sealed <= (START_MS + 600_000) // 10_000
    summary = flow.finish()
    assert summary.outcomes == {"access_log": {"in": 1_500, "late": 0, "dead": 0}}
    availability = summary.rollups["slo:availability"]
    assert dict(zip(availability.measures, availability.counts[0].tolist(), strict=True)) == {
        "good": 1_350,
        "total": 1_500,
    }


def test_what_cannot_be_counted_is_returned_and_counted(plan: Plan) -> None:
    flow = LocalFlow(plan)
    good = lines(range(300), bad_every=10)
    values = [*good.values, b"no log line at all", *lines(range(3), bad_every=10).values]
    rejected = flow.feed("access_log", 0, Records(values, np.arange(304), np.full(304, -1)))
    assert [entry.reason for entry in rejected] == ["not_a_log_line", "late", "late", "late"]
    summary = flow.finish()
    assert summary.outcomes == {"access_log": {"in": 300, "late": 3, "dead": 1}}
