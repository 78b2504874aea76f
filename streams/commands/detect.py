"""`streamgauge detect`: a detector on a table, without Kafka."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.commands.console import USAGE, JsonOutput, fail, progress_bar, say, say_json, tell
from streams.commands.option_groups import with_groups
from streams.commands.table_options import TableColumns, TableFile
from streams.commands.tables import number, print_table, span

if TYPE_CHECKING:
    from detectors.api.detector import Panel, Verdicts


@with_groups
def detect(
    file: TableFile,
    *,
    detector: Annotated[str, typer.Option(metavar="NAME", help="Which detector.")] = "traffic",
    columns: TableColumns,
    learn: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the steps to learn from before judging.")
    ] = 0.15,
    false_alarms: Annotated[
        float, typer.Option(min=1e-6, help="False alarms to accept, per series and week.")
    ] = 0.1,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="All verdicts as CSV or parquet.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A plot of the first series, PNG or SVG.")
    ] = None,
    as_json: JsonOutput = False,
) -> None:
    """Find anomalies in a table, step by step as the worker would: no step is judged by later data.

    **Example**

        streamgauge detect requests.csv --time timestamp --column rate --plot anomalies.png

        streamgauge detect slis.parquet --by service --by route --detector multivariate --json
    """
    from detectors.api.registry import DetectorError, make
    from streams.offline.detect import detect as run
    from streams.offline.verdict_tables import anomalies_of, write_verdicts

    try:
        judge = make(detector, false_alarms_per_series_per_week=false_alarms)
    except DetectorError as error:
        fail(str(error), USAGE)
    panel = columns.panel(file)
    try:
        with progress_bar("steps") as bars:
            bar = bars.add_task("Judging", total=len(panel) - round(len(panel) * learn))
            judged, verdicts = run(panel, judge, learn=learn, progress=lambda steps: bars.advance(bar, steps))
    except ValueError as error:
        fail(f"{file}: {error}")
    by = columns.by or ()
    found = anomalies_of(judged, verdicts, detector, file.stem, by)
    try:
        if output is not None:
            write_verdicts(judged, verdicts, by, output)
        if plot is not None:
            _plot(judged, verdicts, plot)
    except OSError as error:
        fail(f"{error.filename or output or plot}: cannot be written ({error.strerror})")
    if as_json:
        say_json(
            json.dumps({"steps": len(judged), "series": len(panel.series), "anomalies": found}, indent=2)
        )
    else:
        _show(found, judged)
    for written in (output, plot):
        if written is not None:
            tell(f"Written to {written}")


def _plot(panel: Panel, verdicts: Verdicts, path: Path) -> None:
    try:
        from streams.offline.verdict_plot import plot_verdicts
    except ImportError:
        fail("--plot needs matplotlib: pip install 'streamgauge[notebooks]'", USAGE)
    plot_verdicts(panel, verdicts, path)


def _show(found: list[dict[str, Any]], panel: Panel) -> None:
    if found:
        print_table(
            ("from", "for", "series", "severity", "kind", "score", "because"),
            (
                (
                    f"{datetime.fromisoformat(each['from']):%Y-%m-%dT%H:%M:%SZ}",
                    _length(each["from"], each["to"]),
                    ", ".join(each["series"]),
                    each["severity"],
                    each["kind"],
                    number(each["score"], 6),
                    ", ".join(
                        f"{part['feature']} {number(part['seen'])} (expected {number(part['expected'])})"
                        for part in each["contributions"][:3]
                    ),
                )
                for each in found
            ),
            right=("score",),
        )
    say(f"{len(found)} anomalies in {len(panel):,} steps of {len(panel.series):,} series")


def _length(begun: str, ended: str | None) -> str:
    if ended is None:
        return "–"
    return span((datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds())
