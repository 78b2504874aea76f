"""What is done to rows is done to all that they carry: against plain lists of rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.partials.payload import Payload, Ragged
from streams.partials.sketch import BIN_BITS, BIN_COUNT
from tests.unit.streams.partials.payloads import Row, ragged, rows_of

COUNTERS = 2

places = st.tuples(st.integers(0, 9), st.integers(0, BIN_COUNT - 1))
entries = st.dictionaries(st.integers(0, BIN_COUNT - 1), st.integers(1, 200), max_size=4)
payloads = st.lists(
    st.tuples(st.tuples(*[st.integers(-(2**40), 2**40)] * COUNTERS), entries, entries), max_size=10
).map(lambda rows: payload_of(rows))


def payload_of(rows: Sequence[tuple[tuple[int, ...], dict[int, int], dict[int, int]]]) -> Payload:
    """rows : counts, bins and registers of each"""
    return Payload(
        np.array([counts for counts, _, _ in rows], dtype=np.int64).reshape(-1, COUNTERS),
        ragged([bins for _, bins, _ in rows], np.int64),
        ragged([registers for _, _, registers in rows], np.uint8),
    )


def types_of(payload: Payload) -> list[np.dtype]:
    arrays = [payload.counts]
    for part in (payload.bins, payload.registers):
        arrays += [part.per_row, part.slots, part.values]
    return [array.dtype for array in arrays]


TYPES = types_of(payload_of([]))


@settings(max_examples=200)
@given(payloads, st.data())
def test_rows_are_taken_in_any_order_and_as_often_as_asked(payload, data):
    rows = data.draw(st.lists(st.sampled_from(range(len(payload))), max_size=12)) if len(payload) else []
    taken = payload.select(np.array(rows, dtype=np.int64))
    whole = rows_of(payload)
    assert rows_of(taken) == [whole[row] for row in rows]
    assert len(taken) == len(rows)
    assert types_of(taken) == TYPES


@settings(max_examples=200)
@given(payloads, st.lists(st.integers(0, 10), max_size=5))
def test_cut_gives_the_rows_between_bounds_and_joined_again_they_are_the_whole(payload, cuts):
    bounds = sorted({0, len(payload), *(min(cut, len(payload)) for cut in cuts)})
    pieces = list(payload.cut(bounds))
    whole = rows_of(payload)
    assert [rows_of(piece) for piece in pieces] == [whole[start:stop] for start, stop in pairwise(bounds)]
    if pieces:
        assert rows_of(Payload.concatenate(pieces)) == whole
    assert all(types_of(piece) == TYPES for piece in pieces)


@settings(max_examples=100)
@given(st.lists(payloads, min_size=1, max_size=4))
def test_parts_are_joined_row_by_row(parts):
    joined = Payload.concatenate(parts)
    expected: list[Row] = [row for part in parts for row in rows_of(part)]
    assert rows_of(joined) == expected
    assert types_of(joined) == TYPES


@settings(max_examples=200)
@given(st.dictionaries(places, st.integers(1, 99), max_size=30), st.sets(st.integers(0, 9)))
def test_entries_are_found_by_the_keys_of_their_rows(table, wanted):
    told = sorted(table.items())
    keys = np.array([(row << BIN_BITS) | slot for (row, slot), _ in told], dtype=np.int64)
    values = np.array([value for _, value in told], dtype=np.int64)
    rows = np.array(sorted(wanted), dtype=np.int64)
    found = Ragged.of_keys(rows, keys, values)
    mine = [(row, slot, value) for (row, slot), value in told if row in wanted]
    assert found.per_row.tolist() == [sum(row == one for row, _, _ in mine) for one in rows.tolist()]
    assert list(zip(found.slots.tolist(), found.values.tolist(), strict=True)) == [each[1:] for each in mine]
    assert found.keys(rows).tolist() == [(row << BIN_BITS) | slot for row, slot, _ in mine]


@pytest.mark.parametrize("shift", [0, 36])
def test_keys_reach_to_the_highest_cell(shift):
    """A cell's key takes 50 bits; with a bin below it all 63 are used."""
    rows = np.array([0, (1 << (14 + shift)) - 1], dtype=np.int64)
    part = ragged([{0: 1, BIN_COUNT - 1: 2}, {BIN_COUNT - 1: 3}], np.int64)
    back = Ragged.of_keys(rows, part.keys(rows), part.values)
    assert (back.per_row.tolist(), back.slots.tolist()) == (part.per_row.tolist(), part.slots.tolist())


def test_rows_of_counts_carry_nothing_else():
    payload = Payload.of_counts(np.array([[1, 2], [3, 4]]))
    assert rows_of(payload) == [((1, 2), (), ()), ((3, 4), (), ())]
    assert types_of(payload) == TYPES
    assert payload.sizes().tolist() == [16, 16]
