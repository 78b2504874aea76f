"""What is remembered of entities: the steps of their last ten minutes, and when each was first seen.

Guarantee: sums are exactly those of the steps within the last minute and the last ten, since counts are whole
numbers below 2**53. Entities that have been silent for `forget_ms` go, and there are never more than
`entity_count_max`; beyond it new ones are refused, and counted, until others go.
Cost: 16 bytes a count and entity, and what the steps of the last ten minutes held.

Axes: S slots of entities, N entities seen in one step, C counts.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from detectors.api.detector import SeriesName
from models.arrays import EpochMs, Numbers, Rows
from models.calendar.units import MINUTE_MS

SPAN_MS = 10 * MINUTE_MS
"""Steps of an attack mostly follow each other within this."""

NEVER_MS = -(1 << 62)

_PER_ENTITY = ("first_ms", "last_ms", "flagged_ms", "lifetime", "nights")


class EntityMemory:
    """Slots of entities and the steps in which they were seen.

    minute, span : Numbers [S, C], sums over the last minute and the span, ten minutes
    squares      : Numbers [S], the first count squared, summed over the steps of the last ten minutes
    first_ms, last_ms : EpochMs [S], ends of the steps in which an entity was first and last seen
    flagged_ms        : EpochMs [S], when whoever judges last marked it
    lifetime, nights  : Numbers [S], the first count since `first_ms`, and the part of it that fell into
                        nights
    """

    def __init__(self, count: int, *, forget_ms: int, entity_count_max: int, span_ms: int = SPAN_MS) -> None:
        self.span_ms = span_ms
        self.forget_ms = forget_ms
        self.entity_count_max = entity_count_max
        self.refused = 0
        """Entities that were not remembered in a step for want of room."""
        self.now_ms = NEVER_MS
        self.start_ms = NEVER_MS
        self.step_ms = MINUTE_MS
        self.minute: Numbers = np.zeros((0, count))
        self.span: Numbers = np.zeros((0, count))
        self.squares: Numbers = np.zeros(0)
        self.first_ms: EpochMs = np.zeros(0, np.int64)
        self.last_ms: EpochMs = np.zeros(0, np.int64)
        self.flagged_ms: EpochMs = np.zeros(0, np.int64)
        self.lifetime: Numbers = np.zeros(0)
        self.nights: Numbers = np.zeros(0)
        self._slots: dict[SeriesName, int] = {}
        self._free: list[int] = []
        self._minute_steps: deque[tuple[int, Rows, Numbers]] = deque()
        self._span_steps: deque[tuple[int, Rows, Numbers]] = deque()

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, at_ms: int, names: Sequence[SeriesName], values: Numbers, *, night: bool = False) -> Rows:
        """Move to a step's end and take it in.

        names   : N distinct entities
        values  : Numbers [N, C], counts of the step
        night   : whether the step fell into the night
        returns : Rows [N], slots; -1 where there was no room

        Raises ValueError for a step that does not come after all before.
        """
        if at_ms <= self.now_ms:
            raise ValueError(f"a step that ends at {at_ms} ms after one that ends at {self.now_ms} ms")
        if self.start_ms == NEVER_MS:
            self.start_ms = at_ms
        else:
            self.step_ms = min(self.step_ms, at_ms - self.now_ms)
        self.now_ms = at_ms
        self._expire()
        slots = self._slots_of(names)
        known = slots >= 0
        rows, counts = slots[known], values[known]
        self.minute[rows] += counts
        self.span[rows] += counts
        self.squares[rows] += counts[:, 0] ** 2
        self.first_ms[rows] = np.where(self.first_ms[rows] == NEVER_MS, at_ms, self.first_ms[rows])
        self.last_ms[rows] = at_ms
        self.lifetime[rows] += counts[:, 0]
        if night:
            self.nights[rows] += counts[:, 0]
        for steps in (self._minute_steps, self._span_steps):
            steps.append((at_ms, rows, counts))
        return slots

    def peaks(self, columns: Sequence[int], *, minute: bool = False) -> Numbers:
        """Numbers [S, len(columns)], the largest value of one step of the ten minutes, or of the last."""
        found = np.zeros((len(self.minute), len(columns)))
        for _, rows, counts in self._minute_steps if minute else self._span_steps:
            found[rows] = np.maximum(found[rows], counts[:, columns])
        return found

    def dispersion(self, slots: Rows) -> Numbers:
        """Numbers [N], variance by mean of the first count over the steps since an entity is known.

        1 for events at random, less for a pulse, more for bursts; at most the last ten minutes count.
        """
        since = np.minimum(
            self.now_ms - np.minimum(self.first_ms[slots], self.now_ms), self.span_ms - self.step_ms
        )
        steps = since // self.step_ms + 1
        mean = self.span[slots, 0] / steps
        variance = np.maximum(self.squares[slots] / steps - mean**2, 0.0)
        ratio: Numbers = np.divide(variance, mean, out=np.ones(len(slots)), where=mean > 0)
        return ratio

    def live_counts(self, group_of: Callable[[SeriesName], SeriesName]) -> Counter[SeriesName]:
        """How many entities of each group were seen within the span."""
        since = self.now_ms - self.span_ms
        return Counter(group_of(name) for name, slot in self._slots.items() if self.last_ms[slot] > since)

    def _expire(self) -> None:
        while self._minute_steps and self._minute_steps[0][0] <= self.now_ms - MINUTE_MS:
            _, rows, counts = self._minute_steps.popleft()
            self.minute[rows] -= counts
        while self._span_steps and self._span_steps[0][0] <= self.now_ms - self.span_ms:
            _, rows, counts = self._span_steps.popleft()
            self.span[rows] -= counts
            self.squares[rows] -= counts[:, 0] ** 2

    def _slots_of(self, names: Sequence[SeriesName]) -> Rows:
        unknown = [name for name in names if name not in self._slots]
        if unknown:
            if len(self._slots) + len(unknown) > self.entity_count_max or len(unknown) > len(self._free):
                self._drop_silent()
            room = self.entity_count_max - len(self._slots)
            self.refused += max(len(unknown) - room, 0)
            self._make_room(min(len(unknown), room))
            for name in unknown[:room]:
                self._slots[name] = self._free.pop()
        return np.fromiter((self._slots.get(name, -1) for name in names), np.int64, len(names))

    def _drop_silent(self) -> None:
        """Let go of who has been silent too long; a step in memory holds on to its entities."""
        silent = max(self.forget_ms, self.span_ms)
        gone = [name for name, slot in self._slots.items() if self.last_ms[slot] <= self.now_ms - silent]
        freed = [self._slots.pop(name) for name in gone]
        self._free += freed
        self.first_ms[freed] = self.last_ms[freed] = self.flagged_ms[freed] = NEVER_MS
        self.lifetime[freed] = self.nights[freed] = 0.0

    def _make_room(self, wanted: int) -> None:
        held = len(self.minute)
        more = wanted - len(self._free)
        if more <= 0:
            return
        more = max(more, min(held, self.entity_count_max - held), 8)
        self.minute = np.pad(self.minute, ((0, more), (0, 0)))
        self.span = np.pad(self.span, ((0, more), (0, 0)))
        for name in ("squares", "lifetime", "nights"):
            setattr(self, name, np.pad(getattr(self, name), (0, more)))
        for name in ("first_ms", "last_ms", "flagged_ms"):
            setattr(self, name, np.pad(getattr(self, name), (0, more), constant_values=NEVER_MS))
        self._free = [*range(held + more - 1, held - 1, -1), *self._free]

    def state(self) -> dict[str, Any]:
        """All of it, for `load`."""
        slots = np.fromiter(self._slots.values(), np.int64, len(self._slots))
        place = np.full(len(self.minute), -1, np.int64)
        place[slots] = np.arange(len(slots))
        none = np.zeros((0, self.span.shape[1]))
        return {
            "times": [self.now_ms, self.start_ms, self.step_ms],
            "refused": self.refused,
            "names": [list(name) for name in self._slots],
            **{name: getattr(self, name)[slots] for name in _PER_ENTITY},
            "step_times": [at_ms for at_ms, _, _ in self._span_steps],
            "step_rows": [place[rows] for _, rows, _ in self._span_steps],
            "step_counts": np.concatenate([none, *(counts for _, _, counts in self._span_steps)]),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` gave, into a memory that is empty.

        Raises ValueError, KeyError or TypeError if it is not a state of a memory with as many counts.
        """
        names = [tuple(name) for name in state["names"]]
        counts = np.asarray(state["step_counts"], np.float64)
        if counts.ndim != 2 or counts.shape[1] != self.span.shape[1] or len(names) > self.entity_count_max:
            raise ValueError("a memory of other counts, or of more entities")
        self._make_room(len(names))
        self._slots = {name: self._free.pop() for name in names}
        slots = np.fromiter(self._slots.values(), np.int64, len(names))
        for name in _PER_ENTITY:
            getattr(self, name)[slots] = state[name]
        self.now_ms, self.start_ms, self.step_ms = (int(value) for value in state["times"])
        self.refused = int(state["refused"])
        at = 0
        for at_ms, rows in zip(state["step_times"], state["step_rows"], strict=True):
            step = (int(at_ms), slots[rows], counts[at : at + len(rows)])
            at += len(rows)
            self._span_steps.append(step)
            self.span[step[1]] += step[2]
            self.squares[step[1]] += step[2][:, 0] ** 2
            if step[0] > self.now_ms - MINUTE_MS:
                self._minute_steps.append(step)
                self.minute[step[1]] += step[2]
