"""The `capacity` section: what follows from each key, and errors that say how to fix them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from detectors.slo.slo import Slo
from models.calendar.period import CalendarPeriod
from models.calendar.units import DAY_MS, HOUR_MS
from streams.compile.resources import resource_of, rule_of
from streams.config.capacity import CapacityEntries, CapacityEntry, LimitSeries

ROWS = {
    "resource": "turso-rows-read",
    "source": "turso",
    "value": "rows_read",
    "limit": 1_000_000,
    "period": "day",
}
POOL = {
    "resource": "db-pool",
    "source": "pools",
    "value": "checked_out",
    "limit": {"value": "size"},
    "by": "instance",
}
SLO = Slo("checkout", "shop", 0.999, "requests", "r", 30 * DAY_MS, group_by=("region",))


def test_the_kind_and_the_step_follow_from_the_rest() -> None:
    rows = CapacityEntry.model_validate({**ROWS, "time_zone": "Europe/Berlin", "warn": 0.9})
    assert (rows.kind, rows.step, rows.horizon) == ("quota", timedelta(hours=1), timedelta(days=7))
    resource = resource_of(rows)
    assert resource.limit == 1_000_000
    assert resource.period == CalendarPeriod("day", "Europe/Berlin")
    assert resource.steps >= 7 * 24
    assert rule_of(rows).warn == 0.9
    assert rule_of(rows).warn_clear < 0.9
    pool = CapacityEntry.model_validate(POOL)
    assert (pool.kind, pool.limit, pool.by) == ("gauge", LimitSeries(value="size"), ("instance",))
    assert resource_of(pool).limit is None
    lag = CapacityEntry.model_validate({"resource": "lag", "kind": "lag", "source": "s", "value": "v"})
    assert lag.step == timedelta(minutes=1)
    month = CapacityEntry.model_validate({**ROWS, "period": "month", "horizon": "1d"})
    assert resource_of(month).steps >= 31 * 24


def test_an_error_budget_is_that_of_its_slo() -> None:
    entry = CapacityEntry.model_validate({"resource": "budget", "slo": "checkout", "horizon": "14d"})
    rolling = resource_of(entry, SLO)
    assert (rolling.kind, rolling.target, rolling.window_ms) == ("error_budget", 0.999, 30 * DAY_MS)
    assert (rolling.by, rolling.step_ms) == (("region",), HOUR_MS)
    by_month = Slo("c", "s", 0.99, "r", "r", 30 * DAY_MS, calendar=CalendarPeriod("month", "Asia/Tokyo"))
    assert resource_of(entry, by_month).period == CalendarPeriod("month", "Asia/Tokyo")
    assert resource_of(entry, by_month).step_ms == HOUR_MS
    for period, days in (
        (CalendarPeriod("quarter"), 92),
        (CalendarPeriod("year"), 366),
        (CalendarPeriod("month", count=2), 62),
    ):
        by_period = resource_of(entry, Slo("c", "s", 0.99, "r", "r", 90 * DAY_MS, calendar=period))
        assert (by_period.period, by_period.window_ms, by_period.step_ms) == (period, None, DAY_MS)
        assert days < by_period.steps <= days + 3
    with pytest.raises(ValueError, match="no SLO is called 'checkout'"):
        resource_of(entry)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({**ROWS, "limit": 0}, "what one period may use"),
        ({**ROWS, "limit": {"value": "x"}}, "what one period may use"),
        ({**ROWS, "period": None, "kind": "quota"}, "when the quota resets"),
        ({**ROWS, "time_zone": "Mars"}, "a time zone of the IANA database, such as"),
        ({**ROWS, "source": None}, "the source of the quota"),
        ({**ROWS, "kind": "gauge"}, "no period for a gauge"),
        ({**ROWS, "warn": 1.5}, "less than or equal to 1"),
        ({**ROWS, "step": "1s"}, "at least 1m"),
        ({**POOL, "limit": None}, "a number, or"),
        ({**POOL, "horizon": "10m"}, "at least one step"),
        ({**POOL, "limit": "nan"}, "finite"),
        ({**ROWS, "direction": "below"}, "above for a quota"),
        ({"resource": "b", "kind": "error_budget"}, "the name of the SLO"),
        ({"resource": "b", "slo": "x", "limit": 4}, "no limit for an error budget"),
        ({**POOL, "slo": "x", "kind": "gauge"}, "no slo for a gauge"),
        ({**POOL, "colour": "red"}, "Extra inputs"),
    ],
)
def test_mistakes_are_named(entry: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CapacityEntry.model_validate(entry)


def test_names_occur_once() -> None:
    with pytest.raises(ValidationError, match="db-pool occurs twice"):
        TypeAdapter(CapacityEntries).validate_python([POOL, POOL])
