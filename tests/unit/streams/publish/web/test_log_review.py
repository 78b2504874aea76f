"""A review of log templates in a worker: told by `check`, obeyed from the start on, and shown to people."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer

from detectors.alerts.alert import Transition
from detectors.logs.detector import LogTemplateDetector
from models.logs.catalog import template_id
from streams.compile.check import check_paths
from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.events.batch import Records
from streams.judge.judged_source import JudgedSource
from streams.offline.flow import LocalFlow
from streams.plan.plan import Plan
from streams.publish.web.log_templates import SourceTemplates, live_templates
from streams.publish.web.server import web_application

START_MS = 1_779_000_000_000
MINUTE_MS = 60_000

CONFIG = """
sources:
  app:
    topic: app
    format: json
    time: {field: ts, format: epoch_ms}
detectors:
  logs:
    - {source: app, message: msg, service: service, warm_up: 5m, review: review.csv}
"""

STRANGE, CALM, SLOW = "Cannot open file", "All is well", "Request took <*>"


def plan_of(folder: Path, *rows: str) -> Plan:
    (folder / "streamgauge.yaml").write_text(CONFIG)
    (folder / "review.csv").write_text("\n".join(("id,name,ignored,merge_into", *rows)) + "\n")
    return compile_plan(load_config(folder / "streamgauge.yaml"))


def lines(minutes: int, *, strange_at: int, service: str = "shop") -> Records:
    values = []
    for minute in range(minutes):
        texts = [CALM] * 5 + [f"Request took {minute} ms"] * 3 + [STRANGE] * 2 * (minute == strange_at)
        for number, text in enumerate(texts):
            at_ms = START_MS + minute * MINUTE_MS + number * 1_000
            values.append(json.dumps({"ts": at_ms, "service": service, "msg": text}).encode())
    return Records(values, np.arange(len(values)), np.full(len(values), -1))


def run(plan: Plan, records: Records) -> tuple[list[Transition], JudgedSource]:
    found: list[Transition] = []
    flow = LocalFlow(plan, on_anomaly=found.append)
    flow.feed("app", 0, records)
    flow.finish()
    return found, flow.window("app")


def detector_of(window: JudgedSource) -> LogTemplateDetector:
    (monitor,) = window.monitors.running
    assert isinstance(monitor.detector, LogTemplateDetector)
    return monitor.detector


def templates_of(*windows: JudgedSource) -> SourceTemplates:
    (found,) = live_templates(windows)()
    return found


def test_a_decision_waits_for_its_template_and_then_holds(tmp_path: Path) -> None:
    records = lines(20, strange_at=15)
    told, _ = run(plan_of(tmp_path), records)
    assert [each.alert.labels["kind"] for each in told] == ["new template"] * 2
    told, window = run(plan_of(tmp_path, f"{template_id(STRANGE)},,true,"), records)
    assert told == []
    assert detector_of(window).catalog.ignored() == {STRANGE}


def test_a_changed_review_forgets_nothing_that_was_learnt(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, f"{template_id(CALM)},well,,")
    _, window = run(plan, lines(20, strange_at=-1))
    other = plan_of(tmp_path, f"{template_id(SLOW)},slow,true,{template_id(CALM)}")
    again = JudgedSource(other.sources["app"], (), 1, {}, other.monitors)
    (monitor,), (before,) = again.monitors.running, window.monitors.running
    assert monitor.digest == before.digest
    monitor.detector.restore(before.detector.state())
    again.monitors.step(10**9)
    (template,) = detector_of(again).catalog.templates()
    assert (template.name, template.ignored, template.count) == ("slow", True, 19 * 8)


def test_decisions_are_stored_with_the_first_step(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, f"{template_id(STRANGE)},odd,true,")
    window = JudgedSource(plan.sources["app"], (), 1, {}, plan.monitors)
    minute_end = START_MS // MINUTE_MS * 6 - 1
    _, blocks = window.monitors.step(minute_end)
    undecided = plan_of(tmp_path)
    again = JudgedSource(undecided.sources["app"], (), 1, {}, undecided.monitors)
    again.monitors.load(blocks, minute_end)
    assert detector_of(again).catalog.state()["reviews"][0]["name"] == "odd"
    again.monitors.step(minute_end + 1)
    assert detector_of(again).catalog.state()["reviews"] == []


@pytest.mark.parametrize(
    ("row", "place", "message"),
    [
        ("tbd0734d8f8,,perhaps,", "review.csv:2", "ignored to be true, false or blank"),
        ("7,name,,", "review.csv:2", "an id of an exported template"),
    ],
)
def test_mistakes_in_a_review_are_told_with_file_and_line(
    tmp_path: Path, row: str, place: str, message: str
) -> None:
    plan_of(tmp_path)
    (tmp_path / "review.csv").write_text(f"id,name,ignored,merge_into\n{row}\n")
    (problem,) = map(str, check_paths([tmp_path / "streamgauge.yaml"], {}).problems)
    assert f"{tmp_path / place}: expected" in problem
    assert message in problem


def test_a_review_that_is_not_there_is_told(tmp_path: Path) -> None:
    plan_of(tmp_path)
    (tmp_path / "review.csv").unlink()
    (problem,) = check_paths([tmp_path / "streamgauge.yaml"], {}).problems
    assert (problem.line, problem.key) == (9, "detectors.logs[0].review")


def test_windows_are_shown_as_one_with_examples_and_services(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, f"{template_id(STRANGE)},odd,true,")
    windows = [run(plan, lines(12, strange_at=8, service=name))[1] for name in ("shop", "cart")]
    rows = {row["template"]: row for row in templates_of(*windows).rows()}
    assert rows[CALM]["count"] == 2 * 11 * 5  # the last minute has no end
    assert rows[CALM]["services"] == ["cart", "shop"]
    assert rows[CALM]["review"] == {"name": "", "ignored": False}
    assert rows[SLOW]["example"] == "Request took 0 ms"
    assert rows[STRANGE]["review"] == {"name": "odd", "ignored": True}
    assert rows[STRANGE]["id"] == template_id(STRANGE)
    assert START_MS + 8 * MINUTE_MS <= rows[STRANGE]["first_seen_ms"] <= START_MS + 10 * MINUTE_MS


async def test_the_page_gives_json_and_a_table_to_review(tmp_path: Path) -> None:
    _, window = run(plan_of(tmp_path), lines(6, strange_at=-1))

    def unused(*_: object) -> object:
        raise AssertionError("only the templates are asked for")

    application = web_application(
        snapshot=unused,  # type: ignore[arg-type]
        ready=unused,  # type: ignore[arg-type]
        state=unused,  # type: ignore[arg-type]
        incidents=unused,  # type: ignore[arg-type]
        templates=lambda: live_templates([window]),
    )
    async with TestClient(TestServer(application)) as client:
        rows = (await (await client.get("/api/log-templates")).json())["templates"]
        assert [row["template"] for row in rows] == [CALM, SLOW]
        answer = await client.get("/api/log-templates?format=csv&source=app")
        table = list(csv.DictReader(io.StringIO(await answer.text())))
        assert [row["id"] for row in table] == [template_id(CALM), template_id(SLOW)]
        for query in ("format=csv&source=other", "format=xml"):
            assert (await client.get(f"/api/log-templates?{query}")).status == 400
