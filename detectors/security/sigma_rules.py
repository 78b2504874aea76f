"""Sigma rules judged on counts: one detector for each rule that alerts, deterministic, with nothing learnt.

What a rule counts was decided for each event before; here are only sums over its timespan, exact to the step.
So a timespan is met by events that lie at most that far apart, give or take a step.

Axes: T steps, S series, F features, N groups seen in a step.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from detectors.api.detector import INFO, PAGE, TICKET, Panel, SeriesName, State, Verdicts
from detectors.api.stateful import Stateful
from detectors.security.entity_memory import EntityMemory
from models.arrays import Mask, Numbers
from models.calendar.units import MINUTE_MS

MATCH, EVENT_COUNT, VALUE_COUNT, TEMPORAL = "match", "event_count", "value_count", "temporal"
KINDS = (MATCH, EVENT_COUNT, VALUE_COUNT, TEMPORAL)

OPERATORS: Mapping[str, Callable[[Any, float], Any]] = MappingProxyType(
    {
        "lt": operator.lt,
        "lte": operator.le,
        "gt": operator.gt,
        "gte": operator.ge,
        "eq": operator.eq,
        "neq": operator.ne,
    }
)

_WORDS = {
    "lt": "fewer than",
    "lte": "at most",
    "gt": "more than",
    "gte": "at least",
    "eq": "exactly",
    "neq": "not",
}

LEVELS = MappingProxyType(
    {"informational": INFO, "low": INFO, "medium": TICKET, "high": PAGE, "critical": PAGE}
)
"""Sigma's levels as severities; a rule without one is of medium level."""

CERTAIN = 1e-12
"""Tail of what a rule matches: it is no question of chance, but no probability is nought either."""


