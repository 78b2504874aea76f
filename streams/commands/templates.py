"""`streamgauge templates`: the log templates of files, to look at and to review."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.commands.console import USAGE, JsonOutput, fail, progress_bar, say, say_json, tell
from streams.commands.tables import number, print_table

if TYPE_CHECKING:
    from models.logs.catalog import TemplateCatalog
    from streams.offline.files import Source
    from streams.offline.log_lines import TemplateReader

SHOWN_MAX = 30


def templates(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Lines or captures, plain, gzip or zstd; - for stdin."),
    ],
    format: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="text: a line is a message. Any other format: events with a column of messages.",
        ),
    ] = "text",
    message: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Where events have their message; by format if left out."),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Where events have their time; by format if left out."),
    ] = None,
    review: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Decisions to apply: an edited table of an earlier run."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="All templates, .csv to review or .json."),
    ] = None,
    as_json: JsonOutput = False,
) -> None:
    """Group log lines to templates, as the detector `logs` does, and write the table that you review.

    Each template has an id, a hash of the first kind of line that it had; later ones are listed as its
    aliases. Edit the table: a `name`, `true` under `ignored` for what is not to be judged, or the id of
    another template under `merge_into`. Apply it here with --review, and in a worker by naming the file
    under `detectors.logs[].review`.

    **Example**

        streamgauge templates app.log.gz -o templates.csv

        streamgauge templates app.jsonl.zst --format json --message event.text --review templates.csv
    """
    from streams.decode.registry import FormatError
    from streams.offline.files import RecordsFileError, size_bytes
    from streams.offline.log_lines import TEXT, TemplateReader

    sources: list[Source] = ["-" if file == "-" else Path(file) for file in files]
    if sources.count("-") > 1:
        fail("-: standard input can be read only once", USAGE)
    if format == TEXT and (message or time):
        fail("--message and --time are for events: choose another --format, such as json", USAGE)
    if output is not None and output.suffix not in (".csv", ".json"):
        fail(f"--output: expected a name that ends with .csv or .json, found {output.name}", USAGE)
    try:
        reader = TemplateReader(format, message, time)
    except FormatError as error:
        fail(f"--format: {error} ({TEXT} is for lines that are messages as they stand)", USAGE)
    except ValueError as error:
        fail(str(error), USAGE)
    sizes = [size_bytes(one) for one in sources]
    try:
        with progress_bar("bytes") as bars:
            bar = bars.add_task("Grouping", total=None if None in sizes else sum(size or 0 for size in sizes))
            done = 0
            for source in sources:
                reader.read(source, lambda position, done=done: bars.update(bar, completed=done + position))  # type: ignore[misc]
                done += size_bytes(source) or 0
    except RecordsFileError as error:
        fail(str(error))
    _check(reader)
    if review is not None:
        _decide(reader.catalog, review)
    if output is not None:
        _write(reader.catalog, output)
    if as_json:
        say_json(reader.catalog.to_json())
    elif output is None:
        _show(reader.catalog)
    tell(f"{_count(reader.lines, 'line')}, {_count(len(reader.catalog.templates()), 'template')}")


def _check(reader: TemplateReader) -> None:
    """Say what could not be read, and stop where nothing could."""
    dead = reader.dead.total()
    if dead:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in reader.dead.most_common())
        tell(f"{_count(dead, 'line')} could not be read ({reasons}). Is --format right?")
    if reader.silent:
        tell(f"{_count(reader.silent, 'line')} without a message. Is --message right?")
    if not reader.lines:
        fail("no line with a message was found")


def _decide(catalog: TemplateCatalog, file: Path) -> None:
    from models.logs.reviews import ReviewError, read_reviews

    try:
        reviews = read_reviews(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        fail(f"{file}: cannot be read ({error.strerror})")
    except UnicodeDecodeError:
        fail(f"{file}: expected text in UTF-8")
    except ReviewError as error:
        fail(f"{file}:{error.line}: expected {error.expected}, found {error.found}")
    catalog.decide(reviews)
    known = {one for template in catalog.templates() for one in (template.id, *template.aliases)}
    waiting = sum(review.id not in known for review in reviews)
    if waiting:
        tell(f"{_count(waiting, 'decision')} about templates that these lines do not have")


def _write(catalog: TemplateCatalog, output: Path) -> None:
    text = catalog.to_csv() if output.suffix == ".csv" else catalog.to_json() + "\n"
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{output}: cannot be written ({error.strerror})")
    tell(f"Written to {output}")


def _show(catalog: TemplateCatalog) -> None:
    found = catalog.templates()
    print_table(
        ("id", "lines", "template", "example"),
        (
            (
                template.id,
                number(template.count),
                (template.name or template.text) + " (ignored)" * template.ignored,
                template.example,
            )
            for template in found[:SHOWN_MAX]
        ),
        right=("lines",),
    )
    if len(found) > SHOWN_MAX:
        say(f"and {len(found) - SHOWN_MAX:,} more; --output has them all")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
