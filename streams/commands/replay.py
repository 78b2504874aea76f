"""`streamgauge replay`: files through the worker's own code, without Kafka."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.commands.console import (
    USAGE,
    ConfigFile,
    JsonOutput,
    fail,
    load,
    progress_bar,
    say,
    say_json,
    tell,
)
from streams.commands.tables import number, print_table, share

if TYPE_CHECKING:
    from streams.offline.files import Source


class OutputFormat(StrEnum):
    """Formats of the SLIs."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"


def replay(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Lines or captures, plain, gzip or zstd; - for stdin."),
    ],
    config: ConfigFile,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results; made if needed.")
    ],
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="The source whose records these are.")
    ] = None,
    format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="Read them in this format, not in the source's.")
    ] = None,
    output_format: Annotated[OutputFormat, typer.Option(help="Format of the SLIs.")] = OutputFormat.PARQUET,
    max_dead: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Fail where more than this share of what a source read could not be counted.",
        ),
    ] = 0.5,
    as_json: JsonOutput = False,
) -> None:
    """Count files as the worker would: SLIs, alerts, anomalies and totals, with the same result each time.

    A file of lines is one partition; a capture keeps its partitions, and its topic names the source. DIR gets
    slis.parquet, alerts.jsonl, anomalies.jsonl, incidents.jsonl, dead-letters.jsonl and summary.json.

    The exit code is 1 where too much could not be counted, most likely because the format is another one; the
    results are written all the same.

    **Example**

        streamgauge replay access.log.gz -c examples/access-log.yaml --output out

        streamgauge replay spans.jsonl.gz -c otlp.yaml --source spans --format otlp_json --output out
    """
    from streams.language.problems import ConfigError
    from streams.offline.choose import ChoiceError, with_choice
    from streams.offline.files import RecordsFileError, size_bytes
    from streams.offline.replay import replay_files

    sources: list[Source] = ["-" if file == "-" else Path(file) for file in files]
    if sources.count("-") > 1:
        fail("-: standard input can be read only once", USAGE)
    settings = load(config)
    sizes = [size_bytes(one) for one in sources]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    try:
        settings = with_choice(settings, source, format)
        with progress_bar("bytes") as bars:
            bar = bars.add_task("Replaying", total=total)
            summary = replay_files(
                sources,
                settings,
                output,
                table_format=output_format.value,
                progress=lambda more: bars.advance(bar, more),
            )
    except ChoiceError as error:
        fail(str(error), USAGE)
    except (RecordsFileError, ConfigError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or output}: cannot be written ({error.strerror})")
    if as_json:
        say_json(json.dumps(summary, indent=2))
    else:
        _show(summary, output, output_format)
    _judge(summary, max_dead)


def _show(summary: dict[str, Any], output: Path, output_format: OutputFormat) -> None:
    figures = ("good", "bad", "SLI", "target")
    if summary["slos"]:
        print_table(
            ("SLO", *figures),
            (
                (
                    f"{slo['slo']} {slo['objective']}".rstrip(),
                    number(slo["good"]),
                    number(slo["bad"]),
                    share(slo["ratio"], 3),
                    share(slo["target"], 3),
                )
                for slo in summary["slos"]
            ),
            right=figures,
        )
    alerts = summary["alerts"]
    say(
        f"{summary['events']:,} events, {summary['late']:,} late, {summary['dead']:,} dead; "
        f"alerts: {alerts['firing']} fired, {alerts['resolved']} resolved"
    )
    say(
        f"Written to {output}: slis.{output_format}, alerts.jsonl, anomalies.jsonl, incidents.jsonl, "
        "dead-letters.jsonl, summary.json"
    )


def _judge(summary: dict[str, Any], max_dead: float) -> None:
    """End with an error where more of a source is dead than is allowed, and say why."""
    failed = False
    for name, source in summary["sources"].items():
        dead, read = source["dead"], source["events"] + source["late"] + source["dead"]
        if dead <= max_dead * read:
            continue
        failed = True
        much = "Most" if dead > read / 2 else share(dead / read, 1)
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in source["rejected"].items())
        tell(
            f"{much} of what source {name} read could not be counted ({reasons}), and --max-dead allows "
            f"{share(max_dead, 1)}. Is its format right? dead-letters.jsonl has the reasons in full."
        )
    if failed:
        raise typer.Exit(1)
