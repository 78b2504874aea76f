"""OpenSLO v1: what each kind of indicator, window and alert policy comes down to."""

from __future__ import annotations

from textwrap import dedent, indent

import numpy as np
import pytest

from detectors.slo.slo import Tier
from models.calendar.period import CalendarPeriod
from streams.events.batch import Column, Strings
from streams.language.expression import compile_expression
from streams.language.problems import Findings
from streams.openslo.read import Library, read_objects
from streams.openslo.resolve import Context, Resolved, resolve_slos
from streams.openslo.tiers import scaled_tiers, workbook_tiers
from streams.plan.rollup import Count, Measure, Rollup, Sum

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
KNOWN = Context(sources={"requests": None, "filtered": compile_expression('method != "OPTIONS"')})


def resolve(text: str, context: Context = KNOWN) -> tuple[list[Resolved], Findings]:
    findings, library = Findings(), Library()
    read_objects("slo.yaml", dedent(text), library, findings)
    return resolve_slos(library, context, findings), findings


def resolve_one(text: str, context: Context = KNOWN) -> Resolved:
    resolved, findings = resolve(text, context)
    assert [str(problem) for problem in findings.problems] == []
    (one,) = resolved
    return one


def mistakes(text: str, context: Context = KNOWN) -> list[str]:
    return [str(problem).removeprefix("slo.yaml:") for problem in resolve(text, context)[1].problems]


def slo(
    indicator: str,
    *,
    window: str = "[{duration: 30d, isRolling: true}]",
    method: str = "Occurrences",
    objectives: str = "[{target: 0.999}]",
    more: str = "",
    annotations: str = "{}",
) -> str:
    return f"""\
apiVersion: openslo/v1
kind: SLO
metadata: {{name: availability, annotations: {annotations}}}
spec:
  service: checkout
  indicator:
    metadata: {{name: availability}}
    spec:
{indent(dedent(indicator).strip(), "      ")}
  timeWindow: {window}
  budgetingMethod: {method}
  objectives: {objectives}
{indent(dedent(more).strip(), "  ")}
"""


def metric(spec: str) -> str:
    return f"{{metricSource: {{type: streamgauge, spec: {{{spec}}}}}}}"


def ratio(**parts: str) -> str:
    return "ratioMetric:\n" + "".join(f"  {key}: {metric(spec)}\n" for key, spec in parts.items())


PLAIN = ratio(good="source: requests, where: status < 500", total="source: requests")

COLUMNS: dict[str, Column] = {
    "status": np.array([200.0, 503.0, np.nan, 404.0]),
    "duration": np.array([0.1, 0.5, np.nan, 2.0]),
    "ratio": np.array([1.0, 0.25, np.nan, 0.5]),
    "in": np.array([10.0, 20.0, 30.0, np.nan]),
    "out": np.array([1.0, 2.0, 3.0, 4.0]),
    "route": Strings(np.array([0, 1, 0, -1], dtype=np.int32), ["/a", "/health"]),
    "method": Strings(np.array([0, 0, 1, 0], dtype=np.int32), ["GET", "OPTIONS"]),
}


def counted(rollup: Rollup) -> tuple[float, float]:
    """(good, total) over `COLUMNS`, by the plan's own words."""
    everything = np.ones(4, dtype=np.bool_)
    rows = everything if rollup.where is None else rollup.where.mask(COLUMNS, 4)

    def amount(measure: Measure) -> float:
        kept = rows if measure.where is None else rows & measure.where.mask(COLUMNS, 4)
        if isinstance(measure, Count):
            return float(kept.sum())
        column = COLUMNS[measure.column] if measure.value is None else measure.value.values(COLUMNS, 4)
        return float(np.nansum(np.asarray(column)[kept]))

    good, total = rollup.measures
    assert (good.name, total.name) == ("good", "total")
    return amount(good), amount(total)


