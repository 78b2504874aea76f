"""Counts of an entity's minute to features that a forest can compare: logarithms of amounts, ratios, rhythms.

Ratios are drawn towards zero by a few requests that are taken to be ordinary, so that one failure of one
request is not the oddest that can be. A feature whose counts a source does not have is missing (NaN)
throughout.

Axes: N entities, C counts, K features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from models.arrays import EpochMs, Numbers
from models.calendar.units import MINUTE_MS

ORDINARY_REQUESTS = 4.0
"""Requests without any failure that every ratio has in its denominator beside the real ones."""

MINUTE_SECONDS = 60.0

AMOUNT_HIGH = 7.0
"""Logarithm of a thousand a minute."""

_Answer: TypeAlias = Literal["4xx", "401", "403", "404", "429", "5xx", "missed"]
_Asked: TypeAlias = Literal["requests", "get", "post", "bytes", "logins", "failed_logins", "probes"]
_Bit: TypeAlias = Literal["path bit 0", "path bit 1", "path bit 2", "path bit 3"]
_Distinct: TypeAlias = Literal[
    "distinct path",
    "distinct missed_path",
    "distinct user",
    "distinct failed_user",
    "distinct agent",
    "distinct client",
    "distinct second",
]
CountName: TypeAlias = Literal[_Asked, _Answer, _Bit, _Distinct]
"""All counts there are; a source has those for which it has columns."""

COUNTS: frozenset[str] = frozenset(get_args(CountName))

BITS: tuple[CountName, ...] = ("path bit 0", "path bit 1", "path bit 2", "path bit 3")
"""Requests whose path's hash has a bit. Less those without it they are a sum of random signs, whose square
estimates how concentrated paths are."""

REQUESTS: CountName = "requests"

SHARES: tuple[CountName, ...] = ("4xx", "401", "403", "404", "429", "5xx", "post", "failed_logins", "probes")
"""Counts of which the share of all requests is a feature."""

AMOUNTS: tuple[CountName, ...] = (
    "requests",
    "distinct path",
    "distinct missed_path",
    "distinct user",
    "distinct agent",
    "distinct client",
)
"""Counts that are features themselves, as logarithms."""


def check_counts(names: Iterable[str]) -> None:
    """Raises ValueError for a name that no count has, whatever a source counts."""
    unknown = [name for name in names if name not in COUNTS]
    if unknown:
        raise ValueError(f"no count is called {unknown[0]!r}; there are {', '.join(sorted(COUNTS))}")


@dataclass(frozen=True, slots=True)
class EntityCounts:
    """What is known of N entities at the end of a step.

    names   : of the C counts
    minute, span : Numbers [N, C], over the last minute and the last ten
    dispersion : Numbers [N], of requests over the steps of the last ten minutes
    first_ms : EpochMs [N], when each was first seen
    night   : Numbers [N], share of its requests that fell into the night
    """

    names: Sequence[str]
    minute: Numbers
    span: Numbers
    dispersion: Numbers
    first_ms: EpochMs
    now_ms: int
    night: Numbers

    @classmethod
    def of_nobody(cls) -> EntityCounts:
        """No entities, of a source that counts their requests alone."""
        none = np.zeros((0, 1))
        return cls((REQUESTS,), none, none, none[:, 0], np.zeros(0, np.int64), 0, none[:, 0])

    def of(self, name: CountName, *, span: bool = False) -> Numbers | None:
        """One count of all entities : Numbers [N], or None where the source does not have it.

        Raises ValueError for a name that no count has.
        """
        if name not in self.names:
            check_counts([name])
            return None
        return (self.span if span else self.minute)[:, self.names.index(name)]

    @property
    def requests(self) -> Numbers:
        """Numbers [N], at least 0."""
        found = self.of(REQUESTS)
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the forest's table.

    name   : as explanations call it
    counts : the counts that it comes from, which share what it contributes
    high   : what it may reach, from 0, if something is wrong
    """

    name: str
    counts: tuple[CountName, ...]
    values: Callable[[EntityCounts], Numbers | None]
    high: float = 1.0

    def __post_init__(self) -> None:
        check_counts(self.counts)


def _amount(name: CountName) -> Feature:
    def values(counts: EntityCounts) -> Numbers | None:
        found = counts.of(name)
        return None if found is None else np.log1p(np.maximum(found, 0.0))

    return Feature(f"{name} a minute" if name == REQUESTS else name, (name,), values, AMOUNT_HIGH)


