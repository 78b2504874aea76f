"""`capacity` of a configuration: limited resources whose exhaustion is forecast.

An entry names a source and a number column; the worker adds it up (quotas) or takes its mean (gauges, lags)
in each step and series. An error budget names an SLO in their place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, model_validator
from pydantic import Field as Key

from streams.config.values import Condition, PositiveDuration, Texts, TimeZone
from streams.language.yaml.validation import Model, reject, reject_key

Number = Annotated[float, Key(allow_inf_nan=False)]
Share = Annotated[float, Key(gt=0, le=1)]

STEP_MIN = timedelta(minutes=1)

DEFAULT_STEP = {"gauge": timedelta(hours=1), "quota": timedelta(hours=1), "error_budget": timedelta(hours=1)}
"""Rings keep hours for a month; a lag changes by the minute."""


class LimitSeries(Model):
    """A limit that is a series itself, such as a pool's size; `limit: {value: size}`.

    source : the resource's own by default
    """

    value: Annotated[str, Key(min_length=1)]
    source: str | None = None


class CapacityEntry(Model):
    """A limited resource.

    resource    : its name, the label `resource` of metrics and alerts
    kind        : gauge (a level below a limit), quota (a sum that resets), lag (a queue), error_budget;
                  without it a `period` makes a quota, an `slo` an error budget, anything else a gauge
    source      : the source of the configuration that holds the column
    value       : the number column
    where       : which events count
    labels      : columns that must have these values
    by          : columns that tell series apart, each of which has the limit to itself
    limit       : a number, or the column that is the limit
    direction   : `above` for a ceiling, `below` for a floor; gauges only
    period      : when a quota resets, at local midnight in `time_zone`
    warn        : used share of a quota at which QuotaWarning begins
    probability : of exhaustion at which the other alerts begin
    horizon     : how far ahead; quotas look to the end of their period
    step        : of the history and the forecast
    refresh     : how often the forecast is refreshed
    slo         : name of the SLO whose error budget this is; `objective` where it has several
    caught_up   : a lag at most this large is none
    """

    resource: Annotated[str, Key(min_length=1, max_length=200)]
    kind: Literal["gauge", "quota", "lag", "error_budget"]
    source: str | None = None
    value: str | None = None
    where: Condition | None = None
    labels: Mapping[str, str] = Key(default_factory=dict)
    by: Texts = ()
    limit: Number | LimitSeries | None = None
    direction: Literal["above", "below"] = "above"
    period: Literal["day", "week", "month"] | None = None
    time_zone: TimeZone = "UTC"
    warn: Share = 0.8
    probability: Share = 0.8
    horizon: PositiveDuration = timedelta(days=7)
    step: PositiveDuration
    refresh: PositiveDuration = timedelta(hours=1)
    severity: Annotated[str, Key(min_length=1)] = "ticket"
    slo: str | None = None
    objective: str = ""
    caught_up: Annotated[float, Key(ge=0, allow_inf_nan=False)] = 0.0

    @model_validator(mode="before")
    @classmethod
    def _what_follows(cls, value: Any) -> Any:
        """The kind and the step where they are not said."""
        if not isinstance(value, dict):
            return value
        told = dict(value)
        if told.get("kind") is None:
            told["kind"] = "quota" if told.get("period") else "error_budget" if told.get("slo") else "gauge"
        if told.get("step") is None:
            told["step"] = DEFAULT_STEP.get(str(told["kind"]), STEP_MIN)
        return told

    @model_validator(mode="after")
    def _belongs_together(self) -> CapacityEntry:
        if self.kind == "error_budget":
            self._check_budget()
            return self
        if self.slo is not None:
            reject_key("slo", f"no slo for a {self.kind}", "an error budget has one: kind: error_budget")
        for key in ("source", "value"):
            if getattr(self, key) is None:
                reject_key(key, f"the {'source' if key == 'source' else 'number column'} of the {self.kind}")
        if self.kind == "quota":
            if not isinstance(self.limit, float) or self.limit <= 0:
                reject_key("limit", "a number above zero, what one period may use")
            if self.period is None:
                reject_key("period", "day, week or month: when the quota resets")
        elif self.period is not None:
            reject_key("period", f"no period for a {self.kind}", "a quota has one: kind: quota")
        if self.kind == "gauge" and self.limit is None:
            reject_key("limit", "a number, or {value: column} for a limit that is a series")
        if self.kind == "lag" and isinstance(self.limit, LimitSeries):
            reject_key("limit", "a number, or none for a lag that only has to catch up")
        return self

    @model_validator(mode="after")
    def _steps_fit(self) -> CapacityEntry:
        if self.step < STEP_MIN:
            reject_key("step", "at least 1m")
        if self.kind != "quota" and self.horizon < self.step:
            reject_key("horizon", "at least one step")
        if self.direction == "below" and self.kind != "gauge":
            reject_key("direction", f"above for a {self.kind}")
        return self

    def _check_budget(self) -> None:
        if self.slo is None:
            reject_key("slo", "the name of the SLO whose error budget this is")
        for key in ("source", "value", "where", "limit", "period"):
            if getattr(self, key) is not None:
                reject_key(key, f"no {key} for an error budget", "its SLO says what counts")


def _distinct(entries: tuple[CapacityEntry, ...]) -> tuple[CapacityEntry, ...]:
    repeated = [name for name, count in Counter(one.resource for one in entries).items() if count > 1]
    if repeated:
        reject(f"resources with names of their own; {repeated[0]} occurs twice")
    return entries


CapacityEntries = Annotated[tuple[CapacityEntry, ...], AfterValidator(_distinct)]
"""The section: `capacity: CapacityEntries = ()`."""