@pytest.mark.parametrize(
    ("indicator", "expected"),
    [
        (PLAIN, (2, 4)),
        (ratio(bad="source: requests, where: status >= 500", total="source: requests"), (3, 4)),
        (ratio(bad="source: requests", total="source: requests"), (0, 4)),
        (ratio(good="source: requests, where: status < 500", total="source: filtered"), None),
        (ratio(good="source: filtered, where: status < 500", total="source: filtered"), (2, 3)),
        # What total leaves out is never good.
        (
            ratio(
                good="source: requests, where: status < 600",
                total='source: requests, where: route != "/health"',
            ),
            (2, 3),
        ),
        (
            ratio(
                good="source: requests, expression: status < 500",
                total="source: requests, query: not missing(status)",
            ),
            (2, 3),
        ),
        # Sums of columns.
        (ratio(good="source: requests, sum: out", total="source: requests, sum: in"), (10, 60)),
        (
            ratio(good="source: requests, sum: out, where: status < 500", total="source: requests, sum: out"),
            (5, 10),
        ),
        (
            ratio(bad="source: requests, sum: out, where: status < 500", total="source: requests, sum: out"),
            (5, 10),
        ),
        (ratio(bad="source: requests, sum: out", total="source: requests, sum: in"), (54, 60)),
        # Ratios that each event brings along.
        ("ratioMetric:\n  rawType: success\n  raw: " + metric("source: requests, value: ratio"), (1.75, 3)),
        ("ratioMetric:\n  rawType: failure\n  raw: " + metric("source: requests, value: ratio"), (1.25, 3)),
    ],
)
def test_ratios_count_what_they_say(indicator: str, expected: tuple[float, float] | None) -> None:
    if expected is None:
        assert "expected the source of total, filtered" in mistakes(slo(indicator))[0]
        return
    one = resolve_one(slo(indicator))
    assert counted(one.rollup) == expected
    assert (one.slo.source, one.slo.rollup) == (one.rollup.source, "slo:availability")


@pytest.mark.parametrize(("op", "good"), [("lt", 1), ("lte", 2), ("gt", 1), ("gte", 2)])
def test_a_threshold_compares_each_event(op: str, good: int) -> None:
    one = resolve_one(
        slo(
            "thresholdMetric: " + metric("source: requests, value: duration"),
            objectives=f"[{{target: 0.95, op: {op}, value: 0.5}}]",
        )
    )
    # An event without the value takes no part.
    assert counted(one.rollup) == (good, 3)


def test_several_objectives_have_names_and_rollups_of_their_own() -> None:
    resolved, findings = resolve(
        slo(
            "thresholdMetric: " + metric("source: requests, value: duration"),
            objectives="""
    - {displayName: Under 500 ms!, targetPercent: 99.9, op: lt, value: 0.5}
    - {target: 0.5, op: lt, value: 0.2}
    - {targetPercent: 50, op: lt, value: 3}""",
        )
    )
    assert findings.ok
    assert [one.slo.objective for one in resolved] == ["under-500-ms", "50", "50-2"]
    assert [one.rollup.name for one in resolved] == [
        "slo:availability:under-500-ms",
        "slo:availability:50",
        "slo:availability:50-2",
    ]
    assert [one.slo.target for one in resolved] == [0.999, 0.5, 0.5]
    assert [counted(one.rollup) for one in resolved] == [(1, 3), (1, 3), (3, 3)]


@pytest.mark.parametrize(
    ("method", "objective", "slice_ms", "slice_target"),
    [
        ("Timeslices", "{target: 0.9, timeSliceTarget: 0.95, timeSliceWindow: 5m}", 5 * MINUTE, 0.95),
        ("Timeslices", "{target: 0.9, timeSliceTarget: 1, timeSliceWindow: 2}", 2 * MINUTE, 1.0),
        ("RatioTimeslices", "{target: 0.9, timeSliceWindow: 1h}", HOUR, 0.0),
    ],
)
def test_timeslices(method: str, objective: str, slice_ms: int, slice_target: float) -> None:
    one = resolve_one(slo(PLAIN, method=method, objectives=f"[{objective}]"))
    assert (one.slo.budgeting, one.slo.slice_ms, one.slo.slice_target) == (method, slice_ms, slice_target)
    assert one.rollup.slice_ms == slice_ms


def test_occurrences_have_no_slices() -> None:
    assert resolve_one(slo(PLAIN)).rollup.slice_ms == 0


def calendar(duration: str, start: str = "2026-01-01 00:00:00", zone: str = "Europe/Berlin") -> str:
    return f"[{{duration: {duration}, calendar: {{startTime: {start}, timeZone: {zone}}}}}]"


