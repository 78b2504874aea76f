"""`streamgauge models` from the first training to a rollback, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from detectors.feedback.labels import Label
from streams.cli import app
from tests.unit.zscore import NAME

MINUTE = 60_000
START = 1_780_000_000_000
TRUST = ("--detector", NAME)


def table(path: Path, *, spikes: tuple[int, ...] = (), shift: float = 0.0, steps: int = 600) -> str:
    times = pd.to_datetime(START + np.arange(steps) * MINUTE, unit="ms", utc=True)
    rng = np.random.default_rng(len(spikes))
    tables = []
    for service in ("cart", "search"):
        rate = rng.normal(100, 5, steps) + shift
        if service == "cart":
            rate[list(spikes)] = 400
        tables.append(pd.DataFrame({"timestamp": times, "service": service, "rate": rate}))
    whole = pd.concat(tables)
    if path.suffix == ".csv":
        whole.to_csv(path, index=False)
    else:
        whole.to_parquet(path)
    return str(path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMGAUGE_MODELS", str(tmp_path / "registry"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def run(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["models", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def answer(*words: str, code: int = 0) -> Any:
    return json.loads(run(*words, "--json", code=code).stdout)


def train(file: str, *words: str, code: int = 0) -> Result:
    return run("train", file, *TRUST, "--name", "traffic", "--by", "service", *words, code=code)


def test_a_model_is_trained_promoted_shadowed_compared_and_rolled_back(folder: Path) -> None:
    file = table(folder / "week.csv")
    first = json.loads(train(file, "--json").stdout)
    assert first["version"].startswith("000001-")
    assert first["features"] == ["rate"]
    assert first["rows"] == 1200
    assert first["metrics"]["episodes"] == 0
    assert first["metrics"]["judged"] == 1.0
    assert (first["from_ms"], first["to_ms"]) == (START, START + 599 * MINUTE)
    assert json.loads(train(file, "--json").stdout)["version"] == first["version"]

    promoted = answer("promote", "traffic", "latest", "--author", "ann")
    assert promoted["promoted"]
    assert [check["passed"] for check in promoted["checks"]] == [True] * 4

    loud = train(file, "--set", "threshold=0.2", "--note", "louder", "--json")
    second = json.loads(loud.stdout)
    assert second["version"].startswith("000002-")
    assert second["settings"] == {"threshold": 0.2}
    assert "streamgauge models promote traffic 000002-" in loud.stderr

    refused = run("promote", "traffic", "latest", code=1)
    assert "Refused" in refused.stderr
    assert "unexplained alarms" in refused.stdout
    assert answer("list")[0]["roles"] == ["champion"]
    assert answer("list")[1]["roles"] == []

    assert "Shadow of traffic is now 000002-" in run("shadow", "traffic").stderr
    report = answer("shadow", "traffic", "2", "--data", file, "--by", "service", *TRUST)["report"]
    assert report["shadow"]["episodes"] > report["champion"]["episodes"] == 0
    assert report["alarm_steps"]["only_shadow"] == report["shadow"]["alarm_steps"]
    assert report["champion"]["judged_steps"] == 1200

    forced = run("promote", "traffic", "shadow", "--force")
    assert "000002-" in forced.stderr
    shown = answer("show", "traffic")
    assert shown["version"] == second["version"]
    assert shown["roles"] == ["champion", "shadow"]
    assert shown["history"]["champion"][0]["by"] == "ann"
    assert shown["history"]["champion"][1]["reason"] == "forced against alarm volume"

    changes = {change["name"]: change for change in answer("diff", "traffic", "1", "2")["changes"]}
    assert changes["settings.threshold"]["new"] == 0.2
    assert changes["note"]["new"] == "louder"
    assert changes["metrics.episodes"]["new"] > 0

    assert "again 000001-" in run("rollback", "traffic", "--reason", "pages at night").stderr
    assert answer("show", "traffic")["version"] == first["version"]
    assert "nothing to go back to" in run("rollback", "traffic", code=1).stderr
    assert "no version" in run("shadow", "traffic", "--stop").stderr
    for words in (["list"], ["show", "traffic"], ["diff", "traffic", "1", "2"]):
        assert "0000" in run(*words).stdout


def test_labels_decide_between_champion_and_candidate(folder: Path) -> None:
    file = table(folder / "incident.parquet", spikes=(500, 550))
    labels = folder / "labels.jsonl"
    times = [START + step * MINUTE for step in (500, 550)]
    said = [Label("traffic", ("cart",), "real", from_ms=at, to_ms=at) for at in times]
    labels.write_bytes(b"\n".join(label.to_bytes() for label in said))
    known = ("--labels", str(labels))
    good = json.loads(train(file, *known, "--json").stdout)
    assert good["metrics"]["recall"] == 1.0
    assert good["metrics"]["alarms_per_series_per_week"] == 0.0
    run("promote", "traffic", "latest")
    train(file, *known, "--set", "deaf=true")
    refused = answer("promote", "traffic", "latest", code=1)
    assert [check["name"] for check in refused["checks"] if not check["passed"]] == ["recall"]
    again = answer("promote", "traffic", "latest", "--data", file, "--by", "service", *known, *TRUST, code=1)
    assert again["champion_metrics"]["recall"] == 1.0
    assert again["metrics"]["recall"] == 0.0
    assert not again["promoted"]
    kept = run("promote", "traffic", "1", "--dry-run")
    assert "would be" in kept.stderr


def test_drift_is_shown(folder: Path) -> None:
    train(table(folder / "week.csv"))
    same = answer("show", "traffic", "latest", "--data", table(folder / "same.csv"), "--by", "service")
    assert same["drift"]["retrain"] is False
    moved = table(folder / "moved.csv", shift=30)
    drift = answer("show", "traffic", "latest", "--data", moved, "--by", "service")["drift"]
    assert drift["retrain"]
    assert drift["features"]["rate"]["psi"] > 0.25
    assert "Train it again" in run("show", "traffic", "latest", "--data", moved, "--by", "service").stdout


def test_drift_triggers_training(folder: Path) -> None:
    week, same = table(folder / "week.csv"), table(folder / "same.csv", spikes=(1,))
    moved = table(folder / "moved.csv", shift=30)
    assert "Stored" in train(week, "--if-drifted", "--holdout", "0").stderr
    run("promote", "traffic", "latest", "--force", "--data", week, "--by", "service", *TRUST)
    calm = train(same, "--if-drifted", "--json")
    assert "Not trained" in calm.stderr
    assert json.loads(calm.stdout)["trained"] is False
    assert len(answer("list")) == 1
    again = train(moved, "--if-drifted")
    assert "Training again: feature rate has shifted" in again.stderr
    assert len(answer("list")) == 2


def test_old_versions_are_deleted_when_asked(folder: Path) -> None:
    file = table(folder / "week.csv", steps=50)
    for number in range(3):
        done = train(file, "--set", f"threshold={number + 1}e-9", "--keep", "2", "--holdout", "0")
    assert "Deleted traffic 000001-" in done.stderr
    assert [row["version"][:6] for row in answer("list", "traffic")] == ["000002", "000003"]
    assert "never tested" in run("promote", "traffic", "latest", code=1).stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["train", "missing.csv", *TRUST], 1, "missing.csv: cannot be read"),
        (["train", "FILE", "--by", "servce", *TRUST], 1, "no column is called 'servce'"),
        (["train", "FILE", *TRUST, "--set", "threshold"], 2, "expected KEY=VALUE"),
        (["train", "FILE", "--by", "service", *TRUST, "--set", "fail=no rows"], 1, "no rows"),
        (["train", "FILE", "--by", "service", *TRUST, "--set", "fail=crash"], 1, "exit code 3"),
        (["train", "FILE", "--by", "service", *TRUST, "--set", "threshold=-1"], 2, "must be above 0"),
        (["train", "FILE", "--by", "service", "--detector", "nosuch"], 2, "no detector is called 'nosuch'"),
        (["train", "FILE", "--by", "service", *TRUST, "--labels", "no.jsonl"], 1, "no.jsonl: cannot be read"),
        (["show", "nosuch"], 1, "nosuch has no champion"),
        (["show", "nosuch", "latest"], 1, "there is no model nosuch"),
        (["promote", "nosuch"], 1, "nosuch has no shadow"),
        (["list", "nosuch"], 1, "there is no model nosuch"),
        (["list", "--registry", "nosuch://bucket"], 2, "nosuch"),
        (["list", "--app", "../x"], 2, "app is named by"),
    ],
)
def test_mistakes_are_told_with_an_exit_code(folder: Path, words: list[str], code: int, text: str) -> None:
    file = table(folder / "week.csv", steps=20)
    done = run(*(file if word == "FILE" else word for word in words), code=code)
    assert text in done.stderr
    assert "Traceback" not in done.output


def test_an_empty_registry_says_how_to_begin(folder: Path) -> None:
    assert run("list", "--json").stderr == ""
    assert answer("list") == []
    assert "streamgauge models train" in run("list").stderr


def test_a_model_of_a_detector_that_is_not_trusted_is_not_run(folder: Path) -> None:
    file = table(folder / "week.csv", steps=50)
    train(file)
    train(file, "--set", "threshold=0.1")
    done = run("diff", "traffic", "1", "2", "--data", file, "--by", "service", code=1)
    assert "not installed" in done.stderr
    done = run("diff", "traffic", "1", "2", "--data", file, "--by", "service", *TRUST)
    assert "correlation of scores" in done.stdout


def test_the_configuration_tells_app_and_registry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMGAUGE_MODELS")
    config = folder / "streamgauge.yaml"
    config.write_text(
        "app: shop\nmodels: {url: trained}\nsources: {s: {topic: t, format: json, time: {field: ts}}}\n"
    )
    train(table(folder / "week.csv", steps=50), "-c", str(config))
    assert len(list((folder / "trained" / "shop" / "traffic").glob("*/model.skops"))) == 1


def test_a_damaged_model_is_told(folder: Path) -> None:
    train(table(folder / "week.csv", steps=50))
    (model,) = (folder / "registry").rglob("model.skops")
    model.write_bytes(b"damaged")
    assert "damaged or exchanged" in run("show", "traffic", "latest", code=1).stderr
    assert "damaged or exchanged" in run("promote", "traffic", "latest", code=1).stderr
    assert answer("list")[0]["roles"] == []
    (folder / "registry" / "streamgauge" / "traffic" / "000002-0123456789ab").mkdir()
    (folder / "registry" / "streamgauge" / "traffic" / "000002-0123456789ab" / "manifest.json").write_text(
        "{"
    )
    listed = run("list", "--json", code=1)
    assert len(json.loads(listed.stdout)) == 1
    assert "traffic/000002-0123456789ab/manifest.json" in listed.stderr
