"""All entries of `detectors.logs` compiled: lines counted by signature, exactly as everything else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from models.logs.reviews import Review, ReviewError, read_reviews
from streams.compile.fragment import PlanFragment
from streams.config.load import read_text
from streams.config.log_templates import LogsEntry
from streams.config.models import Config, Source
from streams.derive.log_templates import Parameters, Signature
from streams.language.expression import compile_expression, conjoin
from streams.language.problems import Findings, Problem, one_of
from streams.language.yaml.documents import Path
from streams.language.yaml.use import Use
from streams.plan.monitor import SHIPPED, monitor_plan
from streams.plan.rollup import Count, Rollup

SIGNATURE, PARAMETERS = "signature", "parameters"

LOGS = SHIPPED["logs"]

MESSAGE = "body"
"""The column of the text, where neither the entry nor the format names one."""


def log_plans(config: Config, findings: Findings) -> dict[str, PlanFragment]:
    """What the entries add, by source; mistakes go to `findings`."""
    found: dict[str, PlanFragment] = {}
    for index, entry in enumerate(config.detectors.logs):
        path: Path = ("detectors", "logs", index)
        place = (*path, "source")
        source = config.sources.get(entry.source)
        expected = ""
        if source is None:
            expected = one_of(sorted(config.sources))
        elif entry.source in found:
            expected = f"one entry for {entry.source}"
        if expected or source is None:
            findings.problems.append(config.mistake(place, expected))
            continue
        fragment = _fragment(entry, source, config, path)
        reviews = _reviews(entry, config, path, findings)
        monitors = tuple(replace(monitor, reviews=reviews) for monitor in fragment.monitors)
        found[entry.source] = replace(fragment, monitors=monitors)
    return found


def _reviews(entry: LogsEntry, config: Config, path: Path, findings: Findings) -> tuple[Review, ...]:
    """What the entry's review decides; mistakes in it go to `findings` with its own lines."""
    if entry.review is None:
        return ()
    file = config.resolve(entry.review)
    if not file.is_file():
        place = (*path, "review")
        findings.problems.append(
            config.document.problem(
                place,
                "an existing file",
                config.document.show(place),
                "paths are relative to the configuration",
            )
        )
        return ()
    text = read_text(file, findings)
    try:
        return tuple(read_reviews(text or "[]"))
    except ReviewError as error:
        findings.problems.append(Problem(str(file), error.line, "", error.expected, error.found))
        return ()


def _fragment(entry: LogsEntry, source: Source, config: Config, path: Path) -> PlanFragment:
    document, schema = config.document, source.event_schema
    message = entry.message or schema.roles.get("message", MESSAGE)
    error = entry.error or (None if schema.error is None else compile_expression(schema.error))
    by = (SIGNATURE,) if entry.service is None else (entry.service, SIGNATURE)
    rollup = Rollup(
        name=f"logs:{entry.source}",
        kind="logs",
        source=entry.source,
        by=by,
        where=conjoin(source.where, entry.where, compile_expression(f'{SIGNATURE} != ""')),
        measures=(Count("lines"), *((Count("errors", error),) if error is not None else ())),
        distinct=(PARAMETERS,),
        windows_ms=(LOGS.step_ms,),
        series_count_max=entry.limit,
        forget_ms=LOGS.kept_ms,
    )
    settings = {
        "false_alarms_per_series_per_week": entry.false_alarms_per_series_per_week,
        "warm_up_hours": entry.warm_up / timedelta(hours=1),
    }
    monitor = monitor_plan(
        "logs", rollup.name, entry.source, rollup.name, settings, service=entry.service, model="logs"
    )
    uses = [Use(document, path if entry.message is None else (*path, "message"), message)]
    if entry.service is not None:
        uses.append(Use(document, (*path, "service"), entry.service))
    for key in ("where", "error"):
        expression = getattr(entry, key)
        if expression is not None:
            uses.append(Use(document, (*path, key), expression=expression))
    if entry.error is None and error is not None:
        uses.append(Use(document, path, expression=error))
    derived = (
        Signature(SIGNATURE, message),
        Parameters(PARAMETERS, message, SIGNATURE),
    )
    return PlanFragment(derived, (rollup,), (monitor,), tuple(uses))
