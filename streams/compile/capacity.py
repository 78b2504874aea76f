"""All entries of `capacity` compiled: what is counted for each, and how its series are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from detectors.slo.slo import Slo
from models.calendar.units import DAY_MS, HOUR_MS, MINUTE_MS
from streams.compile.fragment import PlanFragment
from streams.compile.resources import resource_of, rule_of
from streams.config.capacity import CapacityEntry, LimitSeries
from streams.config.models import Config
from streams.language.expression import (
    Expression,
    compile_expression,
    compile_number,
    conjoin,
    quote_column,
    quote_text,
)
from streams.language.problems import Findings, one_of
from streams.language.yaml.documents import Path
from streams.language.yaml.use import Use
from streams.plan.resource import LEVEL, LIMIT, USED, CapacityPlan, Resource, seen_name
from streams.plan.rollup import Count, Measure, Rollup, Sum

HISTORY_MS = {0: HOUR_MS, 1: 3 * DAY_MS, 2: 56 * DAY_MS}
"""How far back a level of the rings is kept for a forecast: eight weeks of hours."""

LEVEL_OF_STEP_MS = ((HOUR_MS, 2), (300_000, 1), (0, 0))
"""From which step on a level's slots are fine enough, the coarsest first."""

WHOLE_MAX = 1e6
"""Levels are brought below it before they are summed, so that sums of bytes stay within 64 bits."""


@dataclass(frozen=True, slots=True)
class CapacityPlans:
    """All resources, and what they add to their sources."""

    plans: tuple[CapacityPlan, ...] = ()
    fragments: tuple[tuple[str, PlanFragment], ...] = ()

    def with_history(self, rollup: Rollup) -> Rollup:
        """The rollup of an SLO, with a window that keeps the history of its budget's forecasts."""
        longest = max(rollup.windows_ms)
        level = max((plan.level for plan in self.plans if plan.rollup == rollup.name), default=0)
        # rings have a level only for windows longer than all that the finer level serves
        if level == 0 or longest > HISTORY_MS[level - 1]:
            return rollup
        return replace(rollup, windows_ms=(*rollup.windows_ms, HISTORY_MS[level]))


def capacity_plans(config: Config, slos: Sequence[Slo], findings: Findings) -> CapacityPlans:
    """What the entries come to; mistakes go to `findings`."""
    plans: list[CapacityPlan] = []
    fragments: list[tuple[str, PlanFragment]] = []
    for index, entry in enumerate(config.capacity):
        path: Path = ("capacity", index)
        if entry.kind == "error_budget":
            slo = _slo(entry, slos)
            if slo is None:
                names = sorted({slo.name for slo in slos}) or ["an SLO, of which there is none"]
                findings.problems.append(config.mistake((*path, "slo"), one_of(names)))
                continue
            resource = resource_of(entry, slo)
            plans.append(CapacityPlan(resource, rule_of(entry), slo.source, slo.rollup, _level(resource)))
            continue
        source = config.sources.get(entry.source or "")
        if source is None or entry.source is None:
            findings.problems.append(config.mistake((*path, "source"), one_of(sorted(config.sources))))
            continue
        if isinstance(entry.limit, LimitSeries) and entry.limit.source not in (None, entry.source):
            findings.problems.append(
                config.mistake((*path, "limit", "source"), f"{entry.source}, like the resource's own")
            )
            continue
        resource = resource_of(entry)
        scale = _scale(entry)
        rollup = _rollup(entry, resource, source.where, scale)
        plans.append(
            CapacityPlan(resource, rule_of(entry), entry.source, rollup.name, _level(resource), scale)
        )
        fragments.append((entry.source, PlanFragment((), (rollup,), (), _uses(entry, config, path))))
    return CapacityPlans(tuple(plans), tuple(fragments))


def _slo(entry: CapacityEntry, slos: Sequence[Slo]) -> Slo | None:
    named = [slo for slo in slos if slo.name == entry.slo and entry.objective in ("", slo.objective)]
    return named[0] if named else None


def _level(resource: Resource) -> int:
    return next(level for step_ms, level in LEVEL_OF_STEP_MS if resource.step_ms >= step_ms)


def _scale(entry: CapacityEntry) -> float:
    """A power of ten that brings levels near the limit below `WHOLE_MAX`; amounts are kept as they are."""
    if entry.kind == "quota" or not isinstance(entry.limit, float) or abs(entry.limit) <= WHOLE_MAX:
        return 1.0
    return float(10.0 ** math.ceil(math.log10(abs(entry.limit) / WHOLE_MAX)))


def _rollup(entry: CapacityEntry, resource: Resource, where: Expression | None, scale: float) -> Rollup:
    assert entry.value is not None
    conditions = [
        compile_expression(f"{quote_column(name)} == {quote_text(text)}")
        for name, text in entry.labels.items()
    ]
    measures: tuple[Measure, ...]
    if entry.kind == "quota":
        measures = (Sum(USED, entry.value),)
    else:
        measures = _levels(LEVEL, entry.value, scale)
        if isinstance(entry.limit, LimitSeries):
            measures += _levels(LIMIT, entry.limit.value, scale)
    level = _level(resource)
    return Rollup(
        name=f"capacity:{entry.resource}",
        kind="capacity",
        source=entry.source or "",
        by=entry.by,
        where=conjoin(where, entry.where, *conditions),
        measures=measures,
        windows_ms=tuple(sorted({MINUTE_MS, HISTORY_MS[level]})),
        calendar=resource.period,
    )


def _levels(name: str, column: str, scale: float) -> tuple[Measure, ...]:
    quoted = quote_column(column)
    value = None if scale == 1.0 else compile_number(f"{quoted} / {scale!r}")
    seen = compile_expression(f"not missing({quoted})")
    return (Sum(name, column, value=value), Count(seen_name(name), seen))


def _uses(entry: CapacityEntry, config: Config, path: Path) -> tuple[Use, ...]:
    document = config.document
    uses = [Use(document, (*path, "value"), entry.value or "", measured=True)]
    if isinstance(entry.limit, LimitSeries):
        uses.append(Use(document, (*path, "limit"), entry.limit.value, measured=True))
    uses += [Use(document, (*path, "by"), column) for column in entry.by]
    uses += [Use(document, (*path, "labels"), column) for column in entry.labels]
    if entry.where is not None:
        uses.append(Use(document, (*path, "where"), expression=entry.where))
    return tuple(uses)
