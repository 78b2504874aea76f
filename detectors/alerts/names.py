"""How label columns and spans of time are written where Prometheus and Alertmanager read them.

Guarantee: names match `[a-zA-Z_][a-zA-Z0-9_]*`, do not begin with `__` (which Prometheus keeps for itself),
and are distinct within one set, so that no two columns become one label.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache

from models.calendar.units import DAY_MS, HOUR_MS, MINUTE_MS

_FORBIDDEN = re.compile(r"[^a-zA-Z0-9_]")
_UNITS = ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (1_000, "s"), (1, "ms"))


def label_name(column: str) -> str:
    """The label that a column's name comes nearest to.

    >>> label_name("http.route"), label_name("2xx"), label_name("__name__")
    ('http_route', '_2xx', 'exported___name__')
    """
    name = _FORBIDDEN.sub("_", column) or "_"
    if name[0].isdigit():
        name = f"_{name}"
    return f"exported_{name}" if name.startswith("__") else name


def label_names(columns: Sequence[str], taken: Collection[str] = ()) -> tuple[str, ...]:
    """A label for each column; one that would clash gets `exported_`, as Prometheus does, then a number.

    taken : labels that the metric or alert has already

    >>> label_names(["service", "a.b", "a_b"], taken={"service", "slo"})
    ('exported_service', 'a_b', 'a_b_2')
    """
    names: list[str] = []
    for column in columns:
        base = label_name(column)
        if base in taken:
            base = f"exported_{base}"
        name, number = base, 2
        while name in taken or name in names:
            name, number = f"{base}_{number}", number + 1
        names.append(name)
    return tuple(names)


@lru_cache(maxsize=1024)
def span_name(span_ms: int) -> str:
    """A span of time in the largest unit that leaves no rest, as window labels have it.

    >>> [span_name(ms) for ms in (300_000, 3_600_000, 5_400_000, 2_592_000_000, 1_500)]
    ['5m', '1h', '90m', '30d', '1500ms']
    """
    assert span_ms > 0
    return next(f"{span_ms // unit}{name}" for unit, name in _UNITS if span_ms % unit == 0)
