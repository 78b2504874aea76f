"""Event times as whole milliseconds since 1970 UTC, from the ways in which logs and events write them.

Guarantee: a time is either read exactly (parts of a millisecond are cut off) or reported as unreadable;
nothing is guessed but the unit of bare numbers under "auto", by magnitude: below 1e11 seconds, below
1e14 milliseconds, below 1e17 microseconds, else nanoseconds. Times without a zone are UTC.
Cost: strings of one shape and width are read as a matrix of characters, about 0.1 µs each; others, and
strftime patterns, once per distinct string.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import EpochMs, Mask
from models.calendar.units import MINUTE_MS

UNIT_PER_SECOND = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000, "epoch_ns": 1_000_000_000}

EARLIEST_MS = -62_135_596_800_000
"""Start of the year 1, the earliest time that dates can be written for."""
LATEST_MS = 253_402_300_799_999
"""End of the year 9999."""

_UNREADABLE = LATEST_MS + 1

_WIDTHS_MAX = 12
"""More widths than ISO times of one writer have: then the strings are something else."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_MONTHS = {
    name: month
    for month, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}

_ISO = re.compile(
    r"\s*(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,18}))?)?)?"
    r"\s?(Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?\s*",
    re.ASCII,
)
_CLF = re.compile(
    r"\s*\[?(\d\d?)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,18}))?(?: ([+-]\d{4}))?\]?\s*",
    re.ASCII,
)
_NUMBER = re.compile(r"\s*[+-]?\d{1,30}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,3})?\s*", re.ASCII)


def parse_times(values: Sequence[object], time_format: str = "auto") -> tuple[EpochMs, Mask]:
    """Times of a column of numbers and strings.

    values      : E numbers or strings; anything else is unreadable
    time_format : see `Layout.time_format`, except "record"
    returns     : EpochMs [E], and Mask [E] of those that could be read; the others are 0
    """
    if not values:
        return np.empty(0, np.int64), np.empty(0, np.bool_)
    kinds = set(map(type, values))
    if kinds == {int}:
        return _of_integers(values, time_format)
    if kinds == {float}:
        return _of_floats(np.array(values, np.float64), time_format)
    if kinds == {int, float}:
        return _of_mixed_numbers(values, time_format)
    if kinds == {str} and time_format in ("auto", "iso8601"):
        return _of_iso_column(values, time_format)  # type: ignore[arg-type]
    return _one_by_one(values, time_format)


