"""Entries under `detectors` as plans of monitors, and what is said of a detector that does not ship."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from streams.compile.check import check_paths
from streams.compile.configuration import compile_plan
from streams.config.load import load_config
from streams.plan.plan import MonitorPlan
from tests.unit import levels, zscore
from tests.unit.custom_detector import MODULE, write_detector

SOURCES = """\
sources:
  web: {topic: web, format: json, time: ts, series: [service, route]}
detectors:
"""


def write(folder: Path, detectors: str) -> Path:
    path = folder / "streamgauge.yaml"
    path.write_text(SOURCES + detectors)
    return path


def monitors(folder: Path, detectors: str) -> tuple[MonitorPlan, ...]:
    return compile_plan(load_config(write(folder, detectors))).monitors


def problems(folder: Path, detectors: str) -> list[str]:
    found = check_paths([write(folder, detectors)], environment={}).problems
    return [str(problem).removeprefix(f"{folder}/streamgauge.yaml:") for problem in found]


@pytest.fixture
def surge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    name = write_detector(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_what_ships_and_what_does_not_take_the_same_options(tmp_path: Path) -> None:
    options = "source: web, step: 5m, keep: 2h, service: route, model: nights"
    traffic, custom = monitors(
        tmp_path,
        f"  traffic:\n    - {{{options}, false_alarms_per_series_per_week: 2}}\n"
        f"  custom:\n    - {{name: '{zscore.NAME}', {options}, false_alarms_per_series_per_week: 2}}\n",
    )
    for name in ("source", "rollup", "step_ms", "kept_ms", "service", "model", "features"):
        assert getattr(custom, name) == getattr(traffic, name)
    assert custom.settings == {"false_alarms_per_series_per_week": 2.0}
    assert traffic.settings["step_ms"] == custom.step_ms == 300_000
    assert (traffic.name, traffic.alertname) == ("traffic:web", "TrafficAnomaly")
    assert (custom.name, custom.alertname) == (f"{zscore.NAME}:web", "CustomAnomaly")


def test_several_entries_of_one_detector_have_names_of_their_own(tmp_path: Path) -> None:
    entry = f"    - {{name: '{levels.NAME}', source: web, settings: {{times: {{}}}}}}\n"
    one, other = monitors(tmp_path, "  custom:\n" + entry.replace("{}", "2") + entry.replace("{}", "4"))
    assert (one.name, other.name) == (f"{levels.NAME}:web", f"{levels.NAME}:web:2")
    assert (one.settings["times"], other.settings["times"]) == (2.0, 4.0)
    assert one.model == "levels"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            "settings: {times: 3, feture: rate}",
            "feture: expected a known key, found feture; did you mean feature?",
        ),
        ("settings: {times: many}", 'times: expected a number, found "many"'),
        ("settings: {times: 3, feature: [rate]}", "feature: expected text, found a list"),
        ("settings: {feature: rate}", "times: expected a value, found nothing; add times: under this line"),
        ("settings: [3]", "expected a mapping, found a list"),
        ("step: 1m", "times: expected a value, found nothing; add settings: {times: …}"),
    ],
)
def test_settings_are_checked_by_the_class(tmp_path: Path, surge: str, entry: str, expected: str) -> None:
    (found,) = problems(tmp_path, f"  custom:\n    - name: {surge}\n      source: web\n      {entry}\n")
    key = "" if expected.startswith("expected") else "."
    assert found.startswith(f"{5 if entry.startswith('step') else 7}: detectors.custom[0].settings{key}")
    assert found.endswith(expected)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            "{name: traffc, source: web}",
            "5: detectors.custom[0].name: expected a detector that is installed, or package.module:Class, "
            "found \"traffc\"; no detector is called 'traffc'; there are logs, ",
        ),
        (
            "{name: 'nowhere:Quota', source: web}",
            "detector 'nowhere:Quota' cannot be loaded from nowhere:Quota: No module named 'nowhere'",
        ),
        (
            "{name: traffic, source: web}",
            'expected a detector that does not ship, found "traffic"; traffic has a '
            "place of its own, detectors.traffic",
        ),
        (
            "{name: sigma, source: web}",
            "sigma has a place of its own, sigma of an entry of detectors.security",
        ),
        ("{name: 'builtins:dict', source: web}", "takes; builtins:dict is not a detector"),
        ("{name: surge, source: wbe}", 'expected web, found "wbe"'),
        (f"{{name: '{levels.NAME}', source: web, settings: {{}}, step: 10m}}", "expected one of 10s"),
        (f"{{name: '{levels.NAME}', source: web, seting: 1}}", "did you mean settings?"),
        (
            f"{{name: '{zscore.NAME}', source: web, settings: {{threshold: -1}}}}",
            "5: detectors.custom[0].settings: expected settings that it takes; "
            "detector 'tests.unit.zscore:ZScore': threshold must be above 0, not -1",
        ),
    ],
)
def test_a_detector_that_cannot_be_made_is_told_at_its_line(
    tmp_path: Path, entry: str, expected: str
) -> None:
    found = problems(tmp_path, f"  custom:\n    - {entry}\n")
    assert any(expected in problem for problem in found), found


def test_what_raises_anything_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_detector.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = problems(tmp_path, "  custom:\n    - {name: 'broken_detector:Quota', source: web}\n")
    assert found.endswith("cannot be loaded from broken_detector:Quota: no licence")


def test_a_rate_that_a_detector_does_not_take_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from tests.unit.levels import Levels\n\n\ndef plain(times=3.0):\n    return Levels(times)\n"
    (tmp_path / "plain_detector.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    entry = "  custom:\n    - {name: 'plain_detector:plain', source: web, settings: {times: 2}%s}\n"
    (monitor,) = monitors(tmp_path, entry % "")
    assert monitor.settings == {"times": 2}
    (found,) = problems(tmp_path, entry % ", false_alarms_per_series_per_week: 1")
    assert "expected no rate, since plain_detector:plain takes none; remove it" in found


def test_without_such_an_entry_no_detector_is_imported(tmp_path: Path) -> None:
    path = write(tmp_path, "  traffic:\n    - {source: web}\n  multivariate:\n    - {source: web}\n")
    code = (
        "import sys\nfrom pathlib import Path\nfrom streams.compile.check import check_paths\n"
        f"assert check_paths([Path({str(path)!r})], environment={{}}).ok\n"
        "print(*[name for name in sys.modules if name.endswith('.detector')], 'sklearn' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["detectors.api.detector", "False"]
