"""Anomalies that share service, time and cause become one incident, whichever detector found them.

An anomaly joins an open incident if all of this holds:
- service: theirs is the same, one is upstream of the other, or both name a common upstream. Where a detector
  knows no service, its source stands for it, and joins what was found in the same source;
- time: the incident has an anomaly that lasts, or its last one began or ended at most `gap_ms` before;
- cause: they share a feature in the same direction, a kind in the same direction, or a label, or one of them
  holds an error budget alert, which is what any other cause may lead to.
Incidents that an anomaly belongs to at once turn out to be one: the younger are merged into the oldest.

Guarantees:
- The book is a function of the anomalies: no clock, no randomness. Beginnings and ends are taken in their
  own order of time, however they are spread over steps, in whatever order within one; announced again, they
  change nothing. So reading the same announcements anew groups them as before, as long as none comes in a
  step after that of a later one. `load(state())` goes on as the original would.
- Memory is bounded: `OPEN_MAX` open incidents, `HISTORY_MAX` past ones, `ANOMALIES_MAX` anomalies kept of
  each, and keys of `REMEMBER_MS`.
- An incident closes once nothing of it lasts and nothing has joined it for `quiet_ms`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

from detectors.alerts.alert import Transition
from detectors.alerts.incident import SLO, Anomaly, Incident, Nearest, similarity, together
from models.calendar.units import DAY_MS

GAP_MS = 300_000
"""Five minutes: the short window of a page's burn rate, behind which its alert may lag an anomaly."""

QUIET_MS = 900_000
OPEN_MAX = 1_000
HISTORY_MAX = 500
ANOMALIES_MAX = 50
"""Anomalies of an incident that are kept as they were; the others are counted."""

REMEMBER_MS = DAY_MS
KEYS_MAX = 100_000
"""Keys of anomalies that are remembered, for a day at most, so that repeats are known."""

SIMILARITY_MIN = 0.5
"""Below it a past incident is not worth naming."""


