"""A model is promoted if its alarms fit the rate that was asked for and labels do not speak against it."""

from __future__ import annotations

import pytest

from models.registry.backtest import Backtest
from models.registry.promotion import Gate, decide


def test_the_asked_rate_passes_and_many_times_it_does_not() -> None:
    assert decide(Backtest(10, 100.0, 1.0), None, target=0.1).promote
    refused = decide(Backtest(60, 100.0, 1.0), None, target=0.1)
    assert not refused.promote
    (volume,) = [check for check in refused.checks if not check.passed]
    assert volume.name == "alarm volume"
    assert "60 unexplained alarms in 100.0 series-weeks (0.6 a series and week)" in volume.text
    assert "asked for are 0.1, at most 2 times as many" in volume.text


def test_what_the_champion_raises_too_is_no_reason_to_refuse() -> None:
    candidate, loud = Backtest(60, 100.0, 1.0), Backtest(55, 100.0, 1.0)
    decision = decide(candidate, loud, target=0.1)
    assert decision.promote
    assert "the champion has 0.55" in decision.checks[0].text
    assert not decide(candidate, Backtest(30, 100.0, 1.0), target=0.1).promote
    assert not decide(candidate, Backtest(0, 0.0, 0.0), target=0.1).promote


def test_a_short_backtest_refuses_only_what_it_can_tell() -> None:
    assert decide(Backtest(1, 1.0, 1.0), None, target=0.1).promote
    assert not decide(Backtest(4, 1.0, 1.0), None, target=0.1).promote
    assert decide(Backtest(0, 10.0, 1.0), None, target=0.1).promote


def test_a_model_that_says_nothing_for_long_is_refused() -> None:
    silent = decide(Backtest(0, 1000.0, 1.0), None, target=0.1)
    assert [check.name for check in silent.checks if not check.passed] == ["alarm volume"]
    assert "far fewer alarms" in silent.checks[0].text


def test_real_alarms_are_no_false_volume() -> None:
    assert decide(Backtest(60, 100.0, 1.0, 50, 50, 50, 0), None, target=0.1).promote


def test_one_that_does_not_judge_is_refused() -> None:
    assert [c.name for c in decide(Backtest(0, 1.0, 0.1), None, target=0.1).checks if not c.passed] == [
        "coverage"
    ]


@pytest.mark.parametrize(
    ("candidate", "refused"),
    [
        (Backtest(12, 100.0, 1.0, 10, 9, 9, 3), []),
        (Backtest(12, 100.0, 1.0, 10, 9, 9, 9), ["precision"]),
        (Backtest(12, 100.0, 1.0, 10, 5, 9, 3), ["recall"]),
        (Backtest(12, 100.0, 1.0, 10, 0, 0, 3), ["precision", "recall"]),
        (Backtest(12, 100.0, 1.0, 10, 0, 0, 0), ["recall"]),
        (Backtest(12, 100.0, 1.0), ["recall"]),
    ],
)
def test_labels_must_not_speak_against_it(candidate: Backtest, refused: list[str]) -> None:
    champion = Backtest(12, 100.0, 1.0, 10, 9, 9, 3)
    decision = decide(candidate, champion, target=0.1)
    assert [check.name for check in decision.checks if not check.passed] == refused
    assert decide(candidate, Backtest(12, 100.0, 1.0), target=0.1).promote


def test_the_gate_can_be_set() -> None:
    champion = Backtest(12, 100.0, 1.0, 10, 9, 9, 3)
    candidate = Backtest(60, 100.0, 0.3, 10, 7, 9, 3)
    assert not decide(candidate, champion, target=0.1).promote
    assert decide(
        candidate, champion, target=0.1, gate=Gate(volume_factor=8, judged_min=0.2, slack=0.3)
    ).promote
