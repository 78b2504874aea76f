"""The demo's shop: the same each time, healthy but for its incident."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import orjson

from streams.demo.traffic import TOPICS, Incident, Shop

HOUR_MS = 3_600_000
INCIDENT = Incident(HOUR_MS, 2 * HOUR_MS)

Events = Mapping[str, list[tuple[int, bytes]]]


def served(start_ms: int, count: int = 20_000, seed: int = 1) -> Events:
    return Shop(incident=INCIDENT, seed=seed).serve(start_ms, start_ms + HOUR_MS, count)


def share(events: Events, topic: str, field: str, at_least: float) -> float:
    values = np.array([orjson.loads(value)[field] for _, value in events[topic]])
    return float(np.mean(values >= at_least))


def test_the_same_seed_gives_the_same_traffic() -> None:
    assert served(0, 500) == served(0, 500)
    assert served(0, 500) != served(0, 500, seed=2)


def test_every_topic_has_events_in_the_order_of_their_times() -> None:
    events = served(0)
    assert tuple(events) == TOPICS
    for rows in events.values():
        times = [time_ms for time_ms, _ in rows]
        assert times == sorted(times)
        assert 0 <= times[0] <= times[-1] < HOUR_MS
        assert [orjson.loads(value)["ts"] for _, value in rows] == times


def test_all_slos_hold_before_and_after_the_incident() -> None:
    for start_ms in (0, 2 * HOUR_MS):
        events = served(start_ms)
        assert share(events, "requests", "status", 500) < 0.001
        assert share(events, "requests", "duration_ms", 500) < 0.05
        assert share(events, "queries", "duration_ms", 1_000) < 0.01


def test_the_incident_burns_the_budget_fast_enough_to_page() -> None:
    events = served(HOUR_MS)
    assert share(events, "requests", "status", 500) > 14.4 * 0.001
    assert share(events, "requests", "duration_ms", 500) > 0.05
    assert share(events, "queries", "duration_ms", 1_000) > 0.01
    assert share(events, "llm_calls", "status", 500) > 0.05


def test_both_providers_are_called_and_queries_belong_to_requests() -> None:
    events = served(0)
    calls = [orjson.loads(value) for _, value in events["llm_calls"]]
    assert {call["provider"] for call in calls} == {"anthropic", "openai"}
    requests = {orjson.loads(value)["trace_id"] for _, value in events["requests"]}
    assert len(requests) == 20_000
    assert {orjson.loads(value)["trace_id"] for _, value in events["queries"]} <= requests


def test_a_step_without_requests_is_empty() -> None:
    shop = Shop(incident=INCIDENT, seed=1)
    assert shop.serve(5, 5, 0) == {topic: [] for topic in TOPICS}


def test_severity_rises_and_ends_at_once() -> None:
    times = np.array(
        [HOUR_MS - 1, HOUR_MS, HOUR_MS + 180_000, HOUR_MS + 360_000, 2 * HOUR_MS - 1, 2 * HOUR_MS]
    )
    assert INCIDENT.severity_at(times).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0, 0.0]
