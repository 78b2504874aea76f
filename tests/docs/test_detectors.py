"""`docs/detectors.md` lists what detectors say, and its examples in Python run."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors.api.detector import SEVERITIES, Panel, Verdicts
from detectors.api.registry import make
from detectors.logs.step import KINDS as LOG_KINDS
from detectors.multivariate.detector import LEARN_STEPS
from detectors.security.baseline import ROWS_MIN
from detectors.security.detector import UNUSUAL
from detectors.security.entity_features import EntityCounts
from detectors.security.sequence_rules import Bounds, Surroundings, find_sequences
from detectors.traffic.words import KINDS as TRAFFIC_KINDS
from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from tests.docs.pages import ROOT, blocks, code, section, table
from tests.docs.test_operations import texts

PAGE = ROOT / "docs" / "detectors.md"


def script(name: str) -> str:
    (text,) = [block.text for block in blocks(PAGE, "python") if block.options.get("file") == name]
    return text


def told_kinds() -> dict[str, set[str]]:
    told: dict[str, set[str]] = defaultdict(set)
    for detector, kind, _, _ in table(section(PAGE, "Kinds")):
        told[detector] |= set(code(kind))
    return told


def security_kinds() -> set[str]:
    """The rules' names, from judging nobody."""
    nobody = np.zeros((0, 1))
    counts = EntityCounts(("requests",), nobody, nobody, np.zeros(0), np.zeros(0, np.int64), 0, np.zeros(0))
    usual = Surroundings(lambda _: np.zeros(0), 0)
    return {each.kind for each in find_sequences(counts, lambda _: np.zeros(0), usual, Bounds())}


def test_every_kind_is_told() -> None:
    told = told_kinds()
    assert told["traffic"] == set(TRAFFIC_KINDS)
    assert told["security"] == security_kinds() | {UNUSUAL}
    assert told["logs"] == set(LOG_KINDS) - {""}
    said = texts(ROOT / "detectors" / "multivariate" / "detector.py").splitlines()
    assert told["multivariate"] <= set(said)


def test_every_field_of_a_verdict_is_told() -> None:
    rows = {code(name)[0]: meaning for name, meaning in table(section(PAGE, "What a detector says"))}
    assert set(rows) == {each.name for each in fields(Verdicts)} | {"score", "reasons"}
    assert set(code(rows["severity"])) == set(SEVERITIES) - {"none"}


def test_the_cold_start_has_the_detectors_own_figures() -> None:
    rows = {name: " ".join(cells) for name, *cells in table(section(PAGE, "Cold start"))}
    assert f"{ROWS_MIN} minutes" in rows["security"]
    assert f"{LEARN_STEPS} steps" in rows["multivariate"]


def test_a_detector_of_ones_own_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quota_detector.py").write_text(script("quota_detector.py"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    entry = next(block.text for block in blocks(PAGE, "text") if "entry-points" in block.text)
    place = entry.split('"')[3]
    detector = make(place, allowed=50.0)
    values = np.array([10.0, 60.0, np.nan, 20.0])
    panel = Panel.of_series(60_000 * np.arange(1, 5), values)
    verdicts = detector.update(panel)
    assert verdicts.alarm[:, 0].tolist() == [False, True, False, False]
    assert verdicts.kind[1, 0] == "over quota"
    assert np.isnan(verdicts.tail[2, 0])
    make(place).restore(detector.state())
    (config,) = [each.text for each in blocks(PAGE, "yaml") if each.options["file"].startswith("own/")]
    (tmp_path / "streamgauge.yaml").write_text(config, encoding="utf-8")
    (monitor,) = compile_plan(load_config(tmp_path / "streamgauge.yaml")).monitors
    assert monitor.detector == place
    assert monitor.settings["allowed"] == 50.0
    assert f"`{monitor.alertname}`" in section(PAGE, "A detector of your own")
    with pytest.raises(ValueError, match="not a state"):
        make(place).restore({})


def test_the_script_finds_its_anomaly() -> None:
    names: dict[str, Any] = {}
    exec(script("explore.py"), names)
    flagged = names["flagged"]
    first, last = names["minutes"][[2900, 2909]]
    assert ((flagged >= first) & (flagged <= last)).any()
    assert (flagged >= first).all()
