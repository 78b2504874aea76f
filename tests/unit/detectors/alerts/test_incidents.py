"""Grouping of anomalies: what joins, what does not, and that order, repeats and restarts change nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.alerts import incidents
from detectors.alerts.alert import Alert, Transition, fingerprint
from detectors.alerts.incident import SLO, Anomaly, Incident, similarity, together
from detectors.alerts.incidents import GAP_MS, QUIET_MS, IncidentBook
from detectors.api.detector import PAGE, TICKET

MINUTE = 60_000
UPSTREAMS = {"shop": ["db"], "search": ["db"]}


def found(key: str, at: int = 0, service: str = "shop", **more: Any) -> Anomaly:
    """An anomaly that begins at a minute."""
    given = {"detector": "traffic", "kind": "spike", "direction": 1, "shares": {"rate": 1.0}, **more}
    return Anomaly(key, at * MINUTE, service=service, **given)


def ended(anomaly: Anomaly, at: int) -> Anomaly:
    return replace(anomaly, ends_at_ms=at * MINUTE)


ANOMALIES = st.builds(
    found,
    st.text("abcdef", min_size=1, max_size=2),
    st.integers(0, 3),
    st.sampled_from(["shop", "search", "db", "mail"]),
    detector=st.sampled_from(["traffic", "security", SLO]),
    source=st.sampled_from(["", "requests", "mail"]),
    kind=st.sampled_from(["spike", "scan", ""]),
    direction=st.sampled_from([-1, 0, 1]),
    severity=st.integers(0, 3),
    shares=st.dictionaries(
        st.sampled_from(["rate", "errors"]), st.floats(-5, 5, allow_subnormal=False), max_size=2
    ),
    labels=st.dictionaries(st.sampled_from(["route", "zone"]), st.sampled_from(["a", "b"]), max_size=1),
    ends_at_ms=st.none() | st.integers(3, 9).map(lambda minute: minute * MINUTE),
)
STEPS = st.lists(st.lists(ANOMALIES, max_size=4, unique_by=lambda one: one.key), max_size=8)


def run(book: IncidentBook, steps: Sequence[Sequence[Anomaly]], first: int = 0) -> list[list[Incident]]:
    """One step each eight minutes, so that some incidents close between them."""
    return [book.step((first + number) * 8 * MINUTE, step) for number, step in enumerate(steps)]


@settings(max_examples=60)
@given(STEPS, st.randoms(use_true_random=False))
def test_the_order_within_a_step_is_irrelevant(steps: list[list[Anomaly]], random: Any) -> None:
    one, other = IncidentBook(upstreams=UPSTREAMS), IncidentBook(upstreams=UPSTREAMS)
    shuffled = [random.sample(step, len(step)) for step in steps]
    assert run(one, steps) == run(other, shuffled)
    assert one.state() == other.state()


@settings(max_examples=60)
@given(STEPS)
def test_what_is_announced_again_changes_nothing(steps: list[list[Anomaly]]) -> None:
    one, other = IncidentBook(upstreams=UPSTREAMS), IncidentBook(upstreams=UPSTREAMS)
    for number, step in enumerate(steps):
        at_ms = number * 8 * MINUTE
        assert one.step(at_ms, step) == other.step(at_ms, [*step, *step])
        assert other.step(at_ms, step) == []
    assert one.open() == other.open()
    assert one.history() == other.history()


@settings(max_examples=60)
@given(STEPS, st.integers(0, 8))
def test_a_restored_book_goes_on_as_if_never_stopped(steps: list[list[Anomaly]], cut: int) -> None:
    whole = IncidentBook(upstreams=UPSTREAMS)
    expected = run(whole, steps)
    book = IncidentBook(upstreams=UPSTREAMS)
    told = run(book, steps[:cut])
    again = IncidentBook(upstreams=UPSTREAMS)
    again.load(json.loads(json.dumps(book.state())))
    told += run(again, steps[cut:], min(cut, len(steps)))
    assert told == expected
    assert again.state() == whole.state()


@settings(max_examples=60)
@given(st.lists(ANOMALIES, max_size=12, unique_by=lambda one: one.key), st.lists(st.integers(0, 12)))
def test_how_announcements_are_spread_over_steps_is_irrelevant(
    anomalies: list[Anomaly], minutes: list[int]
) -> None:
    told = [(one.at_ms, replace(one, ends_at_ms=None)) for one in anomalies]
    told += [(one.ends_at_ms, one) for one in anomalies if one.ends_at_ms is not None]
    whole, parts = (
        IncidentBook(upstreams=UPSTREAMS, quiet_ms=GAP_MS),
        IncidentBook(upstreams=UPSTREAMS, quiet_ms=GAP_MS),
    )
    whole.step(13 * MINUTE, [one for _, one in told])
    before = -1
    for at_ms in (*sorted(minute * MINUTE for minute in minutes), 13 * MINUTE):
        parts.step(at_ms, [one for when, one in told if before < when <= at_ms])
        before = at_ms
    assert parts.state() == whole.state()


@settings(max_examples=60)
@given(STEPS)
def test_each_anomaly_is_in_one_incident_and_no_two_open_ones_have_an_id(
    steps: list[list[Anomaly]],
) -> None:
    book = IncidentBook(upstreams=UPSTREAMS)
    run(book, steps)
    keys = [one.key for incident in (*book.open(), *book.history()) for one in incident.anomalies]
    assert sorted(keys) == sorted({one.key for step in steps for one in step})
    for incident in book.open():
        assert incident.starts_at_ms == min(one.at_ms for one in incident.anomalies)
        assert incident.count == len(incident.anomalies)
        assert set(incident.live) <= {one.key for one in incident.anomalies}
        assert incident.severity == max(one.severity for one in incident.anomalies)


def test_the_same_service_time_and_feature_are_one_incident() -> None:
    book = IncidentBook()
    (first,) = book.step(0, [found("a", severity=TICKET)])
    (joined,) = book.step(2 * MINUTE, [found("b", 2, kind="level shift", severity=PAGE)])
    assert (joined.id, joined.count, joined.severity) == (first.id, 2, PAGE)
    assert joined.kinds == ("level shift", "spike")
    assert joined.top_cause == "+rate"
    assert joined.live == ("a", "b")


@pytest.mark.parametrize(
    "other",
    [
        found("b", 1, service="mail"),
        found("b", 1, kind="drop", direction=-1, shares={"rate": -1.0}),
        found("b", 1, kind="scan", shares={"paths": 1.0}, labels={"client": "192.0.2.1"}),
    ],
    ids=["service", "direction", "cause"],
)
def test_another_service_direction_or_cause_is_another_incident(other: Anomaly) -> None:
    book = IncidentBook()
    book.step(0, [found("a", labels={"client": "192.0.2.7"})])
    book.step(MINUTE, [other])
    assert len(book.open()) == 2


def test_an_ended_anomaly_is_joined_until_the_gap_has_passed() -> None:
    gap = GAP_MS // MINUTE
    for late, count in ((gap, 1), (gap + 1, 2)):
        book = IncidentBook()
        book.step(0, [found("a")])
        book.step(MINUTE, [ended(found("a"), 0)])
        book.step((late) * MINUTE, [found("b", late)])
        assert len(book.open()) == count


def test_an_anomaly_that_lasts_is_joined_however_late() -> None:
    book = IncidentBook()
    book.step(0, [found("a")])
    book.step(600 * MINUTE, [found("b", 600)])
    assert [one.count for one in book.open()] == [2]


def test_an_incident_closes_when_it_was_quiet_and_is_found_again_by_likeness() -> None:
    book = IncidentBook()
    (first,) = book.step(0, [found("a", shares={"rate": 2.0, "errors": 1.0})])
    book.step(MINUTE, [ended(found("a"), 1)])
    assert book.step(MINUTE + QUIET_MS - 1, []) == []
    (closed,) = book.step(MINUTE + QUIET_MS, [])
    assert (closed.id, closed.state, closed.ends_at_ms) == (first.id, "closed", MINUTE + QUIET_MS)
    assert book.history() == [closed]
    (again,) = book.step(100 * MINUTE, [found("b", 100, shares={"rate": 4.0, "errors": 2.0})])
    assert again.nearest is not None
    assert again.nearest.id == first.id
    assert again.nearest.similarity == pytest.approx(1.0)
    (unlike,) = book.step(100 * MINUTE, [found("c", 100, "mail", kind="scan", shares={"paths": 1.0})])
    assert unlike.nearest is None


def test_services_with_a_common_upstream_are_one_incident() -> None:
    for upstreams, count in ((UPSTREAMS, 1), (None, 2)):
        book = IncidentBook(upstreams=upstreams)
        book.step(0, [found("a"), found("b", service="search")])
        assert len(book.open()) == count


def test_an_anomaly_that_belongs_to_two_incidents_merges_them() -> None:
    book = IncidentBook()
    book.step(0, [found("a"), found("b", 0, kind="scan", shares={"paths": 1.0})])
    older, younger = book.open()
    merged, whole = sorted(
        book.step(MINUTE, [found("c", 1, detector=SLO, kind="ErrorBudgetBurn", shares={})]),
        key=lambda one: one.state,
    )
    assert (merged.state, merged.id, merged.merged_into) == ("merged", younger.id, older.id)
    assert (whole.id, whole.count, whole.detectors) == (older.id, 3, (SLO, "traffic"))
    assert book.open() == [whole]


def test_a_budget_alert_and_a_security_verdict_on_the_source_join() -> None:
    def moved(at_ms: int, evidence: dict[str, Any], **labels: str) -> Transition:
        alert = Alert(fingerprint(labels), "firing", labels, {}, at_ms, evidence=evidence)
        return Transition(at_ms, "inactive", alert)

    scan = moved(
        0,
        {"tail": 1e-6, "direction": 1, "contributions": [{"feature": "paths", "share": 2.0}]},
        alertname="SecurityAnomaly", detector="security", source="requests", service="requests",
        kind="scanner", severity="page", client="192.0.2.1",
    )  # fmt: skip
    burn = moved(
        MINUTE, {"source": "requests"},
        alertname="ErrorBudgetBurn", service="shop", slo="availability", severity="page",
    )  # fmt: skip
    first, second = Anomaly.of_transition(scan), Anomaly.of_transition(burn)
    assert (first.shares, first.tail, first.severity) == ({"paths": 2.0}, 1e-6, PAGE)
    assert (first.labels, first.kind) == ({"client": "192.0.2.1"}, "scanner")
    assert (second.detector, second.service, second.source) == (SLO, "shop", "requests")
    book = IncidentBook()
    book.step(0, [first])
    (incident,) = book.step(MINUTE, [second])
    assert incident.services == ("requests", "shop")
    over = replace(scan.alert, state="resolved", ends_at_ms=2 * MINUTE)
    (calmer,) = book.step(2 * MINUTE, [Anomaly.of_transition(Transition(2 * MINUTE, "firing", over))])
    assert calmer.live == (second.key,)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, bound in (("OPEN_MAX", 3), ("HISTORY_MAX", 2), ("ANOMALIES_MAX", 2), ("KEYS_MAX", 12)):
        monkeypatch.setattr(incidents, name, bound)
    book = IncidentBook()
    told = book.step(0, [found(f"{n}", service=f"service {n}") for n in range(8)])
    assert sum(one.state == "closed" for one in told) == 5
    assert (len(book.open()), len(book.history())) == (3, 2)
    service = book.open()[0].service
    book.step(MINUTE, [found(f"more {n}", 1, service) for n in range(20)])
    busy = max(book.open(), key=lambda one: one.count)
    assert (busy.count, len(busy.anomalies)) == (21, 2)
    assert len(book.state()["begun"]) <= 12 + 22


def test_keys_are_forgotten_after_a_day() -> None:
    book = IncidentBook()
    book.step(0, [ended(found("a"), 0)])
    book.step(2 * incidents.REMEMBER_MS, [])
    assert book.state()["begun"] == book.state()["ended"] == {}


@given(
    st.dictionaries(st.text("ab", max_size=1), st.floats(0, 1e300), max_size=3),
    st.dictionaries(st.text("ab", max_size=1), st.floats(0, 1e300), max_size=3),
)
def test_similarity_is_symmetric_and_at_most_one(one: dict[str, float], other: dict[str, float]) -> None:
    alike = similarity(one, other)
    assert 0.0 <= alike <= 1.0
    assert alike == pytest.approx(similarity(other, one))
    if any(one.values()):
        assert similarity(one, one) == pytest.approx(1.0)


def test_the_id_tells_service_and_first_anomaly() -> None:
    ids = {Incident.of(found(key, service=service)).id for key in "ab" for service in ("shop", "mail")}
    assert len(ids) == 4
    assert Incident.of(found("a", 5)).id == Incident.of(found("a", 7)).id
    with pytest.raises(ValueError, match="no incident"):
        together([], anomalies_max=1)


def test_gaps_longer_than_quiet_times_are_refused() -> None:
    with pytest.raises(ValueError, match="gap_ms <= quiet_ms"):
        IncidentBook(gap_ms=2, quiet_ms=1)
