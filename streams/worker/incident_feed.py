"""Incidents: what all workers announce in the alerts topic, grouped by service, time and cause.

Every worker reads the alerts of the last day, which are few, and so knows all incidents; the owner of the
first partition announces them. A takeover or a restart groups the same alerts again. An incident that is
announced twice has the same key, state and count.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from detectors.alerts.alert import Transition
from detectors.alerts.incident import Anomaly, Incident
from detectors.alerts.incidents import IncidentBook
from detectors.api.detector import SEVERITIES
from models.calendar.units import DAY_MS

logger = logging.getLogger(__name__)

LOOKBACK_MS = DAY_MS
"""How far back alerts are read at a start; what an older one still belongs to is a new incident then."""


class IncidentFeed:
    """The book of incidents, fed by the alerts topic.

    book : an empty one
    """

    def __init__(self, book: IncidentBook) -> None:
        self.book = book
        self.refused = 0
        """Records that are no alerts."""
        self._waiting: list[Anomaly] = []
        self._caught_up = False
        self._at_ms = 0

    def handle(self, _key: bytes | None, value: bytes | None) -> None:
        """Take in a record of the alerts topic."""
        if value is None:
            return
        try:
            moved = Transition.from_dict(msgspec.json.decode(value))
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
            self.refused += 1
            logger.error("A record of the alerts topic is not an alert: %s", error)
            return
        if moved.alert.state in ("firing", "resolved"):
            self._waiting.append(Anomaly.of_transition(moved))
            self._at_ms = max(self._at_ms, moved.at_ms)

    def caught_up(self) -> None:
        """All that there was has been read."""
        self._caught_up = True

    def step(self, event_time_ms: int) -> list[Incident]:
        """Group what has come; returns what changed, nothing before all there was has been read.

        event_time_ms : up to which events are known, by which incidents end
        """
        if not self._caught_up:
            return []
        self._at_ms = max(self._at_ms, event_time_ms)
        waiting, self._waiting = self._waiting, []
        return self.book.step(self._at_ms, waiting)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: the open incidents, and those that have ended, the latest first."""
        return {
            "open": [incident.to_dict() for incident in self.book.open()],
            "closed": [incident.to_dict() for incident in reversed(self.book.history())],
        }

    def counts(self) -> Mapping[str, int]:
        """Open incidents by severity."""
        return Counter(SEVERITIES[incident.severity] for incident in self.book.open())
