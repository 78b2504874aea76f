"""`streamgauge check`: all errors in configurations and SLO files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from streams.commands.console import JsonOutput, say


def check(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Configurations, OpenSLO files, folders of them.")
    ],
    as_json: JsonOutput = False,
) -> None:
    """Check configurations and SLO files; list every error with its line and how to fix it.

    SLO files that a configuration names are checked against its sources. The exit code is 0 only if there
    are no errors. Notes point out what is valid but worth knowing.

    **Example**

        streamgauge check streamgauge.yaml slos/

        streamgauge check --json . | jq '.problems[].message'
    """
    from streams.compile.check import check_paths, format_report, report_json

    report = check_paths(paths)
    say(json.dumps(report_json(report), indent=2) if as_json else format_report(report))
    if not report.ok:
        raise typer.Exit(1)
