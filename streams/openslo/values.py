"""Kinds of values that OpenSLO defines: duration shorthands, names, times of a calendar."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias, cast, get_args

from pydantic import AfterValidator, BeforeValidator
from pydantic import Field as Key

from models.calendar.units import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS
from streams.language.yaml.validation import reject

Unit: TypeAlias = Literal["m", "h", "d", "w", "M", "Q", "Y"]

UNIT_MS: dict[Unit, int] = {
    "m": MINUTE_MS,
    "h": HOUR_MS,
    "d": DAY_MS,
    "w": WEEK_MS,
    "M": 30 * DAY_MS,
    "Q": 90 * DAY_MS,
    "Y": 365 * DAY_MS,
}
"""Length of each unit; months, quarters and years by their nominal length."""


@dataclass(frozen=True, slots=True)
class Shorthand:
    """A duration as OpenSLO writes it: `5m`, `4w`, `1M`, `1Q`; `M` is a month and `m` a minute."""

    count: int
    unit: Unit

    @property
    def ms(self) -> int:
        return self.count * UNIT_MS[self.unit]

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"


def _shorthand(value: Any) -> Any:
    if isinstance(value, Shorthand):
        return value
    found = re.fullmatch(r"([0-9]{1,6})([mhdwMQY])", value) if isinstance(value, str) else None
    if found is None or found[2] not in get_args(Unit):
        return reject("a whole number with one of m, h, d, w, M, Q, Y, such as 30d or 1M")
    return Shorthand(int(found[1]), cast(Unit, found[2]))


def _some(value: Shorthand) -> Shorthand:
    return value if value.count > 0 else reject("a duration above zero")


Duration: TypeAlias = Annotated[Shorthand, BeforeValidator(_shorthand)]

PositiveDuration: TypeAlias = Annotated[Duration, AfterValidator(_some)]


def _slice(value: Any) -> Any:
    """A slice in milliseconds; a bare number means minutes."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 < value < 1e6:
            reject("minutes above zero")
        return round(value * MINUTE_MS)
    return _some(_shorthand(value)).ms


SliceMs: TypeAlias = Annotated[int, BeforeValidator(_slice)]


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._|/\\-]{0,254}", value):
        reject("a name of letters, digits, -, ., |, / and \\, at most 255")
    return value


Name: TypeAlias = Annotated[str, AfterValidator(_name)]
"""RFC 1123's names, and what the specification encourages beyond."""

Description: TypeAlias = Annotated[str, Key(max_length=1050)]


def _text(value: Any) -> Any:
    """Labels are strings; an unquoted number or truth value is meant as one."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Text: TypeAlias = Annotated[str, BeforeValidator(_text)]


def _label(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list) else _text(value)


Label: TypeAlias = Annotated[str, BeforeValidator(_label)]
"""The value of a label; a list of strings becomes one string with commas."""


def _local_time(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        time = None
    if time is None or time.tzinfo is not None:
        reject("a date and time without zone, such as 2026-01-01 00:00:00")
    return time


LocalTime: TypeAlias = Annotated[datetime, BeforeValidator(_local_time)]