@pytest.mark.parametrize(
    ("window", "length", "expected"),
    [
        ("[{duration: 4w, isRolling: true}]", 28 * DAY, None),
        ("[{duration: 1M, isRolling: true}]", 30 * DAY, None),
        ("[]", 30 * DAY, None),
        (calendar("1M"), 30 * DAY, CalendarPeriod("month", "Europe/Berlin")),
        (calendar("1Q"), 90 * DAY, CalendarPeriod("quarter", "Europe/Berlin")),
        (calendar("1Y"), 365 * DAY, CalendarPeriod("year", "Europe/Berlin")),
        (calendar("1w", "2026-01-05 00:00:00"), 7 * DAY, CalendarPeriod("week", "Europe/Berlin")),
        (calendar("1d", zone="UTC"), DAY, CalendarPeriod("day", "UTC")),
        # Thursday in New York begins at 05:00 UTC.
        (
            calendar("1w", zone="America/New_York"),
            7 * DAY,
            CalendarPeriod("week", "America/New_York", 1, 1_767_243_600_000),
        ),
        (
            calendar("2w", "2026-01-05 00:00:00", "UTC"),
            14 * DAY,
            CalendarPeriod("week", "UTC", 2, 1_767_571_200_000),
        ),
    ],
)
def test_windows(window: str, length: int, expected: CalendarPeriod | None) -> None:
    one = resolve_one(slo(PLAIN, window=window))
    assert (one.slo.window_ms, one.slo.calendar) == (length, expected)
    assert one.rollup.calendar == expected
    published = {5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, DAY, 3 * DAY}
    assert set(one.rollup.windows_ms) == published | ({length} if expected is None else set())
    assert list(one.rollup.windows_ms) == sorted(one.rollup.windows_ms)


def test_the_workbooks_tiers_for_thirty_days() -> None:
    assert resolve_one(slo(PLAIN)).slo.tiers == (
        Tier("page", HOUR, 5 * MINUTE, 14.4),
        Tier("page", 6 * HOUR, 30 * MINUTE, 6.0),
        Tier("ticket", DAY, 2 * HOUR, 3.0),
        Tier("ticket", 3 * DAY, 6 * HOUR, 1.0),
    )


@pytest.mark.parametrize("days", [1, 7, 28, 30, 90])
def test_scaled_tiers_spend_the_same_share_or_burn_at_least_once(days: int) -> None:
    tiers = scaled_tiers(workbook_tiers(), days * DAY)
    for tier, budget in zip(tiers, (0.02, 0.05, 0.1, 0.1), strict=False):
        spent = tier.factor * tier.long_ms / (days * DAY)
        assert tier.factor >= 1
        assert spent == pytest.approx(budget) or (tier.factor == 1 and spent > budget)
        assert tier.long_ms <= days * DAY


POLICY = """
alertPolicies:
  - alertPolicyRef: fast
  - kind: AlertPolicy
    metadata: {name: slow}
    spec:
      alertWhenBreaching: true
      conditions:
        - kind: AlertCondition
          metadata: {name: slow}
          spec:
            severity: ticket
            condition: {kind: burnrate, threshold: 2, lookbackWindow: 1d}
      notificationTargets: [{targetRef: mail}]
  - kind: AlertPolicy
    metadata: {name: never}
    spec:
      alertWhenBreaching: false
      alertWhenNoData: true
      conditions: [{conditionRef: burns}]
"""

POLICY_OBJECTS = """
---
- apiVersion: openslo/v1
  kind: AlertPolicy
  metadata: {name: fast}
  spec: {conditions: [{conditionRef: burns}]}
- apiVersion: openslo/v1
  kind: AlertCondition
  metadata: {name: burns}
  spec:
    severity: page
    condition: {kind: burnrate, op: gt, threshold: 14.4, lookbackWindow: 1h, alertAfter: 10m}
- apiVersion: openslo/v1
  kind: AlertNotificationTarget
  metadata: {name: mail}
  spec: {target: email}
- apiVersion: openslo/v1
  kind: Service
  metadata: {name: checkout, labels: {team: [a, b], important: true}}
"""


def test_alert_policies_replace_the_tiers() -> None:
    one = resolve_one(slo(PLAIN, more=POLICY) + POLICY_OBJECTS)
    assert one.slo.tiers == (Tier("page", HOUR, 10 * MINUTE, 14.4), Tier("ticket", DAY, 2 * HOUR, 2.0))
    assert {10 * MINUTE, HOUR, 2 * HOUR, DAY} <= set(one.rollup.windows_ms)


