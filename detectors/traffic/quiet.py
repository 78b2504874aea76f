"""When no alarm is wanted: daily spans of local time, and spans between two instants. Axes: T steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from models.arrays import EpochMs, Mask, Numbers

Quiet: TypeAlias = str | tuple[int, int]
"""`"22:00-06:00"`, every day in the detector's time zone, or (start, end) in ms since 1970."""


class QuietTimes:
    """Raises ValueError for a span that cannot be read."""

    def __init__(self, spans: Sequence[Quiet]) -> None:
        self._daily = [_daily(span) for span in spans if isinstance(span, str)]
        self._once = [(int(span[0]), int(span[1])) for span in spans if not isinstance(span, str)]
        for start, end in self._once:
            if end <= start:
                raise ValueError(f"quiet=({start}, {end}) ends before it begins")

    def hold(self, times: EpochMs, hours: Numbers) -> Mask:
        """Mask [T], which steps are quiet; hours : Numbers [T], of the local day."""
        quiet = np.zeros(len(times), np.bool_)
        for start, end in self._daily:
            inside = (hours >= start) & (hours < end)
            quiet |= inside if start < end else (hours >= start) | (hours < end)
        for start_ms, end_ms in self._once:
            quiet |= (times >= start_ms) & (times < end_ms)
        return quiet


def _daily(span: str) -> tuple[float, float]:
    try:
        first, last = span.split("-")
        start, end = (_hour(text) for text in (first, last))
    except ValueError:
        raise ValueError(f'quiet={span!r}: a span of the day such as "22:00-06:00" expected') from None
    return start, end


def _hour(text: str) -> float:
    hours, minutes = text.strip().split(":")
    if not (0 <= int(hours) <= 24 and 0 <= int(minutes) < 60):
        raise ValueError(text)
    return int(hours) + int(minutes) / 60
