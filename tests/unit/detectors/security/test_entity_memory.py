"""What is remembered of entities, against a loop over all steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.security.entity_memory import SPAN_MS, EntityMemory
from models.calendar.units import MINUTE_MS

STEP_MS = 10_000

steps = st.lists(
    st.tuples(
        st.integers(1, 12),
        st.dictionaries(st.integers(0, 6), st.tuples(st.integers(1, 9), st.integers(-5, 5)), max_size=5),
    ),
    min_size=1,
    max_size=40,
)


def fed(memory: EntityMemory, given: list[tuple[int, dict[int, tuple[int, int]]]], at_ms: int = 0) -> int:
    for gap, seen in given:
        at_ms += gap * STEP_MS
        values = np.array(list(seen.values()), np.float64).reshape(-1, 2)
        memory.add(at_ms, [(str(name),) for name in seen], values)
    return at_ms


@given(steps)
def test_sums_are_those_of_the_last_minute_and_ten(
    given: list[tuple[int, dict[int, tuple[int, int]]]],
) -> None:
    memory = EntityMemory(2, forget_ms=86_400_000, entity_count_max=100)
    now = fed(memory, given)
    for name in range(7):
        minute, span, squares, peak, at_ms = np.zeros(2), np.zeros(2), 0.0, 0.0, 0
        for gap, seen in given:
            at_ms += gap * STEP_MS
            if name not in seen:
                continue
            counts = np.array(seen[name], np.float64)
            if at_ms > now - SPAN_MS:
                span += counts
                squares += counts[0] ** 2
                peak = max(peak, counts[1])
            minute += counts * (at_ms > now - MINUTE_MS)
        if any(name in seen for _, seen in given):
            slot = memory._slots_of([(str(name),)])[0]
            np.testing.assert_array_equal(memory.minute[slot], minute)
            np.testing.assert_array_equal(memory.span[slot], span)
            assert memory.squares[slot] == squares
            assert memory.peaks([1])[slot, 0] == peak


@given(steps, steps)
def test_goes_on_from_its_state(
    before: list[tuple[int, dict[int, tuple[int, int]]]], after: list[tuple[int, dict[int, tuple[int, int]]]]
) -> None:
    one = EntityMemory(2, forget_ms=SPAN_MS, entity_count_max=5)
    now = fed(one, before)
    other = EntityMemory(2, forget_ms=SPAN_MS, entity_count_max=5)
    other.load(one.state())
    fed(one, after, now)
    fed(other, after, now)
    assert set(one._slots) == set(other._slots)
    for name in one._slots:
        mine, others = one._slots_of([name]), other._slots_of([name])
        np.testing.assert_array_equal(one.span[mine], other.span[others])
        np.testing.assert_array_equal(one.first_ms[mine], other.first_ms[others])
        np.testing.assert_array_equal(one.dispersion(mine), other.dispersion(others))


def test_silent_entities_make_room_for_others() -> None:
    memory = EntityMemory(1, forget_ms=SPAN_MS, entity_count_max=2)
    names = [("a",), ("b",), ("c",)]
    assert memory.add(0, names, np.ones((3, 1))).tolist().count(-1) == 1
    assert memory.refused == 1
    slots = memory.add(2 * SPAN_MS, [("c",), ("d",)], np.ones((2, 1)))
    assert (slots >= 0).all()
    assert len(memory) == 2
    assert memory.first_ms[slots].tolist() == [2 * SPAN_MS] * 2
    assert memory.span[slots, 0].tolist() == [1, 1]


def test_time_must_go_on() -> None:
    memory = EntityMemory(1, forget_ms=SPAN_MS, entity_count_max=2)
    memory.add(10, [("a",)], np.ones((1, 1)))
    with pytest.raises(ValueError, match="after one that ends at 10 ms"):
        memory.add(10, [("a",)], np.ones((1, 1)))


def test_dispersion_tells_a_pulse_from_bursts() -> None:
    memory = EntityMemory(1, forget_ms=SPAN_MS, entity_count_max=3)
    for step in range(60):
        values = np.array([[4.0], [40.0 if step % 10 == 0 else 0.0]])
        memory.add((step + 1) * STEP_MS, [("pulse",), ("bursts",)], values)
    pulse, bursts = memory.dispersion(np.array([0, 1])).tolist()
    assert pulse == 0
    assert bursts == pytest.approx(36)
