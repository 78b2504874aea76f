"""`detectors.logs` from the configuration to the anomaly: lines counted by signature, templates judged."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from detectors.alerts.alert import Transition
from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.events.batch import Records
from streams.language.problems import ConfigError
from streams.offline.flow import LocalFlow
from streams.plan.plan import Plan

START_MS = 1_779_000_000_000

CONFIG = """
sources:
  app:
    topic: app
    format: json
    time: {field: ts, format: epoch_ms}
detectors:
  logs:
    - source: app
      message: msg
      service: service
      error: level == "error"
      warm_up: 10m
"""


def plan_of(folder: Path, text: str = CONFIG) -> Plan:
    path = folder / "streamgauge.yaml"
    path.write_text(text)
    return compile_plan(load_config(path))


def lines(minutes: int, *, strange_at: int) -> list[bytes]:
    """Three sorts of lines with fresh parameters, and a fourth in one minute."""
    rng = random.Random(1)
    sorts = (
        lambda: f"Connected to 10.0.0.{rng.randrange(250)} port {rng.randrange(60_000)}",
        lambda: f"Request {rng.randrange(100_000)} took {rng.random():.3f} ms",
        lambda: f"User u{rng.randrange(30)} logged in",
    )
    found = []
    for minute in range(minutes):
        for number in range(30):
            at_ms = START_MS + minute * 60_000 + number * 2_000
            found.append({"ts": at_ms, "service": "shop", "level": "info", "msg": rng.choice(sorts)()})
            if minute == strange_at and number < 20:
                text = f"Cannot open file /var/db/{number}.db: disk full"
                found.append({"ts": at_ms, "service": "shop", "level": "error", "msg": text})
    return [json.dumps(line).encode() for line in found]


def run(plan: Plan, values: list[bytes], batch: int) -> tuple[list[Transition], LocalFlow]:
    found: list[Transition] = []
    flow = LocalFlow(plan, on_anomaly=found.append)
    for start in range(0, len(values), batch):
        part = values[start : start + batch]
        flow.feed("app", 0, Records(part, np.arange(start, start + len(part)), np.full(len(part), -1)))
    flow.finish()
    return found, flow


@pytest.mark.parametrize("batch", [7, 100_000])
def test_a_new_template_is_told_with_its_words(tmp_path: Path, batch: int) -> None:
    found, flow = run(plan_of(tmp_path), lines(40, strange_at=30), batch)
    assert [each.alert.state for each in found] == ["firing", "resolved"]
    (alert, _) = (each.alert for each in found)
    assert alert.starts_at_ms == START_MS + 31 * 60_000
    assert (alert.labels["kind"], alert.labels["service"]) == ("new template", "shop")
    assert alert.labels["signature"] == "Cannot open file <*>: disk full"
    (monitor,) = flow.window("app").monitors.running
    assert len(monitor.series) == 4


def test_ordinary_lines_alarm_nobody(tmp_path: Path) -> None:
    found, _ = run(plan_of(tmp_path), lines(120, strange_at=-1), 100_000)
    assert found == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("source: app", "source: apps", "expected app"),
        ("message: msg", "mesage: msg", "mesage"),
        ("warm_up: 10m", "warm_up: 10x", "duration"),
        ('level == "error"', "level ==", "error"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(tmp_path, CONFIG.replace(old, new))
