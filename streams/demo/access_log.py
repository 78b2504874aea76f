"""An access log of a small website with incidents in it, for notebooks and for trying things out.

Guarantee: the same arguments give the same bytes on every machine. Lines are in the order of their times,
in the combined format with `$request_time` at the end, so availability and latency are both in them.

Requests arrive as a Poisson process whose rate follows the day (UTC): least at 3 h, most at 15 h. Times
of answers are log-normal, as they are in practice. All is drawn in columns; 170,000 lines take a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.arrays import Mask, Numbers

__all__ = ["LogIncident", "write_access_log"]

FAILING = 0.0001
"""Share of requests that fail while all is well."""

DAY_SWING = 0.6
"""How far the rate rises above its mean at the busiest hour, and falls below it at the quietest."""

BUSIEST_HOUR = 15

MEDIAN_S, SPREAD = 0.09, 0.7
"""Median of the answers' times, and the standard deviation of their logarithms: 0.7 % take over 500 ms."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_REQUESTS = ("GET / ", "GET /products ", "GET /products/17 ", "GET /search?q=chair ", "POST /cart ")
_SHARES = (0.3, 0.25, 0.2, 0.15, 0.1)


@dataclass(frozen=True, slots=True)
class LogIncident:
    """A time in which requests fail or are slow.

    start   : with its time zone
    failing : share of requests that are answered 502, at most 1
    slowed  : factor of the answers' times
    """

    name: str
    start: datetime
    duration: timedelta
    failing: float
    slowed: float = 1.0

    @property
    def end(self) -> datetime:
        return self.start + self.duration


def write_access_log(
    path: Path,
    *,
    start: datetime,
    duration: timedelta,
    rate: float = 1.0,
    incidents: Sequence[LogIncident] = (),
    seed: int = 0,
) -> int:
    """Write the log of a website to `path`; return the number of its lines.

    start    : with its time zone; the log is written in UTC, in whole seconds
    duration : of whole minutes
    rate     : requests a second, the mean over a day
    """
    random = np.random.default_rng(seed)
    begin_s = start.timestamp()
    minutes = begin_s + 60.0 * np.arange(int(duration / timedelta(minutes=1)))
    shape = 1 + DAY_SWING * np.cos(2 * np.pi * (minutes / 3_600 - BUSIEST_HOUR) / 24)
    arrivals = random.poisson(60 * rate * shape)
    times: Numbers = np.sort(np.repeat(minutes, arrivals) + 60 * random.random(int(arrivals.sum())))

    failing = np.full(len(times), FAILING)
    slowed = np.ones(len(times))
    for incident in incidents:
        inside: Mask = (times >= incident.start.timestamp()) & (times < incident.end.timestamp())
        failing[inside], slowed[inside] = incident.failing, incident.slowed
    failed: Mask = random.random(len(times)) < failing
    took_s: Numbers = MEDIAN_S * slowed * np.exp(SPREAD * random.standard_normal(len(times)))
    request = random.choice(len(_REQUESTS), len(times), p=_SHARES)
    client = random.integers(1, 255, len(times))
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(_lines(times, failed, took_s, request, client))
    return len(times)


def _lines(
    times: Numbers, failed: Mask, took_s: Numbers, request: NDArray[np.int64], client: NDArray[np.int64]
) -> Iterator[str]:
    """The lines of E events; each array [E]."""
    seconds = times.astype(np.int64)
    days, first = np.unique(seconds // 86_400, return_inverse=True)
    texts = [_day(int(day)) for day in days]
    columns = (first, seconds % 86_400, failed, took_s, request, client)
    for day, second, bad, took, what, who in zip(*(column.tolist() for column in columns), strict=True):
        clock = f"{second // 3_600:02}:{second // 60 % 60:02}:{second % 60:02}"
        answer = "502 157" if bad else "200 4311"
        yield (
            f"203.0.113.{who} - - [{texts[day]}:{clock} +0000] "
            f'"{_REQUESTS[what]}HTTP/1.1" {answer} "-" "Mozilla/5.0" {took:.3f}\n'
        )


def _day(number: int) -> str:
    """A day since 1970 as access logs write it, whatever the locale."""
    date = datetime.fromtimestamp(86_400 * number, UTC)
    return f"{date.day:02}/{_MONTHS[date.month - 1]}/{date.year}"
