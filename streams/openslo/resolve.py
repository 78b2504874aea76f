"""SLO objects to the values that are judged: one `Slo` and one `Rollup` for each objective."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from detectors.slo import slo
from models.calendar.period import CalendarPeriod
from models.calendar.units import DAY_MS, HOUR_MS, MINUTE_MS
from streams.config.models import TierEntry
from streams.language.duration import format_duration
from streams.language.expression import Expression, ExpressionError, conjoin
from streams.language.problems import Findings, nearest, one_of
from streams.language.yaml.documents import Document, Path
from streams.language.yaml.use import Use
from streams.language.yaml.validation import expression_problem
from streams.openslo.indicator import Indicator, read_indicator
from streams.openslo.objects import DataSource, Objective, Service, Sli, SliSpec, Slo
from streams.openslo.read import Item, Library
from streams.openslo.tiers import can_fire, policy_tiers, scaled_tiers, workbook_tiers
from streams.openslo.window import budget_window
from streams.plan.plan import BUCKET_MS
from streams.plan.rollup import Rollup

PUBLISHED_WINDOWS_MS = (
    5 * MINUTE_MS,
    30 * MINUTE_MS,
    HOUR_MS,
    2 * HOUR_MS,
    6 * HOUR_MS,
    DAY_MS,
    3 * DAY_MS,
)
"""Windows whose burn rates are published for every SLO: 5 m, 30 m, 1 h, 2 h, 6 h, 1 d, 3 d."""

GROUP_BY = "streamgauge/group-by"
CONFIDENCE = "streamgauge/confidence"
ANNOTATIONS = (GROUP_BY, CONFIDENCE)
"""Annotations that mean something here: label columns separated by commas; a confidence of 0 to 1."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a configuration adds to SLO files.

    sources : condition of each source that filters its events; None where no configuration is known,
              so that files can be checked by themselves
    broken  : sources that the configuration names, but wrongly; what is said of them cannot be checked
    tiers   : the configuration's in place of the SRE Workbook's; None for those
    """

    sources: Mapping[str, Expression | None] | None = None
    broken: Collection[str] = ()
    confidence: float = 0.95
    tiers: Sequence[TierEntry] | None = None
    maintenance: Sequence[slo.Maintenance] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """An objective ready to be counted and judged, and the columns it uses with their places."""

    slo: slo.Slo
    rollup: Rollup
    uses: tuple[Use, ...]


@dataclass(slots=True)
class _Settings:
    """What all objectives of an SLO have in common."""

    window_ms: int
    calendar: CalendarPeriod | None
    tiers: tuple[slo.Tier, ...]
    confidence: float
    groups: tuple[str, ...]
    group_uses: tuple[Use, ...]
    maintenance: tuple[slo.Maintenance, ...] = field(default=())


def resolve_slos(library: Library, context: Context, findings: Findings) -> list[Resolved]:
    """All objectives of all SLOs that can be computed; mistakes and remarks go to `findings`."""
    for source in library.of(DataSource):
        findings.notes.append(
            source.note((), "a DataSource is not connected to; sources are the configuration's")
        )
    resolved = []
    for item in library.of(Slo):
        resolved += _resolve(item, library, context, findings)
    return resolved


def _resolve(item: Item[Slo], library: Library, context: Context, findings: Findings) -> list[Resolved]:
    spec = item.object.spec
    _check_service(item, library, findings)
    tiers = policy_tiers(item, library, findings)
    annotations = _annotations(item, findings)
    if spec.composite:
        findings.notes.append(
            item.note(
                ("spec", "objectives"), "a composite SLO is not computed; write an SLO for each indicator"
            )
        )
        return []
    indicator = _indicator(item, library, findings)
    if indicator is None:
        return []
    place, path, metrics = indicator
    window: tuple[int, CalendarPeriod | None] | None = None
    results: list[Resolved] = []
    names = _objective_names(spec.objectives)
    for index, objective in enumerate(spec.objectives):
        where = (item.document, (*item.path, "spec", "objectives", index))
        found = read_indicator(metrics, objective, place, path, where, library, findings)
        if found is None:
            continue
        # Only now is it sure that the SLO is for us, so only now its window must be one we can compute.
        window = window or budget_window(item, findings)
        settings = _settings(item, window, tiers, annotations, context)
        made = _objective(item, index, names[index], objective, found, settings, context, findings)
        if made is not None:
            results.append(made)
    return results


def _settings(
    item: Item[Slo],
    window: tuple[int, CalendarPeriod | None],
    tiers: tuple[slo.Tier, ...] | None,
    annotations: Mapping[str, str],
    context: Context,
) -> _Settings:
    window_ms, calendar = window
    if tiers is None:
        entries = workbook_tiers() if context.tiers is None else context.tiers
        tiers = scaled_tiers(entries, window_ms)
    groups = tuple(filter(None, (part.strip() for part in annotations.get(GROUP_BY, "").split(","))))
    path = (*item.path, "metadata", "annotations", GROUP_BY)
    return _Settings(
        window_ms,
        calendar,
        tiers,
        float(annotations.get(CONFIDENCE, context.confidence)),
        groups,
        tuple(Use(item.document, path, column) for column in groups),
        tuple(
            entry
            for entry in context.maintenance
            if not entry.services or item.object.spec.service in entry.services
        ),
    )


def _objective(
    item: Item[Slo],
    index: int,
    name: str,
    objective: Objective,
    indicator: Indicator,
    settings: _Settings,
    context: Context,
    findings: Findings,
) -> Resolved | None:
    path = (*item.path, "spec", "objectives", index)
    before = len(findings.problems)
    where = _filter(indicator, context, findings)
    groups = _groups(item, indicator, settings, findings)
    target = _target(item, path, objective, findings)
    slice_ms = _slice(item, path, objective, settings.window_ms, findings)
    if len(findings.problems) > before:
        return None
    _note_idle_tiers(item.document, path, target, settings.tiers, findings)
    metadata, spec = item.object.metadata, item.object.spec
    rollup_name = f"slo:{metadata.name}" + (f":{name}" if name else "")
    windows = {*PUBLISHED_WINDOWS_MS, *(w for tier in settings.tiers for w in (tier.long_ms, tier.short_ms))}
    if settings.calendar is None:
        windows.add(settings.window_ms)
    rollup = Rollup(
        name=rollup_name,
        kind="slo",
        source=indicator.source,
        by=groups,
        where=where,
        measures=(indicator.good, indicator.total),
        windows_ms=tuple(sorted(windows)),
        calendar=settings.calendar,
        slice_ms=slice_ms,
    )
    judged = slo.Slo(
        name=metadata.name,
        service=spec.service,
        target=target,
        source=indicator.source,
        rollup=rollup_name,
        window_ms=settings.window_ms,
        objective=name,
        calendar=settings.calendar,
        budgeting=spec.budgeting_method,
        slice_target=objective.time_slice_target or 0.0,
        tiers=settings.tiers,
        confidence=settings.confidence,
        group_by=groups,
        display_name=objective.display_name or metadata.display_name,
        description=spec.description,
        labels=metadata.labels,
        annotations={key: text for key, text in metadata.annotations.items() if key not in ANNOTATIONS},
        maintenance=settings.maintenance,
    )
    if slice_ms:
        judged = replace(judged, slice_ms=slice_ms)
    return Resolved(judged, rollup, (*indicator.uses, *settings.group_uses))


def _note_idle_tiers(
    document: Document, path: Path, target: float, tiers: Sequence[slo.Tier], findings: Findings
) -> None:
    """Say which tiers can never fire: at 90 % even a total outage burns only ten times too fast."""
    for tier in tiers:
        if not can_fire(tier, target):
            text = (
                f"even a total outage burns only {1 / (1 - target):g} times too fast at this target, so the "
                f"{tier.severity} alert at {tier.factor:g} over {format_duration(tier.long_ms)} never fires"
            )
            findings.notes.append(document.note(path, text))


def _filter(indicator: Indicator, context: Context, findings: Findings) -> Expression | None:
    """The indicator's condition with that of its source."""
    use = indicator.source_use
    if context.sources is None:
        return indicator.where
    if indicator.source in context.broken:
        return indicator.where
    if indicator.source not in context.sources:
        known = list(context.sources)
        findings.problems.append(
            use.document.problem(
                use.path,
                f"a source of the configuration ({one_of(known)})"
                if known
                else "a source of the configuration",
                use.document.show(use.path),
                nearest(indicator.source, known),
            )
        )
        return None
    try:
        return conjoin(context.sources[indicator.source], indicator.where)
    except ExpressionError as error:
        findings.problems.append(expression_problem(use.document, use.path, error))
        return None


