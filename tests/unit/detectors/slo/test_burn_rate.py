"""When a tier fires: against a loop over tiers and groups, and in the cases that people care about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from detectors.slo.burn_rate import MICRO, Verdicts, judge
from detectors.slo.slo import Slo, Tier

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

WORKBOOK = (
    Tier("page", HOUR, 5 * MINUTE, 14.4),
    Tier("page", 6 * HOUR, 30 * MINUTE, 6.0),
    Tier("ticket", DAY, 2 * HOUR, 3.0),
    Tier("ticket", 3 * DAY, 6 * HOUR, 1.0),
)


def slo(target: float = 0.999, *, confidence: float = 0.95, **kwargs: object) -> Slo:
    return Slo(
        name="availability",
        service="checkout",
        target=target,
        source="requests",
        rollup="slo:availability",
        window_ms=30 * DAY,
        tiers=WORKBOOK,
        confidence=confidence,
        **kwargs,  # type: ignore[arg-type]
    )


def same_in_all_windows(good: int, total: int) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    windows = {window for tier in WORKBOOK for window in (tier.long_ms, tier.short_ms)}
    return {window: (np.array([good]), np.array([total])) for window in windows}


def fires(verdicts: Verdicts) -> list[bool]:
    return [bool(row[0]) for row in verdicts.firing]


def naive_tier(
    tier: Tier, target: float, confidence: float, long: tuple[int, int], short: tuple[int, int]
) -> tuple[bool, bool, bool]:
    """Firing, burning, absent of one group, written out."""
    absent = long[1] == 0 or short[1] == 0
    if absent:
        return False, False, True
    rates = [(total - good) / total / (1 - target) for good, total in (long, short)]
    burning = all(rate > tier.factor for rate in rates)
    bad = long[1] - long[0]
    # The bound lies above the threshold when so many bad events are too unlikely at the threshold.
    threshold = tier.factor * (1 - target)
    sure = bad > 1 and threshold < 1 and binom.sf(bad - 1, long[1], threshold) < 1 - confidence
    return burning and sure, burning, False


window_counts = st.integers(0, 3000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
near_the_edge = st.integers(1, 3000).flatmap(
    lambda total: st.tuples(st.integers(max(0, total - 12), total), st.just(total))
)


@settings(max_examples=200)
@given(
    st.lists(st.lists(window_counts | near_the_edge, min_size=7, max_size=7), min_size=1, max_size=4),
    st.sampled_from([0.9, 0.99, 0.999]),
    st.sampled_from([0.8, 0.95, 0.99]),
)
def test_a_tier_fires_as_the_loop_says(
    groups: list[list[tuple[int, int]]], target: float, confidence: float
) -> None:
    windows = [5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, DAY, 3 * DAY]
    counts = {
        window: (
            np.array([group[row][0] for group in groups]),
            np.array([group[row][1] for group in groups]),
        )
        for row, window in enumerate(windows)
    }
    objective = slo(target, confidence=confidence)
    verdicts = judge(objective, counts)
    for t, tier in enumerate(objective.tiers):
        for s, group in enumerate(groups):
            long, short = group[windows.index(tier.long_ms)], group[windows.index(tier.short_ms)]
            found = (verdicts.firing[t, s], verdicts.burning[t, s], verdicts.absent[t, s])
            assert found == naive_tier(tier, target, confidence, long, short)


@pytest.mark.parametrize("total", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("target", [0.9, 0.95, 0.99, 0.999, 0.99999])
def test_one_failed_request_at_night_pages_nobody(total: int, target: float) -> None:
    assert not any(fires(judge(slo(target), same_in_all_windows(total - 1, total))))


def test_with_the_guard_off_one_failed_request_fires() -> None:
    verdicts = judge(slo(confidence=0.0), same_in_all_windows(0, 1))
    assert fires(verdicts) == [True, True, True, True]


def test_a_quiet_service_that_fails_altogether_does_page() -> None:
    assert fires(judge(slo(), same_in_all_windows(0, 3)))[0]


def test_an_incident_fires_and_its_end_is_seen_by_the_short_window() -> None:
    counts = same_in_all_windows(9_000, 10_000)
    assert fires(judge(slo(), counts))[0]
    counts[5 * MINUTE] = (np.array([800]), np.array([800]))
    over = judge(slo(), counts)
    assert not over.firing[0, 0]
    assert not over.burning[0, 0]
    assert not over.absent[0, 0]


def test_silence_after_an_incident_is_absence_not_recovery() -> None:
    counts = same_in_all_windows(9_000, 10_000)
    counts[5 * MINUTE] = (np.array([0]), np.array([0]))
    verdicts = judge(slo(), counts)
    assert verdicts.absent[:, 0].tolist() == [True, False, False, False]
    assert fires(verdicts) == [False, True, True, True]
    assert np.isnan(verdicts.burn[0, 0])


def test_more_confidence_needs_more_evidence() -> None:
    counts = same_in_all_windows(95, 100)
    assert judge(slo(confidence=0.95), counts).firing[0, 0]
    assert not judge(slo(confidence=0.99), counts).firing[0, 0]
    assert judge(slo(confidence=0.99), counts).burning[0, 0]


def test_a_slice_of_a_million_parts_is_one_piece_of_evidence() -> None:
    one_bad_slice = same_in_all_windows(59 * MICRO, 60 * MICRO)
    assert not judge(slo(budgeting="RatioTimeslices"), one_bad_slice).firing[0, 0]
    assert judge(slo(), one_bad_slice).firing[0, 0]
    assert not judge(slo(), one_bad_slice, unit=MICRO).firing[0, 0]


def test_more_good_than_total_is_no_burn() -> None:
    verdicts = judge(slo(), same_in_all_windows(12, 10))
    assert fires(verdicts) == [False] * 4
    assert verdicts.burn[0, 0] < 0


def test_no_groups_and_no_tiers_are_judged_too() -> None:
    counts = {window: (good[:0], total[:0]) for window, (good, total) in same_in_all_windows(1, 1).items()}
    assert judge(slo(), counts).firing.shape == (4, 0)
    assert judge(slo(), counts).series_count == 0


def test_a_year_of_a_quiet_healthy_service_pages_seldom() -> None:
    """The figures of the module's docstring: ten requests an hour, failing as often as 99.9 % allows."""
    looks_per_hour = HOUR // 10_000
    rng = np.random.default_rng(1)
    total = rng.poisson(10 / looks_per_hour, 365 * 24 * looks_per_hour)
    good = total - rng.binomial(total, 0.001)

    def window(values: np.ndarray, span_ms: int) -> np.ndarray:
        sums = np.concatenate([[0], np.cumsum(values)])
        ends = np.arange(1, len(sums))
        return sums[ends] - sums[np.maximum(ends - span_ms // 10_000, 0)]

    # Each look is a group of its own, so that the whole year is one call.
    pages = WORKBOOK[:2]
    spans = {span for tier in pages for span in (tier.long_ms, tier.short_ms)}
    counts = {span: (window(good, span), window(total, span)) for span in spans}

    def pages_in_a_year(confidence: float) -> int:
        objective = replace(slo(confidence=confidence), tiers=pages)
        fires = np.flatnonzero(judge(objective, counts).firing.any(axis=0))
        return 1 + int(np.count_nonzero(np.diff(fires) > 30)) if len(fires) else 0

    assert pages_in_a_year(0.0) == pytest.approx(93, abs=25)
    assert pages_in_a_year(0.95) == pytest.approx(5, abs=5)
