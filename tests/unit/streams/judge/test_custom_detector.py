"""A detector from a file outside the package, from the configuration to its anomaly and through restarts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from detectors.alerts.alert import Transition
from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.judge.state_codec import encode_state
from streams.offline.flow import LocalFlow
from streams.plan.plan import Plan
from streams.window.blocks import LEARNT_LEVEL, decode_blocks
from tests.unit.custom_detector import MODULE, install_detector, write_detector
from tests.unit.streams.judge.test_monitors import (
    START_MS,
    Worker,
    event,
    minutes,
    records,
    seal_minutes,
    told,
)

CONFIG = """\
sources:
  web:
    topic: web
    format: json
    time: {{field: ts, format: epoch_ms}}
    series: [service]
detectors:
  custom:
    - name: {name}
      source: web
      settings: {{times: 3}}
"""

COUNTS = [5] * 20 + [50] * 3 + [5] * 20 + [4] * 30 + [90] * 6 + [5]
"""Events of each minute: two surges, of which a restart may fall into either, and half hours to store."""


@pytest.fixture(params=[install_detector, write_detector], ids=["entry point", "module:Class"])
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    write: Callable[[Path], str] = request.param
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    name = write(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
def plan(name: str, tmp_path: Path) -> Plan:
    path = tmp_path / "streamgauge.yaml"
    path.write_text(CONFIG.format(name=name))
    return compile_plan(load_config(path))


def test_its_anomaly_is_announced(name: str, plan: Plan) -> None:
    found: list[Transition] = []
    flow = LocalFlow(plan, on_anomaly=found.append)
    flow.feed("web", 0, records([*minutes(COUNTS[:30]), event(START_MS + 30 * 60_000)]))
    flow.finish()
    assert [each.alert.state for each in found] == ["firing", "resolved"]
    alert = found[0].alert
    assert alert.starts_at_ms == START_MS + 21 * 60_000
    assert alert.labels == {
        "alertname": "CustomAnomaly",
        "detector": name,
        "source": "web",
        "kind": "surge",
        "severity": "ticket",
        "service": "shop",
    }
    assert alert.evidence["contributions"] == [
        {"feature": "rate", "share": 1.0, "seen": 50 / 60, "expected": 5 / 60}
    ]


@pytest.mark.parametrize("restarts", [{22}, {40}, {75}, {5, 22, 33, 70, 76}])
def test_a_restart_changes_nothing(plan: Plan, restarts: set[int]) -> None:
    steady, shaken = Worker(plan), Worker(plan)
    seal_minutes(steady, COUNTS, frozenset())
    seal_minutes(shaken, COUNTS, frozenset(restarts))
    assert len(steady.announced) == 3
    assert told(shaken.announced) == told(steady.announced)
    assert shaken.window.monitors.active() == steady.window.monitors.active() != []
    levels = [block.level for block in decode_blocks(shaken.stored.values())]
    assert levels.count(LEARNT_LEVEL) == 2
    shaken.restart()
    ((one,), (other,)) = (worker.window.monitors.running for worker in (steady, shaken))
    assert encode_state(one.detector.state()) == encode_state(other.detector.state())
