"""Time zones by the names of the IANA database."""

from __future__ import annotations

from zoneinfo import ZoneInfo


def time_zone(name: str) -> ZoneInfo:
    """The time zone of a name. Raises ValueError for a name that the database does not have.

    >>> time_zone("Europe/Berlin").key
    'Europe/Berlin'
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # unknown; no possible name; a folder
        raise ValueError(f"no time zone is called {name!r}; Europe/Berlin is one") from error