def _groups(
    item: Item[Slo], indicator: Indicator, settings: _Settings, findings: Findings
) -> tuple[str, ...]:
    if settings.groups and indicator.group_by and settings.groups != indicator.group_by:
        path = (*item.path, "metadata", "annotations", GROUP_BY)
        findings.problems.append(
            item.document.problem(
                path,
                f"the groupBy of the indicator, {', '.join(indicator.group_by)}",
                item.document.show(path),
                "name the labels in one place",
            )
        )
    return settings.groups or indicator.group_by


def _target(item: Item[Slo], path: Path, objective: Objective, findings: Findings) -> float:
    if objective.target is not None:
        key, target = "target", objective.target
    else:
        # In decimals, so that 99.9 % is exactly what 0.999 is.
        key, target = "targetPercent", float(Decimal(str(objective.target_percent)) / 100)
    if target == 0:
        place = (*path, key)
        findings.problems.append(
            item.document.problem(
                place, "a target above 0", item.document.show(place), "an SLO of 0 % always holds"
            )
        )
    return target


def _slice(item: Item[Slo], path: Path, objective: Objective, window_ms: int, findings: Findings) -> int:
    """Length of the slices in ms, 0 for Occurrences."""
    length = objective.time_slice_window
    if item.object.spec.budgeting_method == "Occurrences" or length is None:
        return 0
    if length % BUCKET_MS or not BUCKET_MS <= length <= window_ms:
        place = (*path, "timeSliceWindow")
        findings.problems.append(
            item.document.problem(
                place,
                f"a multiple of {BUCKET_MS // 1000} seconds, at most the SLO's window",
                item.document.show(place),
            )
        )
    return length