class SigmaDetector(Stateful):
    """One Sigma rule.

    title    : of the rule, the verdicts' kind
    rule     : what it asks of the events of a group within `timespan_ms`:
               `match`       any event
               `event_count` so many events
               `value_count` so many distinct values: a series' last label is the value, the rest the group
               `temporal`    events of so many of the rules, each of which is a feature
    op, count: the bound, as in the rule
    level    : of the rule
    """

    name = "sigma"

    def __init__(
        self,
        *,
        title: str = "Sigma rule",
        rule: str = MATCH,
        op: str = "gte",
        count: float = 1,
        timespan_ms: int = MINUTE_MS,
        level: str = "medium",
        group_count_max: int = 200_000,
    ) -> None:
        if rule not in KINDS or op not in OPERATORS or level not in LEVELS:
            raise ValueError(
                f"rule {rule!r}, op {op!r}, level {level!r}: expected one each of "
                f"{', '.join(KINDS)}; {', '.join(OPERATORS)}; {', '.join(LEVELS)}"
            )
        if timespan_ms <= 0:
            raise ValueError(f"timespan_ms={timespan_ms}, expected a time above 0")
        self._settings: dict[str, Any] = {
            "title": title,
            "rule": rule,
            "op": op,
            "count": count,
            "timespan_ms": timespan_ms,
            "level": level,
            "group_count_max": group_count_max,
        }
        self.title, self.rule = title, rule
        self._holds = OPERATORS[op]
        self._count = count
        self._severity = LEVELS[level]
        self.reasons: dict[SeriesName, tuple[str, ...]] = {}
        """Why each group was flagged in the last step that `update` saw."""
        self._features: tuple[str, ...] | None = None
        self._memory: EntityMemory | None = None
        self._met: dict[SeriesName, int] = {}

    def fit(self, panel: Panel) -> Self:
        """Forget everything; there is nothing to learn from history but what still counts at its end."""
        self.__init__(**self._settings)  # type: ignore[misc]
        self.update(panel)
        return self

    def score(self, panel: Panel) -> Verdicts:
        """Verdicts of `update`, of a detector that is thrown away afterwards."""
        other = SigmaDetector(**self._settings)
        other.restore(self.state())
        return other.update(panel)

    def update(self, panel: Panel) -> Verdicts:
        """Judge each step; features are counts of the step, missing ones are 0.

        Raises ValueError where the features differ from those before, or time does not go on.
        """
        memory = self._memory_for(panel.features)
        verdicts = Verdicts.empty(len(panel), len(panel.series), len(panel.features))
        for number in range(len(panel)):
            self.reasons = {}
            values = np.nan_to_num(panel.values[number], nan=0.0, posinf=0.0, neginf=0.0)
            rows = np.flatnonzero(values.any(axis=1))
            names = [panel.series[row] for row in rows.tolist()]
            at_ms = int(panel.times[number])
            slots = memory.add(at_ms, names, values[rows])
            rows, slots = rows[slots >= 0], slots[slots >= 0]
            names = [panel.series[row] for row in rows.tolist()]
            reached = memory.span[slots]
            if self.rule == VALUE_COUNT:
                met, seen = self._values_met(at_ms, names)
            elif self.rule == TEMPORAL:
                seen = (reached > 0).sum(axis=1).astype(np.float64)
                met = np.asarray(self._holds(seen, self._count), np.bool_)
            else:
                seen = reached[:, 0]
                met = np.asarray(self._holds(seen, self._count), np.bool_)
            self._write(verdicts, number, panel, rows[met], seen[met], reached[met])
            verdicts.tail[number, rows[~met]] = 1.0
        return verdicts

    def _memory_for(self, features: tuple[str, ...]) -> EntityMemory:
        if self._memory is None:
            span_ms = self._settings["timespan_ms"]
            room = self._settings["group_count_max"]
            self._memory = EntityMemory(
                len(features), forget_ms=span_ms, entity_count_max=room, span_ms=span_ms
            )
            self._features = features
        elif features != self._features:
            raise ValueError(
                f"features {', '.join(features)} after {', '.join(self._features or ())}; fit again"
            )
        return self._memory

    def _values_met(self, at_ms: int, names: list[SeriesName]) -> tuple[Mask, Numbers]:
        """Whether a group's distinct values reach the bound, said once, of the value seen last by name.

        A group is met again only after it was not, since each of its values is a series of its own.
        """
        memory = self._memory
        assert memory is not None
        values = memory.live_counts(lambda name: name[:-1])
        met = np.zeros(len(names), np.bool_)
        seen = np.array([values[name[:-1]] for name in names], np.float64)
        last = {name[:-1]: row for row, name in sorted(enumerate(names), key=lambda each: each[1])}
        for group, row in last.items():
            if self._holds(values[group], self._count):
                met[row] = group not in self._met
                self._met[group] = at_ms
        self._met = {
            group: at for group, at in self._met.items() if self._holds(values.get(group, 0), self._count)
        }
        return met, seen

    def _write(
        self, verdicts: Verdicts, number: int, panel: Panel, hit: Any, seen: Numbers, reached: Numbers
    ) -> None:
        verdicts.tail[number, hit] = CERTAIN
        verdicts.alarm[number, hit] = True
        verdicts.severity[number, hit] = self._severity
        verdicts.direction[number, hit] = 1
        verdicts.kind[number, hit] = self.title
        verdicts.contributions[number, hit] = np.log2(1.0 + np.maximum(reached, 0.0))
        self.reasons = {
            panel.series[row]: (f"{self.title}: {self._reason(value)}",)
            for row, value in zip(hit.tolist(), seen.tolist(), strict=True)
        }

    def _reason(self, seen: float) -> str:
        what = {VALUE_COUNT: "distinct values", TEMPORAL: "of the rules"}.get(self.rule, "events")
        span = self._settings["timespan_ms"] / 1000
        bound = f"{_WORDS[self._settings['op']]} {self._count:g}"
        return f"{seen:.0f} {what} within {span:g} s, {bound} asked for"

    def _learnt(self) -> Mapping[str, Any]:
        return {  # what still counts
            "features": None if self._features is None else list(self._features),
            "memory": None if self._memory is None else self._memory.state(),
            "met": [[list(group), at_ms] for group, at_ms in self._met.items()],
        }

    def _load(self, state: State) -> None:
        self._memory, self._features, self._met = None, None, {}
        if state["features"] is not None:
            self._memory_for(tuple(state["features"])).load(state["memory"])
        self._met = {tuple(group): int(at_ms) for group, at_ms in state["met"]}
