"""Where a calendar period begins and ends, in its time zone, daylight saving included."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from detectors.slo.slo import Calendar

_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def period_bounds(calendar: Calendar, at_ms: int) -> tuple[int, int]:
    """(start, end) in ms of the period that holds the instant `at_ms`: start <= at_ms < end.

    Periods of several units are counted from `calendar.start_ms`, or from the year 1970.
    Raises zoneinfo.ZoneInfoNotFoundError for an unknown time zone.

    >>> period_bounds(Calendar("day"), 86_400_000 + 5)
    (86400000, 172800000)
    """
    zone = ZoneInfo(calendar.time_zone)
    local = datetime.fromtimestamp(at_ms / 1000, zone)
    if calendar.unit in _MONTHS:
        months = _MONTHS[calendar.unit] * calendar.count
        origin = _month_number(calendar, zone)
        index = (local.year * 12 + local.month - 1 - origin) // months
        first, second = (_month_start(origin + months * step, zone) for step in (index, index + 1))
    else:
        days = (7 if calendar.unit == "week" else 1) * calendar.count
        origin_day = _day_number(calendar, zone)
        index = (local.date().toordinal() - origin_day) // days
        first, second = (_day_start(origin_day + days * step, zone) for step in (index, index + 1))
    return first, second


def _month_number(calendar: Calendar, zone: ZoneInfo) -> int:
    if calendar.start_ms is None:
        return 1970 * 12
    start = datetime.fromtimestamp(calendar.start_ms / 1000, zone)
    return start.year * 12 + start.month - 1


def _day_number(calendar: Calendar, zone: ZoneInfo) -> int:
    if calendar.start_ms is not None:
        return datetime.fromtimestamp(calendar.start_ms / 1000, zone).date().toordinal()
    epoch = datetime(1970, 1, 1)
    # 1970 began on a Thursday; ISO weeks begin on Monday
    return (epoch - timedelta(days=epoch.weekday() if calendar.unit == "week" else 0)).toordinal()


def _month_start(number: int, zone: ZoneInfo) -> int:
    return _ms(datetime(number // 12, number % 12 + 1, 1, tzinfo=zone))


def _day_start(ordinal: int, zone: ZoneInfo) -> int:
    return _ms(datetime.fromordinal(ordinal).replace(tzinfo=zone))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
