"""A detector on a whole panel gives what the stream would have given, in whichever parts it is judged."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.api.detector import Panel
from streams.offline.detect import detect
from tests.unit.zscore import ZScore


def panel(steps: int) -> Panel:
    values = np.random.default_rng(steps).normal(100, 5, steps)
    values[-1:] = 900
    return Panel.of_series(60_000 * np.arange(1, steps + 1), values)


@pytest.mark.parametrize(("steps", "learn", "first"), [(700, 0.15, 105), (20, 0.5, 10), (3, 0.4, 1)])
def test_the_first_steps_are_learnt_and_the_others_judged(steps: int, learn: float, first: int) -> None:
    whole, told = panel(steps), []
    judged, verdicts = detect(whole, ZScore(), learn=learn, progress=told.append)
    assert judged.times.tolist() == whole.times[first:].tolist()
    assert sum(told) == len(verdicts.tail) == steps - first
    expected = ZScore().fit(whole.rows(0, first)).update(whole.rows(first, steps))
    assert np.array_equal(verdicts.tail, expected.tail)
    assert verdicts.alarm[-1, 0]


def test_with_nothing_to_learn_from_a_detector_goes_on_from_what_it_knows() -> None:
    whole = panel(50)
    judged, verdicts = detect(whole.rows(40, 50), ZScore().fit(whole.rows(0, 40)), learn=0)
    assert len(judged) == 10
    assert np.isfinite(verdicts.tail).all()


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="1 steps are too few to learn from and judge"):
        detect(panel(1), ZScore(), learn=0.9)
