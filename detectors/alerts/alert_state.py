"""State machines of error-budget alerts: inactive, firing, resolved, in event time.

Guarantees:
- The book is a function of the steps it was given: no clock, no randomness. `load(state())` goes on
  exactly as the original would, also through JSON.
- Steps of an SLO come in the order of event time; each is the end of a sealed bucket.
- Missing data changes nothing: a group without traffic and a group whose series is not there keep their
  alerts as they are. Only when a whole SLO window has passed without data of the group, so that nothing is
  left to judge, its alert ends.
- The stored state changes only when something happens, not from step to step while an alert fires.
- Tiers of one severity are one alert: a person is paged once, whichever pair of windows saw it.

Only alerts that are not inactive are objects; a step over S groups is a few array operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from detectors.alerts.alert import Alert, Transition, fingerprint
from detectors.alerts.alert_track import NEVER, Group, Track
from detectors.alerts.burn_alert import burn_annotations, burn_evidence, burn_labels, burn_values
from detectors.slo.burn_rate import Verdicts
from detectors.slo.slo import Slo
from models.arrays import Mask
from models.calendar.units import MINUTE_MS

EvidenceOf: TypeAlias = Callable[[int], Mapping[str, Any]]
"""Series to what the caller knows of where its counts come from; asked for transitions only."""

KEEP_MS = MINUTE_MS
"""How long the burn must have been over before an alert resolves: a minute, so that a ratio which wavers
about its threshold from bucket to bucket does not notify at each turn. It adds little to the time that
the short window needs to forget the incident."""


def _no_evidence(_series: int) -> Mapping[str, Any]:
    return {}


class _Name(NamedTuple):
    slo: str
    objective: str
    severity: str


class AlertBook:
    """All live alerts of some SLOs; one book per owner of series (a partition, or a whole replay).

    keep_ms : how long the burn must be over before the alert resolves
    """

    def __init__(self, *, keep_ms: int = KEEP_MS) -> None:
        assert keep_ms >= 0
        self._keep_ms = keep_ms
        self._tracks: dict[_Name, Track] = {}
        self.revision = 0
        """Grows whenever `state()` would give something else, so that it need not be asked otherwise."""

    @property
    def live_count(self) -> int:
        """Number of firing alerts."""
        return sum(len(track) for track in self._tracks.values())

    def step(
        self,
        at_ms: int,
        slo: Slo,
        labels_of: Callable[[int], Group],
        verdicts: Verdicts,
        evidence_of: EvidenceOf = _no_evidence,
    ) -> list[Transition]:
        """Judge the instant `at_ms` and return what changed.

        labels_of   : series index to the values of `slo.group_by`
        evidence_of : series index to JSON-able evidence that is kept with the alert
        """
        moved: list[Transition] = []
        for severity in dict.fromkeys(tier.severity for tier in slo.tiers):
            tiers = [index for index, tier in enumerate(slo.tiers) if tier.severity == severity]
            firing = _any(verdicts.firing[tiers])
            track = self._tracks.setdefault(_Name(slo.name, slo.objective, severity), Track(slo.source))
            track.place(labels_of, verdicts.series_count)
            # Before alerts end: one that ends in this step does not burn, so it cannot begin in it.
            fresh = _without(firing, track)
            gone, changed = track.advance(
                at_ms,
                burning=_any(verdicts.burning[tiers]),
                absent=_any(verdicts.absent[tiers]),
                keep_ms=self._keep_ms,
                window_ms=slo.window_ms,
            )
            scene = _Scene(slo, severity, verdicts, evidence_of)
            moved += [
                Transition.resolved(at_ms, track.alerts[index], **scene.measured(int(track.rows[index])))
                for index in np.flatnonzero(gone).tolist()
            ]
            track.remove(gone)
            moved += self._begin(at_ms, fresh, labels_of, track, scene)
            self.revision += changed
        self.revision += len(moved)
        return moved

    def _begin(
        self, at_ms: int, fresh: Mask, labels_of: Callable[[int], Group], track: Track, scene: _Scene
    ) -> list[Transition]:
        entries: list[tuple[Group, Alert, int, int, int]] = []
        for row in np.flatnonzero(fresh).tolist():
            group = labels_of(row)
            labels = burn_labels(scene.slo, scene.severity, group)
            entries.append((group, scene.announce(labels, row, at_ms), row, NEVER, NEVER))
        track.extend(entries)
        return [Transition(at_ms, "inactive", alert) for _, alert, *_ in entries]

    def retire(self, at_ms: int, slos: Iterable[Slo]) -> list[Transition]:
        """End the alerts of SLOs and severities that the configuration no longer has; `slos` are the rest."""
        kept = {_Name(slo.name, slo.objective, tier.severity) for slo in slos for tier in slo.tiers}
        gone = [name for name in self._tracks if name not in kept]
        moved = [
            Transition.resolved(at_ms, alert) for name in gone for alert in self._tracks.pop(name).alerts
        ]
        self.revision += len(moved)
        return moved

    def active(self) -> list[Alert]:
        """The firing alerts, ordered by fingerprint."""
        found = [alert for track in self._tracks.values() for alert in track.alerts]
        return sorted(found, key=lambda alert: alert.fingerprint)

    def state(self) -> list[dict[str, Any]]:
        """Everything the book knows, JSON-able: a row for each live alert."""
        return [
            {"kind": "alert", **name._asdict(), **row}
            for name, track in self._tracks.items()
            for row in track.stored()
        ]

    @classmethod
    def load(cls, state: Iterable[Mapping[str, Any]], *, keep_ms: int = KEEP_MS) -> AlertBook:
        """The book whose `state()` this was."""
        book = cls(keep_ms=keep_ms)
        for row in state:
            name = _Name(row["slo"], row["objective"], row["severity"])
            book._tracks.setdefault(name, Track(row["source"])).restore(row)
        return book


@dataclass(frozen=True, slots=True)
class _Scene:
    """What alerts of one severity are described from in one step."""

    slo: Slo
    severity: str
    verdicts: Verdicts
    evidence_of: EvidenceOf

    def measured(self, row: int) -> dict[str, Any]:
        """Burn rates and evidence of a series; nothing new where it is not there."""
        if row < 0:
            return {}
        evidence = burn_evidence(self.slo, self.verdicts, row, self.severity)
        return {
            "value": burn_values(self.verdicts, row),
            "evidence": {**evidence, **self.evidence_of(row)},
        }

    def announce(self, labels: Mapping[str, str], row: int, at_ms: int) -> Alert:
        words = burn_annotations(self.slo, self.verdicts, row, self.severity)
        return Alert(fingerprint(labels), "firing", labels, words, at_ms, **self.measured(row))


def _any(masks: Mask) -> Mask:
    """True where any of the tiers is: Mask [tiers, S] to Mask [S]."""
    result: Mask = np.logical_or.reduce(masks, axis=0)
    return result


def _without(firing: Mask, track: Track) -> Mask:
    fresh = firing.copy()
    fresh[track.rows[track.rows >= 0]] = False
    return fresh
