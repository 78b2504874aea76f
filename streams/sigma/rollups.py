"""Sigma rules as rollups of a source and the detectors that judge them.

A rule that correlates others counts their events by its own groups; one that stands alone alerts for each
client. Rules that a correlation refers to alert by themselves only where it says `generate: true`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.calendar.units import HOUR_MS, MINUTE_MS
from streams.language.expression import Expression, ExpressionError, compile_expression, conjoin
from streams.language.problems import Findings
from streams.language.yaml.documents import Document, Path
from streams.language.yaml.use import Use
from streams.plan.monitor import monitor_plan
from streams.plan.plan import BUCKET_MS, MonitorPlan
from streams.plan.rollup import Count, Rollup
from streams.sigma.condition import SigmaUnsupportedError, column_of, condition_text
from streams.sigma.rules import Correlation, Detection, read_rules

DETECTOR = "sigma"

TIMESPAN_S_MAX = 86_400
"""What a rule counts is kept step by step for its timespan."""

GROUPS_MAX = 20_000


@dataclass(slots=True)
class SigmaPlan:
    """What Sigma rules add to a source."""

    rollups: list[Rollup] = field(default_factory=list)
    monitors: list[MonitorPlan] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SigmaSource:
    """The source that rules are for.

    columns : kinds of columns (`client`, `path` …) to what the source calls them
    labels  : the same where a column of another name stands for it in groups: its pseudonym
    numbers : columns that hold numbers
    body    : column of free text, None for none
    """

    name: str
    where: Expression | None
    columns: Mapping[str, str]
    labels: Mapping[str, str]
    numbers: Collection[str]
    body: str | None


def sigma_plan(documents: Sequence[Document], source: SigmaSource, findings: Findings) -> SigmaPlan:
    """The rollups and monitors of all rules in some files; mistakes go to `findings`."""
    detections, correlations = read_rules(documents, findings)
    conditions: dict[int, Expression] = {}
    plan = SigmaPlan()
    for detection in detections:
        condition = _condition(detection, source, findings)
        if condition is not None:
            conditions[id(detection.rule)] = condition
            plan.uses.append(Use(detection.document, ("detection",), expression=condition))
    silent = {id(d.rule) for c in correlations if not c.rule.generate for d in c.rules}
    for detection in detections:
        if id(detection.rule) in conditions and id(detection.rule) not in silent:
            _add_match(plan, detection, conditions[id(detection.rule)], source)
    for correlation in correlations:
        if all(id(detection.rule) in conditions for detection in correlation.rules):
            _add_correlation(plan, correlation, conditions, source, findings)
    return plan


def _condition(detection: Detection, source: SigmaSource, findings: Findings) -> Expression | None:
    """Any of a rule's conditions."""
    document = detection.document
    try:
        texts = [
            condition_text(condition.parsed, source.columns, source.numbers, source.body)
            for condition in detection.rule.detection.parsed_condition
        ]
        return compile_expression(" or ".join(f"({text})" for text in texts))
    except SigmaUnsupportedError as error:
        findings.problems.append(document.problem(("detection",), "what columns can tell", str(error)))
    except ExpressionError as error:
        found = str(error).splitlines()[0]
        findings.problems.append(document.problem(("detection",), "one kind of value for each field", found))
    return None


def _add_match(plan: SigmaPlan, detection: Detection, condition: Expression, source: SigmaSource) -> None:
    client = source.labels.get("client")
    rollup = Rollup(
        name=_free_name(plan, source, detection.name),
        kind="sigma",
        source=source.name,
        by=() if client is None else (client,),
        where=conjoin(source.where, condition),
        measures=(Count("events"),),
        windows_ms=(MINUTE_MS,),
        series_count_max=GROUPS_MAX,
        forget_ms=HOUR_MS,
    )
    plan.rollups.append(rollup)
    settings = {"rule": "match", "op": "gte", "count": 1, "timespan_ms": BUCKET_MS}
    plan.monitors.append(_monitor(rollup, detection.name, detection.rule, settings))


def _add_correlation(
    plan: SigmaPlan,
    correlation: Correlation,
    conditions: Mapping[int, Expression],
    source: SigmaSource,
    findings: Findings,
) -> None:
    rule, document = correlation.rule, correlation.document
    place: Path = ("correlation",)
    if rule.timespan.seconds > TIMESPAN_S_MAX:
        findings.problems.append(
            document.problem((*place, "timespan"), f"at most {TIMESPAN_S_MAX // 3600} h", rule.timespan.spec)
        )
        return
    if len(rule.aliases):
        findings.problems.append(
            document.problem((*place, "aliases"), "no aliases", "", "one source has one name for a field")
        )
        return
    groups = tuple(_label(field, source) for field in rule.group_by or ())
    wanted = [conditions[id(detection.rule)] for detection in correlation.rules]
    counted = rule.condition.fieldref
    by = (*groups, _label(counted, source)) if correlation.kind == "value_count" else groups
    plan.uses += [Use(document, (*place, "group-by"), _raw(label, source)) for label in by]
    any_of = compile_expression(" or ".join(f"({each.text})" for each in wanted))
    names = [detection.name for detection in correlation.rules]
    rollup = Rollup(
        name=_free_name(plan, source, correlation.name),
        kind="sigma",
        source=source.name,
        by=by,
        where=conjoin(source.where, any_of),
        measures=tuple(map(Count, _distinct_names(names), wanted))
        if correlation.kind == "temporal"
        else (Count("events"),),
        windows_ms=(MINUTE_MS,),
        series_count_max=GROUPS_MAX,
        forget_ms=max(rule.timespan.seconds * 1000, HOUR_MS),
    )
    plan.rollups.append(rollup)
    op, count = rule.condition.op.name.lower(), rule.condition.count
    # without a bound of its own, a temporal rule wants every rule that it names
    whole = correlation.kind == "temporal" and "condition" not in document.get(place)
    settings = {
        "rule": correlation.kind,
        "op": "gte" if whole else op,
        "count": len(wanted) if whole else count,
        "timespan_ms": -(-rule.timespan.seconds * 1000 // BUCKET_MS) * BUCKET_MS,
    }
    plan.monitors.append(_monitor(rollup, correlation.name, rule, settings))


def _monitor(rollup: Rollup, title: str, rule: Any, settings: dict[str, Any]) -> MonitorPlan:
    level = rule.level.name.lower() if rule.level is not None else "medium"
    settings = {"title": title, "level": level, **settings}
    return monitor_plan(DETECTOR, rollup.name, rollup.source, rollup.name, settings)


def _label(field: str, source: SigmaSource) -> str:
    column = column_of(field, source.columns)
    kind = next((name for name, each in source.columns.items() if each == column), None)
    return column if kind is None else source.labels.get(kind, column)


def _raw(label: str, source: SigmaSource) -> str:
    """The column that a group's label is made of."""
    kind = next((name for name, each in source.labels.items() if each == label), None)
    return label if kind is None else source.columns[kind]


def _free_name(plan: SigmaPlan, source: SigmaSource, title: str) -> str:
    taken = {rollup.name for rollup in plan.rollups}
    return _distinct_names([f"sigma:{source.name}:{title}"], taken)[0]


def _distinct_names(names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """Names with a number behind those that occurred before."""
    found: list[str] = []
    for name in names:
        number, free = 1, name
        while free in found or free in taken:
            number += 1
            free = f"{name} {number}"
        found.append(free)
    return found
