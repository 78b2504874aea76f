"""`streamgauge templates`: lines of any kind to the table that people review."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard
from typer.testing import CliRunner, Result

from models.logs.catalog import template_id
from streams.cli import app

START_MS = 1_779_000_000_000
LINES = [f"Request {number} took {number / 7:.2f} ms" for number in range(40)] + ["All is well"] * 3
SLOW, CALM = template_id("Request <*> took <*>"), template_id("All is well")


def run(*words: Any, code: int = 0, stdin: str | None = None) -> Result:
    done = CliRunner().invoke(app, ["templates", *map(str, words)], input=stdin, env={"COLUMNS": "200"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def written(path: Path, lines: list[str]) -> Path:
    data = "".join(f"{line}\n" for line in lines).encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = zstandard.compress(data)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["app.log", "app.log.gz", "app.log.zst"])
def test_lines_of_text_become_a_table_to_review(tmp_path: Path, name: str) -> None:
    table = tmp_path / "templates.csv"
    done = run(written(tmp_path / name, ["", *LINES]), "-o", table)
    assert "43 lines, 2 templates" in done.stderr
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [(row["id"], row["count"], row["example"]) for row in rows] == [
        (SLOW, "40", LINES[0]),
        (CALM, "3", "All is well"),
    ]
    assert (rows[0]["text"], rows[0]["first_seen_ms"]) == ("Request <*> took <*>", "")


def test_a_review_is_applied_and_survives_another_run(tmp_path: Path) -> None:
    file, table = written(tmp_path / "app.log", LINES), tmp_path / "templates.csv"
    run(file, "-o", table)
    text = table.read_text().replace(f"{CALM},,", f"{CALM},well,true")
    table.write_text(f"{text}tbd0734d8f8,elsewhere\n")
    done = run(file, "--review", table, "-o", table)
    assert "1 decision about templates" in done.stderr
    assert f"{CALM},well,true" in table.read_text()
    assert "well (ignored)" in run(file, "--review", table).stdout
    (tmp_path / "merge.csv").write_text(f"id,merge_into\n{CALM},{SLOW}\n")
    (one,) = json.loads(run(file, "--review", tmp_path / "merge.csv", "--json").stdout)
    assert (one["id"], one["count"], one["aliases"]) == (SLOW, 43, [CALM])


def test_files_add_up(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a", LINES[:20]), written(tmp_path / "b", LINES[20:])
    assert json.loads(run(first, second, "--json").stdout) == json.loads(
        run(written(tmp_path / "c", LINES), "--json").stdout
    )


def event(format: str, text: str, at_ms: int) -> dict[str, Any]:
    """One line as programs of this format write it."""
    match format:
        case "json":
            return {"ts": at_ms, "message": text}
        case "pino":
            return {"level": 30, "time": at_ms, "msg": text}
        case "ecs":
            return {"@timestamp": at_ms, "message": text}
        case "fluentbit":
            return {"date": at_ms / 1_000, "log": text}
        case "vector":
            return {"timestamp": "2026-05-17T06:40:00Z", "message": text}
    record = {"timeUnixNano": str(at_ms * 1_000_000), "body": {"stringValue": text}}
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}


@pytest.mark.parametrize("format", ["json", "pino", "ecs", "fluentbit", "vector", "otlp_json"])
def test_events_have_their_message_and_time_where_their_format_has_them(tmp_path: Path, format: str) -> None:
    lines = [json.dumps(event(format, text, START_MS)) for text in LINES]
    slow, calm = json.loads(run(written(tmp_path / "log", lines), "--format", format, "--json").stdout)
    assert (slow["id"], slow["count"], calm["id"], calm["count"]) == (SLOW, 40, CALM, 3)
    assert slow["first_seen_ms"] == slow["last_seen_ms"] == START_MS


def test_message_and_time_may_be_anywhere(tmp_path: Path) -> None:
    events = [{"event": {"text": text}, "at": START_MS + number} for number, text in enumerate(LINES)]
    file = written(tmp_path / "log", [json.dumps(one) for one in events])
    done = run(file, "--format", "json", "--message", "event.text", "--time", "at", "--json")
    slow, calm = json.loads(done.stdout)
    assert (slow["first_seen_ms"], slow["last_seen_ms"]) == (START_MS, START_MS + 39)
    assert (calm["first_seen_ms"], calm["last_seen_ms"]) == (START_MS + 40, START_MS + 42)


def test_a_message_is_taken_from_the_first_place_that_has_one(tmp_path: Path) -> None:
    lines = ['{"msg": "All is well"}', '{"message": "All is well", "msg": "other"}', '{"x": 1}', "no JSON"]
    done = run(written(tmp_path / "log", lines), "--format", "json", "--json")
    (one,) = json.loads(done.stdout)
    assert (one["id"], one["count"], one["first_seen_ms"]) == (CALM, 2, 0)
    assert "1 line could not be read (1 bad_json)" in done.stderr
    assert "1 line without a message" in done.stderr


def test_many_templates_are_shown_in_part(tmp_path: Path) -> None:
    words = ["".join(chr(97 + number // 26) + chr(97 + number % 26)) for number in range(40)]
    lines = [" ".join([word] * (3 + number % 5)) for number, word in enumerate(words)]
    assert "and 10 more" in run("-", stdin="\n".join(lines)).stdout


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["missing.log"], 1, "missing.log: cannot be read"),
        (["-", "-"], 2, "only once"),
        (["-", "--message", "msg"], 2, "choose another --format"),
        (["-", "-o", "templates.xlsx"], 2, "ends with .csv or .json"),
        (["-", "-o", "no/such/folder.csv"], 1, "no/such/folder.csv: cannot be written"),
        (["-", "--review", "missing.csv"], 1, "missing.csv: cannot be read"),
        (["-", "--review", "bad.csv"], 1, "bad.csv:2: expected an id"),
        (["-", "--review", "binary.csv"], 1, "binary.csv: expected text in UTF-8"),
        (["-", "--format", "jsn"], 2, "expected one of json, access_log,"),
        (["-", "--format", "json"], 1, "no line with a message"),
        (["-", "--format", "json", "--message", 'a"b'], 2, "expected keys without quotes"),
    ],
)
def test_mistakes_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text("id,name\n7,a\n")
    Path("binary.csv").write_bytes(b"\xff\xfe")
    assert text in run(*words, code=code, stdin="All is well\n").stderr
