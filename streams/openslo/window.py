"""The window of an SLO's budget: rolling, or a calendar period with its time zone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from models.calendar.period import CalendarPeriod
from models.calendar.period import Unit as PeriodUnit
from streams.language.duration import format_duration
from streams.language.problems import Findings
from streams.language.yaml.documents import Document, Path
from streams.openslo.objects import Slo, TimeWindow
from streams.openslo.read import Item
from streams.openslo.values import UNIT_MS, Shorthand, Unit
from streams.plan.plan import WINDOW_MS_MAX

DEFAULT_WINDOW = Shorthand(30, "d")
"""The window of an SLO that names none; OpenSLO leaves it open."""

_CALENDAR_UNITS: dict[Unit, PeriodUnit] = {
    "d": "day",
    "w": "week",
    "M": "month",
    "Q": "quarter",
    "Y": "year",
}


def budget_window(item: Item[Slo], findings: Findings) -> tuple[int, CalendarPeriod | None]:
    """(length in ms, calendar period or None) of an SLO's budget; the default after a mistake."""
    windows = item.object.spec.time_window
    if not windows:
        findings.notes.append(
            item.note(("spec",), f"no timeWindow, so the budget's window is a rolling {DEFAULT_WINDOW}")
        )
        return DEFAULT_WINDOW.ms, None
    window = windows[0]
    if window.calendar is None:
        if window.duration.unit in ("M", "Q", "Y"):
            text = f"a rolling {window.duration} is taken as {window.duration.ms // UNIT_MS['d']}d"
            findings.notes.append(item.note(("spec", "timeWindow", 0, "duration"), text))
        place = (*item.path, "spec", "timeWindow", 0, "duration")
        if not fits_rings(window.duration, item.document, place, findings):
            return DEFAULT_WINDOW.ms, None
        return window.duration.ms, None
    unit = _CALENDAR_UNITS.get(window.duration.unit)
    if unit is None:
        place = (*item.path, "spec", "timeWindow", 0, "duration")
        guess = f"did you mean {window.duration.count}M (months)?" if window.duration.unit == "m" else ""
        findings.problems.append(
            item.document.problem(
                place, "a calendar period in d, w, M, Q or Y", item.document.show(place), guess
            )
        )
        return DEFAULT_WINDOW.ms, None
    start_ms = _start(window, unit, item, findings)
    period = CalendarPeriod(unit, window.calendar.time_zone, window.duration.count, start_ms)
    return window.duration.ms, period


def fits_rings(duration: Shorthand, document: Document, path: Path, findings: Findings) -> bool:
    """Whether a rolling window is one that rings hold; what is not is a mistake at `path`."""
    if 0 < duration.ms <= WINDOW_MS_MAX:
        return True
    findings.problems.append(
        document.problem(
            path,
            f"a rolling window of at most {format_duration(WINDOW_MS_MAX)}",
            document.show(path),
            "a calendar period may be longer",
        )
    )
    return False


def _start(window: TimeWindow, unit: str, item: Item[Slo], findings: Findings) -> int | None:
    """Instant of the stated start; None where single periods begin with the calendar anyway."""
    assert window.calendar is not None
    start = window.calendar.start_time
    if start is None:
        return None
    aligned = start.hour == start.minute == start.second == start.microsecond == 0 and _first_day(start, unit)
    if not aligned:
        place = ("spec", "timeWindow", 0, "calendar", "startTime")
        first = {"day": "midnight", "week": "midnight of their first day"}.get(unit, "midnight of the first")
        findings.notes.append(item.note(place, f"periods of the calendar begin at local {first}"))
    if aligned and window.duration.count == 1:
        return None
    local = start.replace(tzinfo=ZoneInfo(window.calendar.time_zone))
    return round(local.timestamp() * 1000)


def _first_day(start: datetime, unit: str) -> bool:
    match unit:
        case "week":
            # A week begins on the weekday of its start; only Mondays are the calendar's own.
            return start.weekday() == 0
        case "month":
            return start.day == 1
        case "quarter":
            return start.day == 1 and start.month in (1, 4, 7, 10)
        case "year":
            return start.day == 1 and start.month == 1
        case _:
            return True