def test_no_alert_policies_leave_the_tiers() -> None:
    assert len(resolve_one(slo(PLAIN, more="alertPolicies:")).slo.tiers) == 4


def test_an_indicator_may_be_referred_to_from_any_document_or_list() -> None:
    text = f"""
- apiVersion: openslo/v1
  kind: SLO
  metadata: {{name: referring}}
  spec:
    service: checkout
    indicatorRef: available
    timeWindow: [{{duration: 30d, isRolling: true}}]
    budgetingMethod: Occurrences
    objectives: [{{targetPercent: 99.9}}]
---
apiVersion: openslo/v1
kind: SLI
metadata: {{name: available}}
spec:
{indent(PLAIN, "  ")}
"""
    one = resolve_one(text)
    assert (one.slo.name, one.slo.service, one.slo.target) == ("referring", "checkout", 0.999)
    assert counted(one.rollup) == (2, 4)


@pytest.mark.parametrize(
    ("indicator", "annotations"),
    [
        (PLAIN, '{streamgauge/group-by: "tenant, region"}'),
        (ratio(good="source: requests", total="source: requests, groupBy: [tenant, region]"), "{}"),
        (
            ratio(good="source: requests", total="source: requests, groupBy: [tenant, region]"),
            '{streamgauge/group-by: "tenant,region"}',
        ),
    ],
)
def test_a_budget_for_each_group(indicator: str, annotations: str) -> None:
    one = resolve_one(slo(indicator, annotations=annotations))
    assert one.slo.group_by == one.rollup.by == ("tenant", "region")
    assert {use.column for use in one.uses if use.column} == {"tenant", "region"}
    assert one.slo.annotations == {}


def test_annotations_set_the_confidence_and_others_are_kept() -> None:
    one = resolve_one(slo(PLAIN, annotations="{streamgauge/confidence: 0.8, runbook.example/url: http://a}"))
    assert one.slo.confidence == 0.8
    assert one.slo.annotations == {"runbook.example/url": "http://a"}


@pytest.mark.parametrize(
    "source",
    [
        "{type: Prometheus, spec: {query: up, anything: [1, {a: b}]}}",
        "{metricSourceRef: prometheus, spec: {query: up}}",
    ],
)
def test_other_metric_sources_are_valid_and_say_what_is_lacking(source: str) -> None:
    metrics = f"good: {{metricSource: {source}}}, total: {{metricSource: {source}}}"
    text = slo(
        f"ratioMetric: {{counter: true, {metrics}}}",
        window="[{duration: 1m, calendar: {startTime: 2022-01-01 12:00:00, timeZone: America/New_York}}]",
        objectives="[{displayName: a, op: gt, target: 0}]",
    )
    text += "---\napiVersion: openslo/v1\nkind: DataSource\nmetadata: {name: prometheus}\n"
    text += "spec: {type: Prometheus, connectionDetails: {url: http://a}}\n"
    resolved, findings = resolve(text)
    assert (resolved, findings.problems) == ([], [])
    assert sum("map it to type: streamgauge" in note.text for note in findings.notes) == 2
    assert sum("a DataSource is not connected to" in note.text for note in findings.notes) == 1


