"""The command line as a shell sees it: exit codes, and what goes to which stream."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.csv
import pytest

ROOT = Path(__file__).parents[2]

COMMANDS = ("demo", "check", "replay", "worker", "capture", "detect", "label", "graph")

LINE = '203.0.113.14 - - [25/Nov/2026:05:54:{:02} +0000] "GET / HTTP/1.1" {} 16 "-" "-" 0.020\n'


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", *arguments],
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def log(tmp_path: Path) -> str:
    path = tmp_path / "access.log"
    path.write_text("".join(LINE.format(second, 500 if second == 7 else 200) for second in range(20)))
    return str(path)


def replay(log: str, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("replay", log, "-c", "examples/access-log.yaml", "--output", str(output), *arguments)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"streamgauge {command} " in done.stdout.split("Example")[1]


def test_help_lists_every_command() -> None:
    done = run("--help")
    assert all(f" {command} " in done.stdout for command in COMMANDS)


def test_help_is_quick_and_imports_no_client() -> None:
    code = "import sys, streams.cli; print({'faust', 'aiokafka', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_replay_prints_a_table_and_writes_the_files(log: str, tmp_path: Path) -> None:
    done = replay(log, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "availability" in done.stdout
    assert "20 events, 0 late, 0 dead" in done.stdout
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "alerts.jsonl",
        "anomalies.jsonl",
        "dead-letters.jsonl",
        "incidents.jsonl",
        "slis.parquet",
        "summary.json",
    ]


def test_replay_prints_json_for_scripts(log: str, tmp_path: Path) -> None:
    summary = json.loads(replay(log, tmp_path / "out", "--json").stdout)
    assert [summary[key] for key in ("events", "good", "bad", "late", "dead")] == [20, 19, 1, 0, 0]


def test_replay_writes_csv_and_json_lines(log: str, tmp_path: Path) -> None:
    assert replay(log, tmp_path / "out", "--output-format", "csv").returncode == 0
    rows = pyarrow.csv.read_csv(tmp_path / "out" / "slis.csv").to_pylist()
    assert replay(log, tmp_path / "out", "--output-format", "jsonl").returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "slis.jsonl").read_text().splitlines()]
    assert not (tmp_path / "out" / "slis.csv").exists()
    assert len(rows) == len(lines) > 0
    assert [row["good"] for row in rows] == [line["good"] for line in lines]
    assert lines[0]["labels"] == {}


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        ("replay LOG -c ACCESS", 2, "--output"),
        ("replay LOG -c nothing.yaml -o OUT", 1, "nothing.yaml: expected a file"),
        ("replay nothing.log -c ACCESS -o OUT", 1, "nothing.log: cannot be read"),
        ("replay LOG -c OTLP -o OUT", 2, "one of metrics (topic otlp_metrics), logs"),
        ("replay LOG -c OTLP -o OUT --source span", 2, "did you mean spans?"),
        ("replay LOG -c ACCESS -o OUT --format jsn", 2, "did you mean json?"),
        ("replay LOG -c ACCESS -o OUT --format otlp_json", 2, "a source with a signal"),
        ("replay - - -c ACCESS -o OUT", 2, "read only once"),
        ("capture t -c ACCESS -o OUT --last soon", 2, "such as 500ms, 30s"),
        ("demo --duration 1s", 2, "at least 10s"),
        ("check nothing.yaml", 1, "nothing.yaml"),
        ("chekc", 2, "check"),
    ],
)
def test_mistakes_end_with_one_message(line: str, code: int, text: str, log: str, tmp_path: Path) -> None:
    named = {
        "LOG": log,
        "OUT": str(tmp_path / "out"),
        "ACCESS": "examples/access-log.yaml",
        "OTLP": "examples/otlp.yaml",
    }
    done = run(*(named.get(word, word) for word in line.split()))
    assert done.returncode == code
    said = done.stdout if line.startswith("check") else done.stderr
    assert text in " ".join(said.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_a_file_in_another_format_is_noticed(tmp_path: Path) -> None:
    done = run(
        *("replay", "-", "-c", "examples/access-log.yaml", "-o", str(tmp_path / "out")),
        stdin="one\ntwo\n",
    )
    assert done.returncode == 1
    assert "Is its format right?" in done.stderr


def test_check_tells_all_mistakes_as_json(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("app: shop\nsources:\n  requests: {topic: requests, format: jsn}\nwbe: {port: 1}\n")
    done = run("check", "--json", str(broken))
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert not report["ok"]
    assert {problem["line"] for problem in report["problems"]} == {3, 4}


def test_check_says_what_it_checked() -> None:
    done = run("check", "examples")
    assert done.returncode == 0
    assert "ok: 6 files checked" in done.stdout


def test_graph_draws_every_source_and_slo() -> None:
    done = run("graph", "-c", "examples/otlp.yaml")
    assert done.returncode == 0
    assert done.stdout.startswith("flowchart LR\n")
    for part in ("otlp_metrics", "otlp_logs", "otlp_spans", "availability", "quiet-logs", "otel-alerts"):
        assert part in done.stdout
