"""Options declared as a dataclass are options of each command that takes it, in its place."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from streams.commands.option_groups import with_groups


@dataclass(frozen=True)
class Place:
    url: Annotated[str, typer.Option("--url", "-u")] = "here"
    port: Annotated[list[int] | None, typer.Option()] = None


@with_groups
def go(
    name: Annotated[str, typer.Argument()] = "nobody",
    *,
    fast: Annotated[bool, typer.Option("--fast")] = False,
    place: Place,
    times: Annotated[int, typer.Option()] = 1,
) -> None:
    """Go somewhere."""
    typer.echo(f"{name} {fast} {place} {times}")


def test_fields_stand_where_the_group_stood() -> None:
    assert list(inspect.signature(go).parameters) == ["name", "fast", "url", "port", "times"]
    assert go.__doc__ == "Go somewhere."


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("", "nobody False Place(url='here', port=None) 1"),
        ("ann -u there --port 1 --port 2 --fast", "ann True Place(url='there', port=[1, 2]) 1"),
        ("--times 3 --url there", "nobody False Place(url='there', port=None) 3"),
    ],
)
def test_the_command_gets_the_group_as_one_value(words: str, printed: str) -> None:
    app = typer.Typer()
    app.command()(go)
    done = CliRunner().invoke(app, words.split())
    assert done.output.strip() == printed
