"""A replay from files to results.

Guarantee: the same files and configuration give the same results, byte for byte; nothing depends on the
clock, on the size of chunks or on the machine.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from detectors.alerts.alert import Transition
from detectors.alerts.anomaly_alert import wants_attention
from detectors.alerts.incidents import incidents_of
from streams.aggregate.partition import Rejected, letters
from streams.compile.configuration import compile_plan
from streams.config.models import Config
from streams.events.batch import Records
from streams.offline.choose import choose_sources
from streams.offline.files import Source, is_capture, named, read_records
from streams.offline.flow import LocalFlow
from streams.offline.slis import SliFile, TableFormat
from streams.offline.totals import summarize

__all__ = ["replay_files"]

FORMATS: Sequence[TableFormat] = ("parquet", "csv", "jsonl")


def replay_files(
    files: Sequence[Source],
    config: Config,
    folder: Path,
    *,
    table_format: TableFormat = "parquet",
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Run `files` through the flow; write the results to `folder` and return the summary.

    A text file is one partition, the first file partition 0; a capture keeps its partitions.
    Results: `slis.<format>`, `alerts.jsonl`, `anomalies.jsonl`, `incidents.jsonl`, `dead-letters.jsonl` and
    `summary.json`.

    progress : told the bytes read since it was told last

    Raises RecordsFileError, ChoiceError and ConfigError.
    """
    plan = compile_plan(config)
    transitions: list[Transition] = []
    with _results(folder, table_format) as (slis, alerts, anomalies, dead_letters):

        def announce(transition: Transition) -> None:
            transitions.append(transition)
            alerts.write(_line(transition.to_dict()))

        def record(transition: Transition) -> None:
            anomalies.write(_line(transition.to_dict()))
            if wants_attention(transition.alert):
                announce(transition)

        flow = LocalFlow(
            plan,
            partitions=_partition_count(files),
            on_slis=slis.add,
            on_alert=announce,
            on_anomaly=record,
            evidence={"config": config.digest()},
        )
        for number, file in enumerate(files):
            for topic, partition, records in _parts(file, number, progress):
                for source in choose_sources(config, topic, named(file)):
                    for rejected in letters(flow.feed(source, partition, records)):
                        dead_letters.write(_line(_dead_letter(source, topic, partition, rejected)))
        summary = summarize(plan, flow.finish(), transitions)
    with (folder / "incidents.jsonl").open("wb") as incidents:
        found = incidents_of(transitions, config.incidents.book())
        incidents.writelines(_line(incident.to_dict()) for incident in found)
    (folder / "summary.json").write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
    return summary


def _partition_count(files: Sequence[Source]) -> int | None:
    """How many partitions there are; None where only the end of a file tells.

    Where it is known, buckets are sealed on the way, and memory does not grow with the length of a file.
    """
    if any(file == "-" or is_capture(file) for file in files):
        return None
    return len(files)


def _parts(
    file: Source, number: int, progress: Callable[[int], None] | None
) -> Iterator[tuple[str | None, int, Records]]:
    """The records of one file; progress is told what has been read since it was told last."""
    told = 0

    def tell(position: int) -> None:
        nonlocal told
        if progress is not None:
            progress(position - told)
        told = position

    yield from read_records(file, text_partition=number, progress=tell)


@contextmanager
def _results(
    folder: Path, table_format: TableFormat
) -> Iterator[tuple[SliFile, BinaryIO, BinaryIO, BinaryIO]]:
    """The files that are written on the way; those of an earlier replay are replaced, not added to."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (*(f"slis.{format}" for format in FORMATS), "summary.json"):
        (folder / stale).unlink(missing_ok=True)
    with (
        closing(SliFile(folder, table_format)) as slis,
        (folder / "alerts.jsonl").open("wb") as alerts,
        (folder / "anomalies.jsonl").open("wb") as anomalies,
        (folder / "dead-letters.jsonl").open("wb") as dead_letters,
    ):
        yield slis, alerts, anomalies, dead_letters


def _dead_letter(source: str, topic: str | None, partition: int, rejected: Rejected) -> dict[str, Any]:
    """What could not be counted, as the worker's dead-letter topic has it, with the original bytes."""
    value = None if rejected.value is None else base64.b64encode(rejected.value).decode("ascii")
    return {
        "source": source,
        "topic": topic,
        "partition": partition,
        "offset": rejected.offset,
        "reason": rejected.reason,
        "detail": rejected.detail,
        "value_b64": value,
    }


def _line(value: Mapping[str, Any]) -> bytes:
    # Evidence has offsets by partition, and its numbers are keys.
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
