"""Alerts about limits: when they begin, that they do not waver, when they end, and what they say."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.alerts.alert import Transition
from detectors.capacity.alerts import (
    CAPACITY_EXHAUSTION,
    QUOTA_WARNING,
    QUOTA_WILL_EXHAUST,
    CapacityAlerts,
    CapacityRule,
)
from detectors.capacity.reading import CapacityReading

MINUTE = 60_000
DAY = 86_400_000
NOON = DAY // 2

QUOTA = CapacityReading(
    "turso-rows",
    "quota",
    used_ratio=0.5,
    forecast_ratio=0.9,
    probability=0.2,
    expected_seconds=7_200,
    range_seconds=(3_600, 10_800),
    exhaustion_seconds={0.05: 3_600.0, 0.5: math.inf},
    horizon_ms=NOON,
    period=(0, DAY),
    model="smoothing + 3",
    mase=0.82,
    coverage={0.8: 0.79, 0.95: 0.94},
)
POOL = CapacityReading("pool", "gauge", {"instance": "db-1"}, probability=0.9, expected_seconds=0.0)


def told(moved: list[Transition]) -> list[tuple[str, str]]:
    return [(one.alert.alertname, one.alert.state) for one in moved]


def test_a_quota_warns_at_the_set_share_and_not_below() -> None:
    alerts = CapacityAlerts()
    assert told(alerts.step(NOON, [replace(QUOTA, used_ratio=0.7999)])) == []
    assert told(alerts.step(NOON + 1, [replace(QUOTA, used_ratio=0.8)])) == [(QUOTA_WARNING, "firing")]
    assert told(alerts.step(NOON + 2, [replace(QUOTA, used_ratio=0.9)])) == []
    other = CapacityAlerts({"turso-rows": CapacityRule(warn=0.5, warn_clear=0.5)})
    assert told(other.step(NOON, [QUOTA])) == [(QUOTA_WARNING, "firing")]


def test_a_forecast_that_wavers_does_not_notify_at_each_turn() -> None:
    alerts = CapacityAlerts()
    assert told(alerts.step(NOON, [replace(QUOTA, probability=0.8)])) == [(QUOTA_WILL_EXHAUST, "firing")]
    at = NOON
    for probability in (0.6, 0.79, 0.4, 0.55, 0.3, 0.9):
        at += 5 * MINUTE
        assert told(alerts.step(at, [replace(QUOTA, probability=probability)])) == []
    below = replace(QUOTA, probability=0.49)
    assert told(alerts.step(at + 1 * MINUTE, [below])) == []
    assert told(alerts.step(at + 10 * MINUTE, [below])) == []
    ended = alerts.step(at + 11 * MINUTE, [below])
    assert told(ended) == [(QUOTA_WILL_EXHAUST, "resolved")]
    assert ended[0].alert.ends_at_ms == at + 11 * MINUTE
    assert alerts.active() == []


def test_quota_alerts_end_with_their_period_and_begin_anew() -> None:
    alerts = CapacityAlerts()
    sure = replace(QUOTA, used_ratio=0.9, probability=1.0)
    begun = alerts.step(NOON, [sure])
    assert told(begun) == [(QUOTA_WARNING, "firing"), (QUOTA_WILL_EXHAUST, "firing")]
    # Without a reading, as when the source is silent, the end of the period is known all the same.
    ended = alerts.step(DAY, [])
    assert {one.alert.state for one in ended} == {"resolved"}
    assert len(ended) == 2
    alerts.step(DAY + NOON, [replace(sure, period=(DAY, 2 * DAY))])
    # A period that was changed (another zone) ends what belonged to the one before.
    moved = alerts.step(DAY + NOON + 1, [replace(sure, period=(DAY + 1, 2 * DAY + 1))])
    assert told(moved) == [
        (QUOTA_WARNING, "resolved"),
        (QUOTA_WARNING, "firing"),
        (QUOTA_WILL_EXHAUST, "resolved"),
        (QUOTA_WILL_EXHAUST, "firing"),
    ]
    assert len({one.alert.fingerprint for one in moved}) == 2
    assert {one.alert.fingerprint for one in moved} == {one.alert.fingerprint for one in begun}


def test_what_is_unknown_changes_nothing() -> None:
    alerts = CapacityAlerts()
    unknown = replace(QUOTA, used_ratio=math.nan, probability=math.nan)
    assert alerts.step(NOON, [unknown]) == []
    alerts.step(NOON, [replace(QUOTA, used_ratio=0.9, probability=0.9)])
    assert alerts.step(NOON + 60 * MINUTE, [unknown]) == []
    assert alerts.step(NOON + 120 * MINUTE, []) == []
    assert len(alerts.active()) == 2


def test_a_pool_at_its_limit_has_an_alert_for_each_series() -> None:
    alerts = CapacityAlerts()
    moved = alerts.step(NOON, [POOL, replace(POOL, labels={"instance": "db-2", "kind": "x"})])
    assert told(moved) == [(CAPACITY_EXHAUSTION, "firing")] * 2
    assert moved[0].alert.labels == {
        "alertname": CAPACITY_EXHAUSTION,
        "severity": "ticket",
        "resource": "pool",
        "kind": "gauge",
        "instance": "db-1",
    }
    assert moved[1].alert.labels["exported_kind"] == "x"
    assert "has reached its limit" in moved[0].alert.annotations["summary"]
    assert [alert.alertname for alert in alerts.active()] == [CAPACITY_EXHAUSTION] * 2
    assert told(alerts.retire(NOON, ["other"])) == [(CAPACITY_EXHAUSTION, "resolved")] * 2


def test_it_names_the_model_its_past_accuracy_and_when() -> None:
    moved = CapacityAlerts().step(NOON, [replace(QUOTA, used_ratio=0.85, probability=0.93)])
    warning, exhaustion = (one.alert for one in moved)
    assert warning.annotations["summary"] == "85% of the quota turso-rows is used"
    text = exhaustion.annotations["summary"] + exhaustion.annotations["description"]
    for words in (
        "in 2 h 0 min (93% sure)",
        "1970-01-01 14:00",
        "between 1970-01-01 13:00 and 1970-01-01 15:00",
        "smoothing + 3",
        "MASE 0.82",
        "80% interval covered 79%",
        "1970-01-02 00:00",
    ):
        assert words in text
    assert exhaustion.evidence["model"] == "smoothing + 3"
    assert exhaustion.evidence["exhaustion_seconds"] == {"0.05": 3600.0, "0.5": None}
    json.dumps(exhaustion.to_dict(), allow_nan=False)


def test_a_lag_without_a_limit_is_told_as_one_that_does_not_catch_up() -> None:
    lag = CapacityReading("orders", "lag", probability=0.97, horizon_ms=6 * 3_600_000, model="recent changes")
    (moved,) = CapacityAlerts().step(NOON, [lag])
    assert moved.alert.annotations["summary"] == "Lag orders does not catch up within 6 h 0 min (97% sure)"
    assert "recent changes" in moved.alert.annotations["description"]


ratios = st.sampled_from([math.nan, 0.1, 0.5, 0.74, 0.77, 0.8, 1.2])
steps = st.lists(
    st.tuples(st.integers(1, 12 * 60), st.sampled_from(["a", "b", "pool"]), ratios, ratios), max_size=25
)


@given(steps, st.integers(0, 25))
def test_a_restart_goes_on_as_if_nothing_had_happened(
    story: list[tuple[int, str, float, float]], restart: int
) -> None:
    steady, restarted = CapacityAlerts(), CapacityAlerts()
    at = 0
    live: set[tuple[str, str]] = set()
    for number, (minutes, resource, used, probability) in enumerate(story):
        at += minutes * MINUTE
        if number == restart:
            stored = json.loads(json.dumps(restarted.state(), allow_nan=False))
            restarted = CapacityAlerts()
            restarted.restore(stored)
        day = at // DAY * DAY
        reading = CapacityReading(
            resource,
            "gauge" if resource == "pool" else "quota",
            used_ratio=used,
            probability=probability,
            period=None if resource == "pool" else (day, day + DAY),
        )
        moved = steady.step(at, [reading])
        assert [one.to_dict() for one in restarted.step(at, [reading])] == [one.to_dict() for one in moved]
        for one in moved:  # what fires was not firing, what resolves was
            key = one.alert.alertname, one.alert.labels["resource"]
            assert (key in live) == (one.alert.state == "resolved")
            live ^= {key}
    assert len(steady.active()) == len(live)


def test_what_is_no_state_and_bounds_that_cross_are_refused() -> None:
    with pytest.raises(ValueError, match="not a state"):
        CapacityAlerts().restore([{"alert": {}}])
    with pytest.raises(ValueError, match="warn_clear"):
        CapacityRule(warn=0.5, warn_clear=0.6)
    with pytest.raises(ValueError, match="probability_clear"):
        CapacityRule(probability=0.4)
