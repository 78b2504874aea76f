"""Where an instant lies in a place's day and week: the local hour, and whether people work that day.

The local hour follows the zone's clock changes, so that a profile by hour of day stays right over them. A
public holiday counts as a weekend day. Cost: one look-up a minute of the calendar, kept for the days just
used.

Axes: T times.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from models.arrays import EpochMs, Mask, Numbers
from models.calendar.units import HOUR_MS
from models.calendar.zone import time_zone

QUARTER_MS = HOUR_MS // 4
"""No zone in use changes its clock within a quarter of an hour."""

QUARTERS_KEPT = 4096


@dataclass(slots=True)
class CalendarEffects:
    """The calendar of a place.

    time_zone : IANA name, such as `Europe/Berlin`
    holidays  : country, or country and subdivision (`DE`, `DE-BY`), as the package `holidays` names them

    Raises ValueError for a zone or a country that is not known.
    """

    time_zone: str = "UTC"
    holidays: str | None = None
    _zone: ZoneInfo = field(init=False, repr=False)
    _days: Any = field(init=False, repr=False, default=None)
    _quarters: dict[int, tuple[float, bool]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._zone = time_zone(self.time_zone)
        if self.holidays:
            import holidays as calendars

            country, _, subdivision = self.holidays.partition("-")
            try:
                self._days = calendars.country_holidays(country, subdiv=subdivision or None)
            except NotImplementedError as error:
                raise ValueError(f"holidays of {self.holidays!r} are not known: {error}") from error

    def local(self, times: EpochMs) -> tuple[Numbers, Mask]:
        """Hour of the local day, Numbers [T] in [0, 24), and whether it is a day off, Mask [T]."""
        times = np.asarray(times, np.int64)
        quarter, place = np.unique(times // QUARTER_MS, return_inverse=True)
        known = [self._quarter(number) for number in quarter.tolist()]
        start = np.array([hour for hour, _ in known], np.float64)
        off = np.array([day_off for _, day_off in known], np.bool_)
        hour = start[place] + (times % QUARTER_MS) / HOUR_MS
        return hour, off[place]

    def _quarter(self, number: int) -> tuple[float, bool]:
        found = self._quarters.get(number)
        if found is None:
            moment = datetime.fromtimestamp(number * QUARTER_MS / 1000, UTC).astimezone(self._zone)
            off = moment.weekday() >= 5 or (self._days is not None and moment.date() in self._days)
            found = (moment.hour + moment.minute / 60 + moment.second / 3600, off)
            if len(self._quarters) >= QUARTERS_KEPT:
                self._quarters.clear()
            self._quarters[number] = found
        return found
