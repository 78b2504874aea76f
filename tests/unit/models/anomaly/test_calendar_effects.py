"""Local hours over clock changes, weekends and holidays."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.anomaly.calendar_effects import CalendarEffects
from models.calendar.units import HOUR_MS

BERLIN = ZoneInfo("Europe/Berlin")


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=BERLIN).timestamp() * 1000)  # type: ignore[arg-type]


def test_hours_follow_the_local_clock_over_its_change() -> None:
    calendar = CalendarEffects("Europe/Berlin")
    midnight = at(2026, 3, 29)
    hours, _ = calendar.local(midnight + HOUR_MS * np.arange(5))
    assert hours.tolist() == [0, 1, 3, 4, 5]
    hours, _ = calendar.local(at(2026, 10, 25) + HOUR_MS * np.arange(5))
    assert hours.tolist() == [0, 1, 2, 2, 3]


def test_days_off_are_weekends_and_holidays_of_the_place() -> None:
    days = np.array([at(2026, 4, day, 12) for day in (2, 3, 4, 5, 6, 7)])
    assert CalendarEffects("Europe/Berlin").local(days)[1].tolist() == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert CalendarEffects("Europe/Berlin", "DE").local(days)[1].tolist() == [
        False,
        True,
        True,
        True,
        True,
        False,
    ]
    corpus_christi = np.array([at(2026, 6, 4, 12)])
    assert not CalendarEffects("Europe/Berlin", "DE-BE").local(corpus_christi)[1][0]
    assert CalendarEffects("Europe/Berlin", "DE-BY").local(corpus_christi)[1][0]


@given(st.lists(st.integers(0, 4_000_000_000_000), min_size=1, max_size=20))
def test_hours_are_those_of_datetime(times: list[int]) -> None:
    hours, off = CalendarEffects("Asia/Kathmandu").local(np.array(times))
    for moment, hour, day_off in zip(times, hours, off, strict=True):
        local = datetime.fromtimestamp(moment / 1000, ZoneInfo("Asia/Kathmandu"))
        exact = local.hour + local.minute / 60 + local.second / 3600 + moment % 1000 / 3_600_000
        assert hour == pytest.approx(exact, abs=1e-6)
        assert day_off == (local.weekday() >= 5)


def test_unknown_places_say_so() -> None:
    with pytest.raises(ValueError, match="Berlin"):
        CalendarEffects("Berlin")
    with pytest.raises(ValueError, match="QQ"):
        CalendarEffects("UTC", "QQ")
