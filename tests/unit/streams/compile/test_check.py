"""`check`: the messages for broken files, word by word, and what it takes as configuration or OpenSLO."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from streams.compile.check import check_paths, format_report, report_json

GOLDEN = Path(__file__).parents[3] / "golden" / "check"
EXAMPLES = GOLDEN.parent.parent.parent / "examples"
INPUTS = sorted(path.name for path in GOLDEN.glob("in-*.yaml"))


@pytest.mark.parametrize("name", INPUTS)
def test_messages_are_the_golden_ones(
    name: str, update_golden: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(GOLDEN)
    report = check_paths([Path(name)], environment={})
    golden = GOLDEN / name.replace("in-", "out-").replace(".yaml", ".txt")
    text = format_report(report) + "\n"
    if update_golden:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
    assert report.ok == ("holds" in name)


def test_there_are_ten_broken_files_and_a_golden_file_for_each_input() -> None:
    assert len([name for name in INPUTS if "holds" not in name]) >= 10
    outputs = {path.stem.removeprefix("out-") for path in GOLDEN.glob("out-*.txt")}
    assert outputs == {Path(name).stem.removeprefix("in-") for name in INPUTS}


def test_the_whole_folder_tells_what_its_files_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    whole = {str(problem) for problem in check_paths([Path()], environment={}).problems}
    for name in INPUTS:
        if name.startswith(("in-08", "in-10", "in-11")):
            continue  # objects of the same name in several files are a mistake of the folder alone
        alone = {str(problem) for problem in check_paths([Path(name)], environment={}).problems}
        assert alone <= whole


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


CONFIG = """
sources:
  requests: {topic: requests, format: json}
"""

SERVICE = """
apiVersion: openslo/v1
kind: Service
metadata: {name: checkout}
spec: {}
"""


def test_files_are_told_apart_by_their_keys(tmp_path: Path) -> None:
    write(tmp_path / "streamgauge.yaml", CONFIG)
    write(tmp_path / "slos" / "service.yml", SERVICE)
    write(tmp_path / "compose.yaml", "services: {kafka: {image: apache/kafka}}")
    write(tmp_path / "deployment.yaml", "apiVersion: apps/v1\nkind: Deployment")
    write(tmp_path / ".git" / "hidden.yaml", "sources: 1")
    report = check_paths([tmp_path], environment={})
    assert report.ok
    assert [Path(file).name for file in report.files] == ["service.yml", "streamgauge.yaml"]
    assert sorted(Path(note.file).name for note in report.notes) == ["compose.yaml", "deployment.yaml"]


def test_a_file_that_is_named_is_not_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "typo.yaml", "source: {}")
    problems = [str(problem) for problem in check_paths([path], environment={}).problems]
    assert problems[0] == f"{path}:1: source: expected a known key, found source; did you mean sources?"


def test_a_broken_file_in_a_folder_is_not_overlooked(tmp_path: Path) -> None:
    write(tmp_path / "streamgauge.yaml", "app: shop\nsources: [")
    write(tmp_path / "slo.yaml", "apiVersion: openslo/v1\nkind: 'SLO")
    write(tmp_path / "template.yaml", "{{ if .Values }}\na: [")
    report = check_paths([tmp_path], environment={})
    assert sorted(Path(problem.file).name for problem in report.problems) == ["slo.yaml", "streamgauge.yaml"]


def test_what_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"app: shop\n\xff\xfe")
    (tmp_path / "empty").mkdir()
    report = check_paths([tmp_path / "absent.yaml", binary, tmp_path / "empty"], environment={})
    assert [(Path(p.file).name, p.line, p.expected) for p in report.problems] == [
        ("absent.yaml", 0, "a file"),
        ("binary.yaml", 2, "text in UTF-8"),
        ("empty", 0, "YAML files in the folder"),
    ]


def test_slo_files_are_checked_against_the_configuration_that_names_them(tmp_path: Path) -> None:
    slo = """
