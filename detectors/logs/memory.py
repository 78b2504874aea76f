"""All that the judgement of log templates remembers, with its state for a restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from detectors.api.detector import SeriesName
from detectors.calibration.tail_excess import TailExcess
from detectors.logs.rates import Episodes, LogRates, Members, ServiceRates
from detectors.logs.slots import LogSlots, signature_of
from models.arrays import Counts, EpochMs, Mask, Rows
from models.calendar.units import MINUTE_MS
from models.logs.catalog import TemplateCatalog
from models.logs.reviews import Review


class LogMemory:
    """Templates, who counts for which, and what is known of each.

    Rows of `rates` and `episodes` are slots (a template of a service), those of `services` and `mixes`
    services, those of `members` series, all as `slots` numbers them.
    """

    def __init__(self, label: int) -> None:
        self.label = label
        self.catalog = TemplateCatalog()
        self.slots = LogSlots(label)
        self.members = Members.empty()
        self.rates = LogRates.empty()
        self.episodes = Episodes.empty()
        self.services = ServiceRates.empty()
        self.mixes = Episodes.empty()
        self.tails = TailExcess()
        self.step_ms = float(MINUTE_MS)
        self._stepped = False
        self.last_ms = 0
        self.ignored: Mask = np.zeros(0, np.bool_)
        """Mask [K], slots that a review said are not to be judged."""

    def move_to(self, time_ms: int) -> None:
        """A step ends at `time_ms`; the shortest distance of two steps is their length, so that gaps are
        none."""
        if self.last_ms:
            gap = float(time_ms - self.last_ms)
            self.step_ms = min(gap, self.step_ms) if self._stepped else gap
            self._stepped = True
        self.last_ms = time_ms

    def add(self, series: Sequence[SeriesName], time_ms: int) -> Rows:
        """Series that have their first line now, in an order that does not depend on the panel's.

        Returns the slots that are new, Rows [N].
        """
        signatures = [signature_of(name, self.label) for name in series]
        nothing = np.zeros(len(series), np.int64)
        self.catalog.observe(signatures, nothing, nothing + time_ms)
        new = self.slots.add(series, self.catalog, self._merge)
        self._grow(time_ms)
        return np.array(new, np.int64)

    def count_lines(self, series: Sequence[SeriesName], lines: Counts, times_ms: EpochMs) -> None:
        """Lines Counts [S] of series, the last of each at EpochMs [S], into the catalogue."""
        self.catalog.observe([signature_of(name, self.label) for name in series], lines, times_ms)

    def review(self, reviews: Iterable[Review]) -> None:
        """Take decisions about templates over; raises ValueError for an id of no template."""
        self.catalog.review(reviews)
        self._regroup()

    def decide(self, reviews: Iterable[Review]) -> bool:
        """Take a whole review over; see `TemplateCatalog.decide`."""
        changed = self.catalog.decide(reviews)
        if changed:
            self._regroup()
        return changed

    def _regroup(self) -> None:
        self.slots.regroup(self.catalog, self._merge)
        self._grow(self.last_ms)

    def adopt(self, other: LogMemory) -> None:
        """Take over the catalogue and the tails of another, and what it knows of series that are not known
        here; what is going on there is not."""
        self.catalog.adopt(other.catalog)
        self.tails = TailExcess(*other.tails.state())
        if not self._stepped:
            self.step_ms, self._stepped = other.step_ms, other._stepped
        self.slots.regroup(self.catalog, self._merge)
        before = self.slots.service_count
        known = set(self.slots.series)
        unknown = [name for name in other.slots.series if name not in known]
        slots = self.slots.add(unknown, self.catalog, self._merge)
        self._grow(self.last_ms)
        mine, theirs = self.slots.members(unknown), other.slots.members(unknown)
        self.members.copy_rows(mine, other.members, theirs)
        services = self.slots.member_service[mine]
        fresh = services >= before
        self.services.copy_rows(services[fresh], other.services, other.slots.member_service[theirs[fresh]])
        added = np.isin(self.slots.member_slot[mine], slots)
        rows = self.slots.member_slot[mine[added]]
        self.rates.copy_rows(rows, other.rates, other.slots.member_slot[theirs[added]])
        # That nothing came since the other last looked is no silence.
        self.rates.silent[rows] = self.rates.log_p[rows] = 0.0

    def _grow(self, time_ms: int) -> None:
        self.members.grow(len(self.slots.member_slot))
        self.rates.grow(len(self.slots.slot_service))
        self.episodes.grow(len(self.slots.slot_service))
        known = len(self.services)
        self.services.grow(self.slots.service_count)
        self.mixes.grow(self.slots.service_count)
        self.services.first_ms[known:] = time_ms
        names = self.catalog.ignored()
        self.ignored = np.zeros(len(self.rates), np.bool_)
        if names:
            ignored = [signature in names for signature in self.slots.signatures]
            self.ignored[self.slots.member_slot[ignored]] = True

    def _merge(self, older: int, newer: int) -> None:
        self.rates.merge(older, newer)
        self.episodes.clear(newer)

    def state(self) -> dict[str, Any]:
        """All of it, for `restored`."""
        return {
            "catalog": self.catalog.state(),
            "slots": self.slots.state(),
            "members": self.members.state(),
            "rates": self.rates.state(),
            "episodes": self.episodes.state(),
            "services": self.services.state(),
            "mixes": self.mixes.state(),
            "tails": self.tails.state(),
            "step_ms": self.step_ms,
            "stepped": self._stepped,
            "last_ms": self.last_ms,
        }

    @classmethod
    def restored(cls, label: int, state: Mapping[str, Any]) -> LogMemory:
        """What `state` was taken of."""
        memory = cls(label)
        memory.catalog = TemplateCatalog.restored(state["catalog"])
        memory.slots = LogSlots.restored(label, state["slots"])
        memory.members = Members.restored(state["members"])
        memory.rates = LogRates.restored(state["rates"])
        memory.episodes = Episodes.restored(state["episodes"])
        memory.services = ServiceRates.restored(state["services"])
        memory.mixes = Episodes.restored(state["mixes"])
        memory.tails = TailExcess(*map(float, state["tails"]))
        memory.step_ms = float(state["step_ms"])
        memory._stepped = bool(state["stepped"])
        memory.last_ms = int(state["last_ms"])
        memory._grow(memory.last_ms)
        return memory
