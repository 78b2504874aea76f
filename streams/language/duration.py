"""Lengths of time as people write them: `500ms`, `1s`, `5m`, `1h30m`, `30d`."""

from __future__ import annotations

import re
from decimal import Decimal

from models.calendar.units import DAY_MS, HOUR_MS, MINUTE_MS

UNIT_SECONDS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3_600),
    "d": Decimal(86_400),
    "w": Decimal(604_800),
}
"""Seconds in each unit; decimal, so that `300ms` is exactly the float 0.3."""

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d|w)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: str) -> float:
    """Seconds in `text`, a sum of numbers with units; a bare number means seconds.

    >>> parse_duration("1h30m")
    5400.0
    >>> parse_duration("2.5")
    2.5

    Raises ValueError for anything else.
    """
    stripped = text.strip()
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", stripped):
        return float(stripped)
    if not _WHOLE.fullmatch(stripped):
        raise ValueError(f"expected a duration such as 500ms, 30s, 5m or 1h30m, found {text[:40]!r}")
    return float(
        sum((Decimal(number) * UNIT_SECONDS[unit] for number, unit in _PART.findall(stripped)), Decimal(0))
    )


def format_duration(milliseconds: int) -> str:
    """The shortest usual spelling of a length of time: `300000` is `5m`, `5400000` is `1h30m`."""
    rest, parts = milliseconds, []
    for unit, size in (("d", DAY_MS), ("h", HOUR_MS), ("m", MINUTE_MS), ("s", 1_000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
