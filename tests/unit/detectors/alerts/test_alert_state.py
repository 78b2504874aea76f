"""Alerts through incidents, silences, restarts and floods; each case is a few steps of ten seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.alerts.alert import Alert, Transition, fingerprint
from detectors.alerts.alert_state import AlertBook
from detectors.alerts.telemetry_missing import TelemetryMissing
from detectors.slo.burn_rate import Verdicts, judge
from detectors.slo.slo import Slo, Tier

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
STEP = 10_000

SLO = Slo(
    name="availability",
    service="shop",
    target=0.999,
    source="requests",
    rollup="slo:availability",
    window_ms=30 * DAY,
    tiers=(Tier("page", HOUR, 5 * MINUTE, 14.4), Tier("page", 6 * HOUR, 30 * MINUTE, 6.0)),
    group_by=("route",),
    labels={"team": "basket", "service": "never this"},
    annotations={"runbook_url": "https://example.org/runbook"},
)

FINE, BAD, SILENT = (1000, 1000), (800, 1000), (0, 0)
"""(good, total) of all windows of a group."""

Counts = tuple[int, int]


def verdicts(groups: Sequence[Counts], slo: Slo = SLO) -> Verdicts:
    good = np.array([group[0] for group in groups], np.int64)
    total = np.array([group[1] for group in groups], np.int64)
    windows = {window for tier in slo.tiers for window in (tier.long_ms, tier.short_ms)}
    return judge(slo, dict.fromkeys(windows, (good, total)))


def labels_of(names: Sequence[str]) -> Callable[[int], tuple[str, ...]]:
    return lambda row: (names[row],)


class Run:
    """A book with its time."""

    def __init__(self, book: AlertBook | None = None, at_ms: int = DAY) -> None:
        self.book = book or AlertBook(keep_ms=0)
        self.at_ms = at_ms

    def step(self, *groups: Counts, names: Sequence[str] = "abcdefgh", slo: Slo = SLO) -> list[Transition]:
        self.at_ms += STEP
        return self.book.step(self.at_ms, slo, labels_of(names), verdicts(groups, slo))


def states(moved: Sequence[Transition]) -> list[tuple[str, str, str]]:
    return [(move.alert.labels["route"], move.previous, move.alert.state) for move in moved]


def test_an_alert_fires_once_and_resolves_once() -> None:
    run = Run()
    assert run.step(FINE, FINE) == []
    (fired,) = run.step(FINE, BAD)
    assert states([fired]) == [("b", "inactive", "firing")]
    assert run.step(FINE, BAD) == []
    assert [alert.key for alert in run.book.active()] == [fired.key]
    (over,) = run.step(FINE, FINE)
    assert states([over]) == [("b", "firing", "resolved")]
    assert over.alert.starts_at_ms == fired.alert.starts_at_ms == fired.at_ms
    assert over.alert.ends_at_ms == over.at_ms == fired.at_ms + 2 * STEP
    assert run.step(FINE, FINE) == []
    assert run.book.active() == []


def test_an_alert_carries_who_it_is_what_happened_and_the_evidence() -> None:
    book = AlertBook()
    (fired,) = book.step(
        DAY, SLO, labels_of(["/pay"]), verdicts([BAD]), lambda row: {"config": "c0ffee", "offsets": {"0": 17}}
    )
    alert = fired.alert
    assert alert.labels == {
        "alertname": "ErrorBudgetBurn",
        "service": "shop",
        "slo": "availability",
        "severity": "page",
        "route": "/pay",
        "team": "basket",
    }
    assert alert.fingerprint == fingerprint(alert.labels)
    assert alert.annotations["summary"] == "availability of shop burns its error budget 200 times too fast"
    assert alert.annotations["description"] == (
        "0.2 of 1,000 events were bad over 1h (burn rate 200; over 5m 200), where the target 0.999 allows "
        "0.001. The whole budget of 30d would last 3.6 hours."
    )
    assert alert.annotations["runbook_url"] == "https://example.org/runbook"
    assert alert.value == pytest.approx({"5m": 200, "30m": 200, "1h": 200, "6h": 200})
    assert alert.evidence["config"] == "c0ffee"
    assert alert.evidence["offsets"] == {"0": 17}
    assert alert.evidence["windows"]["1h"] == {"good": 800, "total": 1000}
    assert [tier["fires"] for tier in alert.evidence["tiers"]] == [True, True]
    assert 0.1 < alert.evidence["tiers"][0]["error_ratio_at_least"] < 0.2
    assert Alert.from_dict(json.loads(json.dumps(alert.to_dict()))) == alert
    assert fired.to_dict()["previous"] == "inactive"


def test_the_same_labels_have_the_same_fingerprint_in_any_order() -> None:
    assert fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"})
    assert fingerprint({"a": "1", "b": "2"}) != fingerprint({"a": "12", "b": ""})


def test_a_label_column_that_is_called_as_one_of_ours_keeps_both_values() -> None:
    slo = replace(SLO, group_by=("service", "http.route"))
    (fired,) = AlertBook().step(DAY, slo, lambda row: ("cart", "/x"), verdicts([BAD]))
    assert fired.alert.labels["service"] == "shop"
    assert fired.alert.labels["exported_service"] == "cart"
    assert fired.alert.labels["http_route"] == "/x"


def test_it_resolves_only_after_the_burn_was_over_for_a_while() -> None:
    run = Run(AlertBook(keep_ms=3 * STEP))
    run.step(BAD)
    for groups in ([FINE], [FINE], [FINE], [BAD], [FINE], [FINE], [FINE]):
        assert run.step(*groups) == []
    assert states(run.step(FINE)) == [("a", "firing", "resolved")]


def test_a_wavering_bound_does_not_resolve_what_still_burns() -> None:
    run = Run()
    assert len(run.step((900, 1000))) == 1
    # One bad event of ten burns as fast, and would not have fired by itself.
    assert Run().step((9, 10)) == []
    assert run.step((9, 10)) == []
    assert [alert.state for alert in run.book.active()] == ["firing"]


def test_absence_neither_fires_nor_resolves() -> None:
    run = Run()
    assert run.step(SILENT) == []
    run.step(BAD)
    for _ in range(1000):
        assert run.step(SILENT) == []
    assert states(run.step(FINE)) == [("a", "firing", "resolved")]


def test_a_group_that_was_silent_for_a_whole_window_is_forgotten() -> None:
    run = Run()
    run.step(BAD)
    assert run.step(SILENT) == []
    run.at_ms += SLO.window_ms - 2 * STEP
    assert run.step(SILENT) == []
    assert states(run.step(SILENT)) == [("a", "firing", "resolved")]


def test_a_group_whose_series_is_gone_keeps_its_alert_and_finds_it_at_another_place() -> None:
    run = Run()
    run.step(FINE, BAD)
    assert run.step(FINE) == []
    assert run.step(FINE, FINE, BAD, names=["a", "c", "b"]) == []
    assert states(run.step(BAD, FINE, FINE, names=["c", "a", "b"])) == [
        ("b", "firing", "resolved"),
        ("c", "inactive", "firing"),
    ]


def test_severities_are_alerts_of_their_own_and_tiers_are_not() -> None:
    slo = replace(SLO, tiers=(*SLO.tiers, Tier("ticket", 3 * DAY, 6 * HOUR, 1.0)))
    moved = Run().step(BAD, slo=slo)
    assert sorted(move.alert.labels["severity"] for move in moved) == ["page", "ticket"]
    # 10 times too fast is no matter for the first tier of a page, but for the second.
    (page, _) = Run().step((9_900, 10_000), slo=slo)
    assert [tier["fires"] for tier in page.alert.evidence["tiers"]] == [False, True]
    assert "over 6h" in page.alert.annotations["description"]


def test_alerts_of_an_slo_that_is_no_longer_configured_end() -> None:
    run = Run()
    run.step(BAD)
    assert run.book.retire(run.at_ms, [SLO]) == []
    assert states(run.book.retire(run.at_ms, [replace(SLO, name="other")])) == [("a", "firing", "resolved")]
    assert run.book.active() == []


group = st.sampled_from([FINE, BAD, SILENT, (9, 10), (990, 1000), (0, 1)])


@settings(max_examples=150)
@given(
    st.lists(st.lists(group, min_size=3, max_size=3), max_size=30),
    st.integers(0, 30),
    st.sampled_from([0, STEP, 3 * STEP]),
)
def test_a_restart_goes_on_as_if_nothing_had_happened(
    history: list[list[Counts]], cut: int, keep_ms: int
) -> None:
    straight, broken = (Run(AlertBook(keep_ms=keep_ms)) for _ in range(2))
    for index, groups in enumerate(history):
        if index == cut:
            stored = json.loads(json.dumps(broken.book.state()))
            broken.book = AlertBook.load(stored, keep_ms=keep_ms)
            assert broken.book.state() == stored
        before, revision = straight.book.state(), straight.book.revision
        assert straight.step(*groups) == broken.step(*groups)
        assert (straight.book.state() != before) == (straight.book.revision != revision)
        assert straight.book.live_count == len(straight.book.active())
    assert straight.book.state() == broken.book.state()


@settings(max_examples=150)
@given(st.lists(group, max_size=40), st.sampled_from([0, STEP, 3 * STEP]))
def test_states_follow_the_machine_written_out(history: list[Counts], keep_ms: int) -> None:
    run = Run(AlertBook(keep_ms=keep_ms))
    state, clear = "inactive", None
    for counts in history:
        seen = [move.alert.state for move in run.step(counts)]
        judged = verdicts([counts])
        fires, burns, absent = (bool(m.any()) for m in (judged.firing, judged.burning, judged.absent))
        before = state
        if state == "inactive" and fires:
            state, clear = "firing", None
        elif state == "firing" and burns:
            clear = None
        elif state == "firing" and not absent:
            clear = run.at_ms if clear is None else clear
            if run.at_ms - clear >= keep_ms:
                state = "inactive"
                assert seen == ["resolved"]
                continue
        assert seen == ([state] if state != before else [])


def test_ten_thousand_firing_groups_are_stepped_at_once() -> None:
    names = [str(number) for number in range(10_000)]
    run = Run()
    assert len(run.step(*[BAD] * 10_000, names=names)) == 10_000
    before = run.book.state()
    judged = verdicts([BAD] * 10_000)
    for _ in range(5):
        run.at_ms += STEP
        assert run.book.step(run.at_ms, SLO, labels_of(names), judged) == []
    assert run.book.state() == before


class Clock:
    def __init__(self) -> None:
        self.now_ms = DAY

    def __call__(self) -> int:
        return self.now_ms


def telemetry(clock: Clock, slos: Sequence[Slo] = (SLO,)) -> TelemetryMissing:
    return TelemetryMissing(slos, clock=clock, missing_after_ms=5 * MINUTE)


def test_telemetry_missing_says_that_alerts_are_frozen_and_ends_when_events_come() -> None:
    clock = Clock()
    watch = telemetry(clock)
    times: Mapping[str, int | None] = {"requests": DAY, "unwatched": 0}
    assert watch.check(times) == []
    clock.now_ms += 5 * MINUTE
    assert watch.check(times) == []
    assert watch.stale(times) == {}
    clock.now_ms += 1
    (fired,) = watch.check(times)
    assert fired.alert.labels == {
        "alertname": "TelemetryMissing",
        "severity": "ticket",
        "source": "requests",
        "service": "shop",
    }
    assert fired.alert.starts_at_ms == DAY + 5 * MINUTE
    assert fired.alert.annotations["description"].startswith("The newest event is 300 s old. Alerts of avail")
    assert watch.stale(times) == {"requests": "the newest event is 300 s old"}
    assert watch.check(times) == []
    (over,) = watch.check({"requests": clock.now_ms})
    assert (over.previous, over.alert.state, over.alert.ends_at_ms) == ("firing", "resolved", clock.now_ms)
    assert watch.active() == []


def test_a_worker_that_catches_up_is_stale_but_does_not_cry() -> None:
    clock = Clock()
    watch = telemetry(clock)
    assert watch.check({"requests": DAY - HOUR}) == []
    assert watch.stale({"requests": DAY - HOUR}) == {"requests": "the newest event is 3600 s old"}
    assert watch.stale({}) == {"requests": "no event has been read yet"}
    clock.now_ms += 5 * MINUTE + 1
    (fired,) = watch.check({})
    assert fired.alert.starts_at_ms == DAY + 5 * MINUTE


def test_telemetry_missing_survives_a_restart() -> None:
    clock = Clock()
    watch = telemetry(clock)
    clock.now_ms += 6 * MINUTE
    watch.check({})
    stored: list[dict[str, Any]] = json.loads(json.dumps(watch.state()))
    after = telemetry(clock)
    after.load(stored)
    assert after.active() == watch.active()
    assert after.check({}) == []
    other = telemetry(clock, [replace(SLO, source="elsewhere")])
    other.load(stored)
    assert other.active() == []
