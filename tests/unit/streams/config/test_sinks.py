"""`sinks` of a configuration is validated by each sink's own settings, and a mistake is told at its line."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from streams.config.load import load_config
from streams.config.models import Config
from streams.config.sinks import GROUP, installed_sinks, settings_model
from streams.language.problems import ConfigError, Findings
from streams.language.yaml.documents import Document
from streams.language.yaml.validation import validate


def load(folder: Path, sinks: str, environment: dict[str, str] | None = None) -> Config:
    path = folder / "c.yaml"
    path.write_text("sources: {a: {topic: a, format: json, time: {format: record}}}\nsinks:\n" + sinks)
    return load_config(path, environment or {})


def mistakes(folder: Path, sinks: str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, sinks, environment)
    return [str(problem).removeprefix(f"{folder}/c.yaml:") for problem in caught.value.problems]


def test_the_sinks_that_ship_are_found() -> None:
    assert list(installed_sinks()) == ["alertmanager", "notify"]


def test_only_what_is_on_is_configured(tmp_path: Path) -> None:
    assert load(tmp_path, "  {}").sinks.configured() == {}
    assert load(tmp_path, "  {alertmanager: , notify: []}").sinks.configured() == {}
    sinks = load(tmp_path, '  alertmanager: {url: "${AM}"}', {"AM": "http://a"}).sinks.configured()
    assert list(sinks) == ["alertmanager"]
    assert sinks["alertmanager"].url == "http://a"


def test_the_environment_reaches_a_sinks_settings(tmp_path: Path) -> None:
    environment = {
        "STREAMGAUGE_SINKS__ALERTMANAGER__URL": "http://b",
        "STREAMGAUGE_SINKS__NOTIFY": "[json://c]",
    }
    sinks = load(tmp_path, "  {}", environment).sinks.configured()
    assert sinks["alertmanager"].url == "http://b"
    assert [url.get_secret_value() for url in sinks["notify"]] == ["json://c"]


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    sinks = """
  alertmanager:
    url: a
    repaet: 1m
  notfy: []
"""
    assert mistakes(tmp_path, sinks) == [
        '5: sinks.alertmanager.url: expected an address such as http://127.0.0.1:9093, found "a"',
        "6: sinks.alertmanager.repaet: expected a known key, found repaet; did you mean repeat?",
        "7: sinks.notfy: expected a known key, found notfy; did you mean notify?",
    ]


def test_a_name_like_no_other_is_answered_with_all(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "  pager: {}") == [
        "3: sinks.pager: expected a known key (alertmanager, notify), found pager"
    ]


def test_a_secret_in_place_of_a_list_of_secrets_is_not_shown(tmp_path: Path) -> None:
    (told,) = mistakes(tmp_path, '  notify: "discord://id/sekret"')
    assert told.startswith("3: sinks.notify: expected a list")
    assert "sekret" not in told


def test_secrets_are_no_part_of_the_digest(tmp_path: Path) -> None:
    def digest(url: str, password: str) -> str:
        sink = f"  alertmanager: {{url: {url}, username: u, password: {password}}}"
        return load(tmp_path, sink).digest()

    assert digest("http://a", "one") == digest("http://a", "two")
    assert digest("http://a", "one") != digest("http://b", "one")


def test_a_sink_that_is_installed_and_not_used_changes_no_dump() -> None:
    points = list(installed_sinks().values())
    value = {"alertmanager": {"url": "http://a"}}
    few, more = settings_model(points[:1]), settings_model(points)
    assert few.model_validate(value).model_dump_json() == more.model_validate(value).model_dump_json()


def test_a_sink_that_cannot_be_loaded_is_told_only_where_it_is_used() -> None:
    model = settings_model([EntryPoint("pager", "no_such_module:Pager", GROUP)])
    assert model.model_validate({}).configured() == {}
    findings = Findings()
    validate(model, Document("c.yaml", {"pager": "sekret"}, {}), (), findings)
    (problem,) = findings.problems
    assert problem.key == "pager"
    assert problem.expected == "the settings of a sink that can be loaded"
    assert problem.suggestion == (
        "no_such_module:Pager raises ModuleNotFoundError: No module named 'no_such_module'"
    )
    assert "sekret" not in str(problem)
