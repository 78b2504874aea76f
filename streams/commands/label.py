"""`streamgauge label`: say whether an anomaly was real, noise or expected."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.commands.console import USAGE, JsonOutput, fail, load, say, say_json, tell
from streams.commands.model_options import Author, user
from streams.commands.tables import moment, print_table, share

if TYPE_CHECKING:
    from detectors.feedback.labels import Label


class VerdictName(StrEnum):
    """What an anomaly was."""

    REAL = "real"
    NOISE = "noise"
    EXPECTED = "expected"


def label(
    verdict: Annotated[
        VerdictName | None,
        typer.Argument(
            metavar="VERDICT", help="real: something was wrong; noise: nothing was; expected: it was planned."
        ),
    ] = None,
    detector: Annotated[str, typer.Option(metavar="NAME", help="Which detector said it.")] = "traffic",
    series: Annotated[
        list[str] | None,
        typer.Option(metavar="VALUE", help="The series: its label values in their order; repeatable."),
    ] = None,
    kind: Annotated[
        str, typer.Option(metavar="KIND", help="Kind of anomaly, such as spike; all kinds if left out.")
    ] = "",
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="When it began, such as 2026-11-25T10:00Z.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="When it ended; --from if left out.")
    ] = None,
    anomaly: Annotated[
        str, typer.Option(metavar="ID", help="The anomaly's fingerprint, in place of a time.")
    ] = "",
    note: Annotated[str, typer.Option(metavar="TEXT", help="A remark.")] = "",
    author: Author = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take this label back.")] = False,
    show: Annotated[
        bool, typer.Option("--list", help="List the labels that hold, and the precision.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="The configuration, for the broker and the app."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A local file of labels, in place of the topic `<app>-labels`."),
    ] = None,
    as_json: JsonOutput = False,
) -> None:
    """Tell a detector what an anomaly was: real, noise or expected.

    Noise makes alarms of that series and kind rarer: each label asks for three times the evidence, at most a
    hundred times, and counts half after 90 days. --remove undoes it. Real and noise labels give the metric of
    the detector's precision.

    **Example**

        streamgauge label noise --series checkout --kind spike --from 2026-11-25T10:00Z -c streamgauge.yaml

        streamgauge label real --anomaly 0b18fac839e02097 --series checkout --file labels.jsonl

        streamgauge label --list --file labels.jsonl
    """
    if (config is None) == (file is None):
        fail("either --config, for the topic of labels, or --file is needed", USAGE)
    if show:
        if verdict is not None or remove:
            fail("--list takes no verdict and changes nothing", USAGE)
        _list(config, file, as_json)
        return
    if verdict is None:
        fail("a verdict is needed: real, noise or expected; or --list", USAGE)
    said = _label(verdict, detector, series, kind, start, end, anomaly, note, author, remove)
    _store(said, config, file)
    if as_json:
        say_json(said.to_bytes().decode())
    done = "Taken back" if remove else "Noted"
    tell(f"{done}: {said.verdict}, {said.detector} {', '.join(said.series)} {said.kind or 'all kinds'}")


def _label(
    verdict: VerdictName,
    detector: str,
    series: list[str] | None,
    kind: str,
    start: str | None,
    end: str | None,
    anomaly: str,
    note: str,
    author: str | None,
    remove: bool,
) -> Label:
    import time

    from detectors.feedback.labels import Label, LabelError

    if end and not start:
        fail("--to needs --from", USAGE)
    from_ms = _time_ms("--from", start) if start else 0
    try:
        return Label(
            detector=detector,
            series=tuple(series or ()),
            verdict=verdict.value,
            kind=kind,
            from_ms=from_ms,
            to_ms=_time_ms("--to", end) if end else from_ms,
            anomaly=anomaly,
            by=user() if author is None else author,
            at_ms=time.time_ns() // 1_000_000,
            note=note,
            removed=remove,
        )
    except LabelError as error:
        fail(f"{error}: see --from, --to and --anomaly", USAGE)


def _time_ms(option: str, text: str) -> int:
    from datetime import UTC, datetime

    if text.isdigit():
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option}: expected a time such as 2026-11-25T10:00Z, or milliseconds, found {text!r}", USAGE)
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1_000)


def _store(said: Label, config: Path | None, file: Path | None) -> None:
    import asyncio

    from streams.modelling.label_files import LabelFileError, append_label

    if file is not None:
        try:
            append_label(file, said)
        except LabelFileError as error:
            fail(str(error))
        return
    from streams.kafka.compacted import TopicError
    from streams.modelling.label_topic import send_label

    assert config is not None
    try:
        asyncio.run(send_label(load(config), said))
    except TopicError as error:
        fail(str(error))


def _fetched(config: Path | None, file: Path | None) -> tuple[Label, ...]:
    import asyncio

    from streams.modelling.label_files import LabelFileError, read_labels

    if file is not None:
        try:
            return read_labels(file)
        except LabelFileError as error:
            fail(str(error))
    from streams.kafka.compacted import TopicError
    from streams.modelling.label_topic import fetch_labels

    assert config is not None
    try:
        labels, unreadable = asyncio.run(fetch_labels(load(config)))
    except TopicError as error:
        fail(str(error))
    if unreadable:
        tell(f"{unreadable:,} records of the topic are not labels and were left out")
    return labels


def _list(config: Path | None, file: Path | None, as_json: bool) -> None:
    import msgspec

    from detectors.feedback.labels import current_labels, precision_by_detector

    labels = current_labels(_fetched(config, file))
    precision = precision_by_detector(labels)
    if as_json:
        counts = {
            name: {"real": one.real, "noise": one.noise, "expected": one.expected, "precision": one.ratio}
            for name, one in precision.items()
        }
        say_json(json.dumps({"labels": msgspec.to_builtins(labels), "detectors": counts}, indent=2))
        return
    if labels:
        print_table(
            ("detector", "when", "series", "kind", "verdict", "by", "note"),
            (
                (
                    one.detector,
                    one.anomaly or moment(one.from_ms),
                    ", ".join(one.series),
                    one.kind or "all",
                    one.verdict,
                    one.by,
                    one.note,
                )
                for one in labels
            ),
        )
    for name, counted in precision.items():
        say(f"{name}: {counted.real} real, {counted.noise} noise, precision {share(counted.ratio)}")
    if not labels:
        say("no labels")