def parse_time(value: object, time_format: str = "auto") -> int | None:
    """One time in milliseconds, or None where it cannot be read."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        return _of_string(value, time_format)
    times_ms, readable = (
        _of_integers([value], time_format)
        if isinstance(value, int)
        else _of_floats(np.array([value]), time_format)
    )
    return int(times_ms[0]) if readable[0] else None


def parse_clf(values: Sequence[str]) -> tuple[EpochMs, Mask]:
    """Times of an access log, `17/May/2015:10:05:03 +0000`; shapes and results as `parse_times`."""
    times = _of_clf_matrix(values)
    return times if times is not None else parse_times(values)


def _of_iso_column(values: Sequence[str], time_format: str) -> tuple[EpochMs, Mask]:
    """Strings by their width: some writers leave out zeros at the end of a fraction."""
    times = _of_iso_matrix(values)
    if times is not None:
        return times
    widths = np.fromiter(map(len, values), np.int64, len(values))
    distinct = np.unique(widths)
    if len(distinct) == 1 or len(distinct) > _WIDTHS_MAX:
        return _one_by_one(values, time_format)
    times_ms, readable = np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
    for width in distinct:
        rows = np.flatnonzero(widths == width)
        group = [values[row] for row in rows.tolist()]
        times = _of_iso_matrix(group)
        times_ms[rows], readable[rows] = _one_by_one(group, time_format) if times is None else times
    return times_ms, readable


def _one_by_one(values: Sequence[object], time_format: str) -> tuple[EpochMs, Mask]:
    """Each distinct value read once."""
    cache: dict[tuple[type, object], int] = {}
    return _split(
        np.fromiter((_cached(cache, value, time_format) for value in values), np.int64, len(values))
    )


def _cached(cache: dict[tuple[type, object], int], value: object, time_format: str) -> int:
    key = (type(value), value if isinstance(value, int | float | str) else None)
    found = cache.get(key)
    if found is None:
        time_ms = parse_time(value, time_format)
        found = cache[key] = _UNREADABLE if time_ms is None else time_ms
    return found


def _split(times_ms: EpochMs) -> tuple[EpochMs, Mask]:
    readable = (times_ms >= EARLIEST_MS) & (times_ms <= LATEST_MS)
    return (times_ms if readable.all() else np.where(readable, times_ms, 0)), readable


def _of_mixed_numbers(values: Sequence[Any], time_format: str) -> tuple[EpochMs, Mask]:
    """Whole and fractional numbers, each read as it would be alone."""
    whole = np.fromiter((type(value) is int for value in values), np.bool_, len(values))
    times_ms, readable = np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
    for mask, read in ((whole, _of_integers), (~whole, _of_some_floats)):
        rows = np.flatnonzero(mask)
        times_ms[rows], readable[rows] = read([values[row] for row in rows.tolist()], time_format)
    return times_ms, readable


def _of_some_floats(values: Sequence[float], time_format: str) -> tuple[EpochMs, Mask]:
    return _of_floats(np.array(values, np.float64), time_format)


def _of_integers(values: Sequence[Any], time_format: str) -> tuple[EpochMs, Mask]:
    """Whole numbers of up to 64 bits: exact, floor division only."""
    try:
        numbers = np.fromiter(values, np.int64, len(values))
    except OverflowError:
        fits = np.fromiter((-(2**63) <= value < 2**63 for value in values), np.bool_, len(values))
        times_ms, readable = _of_integers(
            [value if fit else 0 for value, fit in zip(values, fits, strict=True)], time_format
        )
        return np.where(fits, times_ms, 0), readable & fits
    if time_format in UNIT_PER_SECOND:
        return _split(_whole_units(numbers, UNIT_PER_SECOND[time_format]))
    if time_format != "auto":
        return np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
    magnitude = np.abs(np.maximum(numbers, -(2**63 - 1)))  # the lowest has no positive counterpart
    if int(magnitude.min()) >= 10**11 and int(magnitude.max()) < 10**14:
        return numbers, np.ones(len(numbers), np.bool_)
    times_ms = np.select(
        [magnitude < 10**11, magnitude < 10**14, magnitude < 10**17],
        [numbers * 1000, numbers, numbers // 1000],
        numbers // 1_000_000,
    )
    return _split(times_ms)


def _whole_units(numbers: EpochMs, per_second: int) -> EpochMs:
    if per_second >= 1000:
        return numbers // (per_second // 1000)
    limit = LATEST_MS // 1000 + 1
    return np.clip(numbers, -limit - 62_135_596_800, limit) * 1000


def _of_floats(numbers: NDArray[np.float64], time_format: str) -> tuple[EpochMs, Mask]:
    """Fractional numbers, rounded to the microsecond first: 1795586040.965 s is not …964.9999."""
    if time_format in UNIT_PER_SECOND:
        micros_per_unit: NDArray[np.float64] | float = 1e6 / UNIT_PER_SECOND[time_format]
    elif time_format == "auto":
        magnitude = np.abs(numbers)
        micros_per_unit = np.select(
            [magnitude < 1e11, magnitude < 1e14, magnitude < 1e17], [1e6, 1e3, 1.0], 1e-3
        )
    else:
        return np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.bool_)
    with np.errstate(invalid="ignore", over="ignore"):
        times = np.floor(np.rint(numbers * micros_per_unit) / 1000.0)
        readable = (times >= EARLIEST_MS) & (times <= LATEST_MS)
        return np.where(readable, times, 0).astype(np.int64), readable


def _of_string(text: str, time_format: str) -> int | None:
    if time_format == "iso8601":
        return _iso(text)
    if "%" in time_format:
        return _strptime(text, time_format)
    if _NUMBER.fullmatch(text):
        bare = text.strip()
        number = int(bare) if bare.lstrip("+-").isdigit() else float(bare)
        return parse_time(number, time_format)
    if time_format == "auto":
        time_ms = _iso(text)
        return _clf(text) if time_ms is None else time_ms
    return None


def _strptime(text: str, pattern: str) -> int | None:
    try:
        moment = datetime.strptime(text, pattern)
        return _to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def _to_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _iso(text: str) -> int | None:
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    return _assemble(int(year), int(month), int(day), hour, minute, second, fraction, zone)


def _clf(text: str) -> int | None:
    match = _CLF.fullmatch(text)
    if match is None or match[2] not in _MONTHS:
        return None
    day, month, year, hour, minute, second, fraction, zone = match.groups()
    return _assemble(int(year), _MONTHS[month], int(day), hour, minute, second, fraction, zone)


def _assemble(
    year: int,
    month: int,
    day: int,
    hour: str | None,
    minute: str | None,
    second: str | None,
    fraction: str | None,
    zone: str | None,
) -> int | None:
    """Milliseconds of the written parts; a leap second (60) is the second that follows."""
    leap = second == "60"
    try:
        moment = datetime(
            year, month, day, int(hour or 0), int(minute or 0), 59 if leap else int(second or 0), tzinfo=UTC
        )
    except ValueError:
        return None
    offset_minutes = 0
    if zone and zone[0] in "+-":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        if digits[2:] > "59" or digits[:2] > "23":
            return None
        offset_minutes = (int(digits[:2]) * 60 + int(digits[2:])) * (-1 if zone[0] == "-" else 1)
    time_ms = (
        _to_ms(moment) + leap * 1000 + int((fraction or "")[:3].ljust(3, "0")) - offset_minutes * MINUTE_MS
    )
    return time_ms if EARLIEST_MS <= time_ms <= LATEST_MS else None


_DAYS_IN_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def _of_iso_matrix(values: Sequence[str]) -> tuple[EpochMs, Mask] | None:
    """ISO times that all have the shape of the first; None where they do not."""
    shape = _ISO.fullmatch(values[0])
    if shape is None or shape[6] is None or shape.start(1) != 0:
        return None
    width = len(values[0])
    matrix = _matrix(values, width)
    if matrix is None:
        return None
    zone_at = shape.start(8) if shape[8] else width
    fraction_at, fraction_end = shape.span(7)
    digits = [*range(4), 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, *range(fraction_at, fraction_end)]
    if shape[8] and shape[8][0] in "+-":
        digits += [at for at in range(zone_at + 1, width) if values[0][at].isdigit()]
    fixed = np.setdiff1d(np.arange(width), digits)
    if (matrix[:, fixed] != matrix[0, fixed]).any() or not _are_digits(matrix, digits):
        return None
    year, month, day = _number(matrix, 0, 4), _number(matrix, 5, 7), _number(matrix, 8, 10)
    hour, minute, second = _number(matrix, 11, 13), _number(matrix, 14, 16), _number(matrix, 17, 19)
    milliseconds = _number(matrix, fraction_at, min(fraction_end, fraction_at + 3)) if shape[7] else 0 * year
    milliseconds *= 10 ** max(0, 3 - (fraction_end - fraction_at)) if shape[7] else 1
    zone_digits = [at for at in digits if at > zone_at]
    offset = _zone_minutes(matrix, zone_digits, -1 if shape[8] and shape[8][0] == "-" else 1)
    return _from_parts(year, month, day, hour, minute, second, milliseconds, offset)


def _of_clf_matrix(values: Sequence[str]) -> tuple[EpochMs, Mask] | None:
    """Times like `17/May/2015:10:05:03 +0000`; None where one has another shape."""
    if not values:
        return np.empty(0, np.int64), np.empty(0, np.bool_)
    matrix = _matrix(values, 26)
    if matrix is None:
        return None
    digits = [0, 1, 7, 8, 9, 10, 12, 13, 15, 16, 18, 19, 22, 23, 24, 25]
    fixed = [2, 6, 11, 14, 17, 20]
    signs = matrix[:, 21]
    if not _are_digits(matrix, digits) or (matrix[:, fixed] != np.frombuffer(b"//::: ", np.uint8)).any():
        return None
    if not np.isin(signs, np.frombuffer(b"+-", np.uint8)).all():
        return None
    name = matrix[:, 3] * 65536 + matrix[:, 4] * 256 + matrix[:, 5]
    month = np.zeros(len(values), np.int64)
    for text, number in _MONTHS.items():
        month[name == int.from_bytes(text.encode(), "big")] = number
    if not month.all():
        return None
    offset = _zone_minutes(matrix, [22, 23, 24, 25], np.where(signs == ord("-"), -1, 1))
    day, year = _number(matrix, 0, 2), _number(matrix, 7, 11)
    hour, minute, second = _number(matrix, 12, 14), _number(matrix, 15, 17), _number(matrix, 18, 20)
    return _from_parts(year, month, day, hour, minute, second, 0 * year, offset)


def _matrix(values: Sequence[str], width: int) -> NDArray[np.int64] | None:
    """Characters [E, width] of strings that are all `width` ASCII characters long, else None."""
    joined = "".join(values)
    if len(joined) != width * len(values) or not joined.isascii() or set(map(len, values)) != {width}:
        return None
    return np.frombuffer(joined.encode("ascii"), np.uint8).reshape(-1, width).astype(np.int64)


def _are_digits(matrix: NDArray[np.int64], columns: list[int]) -> bool:
    chosen = matrix[:, columns]
    return bool(((chosen >= 48) & (chosen <= 57)).all())


def _number(matrix: NDArray[np.int64], start: int, stop: int) -> NDArray[np.int64]:
    number = np.zeros(len(matrix), np.int64)
    for column in range(start, stop):
        number = number * 10 + (matrix[:, column] - 48)
    return number


def _zone_minutes(
    matrix: NDArray[np.int64], digits: list[int], sign: NDArray[np.int64] | int
) -> NDArray[np.int64]:
    """Minutes east of UTC; `_UNREADABLE` where the digits are no offset."""
    if not digits:
        return np.zeros(len(matrix), np.int64)
    hours = _number(matrix, digits[0], digits[1] + 1)
    minutes = _number(matrix, digits[2], digits[3] + 1) if len(digits) == 4 else 0 * hours
    return np.where((hours < 24) & (minutes < 60), sign * (hours * 60 + minutes), _UNREADABLE)


def _from_parts(
    year: NDArray[np.int64],
    month: NDArray[np.int64],
    day: NDArray[np.int64],
    hour: NDArray[np.int64],
    minute: NDArray[np.int64],
    second: NDArray[np.int64],
    milliseconds: NDArray[np.int64],
    offset_minutes: NDArray[np.int64],
) -> tuple[EpochMs, Mask]:
    """Milliseconds of calendar parts, all [E]; days by Hinnant's `days_from_civil` (chrono algorithms)."""
    leap_year = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    in_month = _DAYS_IN_MONTH[np.clip(month, 0, 12)] + (leap_year & (month == 2))
    valid = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= in_month)
    valid &= (hour < 24) & (minute < 60) & (second <= 60) & (offset_minutes != _UNREADABLE)
    shifted = year - (month <= 2)
    era = shifted // 400
    year_of_era = shifted - era * 400
    day_of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    days = era * 146_097 + day_of_era - 719_468
    minutes = (days * 24 + hour) * 60 + minute - np.where(valid, offset_minutes, 0)
    times_ms = (minutes * 60 + second) * 1000 + milliseconds
    return _split(np.where(valid, times_ms, _UNREADABLE))
