"""Which template each signature of each service is counted for, as templates come and merge.

A member is one series of the panel (service labels and signature) that has had a line; a slot is one
template of one service. When signatures turn out to be one template, slots merge: the older one goes on
with the lines of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from detectors.api.detector import SeriesName
from models.arrays import Rows
from models.logs.catalog import TemplateCatalog

Merge: TypeAlias = Callable[[int, int], None]
"""Called with two slots, older and newer, that are one from now on."""


def signature_of(name: SeriesName, label: int) -> str:
    """The signature among a series' labels; a series without labels has the empty one.

    Raises ValueError where there are labels, but not this one.
    """
    if not name:
        return ""
    if not -len(name) <= label < len(name):
        raise ValueError(f"signature_label={label} names no label of {name!r}; the first is 0, the last -1")
    return name[label]


class LogSlots:
    """Members, slots and services by number, all in the order in which they came."""

    def __init__(self, label: int) -> None:
        self._label = label
        self._member_of: dict[SeriesName, int] = {}
        self._service_of: dict[SeriesName, int] = {}
        self.signatures: list[str] = []
        self.member_service: Rows = np.zeros(0, np.int64)
        self.member_slot: Rows = np.zeros(0, np.int64)
        self.slot_service: Rows = np.zeros(0, np.int64)

    @property
    def service_count(self) -> int:
        """Services that had a line."""
        return len(self._service_of)

    @property
    def series(self) -> list[SeriesName]:
        """Names of the members, in their order."""
        return list(self._member_of)

    def members(self, series: Sequence[SeriesName]) -> Rows:
        """Rows [S], the member that each series is; -1 for one that had no line yet."""
        return np.fromiter((self._member_of.get(name, -1) for name in series), np.int64, len(series))

    def services(self, series: Sequence[SeriesName]) -> Rows:
        """Rows [S], the service of each series; -1 for one that had no line yet."""
        names = map(self._service, series)
        return np.fromiter((self._service_of.get(name, -1) for name in names), np.int64, len(series))

    def add(self, series: Sequence[SeriesName], catalog: TemplateCatalog, merge: Merge) -> list[int]:
        """Make members of series whose signatures the catalogue knows; returns the slots that are new."""
        for name in series:
            self._member_of[name] = len(self._member_of)
            self.signatures.append(signature_of(name, self._label))
        added = [
            self._service_of.setdefault(name, len(self._service_of)) for name in map(self._service, series)
        ]
        self.member_service = np.append(self.member_service, np.array(added, np.int64))
        self.member_slot = np.append(self.member_slot, np.full(len(series), -1))
        return self.regroup(catalog, merge)

    def regroup(self, catalog: TemplateCatalog, merge: Merge) -> list[int]:
        """Put each member into the slot of the template that its signature belongs to now.

        Returns the slots that are new. `merge(older, newer)` is called for slots that are one from now on;
        the newer is left without members.
        """
        roots = catalog.templates_of(self.signatures)
        new: list[int] = []
        slot_of: dict[tuple[int, int], int] = {}
        merged: dict[int, int] = {}
        for member, key in enumerate(zip(self.member_service.tolist(), roots.tolist(), strict=True)):
            slot = int(self.member_slot[member])
            if slot < 0 and key not in slot_of:
                slot = len(self.slot_service)
                self.slot_service = np.append(self.slot_service, key[0])
                new.append(slot)
            kept = slot_of.setdefault(key, slot)
            if slot not in (-1, kept):
                merged[slot] = kept
            self.member_slot[member] = kept
        for newer, older in merged.items():
            merge(older, newer)
        return new

    def services_of_signatures(self) -> dict[str, tuple[str, ...]]:
        """The services of each signature that has had a line, sorted; a service's labels joined by `, `."""
        found: dict[str, set[str]] = {}
        for name, signature in zip(self._member_of, self.signatures, strict=True):
            found.setdefault(signature, set()).add(", ".join(self._service(name)))
        return {signature: tuple(sorted(services)) for signature, services in found.items()}

    def _service(self, name: SeriesName) -> SeriesName:
        place = self._label % max(len(name), 1)
        return name[:place] + name[place + 1 :]

    def state(self) -> dict[str, Any]:
        """All of it, for `restored`."""
        return {
            "names": [list(name) for name in self._member_of],
            "member_slot": self.member_slot.copy(),
            "slot_service": self.slot_service.copy(),
        }

    @classmethod
    def restored(cls, label: int, state: Mapping[str, Any]) -> LogSlots:
        """What `state` was taken of."""
        slots = cls(label)
        for name in map(tuple, state["names"]):
            slots._member_of[name] = len(slots._member_of)
            slots.signatures.append(signature_of(name, label))
            slots._service_of.setdefault(slots._service(name), len(slots._service_of))
        slots.member_service = slots.services(list(slots._member_of))
        slots.member_slot = np.array(state["member_slot"], np.int64)
        slots.slot_service = np.array(state["slot_service"], np.int64)
        return slots
