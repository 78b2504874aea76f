"""State machines of anomalies: what a detector's verdicts of one step begin, keep up and end.

Guarantees:
- One alert for each series while its anomaly lasts, whatever the steps between say; another joins it only if
  the anomaly becomes more severe. Those of severity `info` are for the record and alert no one.
- It ends once `keep_steps` steps in a row have passed in which the series was not found anomalous, be it
  that it was normal or that nothing could be said of it any more.
- The book is a function of the steps it was given: no clock, no randomness. `load(state())` goes on exactly
  as the original would, also through JSON.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from detectors.alerts.alert import Alert, Transition, fingerprint
from detectors.alerts.names import label_names
from detectors.api.detector import INFO, SEVERITIES, Panel, SeriesName, Verdicts

EvidenceOf: TypeAlias = Callable[[SeriesName], Mapping[str, Any]]
"""Series to what the caller knows of where its events are; asked for transitions only."""

CONTRIBUTIONS_MAX = 5

KEEP_STEPS = 3
"""Normal steps in a row that end an anomaly, so that one which flickers does not notify at each turn."""

_OWN_LABELS = ("alertname", "detector", "source", "kind", "severity", "service")
_WORDS = {1: "above", -1: "below", 0: "unlike"}


@dataclass(frozen=True, slots=True)
class Naming:
    """What the alerts of one detector on one source are called.

    label_columns : what the values of a series' name are
    service       : the column among them that names the service, or None
    """

    alertname: str
    detector: str
    source: str
    label_columns: Sequence[str]
    service: str | None = None

    def labels(self, series: SeriesName, kind: str, severity: str) -> dict[str, str]:
        """Labels of an alert; empty values are left out."""
        columns = [column for column in self.label_columns if column != self.service]
        values = [
            value for column, value in zip(self.label_columns, series, strict=True) if column in columns
        ]
        labels = {
            "alertname": self.alertname,
            "detector": self.detector,
            "source": self.source,
            "kind": kind,
            "severity": severity,
            "service": self.service_of(series),
            **dict(zip(label_names(columns, _OWN_LABELS), values, strict=True)),
        }
        return {name: value for name, value in labels.items() if value}

    def service_of(self, series: SeriesName) -> str:
        """The service that a series belongs to, the source where none is told."""
        if self.service is None or self.service not in self.label_columns:
            return self.source
        return series[list(self.label_columns).index(self.service)] or self.source


class AnomalyBook:
    """All live anomalies of one detector.

    keep_steps : steps in a row without it that end an anomaly
    """

    def __init__(self, naming: Naming, *, keep_steps: int = KEEP_STEPS) -> None:
        assert keep_steps > 0
        self._naming = naming
        self._keep_steps = keep_steps
        self._live: dict[tuple[SeriesName, int], _Live] = {}

    @property
    def live_count(self) -> int:
        return len(self._live)

    def active(self) -> list[Alert]:
        """The firing alerts, ordered by fingerprint."""
        return sorted((live.alert for live in self._live.values()), key=lambda alert: alert.fingerprint)

    def step(
        self,
        panel: Panel,
        verdicts: Verdicts,
        evidence_of: EvidenceOf,
        reasons: Mapping[SeriesName, Sequence[str]] = MappingProxyType({}),
    ) -> list[Transition]:
        """Take in the verdicts of a panel of one step; returns what changed.

        reasons : why a series was flagged, in words, where the detector has some
        """
        assert len(panel) == 1
        at_ms = int(panel.times[0])
        alarm = verdicts.alarm[0] & (verdicts.severity[0] >= INFO)
        moved = self._end(at_ms, panel, verdicts, alarm)
        for row in np.flatnonzero(alarm).tolist():
            series, severity = panel.series[row], int(verdicts.severity[0, row])
            if any((series, worse) in self._live for worse in range(severity, len(SEVERITIES))):
                continue
            told = reasons.get(series, ())
            alert = self._begin(at_ms, panel, verdicts, row, evidence_of(series), told)
            self._live[series, severity] = _Live(alert)
            moved.append(Transition(at_ms, "inactive", alert))
        return moved

    def _end(
        self, at_ms: int, panel: Panel, verdicts: Verdicts, alarm: np.ndarray[Any, Any]
    ) -> list[Transition]:
        if not self._live:
            return []
        place = {series: row for row, series in enumerate(panel.series)}
        moved = []
        for key, live in list(self._live.items()):
            row = place.get(key[0])
            live.calm = 0 if row is not None and alarm[row] else live.calm + 1
            if live.calm >= self._keep_steps:
                del self._live[key]
                moved.append(Transition.resolved(at_ms, live.alert))
        return moved

    def _begin(
        self,
        at_ms: int,
        panel: Panel,
        verdicts: Verdicts,
        row: int,
        evidence: Mapping[str, Any],
        reasons: Sequence[str],
    ) -> Alert:
        series = panel.series[row]
        kind, severity = str(verdicts.kind[0, row]), SEVERITIES[int(verdicts.severity[0, row])]
        labels = self._naming.labels(series, kind, severity)
        found = explanation(panel, verdicts, row)
        if reasons:
            found["reasons"] = list(reasons)
        return Alert(
            fingerprint(labels),
            "firing",
            labels,
            words(labels, found),
            at_ms,
            value={"score": found["score"]},
            evidence={**found, **evidence},
        )

    def end_all(self, at_ms: int) -> list[Transition]:
        """End every anomaly, because nothing judges it any more."""
        moved = [Transition.resolved(at_ms, live.alert) for live in self._live.values()]
        self._live.clear()
        return moved

    def state(self) -> list[dict[str, Any]]:
        """The live anomalies, JSON-able."""
        return [
            {"series": list(series), "severity": severity, "calm": live.calm, "alert": live.alert.to_dict()}
            for (series, severity), live in self._live.items()
        ]

    def load(self, state: Iterable[Mapping[str, Any]]) -> None:
        """Take over what `state` gave."""
        self._live = {
            (tuple(row["series"]), row["severity"]): _Live(Alert.from_dict(row["alert"]), row["calm"])
            for row in state
        }


def wants_attention(alert: Alert) -> bool:
    """Whether an anomaly is more than something for the record."""
    return alert.labels["severity"] != SEVERITIES[INFO]


@dataclass(slots=True)
class _Live:
    alert: Alert
    calm: int = 0


def explanation(panel: Panel, verdicts: Verdicts, row: int, step: int = 0) -> dict[str, Any]:
    """Why a series was flagged, JSON-able: score, direction, and the features that add most to it.

    Each of the `contributions` has the feature's name, its share (signed), what was seen and expected.
    """
    shares = np.nan_to_num(verdicts.contributions[step, row])
    order = np.argsort(-np.abs(shares), kind="stable")[:CONTRIBUTIONS_MAX]
    tail = float(verdicts.tail[step, row])
    return {
        "score": 1.0 - tail,
        "tail": tail,
        "kind": str(verdicts.kind[step, row]),
        "direction": int(verdicts.direction[step, row]),
        "contributions": [
            {
                "feature": panel.features[feature],
                "share": float(shares[feature]),
                "seen": _number(panel.values[step, row, feature]),
                "expected": _number(verdicts.expected[step, row, feature]),
            }
            for feature in order.tolist()
            if shares[feature] != 0.0
        ],
    }


def words(labels: Mapping[str, str], found: Mapping[str, Any]) -> dict[str, str]:
    """Words for people."""
    who = ", ".join(
        f"{name}={value}"
        for name, value in labels.items()
        if name not in ("alertname", "detector", "kind", "severity")
    )
    measured = [
        f"{each['feature']} {each['seen']:.4g}"
        + ("" if each["expected"] is None else f" (expected {each['expected']:.4g})")
        for each in found["contributions"]
        if each["seen"] is not None
    ]
    because = f"; {', '.join(measured)}" if measured else ""
    reasons = "".join(f" {reason}." for reason in found.get("reasons", ()))
    return {
        "summary": f"{found['kind'] or 'anomaly'} of {who}",
        "description": (
            f"The {labels['detector']} detector finds this {_WORDS[found['direction']]} what is normal: "
            f"{_odds(found['tail'])}{because}.{reasons}"
        ),
    }


def _odds(tail: float) -> str:
    if tail <= 0.0:
        return "no normal step looks like it"
    return f"about one normal step of {1.0 / tail:,.0f} looks like it"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
