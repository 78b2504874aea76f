"""Kinds of values that a configuration holds, each read from what people write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

from streams.language.duration import format_duration, parse_duration
from streams.language.expression import Expression, ExpressionError, compile_expression
from streams.language.problems import nearest, one_of
from streams.language.yaml.validation import reject
from streams.plan.plan import BUCKET_MS, WINDOW_MS_MAX


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return timedelta(seconds=parse_duration(str(value)))
        except (ValueError, OverflowError):
            pass
    return reject("a duration such as 500ms, 30s, 5m or 1h30m")


def _positive(value: timedelta) -> timedelta:
    return value if value > timedelta(0) else reject("a duration above zero")


def _whole_buckets(value: timedelta) -> timedelta:
    if milliseconds(value) < BUCKET_MS or milliseconds(value) % BUCKET_MS:
        reject(f"a multiple of {BUCKET_MS // 1000}s, the width of a bucket")
    if milliseconds(value) > WINDOW_MS_MAX:
        reject(f"a window of at most {format_duration(WINDOW_MS_MAX)}")
    return value


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(_duration)]
"""`60s`, `5m`, `1h30m`; a bare number means seconds."""

PositiveDuration: TypeAlias = Annotated[Duration, AfterValidator(_positive)]

Window: TypeAlias = Annotated[Duration, AfterValidator(_whole_buckets)]
"""A rolling window: whole buckets of event time, not longer than rings go back."""


def milliseconds(value: timedelta) -> int:
    """Whole milliseconds of a length of time."""
    return round(value / timedelta(milliseconds=1))


def _expression(value: Any) -> Any:
    if isinstance(value, Expression):
        return value
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str):
        reject("a condition such as status < 500")
    return compile_expression(value)


Condition: TypeAlias = Annotated[
    Expression,
    BeforeValidator(_expression),
    PlainSerializer(lambda expression: expression.text, return_type=str),
]
"""A condition over columns, compiled."""


def _instant(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            instant = None
        if instant is not None and instant.tzinfo is not None:
            return instant.astimezone(UTC)
    return reject("a time with its zone, such as 2026-01-31T08:00:00Z")


Instant: TypeAlias = Annotated[datetime, BeforeValidator(_instant)]
"""An instant in ISO 8601; the zone is required, since a guess would shift a maintenance window."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _addresses(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return value


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        reject("host:port, such as kafka-1.example.org:9092")
    return value


def _web_address(value: str) -> str:
    if not re.match(r"https?://[^\s/]+", value):
        reject("an address such as http://127.0.0.1:9093")
    return value


def _token_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if not host or parts.scheme not in (("https", "http") if is_loopback(host) else ("https",)):
        reject(
            "an https:// address, since the client's secret is sent there", "http:// is for this machine only"
        )
    if "@" in parts.netloc:
        reject("an address without user and password", "they are client_id and client_secret")
    return value


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own, which nobody else reaches."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


TokenAddress: TypeAlias = Annotated[str, AfterValidator(_token_address)]
"""Where secrets are exchanged for tokens: https, or this machine."""

WebAddress: TypeAlias = Annotated[str, AfterValidator(_web_address)]
"""The address of a page or an API, with its scheme."""

Texts: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""A list of strings; a single one may stand alone."""

Addresses: TypeAlias = Annotated[
    tuple[Annotated[str, AfterValidator(_address)], ...], BeforeValidator(_addresses)
]
"""Addresses of brokers, as a list or separated by commas."""


def choice(value: str, known: Sequence[str]) -> str:
    """`value`, if it is one of the known ones; for lists that live elsewhere than in a type."""
    if value not in known:
        reject(one_of(known), nearest(value, known))
    return value


__all__ = [
    "Addresses",
    "Condition",
    "Duration",
    "ExpressionError",
    "Instant",
    "PositiveDuration",
    "Texts",
    "TokenAddress",
    "WebAddress",
    "Window",
    "choice",
    "is_loopback",
    "milliseconds",
]


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(value: str) -> str:
    if value not in _zones():
        reject("a time zone of the IANA database, such as Europe/Berlin", nearest(value, sorted(_zones())))
    return value


TimeZone: TypeAlias = Annotated[str, AfterValidator(_zone)]