def _indicator(
    item: Item[Slo], library: Library, findings: Findings
) -> tuple[Document, Path, SliSpec] | None:
    """Where the indicator's spec stands, and the spec."""
    spec = item.object.spec
    if spec.indicator is not None:
        return item.document, (*item.path, "spec", "indicator", "spec"), spec.indicator.spec
    assert spec.indicator_ref is not None, "the model asks for one of both"
    place = (*item.path, "spec", "indicatorRef")
    found = library.find(Sli, spec.indicator_ref, item.document, place, findings)
    return (found.document, (*found.path, "spec"), found.object.spec) if found else None


def _annotations(item: Item[Slo], findings: Findings) -> Mapping[str, str]:
    """The annotations for us, checked."""
    ours = {}
    for key, text in item.object.metadata.annotations.items():
        if not key.startswith("streamgauge/"):
            continue
        path = (*item.path, "metadata", "annotations", key)
        if key not in ANNOTATIONS:
            findings.problems.append(
                item.document.problem(path, one_of(ANNOTATIONS), key, nearest(key, ANNOTATIONS))
            )
        elif key == CONFIDENCE and not re.fullmatch(r"0(\.[0-9]+)?", text):
            findings.problems.append(
                item.document.problem(
                    path, "a confidence of at least 0 and below 1", item.document.show(path)
                )
            )
        else:
            ours[key] = text
    return ours


def _check_service(item: Item[Slo], library: Library, findings: Findings) -> None:
    """Services need no object of their own, but a name that is nearly one of theirs is worth a word."""
    services = [service.name for service in library.of(Service)]
    name = item.object.spec.service
    guess = "" if name in services else nearest(name, services)
    if guess:
        findings.notes.append(item.note(("spec", "service"), f"no Service has this name; {guess}"))


def _objective_names(objectives: Sequence[Objective]) -> list[str]:
    """A name for each of several objectives, from its display name or its target; none for a single one."""
    if len(objectives) == 1:
        return [""]
    names: list[str] = []
    for objective in objectives:
        percent = objective.target_percent
        if percent is None:
            percent = float(Decimal(str(objective.target)) * 100)
        slug = re.sub(r"[^a-z0-9.]+", "-", objective.display_name.lower()).strip("-") or f"{percent:g}"
        name, number = slug, 2
        while name in names:
            name, number = f"{slug}-{number}", number + 1
        names.append(name)
    return names
