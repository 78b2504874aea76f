"""Where a calendar period begins and ends, in its time zone, daylight saving included."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo

from models.calendar.units import DAY_MS, HOUR_MS
from models.calendar.zone import time_zone

Unit: TypeAlias = Literal["day", "week", "month", "quarter", "year"]

UNITS: tuple[Unit, ...] = get_args(Unit)

_MONTHS = {"month": 1, "quarter": 3, "year": 12}

_DAYS_MAX = {"day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}


@dataclass(frozen=True, slots=True)
class CalendarPeriod:
    """A period that begins at local midnight of its first day (ISO weeks: Monday).

    count    : how many units make the period (`1` quarter, `2` weeks)
    start_ms : an instant at which a period began; None aligns to the calendar itself, and periods of
               several units to the year 1970

    Raises ValueError for an unknown unit or time zone, and a count below 1.
    """

    unit: Unit
    time_zone: str = "UTC"
    count: int = 1
    start_ms: int | None = None

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"a period is one of {', '.join(UNITS)}; got {self.unit!r}")
        if self.count < 1:
            raise ValueError(f"a period has at least one {self.unit}; got {self.count}")
        time_zone(self.time_zone)

    @property
    def longest_ms(self) -> int:
        """No period is longer: every unit at its longest, and the hour that a change of clocks may add."""
        return self.count * _DAYS_MAX[self.unit] * DAY_MS + HOUR_MS

    def bounds(self, at_ms: int) -> tuple[int, int]:
        """(start, end) in ms of the period that holds the instant: start <= at_ms < end.

        A day on which clocks change has 23 or 25 hours.

        >>> start, end = CalendarPeriod("day", "Europe/Berlin").bounds(1_774_740_000_000)
        >>> (end - start) // HOUR_MS
        23
        """
        zone = time_zone(self.time_zone)
        local = datetime.fromtimestamp(at_ms / 1000, zone)
        if self.unit in _MONTHS:
            months = _MONTHS[self.unit] * self.count
            origin = self._first_month(zone)
            index = (local.year * 12 + local.month - 1 - origin) // months
            first, after = (_month_start(origin + months * step, zone) for step in (index, index + 1))
        else:
            days = (7 if self.unit == "week" else 1) * self.count
            origin = self._first_day(zone)
            index = (local.toordinal() - origin) // days
            first, after = (_day_start(origin + days * step, zone) for step in (index, index + 1))
        return first, after

    def _first_month(self, zone: ZoneInfo) -> int:
        if self.start_ms is None:
            return 1970 * 12
        start = datetime.fromtimestamp(self.start_ms / 1000, zone)
        return start.year * 12 + start.month - 1

    def _first_day(self, zone: ZoneInfo) -> int:
        if self.start_ms is not None:
            return datetime.fromtimestamp(self.start_ms / 1000, zone).toordinal()
        epoch = datetime(1970, 1, 1)
        # 1970 began on a Thursday; ISO weeks begin on Monday
        return epoch.toordinal() - (epoch.weekday() if self.unit == "week" else 0)


def _month_start(number: int, zone: ZoneInfo) -> int:
    return _ms(datetime(number // 12, number % 12 + 1, 1, tzinfo=zone))


def _day_start(ordinal: int, zone: ZoneInfo) -> int:
    return _ms(datetime.fromordinal(ordinal).replace(tzinfo=zone))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
