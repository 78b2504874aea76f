"""Seen: text of events reached logs, terminals, chat programs and spreadsheets as it came.

A path such as `/\\x1b[2J` cleared the terminal of whoever read the log, a line break wrote log lines of its
own, `@everyone` in a label rang every phone, and `=HYPERLINK(…)` in a log line ran in the reviewer's
spreadsheet.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.alerts.alert import Alert
from models.logs.catalog import TemplateCatalog
from models.logs.csv_cells import cell, text_of
from models.logs.reviews import Review, read_reviews
from streams.commands.console import say, say_json, tell
from streams.language.printable import LogFormatter, printable, printable_json
from streams.offline.replay_slis import slis_from_replay
from streams.publish.sinks.notify import announcement
from streams.publish.sinks.plain_text import defused

ROOT = Path(__file__).parents[2]

HOSTILE = "/a\x1b[2J\x9b31m\r\n2026-01-01 00:00:00,000 ERROR forged\u202e\u2028\ud800"


def obeyed(text: str) -> list[str]:
    """What a terminal would act on, line breaks apart."""
    return [character for character in text if not character.isprintable() and character != "\n"]


@given(st.text())
def test_printable_text_is_printed_as_itself_on_one_line(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)
    assert printable(shown) == shown


@given(st.dictionaries(st.text(), st.text()))
def test_json_for_the_terminal_is_the_same_json(value: dict[str, str]) -> None:
    shown = printable_json(json.dumps(value, ensure_ascii=False))
    assert obeyed(shown) == []
    assert json.loads(shown) == value


def test_a_log_line_stays_one_line_and_its_trace_is_indented() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogFormatter("%(levelname)s %(message)s"))
    logger = logging.Logger("of the test")
    logger.addHandler(handler)
    logger.warning("Alert firing: %s", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logger.exception("It failed")
    first, second, *trace = stream.getvalue().splitlines()
    assert first.startswith("WARNING Alert firing: /a\ufffd[2J")
    assert "forged" in first
    assert second == "ERROR It failed"
    assert all(line.startswith("  ") for line in trace)
    assert obeyed(stream.getvalue()) == []


def test_the_worker_and_the_commands_write_their_logs_so() -> None:
    """The worker's own handler, and the one of last resort that serves the other commands."""
    code = f"""
import logging, streams.cli, streams.worker.process as process
logging.getLogger("a").warning({HOSTILE!r})
process.asyncio.new_event_loop = lambda: (_ for _ in ()).throw(RuntimeError)
try:
    process.run_worker(None)
except RuntimeError:
    logging.getLogger("a").warning({HOSTILE!r})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert "WARNING" in lines[1]
    assert obeyed(done.stderr) == []


def test_what_commands_say_holds_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"{HOSTILE}: 3")
    say_json(json.dumps({"series": [HOSTILE]}, ensure_ascii=False))
    tell(f"left out: {HOSTILE}")
    out, err = capsys.readouterr()
    assert obeyed(out) == []
    assert obeyed(err) == []
    assert json.loads(out.splitlines()[-1]) == {"series": [HOSTILE]}


def test_a_hostile_series_in_a_labels_file_is_listed_without_harm(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    for arguments in (
        ["noise", "--series", "/a\x1b[2J\x9b31m", "--from", "2026-01-01", "--json"],
        ["--list"],
        ["--list", "--json"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "streams.cli", "label", *arguments, "--file", str(file)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        )
        assert "[2J" in done.stdout
        assert obeyed(done.stdout) == []
        assert obeyed(done.stderr) == []


def alert() -> Alert:
    return Alert(
        "ab" * 8,
        "firing",
        {
            "alertname": "Anomaly",
            "severity": "page",
            "route": "@everyone <!channel> [x](https://evil.test) www.e.st",
        },
        {
            "summary": "Odd: <@1> <https://evil.test|log in>\r\nBcc: all@example.org",
            "description": "**bold** `code` ||hidden||",
            "runbook_url": "https://example.org/a_b_c?d=1",
            "note": "see https://evil.test now",
        },
        1_000,
    )


@pytest.mark.parametrize("markdown", [False, True])
def test_announcements_mention_nobody_and_link_only_where_their_author_did(markdown: bool) -> None:
    told = announcement(alert(), markdown=markdown)
    assert told["body_format"] == "text", "so that Apprise escapes for mail and Slack"
    text = told["title"] + "\n" + told["body"]
    assert "\n" not in told["title"]
    assert "\r" not in text
    for active in ("@everyone", "<!channel", "<@1", "<https", "](http", "www.", "all@example"):
        assert active not in text
    assert text.count("://") == 1
    assert "runbook_url: https://example.org/a_b_c?d=1" in text
    assert ("**bold**" in text) is not markdown
    assert ("\\*\\*bold\\*\\*" in text) is markdown


@given(st.text())
def test_defusing_adds_nothing_that_is_seen(text: str) -> None:
    assert defused(text).replace("\u200b", "") == printable(text).replace("\u200b", "")


async def test_what_slack_mail_and_discord_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apprise's own conversion, up to the request that would be posted."""
    apprise = pytest.importorskip("apprise")
    sent: list[str] = []

    class Answer:
        status_code = 200
        content = b"ok"
        text = "ok"
        headers: Mapping[str, str] = MappingProxyType({})

    def request(*_where: str, data: str = "", **_options: object) -> Answer:
        sent.append(data)
        return Answer()

    monkeypatch.setattr("requests.request", request)
    monkeypatch.setattr("requests.post", request)
    slack = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/"
    discord = f"discord://{'1' * 24}/{'b' * 64}"
    for address, markdown in ((slack, False), (discord, True), (f"{discord}/?format=markdown", False)):
        target = apprise.Apprise()
        assert target.add(address)
        assert await target.async_notify(**announcement(alert(), markdown=markdown))
    assert len(sent) == 3
    for body in sent:
        shown = json.dumps(json.loads(body), ensure_ascii=False)
        for active in ("@everyone", "<!channel", "<@1", "<https", "](http"):
            assert active not in shown
    assert r"&lt;\u200b!channel" in sent[0]


