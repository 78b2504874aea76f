"""An indicator to two measures of one rollup: good and total.

`total` is what takes part, `good` the part of it for which good's condition holds, so an event that
total leaves out is never good. From `bad`, good is what total has and bad does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from streams.language.expression import (
    Expression,
    ExpressionError,
    compile_expression,
    compile_number,
    conjoin,
    quote_column,
)
from streams.language.problems import Findings
from streams.language.yaml.documents import Document, Path
from streams.language.yaml.use import Use
from streams.language.yaml.validation import expression_problem, validate
from streams.openslo.objects import DataSource, Metric, Objective, Query, RatioMetric, SliSpec
from streams.openslo.read import Library
from streams.plan.rollup import Count, Measure, Sum

SOURCE_TYPE = "streamgauge"

_SIGNS = {"lte": "<=", "gte": ">=", "lt": "<", "gt": ">"}


@dataclass(frozen=True, slots=True)
class Indicator:
    """What an indicator counts in its source.

    where : rows that take part
    uses  : every column with its place
    """

    source: str
    source_use: Use
    where: Expression | None
    good: Measure
    total: Measure
    group_by: tuple[str, ...] = ()
    uses: tuple[Use, ...] = field(default=())


@dataclass(slots=True)
class _Metric:
    """A metric of type streamgauge and its place."""

    query: Query
    path: Path
    condition: Expression | None


def read_indicator(
    spec: SliSpec,
    objective: Objective,
    document: Document,
    path: Path,
    objective_place: tuple[Document, Path],
    library: Library,
    findings: Findings,
) -> Indicator | None:
    """What the indicator at `path` counts; None after a mistake, or where its metrics lie elsewhere."""
    reader = _Reader(document, library, findings)
    if spec.threshold_metric is not None:
        return reader.threshold(spec.threshold_metric, objective, path, objective_place)
    assert spec.ratio_metric is not None, "the model asks for one of both"
    if spec.ratio_metric.raw is not None:
        return reader.raw(spec.ratio_metric, path)
    return reader.ratio(spec.ratio_metric, (*path, "ratioMetric"))


@dataclass(slots=True)
class _Reader:
    document: Document
    library: Library
    findings: Findings

    def fail(self, path: Path, expected: str, found: str = "", suggestion: str = "") -> None:
        self.findings.problems.append(self.document.problem(path, expected, found, suggestion))

    def metric(self, metric: Metric, path: Path) -> _Metric | None:
        """The query of a metric; None with a note if it is of another type, with a problem if it is wrong."""
        source, place = metric.metric_source, (*path, "metricSource")
        kind = source.type
        if kind is None and source.metric_source_ref is not None:
            referred = self.library.find(
                DataSource,
                source.metric_source_ref,
                self.document,
                (*place, "metricSourceRef"),
                self.findings,
            )
            if referred is None:
                return None
            kind = referred.object.spec.type
        if kind is None:
            self.fail(
                place, "a type, or a metricSourceRef to a DataSource", "neither", f"write type: {SOURCE_TYPE}"
            )
            return None
        if kind.lower() != SOURCE_TYPE:
            self.findings.notes.append(
                self.document.note(
                    place,
                    f"metrics of type {kind} are not computed here; to compute this one, map it to type: "
                    f"{SOURCE_TYPE} with the source of events and the condition (where) that it counts",
                )
            )
            return None
        query = validate(Query, self.document, (*place, "spec"), self.findings)
        if query is None:
            return None
        condition = None
        if query.condition is not None:
            key, text = query.condition
            try:
                condition = compile_expression(text)
            except ExpressionError as error:
                self.findings.problems.append(expression_problem(self.document, (*place, "spec", key), error))
                return None
        return _Metric(query, (*place, "spec"), condition)

    def use(self, metric: _Metric) -> tuple[Use, ...]:
        """The columns that a metric's query names."""
        uses = [
            Use(self.document, (*metric.path, "groupBy", index), column)
            for index, column in enumerate(metric.query.group_by)
        ]
        if metric.condition is not None and metric.query.condition is not None:
            key = metric.query.condition[0]
            uses.append(Use(self.document, (*metric.path, key), expression=metric.condition))
        if metric.query.sum is not None:
            uses.append(Use(self.document, (*metric.path, "sum"), metric.query.sum, measured=True))
        if metric.query.value is not None:
            uses.append(Use(self.document, (*metric.path, "value"), metric.query.value, measured=True))
        return tuple(uses)

    def source_use(self, metric: _Metric) -> Use:
        return Use(self.document, (*metric.path, "source"))

    def without(self, metric: _Metric, key: str, why: str) -> bool:
        """Whether the query rightly lacks `key`."""
        if getattr(metric.query, key) is None:
            return True
        self.fail(
            (*metric.path, key), f"no {key} {why}", self.document.show((*metric.path, key)), "remove it"
        )
        return False

    def value_column(self, metric: _Metric, why: str) -> str | None:
        if metric.query.value is None:
            self.fail((*metric.path, "value"), f"the number column {why}", "nothing", "add value: column")
        return metric.query.value

    def threshold(
        self, metric: Metric, objective: Objective, path: Path, objective_place: tuple[Document, Path]
    ) -> Indicator | None:
        one = self.metric(metric, (*path, "thresholdMetric"))
        if one is None:
            return None
        column = self.value_column(one, "that the objective's value is compared with")
        document, place = objective_place
        for key in ("op", "value"):
            if getattr(objective, key) is None:
                self.findings.problems.append(
                    document.problem((*place, key), f"{key} in the objective of a thresholdMetric", "nothing")
                )
        if column is None or objective.op is None or objective.value is None:
            return None
        if not self.without(one, "sum", "in a threshold metric"):
            return None
        name = quote_column(column)
        good = compile_expression(f"{name} {_SIGNS[objective.op]} {objective.value!r}")
        where = self.combine(one.path, one.condition, compile_expression(f"not missing({name})"))
        return Indicator(
            one.query.source,
            self.source_use(one),
            where,
            Count("good", good),
            Count("total"),
            one.query.group_by,
            self.use(one),
        )

    def raw(self, ratio: RatioMetric, path: Path) -> Indicator | None:
        """A ratio that each event brings along: the mean of it is the share of good."""
        assert ratio.raw is not None
        one = self.metric(ratio.raw, (*path, "ratioMetric", "raw"))
        if one is None:
            return None
        column = self.value_column(one, "that holds the ratio")
        if column is None or not self.without(one, "sum", "in a raw ratio"):
            return None
        name = quote_column(column)
        success = ratio.raw_type == "success"
        return Indicator(
            one.query.source,
            self.source_use(one),
            self.combine(one.path, one.condition, compile_expression(f"not missing({name})")),
            Sum("good", column, value=None if success else compile_number(f"1 - {name}")),
            Sum("total", column, value=compile_number("1")),
            one.query.group_by,
            self.use(one),
        )

    def ratio(self, ratio: RatioMetric, path: Path) -> Indicator | None:
        assert ratio.total is not None
        key = "good" if ratio.good is not None else "bad"
        part = ratio.good or ratio.bad
        assert part is not None, "the model asks for one of both"
        some, total = self.metric(part, (*path, key)), self.metric(ratio.total, (*path, "total"))
        if some is None or total is None:
            return None
        fits = all(self.without(metric, "value", "in good, bad or total") for metric in (some, total))
        if some.query.source != total.query.source:
            place = (*some.path, "source")
            self.fail(
                place,
                f"the source of total, {total.query.source}",
                self.document.show(place),
                f"{key} and total are counted in one pass over one source",
            )
            fits = False
        if (some.query.sum is None) != (total.query.sum is None):
            lacking = some if some.query.sum is None else total
            self.fail((*lacking.path, "sum"), f"sum in both {key} and total, or in neither", "nothing")
            fits = False
        if ratio.counter is False and some.query.sum is None and total.query.sum is None:
            text = "events are counted; to add up a number that goes up and down, name its column as sum"
            self.findings.notes.append(self.document.note((*path, "counter"), text))
        groups = [metric for metric in (some, total) if metric.query.group_by]
        if len({metric.query.group_by for metric in groups}) > 1:
            place = (*some.path, "groupBy")
            self.fail(
                place, f"the groupBy of total, {', '.join(total.query.group_by)}", self.document.show(place)
            )
            fits = False
        good = self.good_measure(key, some, total) if fits else None
        if good is None:
            return None
        column = total.query.sum
        return Indicator(
            some.query.source,
            self.source_use(total),
            total.condition,
            good,
            Count("total") if column is None else Sum("total", column),
            groups[0].query.group_by if groups else (),
            self.use(some) + self.use(total),
        )

    def good_measure(self, key: str, some: _Metric, total: _Metric) -> Measure | None:
        part, whole = some.query.sum, total.query.sum
        condition = some.condition
        if key == "good":
            return Count("good", condition) if part is None else Sum("good", part, condition)
        if part is None or part == whole:
            other = compile_expression("false" if condition is None else f"not ({condition.text})")
            return Count("good", other) if whole is None else Sum("good", whole, other)
        assert whole is not None
        if condition is not None:
            place = (*some.path, "sum")
            self.fail(
                place,
                f"the column of total, {whole}, or no condition in bad",
                self.document.show(place),
                "say what is good instead of what is bad",
            )
            return None
        return Sum("good", whole, value=compile_number(f"{quote_column(whole)} - {quote_column(part)}"))

    def combine(self, path: Path, *parts: Expression | None) -> Expression | None:
        try:
            return conjoin(*parts)
        except ExpressionError as error:
            self.findings.problems.append(expression_problem(self.document, path, error))
            return None
