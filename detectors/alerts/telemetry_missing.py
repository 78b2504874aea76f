"""The alert that says that nothing can be said: a source whose events are missing or lag.

It runs on the clock, not on event time, since event time is what stands still. The clock is an argument.
A source is stale when its event time lies more than `missing_after_ms` behind the clock; its alerts stay as
they are then, since they are judged in event time. The alert itself also waits that long from the start of
the process, so that a worker which is catching up after a restart does not announce its own absence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from detectors.alerts.alert import Alert, Transition, fingerprint
from detectors.slo.slo import Slo

ALERTNAME = "TelemetryMissing"
SEVERITY = "ticket"
"""Not a page: a source may rightly be silent at night. Route it by its label where it may not."""

MISSING_AFTER_MS = 300_000


class TelemetryMissing:
    """Watches the sources of some SLOs.

    slos             : the SLOs; sources without one are not watched
    clock            : gives the time now, in ms since 1970
    missing_after_ms : how far event time may lag
    """

    def __init__(
        self,
        slos: Iterable[Slo],
        *,
        clock: Callable[[], int],
        missing_after_ms: int = MISSING_AFTER_MS,
    ) -> None:
        assert missing_after_ms > 0
        self._clock = clock
        self._missing_after_ms = missing_after_ms
        self._started_ms = clock()
        self._slos: dict[str, list[Slo]] = {}
        for slo in slos:
            self._slos.setdefault(slo.source, []).append(slo)
        self._firing: dict[str, Alert] = {}

    def stale(self, event_time_ms: Mapping[str, int | None]) -> dict[str, str]:
        """Watched sources that lag now, and why in words.

        event_time_ms : by source, the time up to which events are known; None before the first
        """
        now_ms = self._clock()
        reasons: dict[str, str] = {}
        for source in self._slos:
            newest = event_time_ms.get(source)
            if newest is None:
                reasons[source] = "no event has been read yet"
            elif now_ms - newest > self._missing_after_ms:
                reasons[source] = f"the newest event is {(now_ms - newest) / 1000.0:.0f} s old"
        return reasons

    def check(self, event_time_ms: Mapping[str, int | None]) -> list[Transition]:
        """Return the alerts that begin or end now; `event_time_ms` as for `stale`."""
        now_ms = self._clock()
        reasons = self.stale(event_time_ms)
        moved: list[Transition] = []
        for source, slos in self._slos.items():
            since_ms = max(event_time_ms.get(source) or 0, self._started_ms) + self._missing_after_ms
            firing = self._firing.get(source)
            if source in reasons and firing is None and now_ms > since_ms:
                alert = _alert(source, slos, since_ms, reasons[source])
                self._firing[source] = alert
                moved.append(Transition(now_ms, "inactive", alert))
            elif source not in reasons and firing is not None:
                del self._firing[source]
                moved.append(Transition.resolved(now_ms, firing))
        return moved

    def active(self) -> list[Alert]:
        """The firing alerts, ordered by source."""
        return [self._firing[source] for source in sorted(self._firing)]

    def state(self) -> list[dict[str, Any]]:
        """The firing alerts, JSON-able."""
        return [alert.to_dict() for alert in self.active()]

    def load(self, state: Iterable[Mapping[str, Any]]) -> None:
        """Take over the firing alerts of an earlier process, of sources that are still watched."""
        for stored in state:
            alert = Alert.from_dict(stored)
            if alert.labels["source"] in self._slos:
                self._firing[alert.labels["source"]] = alert


def _alert(source: str, slos: Sequence[Slo], since_ms: int, reason: str) -> Alert:
    labels = {"alertname": ALERTNAME, "severity": SEVERITY, "source": source}
    services = {slo.service for slo in slos}
    if len(services) == 1:
        labels["service"] = services.pop()
    names = sorted({slo.name for slo in slos})
    return Alert(
        fingerprint(labels),
        "firing",
        labels,
        {
            "summary": f"No recent events of source {source}",
            "description": (
                f"{reason[0].upper()}{reason[1:]}. Alerts of {', '.join(names)} are frozen: they neither "
                "fire nor resolve until events come again."
            ),
        },
        since_ms,
        evidence={"source": source, "slos": names},
    )
