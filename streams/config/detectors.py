"""`detectors` of a configuration: what is judged besides SLOs, and the accepted rate of false alarms."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, field_validator
from pydantic import Field as Key

from detectors.traffic.quiet import QuietTimes
from models.registry.manifest import is_name
from streams.config.log_templates import LogsEntry
from streams.config.security import SecurityEntry
from streams.config.values import PositiveDuration, Texts, TimeZone, Window, choice
from streams.language.yaml.validation import Model, reject
from streams.plan.monitor import SHIPPED

STEPS = ("10s", "20s", "30s", "1m", "5m")

_STEPS = {timedelta(seconds=10), timedelta(seconds=20), timedelta(seconds=30)} | {
    timedelta(minutes=1),
    timedelta(minutes=5),
}


def _name(value: str) -> str:
    return value if is_name(value) else reject("a name of letters, digits, ., _ and -, at most 100")


def _step(value: timedelta) -> timedelta:
    return value if value in _STEPS else reject(f"one of {', '.join(STEPS)}")


Step = Annotated[Window, AfterValidator(_step)]
"""Length of a detector's step: it has to fit into the five minutes that rings are cut into."""

ModelName = Annotated[str, AfterValidator(_name)]


class Judged(Model):
    """A source whose own series a detector judges.

    step    : how often it judges, and over how long
    false_alarms_per_series_per_week : how often it may flag what is normal
    service : the column of the series that names the service; `service` where there is one
    keep    : how long a series that has gone silent is still judged
    model   : name of the trained model to go on with; the detector's by default
    """

    source: str
    step: Step = Key(default="1m", validate_default=True)
    false_alarms_per_series_per_week: Annotated[float, Key(gt=0, le=100)] = 0.1
    service: str | None = None
    keep: PositiveDuration = Key(default="1d", validate_default=True)
    model: ModelName | None = None


class TrafficEntry(Judged):
    """Each series against its own seasonal baseline.

    direction  : flag what is above, below or both
    min_effect : smallest relative deviation that matters to anybody
    quiet      : spans of the local day in which no incident may begin, such as `22:00-06:00`
    time_zone  : where hours and days of the week are told
    holidays   : country, or country-region, whose holidays are like Sundays; `DE`, `US-CA`
    """

    direction: Literal["both", "up", "down"] = "both"
    min_effect: Annotated[float, Key(ge=0)] = 0.1
    quiet: Texts = ()
    time_zone: TimeZone = "UTC"
    holidays: str | None = None

    @field_validator("quiet")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            QuietTimes(value)
        except ValueError:
            reject("spans of the day such as 22:00-06:00")
        return value

    @field_validator("holidays")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None:
            from holidays import list_supported_countries

            country, _, region = value.partition("-")
            supported = list_supported_countries()
            choice(country, sorted(supported))
            if region:
                choice(region, supported[country])
        return value


class MultivariateEntry(Judged):
    """All signals of a series together: what is odd about their combination."""


class CustomEntry(Judged):
    """A detector that does not ship.

    name     : of its entry point in the group `streamgauge.detectors`, or `package.module:Class`
    settings : arguments of its class, checked by the class' own signature
    """

    name: Annotated[str, Key(min_length=1)]
    settings: Mapping[str, Any] = Key(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _not_shipped(cls, value: str) -> str:
        if value in SHIPPED:
            place = "sigma of an entry of detectors.security" if value == "sigma" else f"detectors.{value}"
            reject("a detector that does not ship", f"{value} has a place of its own, {place}")
        return value


class Detectors(Model):
    """What is judged besides SLOs, by the name of the detector; `custom` has those that do not ship."""

    traffic: tuple[TrafficEntry, ...] = ()
    security: tuple[SecurityEntry, ...] = ()
    logs: tuple[LogsEntry, ...] = ()
    multivariate: tuple[MultivariateEntry, ...] = ()
    custom: tuple[CustomEntry, ...] = ()
