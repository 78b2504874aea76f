"""Addresses without the user and password that they may hold, for messages, logs and announcements."""

from __future__ import annotations

import re
from urllib.parse import unquote

__all__ = ["passwords_in", "without_credentials"]

_CREDENTIALS = re.compile(
    r"(?<=://)[^/?#\s@:\[]{0,256}+(?::(?!\d+/)[^\s@]{0,256}+)?+@(?:[^/?#\s@]{0,256}+@)*+", re.ASCII
)
"""`user:password@` or `user@` after the scheme. A password may hold `/` or `@`, which should be escaped."""


def without_credentials(text: str, shown: str = "") -> str:
    """The text with every address in it as it may be shown.

    shown : stands in place of user and password

    >>> without_credentials("ftp://ann:s3cret@host/models does not answer")
    'ftp://host/models does not answer'
    """
    return _CREDENTIALS.sub(shown, text)


def passwords_in(url: str) -> tuple[str, ...]:
    """Passwords of an address as written and as meant, the longest first."""
    written = {part[:-1].partition(":")[2] for part in _CREDENTIALS.findall(url)}
    return tuple(sorted((written | set(map(unquote, written))) - {""}, key=len, reverse=True))
