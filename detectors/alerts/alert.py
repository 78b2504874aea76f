"""An alert as a value: who it is, what state it is in, and the evidence for it.

Guarantee: the fingerprint depends on the labels alone and is the one that Alertmanager itself computes
for them (FNV-1a over the sorted labels), so that an alert is found there under the same name. An alert's
episode is (fingerprint, starts_at_ms); each of its states is announced once, under the natural key
(fingerprint, state, starts_at_ms), by which readers drop repeats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["inactive", "firing", "resolved"]

Key: TypeAlias = tuple[str, State, int]
"""Fingerprint, state, start: what makes an announcement the same as another."""

_FNV_OFFSET = 14695981039346656037
_FNV_PRIME = 1099511628211
_SEPARATOR = b"\xff"


def fingerprint(labels: Mapping[str, str]) -> str:
    """Sixteen hexadecimal digits for a set of labels, whatever their order.

    Source: `labelSetToFingerprint` in github.com/prometheus/common, model/signature.go.

    >>> fingerprint({"alertname": "ErrorBudgetBurn", "slo": "a"})
    'd3351c9c21e1a7f5'
    """
    hashed = _FNV_OFFSET
    encoded = sorted((name.encode(), value.encode("utf-8", "replace")) for name, value in labels.items())
    for byte in b"".join(name + _SEPARATOR + value + _SEPARATOR for name, value in encoded):
        hashed = ((hashed ^ byte) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return f"{hashed:016x}"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert in one state.

    labels       : identify it, `alertname` and `severity` included; no empty values
    annotations  : for people: `summary`, `description`, and what the SLO's file adds (`runbook_url`)
    starts_at_ms : event time at which its condition became true
    ends_at_ms   : event time at which it was resolved, else None
    value        : burn rates by window (`{"1h": 20.5}`), or what else was measured
    evidence     : window counts, source partitions and offsets, hash of the configuration; JSON-able
    """

    fingerprint: str
    state: State
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at_ms: int
    ends_at_ms: int | None = None
    value: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def alertname(self) -> str:
        return self.labels["alertname"]

    @property
    def key(self) -> Key:
        return (self.fingerprint, self.state, self.starts_at_ms)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` gives an equal alert."""
        return {
            "fingerprint": self.fingerprint,
            "alertname": self.alertname,
            "state": self.state,
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "starts_at_ms": self.starts_at_ms,
            "ends_at_ms": self.ends_at_ms,
            "value": dict(self.value),
            "evidence": dict(self.evidence),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Alert:
        return cls(**{name: value for name, value in stored.items() if name != "alertname"})


@dataclass(frozen=True, slots=True)
class Transition:
    """An alert that has just entered a state.

    at_ms    : the judged instant (event time), or the clock's for alerts about missing events
    previous : the state it left
    """

    at_ms: int
    previous: State
    alert: Alert

    @classmethod
    def resolved(cls, at_ms: int, alert: Alert, **measured: Any) -> Transition:
        """The end of a firing alert; `measured` replaces what it said of its value and evidence."""
        return cls(at_ms, "firing", replace(alert, state="resolved", ends_at_ms=at_ms, **measured))

    @property
    def key(self) -> Key:
        return self.alert.key

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: the alert with the instant and the state it left."""
        return {"at_ms": self.at_ms, "previous": self.previous, **self.alert.to_dict()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Transition:
        """The transition whose `to_dict` this was."""
        alert = {name: value for name, value in stored.items() if name not in ("at_ms", "previous")}
        return cls(int(stored["at_ms"]), stored["previous"], Alert.from_dict(alert))
