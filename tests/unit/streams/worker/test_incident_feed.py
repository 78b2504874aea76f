"""Incidents from the alerts topic: nothing before it has been read, the same again after a restart."""

from __future__ import annotations

import msgspec

from detectors.alerts.alert import Alert, Transition, fingerprint
from detectors.alerts.incidents import IncidentBook
from streams.worker.incident_feed import IncidentFeed

MINUTE = 60_000


def record(at_ms: int, detector: str, *, ends: bool = False, kind: str = "spike") -> bytes:
    labels = {"alertname": "X", "detector": detector, "kind": kind, "severity": "page", "service": "shop"}
    alert = Alert(
        fingerprint(labels),
        "resolved" if ends else "firing",
        labels,
        {},
        10 * MINUTE,
        at_ms if ends else None,
        evidence={"contributions": [{"feature": "rate", "share": 1.0}], "direction": 1},
    )
    return msgspec.json.encode(Transition(at_ms, "inactive", alert).to_dict())


def fed(*records: bytes) -> IncidentFeed:
    feed = IncidentFeed(IncidentBook())
    for value in records:
        feed.handle(b"key", value)
    feed.caught_up()
    return feed


def test_what_belongs_together_is_one_incident() -> None:
    feed = fed(record(10 * MINUTE, "traffic"), record(11 * MINUTE, "multivariate"))
    (incident,) = feed.step(12 * MINUTE)
    assert incident.service == "shop"
    assert incident.detectors == ("multivariate", "traffic")
    assert feed.counts() == {"page": 1}


def test_nothing_is_told_before_all_has_been_read() -> None:
    feed = IncidentFeed(IncidentBook())
    feed.handle(b"k", record(10 * MINUTE, "traffic"))
    assert feed.step(11 * MINUTE) == []
    feed.caught_up()
    assert len(feed.step(11 * MINUTE)) == 1


def test_an_incident_closes_when_all_of_it_is_over_for_a_while() -> None:
    feed = fed(record(10 * MINUTE, "traffic"))
    feed.step(11 * MINUTE)
    feed.handle(b"k", record(15 * MINUTE, "traffic", ends=True))
    assert [each.state for each in feed.step(16 * MINUTE)] == ["open"]
    assert [each.state for each in feed.step(60 * MINUTE)] == ["closed"]
    assert feed.counts() == {}


def test_a_restart_finds_the_same_incidents_and_repeats_change_nothing() -> None:
    records = [record(10 * MINUTE, "traffic"), record(11 * MINUTE, "security", kind="scanner")]
    one, other = fed(*records), fed(*records, *reversed(records))
    one.step(12 * MINUTE)
    other.step(12 * MINUTE)
    assert [each.id for each in one.book.open()] == [each.id for each in other.book.open()]
    assert [each.count for each in one.book.open()] == [each.count for each in other.book.open()]


def test_what_is_no_alert_is_counted() -> None:
    feed = fed(b"{}", b"\xff", b'{"at_ms": 1, "previous": "inactive", "labels": 3}')
    assert feed.refused == 3
