"""`docs/cli.md` says what the commands say of themselves."""

from __future__ import annotations

import shlex

from tests.docs.commands import all_commands, reference
from tests.docs.pages import ROOT, read

PAGE = ROOT / "docs" / "cli.md"


def test_the_page_is_that_of_the_commands(update_golden: bool) -> None:
    if update_golden:
        PAGE.write_text(reference(), encoding="utf-8")
    assert read(PAGE) == reference()


def test_every_command_shows_an_example() -> None:
    for name, command in all_commands().items():
        assert f"    streamgauge {name}" in command.help, name


def test_mistakes_in_commands_are_seen() -> None:
    replay = all_commands()["replay"]
    good = "a.log - --config c.yaml -o out --json --source x"
    assert replay.mistake(shlex.split(good)) == ""
    assert replay.mistake(shlex.split(f"{good} --jsn")) == "streamgauge replay has no option --jsn"
    assert replay.mistake(shlex.split(f"{good} --format")) == "--format has no value"
    assert replay.mistake(["a.log", "-o", "out"]) == "--config is lacking"
    assert replay.mistake(["-c", "c", "-o", "out"]) == "FILE is lacking"
    assert replay.mistake(["--help"]) == ""
    assert all_commands()["graph"].mistake(["a", "-c", "c"]) == "1 arguments, 0 are known"