apiVersion: openslo/v1
kind: SLI
metadata: {name: a}
spec: {ratioMetric: {good: {metricSource: {type: streamgauge, spec: {source: request}}},
                     total: {metricSource: {type: streamgauge, spec: {source: request}}}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: a}
spec: {service: s, indicatorRef: a, budgetingMethod: Occurrences, objectives: [{target: 0.9}]}
"""
    write(tmp_path / "slos" / "a.yaml", slo)
    alone = check_paths([tmp_path / "slos"], environment={})
    assert alone.ok
    write(tmp_path / "streamgauge.yaml", CONFIG + "slos: [slos/*.yaml]\n")
    together = check_paths([tmp_path], environment={})
    assert [problem.suggestion for problem in together.problems] == ["did you mean requests?"]


def test_a_mistake_in_a_source_brings_no_second_one_in_its_slos(tmp_path: Path) -> None:
    write(
        tmp_path / "streamgauge.yaml",
        "sources: {requests: {topic: requests, format: json, duration: 1, lateness: soon}, b: {}}\n"
        "slos: [slo.yaml]",
    )
    write(
        tmp_path / "slo.yaml",
        """
apiVersion: openslo/v1
kind: SLO
metadata: {name: a}
spec:
  service: s
  indicator: {spec: {ratioMetric: {good: {metricSource: {type: streamgauge, spec: {source: b}}},
                                   total: {metricSource: {type: streamgauge, spec: {source: b}}}}}}
  budgetingMethod: Occurrences
  objectives: [{target: 0.9}]
""",
    )
    report = check_paths([tmp_path / "streamgauge.yaml"], environment={})
    assert {problem.key for problem in report.problems} == {
        "sources.requests.duration",
        "sources.requests.lateness",
        "sources.b.topic",
        "sources.b.format",
    }


def test_json_says_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", CONFIG + "web: {prot: 1}")
    report = check_paths([path], environment={})
    told = json.loads(json.dumps(report_json(report)))
    assert told["ok"] is False
    assert told["files"] == [str(path)]
    assert told["problems"] == [
        {
            "file": str(path),
            "line": 4,
            "key": "web.prot",
            "expected": "a known key",
            "found": "prot",
            "suggestion": "did you mean port?",
            "message": str(report.problems[0]),
        }
    ]


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.yaml",
        """
broker:
  bootstrap: ${BOOTSTRAP}
  security: {protocol: SASL_SSL, mechanism: PLAIN, username: u, password: 8675309}
sources:
  requests: {topic: requests, format: "${FORMAT}", where: "a == '${TOKEN}' &&"}
sinks:
  alertmanager: {url: "htp://user:pass-word@host", password: [tiger]}
  notify: [12345678]
""",
    )
    environment = {"BOOTSTRAP": "sekret-1", "FORMAT": "sekret-2", "TOKEN": "sekret-3"}
    environment["STREAMGAUGE_WEB__PORT"] = "sekret-4"
    report = check_paths([path], environment=environment)
    text = format_report(report) + json.dumps(report_json(report))
    for secret in ("8675309", "sekret", "pass-word", "tiger", "12345678"):
        assert secret not in text
    assert {problem.key for problem in report.problems} == {
        "broker.bootstrap",
        "broker.security.password",
        "sources.requests.format",
        "sources.requests.where",
        "sinks.alertmanager.url",
        "sinks.alertmanager.password",
        "sinks.notify[0]",
        "STREAMGAUGE_WEB__PORT",
    }


WHOLE = [
    yaml.safe_load((EXAMPLES / "requests.yaml").read_text(encoding="utf-8")),
    *yaml.safe_load_all((GOLDEN / "in-11-slo-of-a-source" / "slos.yaml").read_text(encoding="utf-8")),
    *yaml.safe_load_all((GOLDEN / "in-12-holds-with-notes.yaml").read_text(encoding="utf-8")),
]
"""Documents to damage: a configuration and OpenSLO objects."""

JUNK: list[Any] = [
    *(None, True, 0, -1, 1e300, "", "x", "5m", "1M", "status >=", "${X}", "\ue041", "2026-01-01 00:00:00"),
    *([], {}, [[]], [None], {"a": {"b": 1}}, {"": ""}, {"0": 0}, ["a", {"b": []}]),
]


def damage(value: Any, chance: random.Random) -> Any:
    """`value` with some of its parts replaced, dropped or renamed."""
    if chance.random() < 0.08:
        return chance.choice(JUNK)
    if isinstance(value, dict):
        return {
            (key[:-1] if chance.random() < 0.04 else key): damage(item, chance)
            for key, item in value.items()
            if chance.random() > 0.04
        }
    if isinstance(value, list):
        return [damage(item, chance) for item in value for _ in range(chance.choice([0, 1, 1, 1, 1, 2]))]
    return value


@pytest.fixture(scope="module")
def damaged_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "damaged.yaml"


@given(whole=st.sampled_from(WHOLE), seed=st.integers(min_value=0, max_value=2**32))
def test_whatever_is_wrong_is_told_and_not_raised(damaged_file: Path, whole: Any, seed: int) -> None:
    text = yaml.safe_dump(damage(whole, random.Random(seed)))
    report = check_paths([write(damaged_file, text)], environment={})
    for problem in report.problems:
        assert problem.file == str(damaged_file)
        assert 1 <= problem.line <= text.count("\n") + 1
        assert problem.expected
    assert (
        format_report(report).splitlines()[-1].startswith("ok: " if report.ok else str(len(report.problems)))
    )


@given(text=st.text(max_size=60))
def test_any_text_is_told_and_not_raised(damaged_file: Path, text: str) -> None:
    damaged_file.write_bytes(text.encode("utf-8", "surrogatepass"))
    report = check_paths([damaged_file], environment={})
    assert report.files == (() if report.problems and not report.files else (str(damaged_file),))
