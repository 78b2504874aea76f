"""`OpenBuckets`: the highest offset stands in whatever order rows arrive, however they are cut."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.partials.payload import Payload
from streams.partials.sketch import BIN_BITS
from streams.window.open_buckets import OpenBuckets, Piece
from tests.unit.streams.partials.payloads import ragged, rows_of

SERIES, BUCKETS, PARTITIONS = 4, 3, 2


def version(partition: int, bucket: int, series: int, offset: int) -> tuple[list[int], dict, dict]:
    """(counts, bins, registers) that a source partition reports at an offset: a function of the log."""
    seed = partition * 31 + bucket * 17 + series * 7 + offset
    bins = {b: offset + b for b in range(seed % 3)}
    registers = {r: 1 + (seed + r) % 50 for r in range(seed % 4)}
    return [offset * 10 + series, seed], bins, registers


def piece_of(partition: int, bucket: int, series: list[int], offset: int) -> Piece:
    rows = [version(partition, bucket, s, offset) for s in series]
    return Piece(
        series=np.array(series, dtype=np.int64),
        offset=np.full(len(series), offset),
        payload=Payload(
            counts=np.array([counts for counts, _, _ in rows], dtype=np.int64).reshape(-1, 2),
            bins=ragged([bins for _, bins, _ in rows], np.int64),
            registers=ragged([registers for _, _, registers in rows], np.uint8),
        ),
    )


arrivals = st.lists(
    st.tuples(
        st.integers(0, PARTITIONS - 1),
        st.integers(0, BUCKETS - 1),
        st.lists(st.integers(0, SERIES - 1), min_size=1, max_size=SERIES, unique=True),
        st.integers(0, 9),
        st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(arrivals)
def test_of_each_series_the_highest_offset_stands(arrived):
    opened = OpenBuckets(2)
    newest: dict[tuple[int, int, int], int] = {}
    for partition, bucket, series, offset, look in arrived:
        opened.replace(partition, bucket, piece_of(partition, bucket, series, offset))
        for s in series:
            newest[partition, bucket, s] = max(offset, newest.get((partition, bucket, s), 0))
        if look:
            assert_stands(opened, newest)
    assert opened.buckets() == {bucket for _, bucket, _, _, _ in arrived}
    assert_stands(opened, newest)
    opened.drop_below(1)
    assert_stands(opened, {key: offset for key, offset in newest.items() if key[1] >= 1})


def assert_stands(opened: OpenBuckets, newest: dict[tuple[int, int, int], int]) -> None:
    """Totals, counts, bins and registers against sums over what is newest."""
    for bucket in range(BUCKETS):
        counts: dict[int, np.ndarray] = {}
        bins: Counter = Counter()
        registers: dict[int, int] = {}
        for (partition, at, series), offset in newest.items():
            if at == bucket:
                row, some, others = version(partition, bucket, series, offset)
                counts[series] = counts.get(series, np.zeros(2, dtype=np.int64)) + row
                bins.update({(series << BIN_BITS) | b: n for b, n in some.items()})
                for r, rank in others.items():
                    key = (series << BIN_BITS) | r
                    registers[key] = max(rank, registers.get(key, 0))
        total = opened.total(bucket)
        assert total.series.tolist() == sorted(counts)
        assert total.counts.tolist() == [counts[s].tolist() for s in sorted(counts)]
        for found, expected in ((total.bins, bins), (total.registers, registers)):
            told = zip(*(column.tolist() for column in found), strict=True)
            assert list(told) == sorted(expected.items())
    for first in range(BUCKETS + 1):
        expected = np.zeros((SERIES, 2), dtype=np.int64)
        for (partition, bucket, series), offset in newest.items():
            if bucket >= first:
                expected[series] += version(partition, bucket, series, offset)[0]
        assert np.array_equal(opened.counts_from(first, SERIES), expected)


@settings(max_examples=50)
@given(st.lists(st.integers(0, SERIES - 1), max_size=4, unique=True), st.sets(st.integers(0, 3)))
def test_cut_pieces_hold_what_take_takes(series, cuts):
    whole = piece_of(0, 0, series, 3)
    bounds = sorted({0, len(series), *(c for c in cuts if c < len(series))})
    pieces = list(whole.cut(bounds))
    assert len(pieces) == len(bounds) - 1
    for start, stop, piece in zip(bounds[:-1], bounds[1:], pieces, strict=True):
        same = whole.select(np.arange(start, stop))
        assert piece.series.tolist() == same.series.tolist()
        assert piece.offset.tolist() == same.offset.tolist()
        assert rows_of(piece.payload) == rows_of(same.payload)
