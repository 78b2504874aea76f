"""A configuration with its SLO files to the plan that the flow runs on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from glob import glob
from pathlib import Path as FilePath

from detectors.slo.slo import Maintenance
from streams.compile.capacity import capacity_plans
from streams.compile.columns import Columns
from streams.compile.fragment import PlanFragment
from streams.compile.log_templates import log_plans
from streams.compile.monitors import monitors_of
from streams.compile.security import entity_plans
from streams.config.load import read_text
from streams.config.models import Config, Source
from streams.config.values import milliseconds
from streams.decode.registry import make_decoder
from streams.events.batch import Field, Kind, Layout
from streams.language.expression import compile_expression, quote_column
from streams.language.problems import ConfigError, Findings
from streams.language.yaml.documents import Document
from streams.language.yaml.use import Use
from streams.openslo.read import Library, read_objects
from streams.openslo.resolve import Context, Resolved, resolve_slos
from streams.plan.plan import Plan, SourcePlan
from streams.plan.rollup import SECONDS, Count, Measure, Rollup, Sum, within


def compile_plan(config: Config) -> Plan:
    """The plan of a loaded configuration; reads its SLO files. Raises ConfigError with every mistake."""
    findings = Findings()
    plan = build_plan(config, findings)
    if plan is None:
        raise ConfigError(list(dict.fromkeys(findings.problems)))
    return plan


def build_plan(config: Config, findings: Findings) -> Plan | None:
    """The plan of a configuration; mistakes go to `findings`, and then the result is None."""
    before = len(findings.problems)
    library = Library()
    for path in slo_files(config, findings):
        text = read_text(path, findings)
        if text is not None:
            read_objects(str(path), text, library, findings)
    resolved = resolve_slos(library, _context(config), findings)
    _find_shared_topics(config, findings)
    fragments = (entity_plans(config, findings), log_plans(config, findings))
    capacity = capacity_plans(config, [one.slo for one in resolved], findings)
    sources = {}
    for name, source in config.sources.items():
        mine = [
            replace(one, rollup=capacity.with_history(one.rollup))
            for one in resolved
            if one.slo.source == name
        ]
        mine_too = [by_source[name] for by_source in fragments if name in by_source]
        mine_too += [fragment for of, fragment in capacity.fragments if of == name]
        sources[name] = _source_plan(name, source, mine, mine_too, config, findings)
    monitors = (
        *monitors_of(config, findings),
        *(monitor for by_source in fragments for added in by_source.values() for monitor in added.monitors),
    )
    if len(findings.problems) > before:
        return None
    return Plan(config.app, sources, tuple(one.slo for one in resolved), monitors, capacity.plans)


def _find_shared_topics(config: Config, findings: Findings) -> None:
    """Offsets and counts are kept by topic and partition, so that each topic has one reader."""
    readers: dict[str, str] = {}
    for name, source in config.sources.items():
        first = readers.setdefault(source.topic, name)
        if first != name:
            place = ("sources", name, "topic")
            findings.problems.append(
                config.mistake(
                    place,
                    f"a topic that no other source reads; {first} reads this one",
                    "keep one source for it, and tell its events apart by conditions (where) in SLOs",
                )
            )


def slo_files(config: Config, findings: Findings) -> list[FilePath]:
    """The SLO files that a configuration names, sorted, each once; a pattern without files is a mistake."""
    files: dict[FilePath, None] = {}
    for index, pattern in enumerate(config.slos):
        found = _glob(config, pattern)
        if not found:
            place = ("slos", index) if isinstance(config.document.get(("slos",)), list) else ("slos",)
            findings.problems.append(
                config.document.problem(
                    place,
                    "files that exist",
                    f"none for {config.document.show(place)}",
                    f"paths are relative to {config.path.parent}",
                )
            )
        files |= dict.fromkeys(found)
    return list(files)


def _glob(config: Config, pattern: str) -> list[FilePath]:
    base = config.path.parent
    found = (base / name for name in glob(pattern, root_dir=base, recursive=True))
    return sorted(file for file in found if file.is_file())


def _context(config: Config) -> Context:
    return Context(
        sources={name: source.where for name, source in config.sources.items()},
        broken=set(config.document.get(("sources",)) or ()) - set(config.sources),
        confidence=config.alerting.confidence,
        tiers=config.alerting.tiers,
        maintenance=[
            Maintenance(
                round(entry.start.timestamp() * 1000), round(entry.end.timestamp() * 1000), entry.services
            )
            for entry in config.maintenance
        ],
    )


def _source_plan(
    name: str,
    source: Source,
    resolved: Sequence[Resolved],
    fragments: Sequence[PlanFragment],
    config: Config,
    findings: Findings,
) -> SourcePlan:
    document = config.document
    columns = Columns(source)
    for use in _uses(name, source, document):
        columns.add(use)
    for one in resolved:
        for use in one.uses:
            columns.add(use)
    for fragment in fragments:
        for use in fragment.uses:
            columns.add(use)
    layout = _layout(source, columns.settle(findings))
    try:
        make_decoder(source.format, layout)
    except ValueError as error:
        findings.problems.append(
            document.problem(("sources", name), f"columns that format {source.format} can read", str(error))
        )
    return SourcePlan(
        name=name,
        topic=source.topic,
        format=source.format,
        layout=layout,
        rollups=(
            _own_rollup(name, source),
            *(one.rollup for one in resolved),
            *(rollup for fragment in fragments for rollup in fragment.rollups),
        ),
        lateness_ms=milliseconds(source.lateness),
        future_ms=milliseconds(source.future),
        idle_ms=milliseconds(source.idle),
        series_count_max=config.limits.series,
        exemplar=source.trace_id,
        derived=tuple(derived for fragment in fragments for derived in fragment.derived),
    )


def _uses(name: str, source: Source, document: Document) -> list[Use]:
    """The columns that a source's own entry names."""
    path = ("sources", name)
    uses = []
    for key in ("where", "error"):
        expression = getattr(source, key)
        if expression is not None:
            uses.append(Use(document, (*path, key), expression=expression))
    for key in ("series", "distinct"):
        listed = isinstance(document.get((*path, key)), list)
        for index, column in enumerate(getattr(source, key)):
            uses.append(Use(document, (*path, key, index) if listed else (*path, key), column))
    if source.duration is not None:
        uses.append(Use(document, (*path, "duration"), source.duration, measured=True))
    if source.trace_id is not None:
        uses.append(Use(document, (*path, "trace_id"), source.trace_id))
    return uses