def _share(name: CountName) -> Feature:
    def values(counts: EntityCounts) -> Numbers | None:
        found = counts.of(name)
        return None if found is None else found / (counts.requests + ORDINARY_REQUESTS)

    return Feature(f"share of {name}", (name,), values)


def _other_methods(counts: EntityCounts) -> Numbers | None:
    get, post = counts.of("get"), counts.of("post")
    if get is None or post is None:
        return None
    return np.maximum(counts.requests - get - post, 0.0) / (counts.requests + ORDINARY_REQUESTS)


def _variety(counts: EntityCounts) -> Numbers | None:
    """Distinct paths a request: 1 where none is asked for twice."""
    paths = counts.of("distinct path")
    return None if paths is None else np.minimum(paths / np.maximum(counts.requests, 1.0), 1.0)


def path_entropy(counts: EntityCounts) -> Numbers | None:
    """Collision entropy of the paths in bits : Numbers [N], 0 for one path, log2(n) for n alike.

    Source: Alon, Matias, Szegedy, "The space complexity of approximating the frequency moments", STOC 1996:
    the square of a sum of random signs is the sum of the squared frequencies, in the mean.
    """
    found = [counts.of(name) for name in BITS]
    bits = [bit for bit in found if bit is not None]
    if not bits:
        return None
    squares = np.mean([(2 * bit - counts.requests) ** 2 for bit in bits], axis=0)
    requests = np.maximum(counts.requests, 1.0)
    entropy: Numbers = np.log2(requests**2 / np.clip(squares, requests, requests**2))
    return entropy


def _bytes(counts: EntityCounts) -> Numbers | None:
    found = counts.of("bytes")
    return None if found is None else np.log1p(np.maximum(found, 0.0))


def _bytes_each(counts: EntityCounts) -> Numbers | None:
    found = counts.of("bytes")
    return None if found is None else np.log1p(np.maximum(found, 0.0) / np.maximum(counts.requests, 1.0))


def _pulse(counts: EntityCounts) -> Numbers | None:
    """Seconds of the minute with requests by those that as many at random would have: low for bursts."""
    seconds = counts.of("distinct second")
    if seconds is None:
        return None
    expected = MINUTE_SECONDS * -np.expm1(-counts.requests / MINUTE_SECONDS)
    return np.divide(seconds, expected, out=np.ones(len(seconds)), where=expected > 0)


def _rhythm(counts: EntityCounts) -> Numbers | None:
    """Logarithm of the dispersion: below that of 1 where requests come at even intervals."""
    return np.log1p(counts.dispersion)


def _newness(counts: EntityCounts) -> Numbers | None:
    """Minutes since it was first seen, as a logarithm."""
    return np.log1p(np.maximum(counts.now_ms - counts.first_ms, 0) / MINUTE_MS)


def _night(counts: EntityCounts) -> Numbers | None:
    return counts.night


FEATURES: tuple[Feature, ...] = (
    *(_amount(name) for name in AMOUNTS),
    *(_share(name) for name in SHARES),
    Feature("share of other methods", ("get", "post"), _other_methods),
    Feature("distinct paths a request", ("distinct path",), _variety),
    Feature("path entropy", ("distinct path",), path_entropy, 10.0),
    Feature("bytes a minute", ("bytes",), _bytes, 20.0),
    Feature("bytes a request", ("bytes",), _bytes_each, 16.0),
    Feature("busy seconds", ("distinct second",), _pulse, 1.5),
    Feature("regularity", (REQUESTS,), _rhythm, 4.0),
    Feature("time since first seen", (REQUESTS,), _newness, 7.0),
    Feature("share at night", (REQUESTS,), _night),
)


def feature_matrix(counts: EntityCounts) -> Numbers:
    """Numbers [N, K] in the order of `FEATURES`; NaN where a source has not the counts."""
    columns = [feature.values(counts) for feature in FEATURES]
    missing = np.full(len(counts.minute), np.nan)
    return np.stack([missing if column is None else column for column in columns], axis=1)


def count_name(feature: str) -> str:
    """A panel's name of a count as it is called here: `distinct security.path` is `distinct path`."""
    return feature.replace("distinct security.", "distinct ").replace("distinct:", "distinct ")
