"""Every notebook runs from top to bottom, draws what it promises, and what it says of its data is true."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import Any

import jupytext
import matplotlib
import matplotlib.pyplot as plt
import pytest

EXECUTED_AS_JUPYTER_DOES = "compare_alert_tiers"
"""By a test of its own."""

NOTEBOOKS = {
    path.stem: path
    for path in sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.py"))
    if path.stem != EXECUTED_AS_JUPYTER_DOES
}


@functools.cache
def made(name: str) -> tuple[dict[str, Any], int]:
    """The variables of a notebook after it ran, and how many figures it has drawn."""
    matplotlib.use("Agg")
    plt.close("all")
    # as in Jupyter: in the notebook's folder, and without `__file__`
    variables: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.chdir(NOTEBOOKS[name].parent):
        exec(compile(NOTEBOOKS[name].read_text(), NOTEBOOKS[name], "exec"), variables)
    drawn = len(plt.get_fignums())
    plt.close("all")
    return variables, drawn


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_opens_with_a_title_and_is_listed(name: str) -> None:
    cells = jupytext.read(NOTEBOOKS[name]).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    assert {cell.cell_type for cell in cells} == {"markdown", "code"}
    assert f"- `{name}.py`: " in (NOTEBOOKS[name].parent / "README.md").read_text()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name: str) -> None:
    _, drawn = made(name)
    assert drawn, "a notebook draws something"


def test_the_made_up_incident_is_seen() -> None:
    seen, _ = made("explore_slis")
    assert seen["summary"].outcomes["access_log"] == {"in": 86_400, "late": 0, "dead": 0}
    fired = seen["alerts"].query("state == 'firing' and severity == 'page'")
    assert len(fired) == 1
    assert seen["INCIDENT"][0] < fired["at"].iloc[0] < seen["INCIDENT"][1]
    slis = seen["slis"]
    assert slis["budget left"].iloc[-1] < 0
    assert slis["SLI 5 m"].min() < 0.95, "reports that were kept show the incident, not the end of the day"
    assert slis["SLI 5 m"].iloc[100] > 0.99


def test_the_hunt_finds_both_attackers_soon_and_nobody_else() -> None:
    seen, _ = made("security_hunt")
    suspects, begun = seen["suspects"], seen["BEGUN"]
    assert set(suspects.index) == set(begun), "only attackers"
    for client, since in begun.items():
        assert 0 <= (suspects.loc[client, "at"] - since).total_seconds() <= 60
    assert suspects.loc[seen["SCANNER"], "kind"] == "scanner"
    assert suspects.loc[seen["GUESSER"], "kind"] == "brute force"
    assert suspects["reasons"].str.contains(r"\d+ (?:distinct paths|failed logins)").all()
    assert seen["asked"].loc[seen["SCANNER"], "paths"] == 400
    assert set(seen["flagged"]["client"]) == set(begun), "the table tells the same as the stream"


def test_reviewed_templates_are_watched_and_each_made_up_event_is_found_once() -> None:
    seen, _ = made("log_templates")
    templates = seen["templates"]
    assert len(templates) == 6, "as many as texts were made up"
    assert templates["count"].sum() == len(seen["lines"])
    assert list(templates.loc[templates["ignored"], "name"]) == ["health check"]
    found = seen["anomalies"].reset_index()
    texts = dict(zip(found["kind"], found["template"].map(templates["text"]), strict=True))
    assert len(found) == 3
    assert texts["new template"].startswith("ERROR payment")
    assert texts["surge"].startswith("cache miss")
    assert texts["vanished template"].startswith("backup")
    begun = found.set_index("kind")["begun"]
    for kind, since, minutes in (
        ("new template", "NEW_AT", 10),
        ("surge", "SURGE_AT", 10),
        ("vanished template", "GONE_AT", 60),
    ):
        assert 0 < (begun[kind] - seen[since]).total_seconds() <= 60 * minutes


def test_settings_cost_what_they_say_and_labels_of_noise_silence_only_noise() -> None:
    seen, _ = made("tune_traffic_detector")
    costs = seen["costs"]
    rates, found = costs["false alarms a series and week"], costs["real found"]
    assert (rates[:3] < 2 * costs["asked"][:3]).all(), "about as many false alarms as were asked for"
    assert found[:3].is_monotonic_increasing
    assert found[0] >= 4
    assert found[2] >= 10
    assert rates[3] <= rates[1], "small effects are left out"
    assert list(seen["factors"]) == [(("reports",), "spike")]
    assert not seen["factors_of"](
        [*seen["complaints"], *seen["taken_back"]], "traffic", now_ms=seen["now_ms"]
    )
    compared = seen["compared"]
    assert compared.loc[(True, False), "after"] <= compared.loc[(True, False), "before"]
    assert seen["calmer"].alarm.sum() < seen["verdicts"].alarm.sum()
    others = compared.drop(index=(True, False))
    assert (others["before"] == others["after"]).all()


def test_the_gate_lets_the_calm_model_pass_and_not_the_deaf_one() -> None:
    seen, _ = made("compare_and_promote_models")
    report = seen["report"]
    assert report["shadow"]["episodes"] < report["champion"]["episodes"]
    assert not seen["both"].failure
    checks = seen["checks"].set_index(["candidate", "check"])["passed"]
    assert checks["calm"].all()
    assert not checks["deaf", "recall"]
    assert seen["promoted"] == seen["calm"]
    history = seen["history"]
    assert list(history["version"]) == [seen["loud"], seen["calm"], seen["loud"]]
    assert seen["registry"].pointer("traffic", "champion").version == seen["loud"], "rolled back"


def test_forecasts_beat_what_is_usual() -> None:
    seen, _ = made("capacity")
    result = seen["result"]
    assert result.mase < result.naive_mase
    assert 0.65 < result.coverage(0.8) < 0.95
    assert seen["brier_score"](seen["said"], seen["came"]) < seen["brier_score"](seen["usual"], seen["came"])
    assert 0.0 < seen["crossing"].probability <= 1.0
    assert 0.0 < seen["outlook"].used_ratio < seen["outlook"].forecast_ratio


def test_one_source_is_enough_to_flag_the_incident() -> None:
    seen, _ = made("read_slis")
    assert list(seen["sources"]) == ["replay"]
    assert seen["INCIDENT"].start < seen["first"]["replay"] < seen["INCIDENT"].end