class IncidentBook:
    """Open and past incidents.

    upstreams : service to the services it depends on
    gap_ms    : between what belongs together
    quiet_ms  : after which an incident closes; at least `gap_ms`
    """

    def __init__(
        self,
        *,
        upstreams: Mapping[str, Collection[str]] | None = None,
        gap_ms: int = GAP_MS,
        quiet_ms: int = QUIET_MS,
    ) -> None:
        if not 0 <= gap_ms <= quiet_ms:
            raise ValueError(f"gap_ms={gap_ms}, quiet_ms={quiet_ms}; expected 0 <= gap_ms <= quiet_ms")
        self._reach = {
            service: frozenset({service, *upstream}) for service, upstream in (upstreams or {}).items()
        }
        self._gap_ms = gap_ms
        self._quiet_ms = quiet_ms
        self._open: dict[str, Incident] = {}
        self._history: dict[str, Incident] = {}
        self._begun: dict[str, int] = {}
        self._ended: dict[str, int] = {}

    def open(self) -> list[Incident]:
        """Open incidents, the oldest first."""
        return sorted(self._open.values(), key=_age)

    def history(self) -> list[Incident]:
        """Closed incidents, in the order of their closing."""
        return list(self._history.values())

    def step(self, at_ms: int, anomalies: Iterable[Anomaly]) -> list[Incident]:
        """Take in what began or ended up to `at_ms`; returns the incidents that changed, the oldest first.

        Steps come in order of time. An anomaly is announced when it begins, and again when it ends.
        """
        changed: set[str] = set()
        gone: list[Incident] = []
        for event_ms, begins, anomaly in sorted(_events(anomalies), key=_order):
            if anomaly.key in (self._begun if begins else self._ended):
                continue
            gone += self._close(event_ms)
            if begins:
                self._begun[anomaly.key] = event_ms
                changed.add(self._join(anomaly, gone))
            else:
                self._ended[anomaly.key] = event_ms
                changed |= self._end(anomaly, event_ms)
        gone += self._close(at_ms)
        self._expire(at_ms)
        return sorted([*gone, *(self._open[name] for name in changed & self._open.keys())], key=_age)

    def _join(self, anomaly: Anomaly, gone: list[Incident]) -> str:
        """Put a new anomaly where it belongs; returns the id of that. Others that end by it go to `gone`."""
        alone = Incident.of(replace(anomaly, ends_at_ms=None))
        akin = sorted((one for one in self._open.values() if self._belong(one, alone)), key=_age)
        whole = together([*akin, alone], anomalies_max=ANOMALIES_MAX)
        if akin:
            # An anomaly told late may have begun before the incident; the name stays.
            whole = replace(whole, id=akin[0].id, service=akin[0].service)
        for younger in akin[1:]:
            del self._open[younger.id]
            gone.append(
                replace(younger, state="merged", live=(), ends_at_ms=anomaly.at_ms, merged_into=whole.id)
            )
        self._open[whole.id] = replace(whole, nearest=self._nearest(whole))
        if len(self._open) > OPEN_MAX:
            oldest = min(self._open.values(), key=lambda one: (one.last_ms, one.id))
            gone.append(self._closed(oldest, anomaly.at_ms))
        return whole.id

    def _belong(self, incident: Incident, anomaly: Incident) -> bool:
        return (
            self._overlap(incident, anomaly)
            and self._same_service(incident, anomaly)
            and _same_cause(incident, anomaly)
        )

    def _overlap(self, incident: Incident, anomaly: Incident) -> bool:
        begins, ends = anomaly.starts_at_ms, anomaly.last_ms
        before_end = bool(incident.live) or begins <= incident.last_ms + self._gap_ms
        after_start = bool(anomaly.live) or ends >= incident.starts_at_ms - self._gap_ms
        return before_end and after_start

    def _same_service(self, incident: Incident, anomaly: Incident) -> bool:
        if self._reached(incident) & self._reached(anomaly):
            return True
        # A service that is the source itself stands for one that is not known.
        unknown = set(incident.services) & set(incident.sources) or anomaly.service in anomaly.sources
        return bool(unknown) and bool(set(incident.sources) & set(anomaly.sources))

    def _reached(self, incident: Incident) -> set[str]:
        found = set(incident.services)
        for service in incident.services:
            found |= self._reach.get(service, frozenset())
        return found

    def _end(self, anomaly: Anomaly, at_ms: int) -> set[str]:
        for name, incident in self._open.items():
            if anomaly.key in incident.live:
                self._open[name] = replace(
                    incident,
                    live=tuple(key for key in incident.live if key != anomaly.key),
                    last_ms=max(incident.last_ms, at_ms),
                )
                return {name}
        return set()

    def _close(self, at_ms: int) -> list[Incident]:
        """Close what has been quiet up to now for long enough, in the order of its end."""
        over = [one for one in self._open.values() if not one.live and one.last_ms + self._quiet_ms <= at_ms]
        over.sort(key=lambda one: (one.last_ms, one.id))
        return [self._closed(one, one.last_ms + self._quiet_ms) for one in over]

    def _closed(self, incident: Incident, at_ms: int) -> Incident:
        """Move an open incident to the past."""
        del self._open[incident.id]
        ended = replace(incident, state="closed", live=(), ends_at_ms=at_ms)
        self._history.pop(ended.id, None)
        self._history[ended.id] = ended
        while len(self._history) > HISTORY_MAX:
            del self._history[next(iter(self._history))]
        return ended

    def _nearest(self, incident: Incident) -> Nearest | None:
        """The past incident most like this one, the latest of equals; None if none is like it."""
        best: Nearest | None = None
        for past in self._history.values():
            alike = similarity(incident.about, past.about)
            if alike >= (SIMILARITY_MIN if best is None else best.similarity):
                best = Nearest(past.id, alike)
        return best

    def _expire(self, at_ms: int) -> None:
        live = {key for incident in self._open.values() for key in incident.live}
        for keys in (self._begun, self._ended):
            old = [key for key, since in keys.items() if since < at_ms - REMEMBER_MS and key not in live]
            old += [key for key in keys if key not in live][: max(0, len(keys) - KEYS_MAX)]
            for key in old:
                keys.pop(key, None)

    def state(self) -> dict[str, Any]:
        """Everything the book knows, JSON-able."""
        return {
            "open": [one.to_dict() for one in self._open.values()],
            "history": [one.to_dict() for one in self._history.values()],
            "begun": dict(self._begun),
            "ended": dict(self._ended),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self._open = {one["id"]: Incident.from_dict(one) for one in state["open"]}
        self._history = {one["id"]: Incident.from_dict(one) for one in state["history"]}
        self._begun = dict(state["begun"])
        self._ended = dict(state["ended"])


def incidents_of(transitions: Iterable[Transition], book: IncidentBook | None = None) -> list[Incident]:
    """The incidents of a whole past, the oldest first: each as it was at the end.

    transitions : of alerts and anomalies, in any order
    book        : an empty one; one with the defaults if left out
    """
    book = IncidentBook() if book is None else book
    last: dict[str, Incident] = {}
    told = [moved for moved in transitions if moved.alert.state in ("firing", "resolved")]
    for at_ms, together_told in groupby(sorted(told, key=_instant), key=_instant):
        for incident in book.step(at_ms, [Anomaly.of_transition(moved) for moved in together_told]):
            last[incident.id] = incident
    return sorted(last.values(), key=_age)


def _instant(moved: Transition) -> int:
    return moved.at_ms


def _same_cause(one: Incident, other: Incident) -> bool:
    """Whether they share a feature or a kind in the same direction, or a label, or one tells of a budget."""
    if SLO in one.detectors or SLO in other.detectors:
        return True
    return bool(one.about.keys() & other.about.keys()) or bool(set(one.shared) & set(other.shared))


def _events(anomalies: Iterable[Anomaly]) -> Iterator[tuple[int, bool, Anomaly]]:
    """When an anomaly began, and when it ended, if it has: the time, whether it began, and the anomaly."""
    for anomaly in anomalies:
        yield anomaly.at_ms, True, anomaly
        if anomaly.ends_at_ms is not None:
            yield max(anomaly.at_ms, anomaly.ends_at_ms), False, anomaly


def _order(event: tuple[int, bool, Anomaly]) -> tuple[int, bool, str]:
    """By time; at one time, beginnings come first."""
    at_ms, begins, anomaly = event
    return (at_ms, not begins, anomaly.key)


def _age(incident: Incident) -> tuple[int, str]:
    return (incident.starts_at_ms, incident.id)
