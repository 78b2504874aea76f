"""Noise makes that series and kind quieter, bounded and reversibly, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.api.detector import PAGE, Verdicts
from detectors.feedback.labels import Label
from detectors.feedback.recalibration import Recalibration, factors_of, recalibrated

A, B = ("a",), ("b",)
HOW = Recalibration(growth=3.0, factor_max=100.0, half_life_ms=1_000)


def said(number: int, verdict: str = "noise", **changes: object) -> Label:
    label = Label("traffic", A, "noise", "spike", from_ms=number, to_ms=number, at_ms=0)
    return msgspec.structs.replace(label, verdict=verdict, **changes)


def factor(labels: list[Label], now_ms: int = 0) -> float:
    return factors_of(labels, "traffic", now_ms=now_ms, how=HOW).get((A, "spike"), 1.0)


def test_each_label_of_noise_triples_what_is_needed_up_to_a_hundred() -> None:
    counts = [factor([said(n + 1) for n in range(many)]) for many in range(7)]
    assert counts == pytest.approx([1, 3, 9, 27, 81, 100, 100])


def test_real_labels_weigh_against_noise_and_expected_ones_do_not_count() -> None:
    noise = [said(1), said(2)]
    assert factor([*noise, said(3, "real")]) == pytest.approx(3)
    assert factor([*noise, said(3, "real"), said(4, "real"), said(5, "real")]) == 1.0
    assert factor([*noise, said(3, "expected")]) == pytest.approx(9)


def test_labels_fade() -> None:
    assert factor([said(1), said(2)], now_ms=1_000) == pytest.approx(3)
    assert factor([said(1)], now_ms=100_000) == pytest.approx(1.0)
    assert factor([said(1, at_ms=500)], now_ms=0) == pytest.approx(3)


def test_removing_a_label_undoes_it() -> None:
    labels = [said(1), said(2)]
    assert factor([*labels, said(2, removed=True, at_ms=1)]) == factor(labels[:1])


@given(
    st.lists(
        st.builds(
            said,
            st.integers(1, 40),
            st.sampled_from(["real", "noise", "expected"]),
            at_ms=st.integers(0, 5_000),
        )
    ),
    st.integers(0, 10_000),
)
def test_factors_are_bounded_and_a_function_of_the_set(labels: list[Label], now_ms: int) -> None:
    found = factor(labels, now_ms)
    assert 1.0 <= found <= 100.0 * (1 + 1e-12)
    assert factor([*reversed(labels), *labels], now_ms) == pytest.approx(found)
    more = factor([*labels, said(99, at_ms=now_ms)], now_ms)
    assert more >= found


def verdicts() -> Verdicts:
    result = Verdicts.empty(2, 2, 1)
    return replace(
        result,
        tail=np.array([[1e-3, 1e-3], [1e-6, np.nan]]),
        alarm=np.array([[True, True], [True, False]]),
        severity=np.full((2, 2), PAGE, np.int8),
        kind=np.array([["spike", "spike"], ["drop", ""]], object),
    )


def test_only_the_labelled_series_and_kind_become_quiet() -> None:
    factors = factors_of([said(1), said(2)], "traffic", now_ms=0)
    after = recalibrated(verdicts(), [A, B], factors, threshold=5e-3)
    assert after.alarm.tolist() == [[False, True], [True, False]]
    assert after.severity.tolist() == [[0, PAGE], [PAGE, PAGE]]
    assert verdicts().alarm[0, 0]


def test_stronger_evidence_still_alarms() -> None:
    factors = factors_of([said(n) for n in range(1, 9)], "traffic", now_ms=0)
    strong = replace(verdicts(), tail=np.full((2, 2), 4e-5))
    assert recalibrated(strong, [A, B], factors, threshold=5e-3).alarm.all(axis=1)[0]


def test_a_label_without_kind_is_about_all_kinds() -> None:
    factors = factors_of([said(n, kind="") for n in range(1, 9)], "traffic", now_ms=0)
    assert not recalibrated(verdicts(), [A, B], factors, threshold=1e-5).alarm[:, 0].any()


def test_no_labels_change_nothing_and_unknown_series_are_ignored() -> None:
    for labels in ([], [said(1, series=("gone",))], [said(1, detector="logs")]):
        factors = factors_of(labels, "traffic", now_ms=0)
        after = recalibrated(verdicts(), [A, B], factors, threshold=5e-3)
        assert after.alarm.tolist() == verdicts().alarm.tolist()
        assert after.severity.tolist() == verdicts().severity.tolist()


def test_settings_that_would_loosen_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Recalibration(growth=0.5)
    assert factors_of([said(1)], "traffic", now_ms=0, how=Recalibration(growth=1.0)) == {}
