"""Rolling sums against a naive recomputation."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.window.rings import CHUNK_SERIES, Rings, level_of, window_start

WINDOWS = (300_000, 3_600_000, 7_200_000, 86_400_000, 7 * 86_400_000)


def naive(pushed: dict[int, np.ndarray], window_ms: int, end: int) -> np.ndarray:
    first = window_start(window_ms, end)
    return sum((c for b, c in pushed.items() if first <= b < end), np.zeros_like(next(iter(pushed.values()))))


steps = st.lists(
    st.tuples(
        st.one_of(st.integers(1, 4), st.integers(1, 400), st.integers(1, 70_000)),
        st.lists(st.integers(0, 3), min_size=0, max_size=3, unique=True),
        st.integers(0, 2**33),
        st.booleans(),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=150)
@given(steps)
def test_sums_equal_a_naive_recomputation_over_any_gaps(steps):
    rings, pushed, bucket = Rings(WINDOWS, 2), {}, 1_000_000
    for gap, series, amount, restart in steps:
        bucket += gap
        counts = np.array([[amount, amount // 3 + s] for s in series], dtype=np.int64).reshape(-1, 2)
        rings.push(bucket, np.array(series, dtype=np.int64), counts)
        full = np.zeros((4, 2), dtype=np.int64)
        full[series] = counts
        pushed[bucket] = full
        if restart:
            rings = reloaded(rings)
        sums = rings.sums()
        for index, window in enumerate(WINDOWS):
            expected = naive(pushed, window, bucket + 1)[: rings.series_count]
            assert np.array_equal(sums[index], expected)


def reloaded(rings: Rings) -> Rings:
    """The same rings after a restart: every slot stored and loaded."""
    fresh = Rings(rings.windows_ms, rings.counter_count)
    for index, level in enumerate(rings.levels):
        current = (rings.end - 1) // level.width
        for slot in range(current - level.slot_count + 1, current + 1):
            fresh.load(index, slot, *rings.slot_rows(index, slot))
    fresh.rebuild(rings.end)
    return fresh


@settings(max_examples=50)
@given(st.lists(st.integers(0, 3 * CHUNK_SERIES), min_size=1, max_size=40, unique=True), st.integers(0, 99))
def test_series_in_any_number_of_chunks_keep_their_counts(series, amount):
    rings = Rings((300_000,), 1)
    expected = np.zeros(max(series) + 1, dtype=np.int64)
    for step, number in enumerate(series):
        rings.push(5 + step // 8, np.array([number]), np.array([[amount]])) if step % 8 == 0 else rings.load(
            0, 5 + step // 8, np.array([number]), np.array([[amount]])
        )
        expected[number] += amount
    rings.rebuild(rings.end)
    assert np.array_equal(rings.sums()[0, :, 0], expected)


def test_a_window_is_the_smallest_number_of_slots_that_covers_it():
    assert [level_of(w) for w in (300_000, 3_600_000, 3_610_000, 3 * 86_400_000, 7 * 86_400_000)] == [
        0,
        0,
        1,
        1,
        2,
    ]
    assert window_start(300_000, 1000) == 970
    assert window_start(7_200_000, 1000) == (1000 - 720) // 30 * 30
    assert window_start(7_200_000, 1020) == 300


def test_between_takes_each_instant_from_the_finest_level_that_holds_it():
    rings, rng = Rings(WINDOWS, 1), np.random.default_rng(7)
    truth = {}
    for bucket in range(400_000, 400_000 + 3000):
        truth[bucket] = int(rng.integers(0, 9))
        rings.push(bucket, np.array([0]), np.array([[truth[bucket]]]))
    everything = rings.between(0, rings.end)[0, 0]
    assert everything == sum(truth.values())
    recent = rings.between(rings.end - 100, rings.end - 50)[0, 0]
    assert recent == sum(v for b, v in truth.items() if rings.end - 100 <= b < rings.end - 50)
