"""An anomaly as one thing among others, and an incident as those that belong together, as values.

What an incident is about is a sparse vector: for each kind of its anomalies, and for each feature with its
direction, how much of the anomalies' oddness it explains. The cosine of two such vectors says how alike two
incidents are, whatever their size.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self, TypeAlias

from detectors.alerts.alert import Transition
from detectors.api.detector import SEVERITIES

SLO = "slo"
"""Name of the detector that error budget alerts count as."""

FEATURES_MAX = 32
"""Entries of an incident's vector in addition to its kinds; the smallest are dropped."""

_NOT_CAUSES = frozenset(
    {"alertname", "detector", "source", "kind", "severity", "service", "slo", "objective"}
)
"""Labels that say who speaks or about which service, not what it is about."""

_SIGNS = {1: "+", -1: "-", 0: ""}

_WORST = {"none": 0, "info": 1, "ticket": 2, "warning": 2, "page": 3, "critical": 3}

State: TypeAlias = Literal["open", "closed", "merged"]


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something that a detector, an SLO or a rule found, at its beginning or its end.

    key       : what makes an announcement of it the same as another; the same at its beginning and end
    at_ms     : when it began
    ends_at_ms: when it ended, None while it lasts; an anomaly of a moment ends when it begins
    detector  : who found it, `SLO` for an error budget
    source    : of the events it was found in, "" if unknown
    service   : the source where no service is known
    severity  : one of `SEVERITIES` by number
    tail      : probability that a normal step looks as odd, None if that is not how it was found
    direction : 1 above what was expected, -1 below, 0 neither
    shares    : feature to how much it adds to the oddness, signed by direction
    evidence  : JSON-able, kept with the incident's first anomalies
    """

    key: str
    at_ms: int
    detector: str
    service: str
    source: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    kind: str = ""
    severity: int = 0
    tail: float | None = None
    direction: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    ends_at_ms: int | None = None

    @classmethod
    def of_transition(cls, moved: Transition) -> Self:
        """The anomaly behind an alert of a detector, an SLO or a capacity forecast that began or ended."""
        alert, found = moved.alert, moved.alert.evidence
        labels = dict(alert.labels)
        source = labels.get("source") or str(found.get("source", ""))
        return cls(
            key=f"{alert.fingerprint}/{alert.starts_at_ms}",
            at_ms=alert.starts_at_ms,
            detector=labels.get("detector") or (SLO if "slo" in labels else alert.alertname),
            service=labels.get("service") or source,
            source=source,
            labels={name: value for name, value in labels.items() if name not in _NOT_CAUSES},
            kind=labels.get("kind") or alert.alertname,
            severity=_WORST.get(labels.get("severity", ""), 0),
            tail=found.get("tail"),
            direction=int(found.get("direction", 0)),
            shares={each["feature"]: each["share"] for each in found.get("contributions", ())},
            evidence=found,
            ends_at_ms=alert.ends_at_ms,
        )

    def about(self) -> dict[str, float]:
        """Kind and features with their directions, each with a weight above 0.

        >>> Anomaly("k", 0, "traffic", "shop", kind="spike", shares={"rate": 3.0, "errors": -1.0}).about()
        {'kind:spike': 1.0, '+rate': 0.75, '-errors': 0.25}
        >>> Anomaly("k", 0, "traffic", "shop", kind="level shift", direction=-1).about()
        {'kind:-level shift': 1.0}
        """
        total = sum(abs(share) for share in self.shares.values() if math.isfinite(share))
        weights = {f"kind:{_SIGNS[self.direction]}{self.kind}": 1.0} if self.kind else {}
        for feature, share in self.shares.items():
            if share and math.isfinite(share):
                weights[f"{'+' if share > 0 else '-'}{feature}"] = abs(share) / total
        return weights


@dataclass(frozen=True, slots=True)
class Nearest:
    """The past incident that was most like this one, and how much: 1 for the same features in proportion."""

    id: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Incident:
    """Anomalies that share service, time and cause.

    id           : stable, from the service and the key of the first anomaly
    services     : all that its anomalies are about, sorted; `service` is the first anomaly's
    last_ms      : when an anomaly of it last began or ended
    live         : keys of anomalies that have not ended, sorted
    anomalies    : its first ones as they began, in order of time and key; `count` tells how many there were
    about        : weights of kinds and features, see `Anomaly.about`
    shared       : labels that its anomalies had, as (name, value), sorted
    severity     : the worst of its anomalies'
    ends_at_ms   : when it was closed or merged, else None
    merged_into  : the older incident that it turned out to belong to, "" if it did not
    """

    id: str
    service: str
    services: tuple[str, ...]
    sources: tuple[str, ...]
    detectors: tuple[str, ...]
    starts_at_ms: int
    last_ms: int
    state: State
    severity: int
    count: int
    live: tuple[str, ...]
    anomalies: tuple[Anomaly, ...]
    about: Mapping[str, float]
    shared: tuple[tuple[str, str], ...]
    nearest: Nearest | None = None
    ends_at_ms: int | None = None
    merged_into: str = ""

    @classmethod
    def of(cls, anomaly: Anomaly) -> Self:
        """The incident of one anomaly."""
        return cls(
            id=incident_id(anomaly),
            service=anomaly.service,
            services=(anomaly.service,),
            sources=(anomaly.source,) if anomaly.source else (),
            detectors=(anomaly.detector,),
            starts_at_ms=anomaly.at_ms,
            last_ms=anomaly.at_ms if anomaly.ends_at_ms is None else anomaly.ends_at_ms,
            state="open",
            severity=anomaly.severity,
            count=1,
            live=(anomaly.key,) if anomaly.ends_at_ms is None else (),
            anomalies=(anomaly,),
            about=anomaly.about(),
            shared=tuple(sorted(anomaly.labels.items())),
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of its anomalies, the most frequent first."""
        found: dict[str, float] = {}
        for name, weight in self.about.items():
            if name.startswith("kind:"):
                kind = name.removeprefix("kind:").lstrip("+-")
                found[kind] = found.get(kind, 0.0) + weight
        return tuple(sorted(found, key=lambda kind: (-found[kind], kind)))

    @property
    def top_cause(self) -> str:
        """The feature that explains most, `+` or `-` its direction before it; a kind if none explains any."""
        features = {name: weight for name, weight in self.about.items() if not name.startswith("kind:")}
        if features:
            return min(features, key=lambda name: (-features[name], name))
        return self.kinds[0] if self.kinds else ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with what people want to read; `from_dict` gives an equal incident."""
        return {
            **asdict(self),
            "severity_name": SEVERITIES[self.severity],
            "kinds": list(self.kinds),
            "top_cause": self.top_cause,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        values = {name: value for name, value in stored.items() if name in cls.__slots__}
        for name in ("services", "sources", "detectors", "live"):
            values[name] = tuple(values[name])
        values["shared"] = tuple((name, value) for name, value in values["shared"])
        values["anomalies"] = tuple(Anomaly(**each) for each in values["anomalies"])
        values["nearest"] = None if values["nearest"] is None else Nearest(**values["nearest"])
        return cls(**values)


def incident_id(anomaly: Anomaly) -> str:
    """Sixteen hexadecimal digits that name the incident which an anomaly begins."""
    named = f"{anomaly.service}\n{anomaly.key}".encode("utf-8", "replace")
    return hashlib.blake2b(named, digest_size=8).hexdigest()


def together(incidents: Iterable[Incident], *, anomalies_max: int) -> Incident:
    """One incident of some, whatever their order; the id and service are those of the oldest.

    The incidents' anomalies must be distinct. Raises ValueError where there is no incident.
    """
    parts = sorted(incidents, key=lambda one: (one.starts_at_ms, one.id))
    if not parts:
        raise ValueError("no incident to put together")
    about: dict[str, float] = {}
    for part in parts:
        for name, weight in part.about.items():
            about[name] = about.get(name, 0.0) + weight
    first = sorted((a for part in parts for a in part.anomalies), key=lambda a: (a.at_ms, a.key))
    return replace(
        parts[0],
        services=_union(part.services for part in parts),
        sources=_union(part.sources for part in parts),
        detectors=_union(part.detectors for part in parts),
        last_ms=max(part.last_ms for part in parts),
        severity=max(part.severity for part in parts),
        count=sum(part.count for part in parts),
        live=_union(part.live for part in parts),
        anomalies=tuple(first[:anomalies_max]),
        about=_largest(about),
        shared=tuple(sorted({pair for part in parts for pair in part.shared})[:FEATURES_MAX]),
    )


def similarity(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Cosine of two sparse vectors of weights from 0: 0 for nothing in common, 1 for the same in proportion.

    >>> similarity({"+rate": 1.0}, {"+rate": 3.0, "-errors": 4.0})
    0.6
    """
    # Scaled by the largest first, so that squares neither vanish nor overflow.
    first, second = _scaled(one), _scaled(other)
    product = sum(weight * second.get(name, 0.0) for name, weight in sorted(first.items()))
    if product <= 0.0:
        return 0.0
    length = math.hypot(*first.values()) * math.hypot(*second.values())
    return min(1.0, product / length)


def _scaled(weights: Mapping[str, float]) -> dict[str, float]:
    largest = max(weights.values(), default=0.0)
    return {name: weight / largest for name, weight in weights.items()} if largest > 0 else {}


def _largest(about: Mapping[str, float]) -> dict[str, float]:
    kept = sorted(about.items(), key=lambda item: (-item[1], item[0]))[:FEATURES_MAX]
    return dict(sorted(kept))


def _union(groups: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(sorted({name for group in groups for name in group}))
