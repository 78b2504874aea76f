"""Features of a web request's text: how unusual its path, its parameters and their values are for this site.

The models are those of web intrusion detection (Kruegel, Vigna, "Anomaly detection of web-based attacks",
CCS 2003): which paths there are, which parameters each has, and of each parameter of a path the values,
their shape, length, characters and pairs of characters. Each is a surprise in its context
(`models/anomaly/novelty.py`): a value never seen before is none where values hardly ever repeat. Nothing is
known beforehand of sites or attacks.

Cost: 13 µs a request, 50 µs to learn one; 16 bytes for each different character, pair,
value … of each parameter.

Axes: N requests, P parameters of all of them, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.security.request_tokens import Units, request_units
from models.anomaly.novelty import Novelty
from models.arrays import Numbers, Rows

FOLDS = 8
"""Stretches of the training requests; each is judged by what the others taught."""


@dataclass(frozen=True, slots=True)
class UrlFeatures:
    """What is usual in the requests of a site.

    habits : a model for each aspect of a request, in the order of `request_units`
    """

    habits: Mapping[str, Novelty]

    @classmethod
    def fit(cls, requests: Sequence[str]) -> tuple[Self, Numbers]:
        """Learn from normal requests in the order they came, each "METHOD url".

        Returns the model and Numbers [N, F], the features of these requests as if each had been unknown.
        """
        units = request_units(requests)
        fold = np.arange(len(requests)) * FOLDS // max(1, len(requests))
        habits, surprises = {}, {}
        for name, aspect in units.items():
            habits[name], surprises[name] = Novelty.fit(
                aspect.context, aspect.start, aspect.token, fold[aspect.request]
            )
        return cls(habits), combined(units, surprises, len(requests))

    @property
    def features(self) -> tuple[str, ...]:
        """F names."""
        names = list(self.habits)
        return tuple(names + [f"{name} in all" for name in names if name.startswith("value")])

    def transform(self, requests: Sequence[str]) -> Numbers:
        """Numbers [N, F] of requests "METHOD url": the greatest surprise of each aspect, sums for values."""
        units = request_units(requests)
        surprises = {
            name: habit.score(units[name].context, units[name].start, units[name].token)
            for name, habit in self.habits.items()
        }
        return combined(units, surprises, len(requests))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was learnt, by names, for `from_arrays`."""
        return {
            f"{name}/{part}": array
            for name, habit in self.habits.items()
            for part, array in habit.arrays().items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The model that `arrays` was taken of. Raises ValueError if it cannot have been."""
        parts: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in request_units([])}
        for key, array in arrays.items():
            name, _, part = str(key).partition("/")
            if name not in parts:
                raise ValueError(f"aspects of requests are {', '.join(parts)}; got {key!r}")
            parts[name][part] = array
        return cls({name: Novelty.from_arrays(part) for name, part in parts.items()})


def combined(units: Mapping[str, Units], surprises: Mapping[str, Numbers], count: int) -> Numbers:
    """Numbers [N, F], the greatest surprise of each aspect in a request, then sums over its values."""
    greatest = [largest(surprises[name], aspect.request, count) for name, aspect in units.items()]
    sums = [
        np.bincount(aspect.request, surprises[name], minlength=count)
        for name, aspect in units.items()
        if name.startswith("value")
    ]
    return np.stack([*greatest, *sums], axis=1)


def largest(values: Numbers, group: Rows, count: int) -> Numbers:
    """Numbers [N], the largest value of each group, 0 where it has none; values are not negative."""
    found = np.zeros(count)
    np.maximum.at(found, group, values)
    return found
