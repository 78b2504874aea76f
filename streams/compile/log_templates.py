"""All entries of `detectors.logs` compiled: lines counted by signature, exactly as everything else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from models.calendar.units import MINUTE_MS, WEEK_MS
from models.logs.reviews import Review, ReviewError, read_reviews
from streams.compile.fragment import PlanFragment
from streams.config.load import read_text
from streams.config.log_templates import LogsEntry
from streams.config.models import Config
from streams.derive.log_templates import Parameters, Signature
from streams.language.documents import Path
from streams.language.expression import Expression, compile_expression, conjoin
from streams.language.problems import Findings, Problem, one_of
from streams.language.use import Use
from streams.plan.plan import Count, MonitorPlan, Rollup

SIGNATURE, PARAMETERS = "signature", "parameters"

STEP_MS = MINUTE_MS

KEPT_MS = WEEK_MS
"""How long a template that is silent is still awaited."""

ERRORS = compile_expression(
    'lower(severity) in ["error", "err", "fatal", "critical", "crit", "alert", "emergency", "emerg", "panic"]'
)
"""Which lines are errors, where the source tells severities."""

_TELLING = ("logs", "pino", "ecs", "fluentbit", "vector")
"""Formats, or OTLP's signal, whose lines have a severity."""


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
        tells = (source.signal or source.format) in _TELLING
        error = entry.error or (ERRORS if tells else None)
        fragment = _fragment(entry, source.where, error, config, path)
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


def _fragment(
    entry: LogsEntry, where: Expression | None, error: Expression | None, config: Config, path: Path
) -> PlanFragment:
    document = config.document
    by = (SIGNATURE,) if entry.service is None else (entry.service, SIGNATURE)
    rollup = Rollup(
        name=f"logs:{entry.source}",
        source=entry.source,
        by=by,
        where=conjoin(where, entry.where, compile_expression(f'{SIGNATURE} != ""')),
        measures=(Count("lines"), *((Count("errors", error),) if error is not None else ())),
        distinct=(PARAMETERS,),
        windows_ms=(STEP_MS,),
        series_count_max=entry.limit,
        forget_ms=KEPT_MS,
    )
    monitor = MonitorPlan(
        name=f"logs:{entry.source}",
        source=entry.source,
        rollup=rollup.name,
        detector="logs",
        alertname="LogAnomaly",
        settings={
            "false_alarms_per_series_per_week": entry.false_alarms_per_series_per_week,
            "warm_up_hours": entry.warm_up / timedelta(hours=1),
        },
        step_ms=STEP_MS,
        features="measures",
        kept_ms=KEPT_MS,
        service=entry.service,
        model="logs",
    )
    uses = [Use(document, (*path, "message") if "message" in entry.model_fields_set else path, entry.message)]
    if entry.service is not None:
        uses.append(Use(document, (*path, "service"), entry.service))
    for key in ("where", "error"):
        expression = getattr(entry, key)
        if expression is not None:
            uses.append(Use(document, (*path, key), expression=expression))
    if entry.error is None and error is not None:
        uses.append(Use(document, path, expression=error))
    derived = (
        Signature(SIGNATURE, entry.message),
        Parameters(PARAMETERS, entry.message, SIGNATURE),
    )
    return PlanFragment(derived, (rollup,), (monitor,), tuple(uses))
