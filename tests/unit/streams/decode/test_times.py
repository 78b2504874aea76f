"""Times: every way of writing one gives the same milliseconds, and no other strings are times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.decode.times import parse_clf, parse_time, parse_times

MOMENT_MS = 1_431_857_103_000  # 2015-05-17T10:05:03Z


@pytest.mark.parametrize(
    ("value", "time_format", "expected"),
    [
        (1431857103, "auto", MOMENT_MS),
        (1431857103000, "auto", MOMENT_MS),
        (1431857103000999, "auto", MOMENT_MS),
        (1431857103000999999, "auto", MOMENT_MS),
        (1431857103.25, "auto", MOMENT_MS + 250),
        (1431857103000.75, "auto", MOMENT_MS),
        ("1431857103.25", "auto", MOMENT_MS + 250),
        ("1431857103000", "auto", MOMENT_MS),
        ("1.431857103e9", "auto", MOMENT_MS),
        (5, "epoch_s", 5000),
        (5, "epoch_ms", 5),
        (5999, "epoch_us", 5),
        (5_999_999, "epoch_ns", 5),
        ("5", "epoch_s", 5000),
        (-1, "epoch_us", -1),
        (-(2**63), "auto", -9_223_372_036_855),
        ("2015-05-17T10:05:03Z", "auto", MOMENT_MS),
        ("2015-05-17T10:05:03.1Z", "auto", MOMENT_MS + 100),
        ("2015-05-17t10:05:03,123456789z", "auto", MOMENT_MS + 123),
        ("2015-05-17 10:05:03", "auto", MOMENT_MS),
        ("2015-05-17 10:05:03 UTC", "auto", MOMENT_MS),
        ("2015-05-17T06:05:03-04:00", "auto", MOMENT_MS),
        ("2015-05-17T06:05:03-0400", "iso8601", MOMENT_MS),
        ("2015-05-17T12:05:03+02", "iso8601", MOMENT_MS),
        ("2015-05-17T10:05Z", "auto", MOMENT_MS - 3000),
        ("2015-05-17", "auto", 1_431_820_800_000),
        ("2016-12-31T23:59:60Z", "auto", 1_483_228_800_000),
        ("17/May/2015:10:05:03 +0000", "auto", MOMENT_MS),
        ("17/May/2015:06:05:03 -0400", "auto", MOMENT_MS),
        ("17.05.2015 10:05:03", "%d.%m.%Y %H:%M:%S", MOMENT_MS),
        ("17.05.2015 12:05:03 +0200", "%d.%m.%Y %H:%M:%S %z", MOMENT_MS),
    ],
)
def test_a_time_is_read(value: object, time_format: str, expected: int) -> None:
    assert parse_time(value, time_format) == expected
    times_ms, readable = parse_times([value, value], time_format)
    assert times_ms.tolist() == [expected, expected]
    assert readable.all()


@pytest.mark.parametrize(
    ("value", "time_format"),
    [
        ("noon", "auto"),
        ("", "auto"),
        ("2015-13-01T00:00:00Z", "auto"),
        ("2015-02-29", "auto"),
        ("2015-05-17T24:00:00Z", "auto"),
        ("2015-05-17T10:05:03+25:00", "auto"),
        ("0000-01-01", "auto"),
        ("2015-05-17T10:05:03Zulu", "auto"),
        ("17/Mai/2015:10:05:03 +0000", "auto"),
        (True, "auto"),
        (None, "auto"),
        ([1], "auto"),
        (float("nan"), "auto"),
        (float("inf"), "auto"),
        (10**40, "auto"),
        (10**18, "epoch_s"),
        (1431857103, "iso8601"),
        ("1431857103", "iso8601"),
        ("2015-05-17", "epoch_s"),
        (3, "%Y"),
        ("17.05.", "%d.%m.%Y"),
    ],
)
def test_what_is_no_time_is_unreadable(value: object, time_format: str) -> None:
    assert parse_time(value, time_format) is None
    times_ms, readable = parse_times([value, value], time_format)
    assert not readable.any()
    assert times_ms.tolist() == [0, 0]


offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=offsets)


def milliseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@given(
    st.lists(moments, min_size=1, max_size=20),
    st.sampled_from(("seconds", "milliseconds", "microseconds")),
)
def test_iso_times_of_a_column_are_those_of_datetime(values: list[datetime], precision: str) -> None:
    texts = [moment.isoformat(timespec=precision) for moment in values]
    times_ms, readable = parse_times(texts)
    assert readable.all()
    assert times_ms.tolist() == [milliseconds(datetime.fromisoformat(text)) for text in texts]


@given(st.lists(moments, min_size=1, max_size=20))
def test_log_times_of_a_column_are_those_of_datetime(values: list[datetime]) -> None:
    texts = [f"{moment:%d/%b}/{moment.year:04}" + moment.strftime(":%H:%M:%S %z") for moment in values]
    times_ms, readable = parse_clf(texts)
    assert readable.all()
    assert times_ms.tolist() == [milliseconds(moment.replace(microsecond=0)) for moment in values]


TEXTS = st.one_of(
    moments.map(lambda moment: moment.isoformat()),
    st.from_regex(
        r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?(Z|[+-][0-9]{2}:[0-9]{2})\Z"
    ),
    st.from_regex(r"\A[0-9]{2}/(Jan|Feb|Dec|Foo)/[0-9]{4}:[0-9]{2}:[0-9]{2}:[0-9]{2} [+-][0-9]{4}\Z"),
    st.text(max_size=30),
    st.sampled_from(("1431857103", "١٤٣١٨٥٧١٠٣", "2015-05-17T10:05:0３Z", "")),
)


INTEGERS = st.integers() | st.integers(10**9, 2 * 10**18) | st.integers(10**17, 10**400)


@given(
    st.lists(st.one_of(TEXTS, INTEGERS, st.floats(), st.none(), st.booleans()), max_size=20)
    | st.lists(INTEGERS | st.floats(), max_size=20)
    | st.lists(INTEGERS, max_size=20)
)
def test_a_column_reads_as_its_values_one_by_one(values: list[object]) -> None:
    times_ms, readable = parse_times(values)
    alone = [parse_time(value) for value in values]
    assert readable.tolist() == [time_ms is not None for time_ms in alone]
    assert times_ms.tolist() == [time_ms or 0 for time_ms in alone]


@given(st.lists(TEXTS, max_size=20))
def test_a_column_of_log_times_reads_as_its_values_one_by_one(values: list[str]) -> None:
    times_ms, readable = parse_clf(values)
    alone = [parse_time(value) for value in values]
    assert readable.tolist() == [time_ms is not None for time_ms in alone]
    assert times_ms.tolist() == [time_ms or 0 for time_ms in alone]


@given(st.integers(0, 4_102_444_800_000))
def test_milliseconds_survive_being_written_as_float_seconds(time_ms: int) -> None:
    assert parse_time(time_ms / 1000, "epoch_s") == time_ms
    assert parse_time(f"{time_ms / 1000:.3f}", "epoch_s") == time_ms
