"""Alerts about limited resources: CapacityExhaustion, QuotaWarning, QuotaWillExhaust.

Guarantees:
- The alerts are a function of the readings given, in the order of event time: no clock, no randomness.
  `restore(state())` goes on exactly as the original would, also through JSON.
- Hysteresis: an alert begins at one bound and ends below a lower one, after it stayed there for a while, so
  that a forecast which wavers does not notify at each turn.
- A quota's alerts end with its period at the latest: usage then starts from zero.
- What is not known changes nothing: without a forecast, alerts about the future stay as they are; a resource
  that has no reading in a step keeps its alerts.

Resources are few compared with series, since each costs a forecast, so a step goes through them one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from detectors.alerts.alert import Alert, Transition, fingerprint
from detectors.alerts.names import label_names
from detectors.capacity.reading import CapacityReading
from detectors.capacity.words import evidence, exhaustion_words, values, warning_words

CAPACITY_EXHAUSTION = "CapacityExhaustion"
QUOTA_WARNING = "QuotaWarning"
QUOTA_WILL_EXHAUST = "QuotaWillExhaust"

ALERTNAMES = (CAPACITY_EXHAUSTION, QUOTA_WARNING, QUOTA_WILL_EXHAUST)

SEVERITY = "ticket"
"""There is time to act; route by the label where there is not."""

_OWN_LABELS = ("alertname", "severity", "resource", "kind")


@dataclass(frozen=True, slots=True)
class CapacityRule:
    """When the alerts of a resource begin and end.

    warn              : used share of a quota at which QuotaWarning begins
    warn_clear        : below which it ends within the period (a correction; the reset ends it anyway)
    probability       : of exhaustion at which the other alerts begin
    probability_clear : below which they end, after `clear_after_ms`

    Raises ValueError where a bound to end lies above the one to begin.
    """

    warn: float = 0.8
    warn_clear: float = 0.75
    probability: float = 0.8
    probability_clear: float = 0.5
    clear_after_ms: int = 600_000
    severity: str = SEVERITY

    def __post_init__(self) -> None:
        if not 0 < self.warn_clear <= self.warn:
            raise ValueError(f"0 < warn_clear <= warn expected, got {self.warn_clear} and {self.warn}")
        if not 0 < self.probability_clear <= self.probability <= 1:
            raise ValueError(
                "0 < probability_clear <= probability <= 1 expected, got "
                f"{self.probability_clear} and {self.probability}"
            )


DEFAULT_RULE = CapacityRule()


class _Key(NamedTuple):
    alertname: str
    resource: str
    labels: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Live:
    """A firing alert.

    clear_ms : since when it has been below its bound to end; None while it is not
    period   : the quota's period that it belongs to
    """

    alert: Alert
    period: tuple[int, int] | None
    clear_ms: int | None = None


class CapacityAlerts:
    """All live alerts about some resources.

    rules : by resource; those that are not named follow `default`
    """

    def __init__(
        self, rules: Mapping[str, CapacityRule] | None = None, *, default: CapacityRule = DEFAULT_RULE
    ):
        self._rules = dict(rules or {})
        self._default = default
        self._live: dict[_Key, _Live] = {}
        self.revision = 0
        """Grows whenever `state()` would give something else."""

    def step(self, at_ms: int, readings: Sequence[CapacityReading]) -> list[Transition]:
        """Judge the instant `at_ms` and return what changed."""
        moved = self._end_periods(at_ms)
        for reading in readings:
            rule = self._rules.get(reading.resource, self._default)
            for alertname, begins, ends in _conditions(reading, rule):
                key = _Key(alertname, *reading.key)
                live = self._live.get(key)
                if live is not None and live.period != reading.period:
                    moved.append(self._end(at_ms, key, reading))
                    live = None
                if live is None and begins:
                    alert = _alert(alertname, rule, reading, at_ms)
                    self._live[key] = _Live(alert, reading.period)
                    moved.append(Transition(at_ms, "inactive", alert))
                elif live is not None:
                    moved += self._go_on(at_ms, key, live, reading, rule, ends=ends)
        self.revision += len(moved)
        return moved

    def _go_on(
        self,
        at_ms: int,
        key: _Key,
        live: _Live,
        reading: CapacityReading,
        rule: CapacityRule,
        *,
        ends: bool,
    ) -> list[Transition]:
        if not ends:
            self.revision += live.clear_ms is not None
            live.clear_ms = None
            return []
        if live.clear_ms is None:
            live.clear_ms = at_ms
            self.revision += 1
        # What was used does not waver, so its warning need not wait.
        wait_ms = 0 if key.alertname == QUOTA_WARNING else rule.clear_after_ms
        return [self._end(at_ms, key, reading)] if at_ms - live.clear_ms >= wait_ms else []

    def _end_periods(self, at_ms: int) -> list[Transition]:
        over = [
            key for key, live in self._live.items() if live.period is not None and at_ms >= live.period[1]
        ]
        return [self._end(at_ms, key, None) for key in over]

    def _end(self, at_ms: int, key: _Key, reading: CapacityReading | None) -> Transition:
        measured = {} if reading is None else {"value": values(reading), "evidence": evidence(reading)}
        return Transition.resolved(at_ms, self._live.pop(key).alert, **measured)

    def retire(self, at_ms: int, resources: Collection[str]) -> list[Transition]:
        """End the alerts of resources that the configuration no longer has; `resources` are the rest."""
        gone = [key for key in self._live if key.resource not in resources]
        self.revision += len(gone)
        return [self._end(at_ms, key, None) for key in gone]

    def active(self) -> list[Alert]:
        """The firing alerts, ordered by fingerprint."""
        return sorted((live.alert for live in self._live.values()), key=lambda alert: alert.fingerprint)

    def state(self) -> list[dict[str, Any]]:
        """Everything that is kept, JSON-able: a row for each live alert."""
        return [
            {
                "resource": key.resource,
                "labels": dict(key.labels),
                "period": None if live.period is None else list(live.period),
                "clear_ms": live.clear_ms,
                "alert": live.alert.to_dict(),
            }
            for key, live in self._live.items()
        ]

    def restore(self, state: Iterable[Mapping[str, Any]]) -> None:
        """Take over the alerts of an earlier process.

        Raises ValueError for a row that is none of `state()`.
        """
        live: dict[_Key, _Live] = {}
        for row in state:
            try:
                alert = Alert.from_dict(row["alert"])
                labels = tuple(sorted((str(name), str(value)) for name, value in row["labels"].items()))
                period = None if row["period"] is None else (int(row["period"][0]), int(row["period"][1]))
                live[_Key(alert.alertname, row["resource"], labels)] = _Live(alert, period, row["clear_ms"])
            except (KeyError, TypeError, AttributeError, IndexError) as error:
                raise ValueError(f"not a state of capacity alerts: {error!r}") from error
        self._live = live
        self.revision += 1


def _conditions(reading: CapacityReading, rule: CapacityRule) -> list[tuple[str, bool, bool]]:
    """(alert, whether it begins, whether it ends). Comparisons with NaN are false: unknown does neither."""
    certain: tuple[bool, bool] = (
        reading.probability >= rule.probability,
        reading.probability < rule.probability_clear,
    )
    if reading.kind != "quota":
        return [(CAPACITY_EXHAUSTION, *certain)]
    warned = reading.used_ratio >= rule.warn, reading.used_ratio < rule.warn_clear
    return [(QUOTA_WARNING, *warned), (QUOTA_WILL_EXHAUST, *certain)]


def _alert(alertname: str, rule: CapacityRule, reading: CapacityReading, at_ms: int) -> Alert:
    own = {
        "alertname": alertname,
        "severity": rule.severity,
        "resource": reading.resource,
        "kind": reading.kind,
    }
    columns = sorted(reading.labels)
    names = label_names(columns, _OWN_LABELS)
    told = {name: reading.labels[column] for name, column in zip(names, columns, strict=True)}
    labels = {**own, **{name: value for name, value in told.items() if value}}
    words = (
        warning_words(reading, rule.warn) if alertname == QUOTA_WARNING else exhaustion_words(reading, at_ms)
    )
    return Alert(
        fingerprint(labels), "firing", labels, words, at_ms, value=values(reading), evidence=evidence(reading)
    )