def _own_rollup(name: str, source: Source) -> Rollup:
    """A source's own series: all events and the errors among them, none where errors are not told."""
    return Rollup(
        name=name,
        kind="requests",
        source=name,
        by=source.series,
        where=source.where,
        measures=(
            Count("total"),
            Count("errors", source.error or compile_expression("false")),
            *_histogram(source),
        ),
        sketch=source.duration,
        distinct=source.distinct,
        windows_ms=tuple(sorted({milliseconds(window) for window in source.windows})),
        histogram=source.histogram,
    )


def _histogram(source: Source) -> Iterator[Measure]:
    """Where classic buckets are asked for: events up to each bound, exactly, and the sum of durations."""
    if not source.histogram or source.duration is None:
        return
    for bound in source.histogram:
        yield Count(within(bound), compile_expression(f"{quote_column(source.duration)} <= {bound!r}"))
    yield Sum(SECONDS, source.duration)


def _layout(source: Source, wanted: Mapping[str, Kind]) -> Layout:
    layout = Layout(
        wanted=wanted,
        fields={column: Field(entry.path, entry.scale) for column, entry in source.fields.items()},
        time_field=source.time.field,
        time_format=source.time.format,
        signal=source.signal,
    )
    return layout if source.counters is None else replace(layout, counters=source.counters)
