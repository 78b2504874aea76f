"""`streamgauge label` with a file of labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from detectors.feedback.labels import Label
from streams.cli import app
from streams.modelling.label_files import LabelFileError, read_labels

SPIKE = ("--series", "cart", "--series", "eu", "--kind", "spike", "--from", "2026-11-25T10:00Z")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "labels.jsonl"


def run(file: Path, *words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["label", *words, "--file", str(file)])
    assert done.exit_code == code, done.output
    return done


def test_a_label_is_written_as_a_line(file: Path) -> None:
    run(file, "noise", *SPIKE, "--to", "2026-11-25T12:00+01:00", "--author", "ann", "--note", "a deploy")
    (label,) = read_labels(file)
    assert label == Label(
        "traffic",
        ("cart", "eu"),
        "noise",
        "spike",
        from_ms=1_795_600_800_000,
        to_ms=1_795_604_400_000,
        by="ann",
        at_ms=label.at_ms,
        note="a deploy",
    )


def test_labels_are_listed_with_the_precision_they_give(file: Path) -> None:
    run(file, "noise", *SPIKE)
    run(file, "real", "--series", "cart", "--anomaly", "0b18fac839e02097", "--detector", "security")
    run(file, "real", "--series", "search", "--from", "1795600800000")
    listed = json.loads(run(file, "--list", "--json").stdout)
    assert len(listed["labels"]) == 3
    assert listed["detectors"]["traffic"] == {"real": 1, "noise": 1, "expected": 0, "precision": 0.5}
    text = run(file, "--list").stdout
    assert "traffic: 1 real, 1 noise, precision 50 %" in text
    assert "0b18fac839e02097" in text
    run(file, "noise", *SPIKE, "--remove")
    assert json.loads(run(file, "--list", "--json").stdout)["detectors"]["traffic"]["noise"] == 0
    assert len(read_labels(file)) == 4


def test_the_last_word_about_an_anomaly_holds(file: Path) -> None:
    for verdict in ("noise", "real", "expected"):
        run(file, verdict, *SPIKE)
    (label,) = json.loads(run(file, "--list", "--json").stdout)["labels"]
    assert label["verdict"] == "expected"


def test_an_empty_file_has_no_labels(file: Path) -> None:
    file.write_text("\n")
    assert run(file, "--list").stdout == "no labels\n"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["noise"], 2, "names an anomaly by its id, or a time"),
        ([], 2, "a verdict is needed"),
        (["nois", *SPIKE], 2, "nois"),
        (["noise", "--from", "yesterday"], 2, "--from: expected a time such as"),
        (["noise", "--to", "2026-11-25"], 2, "--to needs --from"),
        (["noise", "--from", "2026-11-25", "--to", "2026-11-24"], 2, "ends before it begins"),
        (["noise", "--list"], 2, "takes no verdict"),
        (["--list"], 1, "cannot be read"),
    ],
)
def test_mistakes_are_told_with_an_exit_code(file: Path, words: list[str], code: int, text: str) -> None:
    assert text in run(file, *words, code=code).stderr
    assert not file.exists()


def test_either_a_configuration_or_a_file_is_needed() -> None:
    done = CliRunner().invoke(app, ["label", "noise", *SPIKE])
    assert done.exit_code == 2
    assert "--config" in done.stderr


def test_a_file_that_cannot_be_written_or_read_is_told(tmp_path: Path) -> None:
    assert "cannot be written" in run(tmp_path, "noise", *SPIKE, code=1).stderr
    bad = tmp_path / "bad.jsonl"
    bad.write_text('\n{"detector": "traffic"}\n')
    with pytest.raises(LabelFileError, match=r"bad\.jsonl:2: no label"):
        read_labels(bad)
