"""Calendar periods against walking from day to day in local time."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calendar.period import CalendarPeriod

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # midnight was skipped when summer began
    "America/Havana",  # midnight comes twice when summer ends
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "Pacific/Apia",  # a whole day was skipped
)
UNITS = ("day", "week", "month", "quarter", "year")

moments = st.one_of(
    st.integers(0, 4_000_000_000_000),
    st.datetimes(datetime(2011, 12, 28), datetime(2012, 1, 2)).map(lambda t: round(t.timestamp() * 1000)),
    st.datetimes(datetime(2018, 10, 25), datetime(2018, 11, 8)).map(lambda t: round(t.timestamp() * 1000)),
    st.datetimes(datetime(2024, 3, 8), datetime(2024, 4, 1)).map(lambda t: round(t.timestamp() * 1000)),
)


def begins(calendar: CalendarPeriod, day: date, origin: date) -> bool:
    """Whether a period begins with a local day, from the definition."""
    match calendar.unit:
        case "day":
            return (day - origin).days % calendar.count == 0
        case "week":
            return (day - origin).days % (7 * calendar.count) == 0
        case _:
            length = {"month": 1, "quarter": 3, "year": 12}[calendar.unit] * calendar.count
            months = (day.year - origin.year) * 12 + day.month - origin.month
            return day.day == 1 and months % length == 0


def first_instant(day: date, zone: ZoneInfo) -> int:
    """The first millisecond whose local date is `day` or later, by bisection."""
    noon = round(datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo("UTC")).timestamp() * 1000)
    low, high = noon - 40 * 3_600_000, noon + 40 * 3_600_000
    while low + 1 < high:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle / 1000, zone).date() >= day:
            high = middle
        else:
            low = middle
    return high


@settings(max_examples=300)
@given(st.sampled_from(UNITS), st.sampled_from(ZONES), st.integers(1, 3), st.booleans(), moments, moments)
def test_a_period_begins_and_ends_with_a_local_day(unit, name, count, started, start_ms, at_ms):
    zone = ZoneInfo(name)
    calendar = CalendarPeriod(unit, name, count, start_ms if started else None)
    if started:
        origin = datetime.fromtimestamp(start_ms / 1000, zone).date()
    else:
        origin = date(1969, 12, 29) if unit == "week" else date(1970, 1, 1)
    start, end = calendar.bounds(at_ms)
    assert start <= at_ms < end
    today = datetime.fromtimestamp(at_ms / 1000, zone).date()
    first = next(day for day in days(today, -1) if begins(calendar, day, origin))
    after = next(day for day in days(today + timedelta(1), 1) if begins(calendar, day, origin))
    assert (start, end) == (first_instant(first, zone), first_instant(after, zone))


def days(from_day: date, step: int):
    while True:
        yield from_day
        from_day += timedelta(step)


@settings(max_examples=100)
@given(st.sampled_from(UNITS), st.sampled_from(ZONES), st.integers(1, 4), moments)
def test_periods_follow_each_other_without_gap(unit, name, count, at_ms):
    calendar = CalendarPeriod(unit, name, count)
    start, end = calendar.bounds(at_ms)
    assert calendar.bounds(start) == (start, end)
    assert calendar.bounds(end - 1) == (start, end)
    assert calendar.bounds(end)[0] == end
    assert calendar.bounds(start - 1)[1] == start


@pytest.mark.parametrize(
    ("calendar", "at", "start", "end"),
    [
        (
            CalendarPeriod("week", "Europe/Berlin"),
            "2024-03-31T12:00Z",
            "2024-03-24T23:00Z",
            "2024-03-31T22:00Z",
        ),
        (
            CalendarPeriod("month", "America/New_York"),
            "2024-03-10T12:00Z",
            "2024-03-01T05:00Z",
            "2024-04-01T04:00Z",
        ),
        (
            CalendarPeriod("quarter", "Asia/Kolkata"),
            "2024-02-29T00:00Z",
            "2023-12-31T18:30Z",
            "2024-03-31T18:30Z",
        ),
        (CalendarPeriod("year"), "2024-12-31T23:59Z", "2024-01-01T00:00Z", "2025-01-01T00:00Z"),
        (CalendarPeriod("week", count=2), "1970-01-13T00:00Z", "1970-01-12T00:00Z", "1970-01-26T00:00Z"),
        (
            CalendarPeriod("month", start_ms=1_702_598_400_000, count=3),
            "2024-03-01T00:00Z",
            "2024-03-01T00:00Z",
            "2024-06-01T00:00Z",
        ),
        # a week begins on the weekday of its start
        (
            CalendarPeriod("week", start_ms=1_704_240_000_000),
            "2024-01-09T00:00Z",
            "2024-01-03T00:00Z",
            "2024-01-10T00:00Z",
        ),
        (
            CalendarPeriod("day", "Pacific/Apia"),
            "2011-12-30T09:59Z",
            "2011-12-29T10:00Z",
            "2011-12-30T10:00Z",
        ),
    ],
)
def test_some_periods(calendar, at, start, end):
    ms = [round(datetime.fromisoformat(text).timestamp() * 1000) for text in (at, start, end)]
    assert calendar.bounds(ms[0]) == (ms[1], ms[2])


@given(st.sampled_from(UNITS), st.sampled_from(ZONES), st.integers(1, 3), moments)
def test_no_period_is_longer_than_it_says(unit, name, count, at_ms):
    period = CalendarPeriod(unit, name, count)
    start, end = period.bounds(at_ms)
    assert end - start <= period.longest_ms
    assert CalendarPeriod("quarter").longest_ms == 92 * 86_400_000 + 3_600_000


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_day_on_which_clocks_change_has_another_length(day, hours):
    noon = datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=ZoneInfo("Europe/Berlin"))
    start, end = CalendarPeriod("day", "Europe/Berlin").bounds(int(noon.timestamp() * 1000))
    assert end - start == hours * 3_600_000


def test_unknown_periods_and_zones_are_named():
    with pytest.raises(ValueError, match="day, week, month, quarter, year"):
        CalendarPeriod("fortnight")
    with pytest.raises(ValueError, match="at least one day"):
        CalendarPeriod("day", count=0)
    for zone in ("Mars/Olympus", "Europe/Berlni", "../etc", ""):
        with pytest.raises(ValueError, match="no time zone is called"):
            CalendarPeriod("day", zone)