def test_composite_slos_are_valid_and_say_that_they_are_not_computed() -> None:
    text = f"""
apiVersion: openslo/v1
kind: SLO
metadata: {{name: composite}}
spec:
  service: checkout
  budgetingMethod: Occurrences
  objectives:
    - target: 0.9
      compositeWeight: 2
      indicator:
        metadata: {{name: a}}
        spec:
{indent(PLAIN, "          ")}
"""
    resolved, findings = resolve(text)
    assert (resolved, findings.problems) == ([], [])
    assert "composite" in findings.notes[0].text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (slo(PLAIN).replace("openslo/v1", "openslo/v1alpha"), "1: apiVersion: expected openslo/v1, found"),
        (slo(PLAIN).replace("kind: SLO", "kind: SLOs"), "2: kind: expected one of SLO, SLI, Service"),
        (slo(PLAIN, more="owner: me"), "15: spec.owner: expected a known key ("),
        (slo(PLAIN, window="[{duration: 30d, rolling: true}]"), "12: spec.timeWindow[0].rolling: expected a"),
        (
            slo(PLAIN, window="[{duration: 30d, isRolling: false}]"),
            "12: spec.timeWindow[0].calendar: expected",
        ),
        (slo(PLAIN, window="[{duration: 0d}]"), "12: spec.timeWindow[0].duration: expected a duration above"),
        (
            slo(PLAIN, window="[{duration: 1d}, {duration: 2d}]"),
            "12: spec.timeWindow: expected at most 1 item",
        ),
        (slo(PLAIN, objectives="[]"), "14: spec.objectives: expected at least 1 item"),
        (slo(PLAIN, objectives="[{target: 0}]"), "14: spec.objectives[0].target: expected a target above 0"),
        (slo(PLAIN, objectives="[{}]"), "14: spec.objectives[0].target: expected either target or"),
        (
            slo(PLAIN, method="Timeslices"),
            "14: spec.objectives[0].timeSliceWindow: expected the length of a slice",
        ),
        (
            slo(PLAIN, method="RatioTimeslices", objectives="[{target: 0.9, timeSliceWindow: 60d}]"),
            "14: spec.objectives[0].timeSliceWindow: expected a multiple of 10 seconds, at most the SLO's",
        ),
        (
            slo(ratio(good="source: requests")),
            "9: spec.indicator.spec.ratioMetric.total: expected total together with",
        ),
        (
            slo(ratio(total="source: requests")),
            "9: spec.indicator.spec.ratioMetric.good: expected either good",
        ),
        (
            slo(ratio(raw="source: requests, value: ratio")),
            "9: spec.indicator.spec.ratioMetric.rawType: expected success or failure together with raw",
        ),
        (
            slo(ratio(good="source: request", total="source: request")),
            "11: spec.indicator.spec.ratioMetric.total.metricSource.spec.source: expected a source of the "
            'configuration (one of requests, filtered), found "request"; did you mean requests?',
        ),
        (
            slo(ratio(good="source: requests, sum: a", total="source: requests")),
            "11: spec.indicator.spec.ratioMetric.total.metricSource.spec.sum: expected sum in both",
        ),
        (
            slo(ratio(good="source: requests, where: a = 1", total="source: requests")),
            "10: spec.indicator.spec.ratioMetric.good.metricSource.spec.where: expected a valid expression",
        ),
        (
            slo(ratio(good="source: requests, where: a, query: b", total="source: requests")),
            "10: spec.indicator.spec.ratioMetric.good.metricSource.spec.query: expected only one of where",
        ),
        (
            slo("thresholdMetric: " + metric("source: requests, value: a")),
            "12: spec.objectives[0].op: expected op in the objective of a thresholdMetric, found nothing",
        ),
        (
            slo(
                "thresholdMetric: " + metric("source: requests"),
                objectives="[{target: 0.9, op: lt, value: 1}]",
            ),
            "9: spec.indicator.spec.thresholdMetric.metricSource.spec.value: expected the number column",
        ),
        (
            slo(
                "thresholdMetric: {metricSource: {spec: {}}}", objectives="[{target: 0.9, op: lt, value: 1}]"
            ),
            "9: spec.indicator.spec.thresholdMetric.metricSource: expected a type",
        ),
        (
            slo(PLAIN, more="alertPolicies: [fast]"),
            "15: spec.alertPolicies[0]: expected the name of an AlertP",
        ),
        (
            slo(PLAIN, annotations="{streamgauge/confidence: high}"),
            "3: metadata.annotations.streamgauge/confidence: expected a confidence of at least 0 and below 1",
        ),
        (
            slo(PLAIN) + "---\n" + slo(PLAIN),
            '19: metadata.name: expected each SLO once, found "availability"',
        ),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, expected: str) -> None:
    told = mistakes(text)
    assert any(problem.startswith(expected) for problem in told), told


def test_sums_are_of_numbers() -> None:
    one = resolve_one(slo(ratio(bad="source: requests, sum: out", total="source: requests, sum: in")))
    assert isinstance(one.rollup.measures[0], Sum)
    assert {use.column for use in one.uses if use.measured} == {"in", "out"}


@pytest.mark.parametrize(
    ("counter", "query", "notes"), [("false", "", 1), ("false", ", sum: in", 0), ("true", "", 0)]
)
def test_a_counter_that_is_none_needs_a_sum(counter: str, query: str, notes: int) -> None:
    both = ratio(good=f"source: requests{query}", total=f"source: requests{query}")
    resolved, findings = resolve(slo(both + f"  counter: {counter}\n"))
    assert (len(resolved), findings.problems, len(findings.notes)) == (1, [], notes)
