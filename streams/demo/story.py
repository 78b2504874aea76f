"""What has happened so far: the incident, and the alerts as the worker announces them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Moment", "Story", "clock"]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, at an event time."""

    time_ms: int
    text: str


@dataclass(slots=True)
class Story:
    """The moments in the order in which they were learnt, and which alerts fired and resolved.

    fired, resolved : event time by alert, such as `availability (page)`; of its latest episode
    """

    moments: list[Moment] = field(default_factory=list)
    fired: dict[str, int] = field(default_factory=dict)
    resolved: dict[str, int] = field(default_factory=dict)
    _known: set[tuple[str, str, int]] = field(default_factory=set)

    def happen(self, time_ms: int, text: str) -> Moment:
        moment = Moment(time_ms, text)
        self.moments.append(moment)
        return moment

    def hear_alert(self, alert: Mapping[str, Any]) -> Moment | None:
        """One record of the alerts topic; None for a repeat, or a state that is no news."""
        key = (alert["fingerprint"], alert["state"], alert["starts_at_ms"])
        if key in self._known:
            return None
        self._known.add(key)
        labels = alert["labels"]
        name = f"{labels.get('slo', labels['alertname'])} ({labels.get('severity', 'alert')})"
        summary = alert["annotations"].get("summary", "")
        if alert["state"] == "firing":
            self.fired[name] = alert["at_ms"]
            self.resolved.pop(name, None)
            return self.happen(alert["at_ms"], f"ALERT FIRING: {name} {summary}".rstrip())
        if alert["state"] == "resolved":
            self.resolved[name] = alert["at_ms"]
            return self.happen(alert["at_ms"], f"ALERT RESOLVED: {name}")
        return None

    def firing(self) -> list[str]:
        """Alerts that have fired and not resolved."""
        return [name for name in self.fired if name not in self.resolved]

    def summary(self) -> str:
        """The last line of the demo: what was seen."""
        if not self.fired:
            return "No alert fired."
        parts = []
        for name, fired_ms in self.fired.items():
            resolved_ms = self.resolved.get(name)
            end = "still firing" if resolved_ms is None else f"resolved at {clock(resolved_ms)}"
            parts.append(f"Alert {name}: fired at {clock(fired_ms)}, {end}.")
        return " ".join(parts)


def clock(time_ms: float) -> str:
    """An event time as the demo writes it: hours to seconds in UTC."""
    return time.strftime("%H:%M:%S", time.gmtime(time_ms / 1_000))
