"""What the commands share at the terminal: the options they have in common, failing, and progress.

Results go to standard output; progress, notes and mistakes to standard error, so that a pipe gets results
only. Exit codes: 0 well, 1 failed, 2 not understood.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from streams.language.printable import printable_json, printable_lines

if TYPE_CHECKING:
    from rich.progress import Progress

    from streams.config.models import Config

__all__ = [
    "USAGE",
    "ConfigFile",
    "JsonOutput",
    "duration_seconds",
    "fail",
    "load",
    "progress_bar",
    "say",
    "say_json",
    "tell",
]

USAGE = 2
"""Exit code for invalid arguments."""

ConfigFile = Annotated[
    Path,
    typer.Option("--config", "-c", metavar="FILE", help="The configuration, such as streamgauge.yaml."),
]

JsonOutput = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts, in place of a table.")]


def say(text: str) -> None:
    """A line of the result, on standard output; what no terminal may obey is replaced."""
    typer.echo(printable_lines(text))


def say_json(text: str) -> None:
    """A result as JSON, on standard output."""
    typer.echo(printable_json(text))


def tell(text: str) -> None:
    """A line on standard error; what no terminal may obey is replaced."""
    typer.echo(printable_lines(text), err=True)


def fail(text: str, code: int = 1) -> NoReturn:
    """End the command with one message."""
    tell(text)
    raise typer.Exit(code)


def load(path: Path) -> Config:
    """The configuration, or the end of the command with every mistake in it."""
    from streams.config.load import load_config
    from streams.language.problems import ConfigError

    try:
        return load_config(path)
    except ConfigError as error:
        fail(str(error))


def duration_seconds(text: str) -> float:
    """A duration given as an argument, such as `2m`; usable as typer's parser."""
    from streams.language.duration import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@contextmanager
def progress_bar(unit: str) -> Iterator[Progress]:
    """A progress bar on standard error; nothing where that is no terminal.

    unit : `bytes`, or what else is counted
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    amount: ProgressColumn = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        amount,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        yield progress
