"""OpenSLO v1's objects, as its specification defines them; unknown fields are mistakes.

Source: https://github.com/OpenSLO/OpenSLO#specification, and the fields for composite objectives that
its Go SDK adds. `streamgauge` sources are described by `Query`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, field_validator, model_validator
from pydantic import Field as Key
from pydantic.alias_generators import to_camel

from streams.config.values import TimeZone
from streams.language.yaml.validation import Model, reject, reject_key
from streams.openslo.values import (
    Description,
    Duration,
    Label,
    LocalTime,
    Name,
    PositiveDuration,
    Shorthand,
    SliceMs,
    Text,
)

API_VERSION = "openslo/v1"


class Object(Model):
    model_config = ConfigDict(alias_generator=to_camel)


class Metadata(Object):
    name: Name
    display_name: str = ""
    labels: Mapping[str, Label] = Key(default_factory=dict)
    annotations: Mapping[str, Text] = Key(default_factory=dict)


class MetricSource(Object):
    """Where numbers come from. `spec` is free for every type but `streamgauge`."""

    metric_source_ref: str | None = None
    type: str | None = None
    spec: Mapping[str, Any] = Key(default_factory=dict)


class Query(Object):
    """`spec` of a metric source of type `streamgauge`.

    source   : name of a source of the configuration
    where    : condition on its columns; `expression` and `query` mean the same
    sum      : number column to add up, instead of counting events
    value    : number column that holds a threshold metric or a precomputed ratio
    group_by : label columns; each combination has a budget of its own
    """

    source: str
    where: str | None = None
    expression: str | None = None
    query: str | None = None
    sum: str | None = None
    value: str | None = None
    group_by: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_condition(self) -> Query:
        given = [key for key in ("where", "expression", "query") if getattr(self, key) is not None]
        if len(given) > 1:
            reject_key(given[1], f"only one of where, expression and query; {given[0]} is already given")
        return self

    @property
    def condition(self) -> tuple[str, str] | None:
        """Key and text of the condition, if there is one."""
        for key in ("where", "expression", "query"):
            text = getattr(self, key)
            if text is not None:
                return key, text
        return None


class Metric(Object):
    metric_source: MetricSource


class RatioMetric(Object):
    counter: bool | None = None
    good: Metric | None = None
    bad: Metric | None = None
    total: Metric | None = None
    raw_type: Literal["success", "failure"] | None = None
    raw: Metric | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> RatioMetric:
        if self.raw is not None:
            for key in ("good", "bad", "total"):
                if getattr(self, key) is not None:
                    reject_key(key, f"either raw or {key}, not both")
            if self.raw_type is None:
                reject_key("rawType", "success or failure together with raw")
            return self
        if self.raw_type is not None:
            reject_key("raw", "a metric, since rawType is given")
        if self.total is None:
            reject_key("total", "total together with good or bad, or raw")
        if (self.good is None) == (self.bad is None):
            reject_key("good", "either good or bad together with total")
        return self


class SliSpec(Object):
    description: Description = ""
    threshold_metric: Metric | None = None
    ratio_metric: RatioMetric | None = None

    @model_validator(mode="after")
    def _one_metric(self) -> SliSpec:
        if (self.threshold_metric is None) == (self.ratio_metric is None):
            reject_key("ratioMetric", "either ratioMetric or thresholdMetric")
        return self


class InlineIndicator(Object):
    metadata: Metadata | None = None
    spec: SliSpec


class Calendar(Object):
    start_time: LocalTime | None = None
    time_zone: TimeZone = "UTC"


class TimeWindow(Object):
    duration: PositiveDuration
    is_rolling: bool | None = None
    calendar: Calendar | None = None

    @model_validator(mode="after")
    def _one_sort(self) -> TimeWindow:
        if self.is_rolling and self.calendar is not None:
            reject_key("calendar", "no calendar in a rolling window", "remove it, or set isRolling: false")
        if self.is_rolling is False and self.calendar is None:
            reject_key("calendar", "a calendar with startTime and timeZone, or isRolling: true")
        return self


class Objective(Object):
    """One target. The indicator and weight are those of composite SLOs."""

    display_name: str = ""
    op: Literal["lte", "gte", "lt", "gt"] | None = None
    value: Annotated[float, Key(allow_inf_nan=False)] | None = None
    target: float | None = None
    target_percent: float | None = None
    time_slice_target: Annotated[float, Key(gt=0, le=1)] | None = None
    time_slice_window: SliceMs | None = None
    indicator: InlineIndicator | None = None
    indicator_ref: str | None = None
    composite_weight: Annotated[float, Key(gt=0)] | None = None

    @field_validator("target")
    @classmethod
    def _share(cls, value: float | None) -> float | None:
        if value is not None and not 0 <= value < 1:
            percent = f"did you mean targetPercent: {value:g}?" if 1 <= value < 100 else ""
            reject("a share of at least 0 and below 1, such as 0.999", percent)
        return value

    @field_validator("target_percent")
    @classmethod
    def _percent(cls, value: float | None) -> float | None:
        if value is not None and not 0 <= value < 100:
            reject("a percentage of at least 0 and below 100, such as 99.9")
        return value

    @model_validator(mode="after")
    def _one_target(self) -> Objective:
        if (self.target is None) == (self.target_percent is None):
            reject_key("target", "either target or targetPercent")
        return self


class Condition(Object):
    """`op` is in some versions of the specification and has no bearing: a burn rate alerts when exceeded."""

    kind: Literal["burnrate"] = "burnrate"
    op: Literal["lte", "gte", "lt", "gt"] | None = None
    threshold: Annotated[float, Key(gt=0)]
    lookback_window: PositiveDuration
    alert_after: Duration = Shorthand(0, "m")

    @model_validator(mode="after")
    def _shorter(self) -> Condition:
        if self.alert_after.ms >= self.lookback_window.ms:
            reject_key("alertAfter", "a duration shorter than lookbackWindow")
        return self


class AlertConditionSpec(Object):
    description: Description = ""
    severity: Annotated[str, Key(min_length=1)]
    condition: Condition


class ConditionEntry(Object):
    """A condition in place, or a reference to one."""

    condition_ref: str | None = None
    api_version: Literal["openslo/v1"] | None = None
    kind: Literal["AlertCondition"] | None = None
    metadata: Metadata | None = None
    spec: AlertConditionSpec | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> ConditionEntry:
        if (self.condition_ref is None) == (self.spec is None):
            reject_key("conditionRef", "either conditionRef or an AlertCondition with spec")
        return self


class TargetSpec(Object):
    description: Description = ""
    target: str


class TargetEntry(Object):
    """A notification target in place, or a reference to one."""

    target_ref: str | None = None
    api_version: Literal["openslo/v1"] | None = None
    kind: Literal["AlertNotificationTarget"] | None = None
    metadata: Metadata | None = None
    spec: TargetSpec | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> TargetEntry:
        if (self.target_ref is None) == (self.spec is None):
            reject_key("targetRef", "either targetRef or an AlertNotificationTarget with spec")
        return self


class AlertPolicySpec(Object):
    """A policy that does not say `alertWhenBreaching` alerts when breaching."""

    description: Description = ""
    alert_when_no_data: bool = False
    alert_when_resolved: bool = False
    alert_when_breaching: bool | None = None
    conditions: Annotated[tuple[ConditionEntry, ...], Key(min_length=1, max_length=1)]
    notification_targets: tuple[TargetEntry, ...] = ()


class PolicyEntry(Object):
    """An alert policy in place, or a reference to one; a bare name is a reference too."""

    alert_policy_ref: str | None = None
    api_version: Literal["openslo/v1"] | None = None
    kind: Literal["AlertPolicy"] | None = None
    metadata: Metadata | None = None
    spec: AlertPolicySpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {"alertPolicyRef": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_both(self) -> PolicyEntry:
        if (self.alert_policy_ref is None) == (self.spec is None):
            reject_key("alertPolicyRef", "either alertPolicyRef or an AlertPolicy with spec")
        return self


class SloSpec(Object):
    description: Description = ""
    service: Annotated[str, Key(min_length=1)]
    indicator: InlineIndicator | None = None
    indicator_ref: str | None = None
    time_window: Annotated[tuple[TimeWindow, ...], Key(max_length=1)] | None = None
    budgeting_method: Literal["Occurrences", "Timeslices", "RatioTimeslices"]
    objectives: Annotated[tuple[Objective, ...], Key(min_length=1)]
    alert_policies: tuple[PolicyEntry, ...] | None = None

    @property
    def composite(self) -> bool:
        """Whether the objectives have indicators of their own."""
        return any(o.indicator is not None or o.indicator_ref is not None for o in self.objectives)

    @model_validator(mode="after")
    def _belongs_together(self) -> SloSpec:
        given = (self.indicator is not None) + (self.indicator_ref is not None) + self.composite
        if given != 1:
            reject_key("indicator", "either indicator or indicatorRef")
        for index, objective in enumerate(self.objectives):
            if self.budgeting_method != "Occurrences" and objective.time_slice_window is None:
                key = ("objectives", index, "timeSliceWindow")
                reject_key(key, f"the length of a slice, as {self.budgeting_method} needs")
            if self.budgeting_method == "Timeslices" and objective.time_slice_target is None:
                key = ("objectives", index, "timeSliceTarget")
                reject_key(key, "the share of good events that makes a slice good, as Timeslices needs")
        return self


class ServiceSpec(Object):
    description: Description = ""


class DataSourceSpec(Object):
    description: Description = ""
    type: str
    connection_details: Any = None


class _Kind(Object):
    api_version: Literal["openslo/v1"]
    metadata: Metadata


class Slo(_Kind):
    kind: Literal["SLO"]
    spec: SloSpec


class Sli(_Kind):
    kind: Literal["SLI"]
    spec: SliSpec


class Service(_Kind):
    kind: Literal["Service"]
    spec: ServiceSpec = ServiceSpec()

    @field_validator("spec", mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return {} if value is None else value


class AlertPolicy(_Kind):
    kind: Literal["AlertPolicy"]
    spec: AlertPolicySpec


class AlertCondition(_Kind):
    kind: Literal["AlertCondition"]
    spec: AlertConditionSpec


class AlertNotificationTarget(_Kind):
    kind: Literal["AlertNotificationTarget"]
    spec: TargetSpec


class DataSource(_Kind):
    kind: Literal["DataSource"]
    spec: DataSourceSpec


AnyObject = Slo | Sli | Service | AlertPolicy | AlertCondition | AlertNotificationTarget | DataSource

KINDS: Mapping[str, type[AnyObject]] = {
    "SLO": Slo,
    "SLI": Sli,
    "Service": Service,
    "AlertPolicy": AlertPolicy,
    "AlertCondition": AlertCondition,
    "AlertNotificationTarget": AlertNotificationTarget,
    "DataSource": DataSource,
}