def catalog_of(line: str) -> TemplateCatalog:
    catalog = TemplateCatalog()
    catalog.observe([line], np.array([3]), np.array([1_000]), {line: line})
    return catalog


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_the_review_table_is_a_formula(sign: str) -> None:
    line = f"{sign}cmd|'/C calc'!A0"
    catalog = catalog_of(line)
    ((template),) = catalog.templates()
    catalog.review([Review(template.id, name=line)])
    (row,) = csv.DictReader(io.StringIO(catalog.to_csv(), newline=""))
    begins = {name: (text or "")[:1] for name, text in row.items()}
    assert not set(begins.values()) & set("=+-@\t\r"), begins
    (review,) = read_reviews(catalog.to_csv())
    assert review.name == line.strip(), "what someone called it is read back as it was"


@given(st.text())
def test_a_cell_is_read_back_as_the_text_it_was_made_of(text: str) -> None:
    assert not cell(text).startswith(tuple("=+-@\t\r"))
    if not text.startswith("'"):
        assert text_of(cell(text)) == text


def test_verdicts_as_csv_hold_no_formula(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    times = pd.date_range("2026-01-01", periods=60, freq="1min", tz="UTC")
    pd.DataFrame({"time": times, "route": "=1+1", "=rate": np.arange(60.0)}).to_csv(table, index=False)
    output = tmp_path / "verdicts.csv"
    subprocess.run(
        [
            *(sys.executable, "-m", "streams.cli", "detect", str(table), "--by", "route"),
            *("--column", "=rate", "--output", str(output), "--plot", str(tmp_path / "a.png")),
        ],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    rows = list(csv.reader(output.open(newline="")))
    assert not [text for row in rows for text in row if text.startswith(("=", "+", "@"))]
    assert rows[1][1] == "'=1+1"


def test_a_label_is_no_formula_of_a_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from models.plots.fan import finish_axes

    figure = Figure()
    finish_axes([figure.subplots()], r"/$\frac{")
    figure.savefig(tmp_path / "a.png")


def test_slis_as_csv_hold_no_formula_and_are_read_back(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text('192.0.2.1 - - [01/Mar/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "a"\n')
    (tmp_path / "slo.yaml").write_text(
        "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: a}\nspec:\n  service: '=1+1'\n"
        "  budgetingMethod: Occurrences\n  timeWindow: [{duration: 1d, isRolling: true}]\n"
        "  indicator:\n    metadata: {name: b}\n    spec:\n      ratioMetric:\n        counter: true\n"
        "        good: {metricSource: {type: streamgauge, spec: {source: web, where: status < 500}}}\n"
        "        total: {metricSource: {type: streamgauge, spec: {source: web}}}\n"
        "  objectives: [{target: 0.99}]\n"
    )
    (tmp_path / "streamgauge.yaml").write_text(
        "app: a\nsources:\n  web: {topic: web, format: access_log}\nslos: [slo.yaml]\n"
    )
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "streams.cli",
                "replay",
                str(log),
                "-c",
                str(tmp_path / "streamgauge.yaml"),
            ),
            *("--output", str(tmp_path / "out"), "--output-format", "csv"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "'=1+1" in (tmp_path / "out/slis.csv").read_text()
    assert set(slis_from_replay(tmp_path / "out")["service"]) == {"=1+1"}
